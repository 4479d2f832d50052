package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) credentialsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the wallet, what has ended included", Args: cobra.NoArgs, RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		all, err := pb.NewCredentialServiceClient(conn).ListCredentials(ctx, &pb.ListCredentialsRequest{Participant: slug})
		if err != nil {
			return err
		}
		return printList(a, []string{"TYPES", "ISSUER", "NOT AFTER", "STANDING", "ID"}, all.GetCredentials(), func(c *pb.Credential) []string {
			return []string{kinds(c.GetTypes()), c.GetIssuer(), when(c.GetNotAfter()), standing(c), c.GetId()}
		})
	})}
	put := &cobra.Command{Use: "put FILE", Short: "Store a credential in JWT form; - reads standard input", Args: cobra.ExactArgs(1),
		Example: "  sluice credentials put membership.jwt", RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			jwt, err := a.input(args[0], 64<<10)
			if err != nil {
				return err
			}
			c, err := pb.NewCredentialServiceClient(conn).PutCredential(ctx, &pb.PutCredentialRequest{Participant: slug, Jwt: strings.TrimSpace(string(jwt))})
			if err != nil {
				return err
			}
			if a.json {
				return a.message(c)
			}
			a.fields("id", c.GetId(), "types", strings.Join(c.GetTypes(), ", "), "issuer", c.GetIssuer(), "not after", when(c.GetNotAfter()))
			return nil
		})}
	remove := &cobra.Command{Use: "delete ID", Short: "Remove one", Args: cobra.ExactArgs(1), RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		_, err := pb.NewCredentialServiceClient(conn).DeleteCredential(ctx, &pb.DeleteCredentialRequest{Participant: slug, Id: args[0]})
		return err
	})}
	return group("credentials", "What we show to peers to prove who we are, and how we come by it", a.remote(list), a.remote(put), a.remote(remove), a.requestCommand(),
		a.requestsCommand(), a.offersCommand(), a.clientsCommand())
}

// kinds are the types that tell credentials apart.
func kinds(types []string) string {
	var out []string
	for _, t := range types {
		if t != "VerifiableCredential" {
			out = append(out, t)
		}
	}
	return strings.Join(out, ", ")
}

// standing is how a credential stands, in a word.
func standing(c *pb.Credential) string {
	switch {
	case c.GetStanding() != "":
		return c.GetStanding()
	case c.GetExpired():
		return "expired"
	case c.GetRenewal() != "":
		return "renewing"
	}
	return "good"
}

func (a *app) requestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "request ISSUER TYPE…",
		Short: "Ask the company with the DID ISSUER for credentials of the types",
		Long: `Request reads what the issuer issues, finds what is wanted in it and asks for that. The issuer delivers when it has decided, which may take days:
"sluice credentials requests" tells how it stands. Where an issuer issues several credentials of one type, ask by --id.`,
		Example: `  sluice credentials request did:web:meridian.example:meridian MembershipCredential BpnCredential
  sluice credentials request did:web:meridian.example:meridian --id membership-2026`,
		Args: cobra.MinimumNArgs(1),
	}
	ids := c.Flags().StringArray("id", nil, "id of a credential in the issuer's metadata (may be repeated)")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		r, err := pb.NewCredentialServiceClient(conn).RequestCredential(ctx, &pb.RequestCredentialRequest{Participant: slug, Issuer: args[0], Types: args[1:], Definitions: *ids})
		if err != nil {
			return err
		}
		return a.showRequest(r)
	})
	return a.remote(c)
}

func (a *app) showRequest(r *pb.CredentialRequest) error {
	if a.json {
		return a.message(r)
	}
	pairs := []string{"id", r.GetId(), "state", r.GetState(), "issuer", r.GetIssuer(), "reason", r.GetReason(), "asked by", r.GetActor(), "created", when(r.GetCreated()),
		"updated", when(r.GetUpdated()), "record", r.GetRecord()}
	for _, w := range r.GetWanted() {
		pairs = append(pairs, w.GetType(), strings.TrimSpace(w.GetProfile()+" "+w.GetCredential()))
	}
	a.fields(pairs...)
	return nil
}

func wantedTypes(r *pb.CredentialRequest) string {
	var out []string
	for _, w := range r.GetWanted() {
		out = append(out, w.GetType())
	}
	return strings.Join(out, ", ")
}

func (a *app) requestsCommand() *cobra.Command {
	f := &pb.ListCredentialRequestsRequest{}
	c := &cobra.Command{Use: "requests [ID]", Short: "List what was asked for, newest first, or show one", Args: cobra.MaximumNArgs(1),
		Example: "  sluice credentials requests --state ERROR\n  sluice credentials requests urn:uuid:6f1c4a50-7a8e-4b2d-9f0e-1f3b2c5d7e90"}
	limit := limitFlag(c)
	c.Flags().StringVar(&f.Issuer, "issuer", "", "only of this issuer")
	c.Flags().StringVar(&f.State, "state", "", "only in this state: REQUESTED, ISSUED, REJECTED, ERROR, …")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		client := pb.NewCredentialServiceClient(conn)
		if len(args) == 1 {
			r, err := client.GetCredentialRequest(ctx, &pb.GetCredentialRequestRequest{Participant: slug, Id: args[0]})
			if err != nil {
				return err
			}
			return a.showRequest(r)
		}
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"STATE", "TYPES", "ISSUER", "CREATED", "ID"}, *limit, func(size int32, token string) (listing, error) {
			f.Participant, f.PageSize, f.PageToken = slug, size, token
			page, err := client.ListCredentialRequests(ctx, f)
			return rows(page.GetRequests(), page.GetNextPageToken(), func(r *pb.CredentialRequest) []string {
				return []string{r.GetState(), wantedTypes(r), r.GetIssuer(), when(r.GetCreated()), r.GetId()}
			}), err
		})
	})
	return a.remote(c)
}

