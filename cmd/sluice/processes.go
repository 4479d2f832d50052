package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// listing is one page of any list, for printing.
type listing struct {
	rows  [][]string
	items []proto.Message
	next  string
}

// list prints pages until limit rows are there, as a table or as one JSON array.
func (a *app) list(header []string, limit int, page func(size int32, token string) (listing, error)) error {
	var all listing
	for token := ""; ; {
		size := min(1000, limit-len(all.rows))
		got, err := page(int32(size), token)
		if err != nil {
			return err
		}
		all.rows, all.items = append(all.rows, got.rows...), append(all.items, got.items...)
		if token = got.next; token == "" || len(all.rows) >= limit {
			all.next = token
			break
		}
	}
	if a.json {
		return a.messages(all.items)
	}
	a.table(header, all.rows)
	if all.next != "" {
		fmt.Fprintf(a.stderr, "there are more than %d: raise --limit\n", limit)
	}
	return nil
}

// messages prints a JSON array.
func (a *app) messages(items []proto.Message) error {
	parts := make([]string, len(items))
	for i, m := range items {
		text, err := encode(m)
		if err != nil {
			return err
		}
		parts[i] = string(text)
	}
	return a.indented([]byte("[" + strings.Join(parts, ",") + "]"))
}

func limitFlag(c *cobra.Command) *int { return c.Flags().Int("limit", 100, "how many to show at most") }

func checkLimit(n int) error {
	if n < 1 || n > 1_000_000 {
		return usage("limit %d: want 1 to 1000000", n)
	}
	return nil
}

// rows translates the items of one page.
func rows[M proto.Message](items []M, next string, row func(M) []string) listing {
	l := listing{next: next}
	for _, m := range items {
		l.rows, l.items = append(l.rows, row(m)), append(l.items, m)
	}
	return l
}

func (a *app) negotiationsCommand() *cobra.Command {
	f := &pb.ListNegotiationsRequest{}
	list := &cobra.Command{Use: "list", Short: "List them, newest first", Args: cobra.NoArgs, Example: "  sluice negotiations list --state TERMINATED"}
	limit := limitFlag(list)
	list.Flags().StringVar(&f.Peer, "peer", "", "only with this peer")
	list.Flags().StringVar(&f.State, "state", "", "only in this state: REQUESTED, FINALIZED, TERMINATED, …")
	list.Flags().StringVar(&f.Role, "role", "", "only as provider or consumer")
	list.Flags().StringVar(&f.Asset, "asset", "", "only about this asset")
	list.Flags().BoolVar(&f.Held, "waiting", false, "only what waits for an operator")
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"ID", "STATE", "ROLE", "PEER", "ASSET", "CREATED"}, *limit, func(size int32, token string) (listing, error) {
			f.Participant, f.PageSize, f.PageToken = slug, size, token
			page, err := pb.NewNegotiationServiceClient(conn).ListNegotiations(ctx, f)
			return rows(page.GetNegotiations(), page.GetNextPageToken(), func(n *pb.Negotiation) []string {
				return []string{n.GetId(), n.GetState(), n.GetRole(), n.GetPeer(), n.GetAsset(), when(n.GetCreated())}
			}), err
		})
	})
	show := &cobra.Command{Use: "show ID", Short: "Show one, with the reasons of a refusal", Args: cobra.ExactArgs(1)}
	show.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		n, err := pb.NewNegotiationServiceClient(conn).GetNegotiation(ctx, &pb.GetNegotiationRequest{Participant: slug, Id: args[0]})
		if err != nil {
			return err
		}
		return a.showNegotiation(n)
	})
	approve := &cobra.Command{Use: "approve ID", Short: "Let one that waits for an operator go on, if the policies allow it", Args: cobra.ExactArgs(1),
		Long: `Approve lets a negotiation that waits for an operator go on. The policies are asked once more: what they deny cannot be approved.
To refuse one, terminate it with a reason. Both are on record.`,
		Example: "  sluice negotiations list --waiting\n  sluice negotiations show urn:uuid:5f6c…\n  sluice negotiations approve urn:uuid:5f6c… --comment 'known from the fair'"}
	comment := approve.Flags().String("comment", "", "why, for the record")
	approve.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		n, err := pb.NewNegotiationServiceClient(conn).ApproveNegotiation(ctx, &pb.ApproveNegotiationRequest{Participant: slug, Id: args[0], Comment: *comment})
		if err != nil {
			return err
		}
		return a.showNegotiation(n)
	})
	propose := &cobra.Command{Use: "propose ID [OFFER]", Short: "Put other terms on the table", Args: cobra.RangeArgs(1, 2),
		Long: `Propose answers what is on the table with other terms. A provider names one of its own offers about the same asset; a consumer gives the
policy that it wants.`,
		Example: "  sluice negotiations propose urn:uuid:5f6c… urn:uuid:77aa…\n  sluice negotiations propose urn:uuid:5f6c… --policy wanted.json"}
	file := propose.Flags().String("policy", "", "file with the ODRL policy that is wanted")
	propose.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		req := &pb.ProposeNegotiationRequest{Participant: slug, Id: args[0]}
		if len(args) == 2 {
			req.Offer = args[1]
		}
		if *file != "" {
			text, err := os.ReadFile(*file)
			if err != nil {
				return err
			}
			req.Odrl = &structpb.Struct{}
			if err := protojson.Unmarshal(text, req.Odrl); err != nil {
				return usage("%s: want a policy as JSON: %v", *file, err)
			}
		}
		n, err := pb.NewNegotiationServiceClient(conn).ProposeNegotiation(ctx, req)
		if err != nil {
			return err
		}
		return a.showNegotiation(n)
	})
	offer := &cobra.Command{Use: "offer PEER OFFER", Short: "Offer a contract to a peer that did not ask for it", Args: cobra.ExactArgs(2),
		Example: "  sluice negotiations offer did:web:aurora.example:aurora urn:uuid:77aa…"}
	offer.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		n, err := pb.NewNegotiationServiceClient(conn).OfferNegotiation(ctx, &pb.OfferNegotiationRequest{Participant: slug, Peer: args[0], Offer: args[1]})
		if err != nil {
			return err
		}
		return a.showNegotiation(n)
	})
	end := &cobra.Command{Use: "terminate ID", Short: "End one that is not in a final state", Args: cobra.ExactArgs(1)}
	reason := end.Flags().String("reason", "", "one sentence for the peer")
	end.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		n, err := pb.NewNegotiationServiceClient(conn).TerminateNegotiation(ctx, &pb.TerminateNegotiationRequest{Participant: slug, Id: args[0], Reason: *reason})
		if err != nil {
			return err
		}
		return a.showNegotiation(n)
	})
	return group("negotiations", "Contract negotiations", a.remote(list), a.remote(show), a.remote(approve), a.remote(propose), a.remote(offer), a.remote(end))
}

