package negotiation

import (
	"context"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Store keeps negotiations. Every read and write is scoped by the hosted participant; the ones a peer
// can cause take the peer too, so that it can only name what is its own (security rule T-30).
// Absent is a fault of kind NotFound. What a call returned without error is durable.
type Store interface {
	// Negotiation returns the negotiation with our pid. peer restricts to that counter-party unless "".
	Negotiation(ctx context.Context, p participant.ID, peer participant.DID, id string) (Negotiation, error)
	// NegotiationByPeerPID finds the negotiation in which the peer uses the pid: repeats of an initial message.
	NegotiationByPeerPID(ctx context.Context, p participant.ID, peer participant.DID, peerPID string) (Negotiation, error)
	// Negotiations lists them by creation.
	Negotiations(ctx context.Context, p participant.ID, f Filter, r page.Request) (page.Of[Negotiation], error)
	// OpenNegotiations counts those of the peer that are in no final state.
	OpenNegotiations(ctx context.Context, p participant.ID, peer participant.DID) (int, error)
	// CreateNegotiation inserts n (Version 1) with its effects in one transaction. Conflict when the id, or
	// (peer, peer's pid), exists.
	CreateNegotiation(ctx context.Context, n Negotiation, e commit.Effects) error
	// ReplaceNegotiation writes next over old with its effects in one transaction: compare and swap on
	// (participant, id, Version); it stores Version old+1. Conflict when old is stale; nothing is written then.
	ReplaceNegotiation(ctx context.Context, old, next Negotiation, e commit.Effects) error
}

// Filter narrows a list; zero fields do not.
type Filter struct {
	Peer  participant.DID
	State State
	Role  Role
	Asset string
	Held  bool // only what waits for an operator
}

// Offers answers which offer an id names; catalog's store implements it.
type Offers interface {
	// Offer returns the offer with its asset and both policies; NotFound when absent.
	Offer(ctx context.Context, p participant.ID, id string) (catalog.Entry, error)
	// Rule returns the rule that an offer follows from.
	Rule(ctx context.Context, p participant.ID, id string) (catalog.Rule, error)
	// Record commits effects that change nothing else: a decision against showing an offer.
	Record(ctx context.Context, p participant.ID, e commit.Effects) error
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

// Evidence gives what a party has proven by credential. It may ask the peer's credential service once per
// access token; it answers from its cache while that is fresh.
type Evidence interface {
	Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error)
	// Own gives our own credentials as facts.
	Own(ctx context.Context, local participant.Participant) (policy.Party, error)
}

// Hosted finds the hosted participant that a row belongs to.
type Hosted interface {
	ByID(ctx context.Context, id participant.ID) (participant.Participant, error)
}

// Codec encodes an outgoing message once: the path under the peer's base, and the bytes.
type Codec interface {
	EncodeNegotiation(m Message) (path string, body []byte, err error)
}

// Directory finds a peer's protocol endpoint and judges the addresses it gives us.
type Directory interface {
	// Endpoint returns the peer's DSP base URL (version document behind the DataService entry of its DID document).
	Endpoint(ctx context.Context, local participant.Participant, peer participant.DID) (string, error)
	// Callback refuses an address that is outside the egress rules or foreign to the peer's published origins.
	Callback(ctx context.Context, peer participant.Peer, url string) error
	// Own returns the hosted participant's own DSP base URL, the callback address of what it starts.
	Own(local participant.Participant) string
}

// Outbox sends what is owed. Send hands over a committed message for its first attempt at once.
type Outbox interface {
	Send(o commit.Owed)
}
