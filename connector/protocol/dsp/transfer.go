package dsp

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// transferMessage is the union of the transfer messages (section 4.3).
type transferMessage struct {
	Context     []string          `json:"@context"`
	Type        string            `json:"@type"`
	ID          string            `json:"@id,omitempty"`
	ConsumerPID string            `json:"consumerPid,omitempty"`
	ProviderPID string            `json:"providerPid,omitempty"`
	AgreementID string            `json:"agreementId,omitempty"`
	Format      string            `json:"format,omitempty"`
	Callback    string            `json:"callbackAddress,omitempty"`
	Address     *dataAddress      `json:"dataAddress,omitempty"`
	Code        string            `json:"code,omitempty"`
	Reason      []json.RawMessage `json:"reason,omitempty"`
	State       string            `json:"state,omitempty"`
}

type dataAddress struct {
	Type         string             `json:"@type"`
	EndpointType string             `json:"endpointType"`
	Endpoint     string             `json:"endpoint,omitempty"`
	Properties   []endpointProperty `json:"endpointProperties,omitempty"`
}

type endpointProperty struct {
	Type  string `json:"@type"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// edcNamespace stands before the names of properties as Catena-X writes them (CX-0018); the protocol's own examples leave it out, and some put the
// endpoint among them too.
const edcNamespace = "https://w3id.org/edc/v0.0.1/ns/"

// maxProperties bounds a data address.
const maxProperties = 64

// ParseTransfer reads a message of the kind that its path is for. Raw is what was received, whatever form it had.
func ParseTransfer(kind transfer.Kind, body []byte) (transfer.Message, error) {
	m, err := either(body, ijson.DefaultLimits().MaxBytes, func(text []byte) (transfer.Message, error) { return parseTransfer(kind, text) })
	m.Raw = body
	return m, err
}

func parseTransfer(kind transfer.Kind, body []byte) (transfer.Message, error) {
	var w transferMessage
	if err := read(body, string(kind), &w); err != nil {
		return transfer.Message{}, err
	}
	m := transfer.Message{Kind: kind, ID: w.ID, ConsumerPID: w.ConsumerPID, ProviderPID: w.ProviderPID, AgreementID: w.AgreementID, Format: w.Format,
		Callback: w.Callback, Code: clean(w.Code, 128), Reasons: reasonsOf(w.Reason)}
	if w.Address != nil {
		a, err := address(*w.Address)
		if err != nil {
			return m, err
		}
		m.Address = &a
	}
	if kind == transfer.Request {
		return m, need("consumerPid", m.ConsumerPID, "agreementId", m.AgreementID, "format", m.Format, "callbackAddress", m.Callback)
	}
	return m, need("consumerPid", m.ConsumerPID, "providerPid", m.ProviderPID)
}

func address(w dataAddress) (transfer.Address, error) {
	a := transfer.Address{EndpointType: w.EndpointType, Endpoint: w.Endpoint, Properties: map[string]string{}}
	if w.Type != "DataAddress" {
		return a, missing("dataAddress/@type", "DataAddress")
	}
	if len(w.Properties) > maxProperties {
		return a, missing("dataAddress/endpointProperties", "at most 64 properties")
	}
	for _, p := range w.Properties {
		if p.Name != "" && !strings.Contains(p.Name, ":") {
			p.Name = edcNamespace + p.Name // one spelling for who reads them
		}
		if _, twice := a.Properties[p.Name]; twice || p.Name == "" {
			return a, missing("dataAddress/endpointProperties", "each name once")
		}
		a.Properties[p.Name] = p.Value
	}
	if a.Endpoint == "" {
		a.Endpoint = a.Properties[edcNamespace+"endpoint"]
	}
	return a, need("dataAddress/endpointType", w.EndpointType)
}

// EncodeTransfer returns the path below the peer's base and the bytes of an outgoing message.
func (Codec) EncodeTransfer(m transfer.Message) (string, []byte, error) {
	w := transferMessage{Context: contexts, Type: string(m.Kind), ID: m.ID, ConsumerPID: m.ConsumerPID, ProviderPID: m.ProviderPID, AgreementID: m.AgreementID,
		Format: m.Format, Callback: m.Callback, Code: m.Code, Reason: quoted(m.Reasons)}
	if m.Address != nil {
		w.Address = &dataAddress{Type: "DataAddress", EndpointType: m.Address.EndpointType, Endpoint: m.Address.Endpoint}
		for name, value := range m.Address.Properties {
			w.Address.Properties = append(w.Address.Properties, endpointProperty{"EndpointProperty", name, value})
		}
		slices.SortFunc(w.Address.Properties, func(a, b endpointProperty) int {
			if a.Name < b.Name {
				return -1
			}
			return 1
		})
	}
	pid := m.ProviderPID
	if m.ToConsumer {
		pid = m.ConsumerPID
	}
	process := "/transfers/" + segment(pid)
	path := map[transfer.Kind]string{transfer.Request: "/transfers/request", transfer.Start: process + "/start",
		transfer.Completion: process + "/completion", transfer.Suspension: process + "/suspension",
		transfer.Termination: process + "/termination"}[m.Kind]
	body, err := encode(w)
	return path, body, err
}

// EncodeTransferStatus is the acknowledgement and the answer to GET.
func EncodeTransferStatus(s transfer.Status) ([]byte, error) {
	return encode(transferMessage{Context: contexts, Type: "TransferProcess", ConsumerPID: s.ConsumerPID, ProviderPID: s.ProviderPID, State: string(s.State)})
}

func readLoose(body []byte, v any) error {
	return ijson.Unmarshal(body, ijson.DefaultLimits(), v)
}
