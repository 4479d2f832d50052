package e2e_test

import (
	"crypto/rand"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
)

// monitor scrapes one company.
type monitor struct {
	who   *network.Company
	token string
}

func watchFigures(t *testing.T, c *network.Company) monitor {
	t.Helper()
	secret, token, err := rpc.NewToken(rand.Reader, store.Token{Role: rpc.Reader, Label: "monitor", Created: time.Now()})
	if err == nil {
		err = c.Store().PutToken(t.Context(), token)
	}
	if err != nil {
		t.Fatal(err)
	}
	return monitor{c, secret}
}

// scrape returns what is shown, and what each metric of ours is said to be.
func (m monitor) scrape(t *testing.T) (figures map[string]string, meanings map[string]string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.who.Management+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+m.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s, %v", res.StatusCode, text, err)
	}
	figures, meanings = map[string]string{}, map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if help, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, meaning, _ := strings.Cut(help, " ")
			meanings[name] = meaning
		}
		if name, value, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
			figures[name] = value
		}
	}
	return figures, meanings
}

// calls are the outbound calls that proving identities took, by kind.
func (m monitor) calls(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	figures, _ := m.scrape(t)
	for name, value := range figures {
		if kind, ok := strings.CutPrefix(name, `sluice_identity_calls_total{kind="`); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			out[strings.TrimSuffix(kind, `"}`)] = n
		}
	}
	return out
}

func TestOnlyTheFirstExchangeOfAPairCallsAnybodyToProveIdentity(t *testing.T) {
	t.Parallel()
	n := start(t, members[1], members[2])
	cobalt, boreal := watchFigures(t, n.Companies["cobalt"]), watchFigures(t, n.Companies["boreal"])
	asset := publish(t, cobalt.who).Assets[0]
	before := map[monitor]map[string]int{cobalt: cobalt.calls(t), boreal: boreal.calls(t)}
	pull := func() {
		t.Helper()
		result, err := boreal.who.Pull(t.Context(), boreal.who.Local, exchange.Errand{Peer: cobalt.who.Local.DID, Asset: asset, Fresh: true, Actor: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if err := result.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	pull()
	first := map[monitor]map[string]int{}
	for m, want := range map[monitor]map[string]int{
		// The authority's document was looked at when its credentials came. Each list is looked at once for all credentials that stand in it.
		cobalt: {"document": 1, "presentation": 1, "list": 2, "schema": 0}, // the peer's document, what the peer shows, and the lists of revocation and suspension
		boreal: {"document": 1, "presentation": 0, "list": 0, "schema": 0}, // who shows what it holds asks nobody; the provider's document says where to send
	} {
		first[m] = m.calls(t)
		spent := maps.Clone(first[m])
		for kind, n := range before[m] {
			spent[kind] -= n
		}
		if !maps.Equal(spent, want) {
			t.Errorf("%s made the calls %v for the first exchange, want %v", m.who.Local.Slug, spent, want)
		}
	}
	for range 3 {
		pull()
	}
	for m, before := range first {
		if got := m.calls(t); !maps.Equal(got, before) {
			t.Errorf("%s made the calls %v for three more, after %v", m.who.Local.Slug, got, before)
		}
	}
	for m, want := range map[monitor]string{cobalt: `sluice_exchanges_total{role="provider"}`, boreal: `sluice_exchanges_total{role="consumer"}`} {
		for { // until it is counted, or the test's time is over
			if figures, _ := m.scrape(t); figures[want] == "4" {
				break
			}
			runtime.Gosched()
		}
	}
}

func TestTheMetricsAreThoseOfTheDocumentation(t *testing.T) {
	t.Parallel()
	n := start(t, members[2])
	m := watchFigures(t, n.Companies["cobalt"])
	figures, meanings := m.scrape(t)
	var want []string
	for name, meaning := range meanings {
		if strings.HasPrefix(name, "sluice_") {
			want = append(want, "| `"+name+"` | "+meaning+" |")
		}
	}
	slices.Sort(want)
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/metrics.md has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, ok := figures["process_resident_memory_bytes"]; !ok {
		t.Error("nothing is said of the process")
	}
	for name := range figures {
		for _, c := range n.Companies {
			if strings.Contains(name, c.Local.Slug) {
				t.Errorf("%s names a company", name)
			}
		}
	}
}
