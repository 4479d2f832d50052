// Package dcp turns the messages of the Decentralized Claims Protocol 1.0 into values and back (sections 3.1 and 4.1). It does
// no I/O.
package dcp

import (
	"encoding/json"

	"github.com/sluice-connector/sluice/connector/fault"
)

// Context is the JSON-LD context that every message carries.
const Context = "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"

const (
	queryType    = "PresentationQueryMessage"
	responseType = "PresentationResponseMessage"

	maxQuery    = 64 << 10
	maxResponse = 2 << 20
)

// MaxQuery and MaxResponse bound the messages in bytes.
const (
	MaxQuery    = maxQuery
	MaxResponse = maxResponse
)

type message struct {
	head
	Scope        []string          `json:"scope,omitempty"`
	Definition   json.RawMessage   `json:"presentationDefinition,omitempty"`
	Presentation []json.RawMessage `json:"presentation"`
}

func read(body []byte, want string, limit int) (message, error) {
	var m message
	return m, readAs(body, want, limit, &m, &m.head)
}

// ParseQuery returns the scopes of a presentation query. A presentation definition is well-formed and not served: ok is false then.
func ParseQuery(body []byte) (scopes []string, ok bool, err error) {
	m, err := read(body, queryType, maxQuery)
	if err != nil {
		return nil, false, err
	}
	var definition map[string]json.RawMessage
	hasDefinition := len(m.Definition) > 0
	if hasDefinition && (json.Unmarshal(m.Definition, &definition) != nil || len(definition) == 0) {
		return nil, false, fault.New("dcp", fault.Malformed, "presentationDefinition: want an object that is not empty, or scope instead")
	}
	switch {
	case hasDefinition && len(m.Scope) > 0:
		return nil, false, fault.New("dcp", fault.Malformed, "want either scope or presentationDefinition")
	case hasDefinition:
		return nil, false, nil
	case len(m.Scope) == 0 || len(m.Scope) > 20:
		return nil, false, fault.New("dcp", fault.Malformed, "scope: want 1 to 20 scopes")
	}
	return m.Scope, true, nil
}

// EncodeQuery writes a presentation query by scope.
func EncodeQuery(scopes []string) ([]byte, error) {
	return json.Marshal(struct {
		head
		Scope []string `json:"scope"`
	}{headOf(queryType), scopes})
}

// EncodeResponse writes the presentations; none is an empty list.
func EncodeResponse(presentations []string) ([]byte, error) {
	m := message{head: headOf(responseType), Presentation: []json.RawMessage{}}
	for _, p := range presentations {
		raw, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		m.Presentation = append(m.Presentation, raw)
	}
	return json.Marshal(m)
}

// ParseResponse returns the presentations of a response that are JWTs; one in another form is a fault, for it could not be checked.
func ParseResponse(body []byte) ([]string, error) {
	m, err := read(body, responseType, maxResponse)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, raw := range m.Presentation {
		var s string
		if json.Unmarshal(raw, &s) != nil || s == "" {
			return nil, fault.New("dcp", fault.Malformed, "presentation: want JWTs")
		}
		out = append(out, s)
	}
	return out, nil
}
