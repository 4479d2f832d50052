package dcp

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// The messages of the issuance protocol (section 4.1). Where text, schemas and conformance kit of DCP 1.0 differ, the comments say what is
// sent and what is taken.
const (
	requestType  = "CredentialRequestMessage"
	deliveryType = "CredentialMessage"
	offerType    = "CredentialOfferMessage"
	objectType   = "CredentialObject"
	metadataType = "IssuerMetadata"
	statusType   = "CredentialStatus"
)

// Bounds of the messages of issuance.
const (
	MaxCredentialRequest = 64 << 10 // bytes
	MaxCredentialMessage = 1 << 20
	MaxCredentialOffer   = 256 << 10
	MaxIssuerMetadata    = 1 << 20
	MaxCredentialStatus  = 64 << 10

	MaxRequested = 50       // credentials of one request, containers of one message
	MaxObjects   = 200      // credential objects of an offer or of metadata
	MaxPayload   = 64 << 10 // bytes of one credential

	maxPID  = 255
	maxID   = 512
	maxText = 1000
	maxURL  = 2048
)

// Profile returns the profile of an alias. The examples of the specification call the first one vc10-sl2021/jwt, and deployed wallets do so too.
func Profile(alias string) (string, bool) {
	switch alias {
	case credential.Profile11, "vc10-sl2021/jwt":
		return credential.Profile11, true
	case credential.Profile20:
		return credential.Profile20, true
	}
	return "", false
}

// CredentialRequest asks an issuer for credentials by the ids of its metadata.
type CredentialRequest struct {
	HolderPID   string // id of the request at the holder
	Credentials []string
}

// The status of a CredentialMessage or of a CredentialStatus.
const (
	StatusReceived = "RECEIVED" // of a CredentialStatus alone
	StatusIssued   = "ISSUED"
	StatusRejected = "REJECTED"
)

// Container is one credential of a CredentialMessage.
type Container struct {
	CredentialType string `json:"credentialType"`
	Payload        string `json:"payload"`
	Format         string `json:"format"` // alias of its profile
}

// CredentialMessage delivers what was requested, or says that it is refused.
type CredentialMessage struct {
	IssuerPID   string
	HolderPID   string
	Status      string // StatusIssued or StatusRejected
	Credentials []Container
	Reason      string // of a rejection; may be ""
}

// CredentialObject describes a credential that an issuer issues. In an offer only ID is certain; the metadata of the issuer has the rest.
type CredentialObject struct {
	ID             string
	CredentialType string
	Schema         string // URL
	BindingMethods []string
	Profile        string          // alias, as written
	Policy         json.RawMessage // presentation definition of what a requester must show; nil when nothing was said
	Reason         string
}

// CredentialOffer tells a holder what it may request.
type CredentialOffer struct {
	Issuer      string // DID
	Credentials []CredentialObject
}

// IssuerMetadata is what an issuer issues.
type IssuerMetadata struct {
	Issuer      string // DID
	Credentials []CredentialObject
}

// CredentialStatus is the state of a request at the issuer.
type CredentialStatus struct {
	IssuerPID string
	HolderPID string
	Status    string
}

type head struct {
	Context []string `json:"@context"`
	Type    string   `json:"type"`
}

func headOf(kind string) head { return head{[]string{Context}, kind} }

type wireRef struct {
	ID string `json:"id"`
}

type wireRequest struct {
	head
	HolderPID   string    `json:"holderPid"`
	Credentials []wireRef `json:"credentials"`
}

type wireDelivery struct {
	head
	IssuerPID   string      `json:"issuerPid"`
	HolderPID   string      `json:"holderPid"`
	Status      string      `json:"status"`
	Credentials []Container `json:"credentials"`
	Reason      string      `json:"rejectionReason,omitempty"` // left out instead of null, which is taken as well (the schema knows no null)
}

// wireObject has no omitempty: the text wants all members, the schema all but the policy, so all are sent.
type wireObject struct {
	ID             string          `json:"id"`
	Type           string          `json:"type"`
	CredentialType string          `json:"credentialType"`
	Schema         string          `json:"credentialSchema"`
	BindingMethods []string        `json:"bindingMethods"`
	Profile        string          `json:"profile"`
	Policy         json.RawMessage `json:"issuancePolicy"`
	Reason         string          `json:"offerReason"`
}

