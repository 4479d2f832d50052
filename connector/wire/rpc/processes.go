package rpc

import (
	"cmp"
	"context"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

type catalogs struct {
	pb.UnimplementedCatalogServiceServer
	*Server
}

func (s catalogs) RequestCatalog(ctx context.Context, req *pb.RequestCatalogRequest) (*pb.RequestCatalogResponse, error) {
	const op = "rpc.RequestCatalog"
	who := from(ctx)
	if req.GetPeer() == "" {
		return nil, fault.New(op, fault.Malformed, "peer: want the DID or the number of a peer")
	}
	at, err := s.pager.open(who, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	peer, err := s.peer(ctx, who.local, req.GetPeer())
	if err != nil {
		return nil, err
	}
	remote, err := s.cfg.Peers.Catalog(ctx, who.local, peer, at.ID)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	next, err := s.pager.token(who, req, page.Key{ID: remote.Next})
	if err != nil {
		return nil, err
	}
	out, err := each(remote.Datasets, datasetOut)
	return &pb.RequestCatalogResponse{Datasets: out, NextPageToken: next}, err
}

func (s catalogs) RequestDataset(ctx context.Context, req *pb.RequestDatasetRequest) (*pb.Dataset, error) {
	const op = "rpc.RequestDataset"
	if req.GetPeer() == "" || req.GetId() == "" {
		return nil, fault.New(op, fault.Malformed, "want the DID or the number of a peer and the id of a dataset")
	}
	peer, err := s.peer(ctx, from(ctx).local, req.GetPeer())
	if err != nil {
		return nil, err
	}
	d, err := s.cfg.Peers.Dataset(ctx, from(ctx).local, peer, req.GetId())
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return datasetOut(d)
}

type negotiations struct {
	pb.UnimplementedNegotiationServiceServer
	*Server
}

func (s negotiations) BeginNegotiation(ctx context.Context, req *pb.BeginNegotiationRequest) (*pb.Negotiation, error) {
	const op = "rpc.BeginNegotiation"
	if req.GetPeer() == "" || req.GetOffer() == "" && req.GetAsset() == "" {
		return nil, fault.New(op, fault.Malformed, "want the DID or the number of a peer, and the id of an offer or of an asset")
	}
	who := from(ctx)
	peer, err := s.peer(ctx, who.local, req.GetPeer())
	if err != nil {
		return nil, err
	}
	req.Peer = string(peer)
	offer, err := s.terms(ctx, who.local, req)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	n, err := s.cfg.Negotiations.Begin(ctx, who.local, negotiation.BeginRequest{Peer: peer, Offer: offer, Actor: who.actor()})
	return negotiationOut(n), fault.Wrap(op, fault.Internal, err)
}

// terms completes the offer from the peer's catalog unless the caller gave all of it.
func (s negotiations) terms(ctx context.Context, local participant.Participant, req *pb.BeginNegotiationRequest) (negotiation.Offer, error) {
	if req.GetOdrl() != nil {
		p, parties, err := odrlIn(req.GetOdrl())
		if err != nil {
			return negotiation.Offer{}, err
		}
		offer := negotiation.Offer{ID: req.GetOffer(), Target: req.GetAsset(), Policy: p}
		if offer.ID == "" {
			offer.ID = p.ID
		}
		if offer.Target == "" {
			offer.Target = parties.Target
		}
		return offer, nil
	}
	target, found, err := catalog.Finder{Peers: s.cfg.Peers}.Find(ctx, local, participant.DID(req.GetPeer()), req.GetAsset(), req.GetOffer())
	return negotiation.Offer{ID: found.ID, Target: target, Policy: found.Policy}, err
}

func (s negotiations) GetNegotiation(ctx context.Context, req *pb.GetNegotiationRequest) (*pb.Negotiation, error) {
	n, err := s.cfg.Negotiations.Get(ctx, from(ctx).local, req.GetId())
	return negotiationOut(n), fault.Wrap("rpc.GetNegotiation", fault.Internal, err)
}

func (s negotiations) ListNegotiations(ctx context.Context, req *pb.ListNegotiationsRequest) (*pb.ListNegotiationsResponse, error) {
	const op = "rpc.ListNegotiations"
	state, role := negotiation.State(req.GetState()), negotiation.Role(req.GetRole())
	if err := known(op, req.GetState(), negotiation.States()); err != nil {
		return nil, err
	}
	if role != "" && role != negotiation.Provider && role != negotiation.Consumer {
		return nil, fault.New(op, fault.Malformed, "role: want provider or consumer")
	}
	f := negotiation.Filter{Peer: participant.DID(req.GetPeer()), State: state, Role: role, Asset: req.GetAsset(), Held: req.GetHeld()}
	out, next, err := paging(ctx, s.Server, op, req, true, func(local participant.Participant, r page.Request) (page.Of[negotiation.Negotiation], error) {
		return s.cfg.Negotiations.List(ctx, local, f, r)
	}, sure(negotiationOut))
	return &pb.ListNegotiationsResponse{Negotiations: out, NextPageToken: next}, err
}

func (s negotiations) TerminateNegotiation(ctx context.Context, req *pb.TerminateNegotiationRequest) (*pb.Negotiation, error) {
	const op = "rpc.TerminateNegotiation"
	who := from(ctx)
	n, err := s.cfg.Negotiations.Terminate(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Reason: req.GetReason(), Version: req.GetVersion()})
	return negotiationOut(n), fault.Wrap(op, fault.Internal, err)
}

func (s negotiations) OfferNegotiation(ctx context.Context, req *pb.OfferNegotiationRequest) (*pb.Negotiation, error) {
	const op = "rpc.OfferNegotiation"
	if req.GetPeer() == "" || req.GetOffer() == "" {
		return nil, fault.New(op, fault.Malformed, "want the DID of a peer and the id of one of our offers")
	}
	who := from(ctx)
	peer, err := s.peer(ctx, who.local, req.GetPeer())
	if err != nil {
		return nil, err
	}
	n, err := s.cfg.Negotiations.BeginOffer(ctx, who.local, peer, req.GetOffer(), who.actor())
	return negotiationOut(n), fault.Wrap(op, fault.Internal, err)
}

func (s negotiations) ProposeNegotiation(ctx context.Context, req *pb.ProposeNegotiationRequest) (*pb.Negotiation, error) {
	const op = "rpc.ProposeNegotiation"
	who := from(ctx)
	n, err := s.cfg.Negotiations.Get(ctx, who.local, req.GetId())
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	offer := negotiation.Offer{ID: cmp.Or(req.GetOffer(), n.Offer.ID), Target: n.Offer.Target}
	if req.GetOdrl() != nil {
		if offer.Policy, _, err = odrlIn(req.GetOdrl()); err != nil {
			return nil, err
		}
	}
	n, err = s.cfg.Negotiations.Propose(ctx, who.local, req.GetId(), offer, commit.Order{Actor: who.actor(), Version: req.GetVersion()})
	return negotiationOut(n), fault.Wrap(op, fault.Internal, err)
}

func (s negotiations) ApproveNegotiation(ctx context.Context, req *pb.ApproveNegotiationRequest) (*pb.Negotiation, error) {
	who := from(ctx)
	n, err := s.cfg.Negotiations.Approve(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Reason: req.GetComment(), Version: req.GetVersion()})
	return negotiationOut(n), fault.Wrap("rpc.ApproveNegotiation", fault.Internal, err)
}

