package wallet_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wallet"
)

const (
	membershipScope = "org.eclipse.tractusx.vc.type:MembershipCredential:read"
	verifier        = "did:web:cobalt.example:cobalt"
)

func TestATokenServiceIsOffUntilSomebodyMayUseIt(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		demand := wallet.Demand{Client: "x", Secret: "y", Audience: verifier}
		if _, err := b.Delegate(t.Context(), b.local, demand); !fault.Is(err, fault.NotFound) {
			t.Errorf("without clients: %v", err)
		}
		c, secret, err := b.CreateClient(t.Context(), b.local, "kit", []string{membershipScope}, "operator")
		check(t, err)
		demand = wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{membershipScope}}
		if audience, err := b.Delegate(t.Context(), b.local, demand); err != nil || audience != verifier {
			t.Errorf("%s, %v", audience, err)
		}
		if _, err := b.Delegate(t.Context(), b.other, demand); !fault.Is(err, fault.NotFound) {
			t.Errorf("at another company: %v", err)
		}
		check(t, b.DeleteClient(t.Context(), b.local, c.ID, "operator"))
		if _, err := b.Delegate(t.Context(), b.local, demand); !fault.Is(err, fault.NotFound) {
			t.Errorf("after its end: %v", err)
		}
		if err := b.DeleteClient(t.Context(), b.local, c.ID, "operator"); !fault.Is(err, fault.NotFound) {
			t.Errorf("ended twice: %v", err)
		}
	})
}

// Trap 8.24: what the store has of a secret opens nothing.
func TestASecretIsKeptAsItsHash(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		c, secret, err := b.CreateClient(t.Context(), b.local, "kit", nil, "operator")
		check(t, err)
		all := must(b.Clients(t.Context(), b.local))(t)
		text, err := json.Marshal(all)
		check(t, err)
		if len(all) != 1 || strings.Contains(string(text), secret) || b.logged(secret) || !strings.HasPrefix(secret, "slt_") || len(secret) < 40 {
			t.Errorf("kept: %s", text)
		}
		if _, err := b.Delegate(t.Context(), b.local, wallet.Demand{Client: c.ID, Secret: c.Hash, Audience: verifier}); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("by its hash: %v", err)
		}
	})
}

func TestAClientGetsWhatItMayDelegateAndNoMore(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		c, secret, err := b.CreateClient(t.Context(), b.local, "kit", []string{membershipScope, "org.eclipse.dspace.dcp.vc.id:urn:x:read"}, "operator")
		check(t, err)
		second, other, err := b.CreateClient(t.Context(), b.local, "other", nil, "operator")
		check(t, err)
		for name, tt := range map[string]struct {
			demand wallet.Demand
			want   fault.Kind
		}{
			"a scope that it has":             {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{membershipScope}}, 0},
			"the same under another alias":    {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{"org.eclipse.dspace.dcp.vc.type:MembershipCredential"}}, 0},
			"no scope":                        {wallet.Demand{Client: second.ID, Secret: other, Audience: verifier}, 0},
			"a token to carry":                {wallet.Demand{Client: second.ID, Secret: other, Audience: verifier, Token: "theirs"}, 0},
			"a scope that it has not":         {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{membershipScope, "org.eclipse.tractusx.vc.type:BpnCredential:read"}}, fault.Refused},
			"more than a scope that it has":   {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{"org.eclipse.tractusx.vc.type:MembershipCredentialX:read"}}, fault.Refused},
			"a scope by id that is a type":    {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{"org.eclipse.dspace.dcp.vc.id:MembershipCredential:read"}}, fault.Refused},
			"a scope that writes":             {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{"org.eclipse.tractusx.vc.type:MembershipCredential:write"}}, fault.Refused},
			"any scope":                       {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{"*"}}, fault.Refused},
			"a scope without having any":      {wallet.Demand{Client: second.ID, Secret: other, Audience: verifier, Scopes: []string{membershipScope}}, fault.Refused},
			"scopes and a token":              {wallet.Demand{Client: c.ID, Secret: secret, Audience: verifier, Scopes: []string{membershipScope}, Token: "theirs"}, fault.Malformed},
			"an audience that is no DID":      {wallet.Demand{Client: c.ID, Secret: secret, Audience: "https://cobalt.example"}, fault.Malformed},
			"the company itself as audience":  {wallet.Demand{Client: c.ID, Secret: secret, Audience: string(b.local.DID)}, fault.Malformed},
			"a wrong secret":                  {wallet.Demand{Client: c.ID, Secret: secret + "x", Audience: verifier}, fault.Unauthenticated},
			"the secret of another client":    {wallet.Demand{Client: c.ID, Secret: other, Audience: verifier}, fault.Unauthenticated},
			"a client that does not exist":    {wallet.Demand{Client: "stc_none", Secret: secret, Audience: verifier}, fault.Unauthenticated},
			"a client without a secret":       {wallet.Demand{Client: c.ID, Audience: verifier}, fault.Unauthenticated},
			"a wrong secret for a bad demand": {wallet.Demand{Client: c.ID, Secret: "x", Audience: "nobody"}, fault.Unauthenticated},
		} {
			_, err := b.Delegate(t.Context(), b.local, tt.demand)
			if tt.want == 0 && err != nil || tt.want != 0 && !fault.Is(err, tt.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Every token is on record before it is made.
		entries, err := b.store.LogEntries(t.Context(), b.local.Slug, 0, 100)
		check(t, err)
		tail, err := b.store.LogTail(t.Context(), b.local.Slug)
		check(t, err)
		if len(entries)+tail != 2+4 {
			t.Errorf("%d entries and %d more, want those of two clients and four tokens", len(entries), tail)
		}
	})
}

func TestAClientIsDescribedInBounds(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		for name, tt := range map[string]struct {
			label  string
			scopes []string
		}{
			"no label":               {"", nil},
			"a long label":           {strings.Repeat("x", 65), nil},
			"many scopes":            {"kit", strings.Split(strings.Repeat(membershipScope+" ", 21), " ")[:21]},
			"a scope that is none":   {"kit", []string{"membership"}},
			"two scopes in one":      {"kit", []string{membershipScope + " " + membershipScope}},
			"a scope that writes":    {"kit", []string{"org.eclipse.tractusx.vc.type:MembershipCredential:write"}},
			"an alias of nobody's":   {"kit", []string{"org.example.other:MembershipCredential:read"}},
			"a scope that is secret": {"kit", []string{""}},
		} {
			_, _, err := b.CreateClient(t.Context(), b.local, tt.label, tt.scopes, "operator")
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Malformed {
				t.Errorf("%s: %v", name, err)
			}
		}
		if all := must(b.Clients(t.Context(), b.local))(t); len(all) != 0 {
			t.Errorf("clients: %+v", all)
		}
	})
}
