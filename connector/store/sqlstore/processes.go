package sqlstore

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// list collects the conditions of a filtered, keyset-paged query.
type list struct {
	where       []string
	args        []any
	created, id string // columns of the page's key; "": of these names
}

func (l *list) and(condition string, arg any) {
	l.args = append(l.args, arg)
	l.where = append(l.where, strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(l.args))))
}

func (l *list) andIf(set bool, condition string, arg any) {
	if set {
		l.and(condition, arg)
	}
}

// paged returns the query for one page and one row more, which tells whether another page follows.
func (l *list) paged(columns, table string, r page.Request) string {
	created, id := cmp.Or(l.created, "created"), cmp.Or(l.id, "id")
	order, compare := "ASC", ">"
	if r.Newest {
		order, compare = "DESC", "<"
	}
	if r.After.ID != "" {
		n := len(l.args)
		l.args = append(l.args, micros(r.After.Created), micros(r.After.Created), r.After.ID)
		l.where = append(l.where, "("+created+" "+compare+" $"+strconv.Itoa(n+1)+" OR "+created+" = $"+strconv.Itoa(n+2)+
			" AND "+id+" "+compare+" $"+strconv.Itoa(n+3)+")")
	}
	return "SELECT " + columns + " FROM " + table + " WHERE " + strings.Join(l.where, " AND ") +
		" ORDER BY " + created + " " + order + ", " + id + " " + order + " LIMIT " + strconv.Itoa(r.Size()+1)
}

// cut takes the row too many off and makes the next key of the last one kept.
func cut[T any](items []T, r page.Request, key func(T) page.Key) page.Of[T] {
	out := page.Of[T]{Items: items}
	if len(items) > r.Size() {
		out.Items = items[:r.Size()]
		out.Next = key(out.Items[r.Size()-1])
	}
	return out
}

// documents reads the doc column of each row.
func documents[T any](ctx context.Context, s *Store, finish func(*T, int64), query string, args ...any) ([]T, error) {
	var out []T
	err := s.query(ctx, func(row scanner) error {
		v, err := document(row, finish)
		out = append(out, v)
		return err
	}, query, args...)
	return out, err
}

// document scans (doc, version).
func document[T any](row scanner, finish func(*T, int64)) (T, error) {
	var v T
	var doc string
	var version int64
	if err := row.Scan(&doc, &version); err != nil {
		return v, err
	}
	err := decode(doc, &v)
	finish(&v, version)
	return v, err
}

func one[T any](ctx context.Context, s *Store, finish func(*T, int64), query string, args ...any) (T, error) {
	var v T
	err := s.get(ctx, func(row scanner) (err error) {
		v, err = document(row, finish)
		return err
	}, query, args...)
	return v, err
}

func negotiationVersion(n *negotiation.Negotiation, v int64) { n.Version = v }
func transferVersion(t *transfer.Transfer, v int64)          { t.Version = v }

// Negotiation implements negotiation.Store.
func (s *Store) Negotiation(ctx context.Context, p participant.ID, peer participant.DID, id string) (negotiation.Negotiation, error) {
	if peer == "" {
		return one(ctx, s, negotiationVersion, `SELECT doc, version FROM negotiations WHERE participant = $1 AND id = $2`, int64(p), id)
	}
	return one(ctx, s, negotiationVersion, `SELECT doc, version FROM negotiations WHERE participant = $1 AND id = $2 AND peer = $3`,
		int64(p), id, string(peer))
}

// NegotiationByPeerPID implements negotiation.Store.
func (s *Store) NegotiationByPeerPID(ctx context.Context, p participant.ID, peer participant.DID, peerPID string) (negotiation.Negotiation, error) {
	return one(ctx, s, negotiationVersion, `SELECT doc, version FROM negotiations WHERE participant = $1 AND peer = $2 AND peer_pid = $3 AND peer_pid <> ''
		ORDER BY role DESC LIMIT 1`, int64(p), string(peer), peerPID)
}

// Negotiations implements negotiation.Store.
func (s *Store) Negotiations(ctx context.Context, p participant.ID, f negotiation.Filter, r page.Request) (page.Of[negotiation.Negotiation], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	l.andIf(f.Peer != "", "peer = ?", string(f.Peer))
	l.andIf(f.State != "", "state = ?", string(f.State))
	l.andIf(f.Role != "", "role = ?", string(f.Role))
	l.andIf(f.Asset != "", "asset = ?", f.Asset)
	l.andIf(f.Held, "held <> ?", "")
	items, err := documents(ctx, s, negotiationVersion, l.paged("doc, version", "negotiations", r), l.args...)
	return cut(items, r, func(n negotiation.Negotiation) page.Key { return page.Key{Created: n.Created, ID: n.ID} }), err
}

// OpenNegotiations implements negotiation.Store.
func (s *Store) OpenNegotiations(ctx context.Context, p participant.ID, peer participant.DID) (n int, err error) {
	err = s.get(ctx, func(row scanner) error { return row.Scan(&n) },
		`SELECT COUNT(*) FROM negotiations WHERE participant = $1 AND peer = $2 AND state NOT IN ('FINALIZED', 'TERMINATED')`, int64(p), string(peer))
	return n, err
}