type agreements struct {
	pb.UnimplementedAgreementServiceServer
	*Server
}

func (s agreements) GetAgreement(ctx context.Context, req *pb.GetAgreementRequest) (*pb.Agreement, error) {
	a, err := s.cfg.Store.Agreement(ctx, from(ctx).local.ID, req.GetId())
	if err != nil {
		return nil, fault.Wrap("rpc.GetAgreement", fault.Internal, err)
	}
	return agreementOut(a)
}

func (s agreements) ListAgreements(ctx context.Context, req *pb.ListAgreementsRequest) (*pb.ListAgreementsResponse, error) {
	out, next, err := paging(ctx, s.Server, "rpc.ListAgreements", req, true, func(local participant.Participant, r page.Request) (page.Of[agreement.Agreement], error) {
		return s.cfg.Store.Agreements(ctx, local.ID, participant.DID(req.GetPeer()), r)
	}, agreementOut)
	return &pb.ListAgreementsResponse{Agreements: out, NextPageToken: next}, err
}

func (s agreements) RetireAgreement(ctx context.Context, req *pb.RetireAgreementRequest) (*pb.Agreement, error) {
	const op = "rpc.RetireAgreement"
	if n := len(req.GetReason()); n == 0 || n > 500 {
		return nil, fault.New(op, fault.Malformed, "reason: want 1 to 500 bytes, have %d; the peer is shown it", n)
	}
	who := from(ctx)
	if err := s.cfg.Retire(ctx, who.local, req.GetId(), who.actor(), req.GetReason()); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return s.GetAgreement(ctx, &pb.GetAgreementRequest{Id: req.GetId()})
}

