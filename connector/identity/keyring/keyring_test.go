package keyring_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

const did participant.DID = "did:web:aurora.example:aurora"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%v, want %v", err, kind)
	}
}

// recorder seals actions as a connector does.
func recorder(t testing.TB) actions {
	t.Helper()
	r, err := decisionlog.NewRecorder("aurora", "test", decisionlog.Engine{}, "q", decisionlog.Domain{ID: "d", Key: make([]byte, 32)}, rand.Reader)
	check(t, err)
	return actions{r}
}

type actions struct{ *decisionlog.Recorder }

func (a actions) Record(_ context.Context, action decisionlog.Action) (decisionlog.Entry, error) {
	return a.Action(action)
}

func master(t testing.TB) keyring.Master {
	t.Helper()
	text, err := keyring.DrawMaster(rand.Reader)
	check(t, err)
	m, err := keyring.ParseMaster(text, rand.Reader)
	check(t, err)
	return m
}

// company is one participant with its store, its master key, and the process that keeps its keys.
type company struct {
	t      *testing.T
	dir    string
	store  store.Store
	master keyring.Master
	keeper *keyring.Keeper
	local  participant.Participant
	ring   *keyring.Ring

	mu     sync.Mutex
	forgot int // times that what was concluded from the document had to be forgotten
	stop   func()
}

func setup(t *testing.T) *company {
	c := &company{t: t, dir: t.TempDir(), master: master(t)}
	c.start()
	var err error
	c.local, err = c.store.CreateParticipant(t.Context(), participant.Participant{Slug: "aurora", DID: did, Name: "Aurora Motors", Created: time.Now()})
	check(t, err)
	c.ring, err = c.keeper.Create(t.Context(), "aurora")
	check(t, err)
	c.keeper.Host(c.ring, c.local)
	t.Cleanup(func() { c.end() })
	return c
}

// start begins a process over what is in the directory.
func (c *company) start() {
	var err error
	c.store, err = embedded.Open(context.Background(), embedded.Options{Dir: c.dir, Rand: rand.Reader})
	check(c.t, err)
	c.keeper = c.newKeeper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.keeper.Run(ctx) })
	c.stop = func() { cancel(); running.Wait() }
}

func (c *company) newKeeper() *keyring.Keeper {
	return keyring.NewKeeper(keyring.Config{Store: c.store, Master: c.master, Recorder: recorder(c.t), Now: time.Now, Rand: rand.Reader,
		Log: slog.New(slog.DiscardHandler), Changed: func(_ participant.Participant, forget bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if forget {
				c.forgot++
			}
		}})
}

func (c *company) end() {
	c.stop()
	_ = c.store.Close()
}

// restart ends the process, lets time pass, and begins another.
func (c *company) restart(pause time.Duration) {
	c.t.Helper()
	c.end()
	time.Sleep(pause)
	c.start()
	var err error
	c.ring, err = c.keeper.Open(context.Background(), "aurora")
	check(c.t, err)
	c.keeper.Host(c.ring, c.local)
}

// states are the states of the keys of a use as the store has them, the oldest first.
func (c *company) states(use string) string {
	c.t.Helper()
	all, err := c.keeper.List(context.Background(), c.local)
	check(c.t, err)
	var out []string
	for _, k := range all {
		if k.Use == use {
			out = append(out, k.State)
		}
	}
	return strings.Join(out, " ")
}

// wants checks the states of a use, and that the process shows what is published, and nothing else.
func (c *company) wants(use, want string) {
	c.t.Helper()
	synctest.Wait()
	if got := c.states(use); got != want {
		c.t.Errorf("keys for %s are %q, want %q", use, got, want)
	}
	all, err := c.keeper.List(context.Background(), c.local)
	check(c.t, err)
	var kept, shown []string
	for _, k := range all {
		if keyring.Published(k) {
			kept = append(kept, k.ID)
		}
	}
	for _, use := range []identity.Use{identity.UseToken, identity.UseIssue} {
		for _, k := range c.ring.Public(use) {
			shown = append(shown, k.ID)
		}
	}
	slices.Sort(kept)
	slices.Sort(shown)
	if diff := cmp.Diff(kept, shown); diff != "" {
		c.t.Errorf("published (-in the store +by the process):\n%s", diff)
	}
}

