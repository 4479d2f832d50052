package e2e_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/trust"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// file is the settings of one company as its operator edits them.
type file struct {
	mu   sync.Mutex
	text settings.Settings
}

func (f *file) read() (settings.Settings, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.text
	s.Profiles = slices.Clone(s.Profiles)
	for i := range s.Profiles {
		s.Profiles[i].Trust = slices.Clone(s.Profiles[i].Trust)
	}
	return s, nil
}

func (f *file) edit(change func(*settings.Settings)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text.Profiles = slices.Clone(f.text.Profiles)
	change(&f.text)
}

// edited starts companies; what the file of the named one says can be changed while it runs.
func edited(t *testing.T, slug string, before func(*connector.Config), m ...network.Member) (*network.Network, *file) {
	t.Helper()
	f := &file{}
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now, Members: m, Change: func(s string, cfg *connector.Config) {
		if s != slug {
			return
		}
		if before != nil {
			before(cfg)
		}
		f.text, cfg.Reload = cfg.Settings, f.read
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, f
}

// take pulls the asset and says how it went.
func take(t *testing.T, c *network.Company, peer participant.DID, asset string) error {
	t.Helper()
	result, err := c.Pull(t.Context(), c.Local, exchange.Errand{Peer: peer, Asset: asset, Actor: "test", Fresh: true})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, result.Body)
	return errors.Join(err, result.Body.Close())
}

// told lists what the participant's events say of trust.
func told(t *testing.T, c *network.Company, local participant.Participant) (actors []string) {
	t.Helper()
	events, err := c.Store().EventsSince(t.Context(), local.ID, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type == "trust.changed" {
			actors = append(actors, e.Actor)
		}
	}
	return actors
}

func TestTrustIsReloadedWhileItRunsAndTheChangeIsFelt(t *testing.T) {
	t.Parallel()
	n, f := edited(t, "cobalt", nil, members[1], members[2])
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	asset := publish(t, cobalt).Assets[0]
	if err := take(t, boreal, cobalt.Local.DID, asset); err != nil {
		t.Fatal(err)
	}

	// The authority is believed no more: what boreal has proven a moment ago is forgotten.
	f.edit(func(s *settings.Settings) {
		s.Profiles[0].Trust = []settings.Trust{{Issuer: "did:web:another.example", Credentials: []string{"MembershipCredential"}}}
	})
	changes, err := cobalt.ReloadTrust(t.Context(), "casey")
	if err != nil || len(changes) != 1 || !changes[0].Shrinks || len(changes[0].Removed) != 3 || len(changes[0].Added) != 1 {
		t.Fatalf("%+v, %v", changes, err)
	}
	if err := take(t, boreal, cobalt.Local.DID, asset); err == nil {
		t.Error("data was given to somebody whose credentials nobody believes")
	}

	// Nothing changed, nothing is said.
	if changes, err = cobalt.ReloadTrust(t.Context(), "casey"); err != nil || len(changes) != 0 {
		t.Errorf("the same once more: %v, %v", changes, err)
	}

	// And it is believed again.
	f.edit(func(s *settings.Settings) { s.Profiles[0].Trust = []settings.Trust{n.Trust()} })
	if _, err := cobalt.ReloadTrust(t.Context(), "robin"); err != nil {
		t.Fatal(err)
	}
	if err := take(t, boreal, cobalt.Local.DID, asset); err != nil {
		t.Errorf("after the authority is believed again: %v", err)
	}
	if got := told(t, cobalt, cobalt.Local); !slices.Equal(got, []string{"settings", "casey", "robin"}) {
		t.Errorf("the events name %v", got)
	}

	// The log names what was believed, and the archive holds it.
	if got := believed(t, cobalt, cobalt.Local); len(got) != 3 || len(got[0].Issuers) != 1 || got[1].Issuers[0].DID != "did:web:another.example" || got[2].Issuers[0].DID != n.Authority.Local.DID {
		t.Errorf("the log says %+v", got)
	}
}

