package embedded_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/embedded/faultfs"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

var began = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// acknowledged is what the store promised: the version of each negotiation, and how many records stand alone.
type acknowledged struct {
	version map[string]int64
	alone   map[int]bool
	log     uint64 // sequenced records
}

const exchanges = 3

// script is an exchange as the services commit it: created with a record and a message owed, agreed with an agreement, finalized, a serve
// record of its own, and a sequenced log. It goes on after a failure, as the services would.
func script(ctx context.Context, s store.Store, p participant.Participant) acknowledged {
	got := acknowledged{version: map[string]int64{}, alone: map[int]bool{}}
	for i := range exchanges {
		id := fmt.Sprint("n", i)
		n := negotiation.Negotiation{Participant: p.ID, ID: id, Version: 1, Role: negotiation.Provider, Peer: "did:web:boreal.example", PeerPID: "c" + id,
			State: negotiation.Requested, Created: began}
		if s.CreateNegotiation(ctx, n, effects(p, id, 1)) != nil {
			continue
		}
		got.version[id] = 1
		for v := int64(2); v <= 3; v++ {
			next := n
			next.State = map[int64]negotiation.State{2: negotiation.Agreed, 3: negotiation.Finalized}[v]
			if s.ReplaceNegotiation(ctx, n, next, effects(p, id, v)) != nil {
				break
			}
			next.Version = v
			n, got.version[id] = next, v
		}
		if s.Record(ctx, p.ID, commit.Effects{Decisions: []decisionlog.Entry{record("serve", int64(i))}}) == nil {
			got.alone[i] = true
		}
		if size, err := sequence(ctx, s, p.Slug); err == nil {
			got.log = size
		}
	}
	return got
}

// effects of the step that leads to version v; each step owes the next message and settles the one before.
func effects(p participant.Participant, id string, v int64) commit.Effects {
	e := commit.Effects{Decisions: []decisionlog.Entry{record(id, v)}, Events: []commit.Event{{Type: "step", Subject: fmt.Sprint(id, "/", v)}}}
	if v < 3 {
		e.Owed = &commit.Owed{ID: fmt.Sprint("owed-", id, "-", v), Participant: p.ID, Process: commit.Negotiation, ProcessID: id, Due: began, Created: began}
	}
	if v > 1 {
		e.Settled = fmt.Sprint("owed-", id, "-", v-1)
	}
	if v == 2 {
		e.Agreement = &agreement.Agreement{Participant: p.ID, ID: "a-" + id, Negotiation: id, Role: "provider", Consumer: "did:web:boreal.example", Digest: strings.Repeat("ab", 32), Created: began}
	}
	return e
}

func record(process string, v int64) decisionlog.Entry {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", process, v))
	return decisionlog.Entry{ID: hex.EncodeToString(sum[:16]), Kind: "decision", Process: process, Time: began, Bytes: fmt.Appendf(nil, `{"p":%q,"v":%d}`, process, v),
		Archive: []decisionlog.Object{{Digest: hex.EncodeToString(sum[:]), Type: "input", Bytes: make([]byte, 2000)}}}
}

func sequence(ctx context.Context, s store.Store, log string) (uint64, error) {
	open, err := s.Unsequenced(ctx, log, 100)
	if err != nil {
		return 0, err
	}
	head, err := s.LogHead(ctx, log)
	if err != nil {
		return 0, err
	}
	var leaves [][]byte
	var ids []string
	for _, e := range open {
		leaves, ids = append(leaves, e.Bytes), append(ids, e.ID)
	}
	next, err := head.Append(leaves...)
	if err != nil {
		return 0, err
	}
	return next.Size, s.Sequence(ctx, log, head, next, ids)
}

func TestNothingAcknowledgedIsLostAndNothingIsHalfDoneWhereverTheDiskFails(t *testing.T) {
	t.Parallel()
	template := t.TempDir()
	prepare(t, template)
	clean := run(t, template, faultfs.None, 0)
	if len(clean) < 30 {
		t.Fatalf("the script makes %d operations: %v", len(clean), clean)
	}
	t.Logf("%d writes, syncs, truncations and deletions, each failed in 3 ways", len(clean))
	step := 1
	if testing.Short() {
		step = 11 // a sample, for the race detector
	}
	for at := 1; at <= len(clean); at += step {
		for _, mode := range []faultfs.Mode{faultfs.PowerLoss, faultfs.IOError, faultfs.NoRoom} {
			run(t, template, mode, at)
		}
	}
}

