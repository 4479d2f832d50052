package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) issuerCommand() *cobra.Command {
	c := group("issuer", "Issue credentials as an authority hosted here, and take them back",
		a.issuerEnableCommand(), a.issuerShowCommand(), a.definitionsCommand(), a.holdersCommand(), a.issuerRequestsCommand(), a.issueCommand(), a.issuedCommand(), a.offerCommand(), a.issuerOffersCommand())
	c.Long = `An issuer is a participant that was switched on as one, by its settings or by "sluice issuer enable". It says what it issues (definitions), to whom
(holders), and decides what holders ask for: by a list, by an operator's approval, by another credential that they show. What it issued stands in
status lists, so that it can be suspended, reinstated and revoked at once. Every decision is on record.`
	c.Example = `  sluice issuer enable
  sluice issuer holders import members.csv
  sluice issuer offer did:web:boreal.example:boreal MembershipCredential
  sluice issuer requests list --state SUBMITTED
  sluice issuer credentials revoke urn:uuid:5f6c… --reason 'the membership has ended'`
	return c
}

func (a *app) issuerEnableCommand() *cobra.Command {
	return a.remote(&cobra.Command{Use: "enable", Short: "Switch a participant on as issuer; there is no way back", Args: cobra.NoArgs,
		Long: `Enable switches the participant on as issuer. Its DID document names the service from now on, and it begins with the definitions of the ecosystem,
each for holders on its list. There is no way back: what it issues names its status lists.`,
		Example: "  sluice issuer enable --participant meridian",
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
			i, err := pb.NewIssuerServiceClient(conn).EnableIssuer(ctx, &pb.EnableIssuerRequest{Participant: slug})
			return a.showIssuer(i, err)
		})})
}

func (a *app) issuerShowCommand() *cobra.Command {
	return a.remote(&cobra.Command{Use: "show", Short: "Show whether a participant is an issuer, and where it is reached", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
			i, err := pb.NewIssuerServiceClient(conn).GetIssuer(ctx, &pb.GetIssuerRequest{Participant: slug})
			return a.showIssuer(i, err)
		})})
}

func (a *app) showIssuer(i *pb.Issuer, err error) error {
	if err != nil {
		return err
	}
	if a.json {
		return a.message(i)
	}
	a.fields("issuer", map[bool]string{true: "yes", false: "no"}[i.GetEnabled()], "DID", i.GetDid(), "endpoint", i.GetEndpoint())
	return nil
}

// maxDefinition bounds a file with a definition.
const maxDefinition = 256 << 10

func (a *app) definitionsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List what is issued, and by which rules", Args: cobra.NoArgs, RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		all, err := pb.NewIssuerServiceClient(conn).ListIssuerDefinitions(ctx, &pb.ListIssuerDefinitionsRequest{Participant: slug})
		if err != nil {
			return err
		}
		return printList(a, []string{"ID", "TYPE", "PROFILE", "RULES", "LIFE", "VERSION"}, all.GetDefinitions(), func(d *pb.IssuerDefinition) []string {
			return []string{d.GetId(), d.GetType(), d.GetProfile(), rulesOf(d), days(d.GetLife().AsDuration()), strconv.FormatInt(d.GetVersion(), 10)}
		})
	})}
	put := &cobra.Command{Use: "put FILE", Short: "Write a definition from a JSON file; - reads standard input", Args: cobra.ExactArgs(1),
		Long: `Put writes a definition in the form in which "sluice issuer definitions list --json" shows it. Members of the subject come from the definition itself
("from": "constant"), from the holder's row or what an operator gives ("holder"), or from a credential that the holder shows ("claim"). All rules
must hold: "list", "approval", or "claim" with the type of another credential and, if it matters, a claim and its values.`,
		Example: `  sluice issuer definitions put - <<EOF
  {"id": "Dismantler", "type": "DismantlerCredential", "profile": "vc11-sl2021/jwt", "life": "31536000s", "purposes": ["revocation", "suspension"],
   "subject": [{"name": "holderIdentifier", "from": "claim", "credential": "MembershipCredential", "key": "holderIdentifier"}],
   "rules": [{"kind": "claim", "credential": "MembershipCredential"}, {"kind": "approval"}]}
  EOF`,
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			text, err := a.input(args[0], maxDefinition)
			if err != nil {
				return err
			}
			d := &pb.IssuerDefinition{}
			if err := protojson.Unmarshal(text, d); err != nil {
				return usage("%s: want a definition as JSON: %v", args[0], err)
			}
			d, err = pb.NewIssuerServiceClient(conn).PutIssuerDefinition(ctx, &pb.PutIssuerDefinitionRequest{Participant: slug, Definition: d})
			if err != nil {
				return err
			}
			if a.json {
				return a.message(d)
			}
			a.fields("id", d.GetId(), "type", d.GetType(), "profile", d.GetProfile(), "rules", rulesOf(d), "life", days(d.GetLife().AsDuration()), "version", strconv.FormatInt(d.GetVersion(), 10))
			return nil
		})}
	remove := &cobra.Command{Use: "delete ID", Short: "End one: nobody can ask for it any more; what was issued stays good", Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			_, err := pb.NewIssuerServiceClient(conn).DeleteIssuerDefinition(ctx, &pb.DeleteIssuerDefinitionRequest{Participant: slug, Id: args[0]})
			return err
		})}
	return group("definitions", "What is issued, and who gets it", a.remote(list), a.remote(put), a.remote(remove))
}

