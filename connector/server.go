package connector

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// drained is a server that stops when no request is under way. Shutdown alone would also wait for connections on which nothing was
// ever asked, and peers open such ahead of need.
type drained struct {
	*http.Server

	mu     sync.Mutex
	active map[net.Conn]struct{}
	idle   chan struct{} // closed when draining and nothing is active; nil before
}

func (c *Connector) server(h http.Handler, protocols *http.Protocols) *drained {
	d := &drained{active: map[net.Conn]struct{}{}}
	d.Server = &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 60 * time.Second, MaxHeaderBytes: 32 << 10,
		Protocols: protocols, ConnState: d.state, ErrorLog: slog.NewLogLogger(c.cfg.Log.Handler(), slog.LevelDebug)}
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
