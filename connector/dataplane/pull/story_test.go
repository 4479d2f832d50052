package pull_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/dataplane"
	"github.com/sluice-connector/sluice/connector/dataplane/pull"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/e2e/pair"
)

// owned says that every upstream is the participant's, without a credential, unless refused says otherwise.
type owned struct{ refused error }

func (o owned) Header(participant.Participant, string, *url.URL) (http.Header, error) {
	return nil, o.refused
}

// door is a provider's data plane, and the token of its consumer.
type door struct {
	*pair.Network
	t       *testing.T
	cobalt  *pair.Side
	plane   *dataplane.Plane
	handler http.Handler
	token   string
}

// content is what the asset is unless an upstream is given.
var content = []byte(`{"pcf":"1.00"}`)

func open(t *testing.T, upstream string, sources pull.Sources, transport http.RoundTripper) *door {
	t.Helper()
	n := pair.New(t, "cobalt", "boreal", "dusk")
	d := &door{Network: n, t: t, cobalt: n.Side("cobalt")}
	offer := d.cobalt.Publish(pair.Members(), pair.Footprints())
	boreal := n.Side("boreal")
	boreal.Begin(d.cobalt, pair.Ask(offer))
	n.Run()
	if upstream != "" {
		asset := offer.Asset
		asset.Version = 1
		asset.Address = catalog.Address{BaseURL: upstream, SecretRef: "erp"}
		if err := d.cobalt.Catalog.Publish(t.Context(), d.cobalt.Local, catalog.Publication{Assets: []catalog.Asset{asset}, Actor: "operator"}); err != nil {
			t.Fatal(err)
		}
	}
	mine, err := boreal.Transfers.Begin(t.Context(), boreal.Local, transfer.BeginRequest{Agreement: boreal.Agreements()[0].ID, Format: transfer.Pull, Actor: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	n.Run()
	a, err := boreal.Transfers.Address(t.Context(), boreal.Local, mine.ID)
	if err != nil {
		t.Fatal(err)
	}
	d.token = a.Properties[transfer.PropertyToken]
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	d.plane = dataplane.New(dataplane.Config{Store: d.cobalt.Store, Decider: d.cobalt.Ledger, Standing: d.cobalt.Standing, Now: n.Now, Rand: rand.Reader, Log: log, Streams: 4 * dataplane.PeerShare})
	mux := http.NewServeMux()
	pull.New(pull.Config{Plane: d.plane, Participants: d, Sources: sources, Upstream: transport, Log: log}).Mount(mux)
	d.handler = mux
	return d
}

// Participant finds cobalt, and dusk, which the same process hosts.
func (d *door) Participant(ctx context.Context, slug string) (participant.Participant, error) {
	if slug == "dusk" {
		p := d.Side("dusk").Local
		p.ID += 1000 // stores of its own: no row of cobalt's is one of dusk's
		return p, nil
	}
	return d.cobalt.Store.Participant(ctx, slug)
}

// serve listens, and returns the base of cobalt's data.
func (d *door) serve() string {
	s := httptest.NewServer(d.handler)
	d.t.Cleanup(s.Close)
	return s.URL + "/cobalt/data"
}

// ask makes a request with the token, again when a decision took too long, which it may on a busy machine.
func (d *door) ask(method, target string, header ...string) (*http.Response, string) {
	d.t.Helper()
	for {
		r, err := http.NewRequestWithContext(d.t.Context(), method, target, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		r.Header.Set("Authorization", d.token)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			d.t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if !strings.Contains(string(body), "took too long") {
			return res, string(body)
		}
	}
}

func source(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/base"
}

func TestStoredContentIsOneDocument(t *testing.T) {
	t.Parallel()
	d := open(t, "", owned{}, nil)
	base := d.serve()
	etag := `"` + catalog.DigestOf(content) + `"`
	for _, tt := range []struct {
		name, method, path string
		header             []string
		status             int
		body               string
	}{
		{"whole", "GET", "", nil, 200, string(content)},
		{"its head", "HEAD", "", nil, 200, ""},
		{"a part", "GET", "", []string{"Range", "bytes=2-4"}, 206, "pcf"},
		{"what is behind its end", "GET", "", []string{"Range", "bytes=50-"}, 416, ""},
		{"a part of what it still is", "GET", "", []string{"Range", "bytes=2-4", "If-Range", etag}, 206, "pcf"},
		{"a part of what it was once", "GET", "", []string{"Range", "bytes=2-4", "If-Range", `"old"`}, 200, string(content)},
		{"what the peer has already", "GET", "", []string{"If-None-Match", etag}, 304, ""},
		{"something below it", "GET", "/part", nil, 404, ""},
		{"the head of something below it", "HEAD", "/part", nil, 404, ""},
		{"another method", "POST", "", nil, 405, ""},
		{"a method of the network's", "TRACE", "", nil, 405, ""},
	} {
		res, body := d.ask(tt.method, base+tt.path, tt.header...)
		if res.StatusCode != tt.status || tt.body != "" && body != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.name, res.StatusCode, body, tt.status, tt.body)
		}
		if tt.method == "HEAD" && body != "" || tt.status == 200 && res.ContentLength != int64(len(content)) {
			t.Errorf("%s: body %q of %d bytes", tt.name, body, res.ContentLength)
		}
		if got, want := res.Header.Get("Allow"), map[bool]string{true: "GET, HEAD"}[tt.status == 405]; got != want {
			t.Errorf("%s: allow %q, want %q", tt.name, got, want)
		}
		if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", tt.name, res.Header)
		}
	}
}

