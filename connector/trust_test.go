package connector_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/settings"
)

func TestATrustThatChangedWhileNothingRanIsOnRecordAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/data"
	start := func(trust []settings.Trust, profile string) (changes int, err error) {
		t.Helper()
		cfg := connector.Config{Settings: settings.Default()}
		cfg.Settings.Data, cfg.Settings.Profiles[0].Trust = dir, trust
		cfg.Settings.Participants = []settings.Participant{{Slug: "aurora", Name: "Aurora Motors", Profile: profile}}
		cfg.Settings.Profiles = append(cfg.Settings.Profiles, settings.Profile{Use: "factory-x"})
		c, err := connector.New(t.Context(), cfg)
		if err != nil {
			return 0, err
		}
		p, err := c.Participant(t.Context(), "aurora")
		if err != nil {
			t.Fatal(err)
		}
		events, err := c.Store().EventsSince(t.Context(), p.ID, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == "trust.changed" {
				changes++
			}
		}
		if _, err := c.ReloadTrust(t.Context(), "casey"); !fault.Is(err, fault.Conflict) {
			t.Errorf("without a file: %v", err)
		}
		return changes, c.Close()
	}
	one := []settings.Trust{{Issuer: "did:web:meridian.example", Credentials: []string{"MembershipCredential"}}}
	two := append(one, settings.Trust{Issuer: "did:web:second.example", Credentials: []string{"MembershipCredential"}})
	for i, tt := range []struct {
		trust []settings.Trust
		want  int
	}{{one, 1}, {one, 1}, {two, 2}, {two, 2}, {nil, 3}} {
		if got, err := start(tt.trust, ""); err != nil || got != tt.want {
			t.Errorf("start %d: %d changes on record, %v; want %d", i, got, err, tt.want)
		}
	}
	if _, err := start(nil, "factory-x"); err == nil || !strings.Contains(err.Error(), "never changes") {
		t.Errorf("another profile for a participant that is there: %v", err)
	}
	if _, err := start(nil, "nowhere"); err == nil {
		t.Error("a profile that is not there")
	}
	if _, err := start([]settings.Trust{{Issuer: "did:web:10.0.0.1", Credentials: []string{"A"}}}, ""); err == nil || !strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("an issuer at an address: %v", err)
	}
}

// What a profile asks for must be asked for in words that the profile itself knows: else its own members would not understand the question.
func TestAProfileThatAsksInWordsThatItDoesNotKnowIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"a scope of another's alias":        {"scopes: [\"org.example.vc.type:MembershipCredential:read\"]", "alias is not known"},
		"a scope of the protocol's own":     {"scopes: [\"org.eclipse.dspace.dcp.vc.type:MembershipCredential:read\"]", ""},
		"a scope of its own":                {"scopes: [\"org.example.vc.type:MembershipCredential:read\"]\naliases: [org.example.vc.type]", ""},
		"a directory for whom nobody knows": {"directory: \"org.example.vc.type:MembershipCredential:read\"", "alias is not known"},
		"an alias that says nothing":        {"aliases: [org.example.membership]", "ends in"},
		"an alias with a discriminator":     {"aliases: [\"org.example:X.vc.type\"]", "ends in"},
	} {
		file := filepath.Join(t.TempDir(), "own.yaml")
		if err := os.WriteFile(file, []byte("id: own\npolicy: https://own.example/policy/\ncredentials: {profiles: [vc11-sl2021/jwt], leeway: 5s}\n"+tt.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := connector.Config{Settings: settings.Default()}
		cfg.Settings.Data, cfg.Settings.Profiles = filepath.Join(t.TempDir(), "data"), []settings.Profile{{Use: file}}
		c, err := connector.New(t.Context(), cfg)
		if err == nil {
			err = c.Close()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
