package settings

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/participant"
)

// Provider is an identity provider (OpenID Connect) whose access tokens open the management API.
type Provider struct {
	Issuer       string   `yaml:"issuer"`   // as its tokens name it, to the letter
	Audience     string   `yaml:"audience"` // who we are for it
	Beside       []string `yaml:"beside,omitempty"`
	Keys         string   `yaml:"keys,omitempty"` // URL of its key set; empty: found by discovery
	Algorithms   []string `yaml:"algorithms,omitempty"`
	Roles        Mapping  `yaml:"roles"`                  // to roles
	Participants Mapping  `yaml:"participants,omitempty"` // to slugs, or "*"; without a claim: the only participant of the file
}

// Mapping reads one claim of a token.
type Mapping struct {
	Claim  string            `yaml:"claim,omitempty"`  // a name, or a JSON pointer
	Values map[string]string `yaml:"values,omitempty"` // value there -> meaning here
}

func (c *checker) providers(all []Provider, hosted int) {
	seen := map[string]bool{}
	for i, p := range all {
		key := fmt.Sprintf("management.oidc[%d]", i)
		c.expect(key+".issuer", p.Issuer, isSafe(p.Issuer), "an https URL without query and fragment (http on this machine only)")
		c.expect(key+".issuer", p.Issuer, !seen[p.Issuer], "an issuer that no other provider has")
		c.expect(key+".audience", p.Audience, p.Audience != "", "who we are for this provider")
		c.expect(key+".keys", p.Keys, p.Keys == "" || isSafe(p.Keys), "an https URL without query and fragment (http on this machine only), or nothing")
		for j, alg := range p.Algorithms {
			c.expect(fmt.Sprintf("%s.algorithms[%d]", key, j), alg, slices.Contains([]string{"ES256", "EdDSA", "RS256", "PS256", "ES384"}, alg), "ES256, EdDSA, RS256, PS256 or ES384")
		}
		c.expect(key+".roles.claim", p.Roles.Claim, p.Roles.Claim != "", "the claim that holds roles")
		c.expect(key+".roles.values", "", len(p.Roles.Values) > 0, "at least one value and its role")
		for _, value := range slices.Sorted(maps.Keys(p.Roles.Values)) {
			role := p.Roles.Values[value]
			c.expect(key+".roles.values."+value, role, slices.Contains(participant.Roles(), role), strings.Join(participant.Roles(), ", "))
		}
		c.expect(key+".participants.claim", p.Participants.Claim, p.Participants.Claim != "" || hosted == 1 && len(p.Participants.Values) == 0,
			"the claim that says for whom a user acts: only with exactly one participant in this file it goes without saying")
		for _, value := range slices.Sorted(maps.Keys(p.Participants.Values)) {
			slug := p.Participants.Values[value]
			c.expect(key+".participants.values."+value, slug, slug == "*" || participant.ValidSlug(slug) == nil, "the slug of a participant, or \"*\" for all of them")
		}
		seen[p.Issuer] = true
	}
}

// isSafe accepts a URL that tokens can be trusted to come from: nobody on the way can have changed what is fetched there.
func isSafe(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.User == nil && u.Host != "" && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && len(raw) <= 512 &&
		(u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()))
}
