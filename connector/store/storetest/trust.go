package storetest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/trust"
)

func trusted(t *testing.T, f bench) {
	_, err := f.Trusted(t.Context(), f.a.ID)
	wantKind(t, err, fault.NotFound)
	record := func(digest, profile string) trust.Recorded {
		return trust.Recorded{Profile: profile, Digest: digest, Since: now, Terms: trust.Terms{Issuers: []trust.Issuer{{DID: "did:web:meridian.example",
			Credentials: []string{"MembershipCredential"}, Status: []participant.DID{}}}, Scopes: []string{}, Profiles: []string{"vc11-sl2021/jwt"}, Entries: 8}}
	}
	one, two := strings.Repeat("a", 64), strings.Repeat("b", 64)
	told := commit.Effects{Events: []commit.Event{{Type: "trust.changed", Time: now}}}
	check(t, f.PutTrusted(t.Context(), f.a.ID, "", record(one, "x"), told))
	wantKind(t, f.PutTrusted(t.Context(), f.a.ID, "", record(two, "x"), told), fault.Conflict)
	wantKind(t, f.PutTrusted(t.Context(), f.a.ID, two, record(two, "x"), told), fault.Conflict)
	if diff := cmp.Diff(record(one, "x"), must(f.Trusted(t.Context(), f.a.ID))(t)); diff != "" {
		t.Errorf("(-kept +read):\n%s", diff)
	}
	check(t, f.PutTrusted(t.Context(), f.a.ID, one, record(two, "x"), told))
	if got := must(f.Trusted(t.Context(), f.a.ID))(t); got.Digest != two {
		t.Errorf("after the second it is %s", got.Digest)
	}
	if events := must(f.EventsSince(t.Context(), f.a.ID, 0, 10))(t); len(events) != 2 {
		t.Errorf("%d events, want one with each change and none with what was refused", len(events))
	}
	_, err = f.Trusted(t.Context(), f.b.ID)
	wantKind(t, err, fault.NotFound)
}

func profiles(t *testing.T, f bench) {
	check(t, f.AdoptProfile(t.Context(), "first"))
	made := must(f.CreateParticipant(t.Context(), participant.Participant{Slug: "cobalt", DID: "did:web:cobalt.example", Name: "Cobalt Cells", Profile: "second", Created: now}))(t)
	check(t, f.AdoptProfile(t.Context(), "third"))
	for slug, want := range map[string]string{f.a.Slug: "first", f.b.Slug: "first", made.Slug: "second"} {
		if p := must(f.Participant(t.Context(), slug))(t); p.Profile != want {
			t.Errorf("%s has the profile %q, want %q", slug, p.Profile, want)
		}
	}
}
