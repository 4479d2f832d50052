package transfer

import (
	"context"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Agreements reads concluded agreements, with their retirement if there is one, and the states that make them usable.
type Agreements interface {
	Agreement(ctx context.Context, p participant.ID, id string) (agreement.Agreement, error)
	// Finalized reports whether the agreement can be used: its negotiation reached FINALIZED on our side, or, for the provider, VERIFIED,
	// after which it owes nothing but the finalization itself.
	Finalized(ctx context.Context, p participant.ID, agreement string) (bool, error)
}

// Assets reads what an agreement is about.
type Assets interface {
	Asset(ctx context.Context, p participant.ID, id string) (catalog.Asset, error)
}

// Decider asks the policy engine and seals the answer as a log entry that commits with the effect.
// It fails only when the record cannot be made; the caller must refuse then.
type Decider interface {
	Decide(ctx context.Context, q policy.Question) (policy.Decision, decisionlog.Entry, error)
	// Deny seals a denial that no policy had to be asked for; code says why.
	Deny(ctx context.Context, q policy.Question, code string) (decisionlog.Entry, error)
	// Record seals an operator's action as a log entry.
	Record(ctx context.Context, a decisionlog.Action) (decisionlog.Entry, error)
}

// Evidence gives what a party has proven by credential.
type Evidence interface {
	Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error)
	Own(ctx context.Context, local participant.Participant) (policy.Party, error)
}

// Standing knows which of the credentials that a peer once proved stand now: those that were not taken back, of issuers
// that are still believed.
type Standing interface {
	// Stand returns the party with those, by evidence that may be relied upon now. It fails when that cannot be found out.
	Stand(ctx context.Context, local participant.Participant, transfer string, party policy.Party) (policy.Party, error)
	// Rely makes a transfer depend on all that the party proved, without asking anybody. When one of its credentials is lost, whoever sees that calls
	// Reconsider; one that is known to be lost already is returned by its code, "" when none is.
	Rely(local participant.Participant, transfer string, party policy.Party) (code string)
	// Leave ends what the transfer depends on.
	Leave(transfer string)
}

// Codec encodes an outgoing message once: the path under the peer's base, and the bytes.
type Codec interface {
	EncodeTransfer(m Message) (path string, body []byte, err error)
}

// Directory finds a peer's protocol endpoint and judges the addresses it gives us.
type Directory interface {
	Endpoint(ctx context.Context, local participant.Participant, peer participant.DID) (string, error)
	Callback(ctx context.Context, peer participant.Peer, url string) error
	Own(local participant.Participant) string
}

// Tokens derives access tokens and keeps the consumer's copy unreadable at rest.
type Tokens interface {
	// Token returns HMAC(key, transfer ‖ generation) as an opaque bearer: the same again for the same arguments.
	Token(local participant.Participant, transfer string, generation int64) (token string, err error)
	Seal(local participant.Participant, plain []byte) ([]byte, error)
	Open(local participant.Participant, sealed []byte) ([]byte, error)
}

// Flows is the data plane's ear: what stops being allowed is cut at once.
type Flows interface {
	// Stop cuts every running stream of the transfer; it returns when none of them can send another byte.
	Stop(p participant.ID, transfer string)
}

// Outbox sends what is owed. Send hands over a committed message for its first attempt at once.
type Outbox interface {
	Send(o commit.Owed)
}
