package embedded_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
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
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
	"github.com/sluice-connector/sluice/policy/decisionlog/markfile"
)

var began = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// acknowledged is what was promised: the version of each negotiation, which records stand alone, and how many a checkpoint covers.
type acknowledged struct {
	version map[string]int64
	alone   map[int]bool
	log     uint64
}

const exchanges = 2

// notary signs checkpoints and remembers what it was asked to sign, also when nobody got the signature.
type notary struct {
	*decisionlog.Signer
	signed []string
}

var logKey = ed25519.NewKeyFromSeed(make([]byte, 32))

const origin = "cobalt.example/cobalt/decisions"

func newNotary(t *testing.T) *notary {
	t.Helper()
	n := &notary{}
	var err error
	n.Signer, err = decisionlog.NewSigner(origin, logKey.Public().(ed25519.PublicKey), func(msg []byte) ([]byte, error) {
		n.signed = append(n.signed, string(msg))
		return ed25519.Sign(logKey, msg), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sequencer is that of a process over the store and the checkpoints beside it.
func sequencer(s store.Store, disk durable.FS, dir string, n *notary) (*decisionlog.Sequencer, error) {
	marks, err := markfile.Open(disk, filepath.Join(dir, "checkpoints"))
	return decisionlog.NewSequencer("cobalt", s, marks, n.Signer, slog.New(slog.DiscardHandler)), err
}

// script is an exchange as the services commit it: created with a record and a message owed, agreed with an agreement, finalized, a serve
// record of its own, and a signed checkpoint. It goes on after a failure, as the services would.
func script(ctx context.Context, s store.Store, p participant.Participant, log *decisionlog.Sequencer) acknowledged {
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
		if note, err := log.Sign(ctx); err == nil {
			if cp, err := decisionlog.OpenCheckpoint(note, log.VerifierKey()); err == nil {
				got.log = cp.Size
			}
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

func TestNothingAcknowledgedIsLostAndNothingIsHalfDoneWhereverTheDiskFails(t *testing.T) {
	t.Parallel()
	template := t.TempDir()
	prepare(t, template)
	clean := run(t, template, faultfs.None, 0)
	if len(clean) < 30 {
		t.Fatalf("the script makes %d operations: %v", len(clean), clean)
	}
	for _, want := range []string{"create new", "write .new", "sync .new", "rename cobalt.example", "syncdir checkpoints", "sync sluice.db-wal"} {
		if !strings.Contains(strings.Join(clean, "\n"), want) {
			t.Errorf("the script has no %q: %v", want, clean)
		}
	}
	t.Logf("%d writes, syncs, truncations, renames and deletions, each failed in 3 ways", len(clean))
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
	log, err := sequencer(s, durable.OS{}, dir, newNotary(t))
	if err == nil {
		err = log.Begin(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
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
	if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "checkpoints"), 0o700); err != nil {
		t.Fatal(err)
	}
	vfs := "fault-" + filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)
	disk := faultfs.Register(vfs, mode, at)
	defer disk.Close()
	promised, signed := acknowledged{}, newNotary(t)
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader, VFS: vfs})
	if err == nil {
		promised = live(t, name, s, disk, dir, signed)
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
	oneHistory(t, name, again, dir, signed)
	return disk.Operations()
}

// live plays the script. When the disk was full and has room again, the same process goes on.
func live(t *testing.T, name string, s store.Store, disk *faultfs.Disk, dir string, signed *notary) (promised acknowledged) {
	t.Helper()
	log, err := sequencer(s, disk.Files(), dir, signed)
	if err != nil {
		return promised
	}
	p, err := s.Participant(t.Context(), "cobalt")
	if err != nil {
		return promised
	}
	promised = script(t.Context(), s, p, log)
	if !disk.Full() {
		return promised
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Errorf("%s: a full disk took a write", name)
	}
	disk.MakeRoom()
	if err := s.Record(t.Context(), p.ID, commit.Effects{Decisions: []decisionlog.Entry{record("late", 1)}}); err != nil {
		t.Errorf("%s: there is room again, but not for a record: %v", name, err)
	}
	if _, err := log.Sign(t.Context()); err != nil {
		t.Errorf("%s: there is room again, but not for a checkpoint: %v", name, err)
	}
	return promised
}

// oneHistory wants that every checkpoint ever signed is a prefix of the log as it is, and that the log goes on.
func oneHistory(t *testing.T, name string, s store.Store, dir string, signed *notary) {
	t.Helper()
	log, err := sequencer(s, durable.OS{}, dir, signed)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Open(t.Context(), nil, began); err != nil {
		t.Errorf("%s: the log does not open again: %v", name, err)
	}
	if _, err := log.Sign(t.Context()); err != nil {
		t.Errorf("%s: the log is not signed any more: %v", name, err)
	}
	entries, err := s.LogEntries(t.Context(), "cobalt", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string]bool{}
	for size, head := 0, (decisionlog.Head{}); ; size++ {
		root, err := head.Root()
		if err != nil {
			t.Fatal(err)
		}
		roots[fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root))] = true
		if size == len(entries) {
			break
		}
		if head, err = head.Append(entries[size].Bytes); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range signed.signed {
		if !roots[text] {
			t.Errorf("%s: this was signed and is no prefix of the log:\n%s", name, text)
		}
	}
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
