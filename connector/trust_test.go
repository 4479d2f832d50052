package connector_test

import (
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
