package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// Master wraps the data keys of participants. It may be in a key service; it is asked once per participant and start.
type Master interface {
	// ID names the key without telling anything of it. Another key has another name.
	ID() string
	// Wrap encrypts and binds: Unwrap gives plain back for the same bind only.
	Wrap(ctx context.Context, plain, bind []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, bind []byte) ([]byte, error)
}

const (
	keyBytes     = 32
	masterPrefix = "sluice-master-1:"
)

// local is a master key in the memory of this process.
type local struct {
	id   string
	key  []byte
	rand io.Reader
}

// ParseMaster reads a master key in the form that DrawMaster writes.
func ParseMaster(text string, rand io.Reader) (Master, error) {
	raw, ok := strings.CutPrefix(strings.TrimSpace(text), masterPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(raw)
	if !ok || err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("master key: want %q and %d bytes in base64", masterPrefix, keyBytes)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("sluice/master/v1/name"))
	return &local{id: "local-" + hex.EncodeToString(mac.Sum(nil)[:8]), key: key, rand: rand}, nil
}

// DrawMaster draws a master key and returns it as text.
func DrawMaster(rand io.Reader) (string, error) {
	key := make([]byte, keyBytes)
	if _, err := io.ReadFull(rand, key); err != nil {
		return "", fmt.Errorf("master key: %w", err)
	}
	return masterPrefix + base64.StdEncoding.EncodeToString(key), nil
}

// ReadMaster reads a master key from its file: an error that is fs.ErrNotExist when there is none. One that others can read is refused.
func ReadMaster(disk durable.FS, path string, rand io.Reader) (Master, error) {
	text, err := disk.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if err := private(disk, path); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	m, err := ParseMaster(string(text), rand)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// CreateMaster draws a master key into a file that must not be there, readable by its owner only. What it returned is durable.
func CreateMaster(disk durable.FS, path string, rand io.Reader) (Master, error) {
	text, err := DrawMaster(rand)
	if err != nil {
		return nil, err
	}
	if err := durable.Create(disk, path, []byte(text+"\n")); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return ParseMaster(text, rand)
}

func private(disk durable.FS, path string) error {
	mode, err := disk.Mode(path)
	if err != nil {
		return err
	}
	if mode&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o); make it 0600", path, mode)
	}
	return nil
}

// ID implements Master.
func (m *local) ID() string { return m.id }

// String hides what is inside.
func (m *local) String() string { return "master key " + m.id }

// Wrap implements Master.
func (m *local) Wrap(_ context.Context, plain, bind []byte) ([]byte, error) {
	return wrap(m.rand, m.key, plain, bind)
}

// Unwrap implements Master.
func (m *local) Unwrap(_ context.Context, wrapped, bind []byte) ([]byte, error) {
	return unwrap(m.key, wrapped, bind)
}

func wrap(rand io.Reader, key, plain, bind []byte) ([]byte, error) {
	wrapped, err := identity.Encrypt(rand, key, plain, bind)
	if err != nil {
		return nil, fmt.Errorf("wrap: %w", err)
	}
	return wrapped, nil
}

var errWrapped = errors.New("unwrap: wrapped by another key, for another place, or changed")

func unwrap(key, wrapped, bind []byte) ([]byte, error) {
	plain, err := identity.Decrypt(key, wrapped, bind)
	if errors.Is(err, identity.ErrSealed) {
		return nil, errWrapped
	}
	return plain, err
}
