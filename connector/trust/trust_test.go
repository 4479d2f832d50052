package trust_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/trust"
)

const (
	meridian = participant.DID("did:web:meridian.example")
	second   = participant.DID("did:web:second.example")
	lists    = participant.DID("did:web:lists.example")
)

func terms(issuers ...trust.Issuer) trust.Terms {
	return trust.Terms{Issuers: issuers, Scopes: []string{"a.vc.type:MembershipCredential:read"}, Profiles: []string{"vc20-bssl/jwt", "vc11-sl2021/jwt"},
		Leeway: 30 * time.Second, Entries: 131072}
}

func member(did participant.DID, kinds ...string) trust.Issuer {
	return trust.Issuer{DID: did, Credentials: kinds}
}

func book(t *testing.T, profiles map[string]trust.Terms) *trust.Book {
	t.Helper()
	b, err := trust.NewBook(profiles)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnIssuerIsBelievedForTheTypesItMayIssueAndNoOther(t *testing.T) {
	t.Parallel()
	b := book(t, map[string]trust.Terms{
		"one":   terms(trust.Issuer{DID: meridian, Credentials: []string{"MembershipCredential"}, Status: []participant.DID{lists}}, member(second, "BpnCredential")),
		"other": terms(member(second, "MembershipCredential"))})
	v, other, none := b.Of("one"), b.Of("other"), b.Of("absent")
	for _, tt := range []struct {
		name      string
		got, want bool
	}{
		{"the type", v.Trusts(meridian, "MembershipCredential"), true},
		{"another type", v.Trusts(meridian, "BpnCredential"), false},
		{"a type that contains it", v.Trusts(meridian, "MembershipCredentialX"), false},
		{"a type that it contains", v.Trusts(meridian, "Membership"), false},
		{"a type in other letters", v.Trusts(meridian, "membershipcredential"), false},
		{"no type", v.Trusts(meridian, ""), false},
		{"every type at once", v.Trusts(meridian, "*"), false},
		{"an issuer that its name begins", v.Trusts(meridian+".evil.example", "MembershipCredential"), false},
		{"an issuer below it", v.Trusts(meridian+":x", "MembershipCredential"), false},
		{"nobody", v.Trusts("", "MembershipCredential"), false},
		{"who publishes lists", v.Trusts(lists, "MembershipCredential"), false},
		{"in the other profile", other.Trusts(meridian, "MembershipCredential"), false},
		{"the other's, there", other.Trusts(second, "MembershipCredential"), true},
		{"in a profile that is not there", none.Trusts(meridian, "MembershipCredential"), false},
		{"a form", v.Accepts("vc11-sl2021/jwt"), true},
		{"another form", v.Accepts("vc10-sl2021/jwt"), false},
		{"a form where there is no profile", none.Accepts("vc11-sl2021/jwt"), false},
		{"who may publish lists", v.Delegates(meridian, lists), true},
		{"who may not", v.Delegates(second, lists), false},
		{"the other way round", v.Delegates(lists, meridian), false},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, tt.got, tt.want)
		}
	}
	if none.Leeway() != 0 || v.Leeway() != 30*time.Second || v.Entries() != 131072 || v.Grace() != 0 || len(v.Scopes()) != 1 {
		t.Errorf("leeway %s and %s, entries %d, grace %s, scopes %v", none.Leeway(), v.Leeway(), v.Entries(), v.Grace(), v.Scopes())
	}
}

func TestTermsAreWrittenInOneWay(t *testing.T) {
	t.Parallel()
	a, err1 := terms(member(second, "B", "A", "A"), member(meridian, "C"), trust.Issuer{DID: second, Credentials: []string{"D"}, Status: []participant.DID{lists, lists}}).Normal()
	b, err2 := terms(member(meridian, "C"), trust.Issuer{DID: second, Credentials: []string{"A", "B", "D"}, Status: []participant.DID{lists}}).Normal()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("(-one +other):\n%s", diff)
	}
	one, err1 := a.Digest()
	other, err2 := b.Digest()
	if one != other || err1 != nil || err2 != nil {
		t.Errorf("digests %s and %s, %v, %v", one, other, err1, err2)
	}
}

func TestWhatIsWrongIsNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	bad := terms(member("did:key:x", "A"), member(meridian), trust.Issuer{DID: second, Credentials: []string{"VerifiableCredential"}, Status: []participant.DID{"https://lists.example"}})
	bad.Scopes, bad.Profiles, bad.Leeway, bad.Entries, bad.Grace = []string{"x"}, []string{"ldp_vc"}, time.Minute, 0, time.Hour
	_, err := bad.Normal()
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, want := range []string{`issuer "did:key:x"`, "issuer did:web:meridian.example: want", "issuer did:web:second.example: want", `status "https://lists.example"`, "scopes", `"ldp_vc"`,
		"leeway: 1m0s: want 0s to 30s", "status list: 0: want 8 to", "grace of a status list: 1h0m0s: want 0s to 1m0s"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not name %q", err, want)
		}
	}
	for name, alter := range map[string]func(*trust.Terms){
		"a type with a blank":         func(t *trust.Terms) { t.Issuers[0].Credentials = []string{"Membership Credential"} },
		"a leeway below zero":         func(t *trust.Terms) { t.Leeway = -1 },
		"no form of credential":       func(t *trust.Terms) { t.Profiles = nil },
		"a list of two million bytes": func(t *trust.Terms) { t.Entries = 16 << 20 },
		"a DID with an address":       func(t *trust.Terms) { t.Issuers[0].DID = "did:web:127.0.0.1" },
		"21 scopes":                   func(t *trust.Terms) { t.Scopes = strings.Fields(strings.Repeat("a:b ", 21)) },
		"too many issuers": func(t *trust.Terms) {
			for i := range 1001 {
				t.Issuers = append(t.Issuers, member(participant.DID("did:web:i"+strings.Repeat("x", i%40)+".example:"+strings.Repeat("y", i/40+1)), "A"))
			}
		},
	} {
		b := terms(member(meridian, "A"))
		alter(&b)
		if _, err := b.Normal(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestAPlanSaysWhatBecomesDifferentAndWhetherLessIsBelieved(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		alter   func(*trust.Terms)
		added   []string
		removed []string
		shrinks bool
	}{
		"nothing":               {func(*trust.Terms) {}, nil, nil, false},
		"the order of a list":   {func(t *trust.Terms) { t.Profiles = []string{"vc11-sl2021/jwt", "vc20-bssl/jwt"} }, nil, nil, false},
		"one more issuer":       {func(t *trust.Terms) { t.Issuers = append(t.Issuers, member(second, "A")) }, []string{"did:web:second.example issues A"}, nil, false},
		"one issuer less":       {func(t *trust.Terms) { t.Issuers = nil }, nil, []string{"did:web:meridian.example issues A", "did:web:meridian.example issues B"}, true},
		"one type for another":  {func(t *trust.Terms) { t.Issuers[0].Credentials = []string{"A", "C"} }, []string{"did:web:meridian.example issues C"}, []string{"did:web:meridian.example issues B"}, true},
		"one form less":         {func(t *trust.Terms) { t.Profiles = t.Profiles[:1] }, nil, []string{"accepts vc11-sl2021/jwt"}, true},
		"a shorter leeway":      {func(t *trust.Terms) { t.Leeway = 5 * time.Second }, []string{"leeway 5s"}, []string{"leeway 30s"}, true},
		"smaller status lists":  {func(t *trust.Terms) { t.Entries = 16384 }, []string{"status lists of at least 16384 entries"}, []string{"status lists of at least 131072 entries"}, false},
		"a grace":               {func(t *trust.Terms) { t.Grace = time.Minute }, []string{"status lists in grace for 1m0s"}, []string{"status lists in grace for 0s"}, false},
		"who may publish lists": {func(t *trust.Terms) { t.Issuers[0].Status = []participant.DID{lists} }, []string{"did:web:lists.example publishes the status of did:web:meridian.example"}, nil, false},
	} {
		b := book(t, map[string]trust.Terms{"one": terms(member(meridian, "A", "B")), "still": terms()})
		next := terms(member(meridian, "A", "B"))
		tt.alter(&next)
		before := b.Terms("one")
		plan, err := b.Plan(map[string]trust.Terms{"one": next, "still": terms()})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(before, b.Terms("one")); diff != "" {
			t.Errorf("%s: a plan alone changed the book:\n%s", name, diff)
		}
		if len(tt.added)+len(tt.removed) == 0 {
			if len(plan.Changes) != 0 {
				t.Errorf("%s: %v", name, plan.Changes)
			}
			continue
		}
		if len(plan.Changes) != 1 {
			t.Errorf("%s: %d changes, want one", name, len(plan.Changes))
			continue
		}
		got := plan.Changes[0]
		if diff := cmp.Diff([][]string{tt.added, tt.removed}, [][]string{got.Added, got.Removed}); diff != "" || got.Shrinks != tt.shrinks || got.Profile != "one" || got.Before == got.After {
			t.Errorf("%s: %+v\n%s", name, got, diff)
		}
		b.Adopt(plan)
		if now, err := b.Terms("one").Digest(); err != nil || now != got.After {
			t.Errorf("%s: the book has %s, %v; the plan said %s", name, now, err, got.After)
		}
	}
}

func TestAPlanWithAnythingWrongIsRefusedWhole(t *testing.T) {
	t.Parallel()
	b := book(t, map[string]trust.Terms{"one": terms(member(meridian, "A")), "other": terms(member(meridian, "A"))})
	for name, next := range map[string]map[string]trust.Terms{
		"one profile is wrong": {"one": terms(member(second, "A")), "other": terms(member("x", "A"))},
		"one profile is gone":  {"one": terms(member(second, "A"))},
	} {
		if _, err := b.Plan(next); err == nil {
			t.Errorf("%s: there is a plan", name)
		}
		if b.Of("one").Trusts(second, "A") || !b.Of("one").Trusts(meridian, "A") {
			t.Errorf("%s: something of it is believed", name)
		}
	}
}

// Whoever asks while it changes gets an answer of before or of after; the race detector watches.
func TestABookMayBeAskedWhileItChanges(t *testing.T) {
	t.Parallel()
	before := map[string]trust.Terms{"one": terms(member(meridian, "A"))}
	after := map[string]trust.Terms{"one": terms(member(second, "A"))}
	b := book(t, before)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 2000 {
				if all := b.Terms("one").Issuers; len(all) != 1 || all[0].DID != meridian && all[0].DID != second {
					t.Errorf("in between it holds %v", all)
					return
				}
			}
		})
	}
	for i := range 200 {
		next := before
		if i%2 == 0 {
			next = after
		}
		plan, err := b.Plan(next)
		if err != nil {
			t.Fatal(err)
		}
		b.Adopt(plan)
	}
	asking.Wait()
}
