package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
)

// Hold is the Due of a message at the commit that owes it: the first attempt is made at once by who committed it, and only if
// that process died, or its queue was full, does the timer find the message then.
const Hold = 5 * time.Second

// conflict is the answer of a peer whose process is elsewhere, or busy.
const conflict = 409

var errEarly = errors.New("the peer is not ready for the message")

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 60 * time.Second
	maxLater     = 5 * time.Minute
	lease        = 30 * time.Second // longer than an attempt and the look after it may take
	attemptLimit = 14 * time.Second
	batch        = 64
	perPeer      = 16          // attempts at once towards one peer: one that hangs starves nobody else
	perPeerLine  = 1024        // messages that wait for a place towards one peer; what is beyond waits in the store
	afterFailure = time.Second // until the store is asked again after it failed
	patience     = 5           // attempts that a peer may call too early: three seconds of backoff
)

// Config carries what an Outbox is made of. All fields are required unless said otherwise.
type Config struct {
	Store    Store
	Sender   Sender
	Owners   map[commit.ProcessKind]Owner
	Now      func() time.Time
	Rand     io.Reader // jitter; safe for concurrent use
	Log      *slog.Logger
	Workers  int           // attempts at once; 0: 64
	Deadline time.Duration // after this a message is given up; 0: 24 h
}

// Outbox delivers what is owed. Run must be running for anything to be sent.
type Outbox struct {
	cfg   Config
	began time.Time
	queue chan commit.Owed
	wake  chan time.Time // something is due then, maybe earlier than the timer thinks

	mu      sync.Mutex
	busy    map[process]string                // the owed id that is under way or waiting for a place: one attempt per process at a time
	after   map[process]commit.Owed           // owed by a process that is busy with what it owed before: sent next, so that order is kept
	peers   map[participant.DID]int           // attempts under way per peer
	waiting map[participant.DID][]commit.Owed // more than perPeer at once, in order of arrival
}

type process struct {
	participant participant.ID
	kind        commit.ProcessKind
	id          string
}

func processOf(o commit.Owed) process { return process{o.Participant, o.Process, o.ProcessID} }

// New returns an Outbox.
func New(cfg Config) *Outbox {
	if cfg.Workers == 0 {
		cfg.Workers = 64
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = 24 * time.Hour
	}
	return &Outbox{cfg: cfg, began: cfg.Now(), queue: make(chan commit.Owed, 4096), wake: make(chan time.Time, 1), busy: map[process]string{},
		after: map[process]commit.Owed{}, peers: map[participant.DID]int{}, waiting: map[participant.DID][]commit.Owed{}}
}

// Send hands a committed message over for its first attempt. It never blocks: when the queue is full the message is left to the timer,
// which finds it in the store.
func (b *Outbox) Send(o commit.Owed) {
	if o.URL != "" { // a deadline only has its time
		b.requeue(o)
	}
	b.dueAt(o.Due)
}

// dueAt tells the timer of a due time. When several are told at once the earliest stays.
func (b *Outbox) dueAt(t time.Time) {
	for {
		select {
		case b.wake <- t:
			return
		default:
		}
		select {
		case other := <-b.wake:
			if other.Before(t) {
				t = other
			}
		default:
		}
	}
}

// Run delivers until the context ends, then waits for the attempts under way.
func (b *Outbox) Run(ctx context.Context) {
	var workers sync.WaitGroup
	ready := make(chan commit.Owed)
	for range b.cfg.Workers {
		workers.Go(func() {
			for o := range ready {
				b.attempt(ctx, o)
			}
		})
	}
	b.takeBack(ctx)
	var timer sync.WaitGroup
	timer.Go(func() { b.retry(ctx) })
	for {
		select {
		case <-ctx.Done():
			timer.Wait()
			close(ready)
			workers.Wait()
			return
		case o := <-b.queue:
			if !b.admit(o) {
				continue
			}
			select {
			case ready <- o:
			case <-ctx.Done():
				b.release(o)
			}
		}
	}
}

