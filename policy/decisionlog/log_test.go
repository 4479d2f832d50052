package decisionlog_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
	"github.com/sluice-connector/sluice/policy/decisionlog/markfile"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// shelf is the simplest ledger that keeps the contract: one log in memory.
type shelf struct {
	open, done []decisionlog.Entry
	head       decisionlog.Head
	restored   decisionlog.Restore
}

func (s *shelf) Unsequenced(_ context.Context, _ string, n int) ([]decisionlog.Entry, error) {
	return s.open[:min(n, len(s.open))], nil
}
func (s *shelf) LogHead(context.Context, string) (decisionlog.Head, error) { return s.head, nil }
func (s *shelf) LogTail(context.Context, string) (int, error)              { return len(s.open), nil }
func (s *shelf) Sequence(_ context.Context, _ string, old, next decisionlog.Head, ids []string) error {
	if old.Size != s.head.Size || old.Fence != s.head.Fence {
		return errors.New("stale")
	}
	s.done, s.open, s.head = append(s.done, s.open[:len(ids)]...), s.open[len(ids):], next
	s.head.Fence++
	return nil
}
func (s *shelf) LogEntries(_ context.Context, _ string, from uint64, n int) ([]decisionlog.Entry, error) {
	rest := s.done[min(int(from), len(s.done)):]
	return rest[:min(n, len(rest))], nil
}

func (s *shelf) Restored(context.Context, string) (decisionlog.Restore, error) {
	return s.restored, nil
}
func (s *shelf) Recover(_ context.Context, _ string, old, next decisionlog.Head, e decisionlog.Entry) error {
	if old.Size != s.head.Size || old.Fence != s.head.Fence || s.restored.At.IsZero() || s.restored.Recorded {
		return errors.New("stale")
	}
	s.done, s.head, s.restored.Recorded = append(s.done, e), next, true
	s.head.Fence++
	return nil
}
func (s *shelf) Resumed(context.Context, string) error {
	s.restored = decisionlog.Restore{}
	return nil
}

// copied is what a backup of now would bring back; the zero time when nobody declares it.
func (s *shelf) copied(declared time.Time) *shelf {
	return &shelf{open: slices.Clone(s.open), done: slices.Clone(s.done), head: s.head, restored: decisionlog.Restore{At: declared}}
}

type fixture struct {
	shelf     *shelf
	sequencer *decisionlog.Sequencer
	recorder  *decisionlog.Recorder
	signer    *decisionlog.Signer
	marks     *markfile.Dir
}

var domain = decisionlog.Domain{ID: "cobalt/1", Key: bytes.Repeat([]byte{7}, 32)}

func setup(t testing.TB) fixture {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	signer, err := decisionlog.NewSigner("localhost:8443/cobalt/decisions", public, func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil })
	check(t, err)
	marks, err := markfile.Open(durable.OS{}, filepath.Join(t.TempDir(), "checkpoints"))
	check(t, err)
	recorder, err := decisionlog.NewRecorder("cobalt", "test", decisionlog.Engine{Module: "opa", Go: "go", Target: "rego", Strict: true}, "data.q", domain, rand.Reader)
	check(t, err)
	f := fixture{&shelf{}, nil, recorder, signer, marks}
	f.sequencer = f.over(f.shelf)
	check(t, f.sequencer.Begin(t.Context()))
	return f
}