func (a *app) showNegotiation(n *pb.Negotiation) error {
	if a.json {
		return a.message(n)
	}
	a.fields("id", n.GetId(), "state", n.GetState(), "role", n.GetRole(), "peer", n.GetPeer(), "peer's id", n.GetPeerPid(), "asset", n.GetAsset(), "offer", n.GetOffer(),
		"agreement", n.GetAgreement(), "code", n.GetCode(), "reasons", strings.Join(n.GetReasons(), "; "), "waits with", n.GetHeld(),
		"because", strings.Join(n.GetHeldReasons(), "; "), "until", when(n.GetHeldUntil()), "error", n.GetError(), "actor", n.GetActor(),
		"created", when(n.GetCreated()), "updated", when(n.GetUpdated()), "record", n.GetRecord())
	return nil
}

func (a *app) agreementsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List them, newest first", Args: cobra.NoArgs}
	limit := limitFlag(list)
	peer := list.Flags().String("peer", "", "only with this peer")
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"ID", "IN FORCE", "ROLE", "PROVIDER", "CONSUMER", "ASSET", "SIGNED"}, *limit, func(size int32, token string) (listing, error) {
			page, err := pb.NewAgreementServiceClient(conn).ListAgreements(ctx, &pb.ListAgreementsRequest{Participant: slug, Peer: *peer, PageSize: size, PageToken: token})
			return rows(page.GetAgreements(), page.GetNextPageToken(), func(g *pb.Agreement) []string {
				return []string{g.GetId(), force(g), g.GetRole(), g.GetProvider(), g.GetConsumer(), g.GetAsset(), when(g.GetSigned())}
			}), err
		})
	})
	show := &cobra.Command{Use: "show ID", Short: "Show one with its policy", Args: cobra.ExactArgs(1)}
	show.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		g, err := pb.NewAgreementServiceClient(conn).GetAgreement(ctx, &pb.GetAgreementRequest{Participant: slug, Id: args[0]})
		if err != nil {
			return err
		}
		return a.showAgreement(g)
	})
	retire := &cobra.Command{
		Use:   "retire ID",
		Short: "End one early; what runs under it stops before this returns",
		Long:  "Retire ends an agreement early. The retirement is on record, transfers under it are terminated and running streams are cut. It cannot be taken back.",
		Args:  cobra.ExactArgs(1),
	}
	reason := retire.Flags().String("reason", "", "one sentence; the peer is shown it (required)")
	_ = retire.MarkFlagRequired("reason")
	retire.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		g, err := pb.NewAgreementServiceClient(conn).RetireAgreement(ctx, &pb.RetireAgreementRequest{Participant: slug, Id: args[0], Reason: *reason})
		if err != nil {
			return err
		}
		return a.showAgreement(g)
	})
	return group("agreements", "Concluded agreements", a.remote(list), a.remote(show), a.remote(retire))
}

