package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema to this binary's version, one numbered file after the other, forward only. A schema that is newer than the
// binary is refused.
func (s *Store) migrate(ctx context.Context) error {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { _ = t.Rollback() }()
	if s.dialect.Lock != "" {
		if _, err := t.ExecContext(ctx, s.dialect.Lock); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	if _, err := t.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)`); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	have, files, err := version(ctx, t)
	if err != nil {
		return err
	}
	for _, file := range files[have:] {
		if err := s.apply(ctx, t, file); err != nil {
			return err
		}
	}
	if have < len(files) {
		set := fmt.Sprintf(`INSERT INTO meta (key, value) VALUES ('schema', '%d') ON CONFLICT (key) DO UPDATE SET value = excluded.value`, len(files))
		if _, err := t.ExecContext(ctx, set); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	return t.Commit()
}

// version reads which of the migrations, in their order, the database has seen. One that is newer than the binary is refused.
func version(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (have int, files []string, err error) {
	if files, err = fs.Glob(migrations, "migrations/*.sql"); err != nil {
		return 0, nil, err
	}
	sort.Strings(files)
	var text string
	err = q.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'schema'`).Scan(&text)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, files, nil
	case err != nil:
		return 0, nil, fmt.Errorf("schema version: %w", err)
	}
	if have, err = strconv.Atoi(text); err != nil || have < 1 {
		return 0, nil, fmt.Errorf("the store's schema version is %q, want a number from 1 on: it is damaged", text)
	}
	if have > len(files) {
		return 0, nil, fmt.Errorf("the store has schema version %d, this binary knows %d: use a newer sluice", have, len(files))
	}
	return have, files, nil
}

func (s *Store) apply(ctx context.Context, t *sql.Tx, file string) error {
	b, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	types := strings.NewReplacer("BYTES", s.dialect.Bytes, "COUNTER", s.dialect.Counter)
	for statement := range strings.SplitSeq(string(b), ";\n") {
		statement = strings.TrimSpace(types.Replace(statement))
		if statement == "" {
			continue
		}
		if _, err := t.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("migrate %s: %w", file, err)
		}
	}
	return nil
}
