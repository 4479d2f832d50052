package connector

import (
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// joinUsers makes what knows the users of the management API. Its way out leads to the identity providers and nowhere else.
func (c *Connector) joinUsers(outbound func(allow []string, public bool) (*egress.Client, error)) (err error) {
	var origins []string
	var providers []identity.Provider
	for _, p := range c.cfg.Settings.Management.OIDC {
		for _, address := range []string{p.Issuer, p.Keys} {
			if address != "" {
				origins = append(origins, address)
			}
		}
		next := identity.Provider{Issuer: p.Issuer, Audience: p.Audience, Beside: p.Beside, Keys: p.Keys, Algorithms: p.Algorithms,
			Roles: identity.Mapping(p.Roles), Participants: identity.Mapping(p.Participants)}
		if p.Participants.Claim == "" {
			next.Everyone = slugs(c.cfg.Settings)
		}
		providers = append(providers, next)
	}
	if c.logins, err = outbound(origins, false); err != nil {
		return err
	}
	c.users = identity.NewUsers(c.logins.Fetch, c.cfg.Now, providers)
	return nil
}

// slugs are those of the participants in the file: one, where it goes without saying for whom a provider's users act.
func slugs(s settings.Settings) []string {
	var out []string
	for _, p := range s.Participants {
		out = append(out, p.Slug)
	}
	return out
}
