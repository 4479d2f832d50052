package rpc

import (
	"context"
	"log/slog"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// announced does an operator's action where store and record cannot share a transaction: its record is committed first, its event last. An
// action without a record would be worse than a record whose action then failed. An action about the whole process has no decision log to
// stand in; the log of the process names it and its actor, as it does all others.
func (s *Server) announced(ctx context.Context, code, event, subject string, act func() error) error {
	const op = "rpc.announced"
	who, now := from(ctx), s.cfg.Now()
	s.cfg.Log.InfoContext(ctx, "operator acts", slog.String("action", code), slog.String("actor", who.actor()),
		slog.String("participant", who.local.Slug), slog.String("subject", subject))
	if who.local.ID == 0 {
		return act()
	}
	entry, err := s.cfg.Recorder.Record(ctx, decisionlog.Action{Log: who.local.Slug, Code: code, Actor: who.actor(), Subject: subject, Now: now})
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	if err := s.cfg.Store.Record(ctx, who.local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}); err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	if err := act(); err != nil {
		return err
	}
	told := commit.Effects{Events: []commit.Event{{Type: event, Subject: subject, Time: now, Actor: who.actor()}}}
	return fault.Wrap(op, fault.Unavailable, s.cfg.Store.Record(ctx, who.local.ID, told))
}

type assets struct {
	pb.UnimplementedAssetServiceServer
	*Server
}

// maxContent bounds the bytes of an asset that come inside a message.
const maxContent = 1 << 20

func (s assets) PutAsset(ctx context.Context, req *pb.PutAssetRequest) (*pb.Asset, error) {
	const op = "rpc.PutAsset"
	who := from(ctx)
	a, content := assetIn(req.GetAsset())
	if content != nil && len(content.Bytes) > maxContent {
		return nil, fault.New(op, fault.TooLarge, "content of %d bytes: at most %d fit a message, publish a file instead", len(content.Bytes), maxContent)
	}
	p := catalog.Publication{Assets: []catalog.Asset{a}, Actor: who.actor()}
	if content != nil {
		content.Created = s.cfg.Now()
		p.Contents = []catalog.Content{*content}
	}
	if err := s.cfg.Catalog.Publish(ctx, who.local, p); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	stored, err := s.cfg.Store.Asset(ctx, who.local.ID, a.ID)
	return assetOut(stored), fault.Wrap(op, fault.Internal, err)
}

func (s assets) GetAsset(ctx context.Context, req *pb.GetAssetRequest) (*pb.Asset, error) {
	a, err := s.cfg.Store.Asset(ctx, from(ctx).local.ID, req.GetId())
	return assetOut(a), fault.Wrap("rpc.GetAsset", fault.Internal, err)
}

func (s assets) ListAssets(ctx context.Context, req *pb.ListAssetsRequest) (*pb.ListAssetsResponse, error) {
	out, next, err := paging(ctx, s.Server, "rpc.ListAssets", req, false, func(local participant.Participant, r page.Request) (page.Of[catalog.Asset], error) {
		return s.cfg.Store.Assets(ctx, local.ID, r)
	}, sure(assetOut))
	return &pb.ListAssetsResponse{Assets: out, NextPageToken: next}, err
}

func (s assets) DeleteAsset(ctx context.Context, req *pb.DeleteAssetRequest) (*pb.DeleteAssetResponse, error) {
	who := from(ctx)
	err := s.cfg.Catalog.Withdraw(ctx, who.local, req.GetId(), req.GetVersion(), who.actor())
	return &pb.DeleteAssetResponse{}, fault.Wrap("rpc.DeleteAsset", fault.Internal, err)
}

type policies struct {
	pb.UnimplementedPolicyServiceServer
	*Server
}