type wireOffer struct {
	head
	Issuer      string       `json:"issuer"`
	Credentials []wireObject `json:"credentials"`
}

type wireMetadata struct {
	head
	Issuer      string       `json:"issuer"`
	Credentials []wireObject `json:"credentialsSupported"`
}

type wireStatus struct {
	head
	IssuerPID string `json:"issuerPid"`
	HolderPID string `json:"holderPid"`
	Status    string `json:"status"`
}

// readAs binds a message and checks its context and type. The context is compared as the URL it has; what is found behind it, even an id of
// another version inside, is never looked at.
func readAs(body []byte, kind string, limit int, v any, h *head) error {
	lim := ijson.DefaultLimits()
	lim.MaxBytes, lim.String = limit, limit
	if err := ijson.Unmarshal(body, lim, v); err != nil {
		return malformed("%s", err.Error())
	}
	if !slices.Contains(h.Context, Context) {
		return malformed("@context: want an array that contains %s", Context)
	}
	if h.Type != kind {
		return malformed("type: want %s", kind)
	}
	return nil
}

func malformed(format string, args ...any) error {
	return fault.New("dcp", fault.Malformed, format, args...)
}

// required checks a text that must be there: bounded, and nothing in it that cannot be seen.
func required(name, s string, limit int) error {
	if s == "" {
		return malformed("%s: it is required", name)
	}
	return optional(name, s, limit)
}

func optional(name, s string, limit int) error {
	if len(s) > limit || strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return malformed("%s: want at most %d bytes without control characters", name, limit)
	}
	return nil
}

func first(faults ...error) error {
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// ParseCredentialRequest reads what a holder sends to an issuer. Whether the ids are known is for the issuer to say.
func ParseCredentialRequest(body []byte) (CredentialRequest, error) {
	var w wireRequest
	err := readAs(body, requestType, MaxCredentialRequest, &w, &w.head)
	if err != nil {
		var expanded bool
		if w, expanded = readExpanded(body); !expanded {
			return CredentialRequest{}, err
		}
	}
	if err := required("holderPid", w.HolderPID, maxPID); err != nil {
		return CredentialRequest{}, err
	}
	if n := len(w.Credentials); n == 0 || n > MaxRequested {
		return CredentialRequest{}, malformed("credentials: want 1 to %d", MaxRequested)
	}
	out := CredentialRequest{HolderPID: w.HolderPID}
	for _, c := range w.Credentials {
		if err := required("credentials/id", c.ID, maxID); err != nil {
			return CredentialRequest{}, err
		}
		if slices.Contains(out.Credentials, c.ID) {
			return CredentialRequest{}, malformed("credentials: want each id once")
		}
		out.Credentials = append(out.Credentials, c.ID)
	}
	return out, nil
}

// EncodeCredentialRequest writes it.
func EncodeCredentialRequest(r CredentialRequest) ([]byte, error) {
	w := wireRequest{head: headOf(requestType), HolderPID: r.HolderPID, Credentials: []wireRef{}}
	for _, id := range r.Credentials {
		w.Credentials = append(w.Credentials, wireRef{id})
	}
	return json.Marshal(w)
}

// ParseCredentialMessage reads what an issuer delivers. The schema of DCP 1.0 declares the constant of type under the name credentialType, so
// type is checked here and a top-level credentialType means nothing. holderPid is optional by the text and needed to know what is answered.
func ParseCredentialMessage(body []byte) (CredentialMessage, error) {
	var w wireDelivery
	if err := readAs(body, deliveryType, MaxCredentialMessage, &w, &w.head); err != nil {
		return CredentialMessage{}, err
	}
	if err := first(required("issuerPid", w.IssuerPID, maxPID), required("holderPid", w.HolderPID, maxPID), optional("rejectionReason", w.Reason, maxText)); err != nil {
		return CredentialMessage{}, err
	}
	n := len(w.Credentials)
	switch {
	case w.Status == StatusIssued && (n == 0 || n > MaxRequested):
		return CredentialMessage{}, malformed("credentials: want 1 to %d", MaxRequested)
	case w.Status == StatusRejected && n > 0:
		return CredentialMessage{}, malformed("credentials: a rejection has none")
	case w.Status != StatusIssued && w.Status != StatusRejected:
		return CredentialMessage{}, malformed("status: want %s or %s", StatusIssued, StatusRejected)
	}
	for _, c := range w.Credentials {
		if err := first(required("credentialType", c.CredentialType, maxID), required("payload", c.Payload, MaxPayload), required("format", c.Format, maxID)); err != nil {
			return CredentialMessage{}, err
		}
	}
	m := CredentialMessage{IssuerPID: w.IssuerPID, HolderPID: w.HolderPID, Status: w.Status, Reason: w.Reason}
	if n > 0 {
		m.Credentials = w.Credentials
	}
	return m, nil
}

// EncodeCredentialMessage writes it.
func EncodeCredentialMessage(m CredentialMessage) ([]byte, error) {
	w := wireDelivery{head: headOf(deliveryType), IssuerPID: m.IssuerPID, HolderPID: m.HolderPID, Status: m.Status, Reason: m.Reason, Credentials: m.Credentials}
	if w.Credentials == nil {
		w.Credentials = []Container{}
	}
	return json.Marshal(w)
}

// formats name data model and proof in the place of a profile, as the reference implementation does.
var formats = map[string]string{"VC1_0_JWT": credential.Profile11, "VC2_0_JOSE": credential.Profile20}

// formatOf is the format of a profile.
func formatOf(profile string) string {
	for format, p := range formats {
		if p == profile {
			return format
		}
	}
	return profile
}

// Profile returns the profile of a container, which its payload must be of. Some issuers name data model and proof alone, of which there is one
// profile each. The examples of the specification write jwt as the format: that is taken when the payload itself leaves no doubt.
func (c Container) Profile() (string, bool) {
	if p, ok := formats[c.Format]; ok {
		return p, true
	}
	if p, ok := Profile(c.Format); ok || c.Format != "jwt" {
		return p, ok
	}
	_, rest, _ := strings.Cut(c.Payload, ".")
	part, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return "", false
	}
	lim := ijson.DefaultLimits()
	lim.MaxBytes, lim.String = MaxPayload, MaxPayload
	var w struct {
		Context []json.RawMessage `json:"@context"`
		VC      struct {
			Context []json.RawMessage `json:"@context"`
		} `json:"vc"`
	}
	if ijson.Unmarshal(payload, lim, &w) != nil {
		return "", false
	}
	v11, v20 := begins(w.VC.Context, "https://www.w3.org/2018/credentials/v1"), begins(w.Context, "https://www.w3.org/ns/credentials/v2")
	switch {
	case v11 && len(w.Context) == 0:
		return credential.Profile11, true
	case v20 && len(w.VC.Context) == 0:
		return credential.Profile20, true
	}
	return "", false
}

