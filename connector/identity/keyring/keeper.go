package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// Overlap is how long a new key is published before it signs, unless told otherwise: peers keep a document for five minutes, and so may what
// lies between (the document says max-age=300).
const Overlap = 10 * time.Minute

// maxListed bounds the keys of one participant that its DID document lists: peers read 64 KiB of it.
const maxListed = 64

// afterFailure is how long a step of the schedule that failed waits for the next attempt.
const afterFailure = time.Second

// Recorder seals what was done as an entry of the decision log.
type Recorder interface {
	Record(ctx context.Context, a decisionlog.Action) (decisionlog.Entry, error)
}

// Config carries what a Keeper is made of. All fields are required.
type Config struct {
	Store    store.Keys
	Master   Master
	Recorder Recorder
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
	// Changed is told after the keys of a participant changed; with forget when the change took a key out of use before its time, so that
	// nothing that was concluded from the document before may be kept.
	Changed func(p participant.Participant, forget bool)
}

// Keeper keeps the keys of all hosted participants. It is safe for concurrent use.
type Keeper struct {
	cfg  Config
	wake chan struct{} // a due time may have come nearer

	mu    sync.Mutex
	rings map[string]*Ring
}

// NewKeeper returns a Keeper. Run must be running for a rotation to go on by itself.
func NewKeeper(cfg Config) *Keeper {
	return &Keeper{cfg: cfg, wake: make(chan struct{}, 1), rings: map[string]*Ring{}}
}

// FindMaster returns the master key in the file, or draws it there when the store keeps nothing that a master key wrapped.
func FindMaster(ctx context.Context, s store.Keys, disk durable.FS, path string, rand io.Reader) (Master, error) {
	m, err := ReadMaster(disk, path, rand)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	wrapped, err := s.Masters(ctx)
	if err != nil {
		return nil, err
	}
	if len(wrapped) > 0 {
		return nil, fmt.Errorf("master key: %s is not there, and keys in the store were wrapped by %s: bring that file back", path, wrapped[0])
	}
	return CreateMaster(disk, path, rand)
}

// Open returns the keys of a participant: fault.NotFound when it has none.
func (k *Keeper) Open(ctx context.Context, slug string) (*Ring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.rings[slug]; ok {
		return r, nil
	}
	kept, err := k.cfg.Store.Keyring(ctx, slug)
	if err != nil {
		return nil, err
	}
	if kept.Master != k.cfg.Master.ID() {
		return nil, fmt.Errorf("keys of %s: they were wrapped by master key %s, this one is %s", slug, kept.Master, k.cfg.Master.ID())
	}
	r := k.ring(slug)
	if r.data, err = k.cfg.Master.Unwrap(ctx, kept.DataKey, bindData(slug)); err != nil {
		return nil, fmt.Errorf("keys of %s: %w", slug, err)
	}
	v, err := r.build(kept.Keys, 1)
	if err != nil {
		return nil, err
	}
	r.view.Store(v)
	k.rings[slug] = r
	return r, nil
}

func (k *Keeper) ring(slug string) *Ring {
	return &Ring{slug: slug, rand: k.cfg.Rand, now: k.cfg.Now, keep: k.cfg.Store.SignUntil}
}

// Create draws the keys of a participant and keeps them: Conflict when it has some.
func (k *Keeper) Create(ctx context.Context, slug string) (*Ring, error) {
	drawn, err := Draw(slug, k.cfg.Rand, k.cfg.Now)
	if err != nil {
		return nil, err
	}
	return k.adopt(ctx, drawn)
}

// adopt keeps keys that were kept nowhere.
func (k *Keeper) adopt(ctx context.Context, r *Ring) (*Ring, error) {
	wrapped, err := k.cfg.Master.Wrap(ctx, r.data, bindData(r.slug))
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", r.slug, err)
	}
	err = k.cfg.Store.CreateKeyring(ctx, r.slug, store.Keyring{Master: k.cfg.Master.ID(), DataKey: wrapped, Keys: r.view.Load().rows})
	if err != nil {
		return nil, err
	}
	return k.Open(ctx, r.slug)
}

// Host says whose keys they are once the participant is there; only then can they change.
func (k *Keeper) Host(r *Ring, p participant.Participant) {
	r.change.Lock()
	r.local = p
	r.change.Unlock()
	k.tell()
}

// List returns the keys of a participant, by use and generation.
func (k *Keeper) List(ctx context.Context, p participant.Participant) ([]store.Key, error) {
	kept, err := k.cfg.Store.Keyring(ctx, p.Slug)
	return kept.Keys, err
}

