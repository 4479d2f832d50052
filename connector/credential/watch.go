package credential

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/participant"
)

const (
	// MaxWait is how long a request for a list that has not changed is held at most.
	MaxWait = 30 * time.Second
	// spacing lies between two requests for one list at least: what changes all the time is looked at ten times a second.
	spacing = 100 * time.Millisecond
	// spacingMax is what spacing grows to while a list comes again and again that says the same.
	spacingMax = 500 * time.Millisecond
	// plain is for how long at least a server that does not hold requests is left alone.
	plain = time.Minute

	backOffMin = time.Second
	backOffMax = time.Minute
)

// WatcherConfig carries what a Watcher is made of. All fields are required unless said otherwise.
type WatcherConfig struct {
	Lists   *Lists
	Hold    Hold
	Total   int // lists that are watched at once; 0: 1024
	PerHost int // at one host; 0: 32
	Rand    io.Reader
	Log     *slog.Logger
}

// Watcher holds one request open for each list that something living depends on, so that a change is known when it is published. It never polls:
// a server that does not hold requests is asked again when its list is no longer fresh, and one that fails after a growing pause. What it learns goes
// the way of every other list; what is not in order changes nothing, and is left to who needs the list.
type Watcher struct {
	cfg WatcherConfig

	mu      sync.Mutex
	running map[string]*watching
	hosts   map[string]int
}

// watching is one list that is watched.
type watching struct {
	host string
	stop context.CancelFunc
}

// NewWatcher returns a Watcher.
func NewWatcher(cfg WatcherConfig) *Watcher {
	if cfg.Total == 0 {
		cfg.Total = 1024
	}
	if cfg.PerHost == 0 {
		cfg.PerHost = 32
	}
	return &Watcher{cfg: cfg, running: map[string]*watching{}, hosts: map[string]int{}}
}

// Watching is how many lists are watched.
func (w *Watcher) Watching() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.running)
}

// Run watches until the context ends, and returns when nothing of it runs any more. It may run once.
func (w *Watcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	full := false
	for {
		wanted := map[string]bool{}
		for _, list := range w.cfg.Lists.Known() {
			wanted[list] = true
		}
		w.mu.Lock()
		for list, it := range w.running {
			if !wanted[list] {
				it.stop()
			}
		}
		left := 0
		for list := range wanted {
			if w.running[list] != nil {
				continue
			}
			own, ok := w.admit(ctx, list)
			if !ok {
				left++
				continue
			}
			all.Go(func() {
				w.watch(own, list)
				w.dismiss(list)
			})
		}
		w.mu.Unlock()
		if left > 0 && !full {
			w.cfg.Log.WarnContext(ctx, "more status lists than are watched: the others are looked at when they are no longer fresh", slog.Int("count", left))
		}
		full = left > 0
		select {
		case <-ctx.Done():
			return
		case <-w.cfg.Lists.moved:
		}
	}
}

// admit gives a list its place, if there is one left; the caller holds mu.
func (w *Watcher) admit(ctx context.Context, list string) (context.Context, bool) {
	u, err := url.Parse(list)
	if err != nil || len(w.running) >= w.cfg.Total || w.hosts[u.Host] >= w.cfg.PerHost {
		return nil, false
	}
	own, stop := context.WithCancel(ctx)
	w.running[list] = &watching{u.Host, stop}
	w.hosts[u.Host]++
	return own, true
}

// dismiss takes the place back, and lets who waits for one, or for this list again, have it.
func (w *Watcher) dismiss(list string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	it := w.running[list]
	it.stop()
	delete(w.running, list)
	if w.hosts[it.host]--; w.hosts[it.host] == 0 {
		delete(w.hosts, it.host)
	}
	w.cfg.Lists.move()
}

