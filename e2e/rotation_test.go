package e2e_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/store"
)

// exchangesUnderRotation is how many exchanges there are at least: SLUICE_ROTATION of "make rotation", or a few.
func exchangesUnderRotation(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv("SLUICE_ROTATION")
	if text == "" {
		return 60
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("SLUICE_ROTATION %q: want a number of exchanges", text)
	}
	return n
}

// doubts counts what companies logged of somebody who could not prove who it is.
type doubts struct {
	slog.Handler
	t     *testing.T
	count *atomic.Int64
}

func (d doubts) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "caller not authenticated", "presentation refused", "presentation not given":
		d.count.Add(1)
		r.Attrs(func(a slog.Attr) bool { d.t.Logf("%s: %s", r.Message, a); return true })
	}
	return d.Handler.Handle(ctx, r)
}

func (d doubts) WithAttrs(attrs []slog.Attr) slog.Handler {
	return doubts{d.Handler.WithAttrs(attrs), d.t, d.count}
}

// comeAgain is how often an exchange is begun again that a peer had no time for: a machine with other things to do decides too slowly now and
// then, and says so. It is no excuse for who is not believed, which is counted.
const comeAgain = 5

// Every key of all five companies is rotated twice, those of the authority too, while companies trade; no exchange fails. The first time the
// new keys are published for two seconds, so that peers which keep an older document must look again at a key they do not know; the second
// time for as long as that look is not repeated. That somebody is doubted for a moment is healed by sending the message
// again, and is rare: fewer than one doubt in a hundred exchanges.
func TestNoExchangeFailsWhileEveryKeyIsRotated(t *testing.T) {
	t.Parallel()
	want := exchangesUnderRotation(t)
	var doubted atomic.Int64
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now, Members: members, Change: func(_ string, cfg *connector.Config) {
		cfg.Settings.Limits.OpenProcesses = int(2*want) + 10_000 // nobody ends a transfer here
	}, Log: func(slug string) *slog.Logger {
		return slog.New(doubts{slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}), t, &doubted}).With(slog.String("company", slug))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	asset := publish(t, n.Companies["cobalt"]).Assets[0]
	var done, failed, again atomic.Int64
	pull := func(consumer *network.Company) error {
		result, err := consumer.Pull(t.Context(), consumer.Local, exchange.Errand{Peer: n.Companies["cobalt"].Local.DID, Asset: asset, Fresh: true, Actor: "test"})
		if err == nil {
			_, err = io.Copy(io.Discard, result.Body)
			_ = result.Body.Close()
		}
		return err
	}
	trade := func(consumer *network.Company) {
		err := pull(consumer)
		for i := 0; i < comeAgain && fault.Is(err, fault.Unavailable); i++ {
			again.Add(1)
			err = pull(consumer)
		}
		if err != nil {
			failed.Add(1)
			t.Errorf("exchange of %s: %v", consumer.Local.Slug, err)
		}
		done.Add(1)
	}
	trading, stop := context.WithCancel(t.Context())
	quarter, half := make(chan struct{}), make(chan struct{})
	var workers sync.WaitGroup
	for i := range 4 {
		workers.Go(func() {
			consumer := n.Companies[[]string{"boreal", "aurora"}[i%2]]
			for (trading.Err() == nil || done.Load() < want) && failed.Load() < 10 && t.Context().Err() == nil {
				trade(consumer)
				if done.Load() >= want/4 {
					closeOnce(quarter)
				}
				if done.Load() >= want/2 {
					closeOnce(half)
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { workers.Wait(); close(finished) }()
	for i, overlap := range []time.Duration{2 * time.Second, 10 * time.Second} {
		select {
		case <-[]chan struct{}{quarter, half}[i]:
		case <-finished:
			t.Fatal("the trade ended before the keys were rotated")
		}
		var all sync.WaitGroup
		for _, c := range n.Companies {
			all.Go(func() { rotateAll(t, c, overlap, int64(i)+2) })
		}
		all.Wait()
		t.Logf("all keys are of generation %d after %d exchanges", i+2, done.Load())
	}
	stop()
	<-finished
	t.Logf("%d exchanges, %d failed; %d begun again, because a peer was too busy; %d doubts", done.Load(), failed.Load(), again.Load(), doubted.Load())
	if doubted.Load() > done.Load()/100 {
		t.Errorf("%d doubts in %d exchanges: a key signs before its peers can know it", doubted.Load(), done.Load())
	}
}

var closing sync.Mutex

// closeOnce closes a channel unless it is closed.
func closeOnce(c chan struct{}) {
	closing.Lock()
	defer closing.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

// rotateAll rotates every key of the company and waits until those of the generation are in use.
func rotateAll(t *testing.T, c *network.Company, overlap time.Duration, generation int64) {
	changed := c.Store().Notify(t.Context(), c.Local.ID)
	if _, err := c.Keeper().Rotate(t.Context(), c.Local, keyring.Rotation{Overlap: &overlap, Actor: "test"}); err != nil {
		t.Errorf("%s: %v", c.Local.Slug, err)
		return
	}
	for {
		keys, err := c.Keeper().List(t.Context(), c.Local)
		if err != nil {
			t.Errorf("%s: %v", c.Local.Slug, err)
			return
		}
		active := 0
		for _, k := range keys {
			if k.State == store.KeyActive && k.Generation == generation {
				active++
			}
		}
		if active == len(keyring.Rotating()) {
			return
		}
		if _, ok := <-changed; !ok {
			t.Errorf("%s: %d keys of generation %d when the test ended", c.Local.Slug, active, generation)
			return
		}
	}
}
