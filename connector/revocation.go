package connector

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/policy"
)

const (
	// answering is how long who held an answer may take to give it.
	answering = 10 * time.Second
	// once a loss could not be acted upon, it is tried again after this; what flows is judged by what stands in any case.
	tryAgain = time.Second
)

// joinRevocation lets what is lost end what rests on it. It comes after the data plane and the transfers.
func (c *Connector) joinRevocation() {
	c.losses.news = make(chan struct{}, 1)
	for _, e := range c.ecosystems.all {
		e.watcher = credential.NewWatcher(credential.WatcherConfig{Lists: e.lists, Hold: dcphttp.Holder(c.patient), Rand: c.cfg.Rand, Log: c.cfg.Log})
		e.lists.OnRevoked(func(own, peer participant.DID, _ string) {
			for _, p := range c.hosted.all() {
				if p.DID == own && p.Profile == e.ID {
					c.lost(p, peer)
				}
			}
		})
	}
}

// lost cuts what runs to a peer of which something is not believed any more, here and now: no byte waits for a decision to stop it. What becomes of its
// transfers is decided after that.
func (c *Connector) lost(local participant.Participant, peer participant.DID) {
	c.plane.StopPeer(local.ID, string(peer))
	c.losses.add(loss{local.ID, peer})
}

// sweep looks at all open transfers of a participant: at the start, and after it was changed whom it believes.
func (c *Connector) sweep(ctx context.Context, local participant.Participant) error {
	_, lost, err := c.transfers.Sweep(ctx, local)
	for _, peer := range lost {
		c.lost(local, peer)
	}
	return err
}

// Stand implements transfer.Standing and dataplane.Standing: by the status lists of the participant's ecosystem.
func (e *ecosystems) Stand(ctx context.Context, local participant.Participant, process string, party policy.Party) (policy.Party, error) {
	lists := e.of(local).lists
	if lists == nil {
		return policy.Party{}, fault.Wrap("connector.Stand", fault.Unavailable, noProfile(local))
	}
	return lists.Stand(ctx, local, process, party)
}

// Rely implements transfer.Standing.
func (e *ecosystems) Rely(local participant.Participant, process string, party policy.Party) string {
	if lists := e.of(local).lists; lists != nil {
		return lists.Rely(local, process, party)
	}
	return ""
}

// Leave implements transfer.Standing. The name of a process is its own in all ecosystems.
func (e *ecosystems) Leave(process string) {
	for _, one := range e.all {
		one.lists.Leave(process)
	}
}

// loss is a peer that has shown a hosted participant something that is not believed any more.
type loss struct {
	participant participant.ID
	peer        participant.DID // "": nobody knows yet who
}

// losses are those that are still to be acted upon. What a crash leaves of them is seen again by the first look after it.
type losses struct {
	mu   sync.Mutex
	open map[loss]bool
	news chan struct{} // holds one when there are some
}

func (l *losses) add(it loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[loss]bool{}
	}
	l.open[it] = true
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *losses) take() map[loss]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.open
	l.open = nil
	return all
}

// run acts upon losses, one after the other, until the context ends.
func (l *losses) run(ctx context.Context, act func(ctx context.Context, it loss) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.news:
		}
		failed := map[loss]bool{}
		for it := range l.take() {
			if err := act(ctx, it); err != nil {
				failed[it] = true
			}
		}
		if len(failed) == 0 {
			continue
		}
		again := time.NewTimer(tryAgain)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
		for it := range failed {
			l.add(it)
		}
	}
}

func (c *Connector) reconsider(ctx context.Context, it loss) error {
	local, err := c.hosted.ByID(ctx, it.participant)
	switch {
	case err != nil:
	case it.peer == "":
		err = c.sweep(ctx, local)
	default:
		err = c.transfers.Reconsider(ctx, local, it.peer)
	}
	if err != nil && ctx.Err() == nil {
		c.cfg.Log.WarnContext(ctx, "transfers not judged again yet", slog.String("participant", local.Slug), slog.String("peer", string(it.peer)), slog.Any("error", err))
	}
	return err
}

// Watching is how many status lists are watched for changes, of all ecosystems.
func (c *Connector) Watching() int {
	n := 0
	for _, e := range c.ecosystems.all {
		n += e.watcher.Watching()
	}
	return n
}