func rulesOf(d *pb.IssuerDefinition) string {
	var out []string
	for _, r := range d.GetRules() {
		text := r.GetKind()
		if r.GetCredential() != "" {
			text += " " + r.GetCredential()
		}
		if r.GetClaim() != "" {
			text += " " + r.GetClaim() + "=" + strings.Join(r.GetValues(), "|")
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	return d.String()
}

// valueFlag adds --value.
func valueFlag(c *cobra.Command) *[]string {
	return c.Flags().StringArray("value", nil, "value of the holder: name=value (may be repeated; the same name again makes a list)")
}

func valuesFrom(flags []string) (map[string]*pb.IssuerValues, error) {
	out := map[string]*pb.IssuerValues{}
	for _, flag := range flags {
		name, value, ok := strings.Cut(flag, "=")
		if !ok || name == "" || value == "" || name == "id" {
			return nil, usage("value %q: want name=value; the id is the holder", flag)
		}
		if out[name] == nil {
			out[name] = &pb.IssuerValues{}
		}
		out[name].Values = append(out[name].Values, value)
	}
	return out, nil
}

func valuesText(values map[string]*pb.IssuerValues) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out = append(out, name+"="+strings.Join(values[name].GetValues(), "|"))
	}
	return strings.Join(out, " ")
}

func (a *app) holdersCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List who may ask, and for what", Args: cobra.NoArgs}
	limit := limitFlag(list)
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"DID", "NAME", "CREDENTIALS", "VALUES"}, *limit, func(size int32, token string) (listing, error) {
			page, err := pb.NewIssuerServiceClient(conn).ListIssuerHolders(ctx, &pb.ListIssuerHoldersRequest{Participant: slug, PageSize: size, PageToken: token})
			return rows(page.GetHolders(), page.GetNextPageToken(), func(h *pb.IssuerHolder) []string {
				return []string{h.GetDid(), h.GetName(), strings.Join(h.GetCredentials(), ", "), valuesText(h.GetValues())}
			}), err
		})
	})
	put := &cobra.Command{Use: "put DID", Short: "Write one row; the one before is replaced", Args: cobra.ExactArgs(1),
		Example: `  sluice issuer holders put did:web:boreal.example:boreal --name 'Boreal Drives' \
    --credential MembershipCredential --credential BpnCredential --value bpn=BPNL00000000BOR1`}
	label := put.Flags().String("name", "", "for people")
	grants := put.Flags().StringArray("credential", nil, "id of a definition on whose list it stands (may be repeated)")
	values := valueFlag(put)
	put.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		given, err := valuesFrom(*values)
		if err != nil {
			return err
		}
		h, err := pb.NewIssuerServiceClient(conn).PutIssuerHolder(ctx, &pb.PutIssuerHolderRequest{Participant: slug,
			Holder: &pb.IssuerHolder{Did: args[0], Name: *label, Credentials: *grants, Values: given}})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(h)
		}
		a.fields("DID", h.GetDid(), "name", h.GetName(), "credentials", strings.Join(h.GetCredentials(), ", "), "values", valuesText(h.GetValues()), "version", strconv.FormatInt(h.GetVersion(), 10))
		return nil
	})
	importing := &cobra.Command{Use: "import FILE", Short: "Write the rows of a CSV file, all or none; - reads standard input", Args: cobra.ExactArgs(1),
		Long: `Import reads an allow list. The first line names the columns: did; name and credentials, which may be absent; every other is a value of the holder. Cells
of credentials (ids of definitions), and of columns whose name ends in [], hold several, separated by semicolons. Rows that are there are replaced,
others stay. When a line is wrong nothing is imported.`,
		Example: `  sluice issuer holders import members.csv

  members.csv:
  did,name,credentials,bpn,allowedVehicleBrands[]
  did:web:boreal.example:boreal,Boreal Drives,MembershipCredential;BpnCredential,BPNL00000000BOR1,
  did:web:dusk.example:dusk,Dusk Trading,MembershipCredential;DismantlerCredential,BPNL00000000DUS1,Aurora;Borealis`}
	importing.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		text, err := a.input(args[0], 1<<20)
		if err != nil {
			return err
		}
		got, err := pb.NewIssuerServiceClient(conn).ImportIssuerHolders(ctx, &pb.ImportIssuerHoldersRequest{Participant: slug, Csv: text})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(got)
		}
		a.fields("added", strconv.Itoa(int(got.GetAdded())), "changed", strconv.Itoa(int(got.GetChanged())), "the same", strconv.Itoa(int(got.GetSame())))
		return nil
	})
	remove := &cobra.Command{Use: "delete DID", Short: "Take one off: it gets nothing more; what it has stays good", Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			_, err := pb.NewIssuerServiceClient(conn).DeleteIssuerHolder(ctx, &pb.DeleteIssuerHolderRequest{Participant: slug, Did: args[0]})
			return err
		})}
	revoke := &cobra.Command{Use: "revoke DID", Short: "Revoke every credential that a holder has; it cannot be taken back", Args: cobra.ExactArgs(1),
		Example: "  sluice issuer holders revoke did:web:dusk.example:dusk --reason 'its membership has ended'"}
	reason := revoke.Flags().String("reason", "", "why, for the record (required)")
	_ = revoke.MarkFlagRequired("reason")
	revoke.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		got, err := pb.NewIssuerServiceClient(conn).RevokeHolder(ctx, &pb.RevokeHolderRequest{Participant: slug, Did: args[0], Reason: *reason})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(got)
		}
		a.fields("revoked", strconv.Itoa(int(got.GetRevoked())))
		return nil
	})
	return group("holders", "Who may ask for credentials", a.remote(list), a.remote(put), a.remote(importing), a.remote(remove), a.remote(revoke))
}

