package rpc

import (
	"context"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wallet"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

type credentials struct {
	pb.UnimplementedCredentialServiceServer
	*Server
}

// maxCredential bounds a credential.
const maxCredential = 64 << 10

func (s credentials) PutCredential(ctx context.Context, req *pb.PutCredentialRequest) (*pb.Credential, error) {
	const op = "rpc.PutCredential"
	if n := len(req.GetJwt()); n == 0 || n > maxCredential {
		return nil, fault.New(op, fault.Malformed, "jwt: want 1 to %d bytes, have %d", maxCredential, n)
	}
	who := from(ctx)
	c, err := s.cfg.Wallet.Put(ctx, who.local, []byte(strings.TrimSpace(req.GetJwt())), who.actor())
	return credentialOut(c), fault.Wrap(op, fault.Internal, err)
}

func (s credentials) ListCredentials(ctx context.Context, _ *pb.ListCredentialsRequest) (*pb.ListCredentialsResponse, error) {
	all, err := s.cfg.Wallet.Credentials(ctx, from(ctx).local)
	if err != nil {
		return nil, fault.Wrap("rpc.ListCredentials", fault.Internal, err)
	}
	out, err := each(all, sure(credentialOut))
	return &pb.ListCredentialsResponse{Credentials: out}, err
}

func (s credentials) DeleteCredential(ctx context.Context, req *pb.DeleteCredentialRequest) (*pb.DeleteCredentialResponse, error) {
	who := from(ctx)
	err := s.cfg.Wallet.Delete(ctx, who.local, req.GetId(), who.actor())
	return &pb.DeleteCredentialResponse{}, fault.Wrap("rpc.DeleteCredential", fault.Internal, err)
}

func (s credentials) RequestCredential(ctx context.Context, req *pb.RequestCredentialRequest) (*pb.CredentialRequest, error) {
	who := from(ctx)
	r, err := s.cfg.Wallet.Ask(ctx, who.local, wallet.Ask{Issuer: participant.DID(req.GetIssuer()), Types: req.GetTypes(), Definitions: req.GetDefinitions(), Actor: who.actor()})
	return requestOut(r), fault.Wrap("rpc.RequestCredential", fault.Internal, err)
}

func (s credentials) GetCredentialRequest(ctx context.Context, req *pb.GetCredentialRequestRequest) (*pb.CredentialRequest, error) {
	r, err := s.cfg.Wallet.Request(ctx, from(ctx).local, req.GetId())
	return requestOut(r), fault.Wrap("rpc.GetCredentialRequest", fault.Internal, err)
}

func (s credentials) ListCredentialRequests(ctx context.Context, req *pb.ListCredentialRequestsRequest) (*pb.ListCredentialRequestsResponse, error) {
	const op = "rpc.ListCredentialRequests"
	if err := known(op, req.GetState(), wallet.States()); err != nil {
		return nil, err
	}
	out, next, err := paging(ctx, s.Server, op, req, true, func(local participant.Participant, r page.Request) (page.Of[wallet.Request], error) {
		return s.cfg.Wallet.Requests(ctx, local, wallet.Filter{Issuer: participant.DID(req.GetIssuer()), State: req.GetState()}, r)
	}, sure(requestOut))
	return &pb.ListCredentialRequestsResponse{Requests: out, NextPageToken: next}, err
}

func (s credentials) ListCredentialOffers(ctx context.Context, req *pb.ListCredentialOffersRequest) (*pb.ListCredentialOffersResponse, error) {
	const op = "rpc.ListCredentialOffers"
	if err := known(op, req.GetState(), wallet.OfferStates()); err != nil {
		return nil, err
	}
	out, next, err := paging(ctx, s.Server, op, req, true, func(local participant.Participant, r page.Request) (page.Of[wallet.Offer], error) {
		return s.cfg.Wallet.Offers(ctx, local, wallet.Filter{Issuer: participant.DID(req.GetIssuer()), State: req.GetState()}, r)
	}, sure(credentialOfferOut))
	return &pb.ListCredentialOffersResponse{Offers: out, NextPageToken: next}, err
}

func (s credentials) AcceptOffer(ctx context.Context, req *pb.AcceptOfferRequest) (*pb.CredentialOffer, error) {
	who := from(ctx)
	o, err := s.cfg.Wallet.Accept(ctx, who.local, req.GetId(), who.actor())
	return credentialOfferOut(o), fault.Wrap("rpc.AcceptOffer", fault.Internal, err)
}

func (s credentials) DeclineOffer(ctx context.Context, req *pb.DeclineOfferRequest) (*pb.CredentialOffer, error) {
	who := from(ctx)
	o, err := s.cfg.Wallet.Decline(ctx, who.local, req.GetId(), who.actor())
	return credentialOfferOut(o), fault.Wrap("rpc.DeclineOffer", fault.Internal, err)
}

func (s credentials) CreateStsClient(ctx context.Context, req *pb.CreateStsClientRequest) (*pb.CreateStsClientResponse, error) {
	who := from(ctx)
	c, secret, err := s.cfg.Wallet.CreateClient(ctx, who.local, req.GetLabel(), req.GetScopes(), who.actor())
	if err != nil {
		return nil, fault.Wrap("rpc.CreateStsClient", fault.Internal, err)
	}
	return &pb.CreateStsClientResponse{Client: clientOut(c), Secret: secret}, nil
}

func (s credentials) ListStsClients(ctx context.Context, _ *pb.ListStsClientsRequest) (*pb.ListStsClientsResponse, error) {
	all, err := s.cfg.Wallet.Clients(ctx, from(ctx).local)
	if err != nil {
		return nil, fault.Wrap("rpc.ListStsClients", fault.Internal, err)
	}
	out, err := each(all, sure(clientOut))
	return &pb.ListStsClientsResponse{Clients: out}, err
}

func (s credentials) DeleteStsClient(ctx context.Context, req *pb.DeleteStsClientRequest) (*pb.DeleteStsClientResponse, error) {
	who := from(ctx)
	err := s.cfg.Wallet.DeleteClient(ctx, who.local, req.GetId(), who.actor())
	return &pb.DeleteStsClientResponse{}, fault.Wrap("rpc.DeleteStsClient", fault.Internal, err)
}

func credentialOut(c wallet.Credential) *pb.Credential {
	return &pb.Credential{Id: c.ID, Types: c.Types, Issuer: string(c.Issuer), NotAfter: stampOf(c.NotAfter), Created: stampOf(c.Created), Standing: string(c.Standing),
		Request: c.Request, Renewal: c.Renewal, Expired: c.Expired}
}

func requestOut(r wallet.Request) *pb.CredentialRequest {
	m := &pb.CredentialRequest{Id: r.ID, Version: r.Version, Issuer: string(r.Issuer), State: string(r.State), IssuerPid: r.IssuerPID, Reason: r.Reason, Actor: r.Actor,
		Created: stampOf(r.Created), Updated: stampOf(r.Updated), Record: r.LastRecord}
	for _, w := range r.Wanted {
		m.Wanted = append(m.Wanted, &pb.WantedCredential{Definition: w.Definition, Type: w.Type, Profile: w.Profile, Credential: w.Held, Replaces: w.Replaces})
	}
	return m
}

func credentialOfferOut(o wallet.Offer) *pb.CredentialOffer {
	m := &pb.CredentialOffer{Id: o.ID, Version: o.Version, Issuer: string(o.Issuer), State: string(o.State), Request: o.Request, Note: o.Note, Actor: o.Actor,
		Created: stampOf(o.Created), Updated: stampOf(o.Updated)}
	for _, x := range o.Objects {
		m.Offered = append(m.Offered, &pb.OfferedCredential{Definition: x.ID, Type: x.Type, Profile: x.Alias, Reason: x.Reason})
	}
	return m
}

func clientOut(c wallet.Client) *pb.StsClient {
	return &pb.StsClient{Id: c.ID, Label: c.Label, Scopes: c.Scopes, Created: stampOf(c.Created)}
}
