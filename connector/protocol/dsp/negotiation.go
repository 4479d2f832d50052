package dsp

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// negotiationMessage is the union of the negotiation messages (section 3.3); members that a message does not have stay empty.
type negotiationMessage struct {
	Context     []string          `json:"@context"`
	Type        string            `json:"@type"`
	ID          string            `json:"@id,omitempty"`
	ConsumerPID string            `json:"consumerPid,omitempty"`
	ProviderPID string            `json:"providerPid,omitempty"`
	Callback    string            `json:"callbackAddress,omitempty"`
	Offer       json.RawMessage   `json:"offer,omitempty"`
	Agreement   json.RawMessage   `json:"agreement,omitempty"`
	EventType   string            `json:"eventType,omitempty"`
	Code        string            `json:"code,omitempty"`
	Reason      []json.RawMessage `json:"reason,omitempty"`
	State       string            `json:"state,omitempty"`
}

// ParseNegotiation reads a message of the kind that its path is for; initial says that the path begins a process. For the events
// path give negotiation.Acceptance or Finalization: the body decides which one it is.
// Raw is what was received, whatever form it had.
func ParseNegotiation(kind negotiation.Kind, initial bool, body []byte) (negotiation.Message, error) {
	m, err := either(body, ijson.DefaultLimits().MaxBytes, func(text []byte) (negotiation.Message, error) { return parseNegotiation(kind, initial, text) })
	m.Raw = body
	return m, err
}

func parseNegotiation(kind negotiation.Kind, initial bool, body []byte) (negotiation.Message, error) {
	wireType, _, isEvent := strings.Cut(string(kind), ":")
	var w negotiationMessage
	if err := read(body, wireType, &w); err != nil {
		return negotiation.Message{}, err
	}
	m := negotiation.Message{Kind: kind, ID: w.ID, ConsumerPID: w.ConsumerPID, ProviderPID: w.ProviderPID, Callback: w.Callback, Code: clean(w.Code, 128),
		Reasons: reasonsOf(w.Reason)}
	if isEvent {
		switch w.EventType {
		case "ACCEPTED":
			m.Kind = negotiation.Acceptance
		case "FINALIZED":
			m.Kind = negotiation.Finalization
		default:
			return m, missing("eventType", "ACCEPTED or FINALIZED")
		}
	}
	if err := checkPids(m, initial); err != nil {
		return m, err
	}
	return m, content(&m, w)
}

// checkPids holds the rules on consumerPid, providerPid and callbackAddress: an initial message has its sender's pid and a callback
// address, every other has both pids and no callback address.
func checkPids(m negotiation.Message, initial bool) error {
	switch {
	case !initial:
		// A counter-offer must not carry a callback address; older peers send one with other messages, where it means nothing.
		if m.Callback != "" && (m.Kind == negotiation.Request || m.Kind == negotiation.OfferMessage) {
			return missing("callbackAddress", "none: the negotiation has one already")
		}
		return need("consumerPid", m.ConsumerPID, "providerPid", m.ProviderPID)
	case m.Kind == negotiation.Request:
		if m.ProviderPID != "" {
			return missing("providerPid", "none in an initial request; a counter-offer goes to /negotiations/{providerPid}/request")
		}
		return need("consumerPid", m.ConsumerPID, "callbackAddress", m.Callback)
	}
	if m.ConsumerPID != "" {
		return missing("consumerPid", "none in an initial offer")
	}
	return need("providerPid", m.ProviderPID, "callbackAddress", m.Callback)
}

func content(m *negotiation.Message, w negotiationMessage) error {
	switch m.Kind {
	case negotiation.Request, negotiation.OfferMessage:
		p, parties, err := policyOf("offer", "Offer", w.Offer)
		if err != nil {
			return err
		}
		m.Offer = &negotiation.Offer{ID: p.ID, Target: parties.Target, Policy: p}
		return need("offer/target", parties.Target)
	case negotiation.Agreement:
		p, parties, err := policyOf("agreement", "Agreement", w.Agreement)
		if err != nil {
			return err
		}
		signed, err := parseStamp("agreement/timestamp", parties.Timestamp)
		if err != nil {
			return err
		}
		m.Contract = &negotiation.Contract{ID: p.ID, Target: parties.Target, Assigner: participant.DID(parties.Assigner),
			Assignee: participant.DID(parties.Assignee), Signed: signed, Policy: p}
		return need("agreement/target", parties.Target, "agreement/assigner", parties.Assigner, "agreement/assignee", parties.Assignee)
	}
	return nil
}

// Codec implements negotiation.Codec and transfer.Codec.
type Codec struct{}

