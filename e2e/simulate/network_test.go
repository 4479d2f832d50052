package simulate

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
)

// line is a connection from a client to a server. What is written to it is in flight until the scheduler lets it arrive; nobody ever waits to
// write.
type line struct {
	from, to *node // from is nil when nobody hears the answer

	mu       sync.Mutex
	changed  *sync.Cond
	up, down flow // what the client says, and the server
	broken   bool // reset: whoever reads or writes is told
	client   *end
	server   *end

	asked *request // the last one that was in flight
}

// flow is one direction.
type flow struct {
	flight  []byte // sent
	arrived []byte // and not read yet
	shut    bool   // its sender says no more
	over    bool   // and its receiver knows
}

func join(from, to *node) *line {
	l := &line{from: from, to: to}
	l.changed = sync.NewCond(&l.mu)
	l.client, l.server = &end{line: l, in: &l.down, out: &l.up}, &end{line: l, in: &l.up, out: &l.down}
	return l
}

// arrive lets n bytes of the flow arrive.
func (l *line) arrive(f *flow, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.arrived = append(f.arrived, f.flight[:n]...)
	f.flight = f.flight[n:]
	l.changed.Broadcast()
}

// finish lets the receivers learn who says no more.
func (l *line) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range []*flow{&l.up, &l.down} {
		f.over = f.shut && len(f.flight) == 0
	}
	l.changed.Broadcast()
}

// cut breaks the connection; what is in flight is gone.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.up.flight, l.down.flight = true, nil, nil
	l.changed.Broadcast()
}

// gone reports a client that does not wait for an answer any more.
func (l *line) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client.closed || l.broken
}

// over reports a line on which nothing will happen any more.
func (l *line) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken || l.client.closed && l.server.closed || l.client.closed && len(l.up.flight) == 0 && l.up.over
}

// flying is what is in flight: the answer before the next request.
func (l *line) flying() (f *flow, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.down.flight); n > 0 {
		return &l.down, n
	}
	return &l.up, len(l.up.flight)
}

// end is what one side holds of a line.
type end struct {
	line    *line
	in, out *flow
	closed  bool
	late    bool // its reading has taken too long
	timer   *time.Timer
}

func (e *end) Read(b []byte) (int, error) {
	e.line.mu.Lock()
	defer e.line.mu.Unlock()
	for {
		switch {
		case e.closed:
			return 0, net.ErrClosed
		case e.late:
			return 0, os.ErrDeadlineExceeded
		case len(e.in.arrived) > 0:
			n := copy(b, e.in.arrived)
			e.in.arrived = e.in.arrived[n:]
			return n, nil
		case e.line.broken:
			return 0, syscall.ECONNRESET
		case e.in.over:
			return 0, io.EOF
		}
		e.line.changed.Wait()
	}
}

func (e *end) Write(b []byte) (int, error) {
	e.line.mu.Lock()
	defer e.line.mu.Unlock()
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case e.line.broken:
		return 0, syscall.EPIPE
	}
	if other := e.line.client; other != e && other.closed { // nobody reads it
		return len(b), nil
	}
	e.out.flight = append(e.out.flight, b...)
	return len(b), nil
}

func (e *end) Close() error {
	e.line.mu.Lock()
	defer e.line.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	e.closed, e.out.shut, e.in.flight = true, true, nil
	e.out.over = len(e.out.flight) == 0
	if e.timer != nil {
		e.timer.Stop()
	}
	e.line.changed.Broadcast()
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.line.mu.Lock()
	defer e.line.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.late = false
	if t.IsZero() {
		return nil
	}
	if wait := time.Until(t); wait > 0 {
		var own *time.Timer
		own = time.AfterFunc(wait, func() {
			e.line.mu.Lock()
			defer e.line.mu.Unlock()
			if e.timer == own {
				e.late = true
				e.line.changed.Broadcast()
			}
		})
		e.timer = own
		return nil
	}
	e.late = true
	e.line.changed.Broadcast()
	return nil
}

func (e *end) SetDeadline(t time.Time) error    { return e.SetReadDeadline(t) }
func (e *end) SetWriteDeadline(time.Time) error { return nil }
func (e *end) LocalAddr() net.Addr              { return place{} }
func (e *end) RemoteAddr() net.Addr             { return place{} }

type place struct{}

func (place) Network() string { return "memory" }
func (place) String() string  { return "memory" }

// door is where a server takes its connections.
type door struct {
	conns chan net.Conn
	shut  chan struct{}
	once  sync.Once
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.shut:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.shut) })
	return nil
}

func (d *door) Addr() net.Addr { return place{} }

// addresses of the companies, in the order in which they joined.
func (s *seed) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return hostOf(n.slug) == host })
	if i < 0 {
		return nil, os.ErrNotExist
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}, nil
}

// dial connects a company to the one at the address, if it is up.
func (s *seed) dial(from *node) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, _, address string) (net.Conn, error) {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		to := s.nodes[at.Addr().As4()[3]]
		if to.down {
			return nil, syscall.ECONNREFUSED
		}
		return s.connect(from, to).client, nil
	}
}

func (s *seed) connect(from, to *node) *line {
	l := join(from, to)
	s.mu.Lock()
	s.lines = append(s.lines, l)
	s.mu.Unlock()
	to.door.conns <- l.server
	return l
}

// request is one that was sent, as the network sees it.
type request struct {
	method string
	owed   commit.Owed // what it is about
	raw    []byte      // all its bytes
	head   int         // of which so many come before the body

	answer     *outbox.Answer // what the server said, once it is in flight
	answerHead int
	answerSize int
}

// about names the message that a request is about, for the network to know it.
const about = "Message-About"

// marked sets the header.
type marked struct {
	doer
	id func(context.Context) string
}

type doer interface {
	Do(r *http.Request, limit int64) (int, http.Header, []byte, error)
	Check(rawURL string) error
}

func (m marked) Do(r *http.Request, limit int64) (int, http.Header, []byte, error) {
	r.Header.Set(about, m.id(r.Context()))
	return m.doer.Do(r, limit)
}

// seen reads the request that has just been sent.
func (s *seed) seen(l *line) *request {
	raw := slices.Clone(l.up.flight)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		s.Fatalf("what %s sends is no request: %v", l.from.slug, err)
	}
	s.mu.Lock()
	o, ok := s.sent[r.Header.Get(about)]
	s.mu.Unlock()
	if !ok {
		s.Fatalf("%s sends what it does not owe: %s", l.from.slug, raw)
	}
	return &request{method: r.Method, owed: o, raw: raw, head: bytes.Index(raw, []byte("\r\n\r\n")) + 4}
}

// answered reads the answer that has just been sent, and returns how many bytes come before its body.
func (s *seed) answered(l *line) (outbox.Answer, int) {
	raw := l.down.flight
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		s.Fatalf("what %s answers is no answer: %v", l.to.slug, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.Fatalf("the answer of %s has no end: %v", l.to.slug, err)
	}
	a := dsp.ParseAnswer(body)
	return outbox.Answer{Status: r.StatusCode, ConsumerPID: a.ConsumerPID, ProviderPID: a.ProviderPID, State: a.State, Code: a.Code, Reasons: a.Reasons},
		bytes.Index(raw, []byte("\r\n\r\n")) + 4
}
