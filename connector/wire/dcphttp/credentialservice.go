package dcphttp

import (
	"context"
	"net/http"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/wallet"
)

// Wallet is what the credential service asks of wallet.Service.
type Wallet interface {
	Deliver(ctx context.Context, local participant.Participant, issuer participant.Peer, d wallet.Delivery) error
	Offered(ctx context.Context, local participant.Participant, issuer participant.Peer, named string, objects []wallet.Object, digest string) error
}

// CredentialService is where issuers bring credentials and offers (DCP 1.0, sections 6.5 and 6.6).
type CredentialService struct {
	agent  *Agent
	wallet Wallet
}

// NewCredentialService returns one that lets in whom the agent does.
func NewCredentialService(a *Agent, w Wallet) *CredentialService { return &CredentialService{a, w} }

// Mount registers the service beside the presentations that the agent serves.
func (s *CredentialService) Mount(mux Mux) {
	mux.Handle("POST /{slug}/dcp/credentials", s.agent.door(dcp.MaxCredentialMessage, s.store))
	mux.Handle("POST /{slug}/dcp/offers", s.agent.door(dcp.MaxCredentialOffer, s.offer))
}

// store takes credentials that were asked for, or hears that there will be none.
func (s *CredentialService) store(ctx context.Context, c call) (reply, error) {
	m, err := dcp.ParseCredentialMessage(c.body)
	if err != nil {
		return reply{}, err
	}
	if err := s.agent.cfg.Holder.Writes(c.local, c.peer); err != nil {
		return reply{}, err
	}
	d := wallet.Delivery{IssuerPID: m.IssuerPID, HolderPID: m.HolderPID, Rejected: m.Status == dcp.StatusRejected, Reason: m.Reason}
	for _, got := range m.Credentials {
		profile, _ := got.Profile()
		d.Credentials = append(d.Credentials, wallet.Delivered{Type: got.CredentialType, Profile: profile, Token: got.Payload})
	}
	return reply{status: http.StatusOK}, s.wallet.Deliver(ctx, c.local, c.peer, d)
}

// offer takes an offer. It is data.
func (s *CredentialService) offer(ctx context.Context, c call) (reply, error) {
	o, err := dcp.ParseCredentialOffer(c.body)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK}, s.wallet.Offered(ctx, c.local, c.peer, o.Issuer, objectsOf(o.Credentials), process.Digest(c.body))
}

func objectsOf(list []dcp.CredentialObject) []wallet.Object {
	var out []wallet.Object
	for _, o := range list {
		profile, _ := dcp.Profile(o.Profile)
		out = append(out, wallet.Object{ID: o.ID, Type: o.CredentialType, Profile: profile, Alias: o.Profile, Schema: o.Schema, Reason: o.Reason})
	}
	return out
}
