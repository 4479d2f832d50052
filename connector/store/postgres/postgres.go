// Package postgres keeps the Store contract in a PostgreSQL database, through pgx.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sluice-connector/sluice/connector/store/sqlstore"
)

// Options says where the database is.
type Options struct {
	URL  string    // postgres://… or keyword form; search_path chooses the schema
	Rand io.Reader // for ids
}

// conns is the size of the pool: PostgreSQL commits fastest with a few per core.
const conns = 8

// Open connects, migrates and returns the store.
func Open(ctx context.Context, o Options) (*sqlstore.Store, error) {
	cfg, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(3 * conns)
	db.SetMaxIdleConns(3 * conns)
	s, err := sqlstore.New(ctx, db, db, dialect(), o.Rand)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s on %s: %w", cfg.Database, cfg.Host, err), db.Close())
	}
	return s, nil
}

// Look connects to look at the store, and changes nothing: store.ErrOlder when it must be migrated first.
func Look(ctx context.Context, o Options) (*sqlstore.Store, error) {
	cfg, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	cfg.RuntimeParams["default_transaction_read_only"] = "on"
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(1)
	s, err := sqlstore.Look(ctx, db, dialect())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s on %s: %w", cfg.Database, cfg.Host, err), db.Close())
	}
	return s, nil
}

// batch sends the statements together and reads their results after: one round trip for a whole group of commits.
func batch(ctx context.Context, conn *sql.Conn, statements []sqlstore.Statement) (failed int, err error) {
	err = conn.Raw(func(driver any) error {
		var b pgx.Batch
		for _, s := range statements {
			b.Queue(s.Query, s.Args...)
		}
		results := driver.(*stdlib.Conn).Conn().SendBatch(ctx, &b)
		for i, s := range statements {
			failed = i
			tag, err := results.Exec()
			if err == nil && s.Rows != nil {
				err = s.Rows(tag.RowsAffected())
			}
			if err != nil {
				_ = results.Close() // says the same again
				return err
			}
		}
		return results.Close()
	})
	return failed, err
}

func dialect() sqlstore.Dialect {
	return sqlstore.Dialect{
		Name: "postgres", Writers: 1, Bytes: "BYTEA", Counter: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", SkipLocked: " FOR UPDATE SKIP LOCKED", Begin: "BEGIN",
		Made: `SELECT COUNT(*) FROM pg_catalog.pg_class WHERE relname = 'meta' AND relkind = 'r' AND relnamespace = current_schema()::regnamespace`,
		Bind: func(query string) string { return query },
		Unique: func(err error) bool {
			var pg *pgconn.PgError
			return errors.As(err, &pg) && pg.Code == "23505"
		},
		Batch:    batch,
		Lock:     "SELECT pg_advisory_xact_lock(7310958)",
		Snapshot: &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
	}
}