// admit claims the message for one attempt of this process and a place towards its peer; a message that must wait for a place
// comes back to the queue when one is free.
func (b *Outbox) admit(o commit.Owed) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id, ok := b.busy[processOf(o)]; ok {
		if id != o.ID {
			b.after[processOf(o)] = o
		}
		return false
	}
	if b.peers[o.Peer] >= perPeer {
		if len(b.waiting[o.Peer]) < perPeerLine {
			b.busy[processOf(o)] = o.ID
			b.waiting[o.Peer] = append(b.waiting[o.Peer], o)
		}
		return false
	}
	b.busy[processOf(o)] = o.ID
	b.peers[o.Peer]++
	return true
}

// release gives the place up, and lets what waited for it, or for this message, come next.
func (b *Outbox) release(o commit.Owed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, processOf(o))
	if b.peers[o.Peer]--; b.peers[o.Peer] <= 0 {
		delete(b.peers, o.Peer)
	}
	if next, ok := b.after[processOf(o)]; ok {
		delete(b.after, processOf(o))
		b.requeue(next)
	}
	if waiting := b.waiting[o.Peer]; len(waiting) > 0 {
		delete(b.busy, processOf(waiting[0]))
		b.requeue(waiting[0])
		if b.waiting[o.Peer] = waiting[1:]; len(waiting) == 1 {
			delete(b.waiting, o.Peer)
		}
	}
}

func (b *Outbox) requeue(o commit.Owed) {
	select {
	case b.queue <- o:
	default: // the timer finds it
	}
}

// retry claims what is due when it is due. The store is asked at the start and when the timer fires, never in between: what this
// process owes meanwhile it tells itself.
func (b *Outbox) retry(ctx context.Context) {
	armed := b.cfg.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case due := <-b.wake:
			if !armed.IsZero() && !due.Before(armed) {
				continue
			}
			armed = due
		case <-timer.C:
			armed = b.next(ctx)
			if armed.IsZero() {
				continue
			}
		}
		timer.Reset(max(armed.Sub(b.cfg.Now()), 0))
	}
}

// takeBack claims at the start what a process that died had taken: it is leased to it still. A replica that lives may then send a message
// at the same time, which the receiver answers like any repeat. What this process committed itself meanwhile is in the queue already. No
// attempt is under way yet, so none is disturbed; what the queue cannot hold comes when its lease ends.
func (b *Outbox) takeBack(ctx context.Context) {
	for room := cap(b.queue); room > 0; room -= batch {
		owed, err := b.cfg.Store.Claim(ctx, b.cfg.Now().Add(lease), lease, batch)
		for _, o := range owed {
			if !o.Created.Before(b.began) {
				continue
			}
			if o.Due.After(b.cfg.Now()) && o.URL == "" { // a deadline is nobody's attempt: it comes when the lease is over
				b.dueAt(b.cfg.Now().Add(lease))
				continue
			}
			select {
			case b.queue <- o:
			default:
			}
		}
		if err != nil && ctx.Err() == nil {
			b.cfg.Log.ErrorContext(ctx, "owed messages not claimed", slog.Any("error", err))
		}
		if err != nil || len(owed) < batch {
			return
		}
	}
}

// next claims what is due and returns when the next message is; zero when nothing is owed.
func (b *Outbox) next(ctx context.Context) time.Time {
	for {
		now := b.cfg.Now()
		due, ok, err := b.cfg.Store.NextDue(ctx)
		taken := 0
		switch {
		case err == nil && !ok:
			return time.Time{}
		case err == nil && due.After(now):
			return due
		case err == nil:
			taken, err = b.claim(ctx, now)
		}
		switch {
		case ctx.Err() != nil:
			return time.Time{}
		case err != nil:
			b.cfg.Log.ErrorContext(ctx, "owed messages not claimed", slog.Any("error", err))
			return now.Add(afterFailure)
		case taken == 0: // somebody else took it in between
			return now.Add(firstBackoff)
		}
	}
}

func (b *Outbox) claim(ctx context.Context, now time.Time) (int, error) {
	owed, err := b.cfg.Store.Claim(ctx, now, lease, batch)
	return len(owed), errors.Join(err, b.enqueue(ctx, owed))
}

