package issuer

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Store keeps what an issuer knows. Every read and write is scoped by the hosted participant; what a holder can cause takes the holder too.
// Absent is a fault of kind NotFound. What a call returned without error is durable.
type Store interface {
	// Authority returns the row of a participant that is switched on as issuer.
	Authority(ctx context.Context, p participant.ID) (Authority, error)
	IssuerDefinition(ctx context.Context, p participant.ID, id string) (Definition, error)
	// IssuerDefinitions lists all, by id; there are at most MaxDefinitions.
	IssuerDefinitions(ctx context.Context, p participant.ID) ([]Definition, error)
	IssuerHolder(ctx context.Context, p participant.ID, did participant.DID) (Holder, error)
	IssuerHolders(ctx context.Context, p participant.ID, r page.Request) (page.Of[Holder], error)
	// IssuerHoldersOf returns those of the DIDs that there are, in any order.
	IssuerHoldersOf(ctx context.Context, p participant.ID, dids []participant.DID) ([]Holder, error)
	// IssuerRequest returns a request; holder restricts to that holder's unless "".
	IssuerRequest(ctx context.Context, p participant.ID, holder participant.DID, id string) (Request, error)
	IssuerRequests(ctx context.Context, p participant.ID, f Filter, r page.Request) (page.Of[Request], error)
	// IssuerRepeated returns the holder's request of the digest that is not over.
	IssuerRepeated(ctx context.Context, p participant.ID, holder participant.DID, digest string) (Request, error)
	// IssuerOwed returns a message or deadline that is still owed.
	IssuerOwed(ctx context.Context, p participant.ID, id string) (commit.Owed, error)
	// IssuerRequested counts the holder's requests since then, at most limit of them.
	IssuerRequested(ctx context.Context, p participant.ID, holder participant.DID, since time.Time, limit int) (int, error)
	IssuerCredential(ctx context.Context, p participant.ID, id string) (Credential, error)
	IssuerCredentials(ctx context.Context, p participant.ID, f Filter, r page.Request) (page.Of[Credential], error)
	IssuerOffer(ctx context.Context, p participant.ID, id string) (Offer, error)
	IssuerOffers(ctx context.Context, p participant.ID, f Filter, r page.Request) (page.Of[Offer], error)
	// IssuerList returns a list with its bits.
	IssuerList(ctx context.Context, p participant.ID, id string) (List, error)
	// IssuerListVersion returns what the list's version is now.
	IssuerListVersion(ctx context.Context, p participant.ID, id string) (int64, error)
	// IssuerLists lists those of a profile and purpose without their bits, oldest first.
	IssuerLists(ctx context.Context, p participant.ID, profile, purpose string) ([]List, error)
	// IssuerTaken returns which of the indexes were given out.
	IssuerTaken(ctx context.Context, p participant.ID, list string, indexes []int) ([]int, error)
	// CommitIssuer writes the change with its effects in one transaction. Conflict, and nothing is written, when one of the old rows is stale or
	// gone, a new one exists, the holder's same request is not over, or a place is taken.
	CommitIssuer(ctx context.Context, p participant.ID, c Changes, e commit.Effects) error
}

// Filter narrows a list; zero fields do not.
type Filter struct {
	Holder     participant.DID
	State      string
	Definition string
}

// Changes is what one step writes.
type Changes struct {
	Authority   *Authority // switched on; it is there already: nothing changes
	Definitions []commit.Swap[Definition]
	Holders     []commit.Swap[Holder]
	Requests    []commit.Swap[Request]
	Credentials []commit.Swap[Credential] // a new one takes its places, each of which counts as Taken in its list
	Lists       []commit.Swap[List]
	Offers      []commit.Swap[Offer]
	Fill        int // a list with this many entries taken gives out no more
}

// Decider seals what was decided as a log entry that commits with its effect.
type Decider interface {
	Record(ctx context.Context, a decisionlog.Action) (decisionlog.Entry, error)
}

// Claims gives what a holder has proven by credential to the hosted participant: one query with the access token of its request.
type Claims interface {
	Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error)
}

// Codec encodes an outgoing message once.
type Codec interface {
	EncodeDelivery(d Delivery) ([]byte, error)
	EncodeOffer(o Metadata) ([]byte, error)
}

// Hosted finds the hosted participant that a row belongs to.
type Hosted interface {
	ByID(ctx context.Context, id participant.ID) (participant.Participant, error)
}

// Seals encrypts for rest.
type Seals interface {
	Seal(local participant.Participant, plain []byte) ([]byte, error)
	Open(local participant.Participant, sealed []byte) ([]byte, error)
}

// Keys signs for a hosted participant.
type Keys func(participant.Participant) (identity.Keys, error)

// Outbox sends what is owed. Send hands over a committed message for its first attempt at once.
type Outbox interface {
	Send(o commit.Owed)
}

// Delivery is a message to the holder's credential service: credentials, or that there will be none.
type Delivery struct {
	Holder    participant.DID // who is brought it
	IssuerPID string
	HolderPID string
	Signed    []Signed // none: rejected
	Reason    string   // of a rejection
}

// Signed is a credential as it leaves.
type Signed struct{ Type, Profile, Token string }

// Metadata is what an issuer issues, or offers.
type Metadata struct {
	Issuer participant.DID
	Offers []Offered
}

// Offered is one credential of it.
type Offered struct {
	ID       string
	Type     string
	Schema   string
	Profile  string
	Requires []string // types of the credentials that a requester must show
	Reason   string
}
