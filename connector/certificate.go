package connector

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a chain and a key in files that are looked at while serving, at most once a second, and read again when they have changed:
// a renewal needs no restart. Files that cannot be used leave the certificate as it is.
type certificate struct {
	files [2]string // chain, key
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	current *tls.Certificate
	seen    [2]stamp
	looked  time.Time
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// readCertificate reads the files for the first time: here it is an error when they cannot be used.
func readCertificate(chain, key string, now func() time.Time, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: [2]string{chain, key}, now: now, log: log, looked: now()}
	var err error
	if c.seen, err = c.stamps(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if since := now.Sub(c.looked); since >= 0 && since < time.Second {
		return c.current, nil
	}
	c.looked = now
	seen, err := c.stamps()
	if err == nil && seen == c.seen {
		return c.current, nil
	}
	if err == nil {
		c.seen = seen // once for each change: a key that comes after its chain is a change of its own
		err = c.read()
	}
	ctx, file := context.Background(), slog.String("file", c.files[0])
	if err != nil {
		c.log.ErrorContext(ctx, "certificate not read again; the one before is served", file, slog.Any("error", err))
	} else {
		c.log.InfoContext(ctx, "certificate read again", file)
	}
	return c.current, nil
}

func (c *certificate) stamps() (out [2]stamp, err error) {
	for i, file := range c.files {
		info, err := os.Stat(file)
		if err != nil {
			return out, err
		}
		out[i] = stamp{info.ModTime(), info.Size()}
	}
	return out, nil
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err == nil {
		c.current = &pair
	}
	return err
}