// over is a process that finds the ledger after a restart.
func (f fixture) over(l decisionlog.Ledger) *decisionlog.Sequencer {
	return decisionlog.NewSequencer("cobalt", l, f.marks, f.signer, slog.New(slog.DiscardHandler))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func question(t testing.TB) policy.Question {
	t.Helper()
	id, err := decisionlog.NewID(rand.Reader)
	check(t, err)
	return policy.Question{ID: id, Log: "cobalt", Door: policy.DoorRequest, Now: time.UnixMilli(1763870000000), Role: "provider",
		Peer:     policy.Party{DID: "did:web:boreal.example", Credentials: []policy.Credential{{Type: "MembershipCredential", ID: "urn:c", Digest: strings.Repeat("a", 64)}}},
		Policies: []odrl.Policy{{Permission: []odrl.Rule{{Action: "use"}}}}, Asset: policy.Asset{ID: "asset-7"},
		Process: policy.Process{ConsumerPID: "urn:c", ProviderPID: "urn:p"}}
}

func (f fixture) add(t testing.TB, n int) {
	t.Helper()
	for range n {
		e, err := f.recorder.Decision(question(t), policy.Decision{Effect: policy.Allow, Input: []byte(`{"now":1,"peer":{"did":"did:web:boreal.example"}}`),
			Result: []byte(`{}`), Reasons: []policy.Reason{{Code: "membership.active", Rule: "membership", Clause: "permission/0", Outcome: policy.Satisfied}}})
		check(t, err)
		f.shelf.open = append(f.shelf.open, e)
	}
}

func (f fixture) export(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	check(t, f.sequencer.Export(t.Context(), dir))
	return dir
}

func TestTheTreeIsThatOfRFC6962(t *testing.T) {
	t.Parallel()
	roots := []string{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "45c7bdcd45db42b418f7c42663fbeb464c9f0a88980cbc31fdddd29d24f724ee",
		"d075b56a4adef62530a52839802802da518a21b5d0bf35eb05fea2b295a855fa", "d6a93c4b91bf4b5be4fae77b5be1439df69e7c7c38007eb704c299cd0e1057b1",
		"089f04182e8dcba54af7c39dd1c7d07cf6ff1a15bcb5784b236b4e9e85178dfa", "be86a57ed4ff3ab4bdeac05994ad169ef3a431e8991ed51f7c143b4d9f2f478e"}
	h := decisionlog.Head{}
	for size, want := range roots {
		root, err := h.Root()
		check(t, err)
		if hex.EncodeToString(root) != want {
			t.Errorf("root(%d) = %x, want %s", size, root, want)
		}
		h, err = h.Append(fmt.Appendf(nil, "record-%d", size))
		check(t, err)
	}
}

func TestTheCheckpointIsByteForByteTheStandards(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	signer, err := decisionlog.NewSigner("log.connector.example/decisions", private.Public().(ed25519.PublicKey), func(msg []byte) ([]byte, error) { return ed25519.Sign(private, msg), nil })
	check(t, err)
	if want := "log.connector.example/decisions+242abfc7+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"; signer.VerifierKey() != want {
		t.Errorf("key %s, want %s", signer.VerifierKey(), want)
	}
	root, err := base64.StdEncoding.DecodeString("voalftT/OrS96sBZlK0WnvOkMeiZHtUffBQ7TZ8vR44=")
	check(t, err)
	note, err := signer.SignCheckpoint(5, root)
	check(t, err)
	want := "log.connector.example/decisions\n5\nvoalftT/OrS96sBZlK0WnvOkMeiZHtUffBQ7TZ8vR44=\n\n" +
		"— log.connector.example/decisions JCq/x1MSmkrzegeWYOQwgF+iMd6UTVfDl4VpJWoaBXHFHXHACcKFXrR3hS56pHHC21JFjNFLtk0JnfHQ09SyAqtWAAE=\n"
	if string(note) != want {
		t.Errorf("got\n%s\nwant\n%s", note, want)
	}
}

func TestAnExportChecksOutWithAndWithoutTheKey(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 3, 256, 257, 600} {
		f := setup(t)
		f.add(t, size)
		dir := f.export(t)
		report, err := decisionlog.Verify(dir, f.signer.VerifierKey())
		check(t, err)
		if !report.Pinned || report.Size != uint64(size) {
			t.Errorf("size %d: %+v", size, report)
		}
		report, err = decisionlog.Verify(dir, "")
		check(t, err)
		if report.Pinned {
			t.Errorf("size %d: pinned without a key", size)
		}
		n := 0
		for _, err := range decisionlog.Records(dir) {
			check(t, err)
			n++
		}
		if n != size {
			t.Errorf("%d records, want %d", n, size)
		}
	}
}

