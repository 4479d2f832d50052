package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
)

// Keyring implements store.Keys.
func (s *Store) Keyring(ctx context.Context, slug string) (store.Keyring, error) {
	var r store.Keyring
	err := s.get(ctx, func(row scanner) error { return row.Scan(&r.Master, &r.DataKey) }, `SELECT master, wrapped FROM data_keys WHERE slug = $1`, slug)
	if err != nil {
		return r, err
	}
	err = s.query(ctx, func(row scanner) error {
		var k store.Key
		var due, until, created int64
		err := row.Scan(&k.ID, &k.Use, &k.Algorithm, &k.Generation, &k.State, &k.Version, &due, &until, &k.Public, &k.Wrapped, &created)
		k.Due, k.Until, k.Created = fromMicros(due), fromMicros(until), fromMicros(created)
		r.Keys = append(r.Keys, k)
		return err
	}, `SELECT id, use, algorithm, generation, state, version, due, until, public, wrapped, created FROM keys WHERE slug = $1 ORDER BY use, generation`, slug)
	return r, err
}

// CreateKeyring implements store.Keys.
func (s *Store) CreateKeyring(ctx context.Context, slug string, r store.Keyring) error {
	if err := participant.ValidSlug(slug); err != nil {
		return fault.New("store.CreateKeyring", fault.Malformed, "%s", err.Error())
	}
	return s.update(ctx, func(_ context.Context, t *tx) error {
		t.exec(`INSERT INTO data_keys (slug, master, wrapped) VALUES ($1, $2, $3)`, slug, r.Master, r.DataKey)
		for _, k := range r.Keys {
			t.key(slug, k)
		}
		return nil
	})
}

// ChangeKeys implements store.Keys.
func (s *Store) ChangeKeys(ctx context.Context, p participant.Participant, keys []store.Key, e commit.Effects) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		for _, k := range keys {
			if k.Version == 1 {
				t.key(p.Slug, k)
				continue
			}
			t.one(errStale("store.ChangeKeys", k.ID), `UPDATE keys SET state = $3, version = $4, due = $5, until = $6, wrapped = $7
				WHERE slug = $1 AND id = $2 AND version = $4 - 1`, p.Slug, k.ID, k.State, k.Version, micros(k.Due), micros(k.Until), some(k.Wrapped))
		}
		return t.effects(p.ID, e)
	})
}

func (t *tx) key(slug string, k store.Key) {
	t.exec(`INSERT INTO keys (slug, id, use, algorithm, generation, state, version, due, until, public, wrapped, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, slug, k.ID, k.Use, k.Algorithm, k.Generation, k.State, k.Version,
		micros(k.Due), micros(k.Until), some(k.Public), some(k.Wrapped), micros(k.Created))
}

// some is bytes that are no NULL when there are none.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// SignUntil implements store.Keys.
func (s *Store) SignUntil(ctx context.Context, slug, id string, until time.Time) error {
	const op = "store.SignUntil"
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		var state string
		var version, have int64
		err := t.row(ctx, []any{&state, &version, &have}, `SELECT state, version, until FROM keys WHERE slug = $1 AND id = $2`, slug, id)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return errAbsent(op, id)
		case err != nil:
			return err
		case state != store.KeyActive && state != store.KeyRotated:
			return &fault.Error{Op: op, Kind: fault.Conflict, Subject: id, Reason: "the key is " + state}
		case have >= micros(until):
			return nil
		}
		t.one(errStale(op, id), `UPDATE keys SET version = version + 1, until = $3, due = CASE WHEN state = 'rotated' AND due < $3 THEN $3 ELSE due END
			WHERE slug = $1 AND id = $2 AND version = $4`, slug, id, micros(until), version)
		return nil
	})
}

// Masters implements store.Keys.
func (s *Store) Masters(ctx context.Context) ([]string, error) {
	var out []string
	err := s.query(ctx, func(row scanner) error {
		var m string
		err := row.Scan(&m)
		out = append(out, m)
		return err
	}, `SELECT DISTINCT master FROM data_keys ORDER BY master`)
	return out, err
}
