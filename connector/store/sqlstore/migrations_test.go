package sqlstore_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3/driver"

	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
)

func TestASchemaVersionThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "x", "0", "-1", "1 ", "999"} {
		dir := t.TempDir()
		s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		change(t, dir, version)
		if _, err := embedded.Look(t.Context(), embedded.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "schema version") {
			t.Errorf("version %q, looked at: %v", version, err)
		}
		s, err = embedded.Open(t.Context(), embedded.Options{Dir: dir})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "schema version") {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestAStoreOfAnEarlierVersionIsLeftAsItIsByWhoLooks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := embedded.Look(t.Context(), embedded.Options{Dir: dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v, want that there is none", err)
	}
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, dir, "1")
	for range 2 {
		if _, err := embedded.Look(t.Context(), embedded.Options{Dir: dir}); !errors.Is(err, store.ErrOlder) || !strings.Contains(err.Error(), "schema version 1") {
			t.Fatalf("%v, want that the store is of an earlier version", err)
		}
	}
}

func change(t *testing.T, dir, version string) {
	t.Helper()
	db, err := driver.Open("file:" + filepath.Join(dir, embedded.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE meta SET value = ? WHERE key = 'schema'`, version); err != nil {
		t.Fatal(err)
	}
}
