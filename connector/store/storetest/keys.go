package storetest

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/store"
)

func wrapped(use, id string) store.Key {
	return store.Key{ID: id, Use: use, Algorithm: "ES256", Generation: 1, State: store.KeyActive, Version: 1, Public: []byte("public " + id),
		Wrapped: []byte("wrapped " + id), Created: now}
}

func keys(t *testing.T, f bench) {
	ctx := t.Context()
	_, err := f.Keyring(ctx, "aurora")
	wantKind(t, err, fault.NotFound)
	if all := must(f.Masters(ctx))(t); len(all) != 0 {
		t.Errorf("masters of an empty store: %v", all)
	}
	// Keys are there before their participant is.
	first := store.Keyring{Master: "m1", DataKey: []byte{1, 0, 255}, Keys: []store.Key{wrapped("issue", "i1"), wrapped("token", "t1")}}
	check(t, f.CreateKeyring(ctx, "cobalt", first))
	wantKind(t, f.CreateKeyring(ctx, "cobalt", first), fault.Conflict)
	wantKind(t, f.CreateKeyring(ctx, "NO", first), fault.Malformed)
	check(t, f.CreateKeyring(ctx, "aurora", first))
	if diff := cmp.Diff(first, must(f.Keyring(ctx, "aurora"))(t)); diff != "" {
		t.Errorf("what came back (-kept +got):\n%s", diff)
	}
	if got := must(f.Masters(ctx))(t); !slices.Equal(got, []string{"m1"}) {
		t.Errorf("masters %v", got)
	}

	// What an old key signed is noted while it is good, and keeps it in the document.
	until := now.Add(90 * 24 * time.Hour)
	check(t, f.SignUntil(ctx, "aurora", "i1", until))
	check(t, f.SignUntil(ctx, "aurora", "i1", until.Add(-time.Hour)))
	wantKind(t, f.SignUntil(ctx, "aurora", "none", until), fault.NotFound)
	wantKind(t, f.SignUntil(ctx, "boreal", "i1", until), fault.NotFound)
	old := wrapped("issue", "i1")
	old.State, old.Version, old.Due, old.Until, old.Wrapped = store.KeyRotated, 3, now.Add(time.Hour), until, nil
	next := wrapped("issue", "i2")
	next.Generation = 2
	told := commit.Effects{Events: []commit.Event{{Type: "key.active", Subject: "i2", Time: now}}}
	check(t, f.ChangeKeys(ctx, f.a, []store.Key{old, next}, told))
	check(t, f.SignUntil(ctx, "aurora", "i1", until.Add(time.Hour)))
	got := must(f.Keyring(ctx, "aurora"))(t)
	if k := got.Keys[0]; k.State != store.KeyRotated || len(k.Wrapped) != 0 || k.Version != 4 || !k.Until.Equal(until.Add(time.Hour)) || !k.Due.Equal(k.Until) {
		t.Errorf("the rotated key: %+v", k)
	}
	if k := got.Keys[1]; !bytes.Equal(k.Wrapped, next.Wrapped) || k.ID != "i2" {
		t.Errorf("the key after it: %+v", k)
	}
	if events := must(f.EventsSince(ctx, f.a.ID, 0, 10))(t); len(events) != 1 || events[0].Subject != "i2" {
		t.Errorf("events %+v", events)
	}

	// A change of what is not there any more changes nothing: not the key beside it, and nobody is told.
	gone := old
	gone.State, gone.Version, gone.Due = store.KeyRevoked, 4, time.Time{}
	beside := next
	beside.Version, beside.Due = 2, now
	wantKind(t, f.ChangeKeys(ctx, f.a, []store.Key{beside, gone}, told), fault.Conflict)
	wantKind(t, f.ChangeKeys(ctx, f.b, []store.Key{beside}, told), fault.Conflict)
	third := wrapped("issue", "i3")
	third.Generation = 3
	wantKind(t, f.ChangeKeys(ctx, f.a, []store.Key{third}, told), fault.Conflict) // two would be active
	if diff := cmp.Diff(got, must(f.Keyring(ctx, "aurora"))(t)); diff != "" {
		t.Errorf("after three refusals (-before +after):\n%s", diff)
	}
	if events := must(f.EventsSince(ctx, f.a.ID, 0, 10))(t); len(events) != 1 {
		t.Errorf("events after three refusals %+v", events)
	}
	gone.Version, gone.Until = 5, until
	check(t, f.ChangeKeys(ctx, f.a, []store.Key{gone}, told))
	wantKind(t, f.SignUntil(ctx, "aurora", "i1", until.Add(48*time.Hour)), fault.Conflict)

	// A backup has keys as the store has them.
	var b bytes.Buffer
	check(t, f.Backup(ctx, &b))
	empty := f.opened.Empty(t)
	check(t, empty.Restore(ctx, &b, now))
	if diff := cmp.Diff(must(f.Keyring(ctx, "aurora"))(t), must(empty.Keyring(ctx, "aurora"))(t)); diff != "" {
		t.Errorf("restored (-before +after):\n%s", diff)
	}
}