// Rotation says what is rotated and how.
type Rotation struct {
	Use       string         // "": every use that can be
	Algorithm string         // of a new signing key; "": that of the key before it
	Overlap   *time.Duration // how long a new key is published before it signs; nil: Overlap
	Actor     string
}

// Rotate begins the rotation of one use or of all: a new signing key is published, and signs once the overlap is over; a new secret seals at
// once. It returns the new keys. Conflict when a rotation of the use is under way.
func (k *Keeper) Rotate(ctx context.Context, p participant.Participant, rot Rotation) ([]store.Key, error) {
	const op = "keyring.Rotate"
	overlap := Overlap
	if rot.Overlap != nil {
		overlap = *rot.Overlap
	}
	var which []use
	for _, u := range uses {
		if u.rotates && (rot.Use == "" || rot.Use == u.name) {
			which = append(which, u)
		}
	}
	switch _, known := useOf(rot.Use); {
	case known && len(which) == 0:
		return nil, fault.New(op, fault.Conflict, "what the decision log is proven with is not rotated")
	case len(which) == 0:
		return nil, fault.New(op, fault.Malformed, "use %q: want one of %v, or none for all", rot.Use, Rotating())
	case overlap < 0 || overlap > 30*day:
		return nil, fault.New(op, fault.Malformed, "overlap: want 0 s to 30 days")
	case !slices.Contains([]string{"", ES256, Ed25519}, rot.Algorithm):
		return nil, fault.New(op, fault.Malformed, "algorithm %q: want %s or %s", rot.Algorithm, ES256, Ed25519)
	}
	var made []string
	r, err := k.change(ctx, p, func(r *Ring, c *changes) error {
		made = made[:0]
		for _, u := range which {
			key, err := r.rotate(u, rot.Algorithm, overlap, c, rot.Actor)
			if err != nil {
				return err
			}
			made = append(made, key.ID)
		}
		if c.listed() > maxListed {
			return fault.New(op, fault.Conflict, "the DID document would list more than %d keys: let some retire, or revoke them", maxListed)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []store.Key
	for _, row := range r.view.Load().rows {
		if slices.Contains(made, row.ID) {
			out = append(out, row)
		}
	}
	return out, nil
}

// Rotating lists the uses whose keys are rotated.
func Rotating() []string {
	var out []string
	for _, u := range uses {
		if u.rotates {
			out = append(out, u.name)
		}
	}
	return out
}

// Revoke takes a key out of use at once, and out of the DID document. One that signed or sealed is followed by its successor, or by a new
// one, in the same commit.
func (k *Keeper) Revoke(ctx context.Context, p participant.Participant, id string, o commit.Order) (store.Key, error) {
	const op = "keyring.Revoke"
	r, err := k.change(ctx, p, func(r *Ring, c *changes) error {
		key, ok := c.find(func(k store.Key) bool { return k.ID == id })
		if !ok {
			return &fault.Error{Op: op, Kind: fault.NotFound, Subject: id}
		}
		u, _ := useOf(key.Use)
		switch {
		case !u.rotates:
			return fault.New(op, fault.Conflict, "what the decision log is proven with is not revoked")
		case key.State == store.KeyRetired || key.State == store.KeyRevoked:
			return fault.New(op, fault.Conflict, "the key is %s", key.State)
		}
		if err := o.On(key.Version); err != nil {
			return err
		}
		was := key.State
		key.State, key.Due, key.Wrapped = store.KeyRevoked, time.Time{}, []byte{}
		c.put(key, o.Actor, map[string]string{"reason": o.Reason})
		c.forget = c.forget || u.listed
		if was != store.KeyActive {
			return nil
		}
		if next, ok := c.find(func(k store.Key) bool { return k.Use == key.Use && k.State == store.KeyCreated }); ok {
			next.State, next.Due = store.KeyActive, time.Time{}
			c.put(next, o.Actor, nil)
			return nil
		}
		_, err := r.rotate(u, "", 0, c, o.Actor)
		return err
	})
	if err != nil {
		return store.Key{}, err
	}
	rows := r.view.Load().rows
	return rows[slices.IndexFunc(rows, func(k store.Key) bool { return k.ID == id })], nil
}

// rotate adds a new key of the use to the changes.
func (r *Ring) rotate(u use, algorithm string, overlap time.Duration, c *changes, actor string) (store.Key, error) {
	if next, ok := c.find(func(k store.Key) bool { return k.Use == u.name && k.State == store.KeyCreated }); ok {
		return next, &fault.Error{Op: "keyring.Rotate", Kind: fault.Conflict, Code: "key.rotating", Subject: next.ID,
			Reason: fmt.Sprintf("key %s will sign from %s on: wait for it, or revoke it", next.ID, next.Due.UTC().Format(time.RFC3339))}
	}
	newest := store.Key{}
	for _, k := range c.rows {
		if k.Use == u.name && k.Generation > newest.Generation {
			newest = k
		}
	}
	if algorithm == "" || !u.listed {
		algorithm = newest.Algorithm
	}
	key, err := r.draw(u, algorithm, c.rows)
	if err != nil {
		return key, err
	}
	if u.listed && overlap > 0 {
		key.State, key.Due = store.KeyCreated, c.now.Add(overlap)
	} else {
		key.State = store.KeyActive
		c.supersede(u, actor)
	}
	c.put(key, actor, nil)
	return key, nil
}

// step takes the steps of the ring that are due.
func (r *Ring) step(c *changes) {
	for _, key := range slices.Clone(c.rows) {
		if key.Due.IsZero() || key.Due.After(c.now) {
			continue
		}
		u, _ := useOf(key.Use)
		switch key.State {
		case store.KeyCreated:
			c.supersede(u, schedule)
			key.State, key.Due = store.KeyActive, time.Time{}
		case store.KeyRotated:
			key.State, key.Due, key.Wrapped = store.KeyRetired, time.Time{}, []byte{}
		default:
			continue
		}
		c.put(key, schedule, nil)
	}
}

// schedule is the actor of what happens because its time has come.
const schedule = "schedule"

// changes are what one commit does to a ring.
type changes struct {
	now     time.Time
	rows    []store.Key // as they will be
	changed []store.Key
	actions []decisionlog.Action
	events  []commit.Event
	forget  bool
}

func (c *changes) find(is func(store.Key) bool) (store.Key, bool) {
	if i := slices.IndexFunc(c.rows, is); i >= 0 {
		return c.rows[i], true
	}
	return store.Key{}, false
}

// Published reports whether the DID document lists the key.
func Published(k store.Key) bool {
	u, _ := useOf(k.Use)
	return u.listed && k.State != store.KeyRetired && k.State != store.KeyRevoked
}

func (c *changes) listed() (n int) {
	for _, k := range c.rows {
		if Published(k) {
			n++
		}
	}
	return n
}

// supersede makes room for another active key of the use. A signing key loses its private half; it is due when all it signed has expired.
func (c *changes) supersede(u use, actor string) {
	old, ok := c.find(func(k store.Key) bool { return k.Use == u.name && k.State == store.KeyActive })
	if !ok {
		return
	}
	old.State = store.KeyRotated
	if u.hold > 0 {
		old.Due = c.now.Add(u.hold)
		if old.Until.After(old.Due) {
			old.Due = old.Until
		}
	}
	if u.listed {
		old.Wrapped = []byte{}
	}
	c.put(old, actor, nil)
}

// put writes a key, with a record and an event. The store wants those that make room first.
func (c *changes) put(k store.Key, actor string, details map[string]string) {
	if i := slices.IndexFunc(c.rows, func(other store.Key) bool { return other.ID == k.ID }); i >= 0 {
		k.Version = c.rows[i].Version + 1
		c.rows[i] = k
	} else {
		c.rows = append(c.rows, k)
	}
	c.changed = append(c.changed, k)
	data := map[string]string{"use": k.Use, "state": k.State, "generation": fmt.Sprint(k.Generation), "algorithm": k.Algorithm}
	if !k.Due.IsZero() {
		data["due"] = k.Due.UTC().Format(time.RFC3339)
	}
	for name, value := range details {
		if value != "" {
			data[name] = value
		}
	}
	by := actor
	if actor == schedule {
		by = ""
	}
	c.actions = append(c.actions, decisionlog.Action{Code: "key." + k.State, Actor: actor, Subject: k.ID, Now: c.now, Details: data})
	c.events = append(c.events, commit.Event{Type: "key." + k.State, Subject: k.ID, Time: c.now, Data: data, Actor: by})
}

// maxTries bounds how often a change is planned anew because the keys were changed elsewhere meanwhile.
const maxTries = 4

// change plans a change over the keys as they are and commits it. Nothing of it is used before it is durable. After any failure the keys are
// read again, because the commit may have been made all the same.
func (k *Keeper) change(ctx context.Context, p participant.Participant, plan func(*Ring, *changes) error) (*Ring, error) {
	r, err := k.Open(ctx, p.Slug)
	if err != nil {
		return nil, err
	}
	r.change.Lock()
	defer r.change.Unlock()
	if r.local.ID == 0 {
		return nil, fault.New("keyring.change", fault.Unavailable, "participant %s is not hosted yet", p.Slug)
	}
	for range maxTries {
		c := &changes{now: k.cfg.Now().UTC().Truncate(time.Microsecond), rows: slices.Clone(r.view.Load().rows)}
		if err = plan(r, c); err != nil {
			return nil, err
		}
		if len(c.changed) == 0 {
			return r, nil
		}
		if err = k.commit(ctx, r, c); err == nil {
			return r, nil
		}
		if again := k.reload(context.WithoutCancel(ctx), r); again != nil || !fault.Is(err, fault.Conflict) {
			return nil, errors.Join(err, again)
		}
	}
	return nil, err
}

func (k *Keeper) commit(ctx context.Context, r *Ring, c *changes) error {
	before := r.view.Load()
	next, err := r.build(c.rows, before.generation+1)
	if err != nil {
		return err
	}
	e := commit.Effects{Events: c.events}
	for _, a := range c.actions {
		a.Log = r.slug
		entry, err := k.cfg.Recorder.Record(ctx, a)
		if err != nil {
			return err
		}
		e.Decisions = append(e.Decisions, entry)
	}
	if err := k.cfg.Store.ChangeKeys(ctx, r.local, c.changed, e); err != nil {
		return err
	}
	k.use(r, next, c.forget)
	for _, key := range c.changed {
		k.cfg.Log.InfoContext(ctx, "key changed", slog.String("participant", r.slug), slog.String("key", key.ID), slog.String("state", key.State))
	}
	return nil
}

func (k *Keeper) use(r *Ring, v *view, forget bool) {
	r.view.Store(v)
	k.cfg.Changed(r.local, forget)
	k.tell()
}

// reload takes over what the store has.
func (k *Keeper) reload(ctx context.Context, r *Ring) error {
	kept, err := k.cfg.Store.Keyring(ctx, r.slug)
	if err != nil {
		return err
	}
	before := r.view.Load()
	next, err := r.build(kept.Keys, before.generation+1)
	if err != nil {
		return err
	}
	revoked := func(rows []store.Key) (n int) {
		for _, key := range rows {
			if key.State == store.KeyRevoked {
				n++
			}
		}
		return n
	}
	if !slices.EqualFunc(before.rows, kept.Keys, func(a, b store.Key) bool {
		return a.ID == b.ID && a.Version == b.Version && bytes.Equal(a.Wrapped, b.Wrapped)
	}) {
		k.use(r, next, revoked(kept.Keys) > revoked(before.rows))
	}
	return nil
}

func (k *Keeper) tell() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run takes each step of a rotation when it is due, until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
			k.steps(ctx)
		}
		if due, ok := k.due(); ok {
			timer.Reset(max(due.Sub(k.cfg.Now()), 0))
		} else {
			timer.Stop()
		}
	}
}

