package storetest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

const listSize = 131072

func (f bench) issuerList(id string) *issuer.List {
	return &issuer.List{Participant: f.a.ID, ID: id, Version: 1, Profile: credential.Profile11, Purpose: "revocation", Size: listSize, Bits: make([]byte, listSize/8), Created: now, Updated: now}
}

func (f bench) issued(id, list string, index int) *issuer.Credential {
	return &issuer.Credential{Participant: f.a.ID, ID: id, Version: 1, Holder: peer, Definition: "Membership", Type: "Membership", Profile: credential.Profile11, Standing: issuer.Good,
		Places: []issuer.Place{{Purpose: "revocation", List: list, Index: index}}, Issued: now, Expires: now.Add(time.Hour), Updated: now}
}

func (f bench) commitIssuer(t *testing.T, c issuer.Changes) error {
	t.Helper()
	if c.Fill == 0 {
		c.Fill = listSize / 4 * 3
	}
	return f.CommitIssuer(t.Context(), f.a.ID, c, commit.Effects{})
}

func issuerRows(t *testing.T, f bench) {
	ctx := t.Context()
	d := issuer.Definition{Participant: f.a.ID, ID: "Membership", Version: 1, Type: "Membership", Profile: credential.Profile11, Life: time.Hour,
		Subject: []issuer.Member{{Name: "memberOf", From: issuer.Constant, Values: []string{"größer"}}}, Rules: []issuer.Rule{{Kind: issuer.ByList}}, Created: now, Updated: now}
	h := issuer.Holder{Participant: f.a.ID, DID: peer, Version: 1, Name: "Cobalt Cells", Grants: []string{"Membership"}, Values: map[string][]string{"bpn": {"BPNL00000000COB1"}}, Created: now, Updated: now}
	r := issuer.Request{Participant: f.a.ID, ID: "r", Version: 1, Holder: peer, HolderPID: "pid", State: issuer.Submitted, Wanted: []string{"Membership"}, Grant: []byte{1, 2}, Created: now, Updated: now}
	o := issuer.Offer{Participant: f.a.ID, ID: "o", Version: 1, Holder: peer, Definitions: []string{"Membership"}, State: issuer.OfferOwed, Created: now, Updated: now}
	check(t, f.commitIssuer(t, issuer.Changes{Authority: &issuer.Authority{Participant: f.a.ID, Since: now}, Definitions: []commit.Swap[issuer.Definition]{{New: &d}},
		Holders: []commit.Swap[issuer.Holder]{{New: &h}}, Requests: []commit.Swap[issuer.Request]{{New: &r}}, Offers: []commit.Swap[issuer.Offer]{{New: &o}},
		Lists: []commit.Swap[issuer.List]{{New: f.issuerList("l")}}, Credentials: []commit.Swap[issuer.Credential]{{New: f.issued("c", "l", 7)}}}))
	if a := must(f.Authority(ctx, f.a.ID))(t); !a.Since.Equal(now) {
		t.Errorf("issuer since %v, want %v", a.Since, now)
	}
	if got := must(f.IssuerDefinition(ctx, f.a.ID, "Membership"))(t); got.Subject[0].Values[0] != "größer" || got.Life != time.Hour || got.Version != 1 {
		t.Errorf("%+v", got)
	}
	if got := must(f.IssuerHolder(ctx, f.a.ID, peer))(t); got.Values["bpn"][0] != "BPNL00000000COB1" {
		t.Errorf("%+v", got)
	}
	if got := must(f.IssuerRequest(ctx, f.a.ID, peer, "r"))(t); got.State != issuer.Submitted || !bytes.Equal(got.Grant, []byte{1, 2}) || !got.Created.Equal(now) {
		t.Errorf("%+v", got)
	}
	_, err := f.IssuerRequest(ctx, f.a.ID, "did:web:dusk.example", "r")
	wantKind(t, err, fault.NotFound)
	if n := must(f.IssuerRequested(ctx, f.a.ID, peer, now.Add(-time.Second), 5))(t); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if n := must(f.IssuerRequested(ctx, f.a.ID, peer, now, 5))(t); n != 0 {
		t.Errorf("%d requests since the one, want 0", n)
	}
	if got := must(f.IssuerCredential(ctx, f.a.ID, "c"))(t); got.Places[0].Index != 7 {
		t.Errorf("%+v", got)
	}
	for name, n := range map[string]int{"all": 1, "REVOKED": 0, "ISSUED": 1} {
		filter := issuer.Filter{Holder: peer, Definition: "Membership"}
		if filter.State = name; name == "all" {
			filter.State = ""
		}
		if got := must(f.IssuerCredentials(ctx, f.a.ID, filter, page.Request{}))(t); len(got.Items) != n {
			t.Errorf("%s: %d credentials, want %d", name, len(got.Items), n)
		}
	}
	if got := must(f.IssuerOffers(ctx, f.a.ID, issuer.Filter{State: "OWED"}, page.Request{}))(t); len(got.Items) != 1 {
		t.Errorf("%d offers, want 1", len(got.Items))
	}
	l := must(f.IssuerList(ctx, f.a.ID, "l"))(t)
	if l.Taken != 1 || l.Version != 1 || len(l.Bits) != listSize/8 {
		t.Errorf("taken %d, version %d, %d bytes", l.Taken, l.Version, len(l.Bits))
	}
	if got := must(f.IssuerTaken(ctx, f.a.ID, "l", []int{6, 7, 8}))(t); !slices.Equal(got, []int{7}) {
		t.Errorf("taken: %v, want 7", got)
	}
	// Another participant has none of it.
	for what, err := range map[string]error{
		"authority":  second(f.Authority(ctx, f.b.ID)),
		"definition": second(f.IssuerDefinition(ctx, f.b.ID, "Membership")),
		"holder":     second(f.IssuerHolder(ctx, f.b.ID, peer)),
		"request":    second(f.IssuerRequest(ctx, f.b.ID, "", "r")),
		"credential": second(f.IssuerCredential(ctx, f.b.ID, "c")),
		"offer":      second(f.IssuerOffer(ctx, f.b.ID, "o")),
		"list":       second(f.IssuerList(ctx, f.b.ID, "l")),
		"version":    second(f.IssuerListVersion(ctx, f.b.ID, "l")),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s of another: %v", what, err)
		}
	}
	if got := must(f.IssuerRequests(ctx, f.b.ID, issuer.Filter{}, page.Request{}))(t); len(got.Items) != 0 {
		t.Error("another sees the requests")
	}
}

