package gate_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/turn"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// house is a server behind a gate, at which time stands still. A request says in X-Peer who is calling, which is believed, and in X-Faulty
// that it is no message.
type house struct {
	*gate.Gate
	t       *testing.T
	address string
	log     *strings.Builder

	mu    sync.Mutex
	at    time.Time
	lines []string // that the work of requests would have waited in
}

func (h *house) now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.at }

func (h *house) pass(d time.Duration) { h.mu.Lock(); defer h.mu.Unlock(); h.at = h.at.Add(d) }

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.lines = append(h.lines, turn.Line(r.Context()))
	h.mu.Unlock()
	peer := r.Header.Get("X-Peer")
	switch {
	case r.URL.Path == "/did.json":
		gate.Anyone(r.Context())
	case peer == "":
		w.WriteHeader(http.StatusUnauthorized)
		return
	case r.URL.Path == "/data":
		gate.Vouched(r.Context(), peer)
	default:
		if err := gate.Known(r.Context(), peer); err != nil {
			problem.Write(w, r, err)
			return
		}
	}
	if r.Header.Get("X-Faulty") != "" {
		gate.Faulty(r.Context())
		w.WriteHeader(http.StatusBadRequest)
	}
}

func build(t *testing.T, change func(*gate.Config)) *house {
	t.Helper()
	h := &house{t: t, log: &strings.Builder{}, at: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	cfg := gate.Config{Connections: 1000, AddressConnections: 1000, AddressRate: 10, AddressBurst: 20, PeerRate: 100, PeerBurst: 200,
		Now: h.now, Log: slog.New(slog.NewTextHandler(h.log, nil))}
	change(&cfg)
	h.Gate = gate.New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.address = l.Addr().String()
	server := &http.Server{Handler: h.Handler(h), ConnContext: gate.ConnContext, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(h.Listener(l)) })
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	return h
}

// caller is a client with an address of its own, whose last byte is given, and one connection, if it is let in.
type caller struct {
	t    *testing.T
	conn net.Conn
	read *bufio.Reader
}

func (h *house) dial(last byte) *caller {
	h.t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}}).DialContext(h.t.Context(), "tcp", h.address)
	switch {
	case errors.Is(err, syscall.ECONNRESET): // closed before it was open here
		return &caller{t: h.t}
	case err != nil:
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return &caller{h.t, conn, bufio.NewReader(conn)}
}

