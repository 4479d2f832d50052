package identity_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/turn"
)

// net is a network of DID documents that counts who asks.
type net struct {
	mu        sync.Mutex
	documents map[string][]byte
	hold      chan struct{} // when set, answers wait for it
	absent    error         // what is said of what is not there
	fetched   atomic.Int32
	open      atomic.Int32
}

func (n *net) fetch(ctx context.Context, url string, _ int64) ([]byte, error) {
	n.fetched.Add(1)
	n.open.Add(1)
	defer n.open.Add(-1)
	if n.hold != nil {
		select {
		case <-n.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if doc, ok := n.documents[url]; ok {
		return doc, nil
	}
	if n.absent != nil {
		return nil, n.absent
	}
	return nil, errors.New("nothing there")
}

// serve puts the document of a DID with the keys on the network; without keys it is taken away.
func (n *net) serve(t *testing.T, did participant.DID, keys identity.Keys) {
	t.Helper()
	_, url, err := identity.ParseDID(string(did))
	check(t, err)
	n.mu.Lock()
	defer n.mu.Unlock()
	if keys == nil {
		delete(n.documents, url)
		return
	}
	n.documents[url], err = identity.NewDocument(did, keys, []identity.Service{})
	check(t, err)
}

func newKeys(t *testing.T) *keyring.Ring {
	t.Helper()
	k, err := keyring.Draw("company", rand.Reader, time.Now)
	check(t, err)
	return k
}

// resolving runs f in a bubble, whose time the resolver goes by.
func resolving(t *testing.T, f func(t *testing.T, n *net, r *identity.Resolver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &net{documents: map[string][]byte{}}
		f(t, n, identity.NewResolver(n.fetch, time.Now))
	})
}

// asks resolves and says how often the network was asked for it.
func (n *net) asks(r *identity.Resolver, did participant.DID, fresh bool) (int, error) {
	before := n.fetched.Load()
	_, err := r.Resolve(context.Background(), did, fresh)
	return int(n.fetched.Load() - before), err
}

func TestADocumentIsKeptForFiveMinutesAndAFailureForTenSeconds(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		n.serve(t, boreal, keys)
		for _, step := range []struct {
			wait time.Duration
			did  participant.DID
			want int
			ok   bool
		}{
			{0, boreal, 1, true},
			{5*time.Minute - time.Nanosecond, boreal, 0, true},
			{time.Nanosecond, boreal, 1, true},
			{0, cobalt, 1, false},
			{10*time.Second - time.Nanosecond, cobalt, 0, false},
			{time.Nanosecond, cobalt, 1, false},
		} {
			time.Sleep(step.wait)
			if got, err := n.asks(r, step.did, false); got != step.want || (err == nil) != step.ok {
				t.Errorf("%s, %v later: asked %d times, want %d; %v", step.did, step.wait, got, step.want, err)
			}
		}
		n.serve(t, boreal, nil)
		time.Sleep(5 * time.Minute)
		if _, err := r.Resolve(t.Context(), boreal, false); err == nil {
			t.Error("a document that was taken away outlived its time")
		}
	})
}

func TestAKeyThatIsNotThereGivesOneLookInTenSeconds(t *testing.T) {
	t.Parallel()
	keys, strange := newKeys(t), newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		n.serve(t, boreal, keys)
		v := identity.NewVerifier(r, nil, time.Now)
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {0, 0}, {time.Second - time.Nanosecond, 0}, {time.Nanosecond, 1}, {0, 0}, {10*time.Second - time.Nanosecond, 0}, {time.Nanosecond, 1}, {0, 0}, {10 * time.Second, 1}} {
			time.Sleep(step.wait)
			token, err := identity.IssueToken(t.Context(), boreal, cobalt, strange, "", time.Now(), rand.Reader)
			check(t, err)
			before := n.fetched.Load()
			if _, _, err := v.Verify(t.Context(), token, cobalt); !errors.Is(err, identity.ErrUnknownKey) {
				t.Errorf("a strange key: %v", err)
			}
			if got := int(n.fetched.Load() - before); got != step.want {
				t.Errorf("%v later: asked %d times, want %d", step.wait, got, step.want)
			}
		}
	})
}

func TestANewKeyIsKnownAtOnceAndAnOldOneUntilTheDocumentExpires(t *testing.T) {
	t.Parallel()
	old, next := newKeys(t), newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		v := identity.NewVerifier(r, nil, time.Now)
		accept := func(keys identity.Keys) error {
			token, err := identity.IssueToken(t.Context(), boreal, cobalt, keys, "", time.Now(), rand.Reader)
			check(t, err)
			_, _, err = v.Verify(t.Context(), token, cobalt)
			return err
		}
		n.serve(t, boreal, old)
		check(t, accept(old))
		n.serve(t, boreal, next)
		time.Sleep(5*time.Minute - time.Nanosecond)
		if err := accept(old); err != nil {
			t.Errorf("the removed key while its document is kept: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := accept(old); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the removed key five minutes later: %v", err)
		}
		n.serve(t, boreal, old)
		time.Sleep(10 * time.Second)
		if err := accept(old); err != nil {
			t.Errorf("a key that came back, while another document is kept: %v", err)
		}
		if err := accept(next); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the key that it took the place of: %v", err)
		}
	})
}

