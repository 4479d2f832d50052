package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// direct makes the run function of a command that is not about one participant.
func (a *app) direct(do func(ctx context.Context, conn *grpc.ClientConn, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		conn, err := a.connect()
		if err != nil {
			return err
		}
		defer conn.Close()
		return do(cmd.Context(), conn, args)
	}
}

// printList prints a whole list.
func printList[M proto.Message](a *app, header []string, items []M, row func(M) []string) error {
	l := rows(items, "", row)
	if a.json {
		return a.messages(l.items)
	}
	a.table(header, l.rows)
	return nil
}

func (a *app) participantsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the companies hosted here", Args: cobra.NoArgs, RunE: a.direct(func(ctx context.Context, conn *grpc.ClientConn, _ []string) error {
		all, err := pb.NewParticipantServiceClient(conn).ListParticipants(ctx, &pb.ListParticipantsRequest{})
		if err != nil {
			return err
		}
		return printList(a, []string{"SLUG", "NAME", "DID", "LOG KEY"}, all.GetParticipants(), func(p *pb.Participant) []string {
			return []string{p.GetSlug(), p.GetName(), p.GetDid(), p.GetLogKey()}
		})
	})}
	create := &cobra.Command{Use: "create SLUG", Short: "Host one more company", Args: cobra.ExactArgs(1)}
	name := create.Flags().String("name", "", "its name, for people (required)")
	_ = create.MarkFlagRequired("name")
	create.RunE = a.direct(func(ctx context.Context, conn *grpc.ClientConn, args []string) error {
		p, err := pb.NewParticipantServiceClient(conn).CreateParticipant(ctx, &pb.CreateParticipantRequest{Slug: args[0], Name: *name})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(p)
		}
		a.fields("slug", p.GetSlug(), "name", p.GetName(), "DID", p.GetDid(), "log key", p.GetLogKey())
		return nil
	})
	return group("participants", "Companies hosted here", a.remote(list), a.remote(create))
}

var roleFlags = map[string]pb.Role{"operator": pb.Role_ROLE_OPERATOR, "reader": pb.Role_ROLE_READER, "auditor": pb.Role_ROLE_AUDITOR}

func roleName(r pb.Role) string {
	for name, role := range roleFlags {
		if role == r {
			return name
		}
	}
	return ""
}

func (a *app) tokensCommand() *cobra.Command {
	// Here --participant names the binding: without it the token is one of the whole process.
	bound := func() string { return a.setting(a.participant, "SLUICE_PARTICIPANT", "") }
	list := &cobra.Command{Use: "list", Short: "List tokens, of a participant or of the whole process", Args: cobra.NoArgs, RunE: a.direct(func(ctx context.Context, conn *grpc.ClientConn, _ []string) error {
		all, err := pb.NewTokenServiceClient(conn).ListTokens(ctx, &pb.ListTokensRequest{Participant: bound()})
		if err != nil {
			return err
		}
		return printList(a, []string{"LABEL", "ROLE", "CREATED", "EXPIRES", "ID"}, all.GetTokens(), func(t *pb.Token) []string {
			return []string{t.GetLabel(), roleName(t.GetRole()), when(t.GetCreated()), when(t.GetExpires()), t.GetId()}
		})
	})}
	create := &cobra.Command{Use: "create LABEL", Short: "Make a token; its secret is shown once", Args: cobra.ExactArgs(1),
		Example: "  sluice tokens create console --participant aurora --role reader --days 90"}
	role := create.Flags().String("role", "reader", "operator, reader or auditor")
	days := create.Flags().Int("days", 0, "how long it lives; 0: until it is deleted")
	create.RunE = a.direct(func(ctx context.Context, conn *grpc.ClientConn, args []string) error {
		r, ok := roleFlags[*role]
		if !ok || *days < 0 {
			return usage("role %q, days %d: want operator, reader or auditor, and 0 or more days", *role, *days)
		}
		req := &pb.CreateTokenRequest{Participant: bound(), Role: r, Label: args[0]}
		if *days > 0 {
			req.Expires = timestamppb.New(a.now().Add(time.Duration(*days) * 24 * time.Hour))
		}
		made, err := pb.NewTokenServiceClient(conn).CreateToken(ctx, req)
		if err != nil {
			return err
		}
		if a.json {
			return a.message(made)
		}
		a.fields("token", made.GetSecret(), "id", made.GetToken().GetId(), "role", *role, "participant", made.GetToken().GetParticipant(), "expires", when(made.GetToken().GetExpires()))
		return nil
	})
	remove := &cobra.Command{Use: "delete ID", Short: "End a token at once", Args: cobra.ExactArgs(1), RunE: a.direct(func(ctx context.Context, conn *grpc.ClientConn, args []string) error {
		_, err := pb.NewTokenServiceClient(conn).DeleteToken(ctx, &pb.DeleteTokenRequest{Participant: bound(), Id: args[0]})
		return err
	})}
	return group("tokens", "Bearer tokens of the management API", a.remote(list), a.remote(create), a.remote(remove))
}

// input reads a small file, or standard input for "-".
func (a *app) input(path string, limit int64) ([]byte, error) {
	r := a.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, usage("%w", err)
		}
		defer file.Close()
		r = file
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, usage("%s has more than %d bytes", path, limit)
	}
	return data, nil
}