func (b *Outbox) enqueue(ctx context.Context, owed []commit.Owed) error {
	for _, o := range owed {
		select {
		case b.queue <- o:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// attempt makes one attempt and commits what came of it.
func (b *Outbox) attempt(ctx context.Context, o commit.Owed) {
	defer b.release(o)
	log := b.cfg.Log.With(slog.String("message", o.Message), slog.String("process", o.ProcessID), slog.String("peer", string(o.Peer)))
	owner, ok := b.cfg.Owners[o.Process]
	if !ok {
		log.ErrorContext(ctx, "nobody owns this kind of process", slog.String("kind", string(o.Process)))
		b.postpone(ctx, o, fmt.Errorf("nobody owns processes of kind %s", o.Process))
		return
	}
	if owes, err := b.cfg.Store.Owes(ctx, o.ID); err == nil && !owes || ctx.Err() != nil {
		return
	} else if err != nil {
		log.ErrorContext(ctx, "store not read, will be tried again", slog.Any("error", err))
		b.postpone(ctx, o, err)
		return
	}
	if o.URL == "" {
		if err := owner.Expired(ctx, o); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "deadline not kept, will be tried again", slog.Any("error", err))
			b.postpone(ctx, o, err)
		}
		return
	}
	sendCtx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	answer, err := b.cfg.Sender.Send(sendCtx, o)
	if ctx.Err() != nil {
		return // stopping: the row is still owed
	}
	switch {
	case err != nil && b.late(o):
		o.LastError = err.Error()
		err = owner.Rejected(ctx, o, Answer{})
	case err != nil:
		log.WarnContext(ctx, "message not delivered, will be tried again", slog.Int("attempt", o.Attempt+1), slog.Any("error", err))
		b.postpone(ctx, o, err)
		return
	case answer.OK():
		err = owner.Delivered(ctx, o, answer)
	default:
		err = b.rejected(ctx, o, answer, owner)
	}
	if err != nil && ctx.Err() == nil {
		level := slog.LevelError
		if errors.Is(err, errEarly) {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, "outcome of a message not settled, will be tried again", slog.Any("error", err))
		b.postpone(ctx, o, err)
	}
}

// late reports whether the message is given up when it fails now.
func (b *Outbox) late(o commit.Owed) bool { return b.cfg.Now().Sub(o.Created) > b.cfg.Deadline }

// rejected looks at the peer's state before it believes a 4xx: an earlier attempt may have got through although its answer was lost,
// and after a crash not even the number of attempts tells. A look that fails proves nothing, so the message stays owed. A 409 about a
// process that the peer knows may mean that the peer is still busy with what it said before, so it is not believed at once.
func (b *Outbox) rejected(ctx context.Context, o commit.Owed, refused Answer, owner Owner) error {
	lookCtx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	seen, err := b.cfg.Sender.Look(lookCtx, o)
	switch {
	case errors.Is(err, ErrNowhere), err == nil && !seen.OK():
		return owner.Rejected(ctx, o, refused)
	case err != nil && b.late(o):
		o.LastError = err.Error()
		return owner.Rejected(ctx, o, Answer{})
	case err != nil:
		return fmt.Errorf("refused with %d, and the look at the peer's state failed: %w", refused.Status, err)
	case refused.Status == conflict && o.Attempt < patience:
		return fmt.Errorf("%w: it is in state %s", errEarly, seen.State)
	}
	seen.Code, seen.Reasons = refused.Code, refused.Reasons
	return owner.Rejected(ctx, o, seen)
}

// postpone stores the time of the next attempt: the next pause, or when the peer wants to be asked, which it can put off only so far.
func (b *Outbox) postpone(ctx context.Context, o commit.Owed, why error) {
	pause := b.backoff(o.Attempt)
	var later *Later
	if errors.As(why, &later) {
		pause = max(pause, min(later.After, maxLater))
	}
	due := b.cfg.Now().Add(pause)
	if err := b.cfg.Store.Postpone(ctx, o.ID, due, why.Error()); err != nil {
		b.cfg.Log.ErrorContext(ctx, "retry not stored; the lease brings it back", slog.Any("error", err))
		due = b.cfg.Now().Add(lease)
	}
	b.dueAt(due)
}

// backoff doubles from firstBackoff to maxBackoff, with up to a quarter taken off at random so that many do not come at once.
func (b *Outbox) backoff(attempt int) time.Duration {
	d := min(firstBackoff<<min(attempt, 12), maxBackoff)
	var r [4]byte
	if _, err := io.ReadFull(b.cfg.Rand, r[:]); err == nil {
		d -= d / 4 * time.Duration(binary.BigEndian.Uint32(r[:])>>16) / (1 << 16)
	}
	return d
}
