package catalog

import "github.com/sluice-connector/sluice/policy/odrl"

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
