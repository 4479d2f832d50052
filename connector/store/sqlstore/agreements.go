package sqlstore

import (
	"context"
	"database/sql"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

func (t *tx) agreement(a agreement.Agreement) error {
	a.Retired = nil
	doc, err := encode(a)
	if err != nil {
		return err
	}
	t.exec(`INSERT INTO agreements (participant, id, negotiation, role, peer, asset, digest, created, doc)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, int64(a.Participant), a.ID, a.Negotiation, a.Role, string(a.Peer()), a.Asset,
		a.Digest, micros(a.Created), doc)
	return nil
}

const agreementColumns = `doc, (SELECT r.doc FROM retirements r WHERE r.participant = agreements.participant AND r.agreement = agreements.id)`

func scanAgreement(row scanner) (agreement.Agreement, error) {
	var a agreement.Agreement
	var doc string
	var retired sql.NullString
	if err := row.Scan(&doc, &retired); err != nil {
		return a, err
	}
	if err := decode(doc, &a); err != nil || !retired.Valid {
		return a, err
	}
	a.Retired = &agreement.Retirement{}
	return a, decode(retired.String, a.Retired)
}

func (s *Store) agreements(ctx context.Context, query string, args ...any) ([]agreement.Agreement, error) {
	var out []agreement.Agreement
	err := s.query(ctx, func(row scanner) error {
		a, err := scanAgreement(row)
		out = append(out, a)
		return err
	}, query, args...)
	return out, err
}

// Agreement implements store.Agreements.
func (s *Store) Agreement(ctx context.Context, p participant.ID, id string) (agreement.Agreement, error) {
	var a agreement.Agreement
	err := s.get(ctx, func(row scanner) (err error) {
		a, err = scanAgreement(row)
		return err
	}, `SELECT `+agreementColumns+` FROM agreements WHERE participant = $1 AND id = $2`, int64(p), id)
	return a, err
}

// Agreements implements store.Agreements.
func (s *Store) Agreements(ctx context.Context, p participant.ID, peer participant.DID, r page.Request) (page.Of[agreement.Agreement], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	l.andIf(peer != "", "peer = ?", string(peer))
	items, err := s.agreements(ctx, l.paged(agreementColumns, "agreements", r), l.args...)
	return cut(items, r, func(a agreement.Agreement) page.Key { return page.Key{Created: a.Created, ID: a.ID} }), err
}

// AgreementsForAsset implements store.Agreements: those in force, newest first.
func (s *Store) AgreementsForAsset(ctx context.Context, p participant.ID, peer participant.DID, asset string) ([]agreement.Agreement, error) {
	return s.agreements(ctx, `SELECT `+agreementColumns+` FROM agreements WHERE participant = $1 AND peer = $2 AND asset = $3
		AND NOT EXISTS (SELECT 1 FROM retirements r WHERE r.participant = agreements.participant AND r.agreement = agreements.id)
		ORDER BY created DESC, id DESC LIMIT 100`, int64(p), string(peer), asset)
}

// Finalized implements store.Agreements. A provider that was sent the verification owes only the finalization: a transfer request is the
// consumer's proof that it arrived, although its acknowledgement is still on the way.
func (s *Store) Finalized(ctx context.Context, p participant.ID, id string) (bool, error) {
	var n int
	err := s.get(ctx, func(row scanner) error { return row.Scan(&n) }, `SELECT COUNT(*) FROM agreements a JOIN negotiations n
		ON n.participant = a.participant AND n.id = a.negotiation WHERE a.participant = $1 AND a.id = $2 AND (n.state = 'FINALIZED' OR n.state = 'VERIFIED' AND n.role = 'provider')`, int64(p), id)
	return n == 1, err
}

// Retire implements store.Agreements.
func (s *Store) Retire(ctx context.Context, r agreement.Retirement, e commit.Effects) error {
	doc, err := encode(r)
	if err != nil {
		return err
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		var n int
		err := t.row(ctx, []any{&n}, `SELECT COUNT(*) FROM agreements WHERE participant = $1 AND id = $2`, int64(r.Participant), r.Agreement)
		if err != nil {
			return err
		}
		if n == 0 {
			return errAbsent("store.Retire", r.Agreement)
		}
		t.exec(`INSERT INTO retirements (participant, agreement, doc) VALUES ($1, $2, $3)`, int64(r.Participant), r.Agreement, doc)
		return t.effects(r.Participant, e)
	})
}
