package keyring

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
)

// The algorithms of keys.
const (
	ES256   = "ES256"
	Ed25519 = "Ed25519"
	Secret  = "secret" // 32 random bytes
)

// checkpoint is the use of the key of the decision log.
const checkpoint = "checkpoint"

// use is what a key is for.
type use struct {
	name    string
	listed  bool          // in the DID document
	rotates bool          // see docs/adr/0008-keys.md for those that do not
	hold    time.Duration // how long a rotated key is still needed for what it signed or sealed; 0: until somebody revokes it
}

// hold of what proves who calls: peers take tokens that are ten minutes old, and presentations, which are shorter.
const tokenHold = identity.MaxTokenLife + identity.Leeway

// uses is every use, in the order in which keys are drawn and rotated.
var uses = []use{
	{string(identity.UseToken), true, true, tokenHold},
	{string(identity.UseIssue), true, true, tokenHold}, // longer for what lives longer: Signer.Sign is told
	{checkpoint, false, false, 0},
	{string(identity.SecretAccess), false, true, 0}, // HMACs of transfers that may be open for years
	{string(identity.SecretHolder), false, true, tokenHold},
	{string(identity.SecretRest), false, true, 0},   // what it sealed stays in the store as long as its process does
	{string(identity.SecretCursor), false, true, 0}, // page tokens have no end
	{string(identity.SecretLog), false, false, 0},
}

func useOf(name string) (use, bool) {
	for _, u := range uses {
		if u.name == name {
			return u, true
		}
	}
	return use{}, false
}

// Ring is the keys of one hosted participant. It implements identity.Keys and is safe for concurrent use.
type Ring struct {
	slug string
	data []byte // the data key
	rand io.Reader
	keep func(ctx context.Context, slug, id string, until time.Time) error // nil: the keys are kept nowhere
	now  func() time.Time

	change sync.Mutex // held while keys change
	local  participant.Participant
	failed time.Time // when the last step of the schedule failed
	view   atomic.Pointer[view]
}

var _ identity.Keys = (*Ring)(nil)

// view is the keys at one moment, ready for use. It does not change.
type view struct {
	rows       []store.Key
	generation uint64
	public     map[identity.Use][]identity.PublicKey
	signers    map[string]*signer // the active ones, by use
	secrets    map[string][][]byte
}

// Draw draws the keys of a participant. They are kept nowhere; see Keeper.Create for those that are.
func Draw(slug string, rand io.Reader, now func() time.Time) (*Ring, error) {
	r := &Ring{slug: slug, data: make([]byte, keyBytes), rand: rand, now: now}
	if _, err := io.ReadFull(rand, r.data); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var rows []store.Key
	for _, u := range uses {
		row, err := r.draw(u, algorithmOf(u), rows)
		if err != nil {
			return nil, err
		}
		row.State = store.KeyActive
		rows = append(rows, row)
	}
	v, err := r.build(rows, 1)
	if err != nil {
		return nil, err
	}
	r.view.Store(v)
	return r, nil
}

// algorithmOf is what the first key of a use has.
func algorithmOf(u use) string {
	switch {
	case u.name == checkpoint:
		return Ed25519
	case u.listed:
		return ES256
	}
	return Secret
}

// draw draws one more key of the use.
func (r *Ring) draw(u use, algorithm string, rows []store.Key) (store.Key, error) {
	var private any
	var err error
	switch algorithm {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), r.rand)
	case Ed25519:
		_, private, err = ed25519.GenerateKey(r.rand)
	default:
		b := make([]byte, keyBytes)
		_, err = io.ReadFull(r.rand, b)
		private = b
	}
	if err != nil {
		return store.Key{}, fmt.Errorf("keys: %w", err)
	}
	return r.row(u, algorithm, private, rows)
}

// row wraps a key.
func (r *Ring) row(u use, algorithm string, private any, rows []store.Key) (store.Key, error) {
	k := store.Key{Use: u.name, Algorithm: algorithm, Version: 1, Created: r.now().UTC().Truncate(time.Microsecond), Public: []byte{}}
	for _, other := range rows {
		if other.Use == u.name {
			k.Generation = max(k.Generation, other.Generation)
		}
	}
	k.Generation++
	plain, isSecret := private.([]byte)
	name := make([]byte, 9)
	var err error
	if isSecret {
		_, err = io.ReadFull(r.rand, name)
	} else {
		// A key is called by its own bytes: a new key is a new name.
		if k.Public, err = x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public()); err == nil {
			sum := sha256.Sum256(k.Public)
			copy(name, sum[:])
			plain, err = x509.MarshalPKCS8PrivateKey(private)
		}
	}
	if err != nil {
		return k, fmt.Errorf("keys: %w", err)
	}
	k.ID = u.name + "-" + base64.RawURLEncoding.EncodeToString(name)
	k.Wrapped, err = wrap(r.rand, r.data, plain, r.bind(k))
	return k, err
}

// bind is what a wrapped key belongs to.
func (r *Ring) bind(k store.Key) []byte {
	return []byte("sluice/key/v1\x00" + r.slug + "\x00" + k.Use + "\x00" + k.ID)
}

func bindData(slug string) []byte { return []byte("sluice/data-key/v1\x00" + slug) }