// believed reads the decision log of a participant: what it says was believed, in order.
func believed(t *testing.T, c *network.Company, local participant.Participant) (out []trust.Terms) {
	t.Helper()
	if err := c.Export(t.Context(), local, filepath.Join(t.TempDir(), "log")); err != nil { // sequences what waits
		t.Fatal(err)
	}
	entries, err := c.Store().LogEntries(t.Context(), local.Slug, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		rec, err := decisionlog.ParseRecord(e.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Action == nil || rec.Action.Code != "trust.change" {
			continue
		}
		object, err := c.Store().Archived(t.Context(), local.Slug, rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		var terms trust.Terms
		if err := json.Unmarshal(object.Bytes, &terms); err != nil {
			t.Fatal(err)
		}
		if digest, err := terms.Digest(); err != nil || digest != rec.Data {
			t.Errorf("the archive holds %s under %s, %v", digest, rec.Data, err)
		}
		out = append(out, terms)
	}
	return out
}

func TestAReloadWithAnythingWrongChangesNothing(t *testing.T) {
	t.Parallel()
	own := filepath.Join(t.TempDir(), "own.yaml")
	write := func(text string) {
		if err := os.WriteFile(own, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const good = `id: own
policy: https://own.example/policy/
scopes: ["own.vc.type:MembershipCredential:read"]
aliases: [own.vc.type]
credentials: {profiles: [vc11-sl2021/jwt], leeway: 5s}
bpn: []
operands: [{name: Membership, access: true, usage: true, operators: [eq], values: [active]}]
asset: {type: "http://purl.org/dc/terms/type", version: v, semantic: s, taxonomy: t}
templates: []
`
	write(good)
	n, f := edited(t, "cobalt", func(cfg *connector.Config) {
		cfg.Settings.Profiles = append(slices.Clone(cfg.Settings.Profiles), settings.Profile{Use: own, Trust: []settings.Trust{}})
	}, members[2])
	cobalt := n.Companies["cobalt"]
	before, err := cobalt.Trust(t.Context(), cobalt.Local)
	if err != nil {
		t.Fatal(err)
	}
	start, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	more := settings.Trust{Issuer: "did:web:another.example", Credentials: []string{"MembershipCredential"}}
	for _, tt := range []struct {
		name, file, want string
		edit             func(*settings.Settings)
	}{
		{"an issuer that is no DID", good, "DID", func(s *settings.Settings) {
			s.Profiles[1].Trust = []settings.Trust{{Issuer: "did:web:", Credentials: []string{"A"}}}
		}},
		{"an issuer at an address", good, "issuer", func(s *settings.Settings) {
			s.Profiles[1].Trust = []settings.Trust{{Issuer: "did:web:127.0.0.1", Credentials: []string{"A"}}}
		}},
		{"a fault elsewhere in the file", good, "log.level", func(s *settings.Settings) { s.Log.Level = "loud" }},
		{"a profile file with an unknown key", good + "issuers: []\n", "issuers not found", func(*settings.Settings) {}},
		{"a profile file with a leeway of an hour", strings.Replace(good, "leeway: 5s", "leeway: 1h", 1), "leeway", func(*settings.Settings) {}},
		{"a profile file that is gone", "", "no such file", func(s *settings.Settings) { s.Profiles[1].Use = own + ".yaml" }},
		{"a profile with other operands", strings.Replace(good, "name: Membership", "name: Partnership", 1), "restart", func(*settings.Settings) {}},
		{"a profile less", good, "restart", func(s *settings.Settings) { s.Profiles = s.Profiles[:1] }},
		{"the profiles in another order", good, "restart", func(s *settings.Settings) {
			s.Profiles[0].Use, s.Profiles[1].Use = s.Profiles[1].Use, s.Profiles[0].Use
		}},
	} {
		write(tt.file)
		f.edit(func(s *settings.Settings) {
			*s = start
			s.Profiles = slices.Clone(start.Profiles)
			s.Profiles[0].Trust = append(slices.Clone(start.Profiles[0].Trust), more)
			tt.edit(s)
		})
		_, err := cobalt.ReloadTrust(t.Context(), "casey")
		if !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want one that names %q", tt.name, err, tt.want)
		}
		if now, err := cobalt.Trust(t.Context(), cobalt.Local); err != nil || len(now.Issuers) != len(before.Issuers) {
			t.Errorf("%s: %d issuers are believed, %d were; %v", tt.name, len(now.Issuers), len(before.Issuers), err)
		}
	}
	if got := told(t, cobalt, cobalt.Local); !slices.Equal(got, []string{"settings"}) {
		t.Errorf("something was put on record: %v", got)
	}

	// What a file says of credentials is read again with the rest.
	write(strings.Replace(good, "leeway: 5s", "leeway: 7s", 1))
	f.edit(func(s *settings.Settings) { *s = start })
	changes, err := cobalt.ReloadTrust(t.Context(), "casey")
	if err != nil || len(changes) != 1 || changes[0].Profile != "own" || !slices.Equal(changes[0].Added, []string{"leeway 7s"}) {
		t.Errorf("%+v, %v", changes, err)
	}
	if got := told(t, cobalt, cobalt.Local); !slices.Equal(got, []string{"settings"}) {
		t.Errorf("a change of another profile is on record here: %v", got)
	}
}

// Two ecosystems in one process: each participant believes those of its own, and policies and agreements carry whose they are.
func TestTwoEcosystemsInOneProcessBelieveEachTheirOwn(t *testing.T) {
	t.Parallel()
	second := ""
	n, _ := edited(t, "cobalt", func(cfg *connector.Config) {
		cfg.Settings.Profiles = append(slices.Clone(cfg.Settings.Profiles), settings.Profile{Use: "factory-x", Trust: []settings.Trust{}})
		second = "factory-x"
	}, members[1], members[2])
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	if _, err := cobalt.CreateParticipant(t.Context(), "gear", "Gear Works", "nowhere", "test"); !fault.Is(err, fault.Malformed) {
		t.Errorf("a participant of a profile that is not there: %v", err)
	}
	gear, err := cobalt.CreateParticipant(t.Context(), "gear", "Gear Works", second, "test")
	if err != nil {
		t.Fatal(err)
	}
	if gear.Profile != second || cobalt.Local.Profile == second || cobalt.Local.Profile == "" {
		t.Errorf("the profiles are %q and %q", gear.Profile, cobalt.Local.Profile)
	}
	publish(t, cobalt)
	other := &network.Company{Connector: cobalt.Connector, Local: gear}
	asset := publish(t, other).Assets[0]
	// The authority vouches for boreal, and cobalt believes it; gear, in the same process, believes nobody yet.
	if err := take(t, boreal, cobalt.Local.DID, asset); err != nil {
		t.Errorf("of the first ecosystem: %v", err)
	}
	if err := take(t, boreal, gear.DID, asset); err == nil {
		t.Error("gear believes the authority of another ecosystem")
	}
	for _, c := range []*network.Company{cobalt, other} {
		all, err := cobalt.Store().AccessPolicies(t.Context(), c.Local.ID)
		if err != nil || len(all) == 0 || all[0].Profile != c.Local.Profile {
			t.Errorf("%s: policies %+v, %v", c.Local.Slug, all, err)
		}
	}
	if got := believed(t, cobalt, gear); len(got) != 1 || len(got[0].Issuers) != 0 || !slices.Equal(got[0].Profiles, []string{"vc11-sl2021/jwt"}) {
		t.Errorf("the log of gear says %+v", got)
	}
}
