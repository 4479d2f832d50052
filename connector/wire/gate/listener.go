package gate

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// stall is how long a peer may take nothing of what is written to it.
const stall = 30 * time.Second

// Listener accepts what is within bounds and closes everything else at once, before a byte is read or a goroutine is started for it.
func (g *Gate) Listener(l net.Listener) net.Listener { return listener{l, g} }

type listener struct {
	net.Listener
	gate *Gate
}

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if own, ok := l.gate.enter(c); ok {
			return own, nil
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset leaves nothing behind, not even in the kernel
		}
		_ = c.Close()
	}
}

func (g *Gate) enter(c net.Conn) (*conn, bool) {
	own := &conn{Conn: c, gate: g}
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		own.address = tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	own.proxy = g.proxy(own.address)
	own.address = whole(own.address)
	if !g.place(own) {
		g.turnedAway(context.Background(), own.address)
		return nil, false
	}
	if !own.proxy {
		if !g.strangers.take(own.address) {
			own.release()
			g.turnedAway(context.Background(), own.address)
			return nil, false
		}
		own.paid.Store(true)
	}
	return own, true
}

func (g *Gate) place(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.cfg.Connections || !c.proxy && g.held[c.address] >= g.cfg.AddressConnections {
		return false
	}
	g.open++
	if !c.proxy {
		g.held[c.address]++
	}
	return true
}

// conn is a connection that was let in.
type conn struct {
	net.Conn
	gate    *Gate
	address netip.Addr
	proxy   bool

	paid    atomic.Bool // its next request is
	trusted atomic.Bool // the last request on it had proven who is calling
	timed   atomic.Bool // somebody else minds the time of writes
	peer    string      // whose it is; guarded by gate.mu, like gone
	gone    bool
}

// own makes the connection the peer's. One that has its share of connections already leaves it with its address.
func (c *conn) own(peer string) {
	c.trusted.Store(true)
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.gone || c.peer != "" || c.proxy || g.owned[peer] >= max(g.cfg.Connections/4, 1) {
		return
	}
	c.peer = peer
	g.owned[peer]++
	drop(g.held, c.address)
}

// owner names whose connection it is.
func (c *conn) owner() string {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if c.peer == "" {
		return c.address.String()
	}
	return c.peer
}

// Close gives the place back.
func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

func (c *conn) release() {
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	g.open--
	switch {
	case c.peer != "":
		drop(g.owned, c.peer)
	case !c.proxy:
		drop(g.held, c.address)
	}
}

func drop[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] <= 0 {
		delete(counts, k)
	}
}

// Write does not wait for ever for a peer that reads nothing.
func (c *conn) Write(b []byte) (int, error) {
	if !c.timed.Load() {
		// The runtime holds deadlines against its own clock, so a replaced one must not set them.
		_ = c.Conn.SetWriteDeadline(time.Now().Add(stall))
	}
	return c.Conn.Write(b)
}

// SetWriteDeadline is for who minds the time of its writes itself; zero ends that.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.timed.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.timed.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// CloseWrite lets a server without TLS say that it is done and still hear the rest.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
