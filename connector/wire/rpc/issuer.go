package rpc

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// Issuer issues credentials for the hosted participants that are issuers. An *issuer.Service implements it.
type Issuer interface {
	Enabled(p participant.ID) bool
	Definitions(ctx context.Context, local participant.Participant) ([]issuer.Definition, error)
	PutDefinition(ctx context.Context, local participant.Participant, d issuer.Definition, actor string) (issuer.Definition, error)
	DeleteDefinition(ctx context.Context, local participant.Participant, id string, order commit.Order) error
	Holder(ctx context.Context, local participant.Participant, did participant.DID) (issuer.Holder, error)
	Holders(ctx context.Context, local participant.Participant, r page.Request) (page.Of[issuer.Holder], error)
	PutHolders(ctx context.Context, local participant.Participant, rows []issuer.Holder, actor string) (issuer.Imported, error)
	DeleteHolder(ctx context.Context, local participant.Participant, did participant.DID, order commit.Order) error
	Request(ctx context.Context, local participant.Participant, id string) (issuer.Request, error)
	Requests(ctx context.Context, local participant.Participant, f issuer.Filter, r page.Request) (page.Of[issuer.Request], error)
	Approve(ctx context.Context, local participant.Participant, id string, given map[string][]string, order commit.Order) (issuer.Request, error)
	Refuse(ctx context.Context, local participant.Participant, id string, order commit.Order) (issuer.Request, error)
	Issue(ctx context.Context, local participant.Participant, i issuer.Issuing) (issuer.Credential, string, error)
	Credential(ctx context.Context, local participant.Participant, id string) (issuer.Credential, error)
	Credentials(ctx context.Context, local participant.Participant, f issuer.Filter, r page.Request) (page.Of[issuer.Credential], error)
	Revoke(ctx context.Context, local participant.Participant, id string, order commit.Order) (issuer.Credential, error)
	Suspend(ctx context.Context, local participant.Participant, id string, order commit.Order) (issuer.Credential, error)
	Reinstate(ctx context.Context, local participant.Participant, id string, order commit.Order) (issuer.Credential, error)
	RevokeHolder(ctx context.Context, local participant.Participant, holder participant.DID, order commit.Order) (int, error)
	Offer(ctx context.Context, local participant.Participant, holder participant.DID, ids []string, reason, actor string) (issuer.Offer, error)
	Offers(ctx context.Context, local participant.Participant, f issuer.Filter, r page.Request) (page.Of[issuer.Offer], error)
}

// Enabling switches participants on as issuers.
type Enabling interface {
	EnableIssuer(ctx context.Context, local participant.Participant, actor string) error
	IssuerURL(local participant.Participant) string
}

type issuers struct {
	pb.UnimplementedIssuerServiceServer
	*Server
}

func (s issuers) EnableIssuer(ctx context.Context, _ *pb.EnableIssuerRequest) (*pb.Issuer, error) {
	who := from(ctx)
	if err := s.cfg.Enabling.EnableIssuer(ctx, who.local, who.actor()); err != nil {
		return nil, fault.Wrap("rpc.EnableIssuer", fault.Internal, err)
	}
	return s.issuer(who.local), nil
}

func (s issuers) GetIssuer(ctx context.Context, _ *pb.GetIssuerRequest) (*pb.Issuer, error) {
	return s.issuer(from(ctx).local), nil
}

func (s issuers) issuer(local participant.Participant) *pb.Issuer {
	out := &pb.Issuer{Enabled: s.cfg.Issuer.Enabled(local.ID), Did: string(local.DID)}
	if out.Enabled {
		out.Endpoint = s.cfg.Enabling.IssuerURL(local)
	}
	return out
}

func (s issuers) PutIssuerDefinition(ctx context.Context, req *pb.PutIssuerDefinitionRequest) (*pb.IssuerDefinition, error) {
	who := from(ctx)
	d, err := s.cfg.Issuer.PutDefinition(ctx, who.local, definitionIn(req.GetDefinition()), who.actor())
	return issuableOut(d), fault.Wrap("rpc.PutIssuerDefinition", fault.Internal, err)
}

func (s issuers) ListIssuerDefinitions(ctx context.Context, _ *pb.ListIssuerDefinitionsRequest) (*pb.ListIssuerDefinitionsResponse, error) {
	all, err := s.cfg.Issuer.Definitions(ctx, from(ctx).local)
	if err != nil {
		return nil, fault.Wrap("rpc.ListIssuerDefinitions", fault.Internal, err)
	}
	out, err := each(all, sure(issuableOut))
	return &pb.ListIssuerDefinitionsResponse{Definitions: out}, err
}

