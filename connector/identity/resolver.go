package identity

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/turn"
)

// Fetch gets the bytes behind the URL of a DID document through the guarded dialer. ErrGone says that the host answered, and has none.
type Fetch func(ctx context.Context, url string, limit int64) ([]byte, error)

const (
	goodLife = 5 * time.Minute
	badLife  = 10 * time.Second
	young    = time.Second // a document of this age is fresh
	maxCache = 10000
	patience = 5 * time.Second // with one fetch, and with the wait for a place before it

	// Whoever sends a token makes us fetch from the host that it names, whose host that may be (security rule T-05).
	maxFetches  = 64
	maxShare    = 16 // of these for one caller, who may name as many slow hosts as it likes; it does not wait for more
	maxPerHost  = 2
	maxFailures = 16              // of one host in a row …
	forgiven    = 6 * time.Second // … one more for each of these
	maxHosts    = 10000
)

// ErrBusy tells that a DID was not looked up, because too much is under way already or its host failed too often.
var ErrBusy = errors.New("did.busy")

// ErrGone tells that a DID has no document any more. Nothing that was known of it is good from then on.
var ErrGone = errors.New("did.gone")

// Resolver resolves did:web with a bounded, always expiring cache. A document is kept for five minutes from when it was fetched, and no longer,
// whether its host answers then or not; it goes before that when its host says that it is gone, or has another in its place. One fetch at a time per DID, a few per host, a bounded number in all; a host
// that keeps failing for DIDs that were never found there is left alone for a while.
type Resolver struct {
	fetch  Fetch
	now    func() time.Time
	group  singleflight.Group
	places *turn.Queue // one is taken by each fetch

	undeclared map[participant.DID]bool

	mu    sync.Mutex
	cache map[participant.DID]resolved
	hosts map[string]*host
	epoch int // how often something was forgotten
}

type resolved struct {
	doc     *Document
	err     error
	at      time.Time
	expires time.Time
	looked  time.Time // when a document was last fetched although one was kept
	missed  error     // what came of that, when its host did not answer
	known   bool      // a document was found once
}

// host is a host that something is fetched from, or that has failed lately.
type host struct {
	places chan struct{} // one is taken by each fetch
	users  int           // who have a place or wait for one
	spent  time.Time     // when all its failures will be forgiven
}

// NewResolver returns a Resolver.
func NewResolver(fetch Fetch, now func() time.Time) *Resolver {
	return &Resolver{fetch: fetch, now: now, places: turn.New(maxFetches, maxShare, maxShare), cache: map[participant.DID]resolved{}, hosts: map[string]*host{}}
}

// Undeclared takes the keys of these DIDs for every purpose while their documents list no relationship at all, as those of some wallets do. A
// document that lists any is read as it stands. It must be called before the Resolver is used.
func (r *Resolver) Undeclared(dids map[participant.DID]bool) { r.undeclared = dids }

// Resolve implements Documents. fresh goes past the cache, yet not more often than every ten seconds per DID: a key may be newer than the
// document that is kept, and whoever invents keys must not make us ask for each.
func (r *Resolver) Resolve(ctx context.Context, did participant.DID, fresh bool) (*Document, error) {
	if got, ok := r.cached(did, fresh); ok {
		return got.doc, got.err
	}
	// Who waits together is of one line: nobody's look hangs on how long another's line is. And what began before something was forgotten is
	// nobody's who comes after.
	result := r.group.DoChan(fmt.Sprint(r.forgotten(), " ", turn.Line(ctx), " ", did), func() (any, error) {
		// The fetch serves everybody who waits, so it does not hang on one caller's context.
		got := r.load(context.WithoutCancel(ctx), did, fresh)
		return got.doc, got.err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case got := <-result:
		if got.Err != nil {
			return nil, got.Err
		}
		return got.Val.(*Document), nil
	}
}

// cached returns what is remembered of the DID, and whether that is an answer.
func (r *Resolver) cached(did participant.DID, fresh bool) (resolved, bool) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	got, ok := r.cache[did]
	ok = ok && now.Before(got.expires) && !(fresh && now.Sub(got.at) >= young && now.Sub(got.looked) >= badLife)
	if ok && fresh && got.missed != nil {
		got.doc, got.err = nil, got.missed // what is kept is not what was asked for
	}
	return got, ok
}

