package dataplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// ErrStopped is what a flow's writes return after its permission ended.
var ErrStopped = errors.New("the transfer was stopped")

// Flow is one request being answered. Its methods are for one goroutine; only stopping comes from others.
type Flow struct {
	plane *Plane
	local participant.Participant
	token string // hash
	req   policy.Request
	lease *lease

	ctx    context.Context
	cancel context.CancelFunc

	// gate is held while bytes are handed to the network: stop takes it to know that no more follow.
	gate      sync.Mutex
	stopped   bool   // under gate
	interrupt func() // makes a blocked network write return

	last    string // id of the newest serve record
	granted int64
	sent    int64
	check   time.Time // when the time budget ends
	digest  hash.Hash
	begun   bool
	whole   bool
}

// Open judges the request and registers the flow. The caller must call End. The context that Flow.Context returns
// ends when the transfer is stopped; interrupt must then make a network write that blocks return.
func (p *Plane) Open(ctx context.Context, local participant.Participant, token string, r policy.Request, interrupt func()) (*Flow, error) {
	sum := sha256.Sum256([]byte(token))
	tokenHash := hex.EncodeToString(sum[:])
	for {
		l, err := p.judge(ctx, local, tokenHash, r)
		if err != nil {
			return nil, err
		}
		f := &Flow{plane: p, local: local, token: tokenHash, req: r, lease: l, interrupt: interrupt, digest: sha256.New()}
		f.ctx, f.cancel = context.WithCancel(ctx)
		if p.register(f) {
			return f, nil
		}
		f.cancel()
	}
}

// register adds the flow unless its lease was withdrawn since it was judged.
func (p *Plane) register(f *Flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leases[leaseKey{f.local.ID, f.token}] != f.lease && p.stops != f.lease.seq {
		return false
	}
	key := flowKey{f.local.ID, f.lease.transfer.ID}
	set := p.flows[key]
	if set == nil {
		set = map[*Flow]struct{}{}
		p.flows[key] = set
	}
	set[f] = struct{}{}
	return true
}

// Context ends when the transfer is stopped or the request ends.
func (f *Flow) Context() context.Context { return f.ctx }

// Asset is what the flow may serve, and nothing else.
func (f *Flow) Asset() catalog.Asset { return f.lease.asset }

// Content loads the asset's stored content.
func (f *Flow) Content(ctx context.Context) (catalog.Content, error) {
	return f.plane.cfg.Store.Content(ctx, f.local.ID, f.lease.asset.Address.Content)
}

// Peer and Agreement name the counter-party and the contract, for headers that tell an upstream who asks.
func (f *Flow) Peer() policy.Party { return f.lease.transfer.Claims }

// Number is the business partner number that the peer has proven, "" when it has none or its proof has ended.
func (f *Flow) Number() string { return f.Peer().BPN(f.plane.cfg.Now()) }

// Agreement is the id of the contract the flow runs under.
func (f *Flow) Agreement() string { return f.lease.agreement.ID }

// BeginWhole commits the one serve record of a body that is known before it is sent.
func (f *Flow) BeginWhole(body []byte) error {
	sum := sha256.Sum256(body)
	f.begun, f.whole = true, true
	f.granted = int64(len(body))
	f.check = f.lease.until
	return f.record(f.ctx, decisionlog.Served{Kind: decisionlog.KindOpen, Granted: f.granted, Sent: f.granted, Digest: hex.EncodeToString(sum[:]), Whole: true})
}

// Begin commits serve.open with the first budget: no byte may be written before it returned nil.
func (f *Flow) Begin() error {
	f.begun = true
	f.granted = ByteBudget
	f.check = f.plane.cfg.Now().Add(TimeBudget)
	return f.record(f.ctx, decisionlog.Served{Kind: decisionlog.KindOpen, Granted: f.granted})
}

// Write sends b through send under the budget. It commits further budgets as needed and returns ErrStopped,
// or the refusal, when the permission ended; then nothing of b beyond the returned count has been sent.
func (f *Flow) Write(b []byte, send func([]byte) (int, error)) (int, error) {
	done := 0
	for done < len(b) {
		if err := f.renew(); err != nil {
			return done, err
		}
		part := b[done:]
		if room := f.granted - f.sent; int64(len(part)) > room {
			part = part[:room]
		}
		n, err := f.pass(part, send)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// pass hands one granted part to the network, under the gate.
func (f *Flow) pass(part []byte, send func([]byte) (int, error)) (int, error) {
	f.gate.Lock()
	defer f.gate.Unlock()
	if f.stopped {
		return 0, ErrStopped
	}
	n, err := send(part)
	f.sent += int64(n)
	if !f.whole {
		f.digest.Write(part[:n])
	}
	if err != nil && f.ctx.Err() != nil {
		err = ErrStopped
	}
	return n, err
}

// renew commits the next budget when the bytes or the time of the current one are spent.
func (f *Flow) renew() error {
	if f.whole {
		return nil
	}
	now := f.plane.cfg.Now()
	if f.sent < f.granted && now.Before(f.check) {
		return nil
	}
	l, err := f.plane.judge(f.ctx, f.local, f.token, f.req)
	if err != nil {
		return err
	}
	f.lease = l
	f.granted = f.sent + ByteBudget
	f.check = now.Add(TimeBudget)
	return f.record(f.ctx, decisionlog.Served{Kind: decisionlog.KindChunk, Granted: f.granted, Sent: f.sent})
}

// End closes the flow: its serve.close record is committed even when the request's own context has ended.
func (f *Flow) End() {
	f.plane.forget(f)
	if f.begun && !f.whole {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), 5*time.Second)
		defer cancel()
		err := f.record(ctx, decisionlog.Served{Kind: decisionlog.KindClose, Granted: f.granted, Sent: f.sent, Digest: hex.EncodeToString(f.digest.Sum(nil))})
		if err != nil {
			f.plane.cfg.Log.ErrorContext(ctx, "serve.close was not recorded", slog.String("transfer", f.lease.transfer.ID),
				slog.Int64("sent", f.sent), slog.Any("error", err))
		}
	}
	f.cancel()
}

func (p *Plane) forget(f *Flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := flowKey{f.local.ID, f.lease.transfer.ID}
	delete(p.flows[key], f)
	if len(p.flows[key]) == 0 {
		delete(p.flows, key)
	}
}

// stop ends the permission and waits until the write that may be under way has returned.
func (f *Flow) stop() {
	f.cancel()
	if f.gate.TryLock() {
		f.stopped = true
		f.gate.Unlock()
		return
	}
	// A write is under way and may be blocked by a slow reader: break it, then wait.
	f.interrupt()
	f.gate.Lock()
	f.stopped = true
	f.gate.Unlock()
}

// record seals and commits one serve record of the flow.
func (f *Flow) record(ctx context.Context, s decisionlog.Served) error {
	const op = "dataplane.record"
	s.Now, s.Decision, s.Previous = f.plane.cfg.Now(), f.lease.decision, f.last
	s.Transfer, s.Agreement, s.Asset = f.lease.transfer.ID, f.lease.agreement.ID, f.lease.asset.ID
	entry, err := f.plane.cfg.Decider.Serve(ctx, f.local.Slug, s)
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	if err := f.plane.cfg.Store.Record(ctx, f.local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}); err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	f.last = entry.ID
	return nil
}
