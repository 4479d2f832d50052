package identity

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-connector/sluice/connector/participant"
)

// Fetch gets the bytes behind the URL of a DID document through the guarded dialer.
type Fetch func(ctx context.Context, url string, limit int64) ([]byte, error)

const (
	goodLife = 5 * time.Minute
	badLife  = 10 * time.Second
	maxCache = 10000
)

// Resolver resolves did:web with a bounded, always expiring cache. One fetch at a time per DID.
type Resolver struct {
	fetch Fetch
	now   func() time.Time
	group singleflight.Group

	mu    sync.Mutex
	cache map[participant.DID]resolved
}

type resolved struct {
	doc     *Document
	err     error
	at      time.Time
	expires time.Time
}

// NewResolver returns a Resolver.
func NewResolver(fetch Fetch, now func() time.Time) *Resolver {
	return &Resolver{fetch: fetch, now: now, cache: map[participant.DID]resolved{}}
}

// Resolve implements Documents. fresh goes past the cache, yet not more often than every ten seconds per DID.
func (r *Resolver) Resolve(ctx context.Context, did participant.DID, fresh bool) (*Document, error) {
	if doc, err, ok := r.cached(did, fresh); ok {
		return doc, err
	}
	result := r.group.DoChan(string(did), func() (any, error) {
		// The fetch serves everybody who waits, so it does not hang on one caller's context.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// Who missed the cache just before another fetch ended finds its result here.
		if doc, err, ok := r.cached(did, fresh); ok {
			return doc, err
		}
		doc, err := r.load(ctx, did)
		r.keep(did, doc, err)
		return doc, err
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

func (r *Resolver) cached(did participant.DID, fresh bool) (*Document, error, bool) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	got, ok := r.cache[did]
	if !ok || !now.Before(got.expires) || fresh && now.Sub(got.at) >= badLife {
		return nil, nil, false
	}
	return got.doc, got.err, true
}

func (r *Resolver) load(ctx context.Context, did participant.DID) (*Document, error) {
	_, url, err := ParseDID(string(did))
	if err != nil {
		return nil, err
	}
	body, err := r.fetch(ctx, url, MaxDocument)
	if err != nil {
		return nil, err
	}
	return ParseDocument(did, body)
}

func (r *Resolver) keep(did participant.DID, doc *Document, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	now := r.now()
	life := goodLife
	if err != nil {
		life = badLife
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) >= maxCache {
		for k, v := range r.cache {
			if !now.Before(v.expires) || len(r.cache) >= maxCache {
				delete(r.cache, k)
			}
		}
	}
	r.cache[did] = resolved{doc: doc, err: err, at: now, expires: now.Add(life)}
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
