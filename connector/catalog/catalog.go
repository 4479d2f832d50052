package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Asset is something offered, with the address its data comes from.
type Asset struct {
	Participant participant.ID
	ID          string // part and model; a URI
	Version     int64  // compare and swap
	Title       string
	Type        string // IRI of dct:type
	APIVersion  string // "3.0"
	SemanticID  string // URN of the aspect model, "" for none
	Properties  map[string]string
	Address     Address
	Created     time.Time
	Updated     time.Time
}

// Address is where the bytes of an asset come from: exactly one of HTTP upstream and stored content.
type Address struct {
	BaseURL   string // HTTP upstream
	SecretRef string // name of an operator's secret sent to that upstream, "" for none
	Content   string // digest of stored content, "" for an upstream
	MediaType string
}

// Content is stored bytes, known by digest (SHA-256, hex); an asset names the current one.
type Content struct {
	Digest    string
	MediaType string
	Bytes     []byte
	Created   time.Time
}

// Definition is a policy definition: immutable, known by its digest.
type Definition struct {
	Participant participant.ID
	Digest      string
	Name        string // for people
	Access      bool   // access policy; otherwise usage policy
	Policy      odrl.Policy
	Profile     string // id of the ecosystem profile
	Created     time.Time
}

// Rule says which assets are offered under which policies.
type Rule struct {
	Participant participant.ID
	ID          string
	Version     int64
	Selector    Selector
	Access      string // digest of the access policy
	Usage       string // digest of the usage policy
	Approval    bool   // a contract needs an operator's word beside the policies
	Created     time.Time
}

// Selector picks assets; set fields must all match, the zero value matches all.
type Selector struct {
	Assets     []string // ids
	Type       string
	SemanticID string
	Properties map[string]string // of the asset, each with this value
}

// Matches reports whether the selector picks the asset.
func (s Selector) Matches(a Asset) bool {
	if s.Type != "" && s.Type != a.Type || s.SemanticID != "" && s.SemanticID != a.SemanticID {
		return false
	}
	for name, value := range s.Properties {
		if has, ok := a.Properties[name]; !ok || has != value {
			return false
		}
	}
	return len(s.Assets) == 0 || slices.Contains(s.Assets, a.ID)
}

// Offer is one materialised row asset × rule.
type Offer struct {
	Participant participant.ID
	ID          string // urn:uuid v4
	Asset       string
	Rule        string
	Access      string // policy digest
	Usage       string // policy digest
	Created     time.Time
}

// Entry is an offer with everything a reader needs of it.
type Entry struct {
	Offer  Offer
	Asset  Asset
	Access Definition
	Usage  Definition
}

// Key is its place in a list.
func (e Entry) Key() page.Key { return page.Key{Created: e.Offer.Created, ID: e.Offer.ID} }

// Lot is what is published at once.
type Lot struct {
	Assets   []Asset
	Contents []Content
	Upsert   bool         // replace assets that exist
	Policies []Definition // the same digest again is a no-op
	Rules    []Rule       // as PutRule takes them
}

// Store keeps assets, policies, rules and offers. Absent is NotFound, a stale version Conflict. What a call
// returned without error is durable. Changes of assets and rules keep the offers materialised in the same transaction.
type Store interface {
	Asset(ctx context.Context, p participant.ID, id string) (Asset, error)
	Assets(ctx context.Context, p participant.ID, r page.Request) (page.Of[Asset], error)
	// PutAssets creates or replaces assets with their contents and the rules that offer them, all or nothing. An asset with Version 0 must
	// not exist yet unless the lot says Upsert; otherwise its Version must be the stored one. What is replaced keeps its Created.
	PutAssets(ctx context.Context, p participant.ID, lot Lot, e commit.Effects) error
	DeleteAsset(ctx context.Context, p participant.ID, id string, version int64, e commit.Effects) error
	Content(ctx context.Context, p participant.ID, digest string) (Content, error)

	PutDefinition(ctx context.Context, d Definition, e commit.Effects) error // the same digest again is a no-op
	Definition(ctx context.Context, p participant.ID, digest string) (Definition, error)
	Definitions(ctx context.Context, p participant.ID, r page.Request) (page.Of[Definition], error)

	PutRule(ctx context.Context, rule Rule, e commit.Effects) error // as an asset is put, never an upsert
	Rule(ctx context.Context, p participant.ID, id string) (Rule, error)
	Rules(ctx context.Context, p participant.ID, r page.Request) (page.Of[Rule], error)
	DeleteRule(ctx context.Context, p participant.ID, id string, version int64, e commit.Effects) error

	Offer(ctx context.Context, p participant.ID, id string) (Entry, error)
	// AccessPolicies lists the distinct access policies of all offers.
	AccessPolicies(ctx context.Context, p participant.ID) ([]Definition, error)
	// Entries lists the offers under any of the access policies (digests), by creation; dataset restricts to one asset unless "".
	Entries(ctx context.Context, p participant.ID, access []string, dataset string, r page.Request) (page.Of[Entry], error)
	// Datasets lists the assets that have offers under any of the access policies, by the first such offer, each with all of them: an asset is
	// whole on one page.
	Datasets(ctx context.Context, p participant.ID, access []string, r page.Request) (page.Of[Shown], error)
	// Record commits effects that change nothing else: the decision of a catalog request.
	Record(ctx context.Context, p participant.ID, e commit.Effects) error
}