// CreateNegotiation implements negotiation.Store.
func (s *Store) CreateNegotiation(ctx context.Context, n negotiation.Negotiation, e commit.Effects) error {
	n.Version = 1
	doc, err := encode(n)
	if err != nil {
		return err
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.exec(`INSERT INTO negotiations (participant, id, version, role, peer, peer_pid, state, asset, agreement, created, held, doc)
			VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, int64(n.Participant), n.ID, string(n.Role), string(n.Peer), n.PeerPID,
			string(n.State), n.Offer.Target, n.AgreementID, micros(n.Created), string(n.Held.Message), doc)
		return t.effects(n.Participant, e)
	})
}

// ReplaceNegotiation implements negotiation.Store.
func (s *Store) ReplaceNegotiation(ctx context.Context, old, next negotiation.Negotiation, e commit.Effects) error {
	next.Version = old.Version + 1
	doc, err := encode(next)
	if err != nil {
		return err
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.one(errStale("store.ReplaceNegotiation", old.ID), `UPDATE negotiations SET version = $1, peer_pid = $2, state = $3,
			asset = $4, agreement = $5, held = $6, doc = $7 WHERE participant = $8 AND id = $9 AND version = $10`, next.Version, next.PeerPID,
			string(next.State), next.Offer.Target, next.AgreementID, string(next.Held.Message), doc, int64(old.Participant), old.ID, old.Version)
		return t.effects(next.Participant, e)
	})
}

// Transfer implements transfer.Store.
func (s *Store) Transfer(ctx context.Context, p participant.ID, peer participant.DID, id string) (transfer.Transfer, error) {
	if peer == "" {
		return one(ctx, s, transferVersion, `SELECT doc, version FROM transfers WHERE participant = $1 AND id = $2`, int64(p), id)
	}
	return one(ctx, s, transferVersion, `SELECT doc, version FROM transfers WHERE participant = $1 AND id = $2 AND peer = $3`,
		int64(p), id, string(peer))
}

// TransferByPeerPID implements transfer.Store.
func (s *Store) TransferByPeerPID(ctx context.Context, p participant.ID, peer participant.DID, peerPID string) (transfer.Transfer, error) {
	return one(ctx, s, transferVersion, `SELECT doc, version FROM transfers WHERE participant = $1 AND peer = $2 AND peer_pid = $3 AND peer_pid <> ''
		ORDER BY role DESC LIMIT 1`, int64(p), string(peer), peerPID)
}

// TransferByToken implements transfer.Store.
func (s *Store) TransferByToken(ctx context.Context, p participant.ID, hash string) (transfer.Transfer, error) {
	return one(ctx, s, transferVersion, `SELECT doc, version FROM transfers WHERE participant = $1 AND token_hash = $2 AND token_hash <> ''`,
		int64(p), hash)
}

// Transfers implements transfer.Store.
func (s *Store) Transfers(ctx context.Context, p participant.ID, f transfer.Filter, r page.Request) (page.Of[transfer.Transfer], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	l.andIf(f.Peer != "", "peer = ?", string(f.Peer))
	l.andIf(f.State != "", "state = ?", string(f.State))
	l.andIf(f.Role != "", "role = ?", string(f.Role))
	l.andIf(f.Agreement != "", "agreement = ?", f.Agreement)
	items, err := documents(ctx, s, transferVersion, l.paged("doc, version", "transfers", r), l.args...)
	return cut(items, r, func(t transfer.Transfer) page.Key { return page.Key{Created: t.Created, ID: t.ID} }), err
}

// OpenTransfers implements transfer.Store.
func (s *Store) OpenTransfers(ctx context.Context, p participant.ID, peer participant.DID) (n int, err error) {
	err = s.get(ctx, func(row scanner) error { return row.Scan(&n) },
		`SELECT COUNT(*) FROM transfers WHERE participant = $1 AND peer = $2 AND state NOT IN ('COMPLETED', 'TERMINATED')`, int64(p), string(peer))
	return n, err
}

// CreateTransfer implements transfer.Store.
func (s *Store) CreateTransfer(ctx context.Context, v transfer.Transfer, e commit.Effects) error {
	v.Version = 1
	doc, err := encode(v)
	if err != nil {
		return err
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.exec(`INSERT INTO transfers (participant, id, version, role, peer, peer_pid, state, agreement, token_hash, created, doc)
			VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8, $9, $10)`, int64(v.Participant), v.ID, string(v.Role), string(v.Peer), v.PeerPID,
			string(v.State), v.AgreementID, v.Grant.Hash, micros(v.Created), doc)
		return t.effects(v.Participant, e)
	})
}

// ReplaceTransfer implements transfer.Store.
func (s *Store) ReplaceTransfer(ctx context.Context, old, next transfer.Transfer, e commit.Effects) error {
	next.Version = old.Version + 1
	doc, err := encode(next)
	if err != nil {
		return err
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.one(errStale("store.ReplaceTransfer", old.ID), `UPDATE transfers SET version = $1, peer_pid = $2, state = $3,
			token_hash = $4, doc = $5 WHERE participant = $6 AND id = $7 AND version = $8`, next.Version, next.PeerPID, string(next.State),
			next.Grant.Hash, doc, int64(old.Participant), old.ID, old.Version)
		return t.effects(next.Participant, e)
	})
}
