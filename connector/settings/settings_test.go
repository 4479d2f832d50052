package settings_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluice-connector/sluice/connector/settings"
)

var update = flag.Bool("update", false, "write golden files")

func printed(t *testing.T, s settings.Settings) string {
	t.Helper()
	var b bytes.Buffer
	if err := settings.Print(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func filled() settings.Settings {
	s := settings.Default()
	s.Data = "/var/lib/sluice"
	s.Store = settings.Store{Kind: settings.Postgres, URL: "postgres://sluice@db:5432/sluice"}
	s.Public = settings.Listener{Listen: "0.0.0.0:8443", Host: "connector.aurora.example", Cert: "tls/chain.pem", Key: "tls/key.pem", Proxies: []string{"10.1.0.0/16"}}
	s.Management.Hosts = []string{"console.aurora.example"}
	s.Management.OIDC = []settings.Provider{{Issuer: "https://login.example/realms/a", Audience: "sluice", Beside: []string{"account"}, Keys: "https://login.example/keys", Algorithms: []string{"RS256"},
		Roles:        settings.Mapping{Claim: "/realm_access/roles", Values: map[string]string{"admins": "operator", "all: of #them": "reader"}},
		Participants: settings.Mapping{Claim: "companies", Values: map[string]string{"platform": "*"}}}}
	s.Participants = []settings.Participant{{Slug: "aurora", Name: "Aurora Motors: #1"}, {Slug: "boreal", Name: "Boreal\nDrives"}}
	s.Profiles[0].Trust = []settings.Trust{{Issuer: "did:web:authority.example", Credentials: []string{"MembershipCredential", "BpnCredential"}, Status: []string{"did:web:lists.example"}}}
	s.Profiles = append(s.Profiles, settings.Profile{Use: "own.yaml", Trust: []settings.Trust{}, Accepts: []string{}, Offered: true,
		Required: []string{"org.eclipse.tractusx.vc.type:MembershipCredential:read"}, ListEntries: 16384, ListGrace: 30 * time.Second,
		Directory: settings.Directory{URL: "https://directory.example/api", DID: "did:web:directory.example"}}, settings.Profile{Use: "factory-x", Trust: []settings.Trust{}, Accepts: []string{}})
	s.Participants[1].Profile = "factory-x"
	s.Wallet.Exact = true
	s.Verification = settings.Verification{Remember: time.Minute, ListLife: time.Minute, Informal: []string{"did:web:old.example"}, Schemas: []string{"https://schemas.example/v1/"}, Envelope: true}
	s.Egress.Peers = []string{"https://localhost:9443"}
	s.Egress.Upstreams = []settings.Upstream{{Origin: "https://erp.internal:443", Participants: []string{"aurora"}}}
	s.Egress.Secrets = []settings.Secret{{Name: "erp", Origins: []string{"https://erp.internal:443"}, Header: "Authorization", File: "/etc/erp.secret", Participants: []string{"aurora", "boreal"}}}
	s.Limits.GiveUp = 90 * time.Minute
	return s
}

func TestThePrintedDefaultsAreTheManual(t *testing.T) {
	golden(t, "default.golden", printed(t, settings.Default()))
}

func TestThePrintedDefaultsAreTheDefaultFile(t *testing.T) {
	file, err := os.ReadFile("default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(file), printed(t, settings.Default())); diff != "" {
		t.Errorf("the default file does not say what Default says (-file +code):\n%s", diff)
	}
}

func TestWhatIsPrintedParsesBackToTheSame(t *testing.T) {
	for _, s := range []settings.Settings{settings.Default(), filled()} {
		text := printed(t, s)
		got, err := settings.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Errorf("(-printed +parsed):\n%s", diff)
		}
	}
}

func TestAnEmptyFileIsTheDefaults(t *testing.T) {
	got, err := settings.Parse(strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(settings.Default(), got); diff != "" {
		t.Error(diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestAProfileThatSaysNothingOfPurposesAcceptsTheDefaults(t *testing.T) {
	t.Parallel()
	s, err := settings.Parse(strings.NewReader("profiles: [{use: factory-x}, {use: own.yaml, accepts: []}]"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Profiles[0].Accepts; !slices.Equal(got, settings.Default().Profiles[0].Accepts) {
		t.Errorf("said nothing: %q", got)
	}
	if got := s.Profiles[1].Accepts; len(got) != 0 {
		t.Errorf("said none: %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"an unknown key", "dta: x\n", "line 1: field dta not found"},
		{"operator's own rules, which nothing would read", "profiles:\n  - bundle: rules\n", "line 2: field bundle not found"},
		{"an unknown nested key", "log:\n  levl: info\n", "line 2: field levl not found"},
		{"a key that stands there twice", "data: a\ndata: b\n", "already defined"},
		{"a wrong type", "limits:\n  streams: many\n", "line 2: cannot unmarshal"},
		{"a second document", "data: a\n---\ndata: b\n", "second document"},
		{"a huge file", strings.Repeat("#", settings.MaxBytes+1), "more than"},
		{"what is not YAML", "data: [", "did not find"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settings.Parse(strings.NewReader(tt.file))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestValidateReportsEveryFaultAtOnce(t *testing.T) {
	s := settings.Default()
	s.Data = ""
	s.Store = settings.Store{Kind: settings.Postgres, URL: "postgres://sluice:hunter2@db/sluice"}
	s.Public = settings.Listener{Listen: "0.0.0.0:8443", Host: "Aurora.example:443", Cert: "chain.pem", Proxies: []string{"::1", "proxy.example", "10.1.0.1/16"}}
	s.Management.Listen = "0.0.0.0:8444"
	s.Management.Hosts = []string{"console.aurora.example", "Console.example", "console.example:8444"}
	s.Management.OIDC = []settings.Provider{{Issuer: "http://login.example", Keys: "https://login.example/keys?x=1", Algorithms: []string{"HS256"}},
		{Issuer: "https://login.example", Audience: "sluice", Roles: settings.Mapping{Claim: "roles", Values: map[string]string{"a": "root", "b": "operator"}},
			Participants: settings.Mapping{Claim: "companies", Values: map[string]string{"all": "*", "x": "X"}}},
		{Issuer: "https://login.example", Audience: "sluice", Roles: settings.Mapping{Claim: "roles", Values: map[string]string{"b": "agent"}}}}
	s.Participants = []settings.Participant{{Slug: "Aurora", Name: "Aurora Motors"}, {Slug: "boreal"}, {Slug: "boreal", Name: "Boreal Drives"}}
	s.Profiles[0].Trust = []settings.Trust{{Issuer: "authority", Status: []string{"lists"}}}
	s.Profiles[0].Accepts = []string{""}
	s.Profiles[0].Required, s.Profiles[0].ListEntries, s.Profiles[0].ListGrace = []string{"MembershipCredential"}, 7, 2*time.Minute
	s.Profiles[0].Directory = settings.Directory{URL: "http://directory.example", DID: "x"}
	s.Verification = settings.Verification{Remember: time.Hour, ListLife: time.Millisecond,
		Schemas: []string{"https://schemas.example/v1/", "https://schemas.example", "file:///etc/passwd", "https://schemas.example/v1?x", "http://schemas.example/v1/"}, Informal: []string{"did:web:old.example", "old.example"}}
	s.Egress.Peers = []string{"https://localhost", "https://localhost:1/path"}
	s.Egress.Callbacks = []string{"gateway.example"}
	s.Egress.Upstreams = []settings.Upstream{{Origin: "https://erp.internal"}, {Origin: "https://erp.internal:443", Participants: []string{"Aurora"}}}
	s.Egress.Secrets = []settings.Secret{{Name: "erp", Origins: []string{"https://erp.internal:443"}, Header: "Authorization", File: "erp.secret"}}
	s.Limits = settings.Limits{}
	s.Log = settings.Log{Level: "loud", Format: "xml"}
	err := s.Validate()
	var faults settings.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want Faults", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows the password: %v", err)
	}
	golden(t, "faults.golden", err.Error()+"\n")
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	s := filled().In("/etc/sluice")
	if s.Public.Cert != "/etc/sluice/tls/chain.pem" || s.Data != "/var/lib/sluice" || s.Profiles[0].Use != "" || s.Profiles[1].Use != "/etc/sluice/own.yaml" || s.Profiles[2].Use != "factory-x" {
		t.Errorf("got cert %q, data %q, profiles %+v", s.Public.Cert, s.Data, s.Profiles)
	}
}

func TestWhatNamesNobodyBelongsToTheOnlyParticipantOrToNobody(t *testing.T) {
	one := settings.Settings{Participants: []settings.Participant{{Slug: "aurora"}}}
	two := settings.Settings{Participants: []settings.Participant{{Slug: "aurora"}, {Slug: "boreal"}}}
	for _, tt := range []struct {
		name         string
		in           settings.Settings
		slug         string
		participants []string
		want         bool
	}{
		{"the only one, without saying", one, "aurora", nil, true},
		{"one hosted later, without saying", one, "boreal", nil, false},
		{"one of two, without saying", two, "aurora", nil, false},
		{"anybody where the file names nobody", settings.Settings{}, "aurora", nil, false},
		{"who is named", two, "aurora", []string{"boreal", "aurora"}, true},
		{"who is not named", two, "aurora", []string{"boreal"}, false},
		{"the only one, when another is named", one, "aurora", []string{"boreal"}, false},
	} {
		if got := tt.in.Owns(tt.slug, tt.participants); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("data: x\n"))
	f.Add([]byte("participants: [{slug: a, name: b}]\n"))
	f.Add([]byte("management: {oidc: [{issuer: 'https://x', roles: {claim: r, values: {a: operator}}}]}\n"))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte("a: &x [1]\nb: *x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := settings.Parse(bytes.NewReader(data))
		if err != nil {
			return
		}
		_ = s.Validate()
		var b bytes.Buffer
		if err := settings.Print(&b, s); err != nil {
			t.Fatalf("accepted but not printable: %v", err)
		}
		again, err := settings.Parse(&b)
		if err != nil {
			t.Fatalf("printed but not parsable: %v\n%s", err, b.String())
		}
		if diff := cmp.Diff(s, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-accepted +printed and parsed):\n%s", diff)
		}
	})
}
