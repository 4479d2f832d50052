package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/trust"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// ErrOlder tells that a store is as an earlier version left it, or as nobody ever did: the next start brings it up to this one.
var ErrOlder = errors.New("the store is of an earlier version")

// Store is all ports together. Both backends keep the same contract (package storetest).
// Every method is safe for concurrent use; what it returned without error is durable.
type Store interface {
	Participants
	Tokens
	wallet.Store
	Keys
	Trust
	directory.Store
	catalog.Store
	negotiation.Store
	transfer.Store
	issuer.Store
	Agreements
	Events
	Replay
	Idempotency
	outbox.Store
	decisionlog.Ledger

	// LogByProcess lists the records of one process, oldest first.
	LogByProcess(ctx context.Context, log, process string, max int) ([]decisionlog.Entry, error)
	// Activated returns the newest record of kind bundle.activate; NotFound when there is none.
	Activated(ctx context.Context, log string) (decisionlog.Entry, error)
	// Archived returns what was archived with the records of the log under the digest; NotFound when nothing was.
	Archived(ctx context.Context, log, digest string) (decisionlog.Object, error)
	// Backup writes a consistent copy that a restore into either backend accepts. Management tokens are not in it.
	Backup(ctx context.Context, w io.Writer) error
	// Ping reports whether a write could be made durable now.
	Ping(ctx context.Context) error
	Close() error
}

// Participants keeps who is hosted. Slug, DID and profile never change.
type Participants interface {
	// CreateParticipant gives the participant its ID. Conflict when slug or DID exists.
	CreateParticipant(ctx context.Context, p participant.Participant) (participant.Participant, error)
	Participant(ctx context.Context, slug string) (participant.Participant, error)
	// AdoptProfile gives the profile to those who were made before participants had one.
	AdoptProfile(ctx context.Context, profile string) error
	Participants(ctx context.Context) ([]participant.Participant, error)
}

// Token is an API bearer token as the store knows it: its hash.
type Token struct {
	Hash        string         // SHA-256, hex
	Participant participant.ID // 0: every participant of the process
	Role        string         // one of participant.Roles
	Label       string
	Created     time.Time
	Expires     time.Time // zero: never
}

// Tokens keeps API tokens.
type Tokens interface {
	PutToken(ctx context.Context, t Token) error
	Token(ctx context.Context, hash string) (Token, error)
	Tokens(ctx context.Context, p participant.ID) ([]Token, error)
	DeleteToken(ctx context.Context, p participant.ID, hash string) error
}

// Trust keeps what was last put on record about whom a participant believes.
type Trust interface {
	// Trusted returns it; NotFound when nothing was put on record yet.
	Trusted(ctx context.Context, p participant.ID) (trust.Recorded, error)
	// PutTrusted replaces the one of the digest before, "" for none, with its records; Conflict when another one is there.
	PutTrusted(ctx context.Context, p participant.ID, before string, r trust.Recorded, e commit.Effects) error
}

// Agreements keeps concluded agreements (written through commit.Effects) and retirements.
type Agreements interface {
	Agreement(ctx context.Context, p participant.ID, id string) (agreement.Agreement, error)
	Agreements(ctx context.Context, p participant.ID, peer participant.DID, r page.Request) (page.Of[agreement.Agreement], error)
	// AgreementsForAsset lists agreements in force with the peer about the asset.
	AgreementsForAsset(ctx context.Context, p participant.ID, peer participant.DID, asset string) ([]agreement.Agreement, error)
	// Finalized reports whether the agreement can be used: its negotiation reached FINALIZED on our side, or, for the provider, VERIFIED,
	// after which it owes nothing but the finalization itself.
	Finalized(ctx context.Context, p participant.ID, agreement string) (bool, error)
	// Retire ends the agreement early, with its decision record; Conflict when it is retired already.
	Retire(ctx context.Context, r agreement.Retirement, e commit.Effects) error
}

// Events is the per-participant sequence.
type Events interface {
	// EventsSince returns up to limit events with Seq > after, in order.
	EventsSince(ctx context.Context, p participant.ID, after int64, limit int) ([]commit.Event, error)
	// Notify returns a channel that receives after commits of events of the participant (coalesced), until ctx ends.
	Notify(ctx context.Context, p participant.ID) <-chan struct{}
}

// Replay is the durable memory of token ids (security rule T-10).
type Replay interface {
	// Remember inserts (issuer, jti) atomically; fresh is false when it was there. Entries are kept until until.
	Remember(ctx context.Context, issuer, jti string, until, now time.Time) (fresh bool, err error)
}

// Idempotency keeps answers of mutating API calls by the caller's key.
type Idempotency interface {
	// Answered returns the stored answer for (participant, key): NotFound when none. Digest is the request's. An empty answer says that the
	// call changed something under commit.WithOnce and no answer was kept.
	Answered(ctx context.Context, p participant.ID, key string) (digest string, answer []byte, err error)
	// Keep stores it; Conflict when the key has an answer, or belongs to another request.
	Keep(ctx context.Context, p participant.ID, key, digest string, answer []byte, now time.Time) error
}