func TestATokenOpensItsIssuersDoorOnly(t *testing.T) {
	t.Parallel()
	d := open(t, "", owned{}, nil)
	base := d.serve()
	own, said := d.ask("GET", strings.Replace(base, "/cobalt/", "/dusk/", 1))
	nobodys, saidOfNobody := d.ask("GET", strings.Replace(base, "/cobalt/", "/nobody/", 1))
	if own.StatusCode != 401 || nobodys.StatusCode != 401 || said != saidOfNobody {
		t.Errorf("at another participant's door: %d %q; at nobody's: %d %q; want the same 401", own.StatusCode, said, nobodys.StatusCode, saidOfNobody)
	}
}

func TestAnUpstreamsRefusalKeepsItsClass(t *testing.T) {
	t.Parallel()
	for upstream, want := range map[int]int{400: 400, 401: 502, 403: 502, 404: 404, 405: 405, 406: 406, 410: 410, 412: 412, 416: 416, 422: 422, 418: 502,
		429: 503, 500: 502, 503: 503, 504: 504, 301: 502, 206: 206, 204: 204} {
		d := open(t, source(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", "PROPFIND")
			w.Header().Set("Retry-After", "4711")
			w.Header().Set("Location", "http://db7.internal/")
			w.WriteHeader(upstream)
			if upstream != 204 {
				_, _ = io.WriteString(w, "db7.internal")
			}
		}), owned{}, http.DefaultTransport)
		res, body := d.ask("GET", d.serve())
		if res.StatusCode != want {
			t.Errorf("upstream %d: status %d, want %d", upstream, res.StatusCode, want)
		}
		if said := body + fmt.Sprint(res.Header); upstream >= 300 && (strings.Contains(said, "db7") || strings.Contains(said, "PROPFIND") || strings.Contains(said, "4711")) {
			t.Errorf("upstream %d: its own words reach the peer: %s", upstream, said)
		}
		if _, said := res.Header["Allow"]; said != (want == 405) {
			t.Errorf("upstream %d: headers %v", upstream, res.Header)
		}
	}
}

func TestAnUpstreamThatIsNotTheirsIsNotAsked(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	d := open(t, source(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) }), owned{refused: fmt.Errorf("no upstream of cobalt")}, http.DefaultTransport)
	if res, body := d.ask("GET", d.serve()); res.StatusCode != 502 || strings.Contains(body, "cobalt") || asked.Load() != 0 {
		t.Errorf("status %d, body %q, asked %d times; want 502 without being asked", res.StatusCode, body, asked.Load())
	}
}

func TestAPeersQueryIsDecidedAndSentInOneForm(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	d := open(t, source(t, func(_ http.ResponseWriter, r *http.Request) { got.Store(r.URL.RequestURI()) })+"?part=mine", owned{}, http.DefaultTransport)
	base := d.serve()
	if res, _ := d.ask("GET", base+"/a?z=1&b=%7e"); res.StatusCode != 200 || got.Load() != "/base/a?part=mine&b=~&z=1" {
		t.Errorf("status %d, the upstream was asked for %v", res.StatusCode, got.Load())
	}
	for _, query := range []string{"part=other", "part=other;x=1", "a=1;part=other", "PART=other", "a=%zz"} {
		if res, _ := d.ask("GET", base+"?"+query); res.StatusCode != 400 {
			t.Errorf("%q: status %d, want 400", query, res.StatusCode)
		}
	}
}

// rawly serves one connection after another with what write writes once a request was read.
func rawly(t *testing.T, write func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					write(conn)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/base"
}

func TestNothingBesideTheBodyComesAlong(t *testing.T) {
	t.Parallel()
	for name, trailer := range map[string]string{
		"a trailer that was announced":       "Trailer: X-Secret, Etag\r\n",
		"a trailer that was not":             "",
		"a trailer named like a good header": "Trailer: Etag\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, rawly(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </db7>\r\nX-Secret: db7\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"+trailer+
					"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Secret: db7\r\nEtag: \"db7\"\r\nSet-Cookie: db7\r\n\r\n")
			}), owned{}, http.DefaultTransport)
			base := strings.TrimPrefix(d.serve(), "http://")
			host, path, _ := strings.Cut(base, "/")
			conn, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nTE: trailers\r\nConnection: close\r\n\r\n", path, host, d.token)
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			said := string(answer)
			if !strings.HasPrefix(said, "HTTP/1.1 200 OK\r\n") || !strings.Contains(said, "body") || !strings.HasSuffix(said, "0\r\n\r\n") {
				t.Errorf("the answer is %q", said)
			}
			for _, want := range []string{"Cache-Control: no-store\r\n", "X-Content-Type-Options: nosniff\r\n", "Content-Disposition: attachment\r\n"} {
				if !strings.Contains(said, want) {
					t.Errorf("the interim answer took %q away: %q", want, said)
				}
			}
			for _, secret := range []string{"db7", "X-Secret", "Trailer", "Link", "103"} {
				if strings.Contains(said, secret) {
					t.Errorf("%q reaches the peer: %q", secret, said)
				}
			}
		})
	}
}