// watch looks at one list again and again, each time when its server says so, until nothing depends on it.
func (w *Watcher) watch(ctx context.Context, list string) {
	l := w.cfg.Lists
	failures, blind, idle := 0, 0, 0
	for ctx.Err() == nil {
		have, ok := l.have(list)
		if !ok {
			return
		}
		began := l.cfg.Now()
		got, err := w.cfg.Hold(ctx, list, listAccept, have.tag, have.wait, maxList)
		var changed bool
		if err == nil {
			changed, err = l.take(ctx, list, have, got)
		}
		if have.tag != "" {
			blind = 0
		} else {
			blind++
		}
		took := l.cfg.Now().Sub(began)
		if changed || took >= have.wait/2 {
			idle = 0
		}
		pause := min(spacing<<min(idle, 10), spacingMax) - took
		idle++
		same := got.Same || have.tag != "" && got.Tag == have.tag // a server need not know what is asked of it
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.cfg.Log.InfoContext(ctx, "a status list is not watched for a while", slog.String("list", list), slog.Any("error", err))
			failures++
		case got.Tag == "", same && !got.Held:
			failures, pause = 0, max(plain, l.freshFor(list))
		case same && took < have.wait/2, blind > 1: // it says that it waits, and does not; or it is forgotten here as soon as it is known
			failures++
		default:
			failures = 0
		}
		if failures > 0 {
			pause = w.backOff(failures)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// backOff grows from a second to a minute, of which half is drawn.
func (w *Watcher) backOff(failures int) time.Duration {
	d := min(backOffMin<<min(failures-1, 10), backOffMax)
	n, err := rand.Int(w.cfg.Rand, big.NewInt(int64(d/2)))
	if err != nil {
		return d
	}
	return d/2 + time.Duration(n.Int64())
}

// sleep reports whether the context still lives after the pause.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// had is what a watcher knows of a list.
type had struct {
	tag     string
	wait    time.Duration
	issuers []participant.DID // of the credentials that depend on it, and its own
}

// have returns what is known of a list that something living depends on.
func (l *Lists) have(list string) (had, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.records[list]
	if !ok || !l.living(r) {
		return had{}, false
	}
	// The list is to be looked at before it is no longer fresh, also when the connection has died in silence.
	h := had{wait: min(MaxWait, max(min(l.cfg.Life, maxListLife)/2, time.Second).Truncate(time.Second))}
	for _, places := range r.watch {
		for _, p := range places {
			if !slices.Contains(h.issuers, p.issuer) {
				h.issuers = append(h.issuers, p.issuer)
			}
		}
	}
	if r.version != nil {
		h.tag = r.version.tag
		if !slices.Contains(h.issuers, r.version.issuer) {
			h.issuers = append(h.issuers, r.version.issuer)
		}
	}
	return h, true
}

// freshFor is for how long a list need not be looked at again.
func (l *Lists) freshFor(list string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.records[list]; ok && r.version != nil {
		return r.version.fresh.Sub(l.cfg.Now())
	}
	return 0
}

// take judges what a watcher got, and reports whether the list is another than before. What is not in order leaves everything as it is: the version at
// hand is good until it is no longer fresh, and who looks then refuses what it must.
func (l *Lists) take(ctx context.Context, list string, have had, got Fetched) (bool, error) {
	l.mu.Lock()
	r, ok := l.records[list]
	if !ok {
		l.mu.Unlock()
		return false, nil
	}
	if got.Same {
		defer l.mu.Unlock()
		v := r.version
		if have.tag == "" || v == nil || v.tag != have.tag {
			return false, errors.New("nothing that is known here is unchanged")
		}
		if v.fresh = l.until(*v, got.MaxAge); l.cfg.Now().Before(v.fresh) {
			r.failure = nil
		}
		return false, nil
	}
	r.users++
	l.mu.Unlock()
	defer l.leave(r)
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	v, err := l.read(ctx, list, have.issuers, got)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	err = r.older(list, v)
	changed := r.version == nil || string(r.version.bits.Bytes()) != string(v.bits.Bytes())
	l.mu.Unlock()
	if err != nil {
		return false, err
	}
	return changed, l.keep(ctx, list, r, v, nil)
}
