package identity

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// MaxDocument bounds a DID document in bytes.
const MaxDocument = 64 << 10

// Relationship is what a key of a DID document may be used for.
type Relationship string

// The relationships that are asked for.
const (
	Authentication       Relationship = "authentication"       // presentations
	AssertionMethod      Relationship = "assertionMethod"      // credentials
	CapabilityInvocation Relationship = "capabilityInvocation" // self-issued tokens
)

// Service is an entry of a DID document.
type Service struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Endpoint string `json:"serviceEndpoint"`
}

// Document is a DID document after it was read.
type Document struct {
	ID         participant.DID
	Services   []Service
	keys       map[string]any                   // by absolute id; nil is one that cannot be used
	uses       map[Relationship]map[string]bool // which relationships list which keys
	declared   map[Relationship]bool
	silent     bool // it lists no relationship at all, not even one that is asked for nowhere
	undeclared bool // an operator takes the keys of a silent document for every purpose
}

// KeyIDs lists the absolute ids of all keys that the document has, those of kinds that are not used here included.
func (d *Document) KeyIDs() []string { return slices.Sorted(maps.Keys(d.keys)) }

// Key returns the key of the absolute id if the relationship lists it.
func (d *Document) Key(kid string, r Relationship) (any, error) {
	key := d.keys[kid]
	if key == nil {
		return nil, ErrUnknownKey
	}
	if r == AssertionMethod && !d.declared[r] {
		return key, nil // optional by the profile: a document without it lets every key assert
	}
	if d.undeclared && d.silent {
		return key, nil
	}
	if !d.uses[r][kid] {
		return nil, fmt.Errorf("key %s is not listed under %s", short(kid), r)
	}
	return key, nil
}

type wireDocument struct {
	Context              []string     `json:"@context"`
	ID                   string       `json:"id"`
	VerificationMethod   []wireMethod `json:"verificationMethod"`
	Authentication       []string     `json:"authentication"`
	AssertionMethod      []string     `json:"assertionMethod,omitempty"`
	CapabilityInvocation []string     `json:"capabilityInvocation"`
	Service              []Service    `json:"service"`
}

type wireMethod struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Controller string         `json:"controller"`
	JWK        map[string]any `json:"publicKeyJwk"`
}

var documentContexts = []string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1",
	"https://w3id.org/dspace-dcp/v1.0/dcp.jsonld", "https://w3id.org/dspace/2025/1/context.jsonld"}

// NewDocument writes the DID document of a hosted participant.
func NewDocument(did participant.DID, keys Keys, services []Service) ([]byte, error) {
	doc := wireDocument{Context: documentContexts, ID: string(did), Service: services}
	seen := map[string]bool{}
	add := func(use Use, lists ...*[]string) error {
		for _, k := range keys.Public(use) {
			id := string(did) + "#" + k.ID
			for _, list := range lists {
				*list = append(*list, id)
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			members, err := publicJWK(k.Key)
			if err != nil {
				return err
			}
			doc.VerificationMethod = append(doc.VerificationMethod, wireMethod{id, "JsonWebKey2020", string(did), members})
		}
		return nil
	}
	if err := add(UseToken, &doc.Authentication, &doc.CapabilityInvocation); err != nil {
		return nil, err
	}
	if err := add(UseIssue, &doc.AssertionMethod); err != nil {
		return nil, err
	}
	return json.Marshal(doc)
}

// ParseDocument reads a peer's DID document: it must be the document of did, and what it says of keys must be unambiguous.
func ParseDocument(did participant.DID, data []byte) (*Document, error) {
	lim := ijson.DefaultLimits()
	lim.MaxBytes = MaxDocument
	var w struct {
		ID                   string            `json:"id"`
		VerificationMethod   []json.RawMessage `json:"verificationMethod"`
		Authentication       []json.RawMessage `json:"authentication"`
		AssertionMethod      []json.RawMessage `json:"assertionMethod"`
		CapabilityInvocation []json.RawMessage `json:"capabilityInvocation"`
		CapabilityDelegation json.RawMessage   `json:"capabilityDelegation"`
		KeyAgreement         json.RawMessage   `json:"keyAgreement"`
		Service              []json.RawMessage `json:"service"`
	}
	if err := ijson.Unmarshal(data, lim, &w); err != nil {
		return nil, fmt.Errorf("DID document: %w", err)
	}
	if w.ID != string(did) {
		return nil, fmt.Errorf("DID document: its id is not the DID that was asked for")
	}
	d := &Document{ID: did, keys: map[string]any{}, uses: map[Relationship]map[string]bool{}, declared: map[Relationship]bool{},
		silent: len(w.Authentication)+len(w.AssertionMethod)+len(w.CapabilityInvocation)+len(w.CapabilityDelegation)+len(w.KeyAgreement) == 0}
	for _, raw := range w.VerificationMethod {
		if _, err := d.method(raw); err != nil {
			return nil, err
		}
	}
	for r, list := range map[Relationship][]json.RawMessage{Authentication: w.Authentication, AssertionMethod: w.AssertionMethod,
		CapabilityInvocation: w.CapabilityInvocation} {
		if err := d.relationship(r, list); err != nil {
			return nil, err
		}
	}
	for _, raw := range w.Service {
		var s Service
		if ijson.Bind(raw, &s) == nil && s.Endpoint != "" { // entries in other shapes are none of ours
			d.Services = append(d.Services, s)
		}
	}
	return d, nil
}

// methodTypes are those whose keys sign. Others are there for something else, such as agreeing on keys, whatever their keys could do.
var methodTypes = []string{"JsonWebKey2020", "JsonWebKey", "EcdsaSecp256k1VerificationKey2019", "Ed25519VerificationKey2018", "RsaVerificationKey2018"}

// method adds a verification method; keys of kinds that are not allowed are taken for none, so that they are unknown.
func (d *Document) method(raw json.RawMessage) (string, error) {
	var m struct {
		ID         string          `json:"id"`
		Type       string          `json:"type"`
		Controller string          `json:"controller"`
		JWK        json.RawMessage `json:"publicKeyJwk"`
	}
	if err := ijson.Bind(raw, &m); err != nil || m.ID == "" {
		return "", fmt.Errorf("DID document: a verification method has no id")
	}
	id := d.absolute(m.ID)
	if _, twice := d.keys[id]; twice {
		return "", fmt.Errorf("DID document: two verification methods are called %s", short(id))
	}
	if m.Controller != "" && m.Controller != string(d.ID) {
		return "", fmt.Errorf("DID document: a verification method has another controller")
	}
	d.keys[id] = nil
	if !slices.Contains(methodTypes, m.Type) {
		return id, nil
	}
	if key, err := parseJWK(m.JWK); err == nil {
		d.keys[id] = key
	}
	return id, nil
}

func (d *Document) relationship(r Relationship, list []json.RawMessage) error {
	d.uses[r], d.declared[r] = map[string]bool{}, list != nil
	for _, raw := range list {
		var id string
		if json.Unmarshal(raw, &id) == nil {
			d.uses[r][d.absolute(id)] = true
			continue
		}
		id, err := d.method(raw)
		if err != nil {
			return err
		}
		d.uses[r][id] = true
	}
	return nil
}

func (d *Document) absolute(id string) string {
	switch {
	case strings.HasPrefix(id, "#"):
		return string(d.ID) + id
	case !strings.HasPrefix(id, "did:"):
		return string(d.ID) + "#" + id
	}
	return id
}
