package embedded_test

import (
	"crypto/rand"
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
		}
	})
}
