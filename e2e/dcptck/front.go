package dcptck

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/certs"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// Front answers in TLS for a server that speaks plain HTTP. A client that speaks plain HTTP itself is let through as it is.
type Front struct {
	listener net.Listener
	config   *tls.Config
	roots    *x509.CertPool
	behind   string // address of the server
	open     sync.WaitGroup
}

// NewFront stands before the server at the loopback address.
func NewFront(behind string) (*Front, error) {
	ca, err := certs.New(rand.Reader, time.Now)
	if err != nil {
		return nil, err
	}
	leaf, err := ca.Leaf("localhost")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Front{listener: l, config: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}, roots: ca.Pool(), behind: behind}
	f.open.Go(f.serve)
	return f, nil
}

// Roots are who vouches for the front.
func (f *Front) Roots() *x509.CertPool { return f.roots }

// Dial leads who wants to reach the server to the front.
func (f *Front) Dial(next egress.Dial) egress.Dial {
	_, port, _ := net.SplitHostPort(f.behind)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, p, err := net.SplitHostPort(address); err == nil && p == port {
			address = f.listener.Addr().String()
		}
		return next(ctx, network, address)
	}
}

// Close stops listening and waits for the connections to end.
func (f *Front) Close() error {
	err := f.listener.Close()
	f.open.Wait()
	return err
}

func (f *Front) serve() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.open.Go(func() { f.join(conn) })
	}
}

// record is the first byte of a TLS handshake.
const record = 0x16

func (f *Front) join(conn net.Conn) {
	defer conn.Close()
	peeked := &peeker{Conn: conn, r: bufio.NewReader(conn)}
	first, err := peeked.r.Peek(1)
	if err != nil {
		return
	}
	client := net.Conn(peeked)
	if first[0] == record {
		client = tls.Server(peeked, f.config)
	}
	server, err := net.Dial("tcp", f.behind)
	if err != nil {
		return
	}
	defer server.Close()
	var way sync.WaitGroup
	way.Go(func() { _, _ = io.Copy(server, client); _ = server.(*net.TCPConn).CloseWrite() })
	way.Go(func() { _, _ = io.Copy(client, server); _ = conn.Close() })
	way.Wait()
}

// peeker is a connection whose first bytes were looked at.
type peeker struct {
	net.Conn
	r *bufio.Reader
}

func (p *peeker) Read(b []byte) (int, error) { return p.r.Read(b) }