func (a *app) issuerRequestsCommand() *cobra.Command {
	f := &pb.ListIssuanceRequestsRequest{}
	list := &cobra.Command{Use: "list", Short: "List what holders asked for, newest first", Args: cobra.NoArgs, Example: "  sluice issuer requests list --state SUBMITTED"}
	limit := limitFlag(list)
	list.Flags().StringVar(&f.Holder, "holder", "", "only of this holder")
	list.Flags().StringVar(&f.State, "state", "", "only in this state: SUBMITTED (waits for an operator), APPROVED, DELIVERED, REJECTED, ERRORED")
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"ID", "STATE", "HOLDER", "WANTED", "CODE", "CREATED"}, *limit, func(size int32, token string) (listing, error) {
			f.Participant, f.PageSize, f.PageToken = slug, size, token
			page, err := pb.NewIssuerServiceClient(conn).ListIssuanceRequests(ctx, f)
			return rows(page.GetRequests(), page.GetNextPageToken(), func(r *pb.IssuanceRequest) []string {
				return []string{r.GetId(), r.GetState(), r.GetHolder(), strings.Join(r.GetWanted(), ", "), r.GetCode(), when(r.GetCreated())}
			}), err
		})
	})
	show := &cobra.Command{Use: "show ID", Short: "Show one, with the reasons of a refusal", Args: cobra.ExactArgs(1), RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		r, err := pb.NewIssuerServiceClient(conn).GetIssuanceRequest(ctx, &pb.GetIssuanceRequestRequest{Participant: slug, Id: args[0]})
		return a.showIssuance(r, err)
	})}
	approve := &cobra.Command{Use: "approve ID", Short: "Let one that waits go on, if the rules allow it", Args: cobra.ExactArgs(1),
		Long:    "Approve lets a request that waits go on. The rules are asked once more: what they deny cannot be approved. --value gives what the subject needs and the holder's row lacks.",
		Example: "  sluice issuer requests approve urn:uuid:5f6c… --comment 'seen at the register' --value bpn=BPNL00000000BOR1"}
	comment := approve.Flags().String("comment", "", "why, for the record")
	values := valueFlag(approve)
	approve.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		given, err := valuesFrom(*values)
		if err != nil {
			return err
		}
		r, err := pb.NewIssuerServiceClient(conn).ApproveIssuanceRequest(ctx, &pb.ApproveIssuanceRequestRequest{Participant: slug, Id: args[0], Comment: *comment, Values: given})
		return a.showIssuance(r, err)
	})
	refuse := &cobra.Command{Use: "refuse ID", Short: "End one that waits; the holder is told", Args: cobra.ExactArgs(1)}
	reason := refuse.Flags().String("reason", "", "one sentence for the holder and the record (required)")
	_ = refuse.MarkFlagRequired("reason")
	refuse.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		r, err := pb.NewIssuerServiceClient(conn).RefuseIssuanceRequest(ctx, &pb.RefuseIssuanceRequestRequest{Participant: slug, Id: args[0], Reason: *reason})
		return a.showIssuance(r, err)
	})
	return group("requests", "What holders asked for", a.remote(list), a.remote(show), a.remote(approve), a.remote(refuse))
}

