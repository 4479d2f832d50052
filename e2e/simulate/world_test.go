package simulate

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// chance is the randomness of one part of a seed.
func chance(seed uint64, part string) *source {
	return &source{from: rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%d/%s", seed, part)))}
}

// source may be read by several at once.
type source struct {
	mu   sync.Mutex
	from *rand.ChaCha8
}

func (s *source) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Read(b)
}

func (s *source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from.Uint64()
}

// keys derives the secrets of a company from its slug; nothing is signed here.
type keys struct{ slug string }

func (keys) Public(identity.Use) []identity.PublicKey { return nil }
func (keys) Generation() uint64                       { return 1 }
func (keys) Signer(identity.Use) (identity.Signer, error) {
	return nil, errors.New("nothing is signed in a simulation")
}
func (keys) LogKey() ed25519.PublicKey      { return nil }
func (keys) SignLog([]byte) ([]byte, error) { panic("nothing is signed in a simulation") }
func (k keys) Secret(name identity.Secret) ([]byte, error) {
	sum := sha256.Sum256([]byte(k.slug + "/" + string(name)))
	return sum[:], nil
}

func (k keys) Secrets(name identity.Secret) ([][]byte, error) {
	secret, err := k.Secret(name)
	return [][]byte{secret}, err
}

func keysOf(slug string) (identity.Keys, error) { return keys{slug}, nil }

// rootOf is the address of a company: a host of its own.
func rootOf(slug string) string { return "http://" + hostOf(slug) + "/" + slug }

func hostOf(slug string) string { return slug + ".example" }

func silent(string) *slog.Logger { return slog.New(slog.DiscardHandler) }

// the companies: one provider and those who may come to it. Dusk has not accepted the framework agreement.
const provider = "cobalt"

var consumers = []string{"boreal", "aurora", "dusk"}

// world is what every seed begins with: the migrated stores, with what the provider publishes.
type world struct {
	images map[string][]byte
	offers []negotiation.Offer // the first asks for the framework agreement, the second for membership only
}

// begin makes the world, outside of any bubble.
func begin(t *testing.T) world {
	t.Helper()
	dir := t.TempDir()
	stores := map[string]*sqlstore.Store{}
	n := pair.Join(t, pair.Parts{
		Rand: func(slug string) io.Reader { return chance(0, "begin "+slug) },
		Keys: keysOf, Root: rootOf, Log: silent,
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
	w := world{images: map[string][]byte{}}
	cobalt := n.Side(provider)
	w.offers = []negotiation.Offer{pair.Ask(cobalt.Publish(pair.Members(), pair.Footprints())),
		pair.Ask(cobalt.Offer(pair.Members(), pair.Policy("use", pair.Term("Membership", "eq", "active"))))}
	n.Side(consumers[0]).Begin(cobalt, w.offers[0]) // an agreement is there already, so that transfers begin at once
	n.Run()
	for slug, s := range stores {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if w.images[slug], err = os.ReadFile(filepath.Join(dir, slug, embedded.File)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// memory is a directory that is no disk, where the system has one: the disk under fire is ours, above it.
func memory() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}
