package connector

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// joinVerifiers makes what peers prove themselves to: for each ecosystem one, with status lists of its own.
func (c *Connector) joinVerifiers(tokens *identity.Verifier) error {
	s := c.cfg.Settings.Verification
	fetch := dcphttp.Fetcher(c.peers)
	schemas := credential.NewSchemas(credential.SchemasConfig{Allow: s.Schemas, Fetch: fetch, Calls: &c.calls, Now: c.cfg.Now})
	for _, e := range c.ecosystems.all {
		var bpn []credential.Claim
		for _, claim := range e.BPN {
			bpn = append(bpn, credential.Claim(claim))
		}
		view := c.ecosystems.book.Of(e.ID)
		e.lists = credential.NewLists(credential.ListsConfig{Fetch: fetch, Tokens: tokens, Trust: view, Calls: &c.calls, MinEntries: view.Entries,
			Life: s.ListLife, Grace: view.Grace, Now: c.cfg.Now, Log: c.cfg.Log})
		var err error
		e.verifier, err = credential.NewVerifier(credential.VerifierConfig{Querier: c.agent, Tokens: tokens, Trust: view, Lists: e.lists, Schemas: schemas, Calls: &c.calls,
			Scopes: view.Scopes, Aliases: e.Aliases, Required: e.ours.Required, BPN: bpn, Wallet: held{c}, Envelope: s.Envelope, Informal: c.informal, Remember: s.Remember, Refused: c.distrust, Now: c.cfg.Now, Log: c.cfg.Log})
		if err != nil {
			return err
		}
	}
	return nil
}

// distrust puts on record that a peer was refused for a credential that is no longer, or not yet, good: no policy is asked about that.
func (c *Connector) distrust(ctx context.Context, local participant.Participant, peer participant.DID, code string) {
	ctx = context.WithoutCancel(ctx) // a refusal because the time was up is on record too
	now := c.cfg.Now()
	id, err := decisionlog.NewID(c.cfg.Rand)
	if err == nil {
		var entry decisionlog.Entry
		entry, err = c.ledger.Deny(ctx, policy.Question{ID: id, Log: local.Slug, Door: policy.DoorIdentity, Now: now, Profile: local.Profile, Peer: policy.Party{DID: string(peer)}}, code)
		if err == nil {
			err = c.store.Record(ctx, local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry},
				Events: []commit.Event{{Type: "peer.refused", Subject: string(peer), Time: now, Data: map[string]string{"reason": code}}}})
		}
	}
	if err != nil { // the peer is refused all the same
		c.cfg.Log.ErrorContext(ctx, "refusal not recorded", slog.String("participant", local.Slug), slog.String("peer", string(peer)), slog.String("code", code), slog.Any("error", err))
	}
}

// RefreshList looks at a status list again, because somebody says that it changed; see credential.Lists.Refresh.
func (c *Connector) RefreshList(ctx context.Context, url string) error {
	var all error
	for _, e := range c.ecosystems.all {
		all = errors.Join(all, e.lists.Refresh(ctx, url))
	}
	return all
}
