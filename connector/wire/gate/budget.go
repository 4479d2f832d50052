package gate

import (
	"sync"
	"time"
)

// budget is a token bucket for each key. A bucket is the time at which it is full again, so one that is full need not be remembered: keys that were
// not touched for the time of filling up are forgotten, in two generations. Each generation is bounded as well. Who would have a bucket of its own
// forgotten early must touch maxKeys others first, of which each has as much in it as the one forgotten.
type budget[K comparable] struct {
	now   func() time.Time
	every time.Duration // one is earned
	size  time.Duration // to earn them all

	mu         sync.Mutex
	young, old map[K]time.Time // when it is full
	began      time.Time       // of the younger generation
}

// maxKeys bounds a generation.
const maxKeys = 1 << 15

func newBudget[K comparable](rate, burst int, now func() time.Time) *budget[K] {
	every := time.Second / time.Duration(rate)
	return &budget[K]{now: now, every: every, size: every * time.Duration(burst), young: map[K]time.Time{}, began: now()}
}

// take takes one, if there is one.
func (b *budget[K]) take(k K) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	full := b.full(k, now)
	ok := full.Add(b.every).Sub(now) <= b.size
	if ok {
		full = full.Add(b.every)
	}
	b.young[k] = full // refused or not: whoever comes again is not forgotten
	return ok
}

// spend takes so many, on credit if it must be, but never more credit than one filling.
func (b *budget[K]) spend(k K, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	full := b.full(k, now).Add(b.every * time.Duration(n))
	if most := now.Add(2 * b.size); full.After(most) {
		full = most
	}
	b.young[k] = full
}

// give gives one back.
func (b *budget[K]) give(k K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if full := b.full(k, now); full.After(now) {
		b.young[k] = full.Add(-b.every)
	}
}

// full is when the key's bucket is full, now at the earliest; the caller holds mu.
func (b *budget[K]) full(k K, now time.Time) time.Time {
	// A clock that was set back makes nobody wait longer than the emptiest bucket does.
	if age := now.Sub(b.began); age > 2*b.size || age < 0 || len(b.young) >= maxKeys {
		b.young, b.old, b.began = map[K]time.Time{}, b.young, now
	}
	full, ok := b.young[k]
	if !ok {
		full = b.old[k]
	}
	switch most := now.Add(2 * b.size); {
	case full.Before(now):
		return now
	case full.After(most):
		return most
	}
	return full
}
