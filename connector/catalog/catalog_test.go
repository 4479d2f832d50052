package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
)

func part(id string) catalog.Asset {
	return catalog.Asset{ID: id, Type: "https://w3id.org/catenax/taxonomy#PcfExchange", APIVersion: "3.0",
		Address: catalog.Address{BaseURL: "https://upstream.example/" + id}}
}

func publish(t *testing.T, s *pair.Side, assets ...catalog.Asset) {
	t.Helper()
	if err := s.Catalog.Publish(t.Context(), s.Local, catalog.Publication{Assets: assets, Actor: "operator"}); err != nil {
		t.Fatal(err)
	}
}

func define(t *testing.T, s *pair.Side, p odrl.Policy, access bool) string {
	t.Helper()
	d, err := s.Catalog.Define(t.Context(), s.Local, "policy", p, access, "operator")
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

func offer(t *testing.T, s *pair.Side, access, usage string, assets ...string) catalog.Rule {
	t.Helper()
	r, err := s.Catalog.Offer(t.Context(), s.Local, catalog.Rule{Selector: catalog.Selector{Assets: assets}, Access: access, Usage: usage}, "operator")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seen lists the datasets that the peer is shown, with the number of offers of each.
func seen(t *testing.T, s, peer *pair.Side) []string {
	t.Helper()
	shown, err := s.Catalog.Request(t.Context(), s.Local, peer.Peer, []byte("request"), page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range shown.Items {
		out = append(out, fmt.Sprintf("%s ×%d", d.Asset.ID, len(d.Offers)))
	}
	slices.Sort(out)
	return out
}

func TestEachPeerSeesWhatItsCredentialsOpen(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "aurora", "dusk")
	cobalt, aurora, dusk := n.Side("cobalt"), n.Side("aurora"), n.Side("dusk")
	publish(t, cobalt, part("cell"), part("pack"), part("secret"))
	members := define(t, cobalt, pair.Members(), true)
	framework := define(t, cobalt, pair.Policy("access", pair.Term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0")), true)
	usage, other := define(t, cobalt, pair.Footprints(), false), define(t, cobalt, pair.Policy("use", pair.Term("Membership", "eq", "active")), false)
	offer(t, cobalt, members, usage, "cell", "pack")
	offer(t, cobalt, framework, other, "pack", "secret")

	if got, want := seen(t, cobalt, aurora), []string{"cell ×1", "pack ×2", "secret ×1"}; !slices.Equal(got, want) {
		t.Errorf("aurora sees %v, want %v", got, want)
	}
	if got, want := seen(t, cobalt, dusk), []string{"cell ×1", "pack ×1"}; !slices.Equal(got, want) {
		t.Errorf("dusk sees %v, want %v", got, want)
	}
	for id, want := range map[string]fault.Kind{"secret": fault.NotFound, "nothing": fault.NotFound} {
		_, err := cobalt.Catalog.Dataset(t.Context(), cobalt.Local, dusk.Peer, id)
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != want || e.Reason != "there is no such dataset" {
			t.Errorf("dataset %s: %v, want the one answer for hidden and unknown", id, err)
		}
	}
	if d, err := cobalt.Catalog.Dataset(t.Context(), cobalt.Local, dusk.Peer, "pack"); err != nil || len(d.Offers) != 1 {
		t.Errorf("dataset pack: %d offers, %v, want only the visible one", len(d.Offers), err)
	}
}

func TestEachDistinctAccessPolicyIsDecidedOnceAndOnRecordBeforeAnythingIsShown(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "dusk")
	cobalt, dusk := n.Side("cobalt"), n.Side("dusk")
	var ids []string
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("part-%02d", i))
		publish(t, cobalt, part(ids[i]))
	}
	usage := define(t, cobalt, pair.Footprints(), false)
	offer(t, cobalt, define(t, cobalt, pair.Members(), true), usage, ids...)
	offer(t, cobalt, define(t, cobalt, pair.Policy("access", pair.Term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0")), true), usage, ids...)
	seen(t, cobalt, dusk)
	effects := map[string]int{}
	for _, r := range cobalt.AllRecords() {
		if r.Door == string(policy.DoorCatalog) {
			effects[r.Effect]++
		}
	}
	if effects["allow"] != 1 || effects["deny"] != 1 {
		t.Errorf("on record: %v, want one permission and one denial for 100 offers under two policies", effects)
	}
}

func TestACatalogComesInPagesThatTogetherAreTheWhole(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "aurora")
	cobalt, aurora := n.Side("cobalt"), n.Side("aurora")
	var want []string
	for i := range 23 {
		want = append(want, fmt.Sprintf("part-%02d", i))
		publish(t, cobalt, part(want[i]))
	}
	offer(t, cobalt, define(t, cobalt, pair.Members(), true), define(t, cobalt, pair.Footprints(), false))
	var got []string
	r := page.Request{Limit: 5}
	for {
		p, err := cobalt.Catalog.Request(t.Context(), cobalt.Local, aurora.Peer, nil, r)
		if err != nil || len(p.Items) > 5 {
			t.Fatalf("%d datasets on a page, %v", len(p.Items), err)
		}
		for _, d := range p.Items {
			got = append(got, d.Asset.ID)
		}
		if p.Next.ID == "" {
			break
		}
		r.After = p.Next
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want each part once", got)
	}
}

func TestNothingIsOfferedToNobody(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "aurora")
	cobalt := n.Side("cobalt")
	publish(t, cobalt, part("cell"))
	if got := seen(t, cobalt, n.Side("aurora")); len(got) != 0 {
		t.Errorf("an asset without an offer is shown: %v", got)
	}
}

func TestAnAssetThatComesAfterItsRuleIsOfferedAtOnce(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "aurora")
	cobalt := n.Side("cobalt")
	offer(t, cobalt, define(t, cobalt, pair.Members(), true), define(t, cobalt, pair.Footprints(), false))
	publish(t, cobalt, part("cell"))
	if got := seen(t, cobalt, n.Side("aurora")); !slices.Equal(got, []string{"cell ×1"}) {
		t.Errorf("aurora sees %v", got)
	}
}

func TestAPolicyThatCannotBeKeptIsRefusedWithEveryTerm(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt")
	cobalt := n.Side("cobalt")
	p := pair.Policy("use", pair.Term("MoonPhase", "eq", "full"), pair.Term("Weather", "eq", "fair"))
	_, err := cobalt.Catalog.Define(t.Context(), cobalt.Local, "odd", p, false, "operator")
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Malformed || len(e.Reasons) < 2 {
		t.Fatalf("define: %v, want each term named", err)
	}
	text := strings.Join(e.Reasons, "\n")
	if !strings.Contains(text, "MoonPhase") || !strings.Contains(text, "Weather") {
		t.Errorf("reasons:\n%s", text)
	}
}

func TestARuleNamesOnePolicyOfEachKind(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt")
	cobalt := n.Side("cobalt")
	access, usage := define(t, cobalt, pair.Members(), true), define(t, cobalt, pair.Footprints(), false)
	for name, r := range map[string]catalog.Rule{
		"usage where access belongs": {Access: usage, Usage: usage},
		"access where usage belongs": {Access: access, Usage: access},
		"kinds the wrong way round":  {Access: usage, Usage: access},
		"a policy that is not there": {Access: access, Usage: strings.Repeat("0", 64)},
		"no policy":                  {Access: access},
	} {
		if _, err := cobalt.Catalog.Offer(t.Context(), cobalt.Local, r, "operator"); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want malformed", name, err)
		}
	}
}