func force(g *pb.Agreement) string {
	if g.GetRetired() != nil {
		return "retired"
	}
	return "yes"
}

func (a *app) showAgreement(g *pb.Agreement) error {
	if a.json {
		return a.message(g)
	}
	a.fields("id", g.GetId(), "in force", force(g), "retired", when(g.GetRetired().GetTime()), "reason", g.GetRetired().GetReason(), "retired by", g.GetRetired().GetActor(),
		"role", g.GetRole(), "provider", g.GetProvider(), "consumer", g.GetConsumer(), "asset", g.GetAsset(), "negotiation", g.GetNegotiation(),
		"signed", when(g.GetSigned()), "digest", g.GetDigest())
	text, err := encode(g.GetOdrl())
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, "policy")
	return a.indented(text)
}

func (a *app) transfersCommand() *cobra.Command {
	f := &pb.ListTransfersRequest{}
	list := &cobra.Command{Use: "list", Short: "List them, newest first", Args: cobra.NoArgs}
	limit := limitFlag(list)
	list.Flags().StringVar(&f.Peer, "peer", "", "only with this peer")
	list.Flags().StringVar(&f.State, "state", "", "only in this state: STARTED, TERMINATED, …")
	list.Flags().StringVar(&f.Role, "role", "", "only as provider or consumer")
	list.Flags().StringVar(&f.Agreement, "agreement", "", "only under this agreement")
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"ID", "STATE", "ROLE", "PEER", "ASSET", "CREATED"}, *limit, func(size int32, token string) (listing, error) {
			f.Participant, f.PageSize, f.PageToken = slug, size, token
			page, err := pb.NewTransferServiceClient(conn).ListTransfers(ctx, f)
			return rows(page.GetTransfers(), page.GetNextPageToken(), func(t *pb.Transfer) []string {
				return []string{t.GetId(), t.GetState(), t.GetRole(), t.GetPeer(), t.GetAsset(), when(t.GetCreated())}
			}), err
		})
	})
	return group("transfers", "Transfer processes", a.remote(list),
		a.transferAction("show ID", "Show one, with the reasons of a refusal", func(ctx context.Context, c pb.TransferServiceClient, slug, id, _ string) (*pb.Transfer, error) {
			return c.GetTransfer(ctx, &pb.GetTransferRequest{Participant: slug, Id: id})
		}, false),
		a.transferAction("begin AGREEMENT", "Ask the provider of an agreement for access", func(ctx context.Context, c pb.TransferServiceClient, slug, id, _ string) (*pb.Transfer, error) {
			return c.BeginTransfer(ctx, &pb.BeginTransferRequest{Participant: slug, Agreement: id})
		}, false),
		a.transferAction("suspend ID", "Stop one for the time being", func(ctx context.Context, c pb.TransferServiceClient, slug, id, reason string) (*pb.Transfer, error) {
			return c.SuspendTransfer(ctx, &pb.SuspendTransferRequest{Participant: slug, Id: id, Reason: reason})
		}, true),
		a.transferAction("resume ID", "Start a suspended one again", func(ctx context.Context, c pb.TransferServiceClient, slug, id, _ string) (*pb.Transfer, error) {
			return c.ResumeTransfer(ctx, &pb.ResumeTransferRequest{Participant: slug, Id: id})
		}, false),
		a.transferAction("complete ID", "End one that has done its work", func(ctx context.Context, c pb.TransferServiceClient, slug, id, _ string) (*pb.Transfer, error) {
			return c.CompleteTransfer(ctx, &pb.CompleteTransferRequest{Participant: slug, Id: id})
		}, false),
		a.transferAction("terminate ID", "End one early", func(ctx context.Context, c pb.TransferServiceClient, slug, id, reason string) (*pb.Transfer, error) {
			return c.TerminateTransfer(ctx, &pb.TerminateTransferRequest{Participant: slug, Id: id, Reason: reason})
		}, true))
}

