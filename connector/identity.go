package connector

import (
	"context"
	"net/http"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
	"github.com/sluice-connector/sluice/policy"
)

// Identity says who speaks, proves who we are, and knows what both have shown and where peers are found.
type Identity interface {
	// Authenticate verifies the sender of a request to the hosted participant; Settle remembers its token where nothing was committed.
	Authenticate(r *http.Request, local participant.Participant) (participant.Peer, *commit.Used, error)
	Settle(ctx context.Context, u *commit.Used) error
	// Authorize makes the Authorization header of one request to a peer.
	Authorize(ctx context.Context, local participant.Participant, peer participant.DID) (header string, err error)
	// Claims are what the peer has proven by credential; Own what we can show.
	Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error)
	Own(ctx context.Context, local participant.Participant) (policy.Party, error)
	// Endpoint is the peer's base URL; Callback refuses an address that is not the peer's.
	Endpoint(ctx context.Context, local participant.Participant, peer participant.DID) (string, error)
	Callback(ctx context.Context, peer participant.Peer, url string) error
}

// claimed is the Decentralized Claims Protocol over DIDs.
type claimed struct {
	*dcphttp.Agent
	*ecosystems
	client *dsphttp.Client
}

func (i claimed) Endpoint(ctx context.Context, local participant.Participant, peer participant.DID) (string, error) {
	return i.client.Endpoint(ctx, local, peer)
}

func (i claimed) Callback(ctx context.Context, peer participant.Peer, url string) error {
	return i.client.Callback(ctx, peer, url)
}

// authorizer asks the identity, which is joined after who needs it.
type authorizer struct{ c *Connector }

func (a authorizer) Authorize(ctx context.Context, local participant.Participant, peer participant.DID) (string, error) {
	return a.c.identity.Authorize(ctx, local, peer)
}

// addresses is the identity with our own addresses.
type addresses struct {
	Identity
	base func(participant.Participant) string
}

// Own is our own base URL.
func (a addresses) Own(local participant.Participant) string { return a.base(local) }