func (c *company) rotate(use string) {
	c.t.Helper()
	_, err := c.keeper.Rotate(context.Background(), c.local, keyring.Rotation{Use: use, Actor: "operator"})
	check(c.t, err)
}

// verifier is a peer that knows the document as it is at the moment.
func (c *company) document() *identity.Document {
	c.t.Helper()
	text, err := identity.NewDocument(did, c.ring, []identity.Service{{ID: string(did) + "#cs", Type: "CredentialService", Endpoint: "https://aurora.example/dcp"}})
	check(c.t, err)
	d, err := identity.ParseDocument(did, text)
	check(c.t, err)
	return d
}

// signed signs something that is good for the time.
func (c *company) signed(use identity.Use, life time.Duration) string {
	c.t.Helper()
	token, err := identity.SignJWT(context.Background(), string(did), c.ring, use, "JWT", map[string]string{"a": "b"}, time.Now().Add(life))
	check(c.t, err)
	return token
}

func verify(d *identity.Document, token string, r identity.Relationship) error {
	header, _, err := identity.ParseJWT(token, len(token))
	if err != nil {
		return err
	}
	key, err := d.Key(header.KeyID, r)
	if err != nil {
		return err
	}
	return identity.Verify(token, key)
}

func TestARotationPublishesThenSignsAndLetsTheOldKeyGoWhenWhatItSignedHasExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		before := c.document()
		old := c.signed(identity.UseToken, identity.TokenLife)
		c.rotate("token")
		c.wants("token", "active created")
		published := c.document() // what a peer fetches before the new key signs
		time.Sleep(keyring.Overlap - time.Millisecond)
		if err := verify(before, c.signed(identity.UseToken, identity.TokenLife), identity.CapabilityInvocation); err != nil {
			t.Errorf("the old key signs no more, a millisecond before the overlap ends: %v", err)
		}
		time.Sleep(time.Millisecond)
		c.wants("token", "rotated active")
		fresh := c.signed(identity.UseToken, identity.TokenLife)
		if err := verify(published, fresh, identity.CapabilityInvocation); err != nil {
			t.Errorf("who keeps the document since the rotation does not know the new key: %v", err)
		}
		if err := verify(before, fresh, identity.CapabilityInvocation); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the new key was known before it was drawn: %v", err)
		}
		if err := verify(c.document(), old, identity.CapabilityInvocation); err != nil {
			t.Errorf("what the old key signed: %v", err)
		}
		all, err := c.keeper.List(t.Context(), c.local)
		check(t, err)
		for _, k := range all {
			if k.Use == "token" && k.State == store.KeyRotated && len(k.Wrapped) != 0 {
				t.Error("the private half of the rotated key is there still")
			}
		}
		time.Sleep(identity.MaxTokenLife + identity.Leeway - time.Millisecond)
		c.wants("token", "rotated active")
		time.Sleep(time.Millisecond)
		c.wants("token", "retired active")
		if err := verify(c.document(), old, identity.CapabilityInvocation); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the retired key is in the document still: %v", err)
		}
		if c.forgot != 0 {
			t.Error("a rotation made peers forget")
		}
	})
}

func TestTheKeyOfAnIssuerStaysUntilItsLastCredentialHasExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		credential := c.signed(identity.UseIssue, 90*24*time.Hour)
		c.signed(identity.UseIssue, time.Hour)
		c.rotate("issue")
		time.Sleep(keyring.Overlap / 2)
		c.signed(identity.UseIssue, 91*24*time.Hour) // by the old key still, while the new one is only published
		time.Sleep(keyring.Overlap)
		c.wants("issue", "rotated active")
		time.Sleep(90*24*time.Hour + keyring.Overlap)
		c.wants("issue", "rotated active")
		if err := verify(c.document(), credential, identity.AssertionMethod); err != nil {
			t.Errorf("a credential on the day on which it expires: %v", err)
		}
		time.Sleep(2 * 24 * time.Hour)
		c.wants("issue", "retired active")
	})
}

func TestWhoHoldsASignerMayFinishSigningWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		signer, err := c.ring.Signer(identity.UseIssue)
		check(t, err)
		c.rotate("issue")
		time.Sleep(keyring.Overlap)
		c.wants("issue", "rotated active")
		// A credential that was under way when the key was rotated: it keeps the key published for as long as it is good.
		_, err = signer.Sign(t.Context(), []byte("input"), time.Now().Add(30*24*time.Hour))
		check(t, err)
		time.Sleep(29 * 24 * time.Hour)
		c.wants("issue", "rotated active")
		_, err = c.keeper.Revoke(t.Context(), c.local, signer.Public().ID, commit.Order{Actor: "operator"})
		check(t, err)
		if _, err = signer.Sign(t.Context(), []byte("input"), time.Now().Add(60*24*time.Hour)); !fault.Is(err, fault.Conflict) {
			t.Errorf("a revoked key signed a credential: %v", err)
		}
	})
}

func TestARevokedKeyIsGoneAtOnceAndItsSuccessorSigns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		stolen := c.signed(identity.UseToken, identity.TokenLife)
		id := c.ring.Public(identity.UseToken)[0].ID
		_, err := c.keeper.Revoke(t.Context(), c.local, id, commit.Order{Actor: "operator", Version: 7})
		wantKind(t, err, fault.Conflict)
		_, err = c.keeper.Revoke(t.Context(), c.local, id, commit.Order{Actor: "operator", Reason: "stolen", Version: 1})
		check(t, err)
		c.wants("token", "revoked active")
		if err := verify(c.document(), stolen, identity.CapabilityInvocation); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the revoked key is in the document: %v", err)
		}
		if err := verify(c.document(), c.signed(identity.UseToken, identity.TokenLife), identity.CapabilityInvocation); err != nil {
			t.Errorf("the key in its place: %v", err)
		}
		if c.forgot != 1 {
			t.Errorf("peers were made to forget %d times, want once", c.forgot)
		}
		_, err = c.keeper.Revoke(t.Context(), c.local, id, commit.Order{Actor: "operator"})
		wantKind(t, err, fault.Conflict)
		_, err = c.keeper.Revoke(t.Context(), c.local, "nothing", commit.Order{Actor: "operator"})
		wantKind(t, err, fault.NotFound)

		// One whose successor is published already is followed by that one.
		c.rotate("token")
		next := c.ring.Public(identity.UseToken)[1].ID
		_, err = c.keeper.Revoke(t.Context(), c.local, c.ring.Public(identity.UseToken)[0].ID, commit.Order{Actor: "operator"})
		check(t, err)
		c.wants("token", "revoked revoked active")
		if got := c.ring.Public(identity.UseToken); len(got) != 1 || got[0].ID != next {
			t.Errorf("published %v, want %s", got, next)
		}
		// And a successor that was revoked never signs.
		c.rotate("token")
		_, err = c.keeper.Revoke(t.Context(), c.local, c.ring.Public(identity.UseToken)[1].ID, commit.Order{Actor: "operator"})
		check(t, err)
		time.Sleep(24 * time.Hour)
		c.wants("token", "revoked revoked active revoked")
	})
}

func TestEveryStepIsARecordAndAnEventOfItsCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		c.rotate("token")
		time.Sleep(time.Hour)
		synctest.Wait()
		_, err := c.keeper.Revoke(t.Context(), c.local, c.ring.Public(identity.UseToken)[0].ID, commit.Order{Actor: "operator", Reason: "stolen"})
		check(t, err)
		events, err := c.store.EventsSince(t.Context(), c.local.ID, 0, 100)
		check(t, err)
		var told []string
		for _, e := range events {
			told = append(told, e.Type+" by "+e.Actor+" "+e.Data["use"]+" "+e.Data["generation"])
		}
		want := []string{"key.created by operator token 2", "key.rotated by  token 1", "key.active by  token 2", "key.retired by  token 1",
			"key.revoked by operator token 2", "key.active by operator token 3"}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		entries, err := c.store.Unsequenced(t.Context(), "aurora", 100)
		check(t, err)
		var recorded []string
		for _, e := range entries {
			var r decisionlog.Record
			check(t, json.Unmarshal(e.Bytes, &r))
			recorded = append(recorded, r.Action.Code)
		}
		if diff := cmp.Diff([]string{"key.created", "key.rotated", "key.active", "key.retired", "key.revoked", "key.active"}, recorded); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	})
}