// issuerSteps: one stale row, and nothing of the step is there.
func issuerSteps(t *testing.T, f bench) {
	ctx := t.Context()
	h := issuer.Holder{Participant: f.a.ID, DID: peer, Version: 1, Name: "Cobalt Cells", Created: now, Updated: now}
	check(t, f.commitIssuer(t, issuer.Changes{Holders: []commit.Swap[issuer.Holder]{{New: &h}}, Lists: []commit.Swap[issuer.List]{{New: f.issuerList("l")}},
		Credentials: []commit.Swap[issuer.Credential]{{New: f.issued("c", "l", 1)}}}))
	c := must(f.IssuerCredential(ctx, f.a.ID, "c"))(t)
	l := must(f.IssuerList(ctx, f.a.ID, "l"))(t)
	revoked, marked, old := c, l, l
	revoked.Standing, marked.Bits = issuer.Revoked, slices.Clone(l.Bits)
	marked.Bits[0] = 0x40
	step := func() issuer.Changes {
		return issuer.Changes{Credentials: []commit.Swap[issuer.Credential]{{Old: &c, New: &revoked}}, Lists: []commit.Swap[issuer.List]{{Old: &old, New: &marked}}}
	}
	old.Version = 9
	wantKind(t, f.CommitIssuer(ctx, f.a.ID, step(), commit.Effects{Decisions: []decisionlog.Entry{entry(1)}, Events: []commit.Event{{Type: "x"}}}), fault.Conflict)
	if got := must(f.IssuerCredential(ctx, f.a.ID, "c"))(t); got.Standing != issuer.Good || got.Version != 1 {
		t.Errorf("a step that failed changed the credential: %+v", got)
	}
	if n := must(f.LogTail(ctx, f.a.Slug))(t); n != 0 {
		t.Errorf("a step that failed left %d records", n)
	}
	old.Version = l.Version
	check(t, f.CommitIssuer(ctx, f.a.ID, step(), commit.Effects{Decisions: []decisionlog.Entry{entry(1)}, Events: []commit.Event{{Type: "x"}}}))
	if got := must(f.IssuerList(ctx, f.a.ID, "l"))(t); got.Version != 2 || got.Bits[0] != 0x40 || got.Taken != 1 {
		t.Errorf("version %d, first byte %x, taken %d", got.Version, got.Bits[0], got.Taken)
	}
	if v := must(f.IssuerListVersion(ctx, f.a.ID, "l"))(t); v != 2 {
		t.Errorf("version %d, want 2", v)
	}
	wantKind(t, f.CommitIssuer(ctx, f.a.ID, step(), commit.Effects{}), fault.Conflict)
	check(t, f.commitIssuer(t, issuer.Changes{Holders: []commit.Swap[issuer.Holder]{{Old: &h}}}))
	_, err := f.IssuerHolder(ctx, f.a.ID, peer)
	wantKind(t, err, fault.NotFound)
	wantKind(t, f.commitIssuer(t, issuer.Changes{Holders: []commit.Swap[issuer.Holder]{{Old: &h}}}), fault.Conflict)
}

