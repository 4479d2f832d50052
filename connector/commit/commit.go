package commit

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Effects is everything that commits with one change of state. The zero value is legal.
type Effects struct {
	Decisions []decisionlog.Entry  // written unsequenced; the sequencer gives them their index
	Owed      *Owed                // the one message this process now owes; a process owes at most one
	Settled   string               // id of the owed message this change completes or withdraws, "" for none
	Agreement *agreement.Agreement // concluded by this change
	Events    []Event              // appended to the participant's sequence, in order
}

// Swap is a row before and after: no Old is a new row, no New is one that goes. Both is compare and swap on the version of Old; the row then has
// that version and one more.
type Swap[T any] struct{ Old, New *T }

// ProcessKind tells which service owns a process.
type ProcessKind string

// The kinds of process.
const (
	Negotiation ProcessKind = "negotiation"
	Transfer    ProcessKind = "transfer"

	IssuerRequest ProcessKind = "issuer.request" // of a holder, for credentials
	IssuerOffer   ProcessKind = "issuer.offer"   // to a holder

	WalletRequest    ProcessKind = "wallet.request"    // credentials asked for
	WalletCredential ProcessKind = "wallet.credential" // a credential, which ends
	WalletOffer      ProcessKind = "wallet.offer"      // an offer that the settings may take
)

// Owed is a message to a peer that is retried until delivered or refused. Body is encoded once and
// sent byte for byte each time; only the identity token is fresh.
type Owed struct {
	ID          string // random, urn:uuid
	Participant participant.ID
	Process     ProcessKind
	ProcessID   string
	Peer        participant.DID
	Message     string // kind of message, for people and metrics: "ContractAgreementMessage"
	URL         string // full address
	Body        []byte
	Sealed      bool      // Body is encrypted at rest, because it holds a secret; who sends it opens it
	Attempt     int       // attempts made so far
	Due         time.Time // when the next attempt is due; a claim moves it, so that it is the lease too
	Created     time.Time
	LastError   string // operator's view of the last failure
	Trace       string // W3C traceparent of the cause
}

// Event tells that something of a participant changed. The store numbers the events of one participant
// 1, 2, 3, … without gaps in commit order.
type Event struct {
	Seq     int64  // set by the store
	Type    string // "negotiation.agreed", "transfer.started", "asset.created", …
	Subject string // id of the thing
	Time    time.Time
	Data    map[string]string // small facts: state, peer, agreement
	Actor   string            // who caused it: operator label, peer DID, or "" for ourselves
	Trace   string
}

// Order is what an operator orders to be done to a process.
type Order struct {
	Actor   string
	Reason  string // one sentence for the peer
	Version int64  // of the process that the operator saw; 0: whatever it is now
}

// On refuses an order about another version than the one that is there: Conflict, with a code of its own, for trying again does not help.
func (o Order) On(version int64) error {
	if o.Version == 0 || o.Version == version {
		return nil
	}
	return &fault.Error{Op: "commit.Order", Kind: fault.Conflict, Code: "version.stale",
		Reason: fmt.Sprintf("it has changed since version %d and is at %d: look again", o.Version, version)}
}

// Used is the id of a token that may be used once (security rule T-10). The store remembers it with the first thing that is committed under
// its context, and refuses that as Unauthenticated when the id was known: one commit instead of two for each message.
type Used struct {
	Issuer string
	ID     string
	Until  time.Time // how long it must be remembered
	Now    time.Time
	kept   atomic.Bool
}

// Keep tells that the id is remembered. The store calls it after the commit.
func (u *Used) Keep() { u.kept.Store(true) }

// Kept reports whether the id is remembered.
func (u *Used) Kept() bool { return u.kept.Load() }

type usedKey struct{}

// WithUsed makes what is committed under the context use the token; nil: none.
func WithUsed(ctx context.Context, u *Used) context.Context {
	return context.WithValue(ctx, usedKey{}, u)
}

// UsedOf returns the token of the context that is not remembered yet; nil when there is none.
func UsedOf(ctx context.Context) *Used {
	u, _ := ctx.Value(usedKey{}).(*Used)
	if u == nil || u.Kept() {
		return nil
	}
	return u
}

// Once is the idempotency key of the call on whose behalf something is committed. The store writes it with the first thing
// that the call changes, so that a crash before the answer leaves either both or none.
type Once struct {
	Participant participant.ID
	Key         string // of the caller alone
	Digest      string // of the request
	Time        time.Time
}

type onceKey struct{}

// WithOnce makes what is committed under the context carry the key.
func WithOnce(ctx context.Context, o Once) context.Context {
	return context.WithValue(ctx, onceKey{}, o)
}

// OnceOf returns the key of the context; the zero value when there is none.
func OnceOf(ctx context.Context) Once {
	o, _ := ctx.Value(onceKey{}).(Once)
	return o
}