func begins(list []json.RawMessage, want string) bool {
	var s string
	return len(list) > 0 && json.Unmarshal(list[0], &s) == nil && s == want
}

// object reads a credential object. Only its id is certain: the conformance kit sends offers of ids, with an empty policy.
func object(w wireObject) (CredentialObject, error) {
	o := CredentialObject{ID: w.ID, CredentialType: w.CredentialType, Schema: w.Schema, BindingMethods: w.BindingMethods, Profile: w.Profile, Reason: w.Reason}
	if err := first(required("credentials/id", w.ID, maxID), optional("credentialType", w.CredentialType, maxID), optional("credentialSchema", w.Schema, maxURL),
		optional("profile", w.Profile, maxID), optional("offerReason", w.Reason, maxID)); err != nil {
		return o, err
	}
	if w.Type != "" && w.Type != objectType {
		return o, malformed("credentials/type: want %s", objectType)
	}
	if len(w.BindingMethods) > 20 {
		return o, malformed("bindingMethods: want at most 20")
	}
	for _, m := range w.BindingMethods {
		if err := required("bindingMethods", m, maxID); err != nil {
			return o, err
		}
	}
	if len(o.BindingMethods) == 0 {
		o.BindingMethods = nil
	}
	var policy map[string]json.RawMessage
	if len(w.Policy) > 0 && string(w.Policy) != "null" {
		if err := json.Unmarshal(w.Policy, &policy); err != nil {
			return o, malformed("issuancePolicy: want an object")
		}
	}
	if len(policy) > 0 {
		o.Policy = w.Policy
	}
	return o, nil
}

