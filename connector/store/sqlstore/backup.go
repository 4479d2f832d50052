package sqlstore

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/transfer"
)

// tables in an order that satisfies the references. Management tokens and clients of the token services stay out: a restore must not bring back one
// that was deleted since. Keys are in it as they are in the store: wrapped.
var tables = []string{"data_keys", "keys", "participants", "credentials", "assets", "contents", "policies", "rules", "offers", "negotiations",
	"agreements", "retirements", "transfers", "credential_requests", "credential_offers", "issuers", "issuer_definitions", "issuer_holders", "issuer_requests", "issuer_lists",
	"issuer_credentials", "issuer_places", "issuer_offers", "owed", "event_heads", "events", "replay", "answers", "log_entries", "log_heads", "archive",
	"trusted", "numbers", "partner_groups"}

// archiveHead is the first line of a backup.
type archiveHead struct {
	Format string `json:"format"`
	Schema int    `json:"schema"`
}

const archiveFormat = "sluice-backup-1"

// Backup implements store.Store: one JSON line per row, from one snapshot, the same for both databases, closed by the digest of all
// lines before it.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	t, err := s.read.BeginTx(ctx, s.dialect.Snapshot)
	if err != nil {
		return s.classify(err)
	}
	defer func() { _ = t.Rollback() }()
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, sum))
	enc := json.NewEncoder(out)
	var schema string
	if err := t.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'schema'`).Scan(&schema); err != nil {
		return s.classify(err)
	}
	version, err := strconv.Atoi(schema)
	if err != nil {
		return err
	}
	if err := enc.Encode(archiveHead{archiveFormat, version}); err != nil {
		return err
	}
	for _, table := range tables {
		if err := dumpTable(ctx, t, table, enc); err != nil {
			return fmt.Errorf("backup %s: %w", table, err)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "{\"sha256\":%q}\n", hex.EncodeToString(sum.Sum(nil)))
	return err
}

// archiveRow is one row: the table and the columns by name.
type archiveRow struct {
	Table string         `json:"t"`
	Row   map[string]any `json:"r"`
}

func dumpTable(ctx context.Context, t *sql.Tx, table string, enc *json.Encoder) error {
	query := "SELECT * FROM " + table
	if table == "log_entries" {
		query += " ORDER BY nth"
	}
	rows, err := t.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values := make([]any, len(columns))
		places := make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := rows.Scan(places...); err != nil {
			return err
		}
		row := make(map[string]any, len(columns))
		for i, name := range columns {
			if name == "nth" {
				continue // given anew, in the same order
			}
			if b, ok := values[i].([]byte); ok {
				row[name] = map[string]string{"b64": base64.StdEncoding.EncodeToString(b)}
				continue
			}
			row[name] = values[i]
		}
		if err := enc.Encode(archiveRow{table, row}); err != nil {
			return err
		}
	}
	return rows.Err()
}

// maxLine bounds one row of a backup.
const maxLine = 64 << 20

// restoredVersions is by how many versions a status list that came back is ahead of its backup: more than it can have had since.
const restoredVersions = 1 << 32

// Restore fills an empty store from a backup of either database, whole or not at all, and declares itself: each log must record it before it
// goes on. Access that was given out does not come back: the backup may be older than its end. So there are no management tokens, and what a
// peer pulled from us is terminated.
func (s *Store) Restore(ctx context.Context, r io.Reader, now time.Time) error {
	var n int
	if err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM participants`).Scan(&n); err != nil {
		return s.classify(err)
	}
	if n > 0 {
		return errors.New("restore: the store is not empty; restore into a new one")
	}
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return s.classify(err)
	}
	defer func() { _ = t.Rollback() }()
	if err := s.load(ctx, t, r); err != nil {
		return err
	}
	if err := s.endTransfers(ctx, t, now); err != nil {
		return fmt.Errorf("restore: transfers: %w", err)
	}
	// Places that were given out after the backup are not known: the lists that came back give out no more. Nor are the versions that they had since,
	// by which those who keep a list know that it is the same: none of these is used again, or a revocation to come would be taken for one of them.
	if _, err = t.ExecContext(ctx, s.dialect.Bind(`UPDATE issuer_lists SET taken = size, version = version + $1`), int64(restoredVersions)); err != nil {
		return s.classify(err)
	}
	if _, err = t.ExecContext(ctx, s.dialect.Bind(`INSERT INTO restores (participant, at, recorded) SELECT id, CAST($1 AS BIGINT), 0 FROM participants`), micros(now)); err != nil {
		return s.classify(err)
	}
	return t.Commit()
}

