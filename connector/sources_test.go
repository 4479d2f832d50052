package connector

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
)

func TestNobodyServesFromAnothersServerOrWithAnothersCredential(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "erp.secret")
	if err := os.WriteFile(file, []byte("Bearer of-the-house\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const own, others, shared = "https://erp.boreal.internal:443", "https://erp.cobalt.internal:443", "https://hub.internal:8443"
	s := sources{settings.Settings{
		Participants: []settings.Participant{{Slug: "boreal"}, {Slug: "cobalt"}},
		Egress: settings.Egress{
			Upstreams: []settings.Upstream{{Origin: own, Participants: []string{"boreal"}}, {Origin: others, Participants: []string{"cobalt"}},
				{Origin: shared, Participants: []string{"boreal", "cobalt"}}, {Origin: "https://nobodys.internal:443"}},
			Secrets: []settings.Secret{
				{Name: "own", Origins: []string{own, shared, others}, Header: "Authorization", File: file, Participants: []string{"boreal"}},
				{Name: "others", Origins: []string{others, shared}, Header: "Authorization", File: file, Participants: []string{"cobalt"}},
				{Name: "nobodys", Origins: []string{own, shared}, Header: "Authorization", File: file}},
		}}}
	boreal := participant.Participant{Slug: "boreal"}
	for _, tt := range []struct {
		name, base, secret string
		ok                 bool
	}{
		{"its own server", own + "/api", "", true},
		{"its own server with its own credential", own, "own", true},
		{"a shared server with its own credential", shared, "own", true},
		{"another's server", others + "/api", "", false},
		{"another's server, to which its own credential would go", others, "own", false},
		{"another's credential on a shared server", shared, "others", false},
		{"a credential of nobody", shared, "nobodys", false},
		{"a credential that is not there", shared, "unknown", false},
		{"a server of nobody", "https://nobodys.internal", "", false},
		{"a server that is not there", "https://elsewhere.internal", "", false},
		{"its own server under another scheme", "http://erp.boreal.internal:443", "", false},
		{"a user in the address", "https://user@erp.boreal.internal/", "", false},
		{"a fragment in the address", own + "/#x", "", false},
		{"a query that two readers could read differently", own + "/?a=1;b=2", "", false},
	} {
		err := s.Check(boreal, catalog.Address{BaseURL: tt.base, SecretRef: tt.secret})
		if (err == nil) != tt.ok {
			t.Errorf("%s: Check says %v", tt.name, err)
		}
		target, err := url.Parse(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		header, err := s.Header(boreal, tt.secret, target)
		if strings.Contains(tt.base, "#") || strings.Contains(tt.base, "?") || strings.Contains(tt.base, "@") {
			continue // the form of the address is looked at when it is published
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: Header says %v", tt.name, err)
		}
		if got, want := header.Get("Authorization"), map[bool]string{true: "Bearer of-the-house"}[tt.ok && tt.secret != ""]; got != want {
			t.Errorf("%s: the credential is %q, want %q", tt.name, got, want)
		}
	}
}

func TestAnothersSecretReadsLikeOneThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := sources{settings.Settings{Egress: settings.Egress{
		Upstreams: []settings.Upstream{{Origin: "https://hub.internal:443", Participants: []string{"boreal"}}, {Origin: "https://cobalt.internal:443", Participants: []string{"cobalt"}}},
		Secrets:   []settings.Secret{{Name: "theirs", Origins: []string{"https://hub.internal:443"}, Participants: []string{"cobalt"}}},
	}}}
	say := func(base, secret string) string {
		err := s.Check(participant.Participant{Slug: "boreal"}, catalog.Address{BaseURL: base, SecretRef: secret})
		if err == nil {
			t.Fatalf("%s with %q is let through", base, secret)
		}
		return strings.NewReplacer("theirs", "X", "absent", "X", "cobalt.internal", "Y", "dusk.internal", "Y").Replace(err.Error())
	}
	if there, absent := say("https://hub.internal", "theirs"), say("https://hub.internal", "absent"); there != absent {
		t.Errorf("another's secret reads %q, none %q", there, absent)
	}
	if there, absent := say("https://cobalt.internal", ""), say("https://dusk.internal", ""); there != absent {
		t.Errorf("another's server reads %q, none %q", there, absent)
	}
}
