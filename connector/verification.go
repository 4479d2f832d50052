package connector

import (
	"context"
	"log/slog"
	"maps"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
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
		Scopes: c.profile.Scopes, Required: s.Required, BPN: bpn, Wallet: held{c}, Envelope: s.Envelope, Remember: s.Remember, Refused: c.distrust, Now: c.cfg.Now, Log: c.cfg.Log})
	return err
}

// distrust puts on record that a peer was refused for a credential that is no longer, or not yet, good: no policy is asked about that.
func (c *Connector) distrust(ctx context.Context, local participant.Participant, peer participant.DID, code string) {
	now := c.cfg.Now()
	id, err := decisionlog.NewID(c.cfg.Rand)
	if err == nil {
		var entry decisionlog.Entry
		entry, err = c.ledger.Deny(ctx, policy.Question{ID: id, Log: local.Slug, Door: policy.DoorIdentity, Now: now, Profile: c.profile.ID, Peer: policy.Party{DID: string(peer)}}, code)
		if err == nil {
			err = c.store.Record(ctx, local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry},
				Events: []commit.Event{{Type: "peer.refused", Subject: string(peer), Time: now, Data: map[string]string{"reason": code}}}})
		}
	}
	if err != nil { // the peer is refused all the same
		c.cfg.Log.ErrorContext(ctx, "refusal not recorded", slog.String("participant", local.Slug), slog.String("peer", string(peer)), slog.String("code", code), slog.Any("error", err))
	}
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