// prepare makes a store with its tables and a participant, on a sound disk.
func prepare(t *testing.T, dir string) {
	t.Helper()
	s := open(t, dir)
	if _, err := s.CreateParticipant(t.Context(), participant.Participant{Slug: "cobalt", DID: "did:web:cobalt.example:cobalt", Created: began}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// run plays the script on a copy of the store whose disk fails at one operation, then looks at what is there after a restart.
func run(t *testing.T, template string, mode faultfs.Mode, at int) []string {
	t.Helper()
	name := fmt.Sprintf("%s at operation %d", mode, at)
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(template, embedded.File))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, embedded.File), text, 0o600); err != nil {
		t.Fatal(err)
	}
	disk := faultfs.Register("fault-"+filepath.Base(filepath.Dir(dir))+filepath.Base(dir), mode, at)
	defer disk.Close()
	var promised acknowledged
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader, VFS: "fault-" + filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)})
	if err == nil {
		p, err := s.Participant(t.Context(), "cobalt")
		if err == nil {
			promised = script(t.Context(), s, p)
		}
		_ = s.Close()
	}
	if mode == faultfs.PowerLoss {
		if err := disk.Restore(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader})
	if err != nil {
		t.Fatalf("%s: the store does not open again: %v", name, err)
	}
	defer again.Close()
	judge(t, name, again, promised)
	return disk.Operations()
}

func judge(t *testing.T, name string, s store.Store, promised acknowledged) {
	t.Helper()
	ctx := t.Context()
	p, err := s.Participant(ctx, "cobalt")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	events, err := s.EventsSince(ctx, p.ID, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for i, e := range events {
		told[e.Subject] = true
		if e.Seq != int64(i+1) {
			t.Errorf("%s: event %d has number %d", name, i+1, e.Seq)
		}
	}
	owed := map[string]bool{}
	due, err := s.Claim(ctx, began.Add(time.Hour), time.Second, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range due {
		owed[o.ID] = true
	}
	for i := range exchanges {
		id := fmt.Sprint("n", i)
		n, err := s.Negotiation(ctx, p.ID, "", id)
		if err != nil && !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		if n.Version < promised.version[id] {
			t.Errorf("%s: %s has version %d, %d was acknowledged", name, id, n.Version, promised.version[id])
		}
		whole(ctx, t, name, s, p, id, n.Version, told, owed)
		alone, err := s.LogByProcess(ctx, p.Slug, "serve", 100)
		if err != nil {
			t.Fatal(err)
		}
		if promised.alone[i] && !contains(alone, record("serve", int64(i)).ID) {
			t.Errorf("%s: serve record %d was acknowledged and is gone", name, i)
		}
	}
	head, err := s.LogHead(ctx, p.Slug)
	if err != nil || head.Size < promised.log {
		t.Errorf("%s: the log has %d records, %d were acknowledged, %v", name, head.Size, promised.log, err)
	}
	entries, err := s.LogEntries(ctx, p.Slug, 0, 1000)
	if err != nil || uint64(len(entries)) != head.Size {
		t.Errorf("%s: %d records under a head of %d, %v", name, len(entries), head.Size, err)
	}
	if _, err := sequence(ctx, s, p.Slug); err != nil && !fault.Is(err, fault.Conflict) {
		t.Errorf("%s: the log does not go on: %v", name, err)
	}
}

// whole wants, for a negotiation that reached a version, everything that each step committed, and nothing of the step after.
func whole(ctx context.Context, t *testing.T, name string, s store.Store, p participant.Participant, id string, version int64, told, owed map[string]bool) {
	t.Helper()
	records, err := s.LogByProcess(ctx, p.Slug, id, 100)
	if err != nil {
		t.Fatal(err)
	}
	for v := int64(1); v <= 3; v++ {
		reached := v <= version
		if got := contains(records, record(id, v).ID); got != reached {
			t.Errorf("%s: %s at version %d: record of step %d: %t", name, id, version, v, got)
		}
		if got := told[fmt.Sprint(id, "/", v)]; got != reached {
			t.Errorf("%s: %s at version %d: event of step %d: %t", name, id, version, v, got)
		}
		if got, want := owed[fmt.Sprint("owed-", id, "-", v)], v == version && v < 3; got != want {
			t.Errorf("%s: %s at version %d: message of step %d owed: %t", name, id, version, v, got)
		}
	}
	_, err = s.Agreement(ctx, p.ID, "a-"+id)
	if got := err == nil; got != (version >= 2) {
		t.Errorf("%s: %s at version %d: agreement there: %t", name, id, version, got)
	}
}

func contains(entries []decisionlog.Entry, id string) bool {
	for _, e := range entries {
		if e.ID == id {
			return true
		}
	}
	return false
}
