package catalog

import (
	"context"
	"slices"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Remote is a peer's catalog as it shows it to us.
type Remote struct {
	ID          string
	Participant string // DID that the peer names itself by
	Endpoint    string // base URL of its data service
	Datasets    []RemoteDataset
	Next        string // URL of the next page, "" for the last
}

// RemoteDataset is one dataset of a peer.
type RemoteDataset struct {
	ID         string
	Title      string
	Type       string
	Version    string
	SemanticID string
	Formats    []string
	Offers     []RemoteOffer
}

// RemoteOffer is an offer as a peer shows it.
type RemoteOffer struct {
	ID     string
	Policy odrl.Policy
}

// offer picks an offer by its id; "" picks the first.
func (d RemoteDataset) offer(id string) (RemoteOffer, bool) {
	i := slices.IndexFunc(d.Offers, func(o RemoteOffer) bool { return id == "" || o.ID == id })
	if i < 0 {
		return RemoteOffer{}, false
	}
	return d.Offers[i], true
}

// Peers asks peers what they offer a hosted participant.
type Peers interface {
	// Catalog returns one page; next is the Next of the page before, "" for the first.
	Catalog(ctx context.Context, local participant.Participant, peer participant.DID, next string) (Remote, error)
	// Dataset returns one dataset; NotFound when it is not there for us.
	Dataset(ctx context.Context, local participant.Participant, peer participant.DID, id string) (RemoteDataset, error)
}

// Finder finds offers in the catalogs of peers.
type Finder struct{ Peers Peers }

// maxPages bounds a search through a peer's catalog: a peer may make pages without end.
const maxPages = 1000

// Find returns an offer of a peer with the dataset that it is of. With a dataset, only its offers are looked at, and offer "" takes the first;
// without one, the peer's catalog is searched page by page. NotFound when the peer does not show it to us.
func (f Finder) Find(ctx context.Context, local participant.Participant, peer participant.DID, dataset, offer string) (string, RemoteOffer, error) {
	const op = "catalog.Find"
	if dataset != "" {
		d, err := f.Peers.Dataset(ctx, local, peer, dataset)
		if err != nil {
			return "", RemoteOffer{}, err
		}
		if o, ok := d.offer(offer); ok {
			return d.ID, o, nil
		}
		return "", RemoteOffer{}, fault.New(op, fault.NotFound, "the peer's catalog has no such offer of this asset")
	}
	if offer == "" {
		return "", RemoteOffer{}, fault.New(op, fault.Malformed, "want the id of an offer or of an asset")
	}
	next := ""
	for range maxPages {
		remote, err := f.Peers.Catalog(ctx, local, peer, next)
		if err != nil {
			return "", RemoteOffer{}, err
		}
		for _, d := range remote.Datasets {
			if o, ok := d.offer(offer); ok {
				return d.ID, o, nil
			}
		}
		if next = remote.Next; next == "" {
			break
		}
	}
	return "", RemoteOffer{}, fault.New(op, fault.NotFound, "the peer's catalog has no such offer")
}
