package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/e2e/pair"
)

// failure is why a seed failed.
type failure string

// bench is the testing.TB of one seed: the first failure ends it.
type bench struct{ testing.TB }

func (bench) Helper()                      {}
func (bench) Context() context.Context     { return context.Background() }
func (bench) Output() io.Writer            { return io.Discard }
func (bench) Fatal(args ...any)            { panic(failure(fmt.Sprint(args...))) }
func (bench) Fatalf(text string, a ...any) { panic(failure(fmt.Sprintf(text, a...))) }

// chance is the randomness of one part of a seed.
func chance(seed uint64, part string) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d/%s", seed, part)))
}

// keys derives the secrets of a company from its slug; nothing is signed here.
type keys struct{ slug string }

func (keys) Public(identity.Use) []identity.PublicKey  { return nil }
func (keys) Sign(identity.Use, []byte) ([]byte, error) { panic("nothing is signed in a simulation") }
func (keys) LogKey() ed25519.PublicKey                 { return nil }
func (keys) SignLog([]byte) ([]byte, error)            { panic("nothing is signed in a simulation") }
func (k keys) Secret(name identity.Secret) ([]byte, error) {
	sum := sha256.Sum256([]byte(k.slug + "/" + string(name)))
	return sum[:], nil
}

func keysOf(slug string) (identity.Keys, error) { return keys{slug}, nil }

// the companies: one provider and those who may come to it. Dusk has not accepted the framework agreement.
const provider = "cobalt"

var consumers = []string{"boreal", "aurora", "dusk"}

// world is what every seed begins with: the migrated stores, with what the provider publishes.
type world struct {
	images map[string][]byte
	offers []negotiation.Offer // the first asks for the framework agreement, the second for membership only
}

var begin = sync.OnceValues(func() (w world, err error) {
	defer func() {
		if f, ok := recover().(failure); ok {
			err = fmt.Errorf("the first store: %s", f)
		}
	}()
	dir, err := os.MkdirTemp(memory(), "sluice-simulate-")
	if err != nil {
		return world{}, err
	}
	defer os.RemoveAll(dir)
	stores := map[string]*sqlstore.Store{}
	n := pair.Join(bench{}, pair.Parts{
		Rand: func(slug string) io.Reader { return chance(0, "begin "+slug) },
		Keys: keysOf,
		Open: func(slug string) (*sqlstore.Store, error) {
			own := filepath.Join(dir, slug)
			if err := os.Mkdir(own, 0o700); err != nil {
				return nil, err
			}
			var err error
			stores[slug], err = embedded.Open(context.Background(), embedded.Options{Dir: own, Rand: chance(0, "store "+slug)})
			return stores[slug], err
		},
	}, append([]string{provider}, consumers...)...)
	w.images = map[string][]byte{}
	cobalt := n.Side(provider)
	w.offers = []negotiation.Offer{pair.Ask(cobalt.Publish(pair.Members(), pair.Footprints())),
		pair.Ask(cobalt.Offer(pair.Members(), pair.Policy("use", pair.Term("Membership", "eq", "active"))))}
	n.Side(consumers[0]).Begin(cobalt, w.offers[0]) // an agreement is there already, so that transfers begin at once
	n.Run()
	for slug, s := range stores {
		if err := s.Close(); err != nil {
			return world{}, err
		}
		if w.images[slug], err = os.ReadFile(filepath.Join(dir, slug, embedded.File)); err != nil {
			return world{}, err
		}
	}
	return w, nil
})

// memory is a directory that is no disk, where the system has one: the disk under fire is ours, above it.
func memory() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}