func (a *app) transferAction(use, short string, do func(ctx context.Context, c pb.TransferServiceClient, slug, id, reason string) (*pb.Transfer, error), reasoned bool) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	reason := new(string)
	if reasoned {
		c.Flags().StringVar(reason, "reason", "", "one sentence for the peer")
	}
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		t, err := do(ctx, pb.NewTransferServiceClient(conn), slug, args[0], *reason)
		if err != nil {
			return err
		}
		if a.json {
			return a.message(t)
		}
		a.fields("id", t.GetId(), "state", t.GetState(), "role", t.GetRole(), "peer", t.GetPeer(), "peer's id", t.GetPeerPid(), "agreement", t.GetAgreement(), "asset", t.GetAsset(),
			"format", t.GetFormat(), "code", t.GetCode(), "reasons", strings.Join(t.GetReasons(), "; "), "error", t.GetError(), "actor", t.GetActor(),
			"created", when(t.GetCreated()), "updated", when(t.GetUpdated()), "record", t.GetRecord())
		return nil
	})
	return a.remote(c)
}

func (a *app) assetsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List them by creation", Args: cobra.NoArgs}
	limit := limitFlag(list)
	list.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		if err := checkLimit(*limit); err != nil {
			return err
		}
		return a.list([]string{"ID", "VERSION", "TITLE", "MODEL", "UPDATED"}, *limit, func(size int32, token string) (listing, error) {
			page, err := pb.NewAssetServiceClient(conn).ListAssets(ctx, &pb.ListAssetsRequest{Participant: slug, PageSize: size, PageToken: token})
			return rows(page.GetAssets(), page.GetNextPageToken(), func(m *pb.Asset) []string {
				return []string{m.GetId(), fmt.Sprint(m.GetVersion()), m.GetTitle(), m.GetSemanticId(), when(m.GetUpdated())}
			}), err
		})
	})
	show := &cobra.Command{Use: "show ID", Short: "Show one", Args: cobra.ExactArgs(1)}
	show.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		m, err := pb.NewAssetServiceClient(conn).GetAsset(ctx, &pb.GetAssetRequest{Participant: slug, Id: args[0]})
		if err != nil {
			return err
		}
		return a.message(m)
	})
	put := &cobra.Command{
		Use:     "put FILE",
		Short:   "Create or replace one from JSON, as show prints it; - reads standard input",
		Long:    "Put creates an asset, or replaces the one whose version the file names. The bytes of stored content stand in content.data, base64.",
		Example: `  sluice assets put twin-registry.json`,
		Args:    cobra.ExactArgs(1),
	}
	put.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		text, err := a.input(args[0], 2<<20)
		if err != nil {
			return err
		}
		var asset pb.Asset
		if err := protojson.Unmarshal(text, &asset); err != nil {
			return usage("%s: %w", args[0], err)
		}
		stored, err := pb.NewAssetServiceClient(conn).PutAsset(ctx, &pb.PutAssetRequest{Participant: slug, Asset: &asset})
		if err != nil {
			return err
		}
		return a.message(stored)
	})
	remove := &cobra.Command{Use: "delete ID", Short: "Withdraw one and its offers; agreements about it stay", Args: cobra.ExactArgs(1)}
	version := remove.Flags().Int64("version", 0, "the version that is to go, as list shows it (required)")
	_ = remove.MarkFlagRequired("version")
	remove.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		_, err := pb.NewAssetServiceClient(conn).DeleteAsset(ctx, &pb.DeleteAssetRequest{Participant: slug, Id: args[0], Version: *version})
		return err
	})
	return group("assets", "What we have to offer", a.remote(list), a.remote(show), a.remote(put), a.remote(remove))
}

func (a *app) eventsCommand() *cobra.Command {
	req := &pb.WatchRequest{}
	c := &cobra.Command{
		Use:     "events",
		Short:   "Show what changed, and go on showing it",
		Long:    "Events prints the events of a participant in the order of their commit, one a line, until it is interrupted. Resume with --after.",
		Example: "  sluice events --after 4711 --json",
		Args:    cobra.NoArgs,
	}
	c.Flags().Int64Var(&req.After, "after", 0, "only events with a greater number")
	c.Flags().BoolVar(&req.Once, "once", false, "end after what is there now")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		req.Participant = slug
		stream, err := pb.NewEventServiceClient(conn).Watch(ctx, req)
		if err != nil {
			return err
		}
		for {
			e, err := stream.Recv()
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return failure(err)
			}
			if err := a.event(e); err != nil {
				return err
			}
		}
	})
	return a.remote(c)
}

func (a *app) event(e *pb.Event) error {
	if !a.json {
		_, err := fmt.Fprintf(a.stdout, "%6d  %s  %-24s  %s  %s\n", e.GetSeq(), when(e.GetTime()), printable(e.GetType()), printable(e.GetSubject()), printable(e.GetActor()))
		return err
	}
	text, err := encode(e)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", text)
	return err
}
