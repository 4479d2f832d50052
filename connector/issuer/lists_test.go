package issuer_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
)

// issue issues a membership to Boreal Drives by order.
func (b *bench) issue(definition string) issuer.Credential {
	b.t.Helper()
	c, _, err := b.Issue(b.t.Context(), b.local, issuer.Issuing{Holder: boreal, Definition: definition, Actor: "operator"})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestWhatIsRevokedIsSeenByWhoeverLooksNext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, definition := range []string{"Membership", "Framework"} {
		c := b.issue(definition)
		if b.set(c, statuslist.Revocation) || b.set(c, statuslist.Suspension) {
			t.Fatalf("%s: set from the start", definition)
		}
		before, err := b.StatusList(t.Context(), b.local, c.Places[0].List)
		check(t, err)
		got, err := b.Revoke(t.Context(), b.local, c.ID, commit.Order{Actor: "operator", Reason: "it left"})
		if err != nil || got.Standing != issuer.Revoked || got.Reason != "it left" || !b.set(c, statuslist.Revocation) {
			t.Fatalf("%s: %+v, %v", definition, got, err)
		}
		after, err := b.StatusList(t.Context(), b.local, c.Places[0].List)
		if err != nil || after.Tag == before.Tag || after.Version != before.Version+1 {
			t.Errorf("%s: version %d with tag %s after %d with %s, %v", definition, after.Version, after.Tag, before.Version, before.Tag, err)
		}
		log, err := b.store.LogByProcess(t.Context(), "meridian", c.ID, 10)
		if err != nil || len(log) != 2 {
			t.Errorf("%s: %d records, %v; want issue and revocation", definition, len(log), err)
		}
	}
}

func TestRevokingTwiceIsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.issue("Membership")
	first, err := b.Revoke(t.Context(), b.local, c.ID, commit.Order{Actor: "operator", Reason: "it left"})
	check(t, err)
	again, err := b.Revoke(t.Context(), b.local, c.ID, commit.Order{Actor: "another", Reason: "once more"})
	if err != nil || again.Version != first.Version || again.Reason != "it left" {
		t.Errorf("%+v, %v", again, err)
	}
	if log, err := b.store.LogByProcess(t.Context(), "meridian", c.ID, 10); err != nil || len(log) != 2 {
		t.Errorf("%d records, %v", len(log), err)
	}
}

func TestASuspensionEndsAndARevocationDoesNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.issue("Membership")
	_, err := b.Suspend(t.Context(), b.local, c.ID, commit.Order{})
	if check(t, err); !b.set(c, statuslist.Suspension) || b.set(c, statuslist.Revocation) {
		t.Error("a suspension sets the entry of suspension, and no other")
	}
	_, err = b.Reinstate(t.Context(), b.local, c.ID, commit.Order{})
	if check(t, err); b.set(c, statuslist.Suspension) {
		t.Error("it is reinstated and still suspended")
	}
	_, err = b.Suspend(t.Context(), b.local, c.ID, commit.Order{})
	check(t, err)
	_, err = b.Revoke(t.Context(), b.local, c.ID, commit.Order{})
	if check(t, err); !b.set(c, statuslist.Revocation) || b.set(c, statuslist.Suspension) {
		t.Error("what was suspended and is revoked is revoked alone")
	}
	for name, do := range map[string]func() (issuer.Credential, error){
		"reinstated": func() (issuer.Credential, error) { return b.Reinstate(t.Context(), b.local, c.ID, commit.Order{}) },
		"suspended":  func() (issuer.Credential, error) { return b.Suspend(t.Context(), b.local, c.ID, commit.Order{}) },
	} {
		if _, err := do(); !fault.Is(err, fault.Conflict) || !b.set(c, statuslist.Revocation) {
			t.Errorf("a revoked credential was %s: %v", name, err)
		}
	}
}

func TestAStandingThatNoListTellsIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := definition("Plain", credential.Profile11, issuer.Rule{Kind: issuer.ByList})
	d.Purposes = []string{statuslist.Revocation}
	_, err := b.PutDefinition(t.Context(), b.local, d, "operator")
	check(t, err)
	c := b.issue("Plain")
	_, err = b.Suspend(t.Context(), b.local, c.ID, commit.Order{})
	if e := wantKind(t, err, fault.Conflict); e.Code != "credential.no-status" {
		t.Error(err)
	}
	if got := b.credential(c.ID); got.Standing != issuer.Good {
		t.Errorf("%+v", got)
	}
	d.Purposes, d.ID, d.Version = nil, "Bare", 0
	_, err = b.PutDefinition(t.Context(), b.local, d, "operator")
	check(t, err)
	bare := b.issue("Bare")
	n, err := b.RevokeHolder(t.Context(), b.local, boreal, commit.Order{Reason: "it left"})
	if e := wantKind(t, err, fault.Conflict); n != 1 || !strings.Contains(e.Reason, "1 stand in no list") {
		t.Errorf("%d, %v", n, err)
	}
	if b.credential(bare.ID).Standing != issuer.Good || b.credential(c.ID).Standing != issuer.Revoked {
		t.Error("what can be revoked is not what was")
	}
}

func TestEverythingOfAHolderIsRevokedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []issuer.Credential
	for range 5 {
		all = append(all, b.issue("Membership"), b.issue("Framework"))
	}
	_, err := b.Suspend(t.Context(), b.local, all[0].ID, commit.Order{})
	check(t, err)
	b.know(issuer.Holder{DID: dusk, Grants: []string{"Membership"}, Values: map[string][]string{"bpn": {"BPNL00000000DUS1"}}})
	other := b.request(b.mustAsk(dusk, "Membership")).Credentials[0]
	n, err := b.RevokeHolder(t.Context(), b.local, boreal, commit.Order{Actor: "operator", Reason: "it left"})
	if err != nil || n != len(all) {
		t.Fatalf("%d revoked, %v; want %d", n, err, len(all))
	}
	for _, c := range all {
		if !b.set(c, statuslist.Revocation) || b.credential(c.ID).Standing != issuer.Revoked {
			t.Errorf("%s is not revoked", c.ID)
		}
	}
	if b.set(b.credential(other), statuslist.Revocation) {
		t.Error("another holder's is revoked too")
	}
	if n, err = b.RevokeHolder(t.Context(), b.local, boreal, commit.Order{}); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

func TestManyChangesAtOnceAreAllInTheList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []issuer.Credential
	for range 4 {
		all = append(all, b.issue("Membership"))
	}
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			for {
				_, err := b.Revoke(t.Context(), b.local, c.ID, commit.Order{})
				if !fault.Is(err, fault.Unavailable) { // busy: come again
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	wg.Wait()
	for _, c := range all {
		if !b.set(c, statuslist.Revocation) {
			t.Errorf("the change of %s was lost", c.ID)
		}
	}
}

func TestPlacesAreDrawnAtRandomAndNeverTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	seen := map[issuer.Place]bool{}
	rising, last := 0, 0
	for range 30 {
		for _, p := range b.issue("Membership").Places {
			if seen[p] {
				t.Errorf("%+v was given out twice", p)
			}
			seen[p] = true
			if p.Purpose == statuslist.Revocation {
				if p.Index > last {
					rising++
				}
				last = p.Index
			}
		}
	}
	if rising == 30 {
		t.Error("thirty places in rising order are not drawn at random")
	}
}

func TestAListThatIsFullIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Service = b.made(func(cfg *issuer.Config) { cfg.Fill, cfg.Lists = 51, 2 })
	lists := map[string]int{}
	var err error
	for n := 0; ; n++ {
		var c issuer.Credential
		if c, _, err = b.Issue(t.Context(), b.local, issuer.Issuing{Holder: boreal, Definition: "Membership"}); err != nil {
			break
		}
		lists[c.Places[0].List]++
		if n > 10 {
			t.Fatal("it never ends")
		}
	}
	if e := wantKind(t, err, fault.Unavailable); e.Code != "lists.full" || len(lists) != 2 {
		t.Errorf("%v with %v", err, lists)
	}
	// A holder's request is not lost in silence: it is told to come again, and nothing is issued.
	_, err = b.ask(boreal, "Membership")
	wantKind(t, err, fault.Unavailable)
	all, err := b.Requests(t.Context(), b.local, issuer.Filter{}, page.Request{})
	if err != nil || len(all.Items) != 0 {
		t.Errorf("%+v, %v", all.Items, err)
	}
}

func TestAListIsSignedAnewBeforeItsEndAndOnlyThen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.issue("Membership")
	id := c.Places[0].List
	first, err := b.StatusList(t.Context(), b.local, id)
	check(t, err)
	b.now = b.now.Add(time.Minute)
	if again, err := b.StatusList(t.Context(), b.local, id); err != nil || again.Token != first.Token {
		t.Errorf("signed anew within the minute: %v", err)
	}
	for range 4 {
		b.now = b.now.Add(12 * time.Hour)
		next, err := b.StatusList(t.Context(), b.local, id)
		check(t, err)
		_, claims := b.payload(next.Token)
		if exp := int64(claims["exp"].(float64)); exp < b.now.Add(11*time.Hour).Unix() || next.Tag == first.Tag || next.Version != first.Version {
			t.Errorf("at %v: ends at %v, tag %s after %s", b.now, time.Unix(exp, 0).UTC(), next.Tag, first.Tag)
		}
		first = next
	}
}

func TestTwoWhoSignTheSameListNameItTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.issue("Membership").Places[0].List
	replica := b.made(nil)
	ours, err := b.StatusList(t.Context(), b.local, id)
	check(t, err)
	b.now = b.now.Add(time.Minute)
	theirs, err := replica.StatusList(t.Context(), b.local, id)
	if err != nil || ours.Tag != theirs.Tag || ours.Token == theirs.Token {
		t.Errorf("tags %s and %s, %v", ours.Tag, theirs.Tag, err)
	}
	// What one changes the other serves.
	all, err := b.Credentials(t.Context(), b.local, issuer.Filter{}, page.Request{})
	check(t, err)
	_, err = b.Revoke(t.Context(), b.local, all.Items[0].ID, commit.Order{})
	check(t, err)
	if theirs, err = replica.StatusList(t.Context(), b.local, id); err != nil || theirs.Version != ours.Version+1 {
		t.Errorf("version %d after %d, %v", theirs.Version, ours.Version, err)
	}
}

func TestWhoWaitsIsWokenByAChangeAndByNothingElse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, other := b.issue("Membership"), b.issue("Framework")
	changed := b.Changed(b.local, c.Places[0].List)
	_, err := b.Revoke(t.Context(), b.local, other.ID, commit.Order{})
	check(t, err)
	b.issue("Membership")
	select {
	case <-changed:
		t.Error("woken although nothing changed in the list")
	default:
	}
	_, err = b.Revoke(t.Context(), b.local, c.ID, commit.Order{})
	check(t, err)
	<-changed
	select {
	case <-b.Changed(b.local, c.Places[0].List):
		t.Error("woken twice by one change")
	default:
	}
}

func TestAnUnknownListIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"", "none", strings.Repeat("x", 4096)} {
		if _, err := b.StatusList(t.Context(), b.local, id); !fault.Is(err, fault.NotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestAnAllowListIsReadStrictly(t *testing.T) {
	t.Parallel()
	const head = "did,name,credentials,bpn,brands[]\n"
	got, err := issuer.ReadHolders(strings.NewReader("\ufeff" + head + "did:web:a.example:a, Aurora Motors ,Membership; Bpn ,BPNL00000000AUR1,\"x;y\"\ndid:web:b.example:b,,,,\n"))
	check(t, err)
	if fmt.Sprintf("%+v", got) != "[{Participant:0 DID:did:web:a.example:a Version:0 Name:Aurora Motors Grants:[Membership Bpn] Values:map[bpn:[BPNL00000000AUR1] brands:[x y]] "+
		"Created:0001-01-01 00:00:00 +0000 UTC Updated:0001-01-01 00:00:00 +0000 UTC} {Participant:0 DID:did:web:b.example:b Version:0 Name: Grants:[] Values:map[] "+
		"Created:0001-01-01 00:00:00 +0000 UTC Updated:0001-01-01 00:00:00 +0000 UTC}]" {
		t.Errorf("%+v", got)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"no line":               {"", "columns"},
		"no column did":         {"name\nx\n", "no column did"},
		"a column twice":        {"did,did\nx,y\n", "twice"},
		"the id as a value":     {"did,id\nx,y\n", `"id"`},
		"no holder":             {head, "no holder"},
		"what is no DID":        {head + "aurora,,,,\n", "line 2"},
		"a holder twice":        {head + "did:web:a.example:a,,,,\ndid:web:a.example:a,,,,\n", "line 3: did:web:a.example:a is on line 2"},
		"a cell too many":       {head + "did:web:a.example:a,,,,,\n", "line 2"},
		"what is no definition": {head + "did:web:a.example:a,,a b,,\n", "line 2"},
		"a control character":   {head + "did:web:a.example:a,\"a\x07\",,,\n", "line 2"},
		"too much":              {head + strings.Repeat("x", issuer.MaxSheet), "bytes"},
	} {
		_, err := issuer.ReadHolders(strings.NewReader(tt.text))
		e := wantKind(t, err, fault.Malformed)
		if !strings.Contains(e.Reason+strings.Join(e.Reasons, "; "), tt.want) {
			t.Errorf("%s: %q %q, want %q named", name, e.Reason, e.Reasons, tt.want)
		}
	}
}

func FuzzReadHolders(f *testing.F) {
	f.Add("did,name,credentials,bpn,brands[]\ndid:web:a.example:a,Aurora,Membership;Bpn,B,x;y\n")
	f.Add("did\n\"did:web:a.example:a\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := issuer.ReadHolders(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, h := range got {
			if err := h.Validate(); err != nil {
				t.Errorf("%+v was read: %v", h, err)
			}
		}
	})
}
