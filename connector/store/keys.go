package store

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
)

// The states of a key, in the order in which it goes through them; it may be revoked in each but the last two.
const (
	KeyCreated = "created" // shown in the DID document, so that it is known when it begins to sign
	KeyActive  = "active"  // signs, or seals
	KeyRotated = "rotated" // signs no more, and its private half is destroyed; what it signed is good still. A secret still opens what it sealed
	KeyRetired = "retired" // what it signed or sealed has expired
	KeyRevoked = "revoked" // not to be believed
)

// Key is a key of a hosted participant, wrapped by the participant's data key.
type Key struct {
	ID         string
	Use        string // what it is for; see package keyring
	Algorithm  string
	Generation int64 // of the use: 1, 2, 3, …
	State      string
	Version    int64
	Due        time.Time // when the next step of its life is due; zero: none is
	Until      time.Time // until when the longest-lived of what it signed is good; zero: nothing that outlives the hold of its use
	Public     []byte    // PKIX; empty for a secret
	Wrapped    []byte    // empty once it is destroyed
	Created    time.Time
}

// Keyring is all keys of one hosted participant.
type Keyring struct {
	Master  string // which master key wrapped the data key
	DataKey []byte // wrapped
	Keys    []Key  // by use and generation
}

// Keys keeps the keys of hosted participants, which it cannot read. They are found by slug, not by the participant's surrogate: they are there
// before the participant is.
type Keys interface {
	// Keyring returns the keys; NotFound when there are none.
	Keyring(ctx context.Context, slug string) (Keyring, error)
	// CreateKeyring keeps the first keys; Conflict when there are some.
	CreateKeyring(ctx context.Context, slug string, r Keyring) error
	// ChangeKeys writes keys with their effects: one of version 1 is new, another takes the place of the version before it. Conflict when that
	// is not the one that is there.
	ChangeKeys(ctx context.Context, p participant.Participant, keys []Key, e commit.Effects) error
	// SignUntil notes that the key signs what is good until then; a rotated key is due no earlier. It must be active or rotated: Conflict otherwise.
	SignUntil(ctx context.Context, slug, id string, until time.Time) error
	// Masters lists which master keys wrapped what is kept. It is about the whole process, as the master key is.
	Masters(ctx context.Context) ([]string, error)
}
