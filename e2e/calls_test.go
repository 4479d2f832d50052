package e2e_test

import (
	"maps"
	"testing"

	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/network"
)

func TestOnlyTheFirstExchangeOfAPairCallsAnybodyToProveIdentity(t *testing.T) {
	t.Parallel()
	n := start(t, members[1], members[2])
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	asset := publish(t, cobalt).Assets[0]
	pull := func() {
		t.Helper()
		result, err := boreal.Pull(t.Context(), boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: asset, Fresh: true, Actor: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if err := result.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	pull()
	first := map[*network.Company]map[string]int64{
		// The authority's document was looked at when its credentials came. Each list is looked at once for all credentials that stand in it.
		cobalt: {"document": 2, "presentation": 1, "list": 2, "schema": 0}, // the peer's document, what the peer shows, and the lists of revocation and suspension
		boreal: {"document": 2, "presentation": 0, "list": 0, "schema": 0}, // who takes what is offered asks for no credentials
	}
	for c, want := range first {
		if got := c.IdentityCalls(); !maps.Equal(got, want) {
			t.Errorf("%s made the calls %v for the first exchange, want %v", c.Local.Slug, got, want)
		}
	}
	for range 3 {
		pull()
	}
	for c, before := range first {
		if got := c.IdentityCalls(); !maps.Equal(got, before) {
			t.Errorf("%s made the calls %v for three more, after %v", c.Local.Slug, got, before)
		}
	}
}
