package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) trustCommand() *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Show whom we believe, for which credentials", Args: cobra.NoArgs, RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		t, err := pb.NewTrustServiceClient(conn).GetTrust(ctx, &pb.GetTrustRequest{Participant: slug})
		if err != nil {
			return err
		}
		if a.json {
			return a.message(t)
		}
		a.fields("profile", t.GetProfile(), "digest", t.GetDigest(), "asks for", strings.Join(t.GetScopes(), "\n"), "accepts", strings.Join(t.GetCredentialProfiles(), ", "),
			"leeway", t.GetLeeway().AsDuration().String(), "status lists", "at least "+strconv.FormatInt(t.GetStatusEntries(), 10)+" entries, grace "+t.GetStatusGrace().AsDuration().String())
		return printList(a, []string{"ISSUER", "CREDENTIALS", "STATUS LISTS BY"}, t.GetIssuers(), func(i *pb.TrustedIssuer) []string {
			return []string{i.GetDid(), strings.Join(i.GetCredentials(), ", "), strings.Join(i.GetStatus(), ", ")}
		})
	})}
	reload := &cobra.Command{Use: "reload", Short: "Read settings and profiles again, and believe what they say from now on", Args: cobra.NoArgs,
		RunE: a.direct(func(ctx context.Context, conn *grpc.ClientConn, _ []string) error {
			got, err := pb.NewTrustServiceClient(conn).ReloadTrust(ctx, &pb.ReloadTrustRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.message(got)
			}
			type line struct{ profile, what string }
			var lines []line
			for _, c := range got.GetChanges() {
				for _, what := range c.GetAdded() {
					lines = append(lines, line{c.GetProfile(), "+ " + what})
				}
				for _, what := range c.GetRemoved() {
					lines = append(lines, line{c.GetProfile(), "- " + what})
				}
			}
			var out [][]string
			for _, l := range lines {
				out = append(out, []string{l.profile, l.what})
			}
			a.table([]string{"PROFILE", "CHANGE"}, out)
			return nil
		})}
	return group("trust", "Whom we believe", a.remote(show), a.remote(reload))
}
