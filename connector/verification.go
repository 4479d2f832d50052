package connector

import (
	"context"
	"maps"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
)

// joinVerifier makes what peers prove themselves to.
func (c *Connector) joinVerifier(tokens *identity.Verifier) error {
	s := c.cfg.Settings.Verification
	trust := trustOf(c.cfg.Settings)
	fetch := dcphttp.Fetcher(c.peers)
	c.lists = credential.NewLists(credential.ListsConfig{Fetch: fetch, Tokens: tokens, Trust: trust, Calls: &c.calls, MinEntries: s.ListEntries,
		Life: s.ListLife, Grace: s.ListGrace, Now: c.cfg.Now, Log: c.cfg.Log})
	schemas, err := credential.NewSchemas(credential.SchemasConfig{Allow: s.Schemas, Fetch: fetch, Calls: &c.calls, Now: c.cfg.Now})
	if err != nil {
		return err
	}
	var bpn []credential.Claim
	for _, claim := range c.profile.BPN {
		bpn = append(bpn, credential.Claim(claim))
	}
	c.verifier, err = credential.NewVerifier(credential.VerifierConfig{Querier: c.agent, Tokens: tokens, Trust: trust, Lists: c.lists, Schemas: schemas, Calls: &c.calls,
		Scopes: c.profile.Scopes, Required: s.Required, BPN: bpn, Wallet: c.hosted, Envelope: s.Envelope, Remember: s.Remember, Now: c.cfg.Now, Log: c.cfg.Log})
	return err
}

// trustOf is the trust of the settings.
func trustOf(s settings.Settings) credential.TrustList {
	trust := credential.TrustList{Issuers: map[string][]participant.DID{}}
	for _, t := range s.Profile.Trust {
		for _, kind := range t.Credentials {
			trust.Issuers[kind] = append(trust.Issuers[kind], participant.DID(t.Issuer))
		}
	}
	return trust
}

// IdentityCalls is how many outbound calls of each kind it took so far to find out who peers are and what they have proven.
func (c *Connector) IdentityCalls() map[string]int64 {
	out := map[string]int64{}
	for kind, n := range maps.All(c.calls.Counts()) {
		out[kind.String()] = n
	}
	return out
}

// RefreshList looks at a status list again, because somebody says that it changed; see credential.Lists.Refresh.
func (c *Connector) RefreshList(ctx context.Context, url string) error {
	return c.lists.Refresh(ctx, url)
}
