package dsp

import (
	"encoding/json"
	"strings"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Formats that datasets are distributed in.
const formatPull = "HttpData-PULL"

type catalogMessage struct {
	Context       []string      `json:"@context,omitempty"`
	ID            string        `json:"@id"`
	Type          string        `json:"@type"`
	ParticipantID string        `json:"participantId"`
	Service       []dataService `json:"service,omitempty"`
	Dataset       []dataset     `json:"dataset,omitempty"`
}

type dataService struct {
	ID          string `json:"@id"`
	Type        string `json:"@type"`
	EndpointURL string `json:"endpointURL"`
}

type dataset struct {
	Context      []string          `json:"@context,omitempty"`
	ID           string            `json:"@id"`
	Type         string            `json:"@type"`
	HasPolicy    []json.RawMessage `json:"hasPolicy"`
	Distribution []distribution    `json:"distribution"`
	Title        string            `json:"http://purl.org/dc/terms/title,omitempty"`
	DCTType      *reference        `json:"http://purl.org/dc/terms/type,omitempty"`
	Version      string            `json:"https://w3id.org/catenax/ontology/common#version,omitempty"`
	SemanticID   *reference        `json:"https://admin-shell.io/aas/3/0/HasSemantics/semanticId,omitempty"`
}

type reference struct {
	ID string `json:"@id"`
}

type distribution struct {
	Type          string `json:"@type"`
	Format        string `json:"format"`
	AccessService string `json:"accessService"`
}

// ParseCatalogRequest checks a catalog request. A filter is implementation-specific; an empty one is legal, and so is one that asks for
// everything from the start, as Eclipse EDC always sends it. Another is refused.
func ParseCatalogRequest(body []byte) error {
	_, err := either(body, ijson.DefaultLimits().MaxBytes, func(text []byte) (struct{}, error) { return struct{}{}, parseCatalogRequest(text) })
	return err
}

func parseCatalogRequest(body []byte) error {
	var w struct {
		Filter []json.RawMessage `json:"filter"`
	}
	if err := read(body, "CatalogRequestMessage", &w); err != nil {
		return err
	}
	for _, f := range w.Filter {
		if !everything(f) {
			return missing("filter", "none: no filter expression is supported")
		}
	}
	return nil
}

// everything reports a QuerySpec of EDC that leaves nothing out. Its limit bounds a page, and pages are cut here as they are for everybody;
// its order is the order of the field that it sorts by, which is none.
func everything(filter json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(filter, &members) != nil || string(members["@type"]) != `"QuerySpec"` {
		return false
	}
	for name, value := range members {
		switch name {
		case "@type", "limit", "sortOrder":
		case "offset":
			if string(value) != "0" {
				return false
			}
		case "filterExpression":
			if string(value) != "[]" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// EncodeCatalogRequest is the request for a whole catalog.
func EncodeCatalogRequest() ([]byte, error) {
	return encode(map[string]any{"@context": contexts, "@type": "CatalogRequestMessage"})
}

// EncodeCatalog writes one page of what is shown to a peer. base is the DSP base of the hosted participant.
func EncodeCatalog(local participant.Participant, base string, shown []catalog.Shown) ([]byte, error) {
	w := catalogMessage{Context: contexts, ID: "urn:sluice:catalog:" + local.Slug, Type: "Catalog", ParticipantID: string(local.DID),
		Service: []dataService{{serviceID(local), "DataService", base}}}
	for _, s := range shown {
		d, err := datasetOf(local, s)
		if err != nil {
			return nil, err
		}
		w.Dataset = append(w.Dataset, d)
	}
	return encode(w)
}

// EncodeDataset writes one dataset as a response of its own.
func EncodeDataset(local participant.Participant, shown catalog.Shown) ([]byte, error) {
	d, err := datasetOf(local, shown)
	if err != nil {
		return nil, err
	}
	d.Context = contexts
	return encode(d)
}

func serviceID(local participant.Participant) string { return "urn:sluice:service:" + local.Slug }

func datasetOf(local participant.Participant, s catalog.Shown) (dataset, error) {
	d := dataset{ID: s.Asset.ID, Type: "Dataset", Title: s.Asset.Title, Version: s.Asset.APIVersion,
		Distribution: []distribution{{"Distribution", formatPull, serviceID(local)}}}
	if s.Asset.Type != "" {
		d.DCTType = &reference{s.Asset.Type}
	}
	if s.Asset.SemanticID != "" {
		d.SemanticID = &reference{s.Asset.SemanticID}
	}
	for _, o := range s.Offers {
		p := o.Usage.Policy
		p.ID = o.Offer.ID
		raw, err := odrl.Marshal(p, odrl.Parties{Kind: "Offer"})
		if err != nil {
			return d, err
		}
		d.HasPolicy = append(d.HasPolicy, raw)
	}
	return d, nil
}

// catalogLimits bounds a peer's catalog page.
func catalogLimits() ijson.Limits {
	lim := ijson.DefaultLimits()
	lim.MaxBytes = 8 << 20
	return lim
}

// ParseCatalog reads one page of a peer's catalog. Datasets whose offers cannot be read are left out: one odd dataset must not hide the others.
func ParseCatalog(body []byte) (catalog.Remote, error) {
	return either(body, catalogLimits().MaxBytes, parseCatalog)
}

func parseCatalog(body []byte) (catalog.Remote, error) {
	var w struct {
		ID            string            `json:"@id"`
		ParticipantID string            `json:"participantId"`
		Service       []dataService     `json:"service"`
		Dataset       []json.RawMessage `json:"dataset"`
	}
	if err := readWithin(body, catalogLimits(), "Catalog", &w); err != nil {
		return catalog.Remote{}, err
	}
	out := catalog.Remote{ID: w.ID, Participant: w.ParticipantID}
	for _, s := range w.Service {
		if s.EndpointURL != "" && out.Endpoint == "" {
			out.Endpoint = s.EndpointURL
		}
	}
	for _, raw := range w.Dataset {
		if d, err := remoteDataset(raw); err == nil {
			out.Datasets = append(out.Datasets, d)
		}
	}
	return out, need("participantId", w.ParticipantID)
}

// ParseDataset reads a dataset that is a response of its own.
func ParseDataset(body []byte) (catalog.RemoteDataset, error) {
	return either(body, catalogLimits().MaxBytes, parseDataset)
}

func parseDataset(body []byte) (catalog.RemoteDataset, error) {
	var raw json.RawMessage
	if err := readWithin(body, catalogLimits(), "Dataset", &raw); err != nil {
		return catalog.RemoteDataset{}, err
	}
	return remoteDataset(body)
}

func remoteDataset(raw json.RawMessage) (catalog.RemoteDataset, error) {
	var w struct {
		ID           string            `json:"@id"`
		HasPolicy    []json.RawMessage `json:"hasPolicy"`
		Distribution []struct {
			Format string `json:"format"`
		} `json:"distribution"`
		Title      json.RawMessage `json:"http://purl.org/dc/terms/title"`
		Type       json.RawMessage `json:"http://purl.org/dc/terms/type"`
		Version    json.RawMessage `json:"https://w3id.org/catenax/ontology/common#version"`
		SemanticID json.RawMessage `json:"https://admin-shell.io/aas/3/0/HasSemantics/semanticId"`
	}
	if err := ijson.Bind(raw, &w); err != nil {
		return catalog.RemoteDataset{}, malformed(err)
	}
	d := catalog.RemoteDataset{ID: w.ID, Title: clean(textOf(w.Title), 256), Type: textOf(w.Type), Version: textOf(w.Version), SemanticID: textOf(w.SemanticID)}
	for _, dist := range w.Distribution {
		d.Formats = append(d.Formats, dist.Format)
	}
	for _, p := range w.HasPolicy {
		offer, parties, err := odrl.Parse(p)
		if err != nil || offer.ID == "" || parties.Kind != "" && parties.Kind != "Offer" {
			continue
		}
		d.Offers = append(d.Offers, catalog.RemoteOffer{ID: offer.ID, Policy: offer})
	}
	if len(d.Offers) == 0 {
		return d, missing("dataset/hasPolicy", "at least one offer")
	}
	return d, need("dataset/@id", d.ID)
}

// textOf reads a string, {"@id"} or {"@value"}; anything else is nothing.
func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var o struct {
		ID    string `json:"@id"`
		Value string `json:"@value"`
	}
	if json.Unmarshal(raw, &o) == nil {
		return o.ID + o.Value
	}
	return ""
}

// version document (section 1.2).
type versions struct {
	ProtocolVersions []protocolVersion `json:"protocolVersions"`
}

type protocolVersion struct {
	Version        string   `json:"version"`
	Path           string   `json:"path"`
	Binding        string   `json:"binding"`
	ServiceID      string   `json:"serviceId,omitempty"`
	IdentifierType string   `json:"identifierType,omitempty"`
	Auth           *dspAuth `json:"auth,omitempty"`
}

type dspAuth struct {
	Protocol string   `json:"protocol"`
	Version  string   `json:"version"`
	Profile  []string `json:"profile,omitempty"`
}

// EncodeVersions is the version document; path is below the document's root.
func EncodeVersions(path, service string) ([]byte, error) {
	return encode(versions{[]protocolVersion{{Version, path, Binding, service, "did:web", &dspAuth{"DCP", "1.0", []string{credential.Profile11}}}}})
}

// ParseVersions returns the path of version 2025-1, as a peer's document writes it. Of several services with that version the first counts. A
// binding that is not named is HTTPS, which was the only one before it got a name.
func ParseVersions(body []byte) (path string, err error) {
	return either(body, ijson.DefaultLimits().MaxBytes, parseVersions)
}

func parseVersions(body []byte) (string, error) {
	var w struct {
		ProtocolVersions []struct {
			Version string `json:"version"`
			Path    string `json:"path"`
			Binding string `json:"binding"`
		} `json:"protocolVersions"`
	}
	if err := readLoose(body, &w); err != nil {
		return "", malformed(err)
	}
	err := missing("protocolVersions", "version "+Version+" over "+Binding+"; there is none in common")
	for _, v := range w.ProtocolVersions {
		switch {
		case v.Version != Version && v.Version != "2025/1", v.Binding != "" && v.Binding != Binding:
		case !strings.HasPrefix(v.Path, "/") || strings.Contains(v.Path, ".."):
			err = missing("protocolVersions/path", "a path that begins with /")
		default:
			return v.Path, nil
		}
	}
	return "", err
}