// endTransfers terminates what peers pull from us. They are not told: they see it when their token does not open, or when they look.
func (s *Store) endTransfers(ctx context.Context, t *sql.Tx, now time.Time) error {
	const live = `role = 'provider' AND state NOT IN ('COMPLETED', 'TERMINATED')`
	if _, err := t.ExecContext(ctx, `DELETE FROM owed WHERE process = 'transfer' AND EXISTS (SELECT 1 FROM transfers
		WHERE transfers.participant = owed.participant AND transfers.id = owed.process_id AND `+live+`)`); err != nil {
		return err
	}
	rows, err := t.QueryContext(ctx, `SELECT doc FROM transfers WHERE `+live)
	if err != nil {
		return err
	}
	defer rows.Close()
	var ended []transfer.Transfer
	for rows.Next() {
		var doc string
		var v transfer.Transfer
		if err := errors.Join(rows.Scan(&doc), decode(doc, &v)); err != nil {
			return err
		}
		ended = append(ended, v)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, v := range ended {
		v.State, v.Code, v.Reasons, v.Updated = transfer.Terminated, "connector.restored", []string{"the connector was restored from a backup"}, now
		v.Grant.Hash, v.Pending, v.Accepted = "", transfer.Pending{}, transfer.Receipt{}
		doc, err := encode(v)
		if err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, s.dialect.Bind(`UPDATE transfers SET version = version + 1, state = $1, token_hash = '', doc = $2 WHERE participant = $3 AND id = $4`),
			string(v.State), doc, int64(v.Participant), v.ID); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) load(ctx context.Context, t *sql.Tx, r io.Reader) error {
	known := map[string]bool{}
	for _, table := range tables {
		known[table] = true
	}
	sum := sha256.New()
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<20), maxLine)
	for number := 1; lines.Scan(); number++ {
		line := lines.Bytes()
		var trailer struct{ SHA256 string }
		if number > 1 && strings.HasPrefix(string(line), `{"sha256"`) {
			if json.Unmarshal(line, &trailer) != nil || trailer.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
				return fmt.Errorf("restore: line %d: the digest does not match: the backup is damaged", number)
			}
			if lines.Scan() {
				return fmt.Errorf("restore: line %d: nothing may follow the digest", number+1)
			}
			return lines.Err()
		}
		sum.Write(line)
		sum.Write([]byte("\n"))
		if number == 1 {
			if err := s.checkHead(ctx, t, line); err != nil {
				return err
			}
			continue
		}
		if err := s.loadRow(ctx, t, known, line); err != nil {
			return fmt.Errorf("restore: line %d: %w", number, err)
		}
	}
	return errors.Join(errors.New("restore: the backup ends before its digest: it is cut off"), lines.Err())
}

func (s *Store) checkHead(ctx context.Context, t *sql.Tx, line []byte) error {
	var head archiveHead
	var schema string
	if err := json.Unmarshal(line, &head); err != nil || head.Format != archiveFormat {
		return errors.New("restore: this is not a backup of sluice")
	}
	if err := t.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'schema'`).Scan(&schema); err != nil {
		return s.classify(err)
	}
	if strconv.Itoa(head.Schema) != schema {
		return fmt.Errorf("restore: the backup has schema version %d, this store %s: restore with the version that wrote it, then upgrade", head.Schema, schema)
	}
	return nil
}

func (s *Store) loadRow(ctx context.Context, t *sql.Tx, known map[string]bool, line []byte) error {
	var row struct {
		Table string                     `json:"t"`
		Row   map[string]json.RawMessage `json:"r"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return err
	}
	if !known[row.Table] {
		return fmt.Errorf("table %q is not known", row.Table)
	}
	var names, places []string
	var args []any
	for name, raw := range row.Row {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return fmt.Errorf("column %q is not known", name)
		}
		value, err := restored(raw)
		if err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
		args = append(args, value)
		names, places = append(names, name), append(places, "$"+strconv.Itoa(len(args)))
	}
	query := "INSERT INTO " + row.Table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
	_, err := t.ExecContext(ctx, s.dialect.Bind(query), args...)
	return err
}

func restored(raw json.RawMessage) (any, error) {
	var n int64
	var text string
	var b struct{ B64 *string }
	switch {
	case string(raw) == "null":
		return nil, nil
	case json.Unmarshal(raw, &n) == nil:
		return n, nil
	case json.Unmarshal(raw, &text) == nil:
		return text, nil
	case json.Unmarshal(raw, &b) == nil && b.B64 != nil:
		return base64.StdEncoding.DecodeString(*b.B64)
	}
	return nil, errors.New("neither number, text nor bytes")
}
