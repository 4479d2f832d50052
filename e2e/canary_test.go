package e2e_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/schemas"
)

// TestNoSecretStandsAnywhereInClear has an exchange with secrets that can be recognised, then looks for them in everything that is kept or given away:
// database files, backup, export and log output of both sides (security rules T-18, T-51).
func TestNoSecretStandsAnywhereInClear(t *testing.T) {
	t.Parallel()
	const upstreamSecret = "Bearer canary-of-the-house-0123456789"
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != upstreamSecret {
			http.Error(w, r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(source.Close)
	file := filepath.Join(t.TempDir(), "erp.secret")
	if err := os.WriteFile(file, []byte(upstreamSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var logged output
	dir := t.TempDir()
	n, err := network.Start(t.Context(), network.Config{Dir: dir, Now: time.Now, Members: []network.Member{members[1], members[2]},
		Log: func(string) *slog.Logger {
			return slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		},
		Change: func(_ string, cfg *connector.Config) {
			cfg.Settings.Egress.Upstreams = []settings.Upstream{{Origin: source.URL}}
			cfg.Settings.Egress.Secrets = []settings.Secret{{Name: "erp", Origins: []string{source.URL}, Header: "Authorization", File: file}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	secrets := map[string][]byte{"the upstream's secret": []byte(upstreamSecret)}
	for _, c := range []*network.Company{cobalt, boreal} {
		secret, token, err := rpc.NewToken(rand.Reader, store.Token{Role: rpc.Operator, Label: "canary", Created: time.Now()})
		if err == nil {
			err = c.Store().PutToken(t.Context(), token)
		}
		if err != nil {
			t.Fatal(err)
		}
		secrets["the management token of "+c.Local.Slug] = []byte(secret)
		call(t, c, secret)
		for name, key := range privateKeys(t, c, filepath.Join(dir, c.Local.Slug, "master.key")) {
			secrets[name+" of "+c.Local.Slug] = key
		}
	}

	// What was rotated away leaves nothing either.
	for _, c := range []*network.Company{cobalt, boreal} {
		none := time.Duration(0)
		if _, err := c.Keeper().Rotate(t.Context(), c.Local, keyring.Rotation{Overlap: &none, Actor: "test"}); err != nil {
			t.Fatal(err)
		}
	}

	const asset = "urn:sluice:test:canary"
	if err := cobalt.PublishAsset(t.Context(), cobalt.Local, catalog.Asset{ID: asset, Title: "An API", Type: "https://w3id.org/catenax/taxonomy#Submodel",
		APIVersion: "3.0", SemanticID: schemas.PCF, Properties: map[string]string{catalog.PropertyTerms: "pcf"}, Address: catalog.Address{BaseURL: source.URL, SecretRef: "erp"}}, "test"); err != nil {
		t.Fatal(err)
	}
	publish(t, cobalt)
	result, err := boreal.Pull(t.Context(), boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: asset, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_ = result.Body.Close()
	address, err := boreal.Address(t.Context(), boreal.Local, result.Transfer)
	if err != nil {
		t.Fatal(err)
	}
	secrets["the access token"] = []byte(strings.TrimPrefix(address.Properties[transfer.PropertyToken], "Bearer "))

	for _, c := range []*network.Company{cobalt, boreal} {
		var backup bytes.Buffer
		if err := c.Store().Backup(t.Context(), &backup); err != nil {
			t.Fatal(err)
		}
		look(t, secrets, c.Local.Slug+"'s backup", unfolded(t, backup.Bytes()))
		export := filepath.Join(t.TempDir(), c.Local.Slug)
		if err := c.Export(t.Context(), c.Local, export); err != nil {
			t.Fatal(err)
		}
		for _, root := range []string{export, filepath.Join(dir, c.Local.Slug)} {
			lookInFiles(t, secrets, root)
		}
	}
	look(t, secrets, "the log output", logged.bytes())
}

// call has the management token go through the API, accepted and refused.
func call(t *testing.T, c *network.Company, secret string) {
	t.Helper()
	for _, path := range []string{"/v1/participants", "/v1/participants/nobody/assets"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.Management+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusUnauthorized {
			t.Fatalf("%s: %s", path, res.Status)
		}
	}
}

// privateKeys unwraps what is wrapped in the store, by the text of the format and not by our code: the master key, what it wraps, and what that wraps.
func privateKeys(t *testing.T, c *network.Company, masterKey string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	master, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(text)), "sluice-master-1:"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := c.Store().Keyring(t.Context(), c.Local.Slug)
	if err != nil {
		t.Fatal(err)
	}
	data := unwrap(t, master, kept.DataKey, "sluice/data-key/v1\x00"+c.Local.Slug)
	out := map[string][]byte{"the master key": master, "the data key": data}
	for _, k := range kept.Keys {
		plain := unwrap(t, data, k.Wrapped, "sluice/key/v1\x00"+c.Local.Slug+"\x00"+k.Use+"\x00"+k.ID)
		if k.Algorithm != "secret" {
			key, err := x509.ParsePKCS8PrivateKey(plain)
			if err != nil {
				t.Fatal(err)
			}
			switch key := key.(type) {
			case *ecdsa.PrivateKey:
				if plain, err = key.Bytes(); err != nil {
					t.Fatal(err)
				}
			case ed25519.PrivateKey:
				plain = key.Seed()
			}
		}
		out["the key "+k.ID] = plain
	}
	if len(out) != 10 {
		t.Fatalf("%d keys", len(out))
	}
	return out
}

func unwrap(t *testing.T, key, wrapped []byte, bind string) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := aead.Open(nil, wrapped[:12], wrapped[12:], []byte(bind))
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// lookInFiles looks everywhere below root but in the file of the master key itself.
func lookInFiles(t *testing.T, secrets map[string][]byte, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(path) == "master.key" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		look(t, secrets, path, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// look wants no secret in the text, as it is or as bytes are usually written.
func look(t *testing.T, secrets map[string][]byte, where string, text []byte) {
	t.Helper()
	if len(text) == 0 {
		t.Errorf("%s is empty: nothing was looked at", where)
	}
	for name, secret := range secrets {
		forms := map[string][]byte{"in clear": secret, "in hex": []byte(hex.EncodeToString(secret))}
		for shift := range 3 {
			forms["in base64 "+strconv.Itoa(shift)] = inside(base64.RawStdEncoding, secret, shift)
			forms["in base64url "+strconv.Itoa(shift)] = inside(base64.RawURLEncoding, secret, shift)
		}
		for form, written := range forms {
			if at := bytes.Index(text, written); at >= 0 {
				t.Errorf("%s stands %s in %s, at byte %d", name, form, where, at)
			}
		}
	}
}

// inside is what a secret looks like within a longer text that is encoded, when shift bytes stand before it in its group of three.
func inside(encoding *base64.Encoding, secret []byte, shift int) []byte {
	written := encoding.EncodeToString(append(make([]byte, shift), secret...))
	return []byte(written[(shift*8+5)/6 : len(written)-1])
}

var folded = regexp.MustCompile(`\{"b64":"([^"]*)"\}`)

// unfolded is a backup with its columns of bytes also as bytes.
func unfolded(t *testing.T, backup []byte) []byte {
	t.Helper()
	out := bytes.Clone(backup)
	for _, m := range folded.FindAllSubmatch(backup, -1) {
		b, err := base64.StdEncoding.DecodeString(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, '\n'), b...)
	}
	return out
}

// output collects what several loggers write.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text.Bytes())
}