// Forget drops what is known of the DID, because something in it is no longer true. Fetches that are under way do not bring it back.
func (r *Resolver) Forget(did participant.DID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	delete(r.cache, did)
}

// forgotten is how often something was forgotten.
func (r *Resolver) forgotten() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// load fetches the document and remembers it or its failure. Only the failures of DIDs that were never found count against their host: what
// strangers invent must not keep those away who are there.
func (r *Resolver) load(ctx context.Context, did participant.DID, fresh bool) resolved {
	_, address, err := ParseDID(string(did))
	if err != nil {
		return resolved{err: err}
	}
	u, err := url.Parse(address)
	if err != nil {
		return resolved{err: err}
	}
	h := r.enter(u.Host)
	defer r.leave(u.Host, h)
	wait, done := context.WithTimeout(ctx, patience)
	defer done()
	// A place at the host comes first, so that one that is slow holds few of the places there are in all.
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	case <-wait.Done():
		return resolved{err: ErrBusy}
	}
	leave, err := r.places.Enter(wait)
	if err != nil {
		return resolved{err: ErrBusy}
	}
	defer leave()
	// Who missed the cache just before another fetch ended finds its result here.
	before, ok := r.cached(did, fresh)
	if ok {
		return before
	}
	if !before.known && r.exhausted(h) {
		return resolved{err: ErrBusy}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	epoch := r.forgotten()
	got := resolved{known: before.known, looked: before.looked}
	if now := r.now(); fresh && now.Before(before.expires) {
		got.looked = now
	}
	body, err := r.fetch(ctx, address, MaxDocument)
	answered := err == nil || errors.Is(err, ErrGone)
	if err == nil {
		if got.doc, err = ParseDocument(did, body); err == nil {
			got.doc.undeclared = r.undeclared[did]
		}
	}
	got.err = err
	r.keep(did, h, got, before, answered, epoch)
	return got
}

func (r *Resolver) enter(name string) *host {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.hosts[name]
	if !ok {
		h = &host{places: make(chan struct{}, maxPerHost)}
		r.hosts[name] = h
	}
	h.users++
	return h
}

func (r *Resolver) leave(name string, h *host) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.users--; h.users == 0 && !now.Before(h.spent) {
		delete(r.hosts, name)
	}
	if len(r.hosts) < maxHosts {
		return
	}
	for name, h := range r.hosts {
		if h.users == 0 && (!now.Before(h.spent) || len(r.hosts) >= maxHosts) {
			delete(r.hosts, name)
		}
	}
}

func (r *Resolver) exhausted(h *host) bool {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	return h.spent.Sub(now) > (maxFailures-1)*forgiven
}

// keep remembers what came of a fetch. When the host did not answer, a document that is young enough stays: who sends a key that is not there
// must not take those away who are.
func (r *Resolver) keep(did participant.DID, h *host, got, before resolved, answered bool, epoch int) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	life := goodLife
	if got.err != nil {
		life = badLife
		if !got.known {
			if h.spent.Before(now) {
				h.spent = now
			}
			h.spent = h.spent.Add(forgiven)
		}
	}
	got.known = got.known || got.err == nil
	got.at, got.expires = now, now.Add(life)
	if !answered && before.doc != nil && now.Before(before.expires) {
		looked, missed := got.looked, got.err
		got = before
		got.looked, got.missed = looked, missed
	}
	if epoch != r.epoch {
		return
	}
	if _, there := r.cache[did]; !there && len(r.cache) >= maxCache {
		r.makeRoom(now)
	}
	r.cache[did] = got
}

// makeRoom drops failures that are over, and when there are none something at random; the caller holds mu.
func (r *Resolver) makeRoom(now time.Time) {
	for did, got := range r.cache {
		if !got.known && !now.Before(got.expires) {
			delete(r.cache, did)
		}
	}
	for did := range r.cache {
		if len(r.cache) < maxCache {
			return
		}
		delete(r.cache, did)
	}
}

// Services returns the endpoints of the kind in the DID's document.
func (r *Resolver) Services(ctx context.Context, did participant.DID, kind string) ([]string, error) {
	doc, err := r.Resolve(ctx, did, false)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range doc.Services {
		if s.Type == kind {
			out = append(out, s.Endpoint)
		}
	}
	return out, nil
}
