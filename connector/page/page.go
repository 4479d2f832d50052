// Package page is keyset paging over lists that are ordered by creation time, then id.
package page

import "time"

// MaxLimit bounds one page.
const MaxLimit = 1000

// Key is the place of a row in its list.
type Key struct {
	Created time.Time
	ID      string
}

// Request asks for at most Limit rows after After (zero: from the start), newest first when Newest is set.
type Request struct {
	After  Key
	Limit  int // 1 to MaxLimit; 0 means 100
	Newest bool
}

// Size returns the effective limit.
func (r Request) Size() int {
	switch {
	case r.Limit <= 0:
		return 100
	case r.Limit > MaxLimit:
		return MaxLimit
	}
	return r.Limit
}

// Of is one page. Next is the key to continue from; zero when this is the last page.
type Of[T any] struct {
	Items []T
	Next  Key
}
