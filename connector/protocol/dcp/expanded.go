package dcp

import (
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Namespace is where the words of the protocol are in a message that comes without its context.
const Namespace = "https://w3id.org/dspace-dcp/v1.0/"

// readExpanded reads a credential request in the expanded form of JSON-LD, as EDC's IdentityHub sends it in every release so far: whole names,
// the credentials as a JSON literal, no context. It is the one message that comes so, and this the one shape of it.
func readExpanded(body []byte) (wireRequest, bool) {
	lim := ijson.DefaultLimits()
	lim.MaxBytes, lim.String = MaxCredentialRequest, MaxCredentialRequest
	var e struct {
		Context   any    `json:"@context"`
		Type      string `json:"@type"`
		HolderPID struct {
			ID string `json:"@id"`
		} `json:"https://w3id.org/dspace-dcp/v1.0/holderPid"`
		Credentials []struct {
			Type  string    `json:"@type"`
			Value []wireRef `json:"@value"`
		} `json:"https://w3id.org/dspace-dcp/v1.0/credentials"`
	}
	if ijson.Unmarshal(body, lim, &e) != nil || e.Context != nil || e.Type != Namespace+requestType || len(e.Credentials) != 1 || e.Credentials[0].Type != "@json" {
		return wireRequest{}, false
	}
	return wireRequest{HolderPID: e.HolderPID.ID, Credentials: e.Credentials[0].Value}, true
}
