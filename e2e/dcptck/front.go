package dcptck

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/certs"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// Front answers in TLS for servers that speak plain HTTP. A client that speaks plain HTTP itself is let through as it is.
type Front struct {
	doors  map[string]net.Listener // by the port of the server behind
	config *tls.Config
	roots  *x509.CertPool
	open   sync.WaitGroup
}

// NewFront stands before the servers at the loopback addresses.
func NewFront(behind ...string) (*Front, error) {
	ca, err := certs.New(rand.Reader, time.Now)
	if err != nil {
		return nil, err
	}
	leaf, err := ca.Leaf("localhost")
	if err != nil {
		return nil, err
	}
	f := &Front{doors: map[string]net.Listener{}, config: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}, roots: ca.Pool()}
	for _, server := range behind {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		_, port, _ := net.SplitHostPort(server)
		f.doors[port] = l
		f.open.Go(func() { f.serve(l, server) })
	}
	return f, nil
}

// Roots are who vouches for the front.
func (f *Front) Roots() *x509.CertPool { return f.roots }

// Dial leads who wants to reach one of the servers to the front.
func (f *Front) Dial(next egress.Dial) egress.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, port, err := net.SplitHostPort(address); err == nil && f.doors[port] != nil {
			address = f.doors[port].Addr().String()
		}
		return next(ctx, network, address)
	}
}

// Close stops listening and waits for the connections to end.
func (f *Front) Close() error {
	var err error
	for _, l := range f.doors {
		err = errors.Join(err, l.Close())
	}
	f.open.Wait()
	return err
}

func (f *Front) serve(l net.Listener, behind string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		f.open.Go(func() { f.join(conn, behind) })
	}
}

// record is the first byte of a TLS handshake.
const record = 0x16

func (f *Front) join(conn net.Conn, behind string) {
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
	server, err := net.Dial("tcp", behind)
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