// EncodeNegotiation returns the path below the peer's base and the bytes of an outgoing message.
func (Codec) EncodeNegotiation(m negotiation.Message) (string, []byte, error) {
	wireType, eventType, _ := strings.Cut(string(m.Kind), ":")
	w := negotiationMessage{Context: contexts, Type: wireType, ID: m.ID, ConsumerPID: m.ConsumerPID, ProviderPID: m.ProviderPID, EventType: eventType,
		Code: m.Code, Reason: quoted(m.Reasons)}
	path := ""
	var err error
	switch m.Kind {
	case negotiation.Request:
		path = "/negotiations/" + segment(m.ProviderPID) + "/request"
		if m.ProviderPID == "" {
			path, w.Callback = "/negotiations/request", m.Callback
		}
		w.Offer, err = offer(m.Offer)
	case negotiation.OfferMessage:
		path = "/negotiations/" + segment(m.ConsumerPID) + "/offers"
		if m.ConsumerPID == "" {
			path, w.Callback = "/negotiations/offers", m.Callback
		}
		w.Offer, err = offer(m.Offer)
	case negotiation.Agreement:
		c := m.Contract
		path = "/negotiations/" + segment(m.ConsumerPID) + "/agreement"
		p := c.Policy
		p.ID = c.ID
		w.Agreement, err = odrl.Marshal(p, odrl.Parties{Kind: "Agreement", Target: c.Target, Assigner: string(c.Assigner),
			Assignee: string(c.Assignee), Timestamp: stamp(c.Signed)})
	case negotiation.Verification:
		path = "/negotiations/" + segment(m.ProviderPID) + "/agreement/verification"
	case negotiation.Acceptance:
		path = "/negotiations/" + segment(m.ProviderPID) + "/events"
	case negotiation.Finalization:
		path = "/negotiations/" + segment(m.ConsumerPID) + "/events"
	case negotiation.Termination:
		path = "/negotiations/" + segment(receiver(m)) + "/termination"
	}
	if err != nil {
		return "", nil, err
	}
	body, err := encode(w)
	return path, body, err
}

// segment is a pid as one segment of a path, whatever characters its peer gave it: dots alone would lead elsewhere.
func segment(pid string) string {
	if pid == "." || pid == ".." {
		return strings.ReplaceAll(pid, ".", "%2E")
	}
	return url.PathEscape(pid)
}

// receiver is the pid of the side that a termination goes to.
func receiver(m negotiation.Message) string {
	if m.ToConsumer {
		return m.ConsumerPID
	}
	return m.ProviderPID
}

func offer(o *negotiation.Offer) (json.RawMessage, error) {
	p := o.Policy
	p.ID = o.ID
	return odrl.Marshal(p, odrl.Parties{Kind: "Offer", Target: o.Target})
}

// EncodeNegotiationStatus is the acknowledgement and the answer to GET.
func EncodeNegotiationStatus(s negotiation.Status) ([]byte, error) {
	return encode(negotiationMessage{Context: contexts, Type: "ContractNegotiation", ConsumerPID: s.ConsumerPID, ProviderPID: s.ProviderPID, State: string(s.State)})
}

// Problem is the error object of the protocol.
type Problem struct {
	Type        string // "ContractNegotiationError", "TransferError", "CatalogError"
	ConsumerPID string
	ProviderPID string
	Code        string
	Reasons     []string
}

// EncodeProblem returns the error object.
func EncodeProblem(p Problem) ([]byte, error) {
	return encode(negotiationMessage{Context: contexts, Type: p.Type, ConsumerPID: p.ConsumerPID, ProviderPID: p.ProviderPID, Code: p.Code, Reason: quoted(p.Reasons)})
}

// Answer is what a peer's answer says: an acknowledgement or an error object. Nothing in it is required: peers differ.
type Answer struct {
	ConsumerPID string
	ProviderPID string
	State       string
	Code        string
	Reasons     []string
}

// ParseAnswer reads a peer's answer; an empty or foreign body gives the zero Answer.
func ParseAnswer(body []byte) Answer {
	if len(body) == 0 {
		return Answer{}
	}
	a, _ := either(body, ijson.DefaultLimits().MaxBytes, parseAnswer) // what is no message of ours may still be an answer
	return a
}

func parseAnswer(body []byte) (a Answer, err error) {
	var w struct {
		Context     json.RawMessage `json:"@context"`
		ConsumerPID string          `json:"consumerPid"`
		ProviderPID string          `json:"providerPid"`
		State       string          `json:"state"`
		Code        any             `json:"code"`
		Reason      json.RawMessage `json:"reason"`
	}
	if err := readLoose(body, &w); err != nil {
		return a, malformed(err)
	}
	a = Answer{ConsumerPID: clean(w.ConsumerPID, 2048), ProviderPID: clean(w.ProviderPID, 2048), State: w.State}
	if code, ok := w.Code.(string); ok {
		a.Code = clean(code, 128)
	}
	var list []json.RawMessage
	if json.Unmarshal(w.Reason, &list) == nil {
		a.Reasons = reasonsOf(list)
	} else if len(w.Reason) > 0 {
		a.Reasons = reasonsOf([]json.RawMessage{w.Reason})
	}
	if w.Context != nil {
		err = header{Context: w.Context}.check("")
	}
	return a, err
}
