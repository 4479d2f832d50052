package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/trust"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// Trust says whom participants believe, and has it read again. A *connector.Connector implements it.
type Trust interface {
	Trust(ctx context.Context, local participant.Participant) (trust.Terms, error)
	ReloadTrust(ctx context.Context, actor string) ([]trust.Change, error)
}

type trusts struct {
	pb.UnimplementedTrustServiceServer
	*Server
}

func (s trusts) GetTrust(ctx context.Context, _ *pb.GetTrustRequest) (*pb.Trust, error) {
	const op = "rpc.GetTrust"
	local := from(ctx).local
	t, err := s.cfg.Trust.Trust(ctx, local)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	digest, err := t.Digest()
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	out := &pb.Trust{Profile: local.Profile, Digest: digest, Scopes: t.Scopes, CredentialProfiles: t.Profiles, Leeway: durationpb.New(t.Leeway),
		StatusEntries: int64(t.Entries), StatusGrace: durationpb.New(t.Grace)}
	for _, i := range t.Issuers {
		issuer := &pb.TrustedIssuer{Did: string(i.DID), Credentials: i.Credentials}
		for _, did := range i.Status {
			issuer.Status = append(issuer.Status, string(did))
		}
		out.Issuers = append(out.Issuers, issuer)
	}
	return out, nil
}

func (s trusts) ReloadTrust(ctx context.Context, _ *pb.ReloadTrustRequest) (*pb.ReloadTrustResponse, error) {
	changes, err := s.cfg.Trust.ReloadTrust(ctx, from(ctx).actor())
	if err != nil {
		return nil, fault.Wrap("rpc.ReloadTrust", fault.Internal, err)
	}
	out := &pb.ReloadTrustResponse{}
	for _, c := range changes {
		out.Changes = append(out.Changes, &pb.TrustChange{Profile: c.Profile, Before: c.Before, After: c.After, Added: c.Added, Removed: c.Removed})
	}
	return out, nil
}
