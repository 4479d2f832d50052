package connector_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector"
)

// pipes is a listener without sockets, so that its connections know the time of a bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	dials atomic.Int32
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.done); return nil }

func (p *pipes) Addr() net.Addr { return &net.IPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	p.dials.Add(1)
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

// overPipes runs f in a bubble with a client of the handler, over each version of HTTP.
func overPipes(t *testing.T, h http.HandlerFunc, f func(t *testing.T, client *http.Client, to *pipes)) {
	t.Helper()
	var one, two http.Protocols
	one.SetHTTP1(true)
	two.SetUnencryptedHTTP2(true)
	for name, protocols := range map[string]*http.Protocols{"HTTP/1.1": &one, "HTTP/2": &two} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				server := connector.Public(h, protocols, slog.New(slog.NewTextHandler(t.Output(), nil)))
				go func() { _ = server.Serve(listener) }()
				transport := &http.Transport{DialContext: listener.dial, Protocols: protocols}
				defer func() { transport.CloseIdleConnections(); _ = server.Close(); synctest.Wait() }()
				f(t, &http.Client{Transport: transport}, listener)
			})
		})
	}
}

// T-43: whoever sends one byte of a body and no more is let go, whether its message is wanted or not.
func TestABodyThatDoesNotArriveIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"a handler that reads": func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
		},
		"a handler that refuses unread": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overPipes(t, h, func(t *testing.T, client *http.Client, _ *pipes) {
				body, more := io.Pipe()
				go func() { _, _ = more.Write([]byte("{")) }()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://boreal.example/", body)
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = 1000
				began := time.Now()
				res, err := client.Do(r)
				if err == nil {
					_ = res.Body.Close()
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("held for %v", took)
				}
				if err == nil && res.StatusCode < 400 {
					t.Errorf("half a message was answered %d", res.StatusCode)
				}
				_ = more.CloseWithError(errors.New("given up"))
			})
		})
	}
}

// T-43: nor is the rest of a header waited for, nor of a handshake.
func TestAHeaderThatDoesNotArriveIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for name, over := range map[string]func(net.Listener) net.Listener{
		"without TLS": func(l net.Listener) net.Listener { return l },
		"with TLS": func(l net.Listener) net.Listener {
			return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return nil, errors.New("nobody gets that far")
			}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				listener := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				server := connector.Public(http.NotFoundHandler(), nil, slog.New(slog.NewTextHandler(t.Output(), nil)))
				go func() { _ = server.Serve(over(listener)) }()
				defer func() { _ = server.Close(); synctest.Wait() }()
				conn, err := listener.dial(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				begin := map[string]string{"without TLS": "GET / HTTP/1.1\r\nX-Slow: ", "with TLS": "\x16\x03\x01\x01\x00\x01"}[name]
				began := time.Now()
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				for _, err = io.WriteString(conn, begin); err == nil; _, err = conn.Write([]byte("x")) {
					time.Sleep(500 * time.Millisecond)
				}
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("held for %v", took)
				}
			})
		})
	}
}

func TestAMessageThatArrivedMayBeThoughtAboutForLong(t *testing.T) {
	t.Parallel()
	overPipes(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
			t.Error("the caller was taken for gone")
		case <-time.After(time.Minute):
		}
	}, func(t *testing.T, client *http.Client, _ *pipes) {
		for range 2 { // on one connection
			body, more := io.Pipe()
			go func() {
				_, _ = more.Write([]byte("{"))
				time.Sleep(9 * time.Second)
				_, _ = more.Write([]byte("}"))
				_ = more.Close()
			}()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://boreal.example/", body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("answered %d", res.StatusCode)
			}
		}
	})
}

func TestAConnectionCarriesAHundredStreamsAtOnce(t *testing.T) {
	t.Parallel()
	overPipes(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, client *http.Client, to *pipes) {
		if client.Transport.(*http.Transport).Protocols.HTTP1() {
			return // carries one
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, want := range []int32{1, 2} { // the one over the hundred needs a connection of its own
			for range 100 / want {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://boreal.example/", nil)
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() { _, _ = client.Do(r) })
				synctest.Wait()
			}
			if n := to.dials.Load(); n != want {
				t.Errorf("%d connections, want %d", n, want)
			}
		}
		cancel()
		all.Wait()
	})
}
