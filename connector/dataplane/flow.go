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
var ErrStopped = errors.New("what was allowed has ended")

// Flow is one request being answered. Its methods are for one goroutine; only stopping comes from others.
type Flow struct {
	plane *Plane
	local participant.Participant
	token string // hash
	req   policy.Request
	key   leaseKey
	lease *lease // nil until the first judging

	ctx    context.Context
	cancel context.CancelFunc

	// gate is held while bytes are handed to the network: stop ends the context first, then takes it to know that no more follow.
	gate sync.Mutex

	// line is held while the connection is touched from outside, which is not the flow's any more once it has ended.
	line     sync.Mutex
	ended    bool                // under line
	patience func(time.Duration) // how long a network write may block from now on

	last    string // id of the newest serve record
	granted int64
	sent    int64
	check   time.Time // when the time budget ends
	digest  hash.Hash
	begun   bool
	whole   bool
}

// Open judges the request and registers the flow. The caller must call End. The context that Flow.Context returns ends when the transfer is
// stopped. patience must bound how long network writes may block from now on, also one that blocks already; zero makes them return at once.
func (p *Plane) Open(ctx context.Context, local participant.Participant, token string, r policy.Request, patience func(time.Duration)) (*Flow, error) {
	sum := sha256.Sum256([]byte(token))
	f := &Flow{plane: p, local: local, token: hex.EncodeToString(sum[:]), req: r, patience: patience, digest: sha256.New()}
	f.key = leaseKey{local.ID, sha256.Sum256([]byte(f.token + "\x00" + r.Method + "\x00" + r.Path + "\x00" + r.Query))}
	f.ctx, f.cancel = context.WithCancel(ctx)
	if err := p.judge(f); err != nil {
		f.cancel()
		return nil, err
	}
	return f, nil
}

// Context ends when the transfer is stopped or the request ends.
func (f *Flow) Context() context.Context { return f.ctx }

// Asset is what the flow may serve, and nothing else.
func (f *Flow) Asset() catalog.Asset { return f.lease.asset }

// Content loads the asset's stored content.
func (f *Flow) Content(ctx context.Context) (catalog.Content, error) {
	return f.plane.cfg.Store.Content(ctx, f.local.ID, f.lease.asset.Address.Content)
}

// Peer is the counter-party, for headers that tell an upstream who asks.
func (f *Flow) Peer() policy.Party { return f.lease.peer }

// Number is the business partner number that the peer has proven, "" when it has none or its proof has ended.
func (f *Flow) Number() string { return f.Peer().BPN(f.plane.cfg.Now()) }

// Agreement is the id of the contract the flow runs under.
func (f *Flow) Agreement() string { return f.lease.agreement }

// BeginWhole commits the one serve record of a body that is known before it is sent.
func (f *Flow) BeginWhole(body []byte) error {
	if err := f.live(); err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	f.begun, f.whole = true, true
	f.granted = int64(len(body))
	return f.record(f.ctx, decisionlog.Served{Kind: decisionlog.KindOpen, Granted: f.granted, Sent: f.granted, Digest: hex.EncodeToString(sum[:]), Whole: true})
}

// Begin commits serve.open with the first budget: no byte may be written before it returned nil.
func (f *Flow) Begin() error {
	if err := f.live(); err != nil {
		return err
	}
	f.begun = true
	return f.grant(decisionlog.KindOpen)
}

// live judges again when the lease has run out: an upstream may have taken its time to answer.
func (f *Flow) live() error {
	if f.plane.cfg.Now().Before(f.lease.until) {
		return nil
	}
	return f.plane.judge(f)
}

// grant commits the next budget. Its time ends with the lease, so that no byte rests on a decision that has run out.
func (f *Flow) grant(kind string) error {
	f.granted = f.sent + ByteBudget
	f.check = f.plane.cfg.Now().Add(TimeBudget)
	if f.lease.until.Before(f.check) {
		f.check = f.lease.until
	}
	return f.record(f.ctx, decisionlog.Served{Kind: kind, Granted: f.granted, Sent: f.sent})
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
	limit := WriteLimit
	if end := f.lease.end; !end.IsZero() {
		limit = min(limit, end.Sub(f.plane.cfg.Now()))
	}
	if limit <= 0 || f.ctx.Err() != nil {
		return 0, ErrStopped
	}
	f.patience(limit)
	if f.ctx.Err() != nil { // stop may have asked for haste just before, and has been overruled
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

// renew judges again and commits the next budget when the bytes or the time of the current one are spent.
func (f *Flow) renew() error {
	if f.whole || f.sent < f.granted && f.plane.cfg.Now().Before(f.check) {
		return nil
	}
	if err := f.plane.judge(f); err != nil {
		return err
	}
	return f.grant(decisionlog.KindChunk)
}

// End closes the flow: its serve.close record is committed even when the request's own context has ended.
func (f *Flow) End() {
	f.line.Lock()
	f.ended = true
	f.line.Unlock()
	f.plane.leave(f)
	if f.begun && !f.whole {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), 5*time.Second)
		defer cancel()
		err := f.record(ctx, decisionlog.Served{Kind: decisionlog.KindClose, Granted: f.granted, Sent: f.sent, Digest: hex.EncodeToString(f.digest.Sum(nil))})
		if err != nil {
			f.plane.cfg.Log.ErrorContext(ctx, "serve.close was not recorded", slog.String("transfer", f.lease.transfer),
				slog.Int64("sent", f.sent), slog.Any("error", err))
		}
	}
	f.cancel()
}

// stop ends the permission and waits until the write that may be under way has returned.
func (f *Flow) stop() {
	f.cancel()
	if !f.gate.TryLock() {
		// A write is under way and may be blocked by a slow reader: break it, then wait.
		f.hurry()
		f.gate.Lock()
	}
	defer f.gate.Unlock()
	f.hurry() // what the server still holds in its buffers stays here too
}

// hurry makes every network write of the flow return at once.
func (f *Flow) hurry() {
	f.line.Lock()
	defer f.line.Unlock()
	if !f.ended {
		f.patience(0)
	}
}

// record seals and commits one serve record of the flow.
func (f *Flow) record(ctx context.Context, s decisionlog.Served) error {
	const op = "dataplane.record"
	s.Now, s.Decision, s.Previous = f.plane.cfg.Now(), f.lease.decision, f.last
	s.Transfer, s.Agreement, s.Asset = f.lease.transfer, f.lease.agreement, f.lease.asset.ID
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
