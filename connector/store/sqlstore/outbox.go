package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
)

// Claim implements outbox.Store: what is due moves to now+lease in the statement that takes it, so nobody else takes it too.
func (s *Store) Claim(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]commit.Owed, error) {
	var out []commit.Owed
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		out = nil
		return t.query(ctx, func(row scanner) error {
			var doc string
			var o commit.Owed
			var attempt int
			if err := row.Scan(&doc, &attempt); err != nil {
				return err
			}
			err := decode(doc, &o)
			o.Attempt = attempt
			out = append(out, o)
			return err
		}, `UPDATE owed SET due = $1 WHERE id IN (SELECT id FROM owed WHERE due <= $2 ORDER BY due, id LIMIT $3`+s.dialect.SkipLocked+
			`) RETURNING doc, attempt`, micros(now.Add(lease)), micros(now), limit)
	})
	// RETURNING promises no order.
	slices.SortStableFunc(out, func(a, b commit.Owed) int {
		if c := a.Due.Compare(b.Due); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, err
}

// Postpone implements outbox.Store.
func (s *Store) Postpone(ctx context.Context, id string, due time.Time, lastError string) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		var doc string
		var o commit.Owed
		err := t.row(ctx, []any{&doc}, `SELECT doc FROM owed WHERE id = $1`, id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // settled meanwhile
		}
		if err != nil {
			return err
		}
		if err := decode(doc, &o); err != nil {
			return err
		}
		o.LastError, o.Due = lastError, due
		if doc, err = encode(o); err != nil {
			return err
		}
		t.exec(`UPDATE owed SET due = $1, attempt = attempt + 1, doc = $2 WHERE id = $3`, micros(due), doc, id)
		return nil
	})
}

// Owes implements outbox.Store.
func (s *Store) Owes(ctx context.Context, id string) (owes bool, err error) {
	var n int
	err = s.get(ctx, func(row scanner) error { return row.Scan(&n) }, `SELECT COUNT(*) FROM owed WHERE id = $1`, id)
	return n > 0, err
}

// NextDue implements outbox.Store.
func (s *Store) NextDue(ctx context.Context) (time.Time, bool, error) {
	var due *int64
	err := s.get(ctx, func(row scanner) error { return row.Scan(&due) }, `SELECT MIN(due) FROM owed`)
	if err != nil || due == nil {
		return time.Time{}, false, err
	}
	return fromMicros(*due), true, nil
}