// ask makes a request and returns the answer; nil when the connection was closed instead.
func (c *caller) ask(path string, headers ...string) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://boreal.example"+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if c.conn == nil || r.Write(c.conn) != nil {
		return nil
	}
	res, err := http.ReadResponse(c.read, r)
	if err != nil {
		return nil
	}
	_, err = io.Copy(io.Discard, res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

func (c *caller) want(status int, path string, headers ...string) {
	c.t.Helper()
	switch res := c.ask(path, headers...); {
	case res == nil && status != 0:
		c.t.Fatalf("the connection was closed, want %d", status)
	case res != nil && res.StatusCode != status:
		c.t.Fatalf("answered %d, want %d", res.StatusCode, status)
	}
}

// closed is the status of a connection that was closed without an answer.
const closed = 0

func TestAnAddressHasSoManyConnections(t *testing.T) {
	t.Parallel()
	h := build(t, func(cfg *gate.Config) { cfg.AddressConnections, cfg.AddressBurst = 3, 1000 })
	var all []*caller
	for range 3 {
		c := h.dial(2)
		c.want(401, "/")
		all = append(all, c)
	}
	for range 50 {
		h.dial(2).want(closed, "/")
	}
	h.dial(3).want(401, "/")
	if open, addresses, _ := h.Open(); open != 4 || addresses != 2 {
		t.Errorf("%d connections of %d addresses are counted, want 4 of 2", open, addresses)
	}
	_ = all[0].conn.Close()
	for open := 4; open > 3; open, _, _ = h.Open() { // until the server has heard of it
		all[1].want(401, "/")
	}
	h.dial(2).want(401, "/")
}

func TestThereAreSoManyConnectionsInAll(t *testing.T) {
	t.Parallel()
	h := build(t, func(cfg *gate.Config) { cfg.Connections = 5 })
	for i := range 5 {
		h.dial(byte(2+i)).want(401, "/")
	}
	for i := range 5 {
		h.dial(byte(20+i)).want(closed, "/")
	}
}

func TestAConnectionThatIsAPeersIsNotItsAddresss(t *testing.T) {
	t.Parallel()
	h := build(t, func(cfg *gate.Config) { cfg.AddressConnections, cfg.Connections, cfg.AddressBurst = 1, 16, 1000 })
	for range 4 { // a quarter
		h.dial(2).want(200, "/", "X-Peer", "did:web:boreal")
	}
	if all, addresses, peers := h.Open(); all != 4 || addresses != 0 || peers != 1 {
		t.Errorf("%d connections of %d addresses and %d peers are counted, want 4, 0, 1", all, addresses, peers)
	}
	h.dial(2).want(200, "/", "X-Peer", "did:web:boreal") // stays its address's
	h.dial(2).want(closed, "/", "X-Peer", "did:web:boreal")
}

func TestWhatIsClosedIsNotCounted(t *testing.T) {
	t.Parallel()
	h := build(t, func(cfg *gate.Config) { cfg.AddressBurst = 1000 })
	for i, peer := range []string{"", "did:web:boreal", "did:web:cobalt"} {
		c := h.dial(byte(2 + i))
		c.ask("/", "X-Peer", peer, "Connection", "close")
		if _, err := c.read.ReadByte(); err != io.EOF { // the server has closed it
			t.Fatal(err)
		}
	}
	other := h.dial(9)
	for all := 0; all != 1; all, _, _ = h.Open() { // closing is counted before or after the end is seen here
		other.want(200, "/", "X-Peer", "did:web:dusk")
		h.pass(time.Second)
	}
	if _, addresses, peers := h.Open(); addresses != 0 || peers != 1 {
		t.Errorf("%d addresses and %d peers are counted, want 0 and 1", addresses, peers)
	}
}

func TestStrangersAreSlowedDownByTheirAddressAlone(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	c := h.dial(2)
	for range 20 {
		c.want(401, "/")
	}
	res := c.ask("/")
	if res == nil || res.StatusCode != 429 || res.Header.Get("Retry-After") == "" || !res.Close {
		t.Fatalf("one too many was answered %v, want 429, when to come again, and the end of the connection", res)
	}
	h.dial(2).want(closed, "/") // and before TLS from then on
	h.dial(3).want(401, "/")
	h.pass(300 * time.Millisecond)
	c = h.dial(2)
	for range 3 { // ten a second
		c.want(401, "/")
	}
	c.want(429, "/")
	if n := strings.Count(h.log.String(), "turned away"); n != 1 {
		t.Errorf("the log tells of it %d times within a second, want once", n)
	}
}

func TestWhoProvesItselfPaysNothingForItsAddress(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	c := h.dial(2)
	for range 100 {
		c.want(200, "/", "X-Peer", "did:web:boreal")
	}
	for range 40 { // a connection each
		h.dial(2).want(200, "/", "X-Peer", "did:web:boreal")
	}
	for range 20 {
		h.dial(2).want(401, "/")
	}
	h.dial(2).want(closed, "/")
}

func TestStrangersDoNotSlowDownAPartnerAtTheirAddress(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	partner := h.dial(2)
	partner.want(200, "/", "X-Peer", "did:web:boreal")
	stranger := h.dial(2)
	for range 20 {
		stranger.ask("/")
	}
	h.dial(2).want(closed, "/")
	for range 50 {
		partner.want(200, "/", "X-Peer", "did:web:boreal")
	}
}

func TestAConnectionIsTrustedUntilItProvesNothing(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	c := h.dial(2)
	for range 10 {
		c.want(200, "/", "X-Peer", "did:web:boreal")
		c.want(401, "/") // on trust, and paid for afterwards
		c.want(401, "/") // paid for
	}
	c.want(429, "/", "X-Peer", "did:web:boreal") // would give back what it pays, but has to have it
}

func TestAPartnerMayAskForWhatIsForAnyone(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	partner := h.dial(2)
	partner.want(200, "/", "X-Peer", "did:web:boreal")
	for range 20 {
		h.dial(2).want(200, "/did.json")
	}
	h.dial(2).want(closed, "/did.json")
	for range 199 { // at its own expense
		partner.want(200, "/did.json")
	}
	partner.want(200, "/did.json") // on trust
	partner.want(429, "/did.json")
}

// full is a listener that has one connection, of somebody who reads nothing.
type full struct{ conn chan net.Conn }

func (f full) Accept() (net.Conn, error) { return <-f.conn, nil }
func (full) Close() error                { return nil }
func (full) Addr() net.Addr              { return &net.IPAddr{} }

func TestWhoReadsNothingIsNotWrittenToForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(gate.Config{Connections: 1, AddressConnections: 1, AddressRate: 1, AddressBurst: 1, PeerRate: 1, PeerBurst: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		ours, theirs := net.Pipe()
		l := full{make(chan net.Conn, 1)}
		l.conn <- ours
		conn, err := g.Listener(l).Accept()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := conn.Write([]byte("answer")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 30*time.Second {
			t.Errorf("given up after %v with %v, want thirty seconds", time.Since(began), err)
		}
		_ = conn.SetWriteDeadline(time.Now().Add(time.Hour)) // somebody else minds it
		began = time.Now()
		if _, err := conn.Write([]byte("answer")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("given up after %v with %v, want an hour", time.Since(began), err)
		}
		if err := errors.Join(conn.Close(), theirs.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestAPeerIsSlowedDownWhereverItComesFrom(t *testing.T) {
	t.Parallel()
	h := build(t, func(cfg *gate.Config) { cfg.AddressBurst = 1000 })
	a, b := h.dial(2), h.dial(3)
	for range 100 {
		a.want(200, "/", "X-Peer", "did:web:dusk")
		b.want(200, "/", "X-Peer", "did:web:dusk")
	}
	a.want(429, "/", "X-Peer", "did:web:dusk")
	b.want(429, "/", "X-Peer", "did:web:dusk")
	b.want(200, "/", "X-Peer", "did:web:boreal")
	h.pass(100 * time.Millisecond)
	for range 10 {
		a.want(200, "/", "X-Peer", "did:web:dusk")
	}
	a.want(429, "/", "X-Peer", "did:web:dusk")
}

func TestWhatIsNoMessageCountsAsFifty(t *testing.T) {
	t.Parallel()
	h := build(t, func(cfg *gate.Config) { cfg.AddressBurst = 1000 })
	c := h.dial(2)
	for range 4 { // the fourth on credit
		c.want(400, "/", "X-Peer", "did:web:dusk", "X-Faulty", "yes")
	}
	c.want(429, "/", "X-Peer", "did:web:dusk")
	c.want(200, "/", "X-Peer", "did:web:boreal")
	h.pass(50 * time.Millisecond) // has the credit back, and one
	c.want(200, "/", "X-Peer", "did:web:dusk")
}

func TestWhatHasBoundsOfItsOwnIsNotCountedForThePeer(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	c := h.dial(2)
	for range 1000 {
		c.want(200, "/data", "X-Peer", "did:web:boreal")
	}
}

func TestBehindANamedProxyEachCallerHasItsOwnAddress(t *testing.T) {
	t.Parallel()
	h := build(t, func(cfg *gate.Config) {
		cfg.AddressConnections = 1
		cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32"), netip.MustParsePrefix("10.1.0.0/16")}
	})
	c := h.dial(2)
	h.dial(2).want(401, "/") // as many connections as it likes
	for _, way := range []string{"203.0.113.1", "198.51.100.7, 203.0.113.1", "203.0.113.1, 10.1.2.3", "junk,203.0.113.1:4711", "::ffff:203.0.113.1"} {
		for range 4 {
			c.want(401, "/", "X-Forwarded-For", way)
		}
	}
	c.want(429, "/", "X-Forwarded-For", "203.0.113.1")
	c.want(401, "/", "X-Forwarded-For", "203.0.113.2")
	c.want(200, "/", "X-Forwarded-For", "203.0.113.2", "X-Peer", "did:web:boreal")
	c.want(429, "/", "X-Forwarded-For", "203.0.113.1") // nobody rides on another's trust
	for range 10 {                                     // one network
		c.want(401, "/", "X-Forwarded-For", "2001:db8::1")
		c.want(401, "/", "X-Forwarded-For", "[2001:db8::2]:4711")
	}
	c.want(429, "/", "X-Forwarded-For", "2001:db8::3")
	c.want(401, "/", "X-Forwarded-For", "2001:db8:0:1::1")
}

func TestAProxyThatIsNotNamedIsACallerAndTrustedWithNothing(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	c := h.dial(2)
	for i := range 19 { // and the connection
		c.want(200, "/", "X-Forwarded-For", "203.0.113.1", "X-Peer", "did:web:boreal")
		c.want(401, "/", "X-Forwarded-For", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).String())
	}
	c.want(429, "/", "Via", "1.1 proxy.example", "X-Peer", "did:web:boreal")
}

func TestWorkWaitsInALineOfItsCaller(t *testing.T) {
	t.Parallel()
	h := build(t, func(*gate.Config) {})
	c := h.dial(2)
	c.want(401, "/")
	c.want(200, "/", "X-Peer", "did:web:boreal")
	c.want(200, "/", "X-Peer", "did:web:boreal")
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := strings.Join(h.lines, " "); got != "127.0.0.2 127.0.0.2 did:web:boreal" {
		t.Errorf("lines %s", got)
	}
}

func TestAMillionAddressesTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	b := gate.NewBudget(50, 100, func() time.Time { return at })
	eager := netip.MustParseAddr("203.0.113.1")
	for range 100 {
		if !b.Take(eager) {
			t.Fatal("refused within the burst")
		}
	}
	most := 0
	for i := range 1_000_000 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24|uint32(i))
		if !b.Take(netip.AddrFrom4(a)) {
			t.Fatalf("address %d was refused the first time", i)
		}
		most = max(most, b.Len())
		if i%10_000 == 0 && b.Take(eager) { // whoever comes again is not forgotten
			t.Fatalf("after %d others it was let in", i)
		}
	}
	if most > 2*gate.MaxKeys {
		t.Errorf("%d addresses were remembered at once", most)
	}
	at = at.Add(time.Minute)
	b.Take(eager)
	at = at.Add(time.Minute)
	b.Take(eager)
	if n := b.Len(); n > 2 {
		t.Errorf("%d addresses are remembered that have all they can have", n)
	}
}

func TestAClockThatIsSetBackLocksNobodyOut(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	b := gate.NewBudget(10, 20, func() time.Time { return at })
	a := netip.MustParseAddr("203.0.113.1")
	for range 20 {
		b.Take(a)
	}
	at = at.Add(-24 * time.Hour)
	b.Take(a)
	at = at.Add(5 * time.Second)
	if !b.Take(a) {
		t.Error("still refused after the time of filling up twice")
	}
}

func TestOutsideOfAGateNothingIsCounted(t *testing.T) {
	t.Parallel()
	for range 10_000 {
		if err := gate.Known(context.Background(), "did:web:boreal"); err != nil {
			t.Fatal(err)
		}
	}
	gate.Faulty(t.Context())
	gate.Vouched(t.Context(), "did:web:boreal")
	h := build(t, func(*gate.Config) {})
	c := h.dial(2)
	for range 200 {
		c.want(200, "/", "X-Peer", "did:web:boreal")
	}
	if res := c.ask("/", "X-Peer", "did:web:boreal"); res == nil || problem.Of(fault.Exhausted).Status != res.StatusCode {
		t.Errorf("inside, the same was answered %v", res)
	}
}

// FuzzForwarded: whatever a caller writes in front, what the proxy appended decides.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"", "203.0.113.1", "10.1.0.1, 203.0.113.1", ",,,", "[::1]:80", "10.1.0.1,junk,10.1.0.2", "fe80::1%eth0"} {
		f.Add(seed)
	}
	proxy, seen := netip.MustParseAddr("10.1.0.9"), netip.MustParseAddr("198.51.100.7")
	g := gate.New(gate.Config{AddressRate: 1, PeerRate: 1, Now: time.Now, Proxies: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}})
	f.Fuzz(func(t *testing.T, written string) {
		for _, headers := range [][]string{{written + ", " + seen.String()}, {written, seen.String()}, {written, "", seen.String() + ", 10.1.0.1"}} {
			if got := g.Forwarded(proxy, headers...); got != seen {
				t.Errorf("%q: %v, want what the proxy saw", headers, got)
			}
		}
		if got := g.Forwarded(proxy, written); got.Zone() != "" || got.Is4In6() {
			t.Errorf("%q: %v", written, got)
		}
	})
}

// BenchmarkARefusal is what it costs to turn a request away, the connection aside.
func BenchmarkARefusal(b *testing.B) {
	g := gate.New(gate.Config{Connections: 1, AddressConnections: 1, AddressRate: 1, AddressBurst: 1, PeerRate: 1, PeerBurst: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	h := g.Handler(http.NotFoundHandler())
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
