package keyring

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// file is how versions before this one kept the keys of a participant: PKCS#8 and raw secrets, base64, not wrapped.
type file struct {
	Version int               `json:"version"`
	Token   string            `json:"token"`
	Issue   string            `json:"issue"`
	Log     string            `json:"log"`
	Secrets map[string]string `json:"secrets"`
}

// Imported is appended to the name of a key file whose keys are in the store.
const Imported = ".imported"

// Import takes the keys of a participant over from the file of an earlier version, once: an error that is fs.ErrNotExist when there is no such
// file. The file is put aside under another name once its keys are durable in the store; it still holds them, unwrapped, and should be
// destroyed when the master key is in safety.
func (k *Keeper) Import(ctx context.Context, disk durable.FS, path, slug string) (*Ring, error) {
	text, err := disk.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if err := private(disk, path); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	r, err := Draw(slug, k.cfg.Rand, k.cfg.Now) // for its data key
	if err != nil {
		return nil, err
	}
	rows, err := r.read(text)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", path, err)
	}
	v, err := r.build(rows, 1)
	if err != nil {
		return nil, err
	}
	r.view.Store(v)
	kept, err := k.adopt(ctx, r)
	if fault.Is(err, fault.Conflict) { // an earlier attempt came this far
		kept, err = k.Open(ctx, slug)
	}
	if err != nil {
		return nil, err
	}
	return kept, setAside(disk, path)
}

func (r *Ring) read(text []byte) ([]store.Key, error) {
	var f file
	if err := json.Unmarshal(text, &f); err != nil || f.Version != 1 {
		return nil, fmt.Errorf("it is not a key file of version 1")
	}
	var rows []store.Key
	for _, u := range uses {
		encoded := map[string]string{string(identity.UseToken): f.Token, string(identity.UseIssue): f.Issue, checkpoint: f.Log}[u.name]
		algorithm := algorithmOf(u)
		if algorithm == Secret {
			encoded = f.Secrets[u.name]
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be read", u.name)
		}
		key := any(raw)
		if algorithm != Secret {
			key, _ = x509.ParsePKCS8PrivateKey(raw)
		}
		if !fits(key, algorithm) {
			return nil, fmt.Errorf("%s cannot be read", u.name)
		}
		row, err := r.row(u, algorithm, key, rows)
		if err != nil {
			return nil, err
		}
		row.State = store.KeyActive
		rows = append(rows, row)
	}
	return rows, nil
}

func fits(key any, algorithm string) bool {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return algorithm == ES256 && k.Curve.Params().Name == "P-256"
	case ed25519.PrivateKey:
		return algorithm == Ed25519
	case []byte:
		return algorithm == Secret && len(k) == keyBytes
	}
	return false
}

func setAside(disk durable.FS, path string) error {
	if err := disk.Rename(path, path+Imported); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return disk.SyncDir(filepath.Dir(path))
}
