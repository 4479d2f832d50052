package dcp

import (
	"encoding/json"

	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
)

// IssuerCodec encodes what an issuer sends.
type IssuerCodec struct {
	// Informal are holders who know the formats of credentials by data model and proof alone, not by profile; may be nil.
	Informal map[participant.DID]bool
}

var _ issuer.Codec = IssuerCodec{}

// EncodeDelivery implements issuer.Codec.
func (i IssuerCodec) EncodeDelivery(d issuer.Delivery) ([]byte, error) {
	m := CredentialMessage{IssuerPID: d.IssuerPID, HolderPID: d.HolderPID, Status: StatusRejected, Reason: d.Reason}
	for _, c := range d.Signed {
		m.Status = StatusIssued
		format := c.Profile
		if i.Informal[d.Holder] {
			format = formatOf(format)
		}
		m.Credentials = append(m.Credentials, Container{CredentialType: c.Type, Payload: c.Token, Format: format})
	}
	return EncodeCredentialMessage(m)
}

// EncodeOffer implements issuer.Codec.
func (IssuerCodec) EncodeOffer(o issuer.Metadata) ([]byte, error) {
	all, err := described(o)
	if err != nil {
		return nil, err
	}
	return EncodeCredentialOffer(CredentialOffer{Issuer: string(o.Issuer), Credentials: all})
}

// EncodeMetadataOf writes the metadata of an issuer.
func EncodeMetadataOf(m issuer.Metadata) ([]byte, error) {
	all, err := described(m)
	if err != nil {
		return nil, err
	}
	return EncodeIssuerMetadata(IssuerMetadata{Issuer: string(m.Issuer), Credentials: all})
}

func described(m issuer.Metadata) ([]CredentialObject, error) {
	var out []CredentialObject
	for _, o := range m.Offers {
		policy, err := definitionOf(o.ID, o.Requires)
		if err != nil {
			return nil, err
		}
		out = append(out, CredentialObject{ID: o.ID, CredentialType: o.Type, Schema: o.Schema, Profile: o.Profile, Policy: policy, Reason: o.Reason})
	}
	return out, nil
}

// definitionOf says as a presentation definition (DIF Presentation Exchange 2.1) which types of credentials a requester must show; nil: none.
func definitionOf(id string, types []string) (json.RawMessage, error) {
	if len(types) == 0 {
		return nil, nil
	}
	type filter struct {
		Type     string            `json:"type"`
		Contains map[string]string `json:"contains"`
	}
	type field struct {
		Path   []string `json:"path"`
		Filter filter   `json:"filter"`
	}
	type descriptor struct {
		ID          string `json:"id"`
		Constraints struct {
			Fields []field `json:"fields"`
		} `json:"constraints"`
	}
	out := struct {
		ID          string       `json:"id"`
		Descriptors []descriptor `json:"input_descriptors"`
	}{ID: id}
	for _, kind := range types {
		d := descriptor{ID: kind}
		d.Constraints.Fields = []field{{Path: []string{"$.vc.type", "$.type"}, Filter: filter{"array", map[string]string{"const": kind}}}}
		out.Descriptors = append(out.Descriptors, d)
	}
	return json.Marshal(out)
}
