package gate

import (
	"net/netip"
	"time"
)

// MaxKeys bounds each of the two generations of a budget.
const MaxKeys = maxKeys

// Budget is that of addresses alone, for the tests of its memory.
type Budget struct{ *budget[netip.Addr] }

// NewBudget returns one.
func NewBudget(rate, burst int, now func() time.Time) Budget {
	return Budget{newBudget[netip.Addr](rate, burst, now)}
}

// Take takes one.
func (b Budget) Take(a netip.Addr) bool { return b.take(a) }

// Len is how many addresses are remembered.
func (b Budget) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.young) + len(b.old)
}

// Open is how many connections are open, and how many addresses and peers have some.
func (g *Gate) Open() (all, addresses, peers int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, len(g.held), len(g.owned)
}

// Forwarded is the address that stands for a request from a proxy.
func (g *Gate) Forwarded(proxy netip.Addr, headers ...string) netip.Addr {
	return g.forwarded(proxy, headers)
}
