package connector

import (
	"context"
	"io"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// What follows is for those who hold a Connector in their own process: the demo, the tests, a host program. Others use the
// management API, which calls the same.

// Participant finds a hosted participant by slug.
func (c *Connector) Participant(ctx context.Context, slug string) (participant.Participant, error) {
	return c.hosted.Participant(ctx, slug)
}

// Store is the connector's store.
func (c *Connector) Store() store.Store { return c.store }

// Negotiations are those of the hosted participants.
func (c *Connector) Negotiations() *negotiation.Service { return c.negotiations }

// Transfers are those of the hosted participants.
func (c *Connector) Transfers() *transfer.Service { return c.transfers }

// Models are the aspect models that payloads are checked against.
func (c *Connector) Models() *aspect.Models { return c.models }

// Pull discovers, negotiates when needed, transfers and fetches.
func (c *Connector) Pull(ctx context.Context, local participant.Participant, e exchange.Errand) (exchange.Result, error) {
	return c.runner.Pull(ctx, local, e)
}

// Flows counts the streams of the data plane that run now.
func (c *Connector) Flows() int { return c.plane.Running() }

// Agree discovers and negotiates, and returns the agreement; no data is asked for.
func (c *Connector) Agree(ctx context.Context, local participant.Participant, e exchange.Errand) (string, error) {
	return c.runner.Agree(ctx, local, e)
}

// Dataset asks a peer for one dataset of its catalog.
func (c *Connector) Dataset(ctx context.Context, local participant.Participant, peer participant.DID, id string) (catalog.RemoteDataset, error) {
	return c.client.Dataset(ctx, local, peer, id)
}

// Publish reads a file of footprints and publishes what is in it.
func (c *Connector) Publish(ctx context.Context, local participant.Participant, f publishing.File, r io.Reader, progress func(done, total int)) (publishing.Outcome, error) {
	return c.publisher.Publish(ctx, local, f, r, progress)
}

// PublishAsset publishes one asset.
func (c *Connector) PublishAsset(ctx context.Context, local participant.Participant, a catalog.Asset, actor string) error {
	return c.catalog.Publish(ctx, local, catalog.Publication{Assets: []catalog.Asset{a}, Actor: actor})
}

// Address opens the data address of a started transfer for its consumer. The token in it is a secret.
func (c *Connector) Address(ctx context.Context, local participant.Participant, id string) (transfer.Address, error) {
	return c.transfers.Address(ctx, local, id)
}

// Suspend pauses a started transfer; its streams are cut before it returns.
func (c *Connector) Suspend(ctx context.Context, local participant.Participant, id string, order commit.Order) (transfer.Transfer, error) {
	return c.transfers.Suspend(ctx, local, id, order)
}

// DIDDocument is the document that a hosted participant's DID resolves to.
func (c *Connector) DIDDocument(local participant.Participant) ([]byte, error) {
	return c.agent.Document(local)
}

// ForgetLeases makes the data plane judge every next request anew: after a change of assets or settings that must be felt at once.
func (c *Connector) ForgetLeases() { c.plane.Forget() }