func TestWhatASecretSealedOpensAfterRotationsUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		v := identity.Vault{Keys: func(participant.Participant) (identity.Keys, error) { return c.ring, nil }, Rand: rand.Reader}
		sealed, err := v.Seal(c.local, []byte("of the first"))
		check(t, err)
		c.rotate("rest")
		c.rotate("rest")
		c.wants("rest", "rotated rotated active")
		later, err := v.Seal(c.local, []byte("of the third"))
		check(t, err)
		c.restart(365 * 24 * time.Hour)
		for sealed, want := range map[string]string{string(sealed): "of the first", string(later): "of the third"} {
			if got, err := v.Open(c.local, []byte(sealed)); err != nil || string(got) != want {
				t.Errorf("opened %q, %v; want %q", got, err, want)
			}
		}
		all, err := c.keeper.List(t.Context(), c.local)
		check(t, err)
		first := all[slices.IndexFunc(all, func(k store.Key) bool { return k.Use == "rest" })].ID
		_, err = c.keeper.Revoke(t.Context(), c.local, first, commit.Order{Actor: "operator"})
		check(t, err)
		if _, err := v.Open(c.local, sealed); err == nil {
			t.Error("what a revoked secret sealed was opened")
		}
		// One that makes tokens of minutes is kept for minutes.
		c.rotate("holder")
		c.wants("holder", "rotated active")
		if secrets, err := c.ring.Secrets(identity.SecretHolder); err != nil || len(secrets) != 2 {
			t.Errorf("%d secrets open, %v", len(secrets), err)
		}
		time.Sleep(identity.MaxTokenLife + identity.Leeway)
		c.wants("holder", "retired active")
	})
}

func TestAProcessThatEndsInTheMiddleOfARotationGoesOnWithIt(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"before the key signs": time.Minute, "when it should sign": time.Hour, "when it should be over": 48 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := setup(t)
				c.rotate("")
				c.restart(pause)
				time.Sleep(48 * time.Hour)
				c.wants("token", "retired active")
				c.wants("issue", "retired active")
				c.wants("rest", "rotated active")
				if err := verify(c.document(), c.signed(identity.UseToken, time.Minute), identity.CapabilityInvocation); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTwoProcessesOverOneStoreChangeKeysInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		other := c.newKeeper()
		ring, err := other.Open(t.Context(), "aurora")
		check(t, err)
		other.Host(ring, c.local)
		c.rotate("token")
		// The other does not know of it, is told by the store, and refuses as if it had known.
		_, err = other.Rotate(t.Context(), c.local, keyring.Rotation{Use: "token", Actor: "other"})
		wantKind(t, err, fault.Conflict)
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != "key.rotating" {
			t.Errorf("%v", err)
		}
		_, err = other.Rotate(t.Context(), c.local, keyring.Rotation{Use: "issue", Actor: "other"})
		check(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := c.states("token"); got != "retired active" {
			t.Errorf("the rotation that was begun first: %q", got)
		}
	})
}

func TestWhatCannotBeRotatedIsSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		negative, long := -time.Second, 31*24*time.Hour
		for name, tt := range map[string]struct {
			r    keyring.Rotation
			want fault.Kind
		}{
			"the key of the log":        {keyring.Rotation{Use: "checkpoint"}, fault.Conflict},
			"the secret of the log":     {keyring.Rotation{Use: "log"}, fault.Conflict},
			"a use that there is not":   {keyring.Rotation{Use: "tokens"}, fault.Malformed},
			"an algorithm of somewhere": {keyring.Rotation{Use: "token", Algorithm: "RS256"}, fault.Malformed},
			"an overlap in the past":    {keyring.Rotation{Use: "token", Overlap: &negative}, fault.Malformed},
			"an overlap without end":    {keyring.Rotation{Use: "token", Overlap: &long}, fault.Malformed},
		} {
			if _, err := c.keeper.Rotate(t.Context(), c.local, tt.r); !fault.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
		}
		all, err := c.keeper.List(t.Context(), c.local)
		check(t, err)
		for _, k := range all {
			if k.Use == "checkpoint" || k.Use == "log" {
				_, err := c.keeper.Revoke(t.Context(), c.local, k.ID, commit.Order{Actor: "operator"})
				wantKind(t, err, fault.Conflict)
			}
		}
		// A document that peers would not read is not made.
		none := time.Duration(0)
		c.signed(identity.UseIssue, 365*24*time.Hour)
		for i := range 100 {
			_, err = c.keeper.Rotate(t.Context(), c.local, keyring.Rotation{Use: "issue", Overlap: &none})
			if err != nil {
				if i < 50 || !fault.Is(err, fault.Conflict) {
					t.Errorf("rotation %d: %v", i, err)
				}
				break
			}
			c.signed(identity.UseIssue, 365*24*time.Hour)
		}
		if err == nil {
			t.Error("a hundred keys were listed")
		}
		text, err := identity.NewDocument(did, c.ring, []identity.Service{{ID: string(did) + "#cs", Type: "CredentialService", Endpoint: "https://aurora.example/dcp"}})
		if err != nil || len(text) > identity.MaxDocument {
			t.Errorf("the document has %d bytes, %v", len(text), err)
		}
	})
}

func TestEd25519SignsAndIsVerified(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		none := time.Duration(0)
		made, err := c.keeper.Rotate(t.Context(), c.local, keyring.Rotation{Use: "token", Algorithm: keyring.Ed25519, Overlap: &none})
		check(t, err)
		if len(made) != 1 || made[0].Algorithm != keyring.Ed25519 || made[0].State != store.KeyActive {
			t.Fatalf("made %+v", made)
		}
		token := c.signed(identity.UseToken, time.Minute)
		if err := verify(c.document(), token, identity.CapabilityInvocation); err != nil {
			t.Error(err)
		}
		changed := strings.Replace(token, ".", ".e", 1)
		if err := verify(c.document(), changed, identity.CapabilityInvocation); err == nil {
			t.Error("a changed token was verified")
		}
		c.restart(0)
		if err := verify(c.document(), c.signed(identity.UseToken, time.Minute), identity.CapabilityInvocation); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		// The next one is of the same kind.
		made, err = c.keeper.Rotate(t.Context(), c.local, keyring.Rotation{Use: "token"})
		check(t, err)
		if made[0].Algorithm != keyring.Ed25519 {
			t.Errorf("the next is %s", made[0].Algorithm)
		}
	})
}

// copied is the keys of aurora in another store, changed on the way.
func copied(t *testing.T, from store.Keyring, slug string, m keyring.Master, change func(*store.Keyring)) error {
	t.Helper()
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	defer s.Close()
	from.Keys = slices.Clone(from.Keys)
	for i := range from.Keys {
		from.Keys[i].Version = 1
	}
	change(&from)
	check(t, s.CreateKeyring(t.Context(), slug, from))
	_, err = keyring.NewKeeper(keyring.Config{Store: s, Master: m, Now: time.Now, Rand: rand.Reader}).Open(t.Context(), slug)
	return err
}

func TestAWrappedKeyOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t)
		kept, err := c.store.Keyring(t.Context(), "aurora")
		check(t, err)
		at := func(r *store.Keyring, use string) *store.Key {
			return &r.Keys[slices.IndexFunc(r.Keys, func(k store.Key) bool { return k.Use == use })]
		}
		strange := master(t)
		for name, tt := range map[string]struct {
			slug   string
			master keyring.Master
			change func(*store.Keyring)
			ok     bool
		}{
			"as it was":                 {"aurora", c.master, func(*store.Keyring) {}, true},
			"of another participant":    {"boreal", c.master, func(*store.Keyring) {}, false},
			"with another master key":   {"aurora", strange, func(*store.Keyring) {}, false},
			"with another of that name": {"aurora", strange, func(r *store.Keyring) { r.Master = strange.ID() }, false},
			"in the place of another use": {"aurora", c.master, func(r *store.Keyring) {
				a, b := at(r, "rest"), at(r, "cursor")
				a.Wrapped, b.Wrapped = b.Wrapped, a.Wrapped
			}, false},
			"under another name":  {"aurora", c.master, func(r *store.Keyring) { at(r, "rest").ID = "rest-x" }, false},
			"with another public": {"aurora", c.master, func(r *store.Keyring) { at(r, "token").Public = at(r, "issue").Public }, false},
			"with a bit changed":  {"aurora", c.master, func(r *store.Keyring) { w := slices.Clone(at(r, "log").Wrapped); w[20] ^= 1; at(r, "log").Wrapped = w }, false},
			"cut":                 {"aurora", c.master, func(r *store.Keyring) { at(r, "log").Wrapped = []byte{1} }, false},
			"without a data key":  {"aurora", c.master, func(r *store.Keyring) { r.DataKey = []byte{} }, false},
			"without the key of the log": {"aurora", c.master, func(r *store.Keyring) {
				r.Keys = slices.DeleteFunc(r.Keys, func(k store.Key) bool { return k.Use == "checkpoint" })
			}, false},
			"for a use of a later version": {"aurora", c.master, func(r *store.Keyring) {
				k := *at(r, "rest")
				k.ID, k.Use = "x", "x"
				r.Keys = append(r.Keys, k)
			}, false},
		} {
			if err := copied(t, kept, tt.slug, tt.master, tt.change); (err == nil) != tt.ok {
				t.Errorf("a key %s: %v", name, err)
			}
		}
	})
}

// earlier is the key file of an earlier version.
func earlier(t *testing.T, path string) (secrets [][]byte, kid string, log ed25519.PublicKey) {
	t.Helper()
	encode := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		check(t, err)
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			b, err := k.Bytes()
			check(t, err)
			secrets = append(secrets, b)
		case ed25519.PrivateKey:
			secrets = append(secrets, k.Seed())
		}
		return base64.StdEncoding.EncodeToString(der)
	}
	token, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	issue, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	log, private, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	file := map[string]any{"version": 1, "token": encode(token), "issue": encode(issue), "log": encode(private)}
	named := map[string]string{}
	for _, name := range []string{"access", "holder", "rest", "log", "cursor"} {
		b := make([]byte, 32)
		_, _ = rand.Read(b)
		secrets = append(secrets, b)
		named[name] = base64.StdEncoding.EncodeToString(b)
	}
	file["secrets"] = named
	text, err := json.Marshal(file)
	check(t, err)
	check(t, os.WriteFile(path, text, 0o600))
	public, err := x509.MarshalPKIXPublicKey(&token.PublicKey)
	check(t, err)
	return secrets, base64.StdEncoding.EncodeToString(public), log
}

func TestKeysOfAnEarlierVersionAreTakenOverOnceAndNoneIsReadableInTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "boreal.json")
	secrets, token, log := earlier(t, path)
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader})
	check(t, err)
	keeper := func(m keyring.Master) *keyring.Keeper {
		return keyring.NewKeeper(keyring.Config{Store: s, Master: m, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	}
	m := master(t)
	ring, err := keeper(m).Import(t.Context(), durable.OS{}, path, "boreal")
	check(t, err)
	public, err := x509.MarshalPKIXPublicKey(ring.Public(identity.UseToken)[0].Key)
	check(t, err)
	if base64.StdEncoding.EncodeToString(public) != token || !log.Equal(ring.LogKey()) {
		t.Error("other keys came back")
	}
	if rest, err := ring.Secret(identity.SecretRest); err != nil || !slices.ContainsFunc(secrets, func(b []byte) bool { return bytes.Equal(b, rest) }) {
		t.Errorf("another secret came back: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there still: %v", err)
	}
	if _, err := os.Stat(path + keyring.Imported); err != nil {
		t.Errorf("the file was not put aside: %v", err)
	}
	// A process that died before the file was put aside comes again.
	check(t, os.Rename(path+keyring.Imported, path))
	_, err = keeper(m).Import(t.Context(), durable.OS{}, path, "boreal")
	check(t, err)
	if _, err := keeper(m).Import(t.Context(), durable.OS{}, path, "boreal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	var backup bytes.Buffer
	check(t, s.Backup(t.Context(), &backup))
	check(t, s.Close())
	for _, file := range []string{"sluice.db", "sluice.db-wal"} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			backup.Write(text)
		}
	}
	for i, secret := range secrets {
		if bytes.Contains(backup.Bytes(), secret) || bytes.Contains(backup.Bytes(), []byte(base64.StdEncoding.EncodeToString(secret))) {
			t.Errorf("secret %d is readable in the store or in its backup", i)
		}
	}
}

