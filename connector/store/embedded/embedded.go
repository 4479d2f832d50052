// Package embedded keeps the Store contract in one SQLite file of the data directory, durable: write-ahead log with full sync.
package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"

	"github.com/sluice-connector/sluice/connector/store/sqlstore"
)

// File is the name of the database in the data directory.
const File = "sluice.db"

// Options says where the database is.
type Options struct {
	Dir  string    // existing directory
	VFS  string    // name of the file layer; "" is the operating system's
	Rand io.Reader // for ids
}

// Open opens or creates the store. Its files are its owner's alone.
func Open(ctx context.Context, o Options) (*sqlstore.Store, error) {
	path := filepath.Join(o.Dir, File)
	if err := private(path); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	write, err := open(path, o.VFS, "immediate", 1)
	if err != nil {
		return nil, err
	}
	var mode string
	if err := write.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		_ = write.Close()
		return nil, errors.Join(fmt.Errorf("%s: journal mode is %q, want wal: the disk must support shared memory", path, mode), err)
	}
	read, err := open(path, o.VFS, "deferred", 4)
	if err != nil {
		_ = write.Close()
		return nil, err
	}
	s, err := sqlstore.New(ctx, write, read, dialect(), o.Rand)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), write.Close(), read.Close())
	}
	return s, nil
}

// Look opens the store to look at it, whether somebody serves from it or not, and changes nothing: an error that is fs.ErrNotExist when there is
// none, store.ErrOlder when it must be migrated first. While nobody has the database open it is read as a file that stays as it is, for
// reading a write-ahead log leaves traces: whoever begins to write at that moment makes what is read worthless, not the store.
func Look(ctx context.Context, o Options) (*sqlstore.Store, error) {
	path := filepath.Join(o.Dir, File)
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)", "query_only(on)"}, "modeof": {path}}
	if _, err := os.Stat(path + "-wal"); err != nil {
		q = url.Values{"mode": {"ro"}, "immutable": {"1"}, "_pragma": {"query_only(on)"}}
	}
	db, err := connect(path, o.VFS, q, 1)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.Look(ctx, db, dialect())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return s, nil
}

// private makes the database file, or takes from others what they may do with it; the write-ahead log takes over its mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

func open(path, vfs, lock string, conns int) (*sql.DB, error) {
	q := url.Values{"_txlock": {lock}, "_pragma": {"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)",
		"cache_size(-2000)", "temp_store(memory)"}, "modeof": {path}}
	return connect(path, vfs, q, conns)
}

func connect(path, vfs string, q url.Values, conns int) (*sql.DB, error) {
	if vfs != "" {
		q.Set("vfs", vfs)
	}
	db, err := driver.Open("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(0)
	return db, nil
}

var place = regexp.MustCompile(`\$([0-9]+)`)

func dialect() sqlstore.Dialect {
	return sqlstore.Dialect{
		Name: "sqlite", Writers: 1, Bytes: "BLOB", Counter: "INTEGER PRIMARY KEY", Begin: "BEGIN IMMEDIATE", Local: true,
		Made: `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'`,
		Bind: func(query string) string { return place.ReplaceAllString(query, "?$1") },
		Unique: func(err error) bool {
			return errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) || errors.Is(err, sqlite3.CONSTRAINT_PRIMARYKEY) || errors.Is(err, sqlite3.CONSTRAINT_ROWID)
		},
	}
}
