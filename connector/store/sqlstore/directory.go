package sqlstore

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

func scanGroup(row scanner) (directory.Group, error) {
	var g directory.Group
	var doc string
	var version, created, updated int64
	if err := row.Scan(&doc, &version, &created, &updated); err != nil {
		return g, err
	}
	err := decode(doc, &g)
	g.Version, g.Created, g.Updated = version, fromMicros(created), fromMicros(updated)
	return g, err
}

// Groups implements directory.Store.
func (s *Store) Groups(ctx context.Context, p participant.ID) ([]directory.Group, error) {
	return gather(ctx, s.query, scanGroup, `SELECT doc, version, created, updated FROM partner_groups WHERE participant = $1 ORDER BY name`, int64(p))
}

// Group implements directory.Store.
func (s *Store) Group(ctx context.Context, p participant.ID, name string) (directory.Group, error) {
	var g directory.Group
	err := s.get(ctx, func(row scanner) (err error) {
		g, err = scanGroup(row)
		return err
	}, `SELECT doc, version, created, updated FROM partner_groups WHERE participant = $1 AND name = $2`, int64(p), name)
	return g, err
}

// PutGroup implements directory.Store.
func (s *Store) PutGroup(ctx context.Context, g directory.Group, e commit.Effects) error {
	const op = "store.PutGroup"
	doc, err := encode(g)
	if err != nil {
		return err
	}
	return s.update(ctx, func(_ context.Context, t *tx) error {
		if g.Version == 0 {
			t.one(errStale(op, g.Name), `INSERT INTO partner_groups (participant, name, version, created, updated, doc) VALUES ($1, $2, 1, $3, $3, $4) ON CONFLICT DO NOTHING`,
				int64(g.Participant), g.Name, micros(g.Updated), doc)
		} else {
			t.one(errStale(op, g.Name), `UPDATE partner_groups SET version = version + 1, updated = $1, doc = $2 WHERE participant = $3 AND name = $4 AND version = $5`,
				micros(g.Updated), doc, int64(g.Participant), g.Name, g.Version)
		}
		return t.effects(g.Participant, e)
	})
}

// DeleteGroup implements directory.Store.
func (s *Store) DeleteGroup(ctx context.Context, p participant.ID, name string, version int64, e commit.Effects) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		t.one(errStale("store.DeleteGroup", name), `DELETE FROM partner_groups WHERE participant = $1 AND name = $2 AND version = $3`, int64(p), name, version)
		return t.effects(p, e)
	})
}

// Numbers implements directory.Store.
func (s *Store) Numbers(ctx context.Context, p participant.ID, r page.Request) (page.Of[directory.Entry], error) {
	all, err := gather(ctx, s.query, func(row scanner) (directory.Entry, error) {
		var e directory.Entry
		var did string
		var updated int64
		err := row.Scan(&e.Number, &did, &updated)
		e.DID, e.Updated = participant.DID(did), fromMicros(updated)
		return e, err
	}, `SELECT bpn, did, updated FROM numbers WHERE participant = $1 AND bpn > $2 ORDER BY bpn LIMIT $3`, int64(p), r.After.ID, r.Size()+1)
	if err != nil || len(all) <= r.Size() {
		return page.Of[directory.Entry]{Items: all}, err
	}
	all = all[:r.Size()]
	return page.Of[directory.Entry]{Items: all, Next: page.Key{ID: all[len(all)-1].Number, Created: time.Time{}}}, nil
}

// PutNumber implements directory.Store.
func (s *Store) PutNumber(ctx context.Context, p participant.ID, entry directory.Entry, e commit.Effects) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		t.exec(`INSERT INTO numbers (participant, bpn, did, updated) VALUES ($1, $2, $3, $4)
			ON CONFLICT (participant, bpn) DO UPDATE SET did = excluded.did, updated = excluded.updated`, int64(p), entry.Number, string(entry.DID), micros(entry.Updated))
		return t.effects(p, e)
	})
}

// DeleteNumber implements directory.Store.
func (s *Store) DeleteNumber(ctx context.Context, p participant.ID, number string, e commit.Effects) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		t.one(errAbsent("store.DeleteNumber", number), `DELETE FROM numbers WHERE participant = $1 AND bpn = $2`, int64(p), number)
		return t.effects(p, e)
	})
}
