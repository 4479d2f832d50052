package connector

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/policy/profile"
)

// joinIssuer makes the issuer side of the hosted participants. It comes after the outbox and before anybody asks for a DID document.
func (c *Connector) joinIssuer(ctx context.Context) error {
	cfg := c.cfg
	c.issuer = issuer.New(issuer.Config{Store: c.store, Decider: c.ledger, Claims: c.identity, Codec: dcp.IssuerCodec{Informal: c.informal}, Hosted: c.hosted,
		Seals: identity.Vault{Keys: c.hosted.Keys, Rand: cfg.Rand}, Keys: c.hosted.Keys, Outbox: c.outbox,
		StatusURL: func(p participant.Participant, list string) string { return c.issuerURL(p) + "/status/" + list }, Templates: func(p participant.Participant) []issuer.Definition { return templates(c.ecosystems.profile(p)) },
		Now: cfg.Now, Rand: cfg.Rand, Log: cfg.Log, PerHour: cfg.Settings.Limits.Requests, Patience: cfg.Settings.Limits.Approval})
	c.issuerService = dcphttp.NewIssuerService(dcphttp.IssuerConfig{Agent: c.agent, Issuer: c.issuer, Hosted: c.hosted, Base: c.issuerURL, Log: cfg.Log})
	for _, kind := range []commit.ProcessKind{commit.IssuerRequest, commit.IssuerOffer} {
		c.senders[kind], c.owners[kind] = c.issuerService, c.issuer
	}
	for _, p := range c.hosted.all() {
		if err := c.issuer.Load(ctx, p.ID); err != nil {
			return fmt.Errorf("issuer %s: %w", p.Slug, err)
		}
	}
	return nil
}

func (c *Connector) issuerURL(p participant.Participant) string { return c.root(p) + "/issuer" }

// templates are what an issuer of the ecosystem begins with: every credential for those on its list, revocable and suspendable.
func templates(p *profile.Profile) []issuer.Definition {
	var out []issuer.Definition
	for _, i := range p.Issuance {
		d := issuer.Definition{ID: i.Type, Type: i.Type, Profile: i.Profile, Contexts: i.Contexts, Life: time.Duration(i.Days) * 24 * time.Hour,
			Purposes: []string{statuslist.Revocation, statuslist.Suspension}, Rules: []issuer.Rule{{Kind: issuer.ByList}}}
		for _, m := range i.Subject {
			member := issuer.Member{Name: m.Name, From: issuer.OfHolder, Key: m.Key, Many: m.Many, Optional: m.Optional}
			if m.Value != "" {
				member = issuer.Member{Name: m.Name, From: issuer.Constant, Values: []string{m.Value}, Many: m.Many}
			}
			d.Subject = append(d.Subject, member)
		}
		out = append(out, d)
	}
	return out
}

// EnableIssuer switches a hosted participant on as issuer: its DID document names the service from now on.
func (c *Connector) EnableIssuer(ctx context.Context, local participant.Participant, actor string) error {
	err := c.issuer.Enable(ctx, local, actor)
	c.agent.Forget(local)
	return err
}

// Issuer is the issuer side of the hosted participants.
func (c *Connector) Issuer() *issuer.Service { return c.issuer }

// IssuerURL is where the issuer service of a hosted participant is reached.
func (c *Connector) IssuerURL(local participant.Participant) string { return c.issuerURL(local) }