// next is when the next step of the ring is due.
func (r *Ring) next() (due time.Time, ok bool) {
	for _, key := range r.view.Load().rows {
		if !key.Due.IsZero() && (!ok || key.Due.Before(due)) {
			due, ok = key.Due, true
		}
	}
	return due, ok
}

func (k *Keeper) all() []*Ring {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*Ring, 0, len(k.rings))
	for _, r := range k.rings {
		out = append(out, r)
	}
	return out
}

// due is when the next step of any ring is to be tried.
func (k *Keeper) due() (due time.Time, ok bool) {
	for _, r := range k.all() {
		next, there := r.next()
		r.change.Lock()
		hosted, failed := r.local.ID != 0, r.failed
		r.change.Unlock()
		if !there || !hosted {
			continue
		}
		if later := failed.Add(afterFailure); !failed.IsZero() && later.After(next) {
			next = later
		}
		if !ok || next.Before(due) {
			due, ok = next, true
		}
	}
	return due, ok
}

func (k *Keeper) steps(ctx context.Context) {
	now := k.cfg.Now()
	for _, r := range k.all() {
		if due, ok := r.next(); !ok || due.After(now) {
			continue
		}
		r.change.Lock()
		local := r.local
		r.change.Unlock()
		if local.ID == 0 {
			continue
		}
		_, err := k.change(ctx, local, func(r *Ring, c *changes) error { r.step(c); return nil })
		r.change.Lock()
		r.failed = time.Time{}
		if err != nil && ctx.Err() == nil {
			r.failed = k.cfg.Now()
			k.cfg.Log.ErrorContext(ctx, "step of a rotation not taken, will be tried again", slog.String("participant", r.slug), slog.Any("error", err))
		}
		r.change.Unlock()
	}
}
