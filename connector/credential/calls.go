package credential

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
)

// Call is a kind of outbound call that proving an identity takes.
type Call int

// The kinds.
const (
	CallDocument     Call = iota // a DID document
	CallPresentation             // a presentation query
	CallList                     // a status list
	CallSchema                   // a schema
	callKinds
)

var callNames = [callKinds]string{"document", "presentation", "list", "schema"}

func (c Call) String() string { return callNames[c] }

// Calls counts the outbound calls that proving identities took, and bounds those of one verification. Its zero value is ready; it must not
// be copied.
type Calls struct{ counts [callKinds]atomic.Int64 }

// Counts returns how many calls of each kind were made.
func (c *Calls) Counts() map[Call]int64 {
	out := map[Call]int64{}
	for kind := range callKinds {
		out[kind] = c.counts[kind].Load()
	}
	return out
}

type budgetKey struct{}

// withBudget bounds the calls that are made under the context.
func withBudget(ctx context.Context, calls int64) context.Context {
	left := &atomic.Int64{}
	left.Store(calls)
	return context.WithValue(ctx, budgetKey{}, left)
}

// spend counts a call that is about to be made, and refuses it when the context's budget is used up: one cheap request must not make us call
// the whole world.
func (c *Calls) spend(ctx context.Context, kind Call) error {
	if take(ctx) < 0 {
		return refuse(codeBudget, "one more call, for a %s", kind)
	}
	c.counts[kind].Add(1)
	return nil
}

// take takes a call from the context's budget, if it has one, and returns what is left.
func take(ctx context.Context) int64 {
	if left, ok := ctx.Value(budgetKey{}).(*atomic.Int64); ok {
		return left.Add(-1)
	}
	return 0
}

// Documents counts what a resolver fetches, which is part of the budget and yet not refused: the resolver would remember that against the
// document, for everybody. Those of one verification are few, the peer's and those of issuers that are trusted.
func (c *Calls) Documents(fetch identity.Fetch) identity.Fetch {
	return func(ctx context.Context, url string, limit int64) ([]byte, error) {
		take(ctx)
		c.counts[CallDocument].Add(1)
		return fetch(ctx, url, limit)
	}
}

// Fetched is what stood at an address.
type Fetched struct {
	Body   []byte
	MaxAge time.Duration // how long who served it lets it be kept; negative when that was not said
	Tag    string        // the entity tag it came with; "" when there was none
	Same   bool          // what was known by its tag is still what stands there; there is no body
	Held   bool          // the answer was held until there was something to say, as was asked for
}

// Fetch gets at most limit bytes from an address that somebody else chose: through the guarded dialer, from exactly that address, with status
// 200. accept is the header of that name.
type Fetch func(ctx context.Context, url, accept string, limit int64) (Fetched, error)

// Hold is Fetch for who knows already what stood there under the tag, if it is not "": the answer is to come when there is something else, or when
// the wait is over (RFC 7240, section 4.3). A server that does not know that answers at once.
type Hold func(ctx context.Context, url, accept, tag string, wait time.Duration, limit int64) (Fetched, error)
