package connector_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/policy/profile"
)

// issuerService is the IssuerService entry of a hosted participant's DID document; "" when there is none.
func issuerService(t *testing.T, c *connector.Connector, local participant.Participant) string {
	t.Helper()
	body, err := c.DIDDocument(local)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := identity.ParseDocument(local.DID, body)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(doc.Services, func(s identity.Service) bool { return s.Type == "IssuerService" })
	if i < 0 {
		return ""
	}
	return doc.Services[i].Endpoint
}

func TestADIDDocumentNamesTheIssuerServiceFromTheMomentThatThereIsOne(t *testing.T) {
	t.Parallel()
	s := settings.Default()
	s.Data = filepath.Join(t.TempDir(), "data")
	s.Participants = []settings.Participant{{Slug: "meridian", Name: "Meridian", Issuer: true}, {Slug: "aurora", Name: "Aurora Motors"}}
	begin := func() *connector.Connector {
		c, err := connector.New(t.Context(), connector.Config{Settings: s, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := begin()
	meridian, err := c.Participant(t.Context(), "meridian")
	if err != nil {
		t.Fatal(err)
	}
	aurora, err := c.Participant(t.Context(), "aurora")
	if err != nil {
		t.Fatal(err)
	}
	if got := issuerService(t, c, meridian); got != "https://localhost:8443/meridian/issuer" {
		t.Errorf("switched on by the settings: %q", got)
	}
	if got := issuerService(t, c, aurora); got != "" {
		t.Errorf("not switched on: %q", got)
	}
	if err := c.EnableIssuer(t.Context(), aurora, "operator"); err != nil {
		t.Fatal(err)
	}
	if got := issuerService(t, c, aurora); !strings.HasSuffix(got, "/aurora/issuer") {
		t.Errorf("switched on while it runs: %q", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// What was switched on stays so, whatever the settings say.
	s.Participants[0].Issuer = false
	c = begin()
	defer c.Close()
	for _, p := range []participant.Participant{meridian, aurora} {
		if issuerService(t, c, p) == "" {
			t.Errorf("%s is no issuer any more", p.Slug)
		}
	}
	defs, err := c.Issuer().Definitions(t.Context(), meridian)
	if err != nil || len(defs) != 4 {
		t.Errorf("%d definitions to begin with, %v; want those of the profile", len(defs), err)
	}
	for _, d := range defs {
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", d.ID, err)
		}
	}
}

// An authority of any ecosystem that comes with the binary can begin: whoever asks for what its members ask each other for finds it among what is issued.
func TestAnIssuerBeginsWithWhatItsEcosystemAsksFor(t *testing.T) {
	t.Parallel()
	names, err := profile.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ecosystem, err := profile.Builtin(name)
			if err != nil {
				t.Fatal(err)
			}
			s := settings.Default()
			s.Data, s.Profiles = filepath.Join(t.TempDir(), "data"), []settings.Profile{{Use: name}}
			s.Participants = []settings.Participant{{Slug: "meridian", Name: "Meridian", Issuer: true}}
			c, err := connector.New(t.Context(), connector.Config{Settings: s, Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			meridian, err := c.Participant(t.Context(), "meridian")
			if err != nil {
				t.Fatal(err)
			}
			defs, err := c.Issuer().Definitions(t.Context(), meridian)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range ecosystem.Scopes {
				scope, err := credential.Aliases(ecosystem.Aliases).Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(defs, func(d issuer.Definition) bool {
					return d.Type == scope.Value && slices.Contains(ecosystem.Credentials.Profiles, d.Profile)
				}) {
					t.Errorf("nothing of the type %s is issued", scope.Value)
				}
			}
		})
	}
}
