package embedded_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/connector/store/storetest"
)

func open(t testing.TB, dir string) *sqlstore.Store {
	t.Helper()
	s, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		dir := t.TempDir()
		return storetest.Opened{
			Store:  open(t, dir),
			Reopen: func(t *testing.T) store.Store { return open(t, dir) },
			Empty:  func(t *testing.T) storetest.Restorer { return open(t, t.TempDir()) },
			Look: func(t *testing.T) (store.Store, error) {
				return embedded.Look(t.Context(), embedded.Options{Dir: dir, Rand: rand.Reader})
			},
		}
	})
}

func TestTheFilesOfTheDatabaseAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]os.FileMode{"new": 0, "made by an earlier version": 0o644} {
		dir := t.TempDir()
		if before != 0 {
			if err := os.WriteFile(filepath.Join(dir, embedded.File), nil, before); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir)
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{embedded.File, embedded.File + "-wal"} {
			info, err := os.Stat(filepath.Join(dir, file))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %s has mode %v, %v; want 0600", name, file, info.Mode(), err)
			}
		}
	}
}
