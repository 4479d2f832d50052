package connector

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/wire/gate"
)

// drained is a server that stops when no request is under way. Shutdown alone would also wait for connections on which nothing was
// ever asked, and peers open such ahead of need.
type drained struct {
	*http.Server

	mu     sync.Mutex
	active map[net.Conn]struct{}
	idle   chan struct{} // closed when draining and nothing is active; nil before
}

// arrival is how long a peer's request may take to be there, body and all (security rule T-43). What is answered may take as long as it takes.
const arrival = 10 * time.Second

// server makes a server whose requests must have arrived in time; zero: whenever, for streams.
func (c *Connector) server(h http.Handler, protocols *http.Protocols, arrival time.Duration) *drained {
	d := &drained{active: map[net.Conn]struct{}{}}
	d.Server = &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: arrival, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 32 << 10, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100}, Protocols: protocols, ConnState: d.state, ConnContext: gate.ConnContext,
		ErrorLog: slog.NewLogLogger(c.cfg.Log.Handler(), slog.LevelDebug)}
	return d
}

func (d *drained) state(conn net.Conn, s http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s == http.StateActive {
		d.active[conn] = struct{}{}
		return
	}
	delete(d.active, conn)
	d.settle()
}

// settle tells drain that nothing is active; the caller holds mu.
func (d *drained) settle() {
	if d.idle != nil && len(d.active) == 0 {
		close(d.idle)
		d.idle = nil
	}
}

// drain stops accepting, waits for what is under way until ctx ends, and closes every connection.
func (d *drained) drain(ctx context.Context) {
	idle := make(chan struct{})
	d.mu.Lock()
	d.idle = idle
	d.settle()
	d.mu.Unlock()
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	var closing sync.WaitGroup
	closing.Go(func() { _ = d.Shutdown(stop) })
	select {
	case <-idle:
	case <-ctx.Done():
	}
	cancel()
	closing.Wait()
	_ = d.Close()
}