func (s issuers) DeleteIssuerDefinition(ctx context.Context, req *pb.DeleteIssuerDefinitionRequest) (*pb.DeleteIssuerDefinitionResponse, error) {
	who := from(ctx)
	err := s.cfg.Issuer.DeleteDefinition(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Version: req.GetVersion()})
	return &pb.DeleteIssuerDefinitionResponse{}, fault.Wrap("rpc.DeleteIssuerDefinition", fault.Internal, err)
}

func (s issuers) PutIssuerHolder(ctx context.Context, req *pb.PutIssuerHolderRequest) (*pb.IssuerHolder, error) {
	const op = "rpc.PutIssuerHolder"
	who := from(ctx)
	h := holderIn(req.GetHolder())
	if _, err := s.cfg.Issuer.PutHolders(ctx, who.local, []issuer.Holder{h}, who.actor()); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	kept, err := s.cfg.Issuer.Holder(ctx, who.local, h.DID)
	return holderOut(kept), fault.Wrap(op, fault.Internal, err)
}

func (s issuers) ImportIssuerHolders(ctx context.Context, req *pb.ImportIssuerHoldersRequest) (*pb.ImportIssuerHoldersResponse, error) {
	const op = "rpc.ImportIssuerHolders"
	rows, err := issuer.ReadHolders(bytes.NewReader(req.GetCsv()))
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	who := from(ctx)
	got, err := s.cfg.Issuer.PutHolders(ctx, who.local, rows, who.actor())
	return &pb.ImportIssuerHoldersResponse{Added: int32(got.Added), Changed: int32(got.Changed), Same: int32(got.Same)}, fault.Wrap(op, fault.Internal, err)
}

func (s issuers) ListIssuerHolders(ctx context.Context, req *pb.ListIssuerHoldersRequest) (*pb.ListIssuerHoldersResponse, error) {
	out, next, err := paging(ctx, s.Server, "rpc.ListIssuerHolders", req, false, func(local participant.Participant, r page.Request) (page.Of[issuer.Holder], error) {
		return s.cfg.Issuer.Holders(ctx, local, r)
	}, sure(holderOut))
	return &pb.ListIssuerHoldersResponse{Holders: out, NextPageToken: next}, err
}

func (s issuers) DeleteIssuerHolder(ctx context.Context, req *pb.DeleteIssuerHolderRequest) (*pb.DeleteIssuerHolderResponse, error) {
	who := from(ctx)
	err := s.cfg.Issuer.DeleteHolder(ctx, who.local, participant.DID(req.GetDid()), commit.Order{Actor: who.actor(), Version: req.GetVersion()})
	return &pb.DeleteIssuerHolderResponse{}, fault.Wrap("rpc.DeleteIssuerHolder", fault.Internal, err)
}

func (s issuers) ListIssuanceRequests(ctx context.Context, req *pb.ListIssuanceRequestsRequest) (*pb.ListIssuanceRequestsResponse, error) {
	const op = "rpc.ListIssuanceRequests"
	if err := known(op, req.GetState(), issuer.States()); err != nil {
		return nil, err
	}
	out, next, err := paging(ctx, s.Server, op, req, true, func(local participant.Participant, r page.Request) (page.Of[issuer.Request], error) {
		return s.cfg.Issuer.Requests(ctx, local, issuer.Filter{Holder: participant.DID(req.GetHolder()), State: req.GetState()}, r)
	}, sure(issuanceOut))
	return &pb.ListIssuanceRequestsResponse{Requests: out, NextPageToken: next}, err
}

func (s issuers) GetIssuanceRequest(ctx context.Context, req *pb.GetIssuanceRequestRequest) (*pb.IssuanceRequest, error) {
	r, err := s.cfg.Issuer.Request(ctx, from(ctx).local, req.GetId())
	return issuanceOut(r), fault.Wrap("rpc.GetIssuanceRequest", fault.Internal, err)
}

func (s issuers) ApproveIssuanceRequest(ctx context.Context, req *pb.ApproveIssuanceRequestRequest) (*pb.IssuanceRequest, error) {
	who := from(ctx)
	r, err := s.cfg.Issuer.Approve(ctx, who.local, req.GetId(), valuesIn(req.GetValues()), commit.Order{Actor: who.actor(), Reason: req.GetComment(), Version: req.GetVersion()})
	return issuanceOut(r), fault.Wrap("rpc.ApproveIssuanceRequest", fault.Internal, err)
}

func (s issuers) RefuseIssuanceRequest(ctx context.Context, req *pb.RefuseIssuanceRequestRequest) (*pb.IssuanceRequest, error) {
	who := from(ctx)
	r, err := s.cfg.Issuer.Refuse(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Reason: req.GetReason(), Version: req.GetVersion()})
	return issuanceOut(r), fault.Wrap("rpc.RefuseIssuanceRequest", fault.Internal, err)
}

