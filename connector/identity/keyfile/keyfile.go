// Package keyfile keeps the keys of one hosted participant in a file of its own, readable by the owner only.
package keyfile

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// Keys implements identity.Keys.
type Keys struct {
	rand    io.Reader
	ec      map[identity.Use]*ecdsa.PrivateKey
	ids     map[identity.Use]string
	log     ed25519.PrivateKey
	secrets map[identity.Secret][]byte
}

var _ identity.Keys = (*Keys)(nil)

// file is the form on disk: PKCS#8 keys and raw secrets, base64.
type file struct {
	Version int               `json:"version"`
	Token   string            `json:"token"`
	Issue   string            `json:"issue"`
	Log     string            `json:"log"`
	Secrets map[string]string `json:"secrets"`
}

var secrets = []identity.Secret{identity.SecretAccess, identity.SecretHolder, identity.SecretRest, identity.SecretLog, identity.SecretCursor}

// Create draws fresh keys and writes them to path, which must not exist. What it returned is durable.
func Create(disk durable.FS, path string, rand io.Reader) (*Keys, error) {
	f := file{Version: 1, Secrets: map[string]string{}}
	for _, to := range []*string{&f.Token, &f.Issue} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand)
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		if *to, err = pkcs8(key); err != nil {
			return nil, err
		}
	}
	_, log, err := ed25519.GenerateKey(rand)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if f.Log, err = pkcs8(log); err != nil {
		return nil, err
	}
	for _, name := range secrets {
		b := make([]byte, 32)
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		f.Secrets[string(name)] = base64.StdEncoding.EncodeToString(b)
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := durable.Create(disk, path, append(text, '\n')); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return Open(path, rand)
}

func pkcs8(key any) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	return base64.StdEncoding.EncodeToString(der), nil
}

// Open reads the keys. A file that others can read is refused.
func Open(path string, rand io.Reader) (*Keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("keys: %s can be read by others (mode %04o); make it 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil || f.Version != 1 {
		return nil, fmt.Errorf("keys: %s is not a key file of version 1", path)
	}
	k := &Keys{rand: rand, ec: map[identity.Use]*ecdsa.PrivateKey{}, ids: map[identity.Use]string{}, secrets: map[identity.Secret][]byte{}}
	for use, text := range map[identity.Use]string{identity.UseToken: f.Token, identity.UseIssue: f.Issue} {
		key, ok := parse(text).(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("keys: %s: the %s key cannot be read", path, use)
		}
		k.ec[use] = key
		if k.ids[use], err = idOf(use, key); err != nil {
			return nil, err
		}
	}
	log, ok := parse(f.Log).(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("keys: %s: the log key cannot be read", path)
	}
	k.log = log
	for _, name := range secrets {
		b, err := base64.StdEncoding.DecodeString(f.Secrets[string(name)])
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("keys: %s: secret %s is not 32 bytes", path, name)
		}
		k.secrets[name] = b
	}
	return k, nil
}

func parse(text string) any {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil
	}
	return key
}

// idOf names a key by its own bytes: a new key is a new name.
func idOf(use identity.Use, key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return string(use) + "-" + base64.RawURLEncoding.EncodeToString(sum[:9]), nil
}

// Public implements identity.Keys.
func (k *Keys) Public(use identity.Use) []identity.PublicKey {
	return []identity.PublicKey{{ID: k.ids[use], Key: &k.ec[use].PublicKey}}
}

// Sign implements identity.Keys: ES256, the two numbers side by side.
func (k *Keys) Sign(use identity.Use, input []byte) ([]byte, error) {
	sum := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(k.rand, k.ec[use], sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

// LogKey implements identity.Keys.
func (k *Keys) LogKey() ed25519.PublicKey { return k.log.Public().(ed25519.PublicKey) }

// SignLog implements identity.Keys.
func (k *Keys) SignLog(msg []byte) ([]byte, error) { return ed25519.Sign(k.log, msg), nil }

// Secret implements identity.Keys.
func (k *Keys) Secret(name identity.Secret) ([]byte, error) {
	b, ok := k.secrets[name]
	if !ok {
		return nil, fmt.Errorf("no secret is called %q", name)
	}
	return b, nil
}

// String hides what is inside.
func (k *Keys) String() string { return "keys" }