func TestEveryChangedByteIsFoundAndPlaced(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, 256+3)
	dir := f.export(t)
	key := f.signer.VerifierKey()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		original, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		check(t, err)
		name := filepath.ToSlash(rel)
		step := 1
		if len(original) > 2000 {
			step = len(original)/8 | 1 // a sample: each change costs a check of the whole
		}
		for i := 0; i < len(original); i += step {
			flip := []byte{0x01, 0x20, 0x80}[i%3]
			changed := bytes.Clone(original)
			changed[i] ^= flip
			check(t, os.WriteFile(path, changed, 0o644))
			for _, k := range []string{key, ""} {
				_, err := decisionlog.Verify(dir, k)
				var damage *decisionlog.Damage
				if !errors.As(err, &damage) {
					t.Fatalf("%s, byte %d changed by %#x, key %q: %v", name, i, flip, k, err)
				}
				file, entry := place(name, original, i)
				if damage.File != file || damage.Entry != entry {
					t.Errorf("%s, byte %d changed by %#x, key %q: %v; want entry %d in %s", name, i, flip, k, err, entry, file)
				}
			}
		}
		for _, cut := range [][]byte{nil, original[:len(original)-1], append(bytes.Clone(original), 0)} {
			check(t, os.WriteFile(path, cut, 0o644))
			if _, err := decisionlog.Verify(dir, key); err == nil || !strings.Contains(err.Error(), name) {
				t.Fatalf("%s with %d bytes: %v", name, len(cut), err)
			}
		}
		return os.WriteFile(path, original, 0o644)
	}))
	if _, err := decisionlog.Verify(dir, key); err != nil {
		t.Fatalf("put back: %v", err)
	}
}

// place is what must be named when byte i of a file was changed: the record for a tile of records and for its leaf hash, else the file.
func place(name string, original []byte, i int) (string, int64) {
	tile, width, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(name, "tile/entries/"), "tile/0/"), ".p/")
	number, err := strconv.Atoi(tile)
	entries := "tile/entries/" + tile
	if width != "" {
		entries += ".p/" + width
	}
	switch {
	case err != nil:
		return name, -1
	case strings.HasPrefix(name, "tile/0/"):
		return entries, int64(number*256 + i/32)
	}
	entry := number * 256
	for at := 0; ; entry++ {
		at += 2 + int(binary.BigEndian.Uint16(original[at:]))
		if i < at {
			return name, int64(entry)
		}
	}
}

func TestAFileTooManyOrTooFewIsNamed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, 300)
	dir := f.export(t)
	var files []string
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	for _, path := range files {
		text, err := os.ReadFile(path)
		check(t, err)
		check(t, os.Remove(path))
		_, err = decisionlog.Verify(dir, f.signer.VerifierKey())
		rel, _ := filepath.Rel(dir, path)
		var damage *decisionlog.Damage
		if !errors.As(err, &damage) || damage.File != filepath.ToSlash(rel) {
			t.Errorf("without %s: %v", rel, err)
		}
		check(t, os.WriteFile(path, text, 0o644))
	}
	for _, extra := range []string{"README", "tile/0/001", "tile/entries/000.p/44x", ".hidden", "tile/2/000"} {
		path := filepath.Join(dir, extra)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, nil, 0o644))
		_, err := decisionlog.Verify(dir, f.signer.VerifierKey())
		var damage *decisionlog.Damage
		if !errors.As(err, &damage) || damage.File == "" || !strings.HasPrefix(extra, damage.File) {
			t.Errorf("with %s: %v", extra, err)
		}
		check(t, os.Remove(path))
	}
}

func TestAnotherKeyIsNotTheLogs(t *testing.T) {
	t.Parallel()
	f, other := setup(t), setup(t)
	f.add(t, 1)
	if _, err := decisionlog.Verify(f.export(t), other.signer.VerifierKey()); err == nil {
		t.Error("an export checked out with another log's key")
	}
}

func TestALogWithoutItsMarkIsRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, 5)
	_, err := f.sequencer.Sign(t.Context())
	check(t, err)
	var lost error
	f.marks, lost = markfile.Open(durable.OS{}, filepath.Join(t.TempDir(), "checkpoints"))
	check(t, lost)
	again := f.over(f.shelf)
	if err := again.Open(t.Context(), f.recorder, restoredAt); !errors.Is(err, decisionlog.ErrUnmarked) {
		t.Errorf("Open = %v, want ErrUnmarked", err)
	}
	if _, err := again.Sign(t.Context()); !errors.Is(err, decisionlog.ErrUnmarked) {
		t.Errorf("Sign = %v, want ErrUnmarked", err)
	}
}

func TestALogThatSignedBeforeDoesNotBeginAgain(t *testing.T) {
	t.Parallel()
	f := setup(t)
	check(t, f.sequencer.Begin(t.Context())) // an earlier attempt died here
	f.add(t, 1)
	_, err := f.sequencer.Sign(t.Context())
	check(t, err)
	if err := f.over(&shelf{}).Begin(t.Context()); !errors.Is(err, decisionlog.ErrRolledBack) {
		t.Errorf("Begin = %v, want ErrRolledBack", err)
	}
}

var restoredAt = time.UnixMilli(1763880000000)

func TestADeclaredRestoreIsRecordedOnceAndTheLogGoesOn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ fresh bool }{"beside the old checkpoints": {}, "without them": {fresh: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.add(t, 5)
			check(t, f.sequencer.Drain(t.Context()))
			f.add(t, 2) // not yet sequenced when the backup was made
			back := f.shelf.copied(restoredAt)
			f.add(t, 5)
			_, err := f.sequencer.Sign(t.Context())
			check(t, err)
			was, err := f.marks.Load(t.Context(), f.signer.Origin())
			check(t, err)
			want := decisionlog.Recovered{From: "7", Restored: "1763880000000", Size: "12", Root: hex.EncodeToString(was.Root)}
			if tt.fresh {
				f.marks, err = markfile.Open(durable.OS{}, filepath.Join(t.TempDir(), "checkpoints"))
				check(t, err)
				want.Size, want.Root = "", ""
			}
			f.shelf = back
			f.sequencer = f.over(back)
			check(t, f.sequencer.Open(t.Context(), f.recorder, restoredAt))
			check(t, f.over(back).Open(t.Context(), f.recorder, restoredAt))
			f.add(t, 1)
			dir := f.export(t)
			report, err := decisionlog.Verify(dir, f.signer.VerifierKey())
			check(t, err)
			if report.Size != 9 || !slices.Equal(report.Recovered, []uint64{7}) {
				t.Errorf("report %+v, want 9 records, recovered at 7", report)
			}
			at := 0
			for rec, err := range decisionlog.Records(dir) {
				check(t, err)
				if isIt := rec.Kind == decisionlog.KindRecovered; isIt != (at == 7) || isIt && *rec.Recovered != want {
					t.Errorf("record %d: kind %s, %+v; want %+v at 7", at, rec.Kind, rec.Recovered, want)
				}
				at++
			}
		})
	}
}