// build unwraps the keys. What is not as it must be is an error: no participant goes on with half of its keys.
func (r *Ring) build(rows []store.Key, generation uint64) (*view, error) {
	out := &view{rows: rows, generation: generation, public: map[identity.Use][]identity.PublicKey{}, signers: map[string]*signer{}, secrets: map[string][][]byte{}}
	newest := slices.Clone(rows)
	slices.SortStableFunc(newest, func(a, b store.Key) int {
		if (a.State == store.KeyActive) != (b.State == store.KeyActive) {
			if a.State == store.KeyActive {
				return -1
			}
			return 1
		}
		return int(b.Generation - a.Generation)
	})
	for _, k := range newest {
		u, ok := useOf(k.Use)
		if !ok {
			return nil, fmt.Errorf("keys of %s: key %s is for %q, which this version does not know", r.slug, k.ID, k.Use)
		}
		if err := out.add(r, u, k); err != nil {
			return nil, fmt.Errorf("keys of %s: key %s: %w", r.slug, k.ID, err)
		}
	}
	for _, u := range uses {
		if !slices.ContainsFunc(rows, func(k store.Key) bool { return k.Use == u.name && k.State == store.KeyActive }) {
			return nil, fmt.Errorf("keys of %s: there is no key for %s", r.slug, u.name)
		}
	}
	return out, nil
}

// add takes a key into the view.
func (v *view) add(r *Ring, u use, k store.Key) error {
	if k.State == store.KeyRetired || k.State == store.KeyRevoked {
		return nil
	}
	if k.Algorithm == Secret {
		plain, err := unwrap(r.data, k.Wrapped, r.bind(k))
		if err != nil {
			return err
		}
		if len(plain) != keyBytes {
			return fmt.Errorf("it has %d bytes", len(plain))
		}
		v.secrets[u.name] = append(v.secrets[u.name], plain)
		return nil
	}
	public, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return err
	}
	if u.listed {
		v.public[identity.Use(u.name)] = append(v.public[identity.Use(u.name)], identity.PublicKey{ID: k.ID, Key: public})
	}
	if len(k.Wrapped) == 0 {
		return nil
	}
	plain, err := unwrap(r.data, k.Wrapped, r.bind(k))
	if err != nil {
		return err
	}
	private, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return err
	}
	own, ok := private.(crypto.Signer)
	if same, can := public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !can || !same.Equal(own.Public()) {
		return fmt.Errorf("its halves do not belong together")
	}
	if k.State == store.KeyActive {
		s := &signer{ring: r, public: identity.PublicKey{ID: k.ID, Key: public}, private: own, hold: u.hold}
		s.until.Store(k.Until.UnixMicro())
		v.signers[u.name] = s
	}
	return nil
}

// String hides what is inside.
func (r *Ring) String() string { return "keys of " + r.slug }

// Public implements identity.Keys.
func (r *Ring) Public(use identity.Use) []identity.PublicKey { return r.view.Load().public[use] }

// Generation implements identity.Keys.
func (r *Ring) Generation() uint64 { return r.view.Load().generation }

// Signer implements identity.Keys.
func (r *Ring) Signer(use identity.Use) (identity.Signer, error) {
	s, ok := r.view.Load().signers[string(use)]
	if !ok || use == checkpoint {
		return nil, fault.New("keyring.Signer", fault.Internal, "there is no key for %q", use)
	}
	return s, nil
}

// LogKey implements identity.Keys.
func (r *Ring) LogKey() ed25519.PublicKey {
	key, _ := r.view.Load().signers[checkpoint].public.Key.(ed25519.PublicKey)
	return key
}

// SignLog implements identity.Keys.
func (r *Ring) SignLog(msg []byte) ([]byte, error) {
	return r.view.Load().signers[checkpoint].private.Sign(r.rand, msg, crypto.Hash(0))
}

// Secret implements identity.Keys.
func (r *Ring) Secret(name identity.Secret) ([]byte, error) {
	all, err := r.Secrets(name)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// Secrets implements identity.Keys.
func (r *Ring) Secrets(name identity.Secret) ([][]byte, error) {
	all := r.view.Load().secrets[string(name)]
	if len(all) == 0 {
		return nil, fault.New("keyring.Secrets", fault.Internal, "no secret is called %q", name)
	}
	return all, nil
}

// signer is one key that signs.
type signer struct {
	ring    *Ring
	public  identity.PublicKey
	private crypto.Signer
	hold    time.Duration
	until   atomic.Int64 // what the store knows of it, microseconds
}

// Public implements identity.Signer.
func (s *signer) Public() identity.PublicKey { return s.public }

// day is by how much the end of what a key signs is rounded up, so that not each credential is a write of its own.
const day = 24 * time.Hour

// Sign implements identity.Signer. What outlives the hold of the use is noted before it is signed.
func (s *signer) Sign(ctx context.Context, input []byte, until time.Time) ([]byte, error) {
	if s.ring.keep != nil && until.After(s.ring.now().Add(s.hold)) && until.UnixMicro() > s.until.Load() {
		noted := until.UTC().Truncate(day).Add(day)
		if err := s.ring.keep(ctx, s.ring.slug, s.public.ID, noted); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		s.until.Store(noted.UnixMicro())
	}
	if _, ok := s.public.Key.(ed25519.PublicKey); ok {
		return s.private.Sign(s.ring.rand, input, crypto.Hash(0))
	}
	// ES256: the two numbers side by side.
	sum := sha256.Sum256(input)
	a, b, err := ecdsa.Sign(s.ring.rand, s.private.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	out := make([]byte, 64)
	a.FillBytes(out[:32])
	b.FillBytes(out[32:])
	return out, nil
}
