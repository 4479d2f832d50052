package main

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) directoryCommand() *cobra.Command {
	show := func(e *pb.NumberEntry) error {
		if a.json {
			return a.message(e)
		}
		a.fields("number", e.GetNumber(), "DID", e.GetDid())
		return nil
	}
	resolve := &cobra.Command{Use: "resolve NUMBER|DID", Short: "Look a company up in the directory of our ecosystem", Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			e, err := pb.NewDirectoryServiceClient(conn).ResolveNumber(ctx, &pb.ResolveNumberRequest{Participant: slug, Peer: args[0]})
			if err != nil {
				return err
			}
			return show(e)
		})}
	list := &cobra.Command{Use: "list", Short: "List the directory that we keep for others", Args: cobra.NoArgs, RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		var all []*pb.NumberEntry
		for token := ""; ; {
			some, err := pb.NewDirectoryServiceClient(conn).ListNumbers(ctx, &pb.ListNumbersRequest{Participant: slug, PageSize: 1000, PageToken: token})
			if err != nil {
				return err
			}
			all = append(all, some.GetEntries()...)
			if token = some.GetNextPageToken(); token == "" {
				break
			}
		}
		return printList(a, []string{"NUMBER", "DID", "SINCE"}, all, func(e *pb.NumberEntry) []string {
			return []string{e.GetNumber(), e.GetDid(), when(e.GetUpdated())}
		})
	})}
	put := &cobra.Command{Use: "put NUMBER DID", Short: "Enter a company into the directory that we keep", Args: cobra.ExactArgs(2),
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			e, err := pb.NewDirectoryServiceClient(conn).PutNumber(ctx, &pb.PutNumberRequest{Participant: slug, Number: args[0], Did: args[1]})
			if err != nil {
				return err
			}
			return show(e)
		})}
	remove := &cobra.Command{Use: "delete NUMBER", Short: "Remove a company from it", Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			_, err := pb.NewDirectoryServiceClient(conn).DeleteNumber(ctx, &pb.DeleteNumberRequest{Participant: slug, Number: args[0]})
			return err
		})}
	return group("directory", "Companies by business partner number", a.remote(resolve), a.remote(list), a.remote(put), a.remote(remove))
}

func (a *app) groupsCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the groups that our access policies may ask for", Args: cobra.NoArgs, RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		all, err := pb.NewGroupServiceClient(conn).ListGroups(ctx, &pb.ListGroupsRequest{Participant: slug})
		if err != nil {
			return err
		}
		return printList(a, []string{"NAME", "MEMBERS", "VERSION", "SINCE"}, all.GetGroups(), func(g *pb.Group) []string {
			return []string{g.GetName(), strconv.Itoa(len(g.GetMembers())), strconv.FormatInt(g.GetVersion(), 10), when(g.GetUpdated())}
		})
	})}
	print := func(g *pb.Group) error {
		if a.json {
			return a.message(g)
		}
		a.fields("group", g.GetName(), "version", strconv.FormatInt(g.GetVersion(), 10), "members", strings.Join(g.GetMembers(), "\n"))
		return nil
	}
	show := &cobra.Command{Use: "show NAME", Short: "Show who is in a group", Args: cobra.ExactArgs(1), RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		g, err := pb.NewGroupServiceClient(conn).GetGroup(ctx, &pb.GetGroupRequest{Participant: slug, Name: args[0]})
		if err != nil {
			return err
		}
		return print(g)
	})}
	// Whoever changes a group sees what is there first, so that two who change it at once do not undo each other.
	change := func(name string, does func(there, given []string) []string) func(*cobra.Command, []string) error {
		return a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			client := pb.NewGroupServiceClient(conn)
			g, err := client.GetGroup(ctx, &pb.GetGroupRequest{Participant: slug, Name: args[0]})
			if status.Code(err) == codes.NotFound && name == "put" {
				g, err = &pb.Group{Name: args[0]}, nil
			}
			if err != nil {
				return err
			}
			g.Members = does(g.GetMembers(), args[1:])
			if g, err = client.PutGroup(ctx, &pb.PutGroupRequest{Participant: slug, Group: g}); err != nil {
				return err
			}
			return print(g)
		})
	}
	put := &cobra.Command{Use: "put NAME MEMBER…", Short: "Put partners into a group, by number or DID; it is made when it is not there", Args: cobra.MinimumNArgs(1),
		Example: "  sluice groups put suppliers BPNL00000000COB1 did:web:boreal.example:boreal",
		RunE:    change("put", func(there, given []string) []string { return append(there, given...) })}
	take := &cobra.Command{Use: "remove NAME MEMBER…", Short: "Take partners out of a group", Args: cobra.MinimumNArgs(2),
		RunE: change("remove", func(there, given []string) []string {
			return slices.DeleteFunc(there, func(m string) bool { return slices.Contains(given, m) })
		})}
	remove := &cobra.Command{Use: "delete NAME", Short: "Delete a group; a policy that excludes it then lets nobody in", Args: cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
			client := pb.NewGroupServiceClient(conn)
			g, err := client.GetGroup(ctx, &pb.GetGroupRequest{Participant: slug, Name: args[0]})
			if err != nil {
				return err
			}
			_, err = client.DeleteGroup(ctx, &pb.DeleteGroupRequest{Participant: slug, Name: args[0], Version: g.GetVersion()})
			return err
		})}
	return group("groups", "Partners under a name, for access policies", a.remote(list), a.remote(show), a.remote(put), a.remote(take), a.remote(remove))
}
