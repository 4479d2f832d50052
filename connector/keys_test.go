package connector_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/settings"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// earlier writes the keys of a participant as an earlier version kept them.
func earlier(t *testing.T, path string) (token *ecdsa.PrivateKey) {
	t.Helper()
	token, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	issue, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	_, log, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	secret := base64.StdEncoding.EncodeToString(make([]byte, 32))
	file := map[string]any{"version": 1, "secrets": map[string]string{"access": secret, "holder": secret, "rest": secret, "log": secret, "cursor": secret}}
	for name, key := range map[string]any{"token": token, "issue": issue, "log": log} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		must(t, err)
		file[name] = base64.StdEncoding.EncodeToString(der)
	}
	text, err := json.Marshal(file)
	must(t, err)
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, text, 0o600))
	return token
}

func TestADataDirectoryOfAnEarlierVersionKeepsItsKeys(t *testing.T) {
	t.Parallel()
	var token *ecdsa.PrivateKey
	var data string
	again := func(cfg *connector.Config) {
		cfg.Settings.Participants = []settings.Participant{{Slug: "aurora", Name: "Aurora Motors"}}
		if data == "" {
			data = cfg.Settings.Data
			token = earlier(t, filepath.Join(data, "keys", "aurora.json"))
			must(t, os.Chmod(data, 0o700))
		}
		cfg.Settings.Data = data
	}
	for range 2 {
		c, _, _ := open(t, again)
		p, err := c.Participant(t.Context(), "aurora")
		must(t, err)
		keys, err := c.Keys(p)
		must(t, err)
		if !token.PublicKey.Equal(keys.Public(identity.UseToken)[0].Key) {
			t.Error("another key signs")
		}
		must(t, c.Close())
		if _, err := os.Stat(filepath.Join(data, "keys", "aurora.json"+keyring.Imported)); err != nil {
			t.Errorf("the old file was not put aside: %v", err)
		}
	}
}

func TestTheDocumentThatIsServedFollowsTheKeys(t *testing.T) {
	t.Parallel()
	c, public, _ := open(t, func(cfg *connector.Config) {
		cfg.Settings.Participants = []settings.Participant{{Slug: "aurora", Name: "Aurora Motors"}}
	})
	run(t, c)
	p, err := c.Participant(t.Context(), "aurora")
	must(t, err)
	served := func() (document *identity.Document, text string) {
		t.Helper()
		res, err := http.Get("http://" + public + "/aurora/did.json")
		must(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		must(t, err)
		if got := res.Header.Get("Cache-Control"); got != "max-age=300" {
			t.Errorf("Cache-Control %q", got)
		}
		document, err = identity.ParseDocument(p.DID, body)
		must(t, err)
		return document, string(body)
	}
	document, text := served()
	wallets := slices.DeleteFunc(slices.Clone(document.Services), func(s identity.Service) bool { return s.Type != "CredentialService" })
	if len(wallets) != 1 || len(document.Services) < 2 {
		t.Errorf("services %+v, want one credential service, and those of the connector", document.Services)
	}
	old := string(p.DID) + "#" + first(t, c)
	if _, err := document.Key(old, identity.CapabilityInvocation); err != nil {
		t.Fatal(err)
	}
	overlap := time.Hour
	made, err := c.Keeper().Rotate(t.Context(), p, keyring.Rotation{Use: "token", Overlap: &overlap, Actor: "test"})
	must(t, err)
	document, _ = served()
	for _, kid := range []string{old, string(p.DID) + "#" + made[0].ID} {
		if _, err := document.Key(kid, identity.CapabilityInvocation); err != nil {
			t.Errorf("%s, during the rotation: %v", kid, err)
		}
	}
	_, err = c.Keeper().Revoke(t.Context(), p, first(t, c), commit.Order{Actor: "test"})
	must(t, err)
	document, text = served()
	if _, err := document.Key(old, identity.CapabilityInvocation); err == nil || strings.Contains(text, old) {
		t.Error("the revoked key is served still")
	}
}

// first is the id of the key that signs tokens.
func first(t *testing.T, c *connector.Connector) string {
	t.Helper()
	p, err := c.Participant(t.Context(), "aurora")
	must(t, err)
	keys, err := c.Keys(p)
	must(t, err)
	signer, err := keys.Signer(identity.UseToken)
	must(t, err)
	return signer.Public().ID
}
