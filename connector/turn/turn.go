// Package turn decides who may go next where few can go at once: a check of a signature, a look at somebody's DID document. Whoever must wait
// waits in a line of its own, and the lines take turns, so that a flood of one delays nobody but itself (security rule T-43).
//
// A line is named by who the work is done for: the address of a stranger. The name travels in the context (For), since who does the work
// mostly does not know. Work that nobody outside asked for has the line without a name, which takes turns like others and has no bounds of its own.
package turn

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrFull is the answer to who finds too many in its own line.
var ErrFull = errors.New("too many are in this line")

type lineKey struct{}

// For names the line that work under the context waits in.
func For(ctx context.Context, line string) context.Context {
	return context.WithValue(ctx, lineKey{}, line)
}

// Line is the name of the line, "" when none was named.
func Line(ctx context.Context) string {
	name, _ := ctx.Value(lineKey{}).(string)
	return name
}

// Queue lets a bounded number go at once. It is safe for concurrent use and must be made by New.
type Queue struct {
	share, length int

	mu    sync.Mutex
	free  int
	lines map[string]*line // that hold a place or wait for one
	ring  []*line          // that have somebody waiting and hold less than their share, next first
}

type line struct {
	name    string
	held    int
	waiting []chan struct{} // closed when it is their turn
	ringed  bool
}

// New returns a queue with so many places, of which one line has at most its share; length bounds a line, those who have a place included.
func New(places, share, length int) *Queue {
	return &Queue{share: share, length: length, free: places, lines: map[string]*line{}}
}

// Enter waits for a place and takes it; leave gives it back and must be called once. It fails with ErrFull at once, or with the context's error.
func (q *Queue) Enter(ctx context.Context) (leave func(), err error) {
	name := Line(ctx)
	q.mu.Lock()
	l, ok := q.lines[name]
	if !ok {
		l = &line{name: name}
		q.lines[name] = l
	}
	if name != "" && l.held+len(l.waiting) >= q.length {
		q.mu.Unlock()
		return nil, ErrFull
	}
	turn := make(chan struct{})
	l.waiting = append(l.waiting, turn)
	q.next(l)
	q.mu.Unlock()
	select {
	case <-turn:
		return func() { q.leave(l) }, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(l.waiting, turn); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		q.tidy(l)
	} else { // its turn came at the same moment
		q.give(l)
	}
	return nil, ctx.Err()
}

func (q *Queue) leave(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.give(l)
}

// give takes the place of a line back and lets the next go; the caller holds mu.
func (q *Queue) give(l *line) {
	l.held--
	q.free++
	q.next(l)
	q.tidy(l)
}

// next puts the line into the ring if it may be there, and lets go whoever can; the caller holds mu.
func (q *Queue) next(l *line) {
	q.enlist(l)
	for q.free > 0 && len(q.ring) > 0 {
		first := q.ring[0]
		q.ring = q.ring[1:]
		first.ringed = false
		close(first.waiting[0])
		first.waiting = first.waiting[1:]
		first.held++
		q.free--
		q.enlist(first)
	}
}

func (q *Queue) enlist(l *line) {
	if !l.ringed && len(l.waiting) > 0 && (l.held < q.share || l.name == "") {
		l.ringed = true
		q.ring = append(q.ring, l)
	}
}

// tidy takes a line with nobody waiting out of the ring, and forgets it when nobody is left; the caller holds mu.
func (q *Queue) tidy(l *line) {
	if len(l.waiting) > 0 {
		return
	}
	if l.ringed {
		q.ring = slices.DeleteFunc(q.ring, func(other *line) bool { return other == l })
		l.ringed = false
	}
	if l.held == 0 {
		delete(q.lines, l.name)
	}
}