func TestAKeyFileThatIsNotOneIsNotTakenOver(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"open to others": func(t *testing.T, path string) { check(t, os.Chmod(path, 0o640)) },
		"of a later version": func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			check(t, err)
			check(t, os.WriteFile(path, bytes.Replace(text, []byte(`"version":1`), []byte(`"version":2`), 1), 0o600))
		},
		"with a secret too short": func(t *testing.T, path string) {
			var f map[string]any
			text, err := os.ReadFile(path)
			check(t, err)
			check(t, json.Unmarshal(text, &f))
			f["secrets"].(map[string]any)["rest"] = "AAAA"
			text, err = json.Marshal(f)
			check(t, err)
			check(t, os.WriteFile(path, text, 0o600))
		},
		"with keys in each other's place": func(t *testing.T, path string) {
			var f map[string]any
			text, err := os.ReadFile(path)
			check(t, err)
			check(t, json.Unmarshal(text, &f))
			f["token"], f["log"] = f["log"], f["token"]
			text, err = json.Marshal(f)
			check(t, err)
			check(t, os.WriteFile(path, text, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "boreal.json")
			earlier(t, path)
			spoil(t, path)
			s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader})
			check(t, err)
			defer s.Close()
			k := keyring.NewKeeper(keyring.Config{Store: s, Master: master(t), Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler)})
			if _, err := k.Import(t.Context(), durable.OS{}, path, "boreal"); err == nil {
				t.Error("it was taken over")
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the file was put aside: %v", err)
			}
		})
	}
}

// strangers is a disk on which everybody may read everything, whatever the operating system's says.
type strangers struct{ durable.OS }

func (strangers) Mode(string) (fs.FileMode, error) { return 0o644, nil }

func TestAMasterKeyIsDrawnOnlyWhenNothingNeedsAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader})
	check(t, err)
	defer s.Close()
	path := filepath.Join(dir, "master.key")
	find := func() (keyring.Master, error) {
		return keyring.FindMaster(t.Context(), s, durable.OS{}, path, rand.Reader)
	}
	first, err := find()
	check(t, err)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := keyring.ReadMaster(strangers{}, path, rand.Reader); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("on a disk where others can read it: %v", err)
	}
	again, err := find()
	check(t, err)
	if first.ID() != again.ID() {
		t.Errorf("%s, then %s", first.ID(), again.ID())
	}
	_, err = keyring.NewKeeper(keyring.Config{Store: s, Master: first, Now: time.Now, Rand: rand.Reader}).Create(t.Context(), "boreal")
	check(t, err)
	check(t, os.Chmod(path, 0o644))
	if _, err := find(); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("one that others can read: %v", err)
	}
	check(t, os.Remove(path))
	if _, err := find(); err == nil || !strings.Contains(err.Error(), first.ID()) {
		t.Errorf("one that is lost: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("another was drawn in its place")
	}
	for _, text := range []string{"", "sluice-master-1:", "sluice-master-1:AAAA", "sluice-master-2:" + base64.StdEncoding.EncodeToString(make([]byte, 32)), base64.StdEncoding.EncodeToString(make([]byte, 32))} {
		if _, err := keyring.ParseMaster(text, rand.Reader); err == nil {
			t.Errorf("%q was taken for a master key", text)
		}
	}
}
