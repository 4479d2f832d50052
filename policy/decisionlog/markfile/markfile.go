// Package markfile keeps the newest signed checkpoint of each log in a small file of its own, apart from the database: on another
// volume if the operator so chooses, and never restored from a backup. It is what stops a restored or forked log from being signed.
package markfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"sync"

	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// Dir implements decisionlog.Marks in an existing directory. One process at a time may use it.
type Dir struct {
	disk durable.FS
	path string
	mu   sync.Mutex
}

var _ decisionlog.Marks = (*Dir)(nil)

// Open returns the store in the directory, making it when it is missing.
func Open(disk durable.FS, path string) (*Dir, error) {
	if err := durable.Private(disk, path); err != nil {
		return nil, fmt.Errorf("checkpoint store: %w", err)
	}
	return &Dir{disk: disk, path: path}, nil
}

func (d *Dir) file(origin string) string {
	return filepath.Join(d.path, url.PathEscape(origin)+".json")
}

// Load implements decisionlog.Marks.
func (d *Dir) Load(_ context.Context, origin string) (decisionlog.Mark, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.load(origin)
}

func (d *Dir) load(origin string) (decisionlog.Mark, error) {
	text, err := d.disk.ReadFile(d.file(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return decisionlog.Mark{}, nil
	}
	if err != nil {
		return decisionlog.Mark{}, fmt.Errorf("checkpoint store: %w", err)
	}
	var m decisionlog.Mark
	if err := json.Unmarshal(text, &m); err != nil {
		return decisionlog.Mark{}, fmt.Errorf("checkpoint store: %s: %w", d.file(origin), err)
	}
	if len(m.Root) != sha256.Size {
		return decisionlog.Mark{}, fmt.Errorf("checkpoint store: %s holds no root", d.file(origin))
	}
	return m, nil
}

// Swap implements decisionlog.Marks.
func (d *Dir) Swap(_ context.Context, origin string, old, next decisionlog.Mark) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	stored, err := d.load(origin)
	if err != nil {
		return err
	}
	if stored.Size != old.Size || stored.Intent != old.Intent || !bytes.Equal(stored.Root, old.Root) {
		return fmt.Errorf("checkpoint store: %s was moved by somebody else", origin)
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := durable.Write(d.disk, d.file(origin), text); err != nil {
		return fmt.Errorf("checkpoint store: %w", err)
	}
	return nil
}
