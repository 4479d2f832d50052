package dataplane

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

const (
	// LeaseLife is how long one decision at the data door may be relied on. It bounds what a change that this
	// process did not make itself (another replica, another operator) can still let through.
	LeaseLife = time.Second
	// ByteBudget is what one serve record grants of a body whose end is not known or far.
	ByteBudget = 8 << 20
	// TimeBudget is how long one serve record lasts.
	TimeBudget = time.Second
	// maxLeases bounds the cache of live decisions.
	maxLeases = 16384
)

// Store is what the data plane reads and commits.
type Store interface {
	TransferByToken(ctx context.Context, p participant.ID, hash string) (transfer.Transfer, error)
	Agreement(ctx context.Context, p participant.ID, id string) (agreement.Agreement, error)
	Asset(ctx context.Context, p participant.ID, id string) (catalog.Asset, error)
	Content(ctx context.Context, p participant.ID, digest string) (catalog.Content, error)
	// Record commits effects that change nothing else; durable when it returns.
	Record(ctx context.Context, p participant.ID, e commit.Effects) error
}

// Decider asks the policy engine and seals the answers and the serve records.
type Decider interface {
	Decide(ctx context.Context, q policy.Question) (policy.Decision, decisionlog.Entry, error)
	// Serve seals a serve record of the hosted participant's log.
	Serve(ctx context.Context, log string, s decisionlog.Served) (decisionlog.Entry, error)
}

// Config carries what a Plane is made of. All fields are required.
type Config struct {
	Store   Store
	Decider Decider
	Now     func() time.Time
	Rand    io.Reader
	Log     *slog.Logger
	Profile string
	// Fresh asks the policy engine for every single request instead of relying on a lease.
	Fresh bool
}

// Plane opens flows and stops them. It is safe for concurrent use.
type Plane struct {
	cfg Config

	mu     sync.Mutex
	leases map[leaseKey]*lease
	flows  map[flowKey]map[*Flow]struct{}
	stops  uint64 // counts Stop calls: a lease judged across one is judged again
}

type leaseKey struct {
	participant participant.ID
	token       string // hash
}

type flowKey struct {
	participant participant.ID
	transfer    string
}

// lease is one allow at the data door with everything a flow needs; immutable once judged.
type lease struct {
	transfer  transfer.Transfer
	agreement agreement.Agreement
	asset     catalog.Asset
	decision  string
	until     time.Time
	seq       uint64 // Plane.stops when the judging began
}

// New returns a Plane.
func New(cfg Config) *Plane {
	return &Plane{cfg: cfg, leases: map[leaseKey]*lease{}, flows: map[flowKey]map[*Flow]struct{}{}}
}

// Stop cuts every running flow of the transfer and forgets its leases. When it returns, none of them can send
// another byte.
func (p *Plane) Stop(owner participant.ID, transferID string) {
	p.mu.Lock()
	p.stops++
	for key, l := range p.leases {
		if key.participant == owner && l.transfer.ID == transferID {
			delete(p.leases, key)
		}
	}
	running := make([]*Flow, 0, len(p.flows[flowKey{owner, transferID}]))
	for f := range p.flows[flowKey{owner, transferID}] {
		running = append(running, f)
	}
	p.mu.Unlock()
	for _, f := range running {
		f.stop()
	}
}

// Forget withdraws every lease: the next request of each token is judged anew. Called when what leases rest on was changed here.
func (p *Plane) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stops++
	clear(p.leases)
}

// Running returns how many flows are open, for metrics and for tests that nothing is left behind.
func (p *Plane) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, set := range p.flows {
		n += len(set)
	}
	return n
}

// judge returns a live lease for the token: cached, or by a fresh decision whose record is committed.
func (p *Plane) judge(ctx context.Context, local participant.Participant, hash string, r policy.Request) (*lease, error) {
	key := leaseKey{local.ID, hash}
	for {
		now := p.cfg.Now()
		p.mu.Lock()
		seen, cached := p.stops, p.leases[key]
		p.mu.Unlock()
		if cached != nil && now.Before(cached.until) && !p.cfg.Fresh {
			return cached, nil
		}
		fresh, err := p.decide(ctx, local, hash, r, now)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		fresh.seq = seen
		current := p.stops == seen
		if current {
			p.keep(key, fresh, now)
		}
		p.mu.Unlock()
		if current {
			return fresh, nil
		}
	}
}

// keep caches a lease; the caller holds mu. A full cache first drops what has ended.
func (p *Plane) keep(key leaseKey, l *lease, now time.Time) {
	if len(p.leases) >= maxLeases {
		for k, old := range p.leases {
			if !now.Before(old.until) {
				delete(p.leases, k)
			}
		}
	}
	if len(p.leases) < maxLeases {
		p.leases[key] = l
	}
}