func (a *app) showIssuance(r *pb.IssuanceRequest, err error) error {
	if err != nil {
		return err
	}
	if a.json {
		return a.message(r)
	}
	a.fields("id", r.GetId(), "state", r.GetState(), "holder", r.GetHolder(), "holder's id", r.GetHolderPid(), "wanted", strings.Join(r.GetWanted(), ", "),
		"showed", strings.Join(r.GetShown(), ", "), "credentials", strings.Join(r.GetCredentials(), ", "), "code", r.GetCode(), "reasons", strings.Join(r.GetReasons(), "; "),
		"actor", r.GetActor(), "created", when(r.GetCreated()), "updated", when(r.GetUpdated()), "record", r.GetRecord())
	return nil
}

func (a *app) issueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "issue HOLDER DEFINITION",
		Short: "Sign a credential for the company with the DID HOLDER, and print it",
		Long: `Issue signs a credential without a request of its holder, who stores what is printed by "sluice credentials put". The order is the attestation, whatever the
rules of the definition say, and it is on record. What the subject needs comes from the holder's row, if it has one, and from --value.

Where the holder's wallet takes offers, "sluice issuer offer" is the better way: then it asks by itself.`,
		Example: `  sluice issuer issue --participant meridian did:web:boreal.example:boreal BpnCredential --value bpn=BPNL00000000BOR1 > bpn.jwt`,
		Args:    cobra.ExactArgs(2),
	}
	values := valueFlag(c)
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		given, err := valuesFrom(*values)
		if err != nil {
			return err
		}
		got, err := pb.NewIssuerServiceClient(conn).IssueCredential(ctx, &pb.IssueCredentialRequest{Participant: slug, Holder: args[0], Definition: args[1], Values: given})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(got)
		}
		_, err = fmt.Fprintln(a.stdout, got.GetJwt())
		return err
	})
	return a.remote(c)
}

func (a *app) issuedCommand() *cobra.Command {
	f := &pb.ListIssuedCredentialsRequest{}
	list := &cobra.Command{Use: "list", Short: "List what was issued, newest first", Args: cobra.NoArgs, Example: "  sluice issuer credentials list --holder did:web:boreal.example:boreal"}
	limit := limitFlag(list)
	list.Flags().StringVar(&f.Holder, "holder", "", "only of this holder")
	list.Flags().StringVar(&f.Definition, "definition", "", "only of this definition")
	list.Flags().StringVar(&f.State, "state", "", "only in this state: ISSUED, SUSPENDED, REVOKED")
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"ID", "STATE", "TYPE", "HOLDER", "ISSUED", "EXPIRES"}, *limit, func(size int32, token string) (listing, error) {
			f.Participant, f.PageSize, f.PageToken = slug, size, token
			page, err := pb.NewIssuerServiceClient(conn).ListIssuedCredentials(ctx, f)
			return rows(page.GetCredentials(), page.GetNextPageToken(), func(c *pb.IssuedCredential) []string {
				return []string{c.GetId(), c.GetState(), c.GetType(), c.GetHolder(), when(c.GetIssued()), when(c.GetExpires())}
			}), err
		})
	})
	show := &cobra.Command{Use: "show ID", Short: "Show one with its places in status lists", Args: cobra.ExactArgs(1), RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		c, err := pb.NewIssuerServiceClient(conn).GetIssuedCredential(ctx, &pb.GetIssuedCredentialRequest{Participant: slug, Id: args[0]})
		return a.showIssued(c, err)
	})}
	revoke := &cobra.Command{Use: "revoke ID", Short: "Take one back for good, in force when this returns", Args: cobra.ExactArgs(1),
		Long: "Revoke takes a credential back for good: whoever looks at its status list from now on sees it. Twice is once. To take everything from a holder: \"sluice issuer holders revoke\"."}
	suspend := &cobra.Command{Use: "suspend ID", Short: "Take one back until it is reinstated", Args: cobra.ExactArgs(1)}
	reinstate := &cobra.Command{Use: "reinstate ID", Short: "End a suspension; what is revoked stays revoked", Args: cobra.ExactArgs(1)}
	for cmd, do := range map[*cobra.Command]func(pb.IssuerServiceClient, context.Context, string, string, string) (*pb.IssuedCredential, error){
		revoke: func(c pb.IssuerServiceClient, ctx context.Context, slug, id, reason string) (*pb.IssuedCredential, error) {
			return c.RevokeCredential(ctx, &pb.RevokeCredentialRequest{Participant: slug, Id: id, Reason: reason})
		},
		suspend: func(c pb.IssuerServiceClient, ctx context.Context, slug, id, reason string) (*pb.IssuedCredential, error) {
			return c.SuspendCredential(ctx, &pb.SuspendCredentialRequest{Participant: slug, Id: id, Reason: reason})
		},
		reinstate: func(c pb.IssuerServiceClient, ctx context.Context, slug, id, reason string) (*pb.IssuedCredential, error) {
			return c.ReinstateCredential(ctx, &pb.ReinstateCredentialRequest{Participant: slug, Id: id, Reason: reason})
		},
	} {
		reason := cmd.Flags().String("reason", "", "why, for the record")
		cmd.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			c, err := do(pb.NewIssuerServiceClient(conn), ctx, slug, args[0], *reason)
			return a.showIssued(c, err)
		})
	}
	return group("credentials", "What was issued", a.remote(list), a.remote(show), a.remote(revoke), a.remote(suspend), a.remote(reinstate))
}