func TestAnAssetSaysWhatItIsAndWhereItsBytesAre(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt")
	cobalt := n.Side("cobalt")
	for name, change := range map[string]func(*catalog.Asset){
		"no id":                  func(a *catalog.Asset) { a.ID = "" },
		"an id with a space":     func(a *catalog.Asset) { a.ID = "a b" },
		"an endless id":          func(a *catalog.Asset) { a.ID = strings.Repeat("x", 513) },
		"no type":                func(a *catalog.Asset) { a.Type = "" },
		"no address":             func(a *catalog.Asset) { a.Address = catalog.Address{} },
		"two addresses":          func(a *catalog.Asset) { a.Address.Content = strings.Repeat("0", 64) },
		"an address of no place": func(a *catalog.Asset) { a.Address.BaseURL = "file:///etc/passwd" },
	} {
		a := part("cell")
		change(&a)
		err := cobalt.Catalog.Publish(t.Context(), cobalt.Local, catalog.Publication{Assets: []catalog.Asset{part("good"), a}})
		if !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want malformed", name, err)
		}
		if _, err := cobalt.Store.Asset(t.Context(), cobalt.Local.ID, "good"); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: the good asset beside it was stored: %v", name, err)
		}
	}
}

func TestWhatCannotBePublishedLeavesNoPolicyAndNoRule(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt")
	cobalt := n.Side("cobalt")
	publish(t, cobalt, part("cell"))
	terms := &catalog.Terms{Name: "pcf", Access: catalog.Draft{Name: "members", Policy: pair.Members()}, Usage: catalog.Draft{Name: "pcf", Policy: pair.Footprints()}}
	before := len(cobalt.AllRecords())
	err := cobalt.Catalog.Publish(t.Context(), cobalt.Local, catalog.Publication{Assets: []catalog.Asset{part("pack"), part("cell")}, Terms: terms})
	if !fault.Is(err, fault.Conflict) {
		t.Fatalf("an asset that exists: %v, want Conflict", err)
	}
	policies, err1 := cobalt.Store.Definitions(t.Context(), cobalt.Local.ID, page.Request{})
	rules, err2 := cobalt.Store.Rules(t.Context(), cobalt.Local.ID, page.Request{})
	if err := errors.Join(err1, err2); err != nil || len(policies.Items)+len(rules.Items) != 0 || len(cobalt.AllRecords()) != before {
		t.Errorf("%d policies, %d rules, %d new records, %v; want none", len(policies.Items), len(rules.Items), len(cobalt.AllRecords())-before, err)
	}
}

