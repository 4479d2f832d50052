package postgres_test

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/postgres"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/connector/store/storetest"
)

var schemas atomic.Int64

// schema makes a schema of its own and returns a URL that uses it.
func schema(t testing.TB) string {
	t.Helper()
	url := os.Getenv("SLUICE_TEST_POSTGRES")
	if url == "" {
		t.Fatal("no PostgreSQL: run `make test`, which brings its own server")
	}
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	return url + separator + "search_path=" + name
}

func open(t testing.TB, url string) *sqlstore.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{URL: url, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestWhereNothingWasEverKeptThereIsNothingToLookAt(t *testing.T) {
	t.Parallel()
	url := schema(t)
	for range 2 { // and the first look left nothing behind
		if _, err := postgres.Look(t.Context(), postgres.Options{URL: url, Rand: rand.Reader}); !errors.Is(err, store.ErrOlder) {
			t.Fatalf("%v, want that the store is of an earlier version", err)
		}
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		url := schema(t)
		return storetest.Opened{
			Store:  open(t, url),
			Reopen: func(t *testing.T) store.Store { return open(t, url) },
			Empty:  func(t *testing.T) storetest.Restorer { return open(t, schema(t)) },
			Look: func(t *testing.T) (store.Store, error) {
				return postgres.Look(t.Context(), postgres.Options{URL: url, Rand: rand.Reader})
			},
		}
	})
}