type transfers struct {
	pb.UnimplementedTransferServiceServer
	*Server
}

func (s transfers) BeginTransfer(ctx context.Context, req *pb.BeginTransferRequest) (*pb.Transfer, error) {
	who := from(ctx)
	format := req.GetFormat()
	if format == "" {
		format = transfer.Pull
	}
	t, err := s.cfg.Transfers.Begin(ctx, who.local, transfer.BeginRequest{Agreement: req.GetAgreement(), Format: format, Actor: who.actor()})
	return transferOut(t), fault.Wrap("rpc.BeginTransfer", fault.Internal, err)
}

func (s transfers) GetTransfer(ctx context.Context, req *pb.GetTransferRequest) (*pb.Transfer, error) {
	t, err := s.cfg.Transfers.Get(ctx, from(ctx).local, req.GetId())
	return transferOut(t), fault.Wrap("rpc.GetTransfer", fault.Internal, err)
}

func (s transfers) ListTransfers(ctx context.Context, req *pb.ListTransfersRequest) (*pb.ListTransfersResponse, error) {
	const op = "rpc.ListTransfers"
	state, role := transfer.State(req.GetState()), transfer.Role(req.GetRole())
	if err := known(op, req.GetState(), transfer.States()); err != nil {
		return nil, err
	}
	if role != "" && role != transfer.Provider && role != transfer.Consumer {
		return nil, fault.New(op, fault.Malformed, "role: want provider or consumer")
	}
	f := transfer.Filter{Peer: participant.DID(req.GetPeer()), State: state, Role: role, Agreement: req.GetAgreement()}
	out, next, err := paging(ctx, s.Server, op, req, true, func(local participant.Participant, r page.Request) (page.Of[transfer.Transfer], error) {
		return s.cfg.Transfers.List(ctx, local, f, r)
	}, sure(transferOut))
	return &pb.ListTransfersResponse{Transfers: out, NextPageToken: next}, err
}

func (s transfers) SuspendTransfer(ctx context.Context, req *pb.SuspendTransferRequest) (*pb.Transfer, error) {
	who := from(ctx)
	t, err := s.cfg.Transfers.Suspend(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Reason: req.GetReason(), Version: req.GetVersion()})
	return transferOut(t), fault.Wrap("rpc.SuspendTransfer", fault.Internal, err)
}

func (s transfers) ResumeTransfer(ctx context.Context, req *pb.ResumeTransferRequest) (*pb.Transfer, error) {
	who := from(ctx)
	t, err := s.cfg.Transfers.Resume(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Version: req.GetVersion()})
	return transferOut(t), fault.Wrap("rpc.ResumeTransfer", fault.Internal, err)
}

func (s transfers) CompleteTransfer(ctx context.Context, req *pb.CompleteTransferRequest) (*pb.Transfer, error) {
	who := from(ctx)
	t, err := s.cfg.Transfers.Complete(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Version: req.GetVersion()})
	return transferOut(t), fault.Wrap("rpc.CompleteTransfer", fault.Internal, err)
}

func (s transfers) TerminateTransfer(ctx context.Context, req *pb.TerminateTransferRequest) (*pb.Transfer, error) {
	who := from(ctx)
	t, err := s.cfg.Transfers.Terminate(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Reason: req.GetReason(), Version: req.GetVersion()})
	return transferOut(t), fault.Wrap("rpc.TerminateTransfer", fault.Internal, err)
}
