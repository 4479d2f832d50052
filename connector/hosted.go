package connector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// hosted knows the participants of this process and their keys. Slugs and DIDs never change, so what was read once is kept.
type hosted struct {
	store  store.Store
	keeper *keyring.Keeper
	dir    string // of the key files of earlier versions
	disk   durable.FS
	now    func() time.Time

	mu     sync.RWMutex
	bySlug map[string]participant.Participant
	byID   map[participant.ID]participant.Participant
	keys   map[participant.ID]identity.Keys
}

func newHosted(s store.Store, keeper *keyring.Keeper, dir string, disk durable.FS, now func() time.Time) *hosted {
	return &hosted{store: s, keeper: keeper, dir: dir, disk: disk, now: now, bySlug: map[string]participant.Participant{},
		byID: map[participant.ID]participant.Participant{}, keys: map[participant.ID]identity.Keys{}}
}

// load reads all participants and opens their keys.
func (h *hosted) load(ctx context.Context) error {
	all, err := h.store.Participants(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		keys, err := h.open(ctx, p.Slug)
		if err != nil {
			return fmt.Errorf("participant %s: %w", p.Slug, err)
		}
		h.add(p, keys)
	}
	return nil
}

// all lists the hosted participants in the order of their ids.
func (h *hosted) all() []participant.Participant {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]participant.Participant, 0, len(h.byID))
	for _, p := range h.byID {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b participant.Participant) int { return int(a.ID - b.ID) })
	return out
}

func (h *hosted) add(p participant.Participant, keys *keyring.Ring) {
	h.mu.Lock()
	h.bySlug[p.Slug], h.byID[p.ID], h.keys[p.ID] = p, p, keys
	h.mu.Unlock()
	h.keeper.Host(keys, p)
}

// open returns the keys that a participant has, in the store or in the file of an earlier version.
func (h *hosted) open(ctx context.Context, slug string) (*keyring.Ring, error) {
	keys, err := h.keeper.Open(ctx, slug)
	if !fault.Is(err, fault.NotFound) {
		return keys, err
	}
	return h.keeper.Import(ctx, h.disk, filepath.Join(h.dir, slug+".json"), slug)
}

// draw returns the keys that a participant has, or will have: they are there before it is.
func (h *hosted) draw(ctx context.Context, slug string) (*keyring.Ring, error) {
	keys, err := h.open(ctx, slug)
	if errors.Is(err, fs.ErrNotExist) {
		return h.keeper.Create(ctx, slug)
	}
	return keys, err
}

// create hosts a participant with its keys.
func (h *hosted) create(ctx context.Context, slug, name, host string, keys *keyring.Ring) (participant.Participant, error) {
	did := identity.FormatDID(host, slug)
	if _, _, err := identity.ParseDID(string(did)); err != nil {
		return participant.Participant{}, fault.New("connector.create", fault.Malformed, "public.host: %s", err.Error())
	}
	p, err := h.store.CreateParticipant(ctx, participant.Participant{Slug: slug, DID: did, Name: name, Created: h.now()})
	if err == nil {
		h.add(p, keys)
	}
	return p, err
}

// Participant finds one by slug.
func (h *hosted) Participant(_ context.Context, slug string) (participant.Participant, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	p, ok := h.bySlug[slug]
	if !ok {
		return p, &fault.Error{Op: "connector.Participant", Kind: fault.NotFound, Subject: slug, Reason: "no such participant is hosted here"}
	}
	return p, nil
}

// ByID finds one by its id.
func (h *hosted) ByID(_ context.Context, id participant.ID) (participant.Participant, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	p, ok := h.byID[id]
	if !ok {
		return p, &fault.Error{Op: "connector.ByID", Kind: fault.NotFound}
	}
	return p, nil
}

// Keys of a hosted participant.
func (h *hosted) Keys(p participant.Participant) (identity.Keys, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	k, ok := h.keys[p.ID]
	if !ok {
		return nil, fmt.Errorf("participant %s has no keys", p.Slug)
	}
	return k, nil
}
