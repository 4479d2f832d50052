package keyring_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/embedded/faultfs"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// began is when the script begins; its time is moved by hand.
var began = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// mortal is a keeper over a store on a disk that may fail.
type mortal struct {
	store  store.Store
	keeper *keyring.Keeper
	ring   *keyring.Ring
	now    time.Time
}

func openMortal(t *testing.T, dir, vfs string, m keyring.Master, now time.Time) (*mortal, error) {
	s, err := embedded.Open(context.Background(), embedded.Options{Dir: dir, Rand: rand.Reader, VFS: vfs})
	if err != nil {
		return nil, err
	}
	b := &mortal{store: s, now: now}
	b.keeper = keyring.NewKeeper(keyring.Config{Store: s, Master: m, Recorder: recorder(t), Now: func() time.Time { return b.now }, Rand: rand.Reader,
		Log: slog.New(slog.DiscardHandler), Changed: func(participant.Participant, bool) {}})
	p, err := s.Participant(context.Background(), "aurora")
	if err == nil {
		b.ring, err = b.keeper.Open(context.Background(), "aurora")
	}
	if err != nil {
		return nil, fmt.Errorf("%w, %w", err, s.Close())
	}
	b.keeper.Host(b.ring, p)
	return b, nil
}

// script rotates everything, lets the new keys sign and the old ones retire, and revokes one. What it signed while the disk was sound is
// returned. It goes on after a failure, as a connector does.
func (b *mortal) script(local participant.Participant) (signed []string) {
	ctx := context.Background()
	for _, do := range []func(){
		func() { _, _ = b.keeper.Rotate(ctx, local, keyring.Rotation{Actor: "operator"}) },
		func() { b.now = b.now.Add(keyring.Overlap); b.keeper.Step(ctx) },
		func() {
			_, _ = b.keeper.Revoke(ctx, local, b.ring.Public(identity.UseIssue)[0].ID, commit.Order{Actor: "operator"})
		},
		func() { b.now = b.now.Add(time.Hour); b.keeper.Step(ctx) },
	} {
		do()
		if token, err := identity.SignJWT(ctx, string(did), b.ring, identity.UseToken, "JWT", "claims", b.now.Add(time.Minute)); err == nil {
			signed = append(signed, token)
		}
	}
	return signed
}

// Wherever the disk loses its power in the middle of a rotation, fails or is full: the keys open again, each use has one key that signs, nothing
// changed without a record, what was signed last is believed, and the rotation goes on.
func TestARotationGoesOnWhereverTheDiskFails(t *testing.T) {
	t.Parallel()
	m, template := master(t), t.TempDir()
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: template, Rand: rand.Reader})
	check(t, err)
	local, err := s.CreateParticipant(t.Context(), participant.Participant{Slug: "aurora", DID: did, Created: began})
	check(t, err)
	_, err = keyring.NewKeeper(keyring.Config{Store: s, Master: m, Now: func() time.Time { return began }, Rand: rand.Reader}).Create(t.Context(), "aurora")
	check(t, err)
	check(t, s.Close())
	clean := disaster(t, template, m, local, faultfs.None, 0)
	if clean < 12 {
		t.Fatalf("the script makes %d operations", clean)
	}
	step := 1
	if testing.Short() {
		step = 7 // a sample, for the race detector
	}
	for at := 1; at <= clean; at += step {
		for _, mode := range []faultfs.Mode{faultfs.PowerLoss, faultfs.IOError, faultfs.NoRoom} {
			disaster(t, template, m, local, mode, at)
		}
	}
}

func disaster(t *testing.T, template string, m keyring.Master, local participant.Participant, mode faultfs.Mode, at int) (operations int) {
	t.Helper()
	name := fmt.Sprintf("%s at operation %d", mode, at)
	dir := t.TempDir()
	check(t, os.CopyFS(dir, os.DirFS(template)))
	vfs := "keys-" + filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)
	disk := faultfs.Register(vfs, mode, at)
	defer disk.Close()
	var signed []string
	now := began
	if b, err := openMortal(t, dir, vfs, m, began); err == nil {
		signed, now = b.script(local), b.now
		_ = b.store.Close()
	}
	if mode == faultfs.PowerLoss {
		check(t, disk.Restore())
	}
	b, err := openMortal(t, dir, "", m, now)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer b.store.Close()
	judge(t, name, b, local)
	if len(signed) > 0 {
		c := &company{t: t, ring: b.ring}
		if err := verify(c.document(), signed[len(signed)-1], identity.CapabilityInvocation); err != nil {
			t.Errorf("%s: what was signed last: %v", name, err)
		}
	}
	// It goes on to its end, and the next one can be begun.
	for range 3 {
		b.now = b.now.Add(24 * time.Hour)
		b.keeper.Step(t.Context())
	}
	judge(t, name, b, local)
	if _, err := b.keeper.Rotate(t.Context(), local, keyring.Rotation{Actor: "operator"}); err != nil {
		t.Errorf("%s: the next rotation: %v", name, err)
	}
	return len(disk.Operations())
}

// judge compares what is there with its records.
func judge(t *testing.T, name string, b *mortal, local participant.Participant) {
	t.Helper()
	kept, err := b.store.Keyring(t.Context(), "aurora")
	check(t, err)
	changes, active := 0, map[string]int{}
	for _, k := range kept.Keys {
		changes += int(k.Version) - 1
		if k.Generation > 1 {
			changes++
		}
		if k.State == store.KeyActive {
			active[k.Use]++
		}
	}
	for _, use := range append(keyring.Rotating(), "checkpoint", "log") {
		if active[use] != 1 {
			t.Errorf("%s: %d keys are active for %s", name, active[use], use)
		}
	}
	entries, err := b.store.Unsequenced(t.Context(), "aurora", 1000)
	check(t, err)
	entries = slices.DeleteFunc(entries, func(e decisionlog.Entry) bool { return e.Kind != decisionlog.KindOperator })
	events, err := b.store.EventsSince(t.Context(), local.ID, 0, 1000)
	check(t, err)
	if len(entries) != changes || len(events) != changes {
		t.Errorf("%s: %d changes of keys, %d records, %d events", name, changes, len(entries), len(events))
	}
}
