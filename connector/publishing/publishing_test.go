package publishing_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy/profile"
	"github.com/sluice-connector/sluice/schemas"
)

// desk is Cobalt Cells with a publisher, and a peer that looks.
type desk struct {
	*pair.Network
	cobalt, aurora *pair.Side
	publisher      *publishing.Publisher
}

func open(t *testing.T) desk {
	t.Helper()
	n := pair.New(t, "cobalt", "aurora")
	ecosystem, err := profile.Default()
	if err != nil {
		t.Fatal(err)
	}
	models, err := aspect.NewModels()
	if err != nil {
		t.Fatal(err)
	}
	d := desk{Network: n, cobalt: n.Side("cobalt"), aurora: n.Side("aurora")}
	d.publisher = publishing.New(publishing.Config{Catalog: d.cobalt.Catalog, Profile: func(participant.Participant) *profile.Profile { return ecosystem }, Models: models, Now: n.Now})
	return d
}

// parts is a file of n parts, and what it publishes.
func parts(t *testing.T, n int) string {
	t.Helper()
	text, err := os.ReadFile("../../cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfterN(string(text), "\n", 3)
	out := lines[0]
	for i := range n {
		out += strings.Replace(lines[1], "CC-21700-50", fmt.Sprintf("CC-%03d", i), 1)
	}
	return out
}

func (d desk) publish(t *testing.T, file string) publishing.Outcome {
	t.Helper()
	got, err := d.publisher.Publish(t.Context(), d.cobalt.Local, publishing.File{Format: "csv", Template: "pcf", Actor: "operator"}, strings.NewReader(file), nil)
	if err != nil || got.Total > 0 {
		t.Fatalf("%v, %v", got.Faults, err)
	}
	return got
}

// seen lists what the peer is shown, in pages of ten.
func (d desk) seen(t *testing.T) []string {
	t.Helper()
	var out []string
	r := page.Request{Limit: 10}
	for {
		p, err := d.cobalt.Catalog.Request(t.Context(), d.cobalt.Local, d.aurora.Peer, nil, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Items {
			out = append(out, s.Asset.ID)
		}
		if r.After = p.Next; r.After.ID == "" {
			return out
		}
	}
}

func (d desk) rules(t *testing.T) []catalog.Rule {
	t.Helper()
	rules, err := d.cobalt.Store.Rules(t.Context(), d.cobalt.Local.ID, page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return rules.Items
}

func TestATemplateOffersWhatWasPublishedUnderItAndNothingElse(t *testing.T) {
	t.Parallel()
	d := open(t)
	strict := catalog.Asset{ID: "urn:cobalt:prototype", Type: "https://w3id.org/catenax/taxonomy#Submodel", APIVersion: "3.0", SemanticID: schemas.PCF,
		Address: catalog.Address{BaseURL: "https://upstream.example/prototype"}}
	for range 2 { // it comes first, and it is changed afterwards: neither brings it under the template
		if err := d.cobalt.Catalog.Publish(t.Context(), d.cobalt.Local, catalog.Publication{Assets: []catalog.Asset{strict}, Upsert: true}); err != nil {
			t.Fatal(err)
		}
		want := d.publish(t, parts(t, 3)).Assets
		got := d.seen(t)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the peer sees %v, want %v", got, want)
		}
	}
}

func TestTheSameFileAgainChangesNoOffer(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.publish(t, parts(t, 30))
	before, rules := d.seen(t), d.rules(t)
	d.Advance(time.Hour)
	d.publish(t, parts(t, 30))
	if got := d.rules(t); len(rules) != 1 || len(got) != 1 || got[0].ID != rules[0].ID || got[0].Version != rules[0].Version {
		t.Errorf("rules: %v, then %v; want one and the same", rules, got)
	}
	if got := d.seen(t); len(got) != 30 || !slices.Equal(got, before) {
		t.Errorf("the peer sees %d parts, then %d; want the same 30", len(before), len(got))
	}
}

func TestARuleOfATemplateThatWasBentIsPutRight(t *testing.T) {
	t.Parallel()
	d := open(t)
	want := d.publish(t, parts(t, 2)).Assets
	bent := d.rules(t)[0]
	bent.Selector = catalog.Selector{Assets: want[:1]}
	if _, err := d.cobalt.Catalog.Offer(t.Context(), d.cobalt.Local, bent, "operator"); err != nil {
		t.Fatal(err)
	}
	d.publish(t, parts(t, 2))
	if got := d.seen(t); len(got) != 2 {
		t.Errorf("the peer sees %v, want %v", got, want)
	}
}

func TestWhatWasPublishedTwiceIsListedWholeInPages(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.publish(t, parts(t, 30))
	d.Advance(time.Hour)
	d.publish(t, parts(t, 30))
	seen := map[string]bool{}
	for r := (page.Request{Limit: 10}); ; {
		p, err := d.cobalt.Store.Assets(t.Context(), d.cobalt.Local.ID, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Items {
			seen[a.ID] = true
			if !a.Updated.After(a.Created) {
				t.Errorf("%s: created %v, updated %v; want the first publication and the second", a.ID, a.Created, a.Updated)
			}
		}
		if r.After = p.Next; r.After.ID == "" {
			break
		}
	}
	if len(seen) != 30 {
		t.Errorf("the pages hold %d assets, want 30", len(seen))
	}
}

func TestAFileWithAFaultPublishesNothingAndOffersNothing(t *testing.T) {
	t.Parallel()
	d := open(t)
	file := parts(t, 3) + "CC-X,no unit,Cobalt Cells\n"
	f := publishing.File{Format: "csv", Template: "pcf", Actor: "operator"}
	got, err := d.publisher.Publish(t.Context(), d.cobalt.Local, f, strings.NewReader(file), nil)
	if err != nil || got.Total == 0 || len(got.Assets) != 0 || len(d.rules(t)) != 0 {
		t.Errorf("%d faults, assets %v, rules %v, %v; want faults and nothing done", got.Total, got.Assets, d.rules(t), err)
	}
	f.Partial, f.DryRun = true, true
	got, err = d.publisher.Publish(t.Context(), d.cobalt.Local, f, strings.NewReader(file), nil)
	if err != nil || len(got.Assets) != 3 || len(d.rules(t)) != 0 {
		t.Errorf("a trial: %v, rules %v, %v; want to be told of 3 assets, and nothing done", got.Assets, d.rules(t), err)
	}
	f.DryRun = false
	if got, err = d.publisher.Publish(t.Context(), d.cobalt.Local, f, strings.NewReader(file), nil); err != nil || len(got.Assets) != 3 || len(d.seen(t)) != 3 {
		t.Errorf("what is right: %v, %v; want 3 assets offered", got.Assets, err)
	}
}

func TestATemplateThatIsNotForUsingDataIsRefusedBeforeTheFileIsRead(t *testing.T) {
	t.Parallel()
	d := open(t)
	for _, name := range []string{"members", "nothing"} {
		_, err := d.publisher.Publish(t.Context(), d.cobalt.Local, publishing.File{Format: "csv", Template: name}, nil, nil)
		if !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want Malformed", name, err)
		}
	}
}
