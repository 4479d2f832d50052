package sqlstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// micros is how times are kept.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// effects writes what commits with a change of state. The settled message goes first: its process may owe the next one.
func (t *tx) effects(p participant.ID, e commit.Effects) error {
	t.touched = append(t.touched, int64(p))
	t.records(int64(p), e.Decisions)
	if e.Agreement != nil {
		if err := t.agreement(*e.Agreement); err != nil {
			return err
		}
	}
	if e.Settled != "" {
		t.exec(`DELETE FROM owed WHERE id = $1 AND participant = $2`, e.Settled, int64(p))
	}
	if e.Owed != nil {
		if err := t.owe(*e.Owed); err != nil {
			return err
		}
	}
	return t.events(p, e.Events)
}

// claim writes the key of the call that this is part of, without an answer yet.
func (t *tx) claim(o commit.Once) {
	if o.Key != "" {
		t.exec(`INSERT INTO answers (participant, key, digest, answer, created) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			int64(o.Participant), o.Key, o.Digest, []byte{}, micros(o.Time))
	}
}

func (t *tx) owe(o commit.Owed) error {
	doc, err := encode(o)
	if err != nil {
		return err
	}
	t.exec(`INSERT INTO owed (id, participant, process, process_id, due, attempt, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		o.ID, int64(o.Participant), string(o.Process), o.ProcessID, micros(o.Due), o.Attempt, doc)
	return nil
}

// events numbers and appends. The head row serialises the participant's commits, so the sequence has no gaps.
func (t *tx) events(p participant.ID, events []commit.Event) error {
	if len(events) == 0 {
		return nil
	}
	t.exec(`INSERT INTO event_heads (participant, seq) VALUES ($1, $2) ON CONFLICT (participant) DO UPDATE SET seq = event_heads.seq + excluded.seq`,
		int64(p), len(events))
	for i, e := range events {
		doc, err := encode(e)
		if err != nil {
			return err
		}
		t.exec(`INSERT INTO events (participant, seq, doc) SELECT participant, seq - $2, $3 FROM event_heads WHERE participant = $1`,
			int64(p), len(events)-1-i, doc)
	}
	return nil
}

// records writes log entries without index, and what is archived with them.
func (t *tx) records(p int64, entries []decisionlog.Entry) {
	var records, objects [][]any
	for _, e := range entries {
		records = append(records, []any{e.ID, p, e.Kind, e.Process, micros(e.Time), e.Bytes})
		for _, o := range e.Archive {
			objects = append(objects, []any{p, o.Digest, o.Type, o.Bytes})
		}
	}
	t.insert(`INSERT INTO log_entries (id, participant, kind, process, time, bytes) VALUES `, "", records)
	t.insert(`INSERT INTO archive (participant, digest, type, bytes) VALUES `, ` ON CONFLICT DO NOTHING`, objects)
}

// insert writes rows of equal length with few statements: sixteen at a time, then one by one, so that two forms of each are prepared.
func (t *tx) insert(head, tail string, rows [][]any) {
	for len(rows) > 0 {
		n := 1
		if len(rows) >= wide {
			n = wide
		}
		var args []any
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		t.exec(head+places(n, len(rows[0]))+tail, args...)
		rows = rows[n:]
	}
}

const wide = 16

// places is ($1, $2), ($3, $4), …
func places(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteString("($")
		case i%columns == 0:
			b.WriteString("), ($")
		default:
			b.WriteString(", $")
		}
		b.WriteString(strconv.Itoa(i + 1))
	}
	return b.String() + ")"
}

// EventsSince implements store.Events.
func (s *Store) EventsSince(ctx context.Context, p participant.ID, after int64, limit int) ([]commit.Event, error) {
	var out []commit.Event
	err := s.query(ctx, func(row scanner) error {
		var doc string
		var seq int64
		if err := row.Scan(&doc, &seq); err != nil {
			return err
		}
		var e commit.Event
		if err := decode(doc, &e); err != nil {
			return err
		}
		e.Seq = seq
		out = append(out, e)
		return nil
	}, `SELECT doc, seq FROM events WHERE participant = $1 AND seq > $2 ORDER BY seq LIMIT $3`, int64(p), after, limit)
	return out, err
}

// Notify implements store.Events.
func (s *Store) Notify(ctx context.Context, p participant.ID) <-chan struct{} {
	return s.hub.subscribe(ctx, int64(p))
}

// Record implements catalog.Store: effects that change nothing else.
func (s *Store) Record(ctx context.Context, p participant.ID, e commit.Effects) error {
	if e.Agreement != nil || e.Owed != nil || e.Settled != "" || len(e.Events) > 0 {
		return s.update(ctx, func(_ context.Context, t *tx) error { return t.effects(p, e) })
	}
	return s.submit(ctx, &op{ctx: ctx, records: e.Decisions, participant: int64(p), done: make(chan struct{})})
}