func (s issuers) IssueCredential(ctx context.Context, req *pb.IssueCredentialRequest) (*pb.IssueCredentialResponse, error) {
	who := from(ctx)
	c, token, err := s.cfg.Issuer.Issue(ctx, who.local, issuer.Issuing{Holder: participant.DID(req.GetHolder()), Definition: req.GetDefinition(),
		Values: valuesIn(req.GetValues()), Actor: who.actor()})
	return &pb.IssueCredentialResponse{Credential: issuedOut(c), Jwt: token}, fault.Wrap("rpc.IssueCredential", fault.Internal, err)
}

func (s issuers) ListIssuedCredentials(ctx context.Context, req *pb.ListIssuedCredentialsRequest) (*pb.ListIssuedCredentialsResponse, error) {
	const op = "rpc.ListIssuedCredentials"
	if err := known(op, req.GetState(), issuer.Standings()); err != nil {
		return nil, err
	}
	out, next, err := paging(ctx, s.Server, op, req, true, func(local participant.Participant, r page.Request) (page.Of[issuer.Credential], error) {
		return s.cfg.Issuer.Credentials(ctx, local, issuer.Filter{Holder: participant.DID(req.GetHolder()), State: req.GetState(), Definition: req.GetDefinition()}, r)
	}, sure(issuedOut))
	return &pb.ListIssuedCredentialsResponse{Credentials: out, NextPageToken: next}, err
}

func (s issuers) GetIssuedCredential(ctx context.Context, req *pb.GetIssuedCredentialRequest) (*pb.IssuedCredential, error) {
	c, err := s.cfg.Issuer.Credential(ctx, from(ctx).local, req.GetId())
	return issuedOut(c), fault.Wrap("rpc.GetIssuedCredential", fault.Internal, err)
}

// standing is an order about a credential.
type standing interface {
	GetId() string
	GetVersion() int64
	GetReason() string
}

func (s issuers) stand(ctx context.Context, op string, req standing, do func(context.Context, participant.Participant, string, commit.Order) (issuer.Credential, error)) (*pb.IssuedCredential, error) {
	who := from(ctx)
	if len(req.GetReason()) > maxReason {
		return nil, fault.New(op, fault.Malformed, "reason: want at most %d bytes", maxReason)
	}
	c, err := do(ctx, who.local, req.GetId(), commit.Order{Actor: who.actor(), Reason: req.GetReason(), Version: req.GetVersion()})
	return issuedOut(c), fault.Wrap(op, fault.Internal, err)
}

func (s issuers) RevokeCredential(ctx context.Context, req *pb.RevokeCredentialRequest) (*pb.IssuedCredential, error) {
	return s.stand(ctx, "rpc.RevokeCredential", req, s.cfg.Issuer.Revoke)
}

func (s issuers) SuspendCredential(ctx context.Context, req *pb.SuspendCredentialRequest) (*pb.IssuedCredential, error) {
	return s.stand(ctx, "rpc.SuspendCredential", req, s.cfg.Issuer.Suspend)
}

func (s issuers) ReinstateCredential(ctx context.Context, req *pb.ReinstateCredentialRequest) (*pb.IssuedCredential, error) {
	return s.stand(ctx, "rpc.ReinstateCredential", req, s.cfg.Issuer.Reinstate)
}

func (s issuers) RevokeHolder(ctx context.Context, req *pb.RevokeHolderRequest) (*pb.RevokeHolderResponse, error) {
	const op = "rpc.RevokeHolder"
	who := from(ctx)
	if req.GetDid() == "" || len(req.GetReason()) > maxReason {
		return nil, fault.New(op, fault.Malformed, "want the DID of a holder, and a reason of at most %d bytes", maxReason)
	}
	n, err := s.cfg.Issuer.RevokeHolder(ctx, who.local, participant.DID(req.GetDid()), commit.Order{Actor: who.actor(), Reason: req.GetReason()})
	return &pb.RevokeHolderResponse{Revoked: int32(n)}, fault.Wrap(op, fault.Internal, err)
}

func (s issuers) OfferCredentials(ctx context.Context, req *pb.OfferCredentialsRequest) (*pb.IssuerOffer, error) {
	who := from(ctx)
	o, err := s.cfg.Issuer.Offer(ctx, who.local, participant.DID(req.GetHolder()), req.GetDefinitions(), req.GetReason(), who.actor())
	return offeredOut(o), fault.Wrap("rpc.OfferCredentials", fault.Internal, err)
}

func (s issuers) ListIssuerOffers(ctx context.Context, req *pb.ListIssuerOffersRequest) (*pb.ListIssuerOffersResponse, error) {
	const op = "rpc.ListIssuerOffers"
	if err := known(op, req.GetState(), issuer.OfferStates()); err != nil {
		return nil, err
	}
	out, next, err := paging(ctx, s.Server, op, req, true, func(local participant.Participant, r page.Request) (page.Of[issuer.Offer], error) {
		return s.cfg.Issuer.Offers(ctx, local, issuer.Filter{Holder: participant.DID(req.GetHolder()), State: req.GetState()}, r)
	}, sure(offeredOut))
	return &pb.ListIssuerOffersResponse{Offers: out, NextPageToken: next}, err
}

