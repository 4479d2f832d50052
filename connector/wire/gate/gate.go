package gate

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/turn"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// Config carries what a Gate is made of. All fields but Proxies are required; what they mean stands beside the settings of the same names.
type Config struct {
	Connections        int
	AddressConnections int
	AddressRate        int
	AddressBurst       int
	PeerRate           int
	PeerBurst          int
	Proxies            []netip.Prefix
	Now                func() time.Time
	Log                *slog.Logger
}

// faulty is what a message that is none costs its sender, in messages: reading it is dear, and nobody who means well sends many.
const faulty = 50

// Gate bounds connections and requests. It is safe for concurrent use.
type Gate struct {
	cfg       Config
	strangers *budget[netip.Addr]
	peers     *budget[string]

	mu    sync.Mutex
	open  int
	held  map[netip.Addr]int // connections that nobody has proven to be his
	owned map[string]int     // those of peers

	refused int // since the log said so last
	said    time.Time
}

// New returns a Gate.
func New(cfg Config) *Gate {
	return &Gate{cfg: cfg, strangers: newBudget[netip.Addr](cfg.AddressRate, cfg.AddressBurst, cfg.Now),
		peers: newBudget[string](cfg.PeerRate, cfg.PeerBurst, cfg.Now), held: map[netip.Addr]int{}, owned: map[string]int{}}
}

// whole is the one who has an address: with IP version 6 that is a network, of which any host can take any address.
func whole(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() || !a.IsValid() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}

func (g *Gate) proxy(a netip.Addr) bool {
	return slices.ContainsFunc(g.cfg.Proxies, func(n netip.Prefix) bool { return n.Contains(a) })
}

// turnedAway keeps account of a refusal, and tells the log of them once a second at most: a flood must not fill it.
func (g *Gate) turnedAway(ctx context.Context, from netip.Addr) {
	now := g.cfg.Now()
	g.mu.Lock()
	g.refused++
	n := g.refused
	due := now.Sub(g.said) >= time.Second || now.Before(g.said)
	if due {
		g.refused, g.said = 0, now
	}
	g.mu.Unlock()
	if due {
		g.cfg.Log.WarnContext(ctx, "too many connections or requests were turned away", slog.Int("count", n), slog.String("last", from.String()))
	}
}

// visit is one request.
type visit struct {
	gate    *Gate
	address netip.Addr
	conn    *conn  // nil when it carries many callers
	peer    string // who is calling, once that is proven
	anyone  bool   // may ask this
}

type visitKey struct{}

// Handler lets what is within bounds through to next.
func (g *Gate) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, trusted := g.visit(r)
		if !trusted && !v.paid() {
			g.turnedAway(r.Context(), v.address)
			if v.conn != nil { // the next one is cheaper to refuse
				w.Header().Set("Connection", "close")
			}
			problem.Write(w, r, fault.New("gate", fault.Exhausted, "too many requests"))
			return
		}
		line := v.address.String()
		if trusted {
			line = v.conn.owner()
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(turn.For(r.Context(), line), visitKey{}, v)))
		if trusted && v.peer == "" && !(v.anyone && g.peers.take(line)) {
			v.conn.trusted.Store(false)
			g.strangers.spend(v.address, 1)
		}
	})
}

// visit finds out where a request comes from, and whether its connection is a peer's.
func (g *Gate) visit(r *http.Request) (v *visit, trusted bool) {
	v = &visit{gate: g}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		v.address = at.Addr().Unmap().WithZone("")
	}
	switch {
	case g.proxy(v.address):
		v.address = g.forwarded(v.address, r.Header.Values("X-Forwarded-For"))
	case r.Header["X-Forwarded-For"] == nil && r.Header["Forwarded"] == nil && r.Header["Via"] == nil:
		v.conn, _ = r.Context().Value(connKey{}).(*conn)
	}
	v.address = whole(v.address)
	return v, v.conn != nil && v.conn.trusted.Load()
}

// forwarded is the last address on the way that is no proxy's. What cannot be read ends the way: what stands before it may be invented.
func (g *Gate) forwarded(last netip.Addr, headers []string) netip.Addr {
	for _, way := range slices.Backward(headers) {
		for more := true; more; {
			var text string
			at := strings.LastIndexByte(way, ',') // no list of all: a caller decides how long it is
			text, more = way[at+1:], at >= 0
			way = way[:max(at, 0)]
			a, ok := node(strings.TrimSpace(text))
			if !ok {
				return last
			}
			if last = a; !g.proxy(last) {
				return last
			}
		}
	}
	return last
}

// node reads an address, with or without a port.
func node(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, false
		}
		a = at.Addr()
	}
	return a.Unmap().WithZone(""), true
}

// paid takes what a stranger's request costs.
func (v *visit) paid() bool {
	return v.conn != nil && v.conn.paid.CompareAndSwap(true, false) || v.gate.strangers.take(v.address)
}

// Known tells that the request under ctx is the peer's: it has proven that. The address gets back what the request cost, and the peer pays with its
// own; when it has nothing left the error is of kind Exhausted. Outside of Handler nothing is counted.
func Known(ctx context.Context, peer string) error {
	v, _ := ctx.Value(visitKey{}).(*visit)
	if v == nil || v.peer != "" {
		return nil
	}
	if !v.gate.peers.take(peer) {
		v.gate.turnedAway(ctx, v.address)
		return fault.New("gate.Known", fault.Exhausted, "too many requests")
	}
	v.vouched(peer)
	return nil
}

// Vouched is Known for what has bounds of its own: only the address gets something back.
func Vouched(ctx context.Context, peer string) {
	if v, _ := ctx.Value(visitKey{}).(*visit); v != nil && v.peer == "" {
		v.vouched(peer)
	}
}

func (v *visit) vouched(peer string) {
	v.peer = peer
	v.gate.strangers.give(v.address)
	if v.conn != nil {
		v.conn.own(peer)
	}
}

// Anyone tells that what is asked for under ctx is for anyone, so that a partner need prove nothing to keep the trust in its connection. It pays for it
// all the same.
func Anyone(ctx context.Context) {
	if v, _ := ctx.Value(visitKey{}).(*visit); v != nil {
		v.anyone = true
	}
}

// Faulty tells that what the peer sent under ctx is no message.
func Faulty(ctx context.Context) {
	if v, _ := ctx.Value(visitKey{}).(*visit); v != nil && v.peer != "" {
		v.gate.peers.spend(v.peer, faulty)
	}
}

type connKey struct{}

// ConnContext is for the server of Handler, whose listener is Listener's, below TLS or not.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if below, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = below.NetConn()
	}
	if c, ok := c.(*conn); ok {
		ctx = context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}