func (a *app) offersCommand() *cobra.Command {
	f := &pb.ListCredentialOffersRequest{}
	list := &cobra.Command{Use: "list", Short: "List what issuers offered, newest first", Args: cobra.NoArgs, Example: "  sluice credentials offers list --state RECEIVED"}
	limit := limitFlag(list)
	list.Flags().StringVar(&f.Issuer, "issuer", "", "only of this issuer")
	list.Flags().StringVar(&f.State, "state", "", "only in this state: RECEIVED, ACCEPTED or DECLINED")
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"STATE", "OFFERED", "ISSUER", "CREATED", "ID"}, *limit, func(size int32, token string) (listing, error) {
			f.Participant, f.PageSize, f.PageToken = slug, size, token
			page, err := pb.NewCredentialServiceClient(conn).ListCredentialOffers(ctx, f)
			return rows(page.GetOffers(), page.GetNextPageToken(), func(o *pb.CredentialOffer) []string {
				return []string{o.GetState(), offeredTypes(o), o.GetIssuer(), when(o.GetCreated()), o.GetId()}
			}), err
		})
	})
	accept := &cobra.Command{Use: "accept ID", Short: "Ask the issuer for what it offered", Args: cobra.ExactArgs(1)}
	accept.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		o, err := pb.NewCredentialServiceClient(conn).AcceptOffer(ctx, &pb.AcceptOfferRequest{Participant: slug, Id: args[0]})
		if err != nil {
			return err
		}
		return a.showOffer(o)
	})
	decline := &cobra.Command{Use: "decline ID", Short: "Put an offer away; its issuer is not told", Args: cobra.ExactArgs(1)}
	decline.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		o, err := pb.NewCredentialServiceClient(conn).DeclineOffer(ctx, &pb.DeclineOfferRequest{Participant: slug, Id: args[0]})
		if err != nil {
			return err
		}
		return a.showOffer(o)
	})
	return group("offers", "What issuers offered us", a.remote(list), a.remote(accept), a.remote(decline))
}

// offeredTypes names what is offered as far as the offer does.
func offeredTypes(o *pb.CredentialOffer) string {
	var out []string
	for _, x := range o.GetOffered() {
		name := x.GetType()
		if name == "" {
			name = x.GetDefinition()
		}
		if x.GetReason() != "" {
			name += " (" + x.GetReason() + ")"
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

func (a *app) showOffer(o *pb.CredentialOffer) error {
	if a.json {
		return a.message(o)
	}
	a.fields("id", o.GetId(), "state", o.GetState(), "issuer", o.GetIssuer(), "offered", offeredTypes(o), "request", o.GetRequest(), "note", o.GetNote(), "decided by", o.GetActor())
	return nil
}

func (a *app) clientsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List who may have tokens made", Args: cobra.NoArgs, RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		all, err := pb.NewCredentialServiceClient(conn).ListStsClients(ctx, &pb.ListStsClientsRequest{Participant: slug})
		if err != nil {
			return err
		}
		return printList(a, []string{"LABEL", "SCOPES", "CREATED", "ID"}, all.GetClients(), func(c *pb.StsClient) []string {
			return []string{c.GetLabel(), strings.Join(c.GetScopes(), " "), when(c.GetCreated()), c.GetId()}
		})
	})}
	create := &cobra.Command{Use: "create LABEL", Short: "Let a program have self-issued tokens made; its secret is shown once", Args: cobra.ExactArgs(1),
		Long: `Create makes a client of the participant's token service, which answers at /{slug}/sts/token as soon as there is one. Tokens that are made for it
speak in the company's name; by the scopes they let whoever receives them ask for our credentials.`,
		Example: "  sluice credentials clients create wallet-app --scope org.eclipse.tractusx.vc.type:MembershipCredential:read"}
	scopes := create.Flags().StringArray("scope", nil, "scope that it may delegate (may be repeated); none: its tokens open nothing")
	create.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		made, err := pb.NewCredentialServiceClient(conn).CreateStsClient(ctx, &pb.CreateStsClientRequest{Participant: slug, Label: args[0], Scopes: *scopes})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(made)
		}
		a.fields("client_id", made.GetClient().GetId(), "client_secret", made.GetSecret(), "scopes", strings.Join(made.GetClient().GetScopes(), " "))
		return nil
	})
	remove := &cobra.Command{Use: "delete ID", Short: "End one at once; what was made for it lives out its minutes", Args: cobra.ExactArgs(1), RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		_, err := pb.NewCredentialServiceClient(conn).DeleteStsClient(ctx, &pb.DeleteStsClientRequest{Participant: slug, Id: args[0]})
		return err
	})}
	return group("clients", "Who may have tokens made in our name", a.remote(list), a.remote(create), a.remote(remove))
}
