package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
)

func (a *app) issuerCommand() *cobra.Command {
	return group("issuer", "Issue credentials as an authority hosted here", a.issueCommand())
}

func (a *app) issueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "issue HOLDER TYPE",
		Short: "Sign a credential of the type TYPE for the company with the DID HOLDER, and print it",
		Long: `Issue signs a verifiable credential with the issuing key of a participant hosted here. It needs the store and the master key, not the running connector.
The holder stores what is printed by "sluice credentials put". Peers accept it when their settings trust this issuer for the type.`,
		Example: `  sluice issuer issue --participant meridian did:web:boreal.example:boreal BpnCredential \
    --claim holderIdentifier=BPNL00000000BOR1 --claim bpn=BPNL00000000BOR1 > bpn.jwt`,
		Args: cobra.ExactArgs(2),
	}
	f := c.Flags()
	path := a.configFlag(c)
	slug := f.StringP("participant", "p", "", "slug of the issuing participant (required)")
	claims := f.StringArray("claim", nil, "member of the credential's subject: name=value (may be repeated)")
	days := f.Int("days", 365, "how long it is good for")
	_ = c.MarkFlagRequired("participant")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return err
		}
		holder, _, err := identity.ParseDID(args[0])
		if err != nil {
			return usage("holder: %w", err)
		}
		if *days < 1 || args[1] == "" {
			return usage("type %q, days %d: want the name of a type, and at least one day", args[1], *days)
		}
		subject := credential.Subject{}
		for _, claim := range *claims {
			name, value, ok := strings.Cut(claim, "=")
			if !ok || name == "" || name == "id" {
				return usage("claim %q: want name=value; the id is the holder", claim)
			}
			subject[name] = value
		}
		keys, done, err := a.keysOf(cmd.Context(), s, *slug)
		if err != nil {
			return err
		}
		defer done()
		issuer := credential.Issuer{DID: identity.FormatDID(s.Public.Host, *slug), Keys: keys, Now: a.now, Rand: a.rand}
		id, token, err := issuer.Issue(cmd.Context(), holder, args[1], subject, time.Duration(*days)*24*time.Hour)
		if err != nil {
			return err
		}
		if a.json {
			return a.value(map[string]string{"id": id, "issuer": string(issuer.DID), "holder": string(holder), "type": args[1], "jwt": token})
		}
		_, err = fmt.Fprintln(a.stdout, token)
		return err
	}
	return c
}
