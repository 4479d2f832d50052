package sqlstore

import (
	"context"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/trust"
)

// AdoptProfile implements store.Participants.
func (s *Store) AdoptProfile(ctx context.Context, profile string) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		t.exec(`UPDATE participants SET profile = $1 WHERE profile = ''`, profile)
		return nil
	})
}

// Trusted implements store.Trust.
func (s *Store) Trusted(ctx context.Context, p participant.ID) (trust.Recorded, error) {
	var r trust.Recorded
	err := s.get(ctx, func(row scanner) error { return scanDoc(row, &r) }, `SELECT doc FROM trusted WHERE participant = $1`, int64(p))
	return r, err
}

// PutTrusted implements store.Trust.
func (s *Store) PutTrusted(ctx context.Context, p participant.ID, before string, r trust.Recorded, e commit.Effects) error {
	const op = "store.PutTrusted"
	doc, err := encode(r)
	if err != nil {
		return err
	}
	return s.update(ctx, func(_ context.Context, t *tx) error {
		if before == "" {
			t.one(errStale(op, r.Profile), `INSERT INTO trusted (participant, digest, doc) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, int64(p), r.Digest, doc)
		} else {
			t.one(errStale(op, r.Profile), `UPDATE trusted SET digest = $1, doc = $2 WHERE participant = $3 AND digest = $4`, r.Digest, doc, int64(p), before)
		}
		return t.effects(p, e)
	})
}

func scanDoc[T any](row scanner, v *T) error {
	var doc string
	if err := row.Scan(&doc); err != nil {
		return err
	}
	return decode(doc, v)
}