func TestACrashBetweenTheRecordOfARestoreAndItsMarkHeals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, 5)
	check(t, f.sequencer.Drain(t.Context()))
	back := f.shelf.copied(restoredAt)
	f.add(t, 5)
	_, err := f.sequencer.Sign(t.Context())
	check(t, err)
	dying := decisionlog.NewSequencer("cobalt", back, stuck{f.marks}, f.signer, slog.New(slog.DiscardHandler))
	if err := dying.Open(t.Context(), f.recorder, restoredAt); err == nil || back.head.Size != 6 {
		t.Fatalf("Open = %v at size %d: the case does not stop where it should", err, back.head.Size)
	}
	check(t, f.over(back).Open(t.Context(), f.recorder, restoredAt))
	if back.head.Size != 6 {
		t.Errorf("the log has %d records, want 6: the restore was recorded twice", back.head.Size)
	}
	// The record speaks for one restore: a copy that nobody declared is found, also when that record is its newest.
	f.shelf, f.sequencer = back, f.over(back)
	undeclared := back.copied(time.Time{})
	f.add(t, 2)
	_, err = f.sequencer.Sign(t.Context())
	check(t, err)
	if err := f.over(undeclared).Open(t.Context(), f.recorder, restoredAt); !errors.Is(err, decisionlog.ErrRolledBack) {
		t.Errorf("an undeclared copy: %v, want ErrRolledBack", err)
	}
}

// stuck marks cannot be moved.
type stuck struct{ decisionlog.Marks }

func (stuck) Swap(context.Context, string, decisionlog.Mark, decisionlog.Mark) error {
	return errors.New("the disk is gone")
}

// flood is a ledger on which entries come faster than they are sequenced.
type flood struct {
	*shelf
	more func()
}

func (l flood) Unsequenced(ctx context.Context, log string, n int) ([]decisionlog.Entry, error) {
	l.more()
	return l.shelf.Unsequenced(ctx, log, n)
}

func TestUnderLoadACheckpointIsSignedAtLeastEveryFewSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		var s *decisionlog.Sequencer
		signed := 0
		s = decisionlog.NewSequencer("cobalt", flood{f.shelf, func() {
			f.add(t, 3)
			s.Wake()
		}}, counted{f.marks, &signed}, f.signer, slog.New(slog.DiscardHandler))
		f.add(t, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.Run(ctx)
		if signed < 4 {
			t.Errorf("ten seconds of load had %d checkpoints", signed)
		}
	})
}

// counted counts signatures.
type counted struct {
	decisionlog.Marks
	signed *int
}

func (c counted) Swap(ctx context.Context, origin string, old, next decisionlog.Mark) error {
	if len(next.Note) > 0 {
		*c.signed++
	}
	return c.Marks.Swap(ctx, origin, old, next)
}

func TestALogThatWasRolledBackIsNotSigned(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, 5)
	_, err := f.sequencer.Sign(t.Context())
	check(t, err)
	for name, change := range map[string]func(*shelf){
		"smaller": func(s *shelf) { s.done = s.done[:3]; s.head, err = decisionlog.Head{}.Append(bytesOf(s.done)...) },
		"of the same size": func(s *shelf) {
			s.done[2].Bytes = []byte("{}")
			s.head, err = decisionlog.Head{}.Append(bytesOf(s.done)...)
		},
		"longer, on others": func(s *shelf) {
			s.done[2].Bytes = []byte("{}")
			s.done = append(s.done, s.done[0])
			s.head, err = decisionlog.Head{}.Append(bytesOf(s.done)...)
		},
	} {
		back := &shelf{done: append([]decisionlog.Entry{}, f.shelf.done...)}
		change(back)
		check(t, err)
		again := f.over(back)
		if _, err := again.Sign(t.Context()); !errors.Is(err, decisionlog.ErrRolledBack) {
			t.Errorf("%s: Sign = %v, want ErrRolledBack", name, err)
		}
	}
}

func bytesOf(entries []decisionlog.Entry) (out [][]byte) {
	for _, e := range entries {
		out = append(out, e.Bytes)
	}
	return out
}

func TestACrashBetweenIntentAndSignatureHeals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(t, 2)
	_, err := f.sequencer.Sign(t.Context())
	check(t, err)
	f.add(t, 1)
	check(t, f.sequencer.Drain(t.Context()))
	mark, err := f.marks.Load(t.Context(), f.signer.Origin())
	check(t, err)
	root, err := f.shelf.head.Root()
	check(t, err)
	check(t, f.marks.Swap(t.Context(), f.signer.Origin(), mark, decisionlog.Mark{Size: 3, Root: root, Intent: true}))
	again := f.over(f.shelf)
	note, err := again.Sign(t.Context())
	check(t, err)
	if cp, err := decisionlog.OpenCheckpoint(note, f.signer.VerifierKey()); err != nil || cp.Size != 3 {
		t.Errorf("checkpoint %+v, %v", cp, err)
	}
}

