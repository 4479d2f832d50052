package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-connector/sluice/connector/identity/keyring"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func (a *app) keysCommand() *cobra.Command {
	return group("keys", "Keys that prove who we are: list, rotate, revoke", a.keysList(), a.keysRotate(), a.keysRevoke())
}

// keyStates are the states as people read them.
var keyStates = map[pb.KeyState]string{pb.KeyState_KEY_STATE_CREATED: "created", pb.KeyState_KEY_STATE_ACTIVE: "active",
	pb.KeyState_KEY_STATE_ROTATED: "rotated", pb.KeyState_KEY_STATE_RETIRED: "retired", pb.KeyState_KEY_STATE_REVOKED: "revoked"}

func (a *app) printKeys(all []*pb.Key) error {
	return printList(a, []string{"USE", "GEN", "STATE", "DUE", "ALGORITHM", "ID"}, all, func(k *pb.Key) []string {
		return []string{k.GetUse(), strconv.FormatInt(k.GetGeneration(), 10), keyStates[k.GetState()], when(k.GetDue()), k.GetAlgorithm(), k.GetId()}
	})
}

func (a *app) keysList() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the keys of a participant, and when each goes on to its next state",
		Long: `List shows every key that a participant has or had. The life of a key:

  created   published in the DID document, does not sign yet
  active    signs (token: who we are; issue: credentials) or seals (access, holder, rest, cursor)
  rotated   signs no more; it stays published until the last of what it signed has expired
  retired   nothing that it signed is good any more
  revoked   taken back: nobody believes it

DUE is when it goes on to the next state by itself. The keys "checkpoint" and "log" prove the decision log and are not rotated.`,
		Example: `  sluice keys list
  sluice keys list --json | jq 'select(.state == "KEY_STATE_CREATED")'`,
		Args: cobra.NoArgs,
	}
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, _ []string) error {
		all, err := pb.NewKeyServiceClient(conn).ListKeys(ctx, &pb.ListKeysRequest{Participant: slug})
		if err != nil {
			return err
		}
		return a.printKeys(all.GetKeys())
	})
	return a.remote(c)
}

func (a *app) keysRotate() *cobra.Command {
	var overlap time.Duration
	var algorithm string
	c := &cobra.Command{
		Use:   "rotate [USE]",
		Short: "Begin to use new keys, without a gap: for one use (token, issue, access, holder, rest, cursor), or for all",
		Long: `Rotate draws new keys. A new signing key is published in the DID document at once and signs once the overlap is over: by then whoever keeps the
document has seen it. The key before it signs no more from then on, its private half is destroyed, and it stays published until what it signed has
expired: ten minutes for tokens, until the end of the last credential for the key of an issuer. Everything goes on meanwhile, also if the
connector is stopped and started in between. New secrets are used at once; what was sealed before is opened by the old ones.

A key that may be in wrong hands is not rotated but revoked: "sluice keys revoke".`,
		Example: `  sluice keys rotate
  sluice keys rotate token --overlap 1h
  sluice keys rotate issue --algorithm Ed25519`,
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().DurationVar(&overlap, "overlap", keyring.Overlap, "how long a new key is published before it signs; less than ten minutes may make peers refuse for a while")
	c.Flags().StringVar(&algorithm, "algorithm", "", "of new signing keys: ES256 or Ed25519 (default: that of the key before)")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		req := &pb.RotateKeysRequest{Participant: slug, Algorithm: algorithm, Overlap: durationpb.New(overlap)}
		if len(args) > 0 {
			req.Use = args[0]
		}
		made, err := pb.NewKeyServiceClient(conn).RotateKeys(ctx, req)
		if err != nil {
			return err
		}
		return a.printKeys(made.GetKeys())
	})
	return a.remote(c)
}

func (a *app) keysRevoke() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "Take a key back at once; when it was the one in use, a new one takes its place",
		Long: `Revoke takes a key out of use and out of the DID document at once: peers that look again believe nothing that it signed. They look again when they
meet the new key, and after five minutes at the latest. Credentials that a revoked key of an issuer signed are worth nothing from then on: issue
them again. What a revoked secret sealed opens no more: "access" ends the tokens of no running transfer, "rest" makes pending messages and
the tokens that we hold for pulling unreadable, so that those transfers must be begun again.`,
		Example: `  sluice keys revoke token-2jmj7l5rSw0yVb_v --reason "laptop of the operator was stolen"`,
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&reason, "reason", "", "one sentence for the decision log")
	c.RunE = a.call(func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error {
		key, err := pb.NewKeyServiceClient(conn).RevokeKey(ctx, &pb.RevokeKeyRequest{Participant: slug, Id: args[0], Reason: reason})
		if err != nil {
			return err
		}
		return a.printKeys([]*pb.Key{key})
	})
	return a.remote(c)
}

// master returns the master key of the environment; nil when it is in the file that the settings name.
func (a *app) master() (keyring.Master, error) {
	text := a.env("SLUICE_MASTER_KEY")
	if text == "" {
		return nil, nil
	}
	m, err := keyring.ParseMaster(text, a.rand)
	if err != nil {
		return nil, usage("SLUICE_MASTER_KEY: %w", err)
	}
	return m, nil
}
