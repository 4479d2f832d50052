package connector_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/settings"
)

// clock is time that a test owns.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// written is what was logged.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// run runs a connector until the test ends.
func run(t *testing.T, c *connector.Connector) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, c.Close()); err != nil {
			t.Error(err)
		}
	})
}

// open makes a connector over a directory of its own, on free ports.
func open(t *testing.T, change func(*connector.Config)) (c *connector.Connector, public, management string) {
	t.Helper()
	cfg := connector.Config{Settings: settings.Default()}
	cfg.Settings.Data = filepath.Join(t.TempDir(), "data")
	for _, l := range []*net.Listener{&cfg.Public, &cfg.Management} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	change(&cfg)
	c, err := connector.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, cfg.Public.Addr().String(), cfg.Management.Addr().String()
}
