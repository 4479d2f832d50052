package dataplane

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
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
	// WriteLimit is how long the peer may take to accept one write before its stream is cut (rule T-43).
	WriteLimit = 30 * time.Second
	// PeerShare is the part of all streams that one peer may have: one in so many.
	PeerShare = 4
	// maxLeases bounds the cache of live decisions.
	maxLeases = 16384
	// attempts bounds how often a request is judged again because what it rests on changed meanwhile.
	attempts = 5
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

// Standing knows which of the credentials that a peer proved at the start of a transfer stand now.
type Standing interface {
	// Stand returns the party with those, by evidence that may be relied upon now; the transfer depends on them from then on. It fails when
	// that cannot be found out.
	Stand(ctx context.Context, local participant.Participant, transfer string, party policy.Party) (policy.Party, error)
}

// Config carries what a Plane is made of. All fields are required.
type Config struct {
	Store    Store
	Decider  Decider
	Standing Standing
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
	Streams  int // flows that may be open at once
	// Fresh asks the policy engine for every single request instead of relying on a lease.
	Fresh bool
}

// Plane opens flows and stops them. It is safe for concurrent use.
type Plane struct {
	cfg Config

	mu     sync.Mutex
	leases map[leaseKey]*lease
	looks  map[*look]struct{} // under way
	flows  map[flowKey]map[*Flow]struct{}
	count  int            // of flows
	peers  map[string]int // flows of each peer, by DID
}

// leaseKey names what was decided: one request with one token. It is a digest of both, for a peer chooses how long they are.
type leaseKey struct {
	participant participant.ID
	request     [sha256.Size]byte
}

type flowKey struct {
	participant participant.ID
	transfer    string
}

// lease is one allow at the data door with everything a flow needs; immutable once judged.
type lease struct {
	transfer  string
	agreement string
	peer      policy.Party
	asset     catalog.Asset
	decision  string    // id of its record
	expires   time.Time // of the token: from then on it opens nothing more; what it opened goes on
	end       time.Time // of what the policy allows; zero for none
	until     time.Time // when to judge again
}

// look is one judging under way. What is stopped or forgotten meanwhile is noted in it, because its outcome may rest on what was
// true before.
type look struct {
	stopped   []flowKey
	left      []peerKey
	forgotten bool
}

// peerKey is a peer of a hosted participant.
type peerKey struct {
	participant participant.ID
	peer        string
}

// New returns a Plane.
func New(cfg Config) *Plane {
	return &Plane{cfg: cfg, leases: map[leaseKey]*lease{}, looks: map[*look]struct{}{}, flows: map[flowKey]map[*Flow]struct{}{}, peers: map[string]int{}}
}

// Stop cuts every running flow of the transfer and forgets its leases. When it returns, none of them can send another byte.
func (p *Plane) Stop(owner participant.ID, transferID string) {
	key := flowKey{owner, transferID}
	p.mu.Lock()
	for l := range p.looks {
		l.stopped = append(l.stopped, key)
	}
	for k, l := range p.leases {
		if k.participant == owner && l.transfer == transferID {
			delete(p.leases, k)
		}
	}
	running := slices.Collect(maps.Keys(p.flows[key]))
	p.mu.Unlock()
	for _, f := range running {
		f.stop()
	}
}

// StopPeer cuts every running flow of the peer and forgets its leases: what it has proven is no longer what it was. When it returns, none of them
// can send another byte; the next request is judged anew.
func (p *Plane) StopPeer(owner participant.ID, peer string) {
	p.mu.Lock()
	for l := range p.looks {
		l.left = append(l.left, peerKey{owner, peer})
	}
	for k, l := range p.leases {
		if k.participant == owner && l.peer.DID == peer {
			delete(p.leases, k)
		}
	}
	var running []*Flow
	for key, flows := range p.flows {
		for f := range flows {
			if key.participant == owner && f.lease.peer.DID == peer {
				running = append(running, f)
			}
		}
	}
	p.mu.Unlock()
	for _, f := range running {
		f.cancel() // none of them is to send while others are waited for
	}
	for _, f := range running {
		f.stop()
	}
}

// Forget withdraws every lease: the next request of each token is judged anew. For whoever changed what leases rest on and
// cannot wait the second that they live at most.
func (p *Plane) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.looks {
		l.forgotten = true
	}
	clear(p.leases)
}

// Running returns how many flows are open, for metrics and for tests that nothing is left behind.
func (p *Plane) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// judge gives the flow a live lease: one that is kept, or a fresh decision whose record is committed. At the opening the flow also takes its
// place among those that Stop cuts.
func (p *Plane) judge(f *Flow) error {
	for range attempts {
		now := p.cfg.Now()
		under, l := p.begin(f.key)
		var err error
		if opening := f.lease == nil; l == nil || !now.Before(l.until) || opening && !now.Before(l.expires) {
			l, err = p.decide(f.ctx, f.local, f.token, f.req, now, opening)
		}
		if done, err := p.settle(under, f, l, err); done {
			return err
		}
	}
	return fault.New("dataplane.judge", fault.Unavailable, "what this request rests on is changing; try again")
}

// begin notes that a judging is under way, and returns the lease that is kept, if any.
func (p *Plane) begin(key leaseKey) (*look, *lease) {
	under := &look{}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks[under] = struct{}{}
	if p.cfg.Fresh {
		return under, nil
	}
	return under, p.leases[key]
}

// settle ends a judging; false when its outcome may have been overtaken, and it is to be done again.
func (p *Plane) settle(under *look, f *Flow, l *lease, err error) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.looks, under)
	if err != nil {
		return true, err
	}
	key := flowKey{f.local.ID, l.transfer}
	if under.forgotten || slices.Contains(under.stopped, key) || slices.Contains(under.left, peerKey{f.local.ID, l.peer.DID}) {
		return false, nil
	}
	if f.lease == nil {
		if err := p.admit(key, f, l.peer.DID); err != nil {
			return true, err
		}
	}
	f.lease = l
	p.keep(f.key, l)
	return true, nil
}

// admit gives the flow its place, if there is one left; the caller holds mu.
func (p *Plane) admit(key flowKey, f *Flow, peer string) error {
	const op = "dataplane.admit"
	if p.count >= p.cfg.Streams {
		return fault.New(op, fault.Unavailable, "as many streams are open here as may be; try again later")
	}
	if p.peers[peer] >= max(1, p.cfg.Streams/PeerShare) {
		return fault.New(op, fault.Exhausted, "you have as many streams open here as one peer may have; let some end first")
	}
	set := p.flows[key]
	if set == nil {
		set = map[*Flow]struct{}{}
		p.flows[key] = set
	}
	set[f] = struct{}{}
	p.count++
	p.peers[peer]++
	return nil
}

// leave takes back the place of a flow.
func (p *Plane) leave(f *Flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, peer := flowKey{f.local.ID, f.lease.transfer}, f.lease.peer.DID
	delete(p.flows[key], f)
	if len(p.flows[key]) == 0 {
		delete(p.flows, key)
	}
	p.count--
	if p.peers[peer]--; p.peers[peer] == 0 {
		delete(p.peers, peer)
	}
}

// keep caches a lease; the caller holds mu. A full cache first drops what has ended.
func (p *Plane) keep(key leaseKey, l *lease) {
	if len(p.leases) >= maxLeases {
		now := p.cfg.Now()
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
