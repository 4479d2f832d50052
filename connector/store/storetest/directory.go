package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

func partnerGroups(t *testing.T, f bench) {
	told := commit.Effects{Events: []commit.Event{{Type: "group.put", Time: now}}}
	g := directory.Group{Participant: f.a.ID, Name: "suppliers", Members: []string{"BPNL00000000BOR1"}, Updated: now}
	check(t, f.PutGroup(t.Context(), g, told))
	wantKind(t, f.PutGroup(t.Context(), g, told), fault.Conflict)
	g.Version, g.Created = 1, now
	if diff := cmp.Diff(g, must(f.Group(t.Context(), f.a.ID, "suppliers"))(t)); diff != "" {
		t.Errorf("(-kept +read):\n%s", diff)
	}
	next := g
	next.Members, next.Updated = []string{}, now.Add(time.Second)
	check(t, f.PutGroup(t.Context(), next, told))
	wantKind(t, f.PutGroup(t.Context(), next, told), fault.Conflict)
	next.Version = 2
	check(t, f.PutGroup(t.Context(), directory.Group{Participant: f.a.ID, Name: "friends", Updated: now}, told))
	all := must(f.Groups(t.Context(), f.a.ID))(t)
	if len(all) != 2 || all[0].Name != "friends" || !cmp.Equal(all[1], next) {
		t.Errorf("listed %+v", all)
	}
	if others := must(f.Groups(t.Context(), f.b.ID))(t); len(others) != 0 {
		t.Errorf("another participant has %d", len(others))
	}
	_, err := f.Group(t.Context(), f.b.ID, "suppliers")
	wantKind(t, err, fault.NotFound)
	wantKind(t, f.DeleteGroup(t.Context(), f.b.ID, "suppliers", 2, told), fault.Conflict)
	wantKind(t, f.DeleteGroup(t.Context(), f.a.ID, "suppliers", 1, told), fault.Conflict)
	check(t, f.DeleteGroup(t.Context(), f.a.ID, "suppliers", 2, told))
	_, err = f.Group(t.Context(), f.a.ID, "suppliers")
	wantKind(t, err, fault.NotFound)
	if events := must(f.EventsSince(t.Context(), f.a.ID, 0, 100))(t); len(events) != 4 {
		t.Errorf("%d events, want one with each change and none with what was refused", len(events))
	}
}

func numbers(t *testing.T, f bench) {
	told := commit.Effects{Events: []commit.Event{{Type: "number.put", Time: now}}}
	entry := func(i int, did string) directory.Entry {
		return directory.Entry{Number: fmt.Sprintf("BPNL%012d", i), DID: participant.DID(did), Updated: now}
	}
	for i := range 5 {
		check(t, f.PutNumber(t.Context(), f.a.ID, entry(4-i, "did:web:old.example"), told))
	}
	check(t, f.PutNumber(t.Context(), f.a.ID, entry(3, "did:web:new.example"), told))
	var got []directory.Entry
	for r := (page.Request{Limit: 2}); ; {
		some := must(f.Numbers(t.Context(), f.a.ID, r))(t)
		got = append(got, some.Items...)
		if r.After = some.Next; r.After.ID == "" {
			break
		}
	}
	want := []directory.Entry{entry(0, "did:web:old.example"), entry(1, "did:web:old.example"), entry(2, "did:web:old.example"), entry(3, "did:web:new.example"), entry(4, "did:web:old.example")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if others := must(f.Numbers(t.Context(), f.b.ID, page.Request{}))(t); len(others.Items) != 0 {
		t.Errorf("another participant keeps %d", len(others.Items))
	}
	wantKind(t, f.DeleteNumber(t.Context(), f.b.ID, entry(1, "").Number, told), fault.NotFound)
	check(t, f.DeleteNumber(t.Context(), f.a.ID, entry(1, "").Number, told))
	wantKind(t, f.DeleteNumber(t.Context(), f.a.ID, entry(1, "").Number, told), fault.NotFound)
	if err := f.PutNumber(t.Context(), f.a.ID, directory.Entry{Number: "short", DID: "x", Updated: now}, told); err == nil {
		t.Error("a number that is none was kept")
	}
	if events := must(f.EventsSince(t.Context(), f.a.ID, 0, 100))(t); len(events) != 7 {
		t.Errorf("%d events, want one with each change", len(events))
	}
}