func TestABodyThatBreaksOffIsRefusedInWordsOrNotEnded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		status       int // 0: the connection breaks
	}{
		{"before the first byte of a body without a length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 502},
		{"in a short body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 502},
		{"before the first byte of a long one", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", 502},
		{"in a long one", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf", 0},
		{"in a body without a length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := open(t, rawly(t, func(c net.Conn) { _, _ = io.WriteString(c, tt.answer) }), owned{}, http.DefaultTransport)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.serve(), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", d.token)
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				if tt.status != 0 {
					t.Error(err)
				}
				return
			}
			defer res.Body.Close()
			if _, err = io.ReadAll(res.Body); tt.status == 0 && err == nil || tt.status != 0 && res.StatusCode != tt.status {
				t.Errorf("status %d, body ended with %v; want status %d", res.StatusCode, err, tt.status)
			}
		})
	}
}

// pipes is a network in memory, so that its time can be a test's own.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// transport speaks over the pipes and waits so long for the head of an answer; 0 for ever.
func (p *pipes) transport(t *testing.T, patience time.Duration) *http.Transport {
	tr := &http.Transport{DialContext: p.dial, ResponseHeaderTimeout: patience}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// run serves h on the pipes until the test ends.
func run(t *testing.T, h http.Handler) *pipes {
	p := newPipes()
	s := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(p) }()
	t.Cleanup(func() { _ = s.Close(); <-ended })
	return p
}

// timeless opens a door whose network and upstream are in memory, inside a bubble.
func timeless(t *testing.T, upstream http.HandlerFunc) (*door, *pipes) {
	behind := run(t, upstream)
	d := open(t, "http://erp.internal/base", owned{}, behind.transport(t, 10*time.Second))
	return d, run(t, d.handler)
}

func (d *door) request(p *pipes) (*http.Response, error) {
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "http://localhost/cobalt/data", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Authorization", d.token)
	return p.transport(d.t, 0).RoundTrip(r)
}

func TestASilentUpstreamIsNotWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		name     string
		upstream func(w http.ResponseWriter)
		status   int
		broken   bool
	}{
		{"before it answers", func(http.ResponseWriter) {}, 504, false},
		{"after its headers", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, 504, false},
		{"in mid-stream", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "half"); w.(http.Flusher).Flush() }, 200, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, p := timeless(t, func(w http.ResponseWriter, r *http.Request) {
					tt.upstream(w)
					<-r.Context().Done()
				})
				began := time.Now()
				res, err := d.request(p)
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
				if took := time.Since(began); res.StatusCode != tt.status || (err != nil) != tt.broken || took > pull.UpstreamSilence {
					t.Errorf("after %s: status %d, %v; want %d", took, res.StatusCode, err, tt.status)
				}
				synctest.Wait()
				if n := d.plane.Running(); n != 0 {
					t.Errorf("%d flows are left", n)
				}
			})
		})
	}
}

func TestAnUpstreamThatIsSlowButSpeaksIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, p := timeless(t, func(w http.ResponseWriter, r *http.Request) {
			for range 5 {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(pull.UpstreamSilence - time.Second)
			}
		})
		res, err := d.request(p)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(body) != "xxxxx" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
	})
}

func TestAPeerThatStopsReadingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, p := timeless(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000000000")
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
		res, err := d.request(p)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		// Slow is not stopped: each write is accepted in time.
		for range 3 {
			time.Sleep(dataplane.WriteLimit - time.Second)
			if _, err := io.ReadFull(res.Body, make([]byte, 256<<10)); err != nil {
				t.Fatalf("a slow reader was cut: %v", err)
			}
		}
		time.Sleep(dataplane.WriteLimit - time.Second)
		synctest.Wait()
		if n := d.plane.Running(); n != 1 {
			t.Errorf("%d flows run before the limit, want 1", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := d.plane.Running(); n != 0 {
			t.Errorf("%d flows run after the limit", n)
		}
	})
}

func TestOnePeerMayHaveSoManyStreamsAndIsTold(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	d := open(t, source(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-held
	}), owned{}, http.DefaultTransport)
	base := d.serve()
	for range 4 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", d.token)
		for {
			res, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode == 200 {
				break
			}
		}
	}
	if res, body := d.ask("GET", base); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("a fifth: %d %s", res.StatusCode, body)
	}
	close(held)
}