func issuerPlaces(t *testing.T, f bench) {
	ctx := t.Context()
	check(t, f.commitIssuer(t, issuer.Changes{Lists: []commit.Swap[issuer.List]{{New: f.issuerList("l")}}}))
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			errs[i] = f.CommitIssuer(ctx, f.a.ID, issuer.Changes{Credentials: []commit.Swap[issuer.Credential]{{New: f.issued(string(rune('a'+i)), "l", 42)}}, Fill: 4}, commit.Effects{})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		var typed *fault.Error
		switch {
		case err == nil:
			won++
		case !errors.As(err, &typed) || typed.Kind != fault.Conflict:
			t.Errorf("who came late got %v, want a conflict", err)
		}
	}
	if won != 1 {
		t.Errorf("%d have place 42, want one", won)
	}
	for i, want := range []bool{true, true, true, false} { // one is taken, four fit
		err := f.CommitIssuer(ctx, f.a.ID, issuer.Changes{Credentials: []commit.Swap[issuer.Credential]{{New: f.issued("more"+string(rune('a'+i)), "l", i)}}, Fill: 4}, commit.Effects{})
		if (err == nil) != want {
			t.Errorf("place %d of 4: %v", i+2, err)
		}
	}
	if l := must(f.IssuerList(ctx, f.a.ID, "l"))(t); l.Taken != 4 {
		t.Errorf("taken %d, want 4", l.Taken)
	}
}

// issuerRepeats: the same message of a holder is one request for as long as that is not over.
func issuerRepeats(t *testing.T, f bench) {
	ctx := t.Context()
	r := func(id, digest string, holder participant.DID, state issuer.State) *issuer.Request {
		return &issuer.Request{Participant: f.a.ID, ID: id, Version: 1, Holder: holder, HolderPID: "pid", Digest: digest, State: state, Wanted: []string{"Membership"}, Created: now, Updated: now}
	}
	write := func(old, next *issuer.Request) error {
		return f.commitIssuer(t, issuer.Changes{Requests: []commit.Swap[issuer.Request]{{Old: old, New: next}}})
	}
	check(t, write(nil, r("one", "d", peer, issuer.Submitted)))
	wantKind(t, write(nil, r("two", "d", peer, issuer.Approved)), fault.Conflict)
	check(t, write(nil, r("theirs", "d", "did:web:dusk.example", issuer.Approved)))
	check(t, write(nil, r("other", "e", peer, issuer.Submitted)))
	for range 2 { // what has no digest is like nothing
		check(t, write(nil, r(rand.Text(), "", peer, issuer.Submitted)))
	}
	if got := must(f.IssuerRepeated(ctx, f.a.ID, peer, "d"))(t); got.ID != "one" || got.Version != 1 || got.Digest != "d" {
		t.Errorf("%+v", got)
	}
	for what, err := range map[string]error{"another digest": second(f.IssuerRepeated(ctx, f.a.ID, peer, "f")), "no digest": second(f.IssuerRepeated(ctx, f.a.ID, peer, "")),
		"another participant": second(f.IssuerRepeated(ctx, f.b.ID, peer, "d"))} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What it owes is found by its id, and is its own participant's.
	check(t, f.CommitIssuer(ctx, f.a.ID, issuer.Changes{}, commit.Effects{Owed: &commit.Owed{ID: "m", Participant: f.a.ID, Process: commit.IssuerRequest, ProcessID: "one", URL: "https://x.example", Body: []byte("b"),
		Due: now, Created: now}}))
	check(t, f.Postpone(ctx, "m", now.Add(time.Hour), "no route"))
	if o := must(f.IssuerOwed(ctx, f.a.ID, "m"))(t); o.ProcessID != "one" || string(o.Body) != "b" || o.Attempt != 1 || !o.Due.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", o)
	}
	wantKind(t, second(f.IssuerOwed(ctx, f.b.ID, "m")), fault.NotFound)
	wantKind(t, second(f.IssuerOwed(ctx, f.a.ID, "none")), fault.NotFound)
	check(t, write(r("one", "d", peer, issuer.Submitted), r("one", "d", peer, issuer.Rejected)))
	wantKind(t, second(f.IssuerRepeated(ctx, f.a.ID, peer, "d")), fault.NotFound)
	check(t, write(nil, r("two", "d", peer, issuer.Approved)))
}