func definitionIn(m *pb.IssuerDefinition) issuer.Definition {
	d := issuer.Definition{ID: m.GetId(), Version: m.GetVersion(), Type: m.GetType(), Profile: m.GetProfile(), Contexts: m.GetContexts(), Schema: m.GetSchema(),
		Life: m.GetLife().AsDuration(), Purposes: m.GetPurposes(), Open: m.GetOpen()}
	for _, e := range m.GetSubject() {
		d.Subject = append(d.Subject, issuer.Member{Name: e.GetName(), From: issuer.Source(e.GetFrom()), Values: e.GetValues(), Key: e.GetKey(), Credential: e.GetCredential(),
			Many: e.GetMany(), Optional: e.GetOptional()})
	}
	for _, r := range m.GetRules() {
		d.Rules = append(d.Rules, issuer.Rule{Kind: issuer.RuleKind(r.GetKind()), Credential: r.GetCredential(), Claim: r.GetClaim(), Values: r.GetValues()})
	}
	return d
}

func issuableOut(d issuer.Definition) *pb.IssuerDefinition {
	m := &pb.IssuerDefinition{Id: d.ID, Version: d.Version, Type: d.Type, Profile: d.Profile, Contexts: d.Contexts, Schema: d.Schema, Life: durationpb.New(d.Life),
		Purposes: d.Purposes, Open: d.Open, Created: stampOf(d.Created), Updated: stampOf(d.Updated)}
	for _, e := range d.Subject {
		m.Subject = append(m.Subject, &pb.IssuerMember{Name: e.Name, From: string(e.From), Values: e.Values, Key: e.Key, Credential: e.Credential, Many: e.Many, Optional: e.Optional})
	}
	for _, r := range d.Rules {
		m.Rules = append(m.Rules, &pb.IssuerRule{Kind: string(r.Kind), Credential: r.Credential, Claim: r.Claim, Values: r.Values})
	}
	return m
}

func valuesIn(m map[string]*pb.IssuerValues) map[string][]string {
	out := map[string][]string{}
	for name, v := range m {
		out[name] = v.GetValues()
	}
	return out
}

func holderIn(m *pb.IssuerHolder) issuer.Holder {
	return issuer.Holder{DID: participant.DID(m.GetDid()), Name: m.GetName(), Grants: m.GetCredentials(), Values: valuesIn(m.GetValues())}
}

func holderOut(h issuer.Holder) *pb.IssuerHolder {
	m := &pb.IssuerHolder{Did: string(h.DID), Version: h.Version, Name: h.Name, Credentials: h.Grants, Values: map[string]*pb.IssuerValues{}, Created: stampOf(h.Created), Updated: stampOf(h.Updated)}
	for name, values := range h.Values {
		m.Values[name] = &pb.IssuerValues{Values: values}
	}
	return m
}

func issuanceOut(r issuer.Request) *pb.IssuanceRequest {
	return &pb.IssuanceRequest{Id: r.ID, Version: r.Version, Holder: string(r.Holder), HolderPid: r.HolderPID, State: string(r.State), Wanted: r.Wanted, Credentials: r.Credentials,
		Actor: r.Actor, Code: r.Code, Reasons: r.Reasons, Created: stampOf(r.Created), Updated: stampOf(r.Updated), Record: r.LastRecord, Shown: slices.Sorted(maps.Keys(r.Evidence))}
}

func issuedOut(c issuer.Credential) *pb.IssuedCredential {
	m := &pb.IssuedCredential{Id: c.ID, Version: c.Version, Holder: string(c.Holder), Definition: c.Definition, Type: c.Type, Profile: c.Profile, State: string(c.Standing), Request: c.Request,
		Digest: c.Digest, Actor: c.Actor, Reason: c.Reason, Issued: stampOf(c.Issued), Expires: stampOf(c.Expires), Updated: stampOf(c.Updated), Record: c.LastRecord}
	for _, p := range c.Places {
		m.Places = append(m.Places, &pb.StatusPlace{Purpose: p.Purpose, List: p.List, Index: int64(p.Index)})
	}
	return m
}

func offeredOut(o issuer.Offer) *pb.IssuerOffer {
	return &pb.IssuerOffer{Id: o.ID, Version: o.Version, Holder: string(o.Holder), Definitions: o.Definitions, Reason: o.Reason, State: string(o.State), Code: o.Code, Error: o.Error,
		Actor: o.Actor, Created: stampOf(o.Created), Updated: stampOf(o.Updated)}
}