func TestARecordHidesValuesAndShowsThemOnlyToWhoIsTold(t *testing.T) {
	t.Parallel()
	f := setup(t)
	q := question(t)
	e, err := f.recorder.Decision(q, policy.Decision{Effect: policy.Deny, Input: []byte(`{"peer":"did:web:boreal.example"}`)})
	check(t, err)
	for _, secret := range []string{"boreal", "asset-7", "urn:p"} {
		if bytes.Contains(e.Bytes, []byte(secret)) {
			t.Errorf("the record shows %q: %s", secret, e.Bytes)
		}
	}
	rec, err := decisionlog.ParseRecord(e.Bytes)
	check(t, err)
	shown, err := domain.Disclose(q.ID, "asset", "asset-7")
	check(t, err)
	if !shown.Opens(rec.Asset) {
		t.Error("the true value does not open the commitment")
	}
	shown.Value = `"asset-8"`
	if shown.Opens(rec.Asset) || shown.Opens(rec.Subject) {
		t.Error("another value opens a commitment")
	}
	second, err := f.recorder.Decision(question(t), policy.Decision{Effect: policy.Deny})
	check(t, err)
	other, err := decisionlog.ParseRecord(second.Bytes)
	check(t, err)
	if other.Asset == rec.Asset {
		t.Error("two records of one asset can be linked")
	}
}

func TestARecordThatIsNotCanonicalOrKnownIsRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	e, err := f.recorder.Decision(question(t), policy.Decision{Effect: policy.Allow})
	check(t, err)
	good := string(e.Bytes)
	for name, text := range map[string]string{
		"white space":       strings.Replace(good, ":", ": ", 1),
		"another version":   strings.Replace(good, `"v":1`, `"v":2`, 1),
		"an unknown member": strings.Replace(good, `{`, `{"aa":1,`, 1),
		"an unknown kind":   strings.Replace(good, `"kind":"decision"`, `"kind":"opinion"`, 1),
		"no effect":         strings.Replace(good, `"effect":"allow",`, ``, 1),
		"a half effect":     strings.Replace(good, `"effect":"allow"`, `"effect":"maybe"`, 1),
		"nothing":           "",
	} {
		if text == good {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if _, err := decisionlog.ParseRecord([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	fx := setup(f)
	e, err := fx.recorder.Decision(question(f), policy.Decision{Effect: policy.Allow})
	check(f, err)
	f.Add(e.Bytes)
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decisionlog.ParseRecord(b)
		if err != nil {
			return
		}
		again, err := rec.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q was accepted and prints as %q, %v", b, again, err)
		}
	})
}

func FuzzOpenCheckpoint(f *testing.F) {
	fx := setup(f)
	note, err := fx.signer.SignCheckpoint(3, bytes.Repeat([]byte{1}, 32))
	check(f, err)
	f.Add(note)
	key := fx.signer.VerifierKey()
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := decisionlog.OpenCheckpoint(b, key); err == nil && !bytes.Equal(b, note) {
			t.Fatalf("%q opens", b)
		}
	})
}

func BenchmarkDecisionRecord(b *testing.B) {
	f := setup(b)
	input := []byte(`{"a":"` + strings.Repeat("x", 100) + `","b":[1,2,3,4,5,6,7,8,9,10],"c":{"d":"e","f":"g","h":"i"},"now":1,"peer":{"did":"did:web:boreal.example"}}`)
	q := question(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.recorder.Decision(q, policy.Decision{Effect: policy.Allow, Input: input}); err != nil {
			b.Fatal(err)
		}
	}
}