func TestWhatIsWithdrawnIsOnRecord(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "aurora")
	cobalt, aurora := n.Side("cobalt"), n.Side("aurora")
	publish(t, cobalt, part("cell"), part("pack"))
	rule := offer(t, cobalt, define(t, cobalt, pair.Members(), true), define(t, cobalt, pair.Footprints(), false))
	if err := cobalt.Catalog.Withdraw(t.Context(), cobalt.Local, "cell", 7, "operator"); !fault.Is(err, fault.Conflict) {
		t.Errorf("a stale version: %v, want Conflict", err)
	}
	before := len(cobalt.AllRecords())
	if err := cobalt.Catalog.Withdraw(t.Context(), cobalt.Local, "cell", 1, "operator"); err != nil {
		t.Fatal(err)
	}
	if got, want := seen(t, cobalt, aurora), []string{"pack ×1"}; !slices.Equal(got, want) {
		t.Errorf("without the asset: %v, want %v", got, want)
	}
	if err := cobalt.Catalog.WithdrawRule(t.Context(), cobalt.Local, rule.ID, rule.Version, "operator"); err != nil {
		t.Fatal(err)
	}
	if got := seen(t, cobalt, aurora); len(got) != 0 {
		t.Errorf("without the rule: %v, want nothing", got)
	}
	if got := len(cobalt.AllRecords()) - before; got != 3 { // the second look asks no policy: none is left
		t.Errorf("%d records, want both withdrawals and one decision", got)
	}
}