func objects(list []wireObject, least int, complete bool) ([]CredentialObject, error) {
	if n := len(list); n < least || n > MaxObjects {
		return nil, malformed("credentials: want %d to %d", least, MaxObjects)
	}
	var out []CredentialObject
	seen := map[string]bool{}
	for _, w := range list {
		o, err := object(w)
		if err == nil && complete {
			err = first(required("credentialType", o.CredentialType, maxID), required("profile", o.Profile, maxID))
		}
		if err == nil && seen[o.ID] {
			err = malformed("credentials: want each id once")
		}
		if err != nil {
			return nil, err
		}
		seen[o.ID] = true
		out = append(out, o)
	}
	return out, nil
}

func wireObjects(list []CredentialObject) []wireObject {
	out := []wireObject{}
	for _, o := range list {
		w := wireObject{ID: o.ID, Type: objectType, CredentialType: o.CredentialType, Schema: o.Schema, BindingMethods: o.BindingMethods, Profile: o.Profile,
			Policy: o.Policy, Reason: o.Reason}
		if w.BindingMethods == nil {
			w.BindingMethods = []string{"did:web"}
		}
		if w.Policy == nil {
			w.Policy = json.RawMessage("{}")
		}
		if w.Reason == "" {
			w.Reason = credential.ReasonIssuance
		}
		out = append(out, w)
	}
	return out
}

// ParseCredentialOffer reads an offer. It is data: nothing in it is an address that may be called.
func ParseCredentialOffer(body []byte) (CredentialOffer, error) {
	var w wireOffer
	if err := readAs(body, offerType, MaxCredentialOffer, &w, &w.head); err != nil {
		return CredentialOffer{}, err
	}
	if err := required("issuer", w.Issuer, maxID); err != nil {
		return CredentialOffer{}, err
	}
	list, err := objects(w.Credentials, 1, false)
	if err != nil {
		return CredentialOffer{}, err
	}
	return CredentialOffer{Issuer: w.Issuer, Credentials: list}, nil
}

// EncodeCredentialOffer writes it with all members: the schema wants more of an object than the conformance kit sends.
func EncodeCredentialOffer(o CredentialOffer) ([]byte, error) {
	return json.Marshal(wireOffer{headOf(offerType), o.Issuer, wireObjects(o.Credentials)})
}

// ParseIssuerMetadata reads what an issuer issues. The list is optional by the text and required by the schema; of an object id,
// credentialType and profile are needed to request it. Whether issuer is the DID that was asked is for the caller to compare.
func ParseIssuerMetadata(body []byte) (IssuerMetadata, error) {
	var w wireMetadata
	if err := readAs(body, metadataType, MaxIssuerMetadata, &w, &w.head); err != nil {
		return IssuerMetadata{}, err
	}
	if err := required("issuer", w.Issuer, maxID); err != nil {
		return IssuerMetadata{}, err
	}
	list, err := objects(w.Credentials, 0, true)
	if err != nil {
		return IssuerMetadata{}, err
	}
	return IssuerMetadata{Issuer: w.Issuer, Credentials: list}, nil
}

// EncodeIssuerMetadata writes it with all members. The issuer is named by its DID, though the text speaks of its base URL: a verifier compares
// the issuer of a credential with a DID.
func EncodeIssuerMetadata(m IssuerMetadata) ([]byte, error) {
	return json.Marshal(wireMetadata{headOf(metadataType), m.Issuer, wireObjects(m.Credentials)})
}

// ParseCredentialStatus reads the state of a request.
func ParseCredentialStatus(body []byte) (CredentialStatus, error) {
	var w wireStatus
	if err := readAs(body, statusType, MaxCredentialStatus, &w, &w.head); err != nil {
		return CredentialStatus{}, err
	}
	if err := first(required("issuerPid", w.IssuerPID, maxPID), required("holderPid", w.HolderPID, maxPID)); err != nil {
		return CredentialStatus{}, err
	}
	if !slices.Contains([]string{StatusReceived, StatusIssued, StatusRejected}, w.Status) {
		return CredentialStatus{}, malformed("status: want %s, %s or %s", StatusReceived, StatusIssued, StatusRejected)
	}
	return CredentialStatus{w.IssuerPID, w.HolderPID, w.Status}, nil
}

// EncodeCredentialStatus writes it.
func EncodeCredentialStatus(s CredentialStatus) ([]byte, error) {
	return json.Marshal(wireStatus{headOf(statusType), s.IssuerPID, s.HolderPID, s.Status})
}