// T-05: who sends tokens in invented names has us ask few hosts at once, and none of them often.
func TestFewDocumentsAreFetchedAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		did  func(int) participant.DID
		want int32
	}{
		"from one host": {func(i int) participant.DID { return participant.DID(fmt.Sprintf("did:web:hosting.example:c%d", i)) }, 2},
		"in all":        {func(i int) participant.DID { return participant.DID(fmt.Sprintf("did:web:c%d.example", i)) }, 64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := newKeys(t)
			resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
				n.hold = make(chan struct{})
				var all sync.WaitGroup
				var served atomic.Int32
				for i := range 100 {
					n.serve(t, tt.did(i), keys)
					all.Go(func() {
						if _, err := r.Resolve(t.Context(), tt.did(i), false); err == nil {
							served.Add(1)
						}
					})
				}
				synctest.Wait()
				if got := n.open.Load(); got != tt.want {
					t.Errorf("%d fetches under way, want %d", got, tt.want)
				}
				close(n.hold) // those that waited come next
				all.Wait()
				if served.Load() != 100 {
					t.Errorf("%d of 100 were resolved", served.Load())
				}
			})
		})
	}
}

// T-43: whoever names many hosts that do not answer has the places of one caller, and takes no other's look at a document hostage.
func TestWhoNamesManySlowHostsDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		n.hold = make(chan struct{})
		hostile, honest := turn.For(t.Context(), "203.0.113.1"), turn.For(t.Context(), "198.51.100.1")
		did := func(i int) participant.DID { return participant.DID(fmt.Sprintf("did:web:c%d.example", i)) }
		var all sync.WaitGroup
		var busy atomic.Int32
		for i := range 100 {
			all.Go(func() {
				if _, err := r.Resolve(hostile, did(i), false); errors.Is(err, identity.ErrBusy) {
					busy.Add(1)
				}
			})
		}
		synctest.Wait()
		if got := n.open.Load(); got != 16 || busy.Load() != 84 {
			t.Errorf("%d fetches under way and %d refused, want 16 and 84", got, busy.Load())
		}
		n.serve(t, boreal, keys)
		all.Go(func() { // and the hostile one asks for it too, in vain
			if _, err := r.Resolve(hostile, boreal, false); !errors.Is(err, identity.ErrBusy) {
				t.Errorf("one too many got %v", err)
			}
		})
		all.Go(func() {
			if _, err := r.Resolve(honest, boreal, false); err != nil {
				t.Errorf("somebody else's look: %v", err)
			}
		})
		synctest.Wait()
		if got := n.open.Load(); got != 17 {
			t.Errorf("%d fetches under way, want 17", got)
		}
		close(n.hold)
		all.Wait()
	})
}

func TestWhoWaitsTooLongForAPlaceIsToldSoAndMayComeAgain(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		did := func(i int) participant.DID { return participant.DID(fmt.Sprintf("did:web:slow.example:c%d", i)) }
		n.hold = make(chan struct{})
		n.serve(t, did(4), keys)
		var all sync.WaitGroup
		for i := range 4 { // two hold the places for five seconds, then two more
			all.Go(func() { _, _ = r.Resolve(t.Context(), did(i), false) })
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if _, err := r.Resolve(t.Context(), did(4), false); !errors.Is(err, identity.ErrBusy) {
			t.Errorf("after five seconds in line: %v", err)
		}
		close(n.hold)
		all.Wait()
		if _, err := r.Resolve(t.Context(), did(4), false); err != nil {
			t.Errorf("once the line is gone: %v", err)
		}
	})
}

func TestAHostThatKeepsFailingIsLeftAloneExceptForWhoWasThere(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		did := func(name string) participant.DID { return participant.DID("did:web:hosting.example:" + name) }
		n.serve(t, did("known"), keys)
		n.serve(t, did("new"), keys)
		if _, err := r.Resolve(t.Context(), did("known"), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		for i := range 100 {
			want := 0
			if i < 16 {
				want = 1
			}
			got, err := n.asks(r, did(fmt.Sprint("invented", i)), false)
			if got != want || errors.Is(err, identity.ErrBusy) != (want == 0) {
				t.Errorf("invention %d: asked %d times, %v", i, got, err)
			}
		}
		if _, err := r.Resolve(t.Context(), did("new"), false); !errors.Is(err, identity.ErrBusy) {
			t.Errorf("who was never seen: %v", err)
		}
		if got, err := n.asks(r, did("known"), true); got != 1 || err != nil {
			t.Errorf("who was there before: asked %d times, %v", got, err)
		}
		time.Sleep(6 * time.Second)
		if _, err := r.Resolve(t.Context(), did("new"), false); err != nil {
			t.Errorf("who was never seen, six seconds later: %v", err)
		}
		other := participant.DID("did:web:elsewhere.example")
		if _, err := r.Resolve(t.Context(), other, false); err == nil || !strings.Contains(err.Error(), "nothing there") {
			t.Errorf("another host: %v", err)
		}
	})
}
