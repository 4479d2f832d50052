package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

const ofLog = `(SELECT id FROM participants WHERE slug = $1)`

// Unsequenced implements decisionlog.Ledger.
func (s *Store) Unsequenced(ctx context.Context, log string, limit int) ([]decisionlog.Entry, error) {
	return s.entries(ctx, `SELECT id, kind, process, time, bytes FROM log_entries WHERE participant = `+ofLog+` AND idx IS NULL
		ORDER BY nth LIMIT $2`, log, limit)
}

// LogEntries implements decisionlog.Ledger.
func (s *Store) LogEntries(ctx context.Context, log string, from uint64, limit int) ([]decisionlog.Entry, error) {
	return s.entries(ctx, `SELECT id, kind, process, time, bytes FROM log_entries WHERE participant = `+ofLog+` AND idx >= $2
		ORDER BY idx LIMIT $3`, log, int64(from), limit)
}

// LogByProcess lists the records of one process, oldest first.
func (s *Store) LogByProcess(ctx context.Context, log, process string, limit int) ([]decisionlog.Entry, error) {
	return s.entries(ctx, `SELECT id, kind, process, time, bytes FROM log_entries WHERE participant = `+ofLog+` AND process = $2 AND process <> ''
		ORDER BY nth LIMIT $3`, log, process, limit)
}

// Activated implements store.Store.
func (s *Store) Activated(ctx context.Context, log string) (decisionlog.Entry, error) {
	found, err := s.entries(ctx, `SELECT id, kind, process, time, bytes FROM log_entries WHERE participant = `+ofLog+` AND kind = 'bundle.activate'
		ORDER BY nth DESC LIMIT 1`, log)
	if err != nil || len(found) == 0 {
		return decisionlog.Entry{}, orAbsent(err, "store.Activated", log)
	}
	return found[0], nil
}

// Archived implements store.Store.
func (s *Store) Archived(ctx context.Context, log, digest string) (o decisionlog.Object, err error) {
	err = s.get(ctx, func(row scanner) error { return row.Scan(&o.Digest, &o.Type, &o.Bytes) },
		`SELECT digest, type, bytes FROM archive WHERE participant = `+ofLog+` AND digest = $2`, log, digest)
	return o, err
}

func orAbsent(err error, op, subject string) error {
	if err != nil {
		return err
	}
	return &fault.Error{Op: op, Kind: fault.NotFound, Subject: subject}
}

func (s *Store) entries(ctx context.Context, query string, args ...any) ([]decisionlog.Entry, error) {
	var out []decisionlog.Entry
	err := s.query(ctx, func(row scanner) error {
		var e decisionlog.Entry
		var at int64
		err := row.Scan(&e.ID, &e.Kind, &e.Process, &at, &e.Bytes)
		e.Time = fromMicros(at)
		out = append(out, e)
		return err
	}, query, args...)
	return out, err
}

// LogTail implements decisionlog.Ledger.
func (s *Store) LogTail(ctx context.Context, log string) (n int, err error) {
	err = s.get(ctx, func(row scanner) error { return row.Scan(&n) },
		`SELECT COUNT(*) FROM log_entries WHERE participant = `+ofLog+` AND idx IS NULL`, log)
	return n, err
}

// LogHead implements decisionlog.Ledger.
func (s *Store) LogHead(ctx context.Context, log string) (decisionlog.Head, error) {
	var h decisionlog.Head
	var size int64
	var hashes []byte
	err := s.get(ctx, func(row scanner) error { return row.Scan(&size, &hashes, &h.Fence) },
		`SELECT size, hashes, fence FROM log_heads WHERE participant = `+ofLog, log)
	if fault.Is(err, fault.NotFound) {
		return decisionlog.Head{}, nil
	}
	if err != nil {
		return h, err
	}
	h.Size = uint64(size)
	for i := 0; i+32 <= len(hashes); i += 32 {
		h.Range = append(h.Range, hashes[i:i+32:i+32])
	}
	return h, nil
}

// Sequence implements decisionlog.Ledger.
func (s *Store) Sequence(ctx context.Context, log string, old, next decisionlog.Head, ids []string) error {
	return s.update(ctx, func(_ context.Context, t *tx) error { return t.sequence(log, old, next, ids) })
}

// Restored implements decisionlog.Ledger.
func (s *Store) Restored(ctx context.Context, log string) (decisionlog.Restore, error) {
	var at, recorded int64
	err := s.get(ctx, func(row scanner) error { return row.Scan(&at, &recorded) }, `SELECT at, recorded FROM restores WHERE participant = `+ofLog, log)
	if fault.Is(err, fault.NotFound) {
		return decisionlog.Restore{}, nil
	}
	return decisionlog.Restore{At: fromMicros(at), Recorded: recorded == 1}, err
}

// Recover implements decisionlog.Ledger.
func (s *Store) Recover(ctx context.Context, log string, old, next decisionlog.Head, e decisionlog.Entry) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		var p int64
		if err := t.row(ctx, []any{&p}, `SELECT id FROM participants WHERE slug = $1`, log); err != nil {
			return err
		}
		t.one(errStale("store.Recover", log), `UPDATE restores SET recorded = 1 WHERE participant = $1 AND recorded = 0`, p)
		t.records(p, []decisionlog.Entry{e})
		return t.sequence(log, old, next, []string{e.ID})
	})
}

// Resumed implements decisionlog.Ledger.
func (s *Store) Resumed(ctx context.Context, log string) error {
	return s.update(ctx, func(_ context.Context, t *tx) error {
		t.exec(`DELETE FROM restores WHERE recorded = 1 AND participant = `+ofLog, log)
		return nil
	})
}

// sequence moves the head and gives the entries their indexes.
func (t *tx) sequence(log string, old, next decisionlog.Head, ids []string) error {
	if next.Size != old.Size+uint64(len(ids)) {
		return fmt.Errorf("sequence: %d ids do not lead from size %d to %d", len(ids), old.Size, next.Size)
	}
	hashes := []byte{}
	for _, h := range next.Range {
		hashes = append(hashes, h...)
	}
	stale := errStale("store.Sequence", log)
	if old.Size == 0 && old.Fence == 0 {
		t.one(stale, `INSERT INTO log_heads (participant, size, hashes, fence) SELECT id, $2, $3, 1 FROM participants WHERE slug = $1
			ON CONFLICT DO NOTHING`, log, int64(next.Size), hashes)
	} else {
		t.one(stale, `UPDATE log_heads SET size = $2, hashes = $3, fence = fence + 1 WHERE participant = `+ofLog+
			` AND size = $4 AND fence = $5`, log, int64(next.Size), hashes, int64(old.Size), old.Fence)
	}
	for at := 0; at < len(ids); {
		n := 1
		if len(ids)-at >= wide {
			n = wide
		}
		t.index(stale, log, int64(old.Size)+int64(at), ids[at:at+n])
		at += n
	}
	return nil
}

// index gives the entries their place in the log, from first on.
func (t *tx) index(stale error, log string, first int64, ids []string) {
	var pairs strings.Builder
	args := []any{log}
	for i, id := range ids {
		if i > 0 {
			pairs.WriteString(", ")
		}
		fmt.Fprintf(&pairs, "(CAST($%d AS TEXT), CAST($%d AS BIGINT))", len(args)+1, len(args)+2)
		args = append(args, id, first+int64(i))
	}
	t.rows(int64(len(ids)), stale, `UPDATE log_entries SET idx = v.column2 FROM (VALUES `+pairs.String()+`) AS v
		WHERE log_entries.id = v.column1 AND log_entries.idx IS NULL AND log_entries.participant = `+ofLog, args...)
}