func (a *app) showIssued(c *pb.IssuedCredential, err error) error {
	if err != nil {
		return err
	}
	if a.json {
		return a.message(c)
	}
	var places []string
	for _, p := range c.GetPlaces() {
		places = append(places, fmt.Sprintf("%s %s#%d", p.GetPurpose(), p.GetList(), p.GetIndex()))
	}
	a.fields("id", c.GetId(), "state", c.GetState(), "type", c.GetType(), "definition", c.GetDefinition(), "profile", c.GetProfile(), "holder", c.GetHolder(), "request", c.GetRequest(),
		"status", strings.Join(places, ", "), "actor", c.GetActor(), "reason", c.GetReason(), "issued", when(c.GetIssued()), "expires", when(c.GetExpires()),
		"updated", when(c.GetUpdated()), "record", c.GetRecord())
	return nil
}

func (a *app) offerCommand() *cobra.Command {
	c := &cobra.Command{Use: "offer HOLDER DEFINITION…", Short: "Tell a holder that it may ask for credentials", Args: cobra.MinimumNArgs(2),
		Long:    "Offer sends a credential offer to the holder's wallet, which asks for the credentials when its settings take offers of this issuer. Whether it gets them is judged when it asks.",
		Example: "  sluice issuer offer did:web:boreal.example:boreal MembershipCredential BpnCredential"}
	reason := c.Flags().String("reason", "", "issuance, reissue or proof-key-revocation (default issuance)")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		o, err := pb.NewIssuerServiceClient(conn).OfferCredentials(ctx, &pb.OfferCredentialsRequest{Participant: slug, Holder: args[0], Definitions: args[1:], Reason: *reason})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(o)
		}
		a.fields("id", o.GetId(), "state", o.GetState(), "holder", o.GetHolder(), "definitions", strings.Join(o.GetDefinitions(), ", "), "reason", o.GetReason())
		return nil
	})
	return a.remote(c)
}

func (a *app) issuerOffersCommand() *cobra.Command {
	f := &pb.ListIssuerOffersRequest{}
	c := &cobra.Command{Use: "offers", Short: "List what was offered, newest first", Args: cobra.NoArgs, Example: "  sluice issuer offers --state ERRORED"}
	limit := limitFlag(c)
	c.Flags().StringVar(&f.Holder, "holder", "", "only to this holder")
	c.Flags().StringVar(&f.State, "state", "", "only in this state: OWED, DELIVERED, ERRORED")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"ID", "STATE", "HOLDER", "DEFINITIONS", "ERROR", "CREATED"}, *limit, func(size int32, token string) (listing, error) {
			f.Participant, f.PageSize, f.PageToken = slug, size, token
			page, err := pb.NewIssuerServiceClient(conn).ListIssuerOffers(ctx, f)
			return rows(page.GetOffers(), page.GetNextPageToken(), func(o *pb.IssuerOffer) []string {
				return []string{o.GetId(), o.GetState(), o.GetHolder(), strings.Join(o.GetDefinitions(), ", "), o.GetError(), when(o.GetCreated())}
			}), err
		})
	})
	return a.remote(c)
}