// issuerMany: many holders are looked up together.
func issuerMany(t *testing.T, f bench) {
	var rows []commit.Swap[issuer.Holder]
	var dids []participant.DID
	for i := range 1500 {
		h := issuer.Holder{Participant: f.a.ID, DID: participant.DID(fmt.Sprintf("did:web:h%d.example", i)), Version: 1, Name: fmt.Sprint(i), Created: now, Updated: now}
		rows, dids = append(rows, commit.Swap[issuer.Holder]{New: &h}), append(dids, h.DID, "did:web:none.example")
	}
	check(t, f.commitIssuer(t, issuer.Changes{Holders: rows}))
	got := must(f.IssuerHoldersOf(t.Context(), f.a.ID, dids))(t)
	if len(got) != 1500 || got[0].Version != 1 {
		t.Errorf("%d holders", len(got))
	}
	if got := must(f.IssuerHoldersOf(t.Context(), f.b.ID, dids))(t); len(got) != 0 {
		t.Errorf("another participant sees %d", len(got))
	}
	if got := must(f.IssuerHoldersOf(t.Context(), f.a.ID, nil))(t); len(got) != 0 {
		t.Errorf("asked for none: %d", len(got))
	}
}

// issuerRestored: what was given out after the backup is not known, so that nothing more is given out of what came back.
func issuerRestored(t *testing.T, f bench) {
	check(t, f.commitIssuer(t, issuer.Changes{Lists: []commit.Swap[issuer.List]{{New: f.issuerList("l")}}, Credentials: []commit.Swap[issuer.Credential]{{New: f.issued("c", "l", 1)}}}))
	var copied bytes.Buffer
	check(t, f.Backup(t.Context(), &copied))
	// What was revoked meanwhile is lost, but the version that told of it is not given to another list.
	before := must(f.IssuerList(t.Context(), f.a.ID, "l"))(t)
	told := before
	told.Bits = slices.Repeat([]byte{0xff}, listSize/8)
	check(t, f.commitIssuer(t, issuer.Changes{Lists: []commit.Swap[issuer.List]{{Old: &before, New: &told}}}))
	empty := f.opened.Empty(t)
	check(t, empty.Restore(t.Context(), &copied, now))
	l := must(empty.IssuerList(t.Context(), f.a.ID, "l"))(t)
	if had := must(f.IssuerListVersion(t.Context(), f.a.ID, "l"))(t); l.Version <= had {
		t.Errorf("version %d after the restore, and there was a version %d that says something else", l.Version, had)
	}
	if l.Taken != l.Size || !bytes.Equal(l.Bits, make([]byte, listSize/8)) {
		t.Errorf("taken %d of %d", l.Taken, l.Size)
	}
	if got := must(empty.IssuerCredential(t.Context(), f.a.ID, "c"))(t); got.Places[0].Index != 1 {
		t.Errorf("%+v", got)
	}
}