func (s policies) CreatePolicy(ctx context.Context, req *pb.CreatePolicyRequest) (*pb.Policy, error) {
	const op = "rpc.CreatePolicy"
	if req.GetKind() != pb.PolicyKind_POLICY_KIND_ACCESS && req.GetKind() != pb.PolicyKind_POLICY_KIND_USAGE {
		return nil, fault.New(op, fault.Malformed, "kind: want POLICY_KIND_ACCESS or POLICY_KIND_USAGE")
	}
	p, _, err := odrlIn(req.GetOdrl())
	if err != nil {
		return nil, err
	}
	who := from(ctx)
	d, err := s.cfg.Catalog.Define(ctx, who.local, req.GetName(), p, req.GetKind() == pb.PolicyKind_POLICY_KIND_ACCESS, who.actor())
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	stored, err := s.cfg.Store.Definition(ctx, who.local.ID, d.Digest)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return policyOut(stored)
}

func (s policies) GetPolicy(ctx context.Context, req *pb.GetPolicyRequest) (*pb.Policy, error) {
	d, err := s.cfg.Store.Definition(ctx, from(ctx).local.ID, req.GetDigest())
	if err != nil {
		return nil, fault.Wrap("rpc.GetPolicy", fault.Internal, err)
	}
	return policyOut(d)
}

func (s policies) ListPolicies(ctx context.Context, req *pb.ListPoliciesRequest) (*pb.ListPoliciesResponse, error) {
	out, next, err := paging(ctx, s.Server, "rpc.ListPolicies", req, false, func(local participant.Participant, r page.Request) (page.Of[catalog.Definition], error) {
		return s.cfg.Store.Definitions(ctx, local.ID, r)
	}, policyOut)
	return &pb.ListPoliciesResponse{Policies: out, NextPageToken: next}, err
}

type offers struct {
	pb.UnimplementedOfferServiceServer
	*Server
}

func (s offers) PutRule(ctx context.Context, req *pb.PutRuleRequest) (*pb.Rule, error) {
	const op = "rpc.PutRule"
	who := from(ctx)
	r := ruleIn(req.GetRule())
	if len(r.ID) > 256 {
		return nil, fault.New(op, fault.Malformed, "rule id: want at most 256 bytes, have %d", len(r.ID))
	}
	stored, err := s.cfg.Catalog.Offer(ctx, who.local, r, who.actor())
	return ruleOut(stored), fault.Wrap(op, fault.Internal, err)
}

func (s offers) GetRule(ctx context.Context, req *pb.GetRuleRequest) (*pb.Rule, error) {
	r, err := s.cfg.Store.Rule(ctx, from(ctx).local.ID, req.GetId())
	return ruleOut(r), fault.Wrap("rpc.GetRule", fault.Internal, err)
}

func (s offers) ListRules(ctx context.Context, req *pb.ListRulesRequest) (*pb.ListRulesResponse, error) {
	out, next, err := paging(ctx, s.Server, "rpc.ListRules", req, false, func(local participant.Participant, r page.Request) (page.Of[catalog.Rule], error) {
		return s.cfg.Store.Rules(ctx, local.ID, r)
	}, sure(ruleOut))
	return &pb.ListRulesResponse{Rules: out, NextPageToken: next}, err
}

func (s offers) DeleteRule(ctx context.Context, req *pb.DeleteRuleRequest) (*pb.DeleteRuleResponse, error) {
	who := from(ctx)
	err := s.cfg.Catalog.WithdrawRule(ctx, who.local, req.GetId(), req.GetVersion(), who.actor())
	return &pb.DeleteRuleResponse{}, fault.Wrap("rpc.DeleteRule", fault.Internal, err)
}

func (s offers) ListOffers(ctx context.Context, req *pb.ListOffersRequest) (*pb.ListOffersResponse, error) {
	const op = "rpc.ListOffers"
	access, err := s.cfg.Store.AccessPolicies(ctx, from(ctx).local.ID)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	digests := make([]string, len(access))
	for i, d := range access {
		digests[i] = d.Digest
	}
	out, next, err := paging(ctx, s.Server, op, req, false, func(local participant.Participant, r page.Request) (page.Of[catalog.Entry], error) {
		return s.cfg.Store.Entries(ctx, local.ID, digests, req.GetAsset(), r)
	}, sure(func(e catalog.Entry) *pb.Offer { return offerOut(e.Offer) }))
	return &pb.ListOffersResponse{Offers: out, NextPageToken: next}, err
}
