package wallet

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Store keeps what wallets hold. Every read and write is scoped by the hosted participant; what an issuer can cause takes the issuer too. Absent is
// a fault of kind NotFound. What a call returned without error is durable.
type Store interface {
	// Credentials lists what is held, by creation.
	Credentials(ctx context.Context, p participant.ID) ([]Credential, error)
	// Credential returns one.
	Credential(ctx context.Context, p participant.ID, id string) (Credential, error)
	// CredentialRequest returns a request; issuer restricts to one that is addressed to it unless "".
	CredentialRequest(ctx context.Context, p participant.ID, issuer participant.DID, id string) (Request, error)
	CredentialRequests(ctx context.Context, p participant.ID, f Filter, r page.Request) (page.Of[Request], error)
	// OpenCredentialRequests lists those at the issuer that are not over, at most limit of them.
	OpenCredentialRequests(ctx context.Context, p participant.ID, issuer participant.DID, limit int) ([]Request, error)
	CredentialOffer(ctx context.Context, p participant.ID, id string) (Offer, error)
	CredentialOffers(ctx context.Context, p participant.ID, f Filter, r page.Request) (page.Of[Offer], error)
	// OpenCredentialOffers lists those of the issuer that nobody decided, at most limit of them.
	OpenCredentialOffers(ctx context.Context, p participant.ID, issuer participant.DID, limit int) ([]Offer, error)
	// TokenClients lists the clients, by creation.
	TokenClients(ctx context.Context, p participant.ID) ([]Client, error)
	// CommitWallet writes the change with its effects in one transaction. Conflict, and nothing is written, when one of the old rows is stale or
	// gone, a new one exists, or the issuer's same offer is open already.
	CommitWallet(ctx context.Context, p participant.ID, c Change, e commit.Effects) error
	// Record commits effects that change nothing else.
	Record(ctx context.Context, p participant.ID, e commit.Effects) error
}

// Filter narrows a list; zero fields do not.
type Filter struct {
	Issuer participant.DID
	State  string
}

// Change is what one step writes, in this order: what is settled goes, rows change, and what is owed comes.
type Change struct {
	Settled     []string // ids of deadlines
	Credentials []commit.Swap[Credential]
	Requests    []commit.Swap[Request]
	Offers      []commit.Swap[Offer]
	Clients     []commit.Swap[Client]
	Owed        []commit.Owed // deadlines
}

// Recorder seals what was done as a log entry that commits with its effect.
type Recorder interface {
	Record(ctx context.Context, a decisionlog.Action) (decisionlog.Entry, error)
}

// Issuers speaks with issuer services. Each is found by the DID document of the issuer alone.
type Issuers interface {
	// Metadata returns the base address of the issuer's service and what it issues.
	Metadata(ctx context.Context, local participant.Participant, issuer participant.DID) (base string, objects []Object, err error)
	// Status asks how a request stands: "RECEIVED", "ISSUED" or "REJECTED". NotFound when the issuer does not know it.
	Status(ctx context.Context, local participant.Participant, issuer participant.DID, address string) (string, error)
}

// Signatures checks a JWT with the key that its issuer's DID document has under the key id.
type Signatures interface {
	Signature(ctx context.Context, did participant.DID, kid, token string, r identity.Relationship) error
}

// Statuses says how the issuer of a credential that local holds stands by it.
type Statuses interface {
	// Revocable reports whether an issuer can take the credential back at all.
	Revocable(c credential.Stored) bool
	// AtHand answers from what is remembered and asks nobody; ok is false when that says nothing.
	AtHand(local participant.Participant, c credential.Stored) (state Standing, ok bool)
	// Status asks where that is needed; until is when what says so comes to its end.
	Status(ctx context.Context, local participant.Participant, c credential.Stored) (state Standing, until time.Time, err error)
}

// Trust says which types an issuer is trusted for by local.
type Trust interface {
	Types(local participant.Participant, issuer participant.DID) []string
}

// Codec encodes an outgoing message once.
type Codec interface {
	EncodeRequest(holderPID string, definitions []string) ([]byte, error)
}

// Hosted finds the hosted participant that a row belongs to.
type Hosted interface {
	ByID(ctx context.Context, id participant.ID) (participant.Participant, error)
}

// Outbox sends what is owed. Send hands over a committed message for its first attempt at once.
type Outbox interface {
	Send(o commit.Owed)
}
