package policy

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/sluice-connector/sluice/policy/odrl"
)

// Door is the enforcement point that asks.
type Door string

// The doors. Each stands in front of one effect, and each effect stands behind one door.
const (
	DoorCatalog  Door = "catalog"             // an offer is shown
	DoorRequest  Door = "negotiation.request" // a consumer's request for a contract is answered
	DoorOffer    Door = "negotiation.offer"   // a provider's (counter-)offer is accepted
	DoorAgree    Door = "negotiation.agree"   // an agreement is signed or verified
	DoorTransfer Door = "transfer.start"      // a transfer starts or resumes
	DoorIssue    Door = "edr.issue"           // an access token is issued
	DoorData     Door = "data.request"        // one request of the data plane
	DoorReeval   Door = "data.reeval"         // what runs is judged again
	DoorIdentity Door = "identity"            // what a peer has proven is believed; asked of nobody, refused where a credential is not valid
	DoorManage   Door = "management"          // an operator acts
)

// Question is everything a decision may depend on; nothing else is read (no clock, no network, no store).
type Question struct {
	ID        string // 128-bit random id of the decision record: the idempotency key of the action
	Log       string // slug of the hosted participant that asks and whose log records the answer
	Door      Door
	Now       time.Time
	Action    string // "access" at the catalog door, "use" at the others
	Profile   string // IRI of the ecosystem's policy profile
	Own       Party
	Peer      Party
	Role      string        // our role: "provider" or "consumer"
	Policies  []odrl.Policy // all must allow; usually one. Access and usage policy at catalog and negotiation.request
	Accepts   []string      // usage purposes that we, as consumer, allow ourselves
	Asset     Asset
	Agreement Agreement // zero before there is one
	Process   Process
	Request   Request // zero except at data.request
	Approval  Approval
	Previous  string // id of the previous record of the same process, "" for the first
}

// Party is one side with what it has proven.
type Party struct {
	DID         string
	Credentials []Credential // verified; each counts only inside its own validity
	// Groups are those that the side which decides puts its partners in, and whether this party is in each; nil where nobody is grouped.
	Groups map[string]bool
}

// BPN is the business partner number that the party's credentials prove at the moment, "" when none does.
func (p Party) BPN(at time.Time) string {
	for _, c := range p.Credentials {
		if c.BPN != "" && c.ValidAt(at) {
			return c.BPN
		}
	}
	return ""
}

// Credential is one verified credential as facts for a policy.
type Credential struct {
	Type      string // "MembershipCredential"
	Issuer    string // DID
	ID        string
	BPN       string            // business partner number that it proves; "" when none. Those of one party agree
	Subject   map[string]string // string members of credentialSubject
	NotBefore time.Time
	NotAfter  time.Time
	Digest    string // SHA-256, hex, of the presented bytes
	// Profile is the form that it was presented in, a credential profile of DCP. No policy reads it: one that is no longer accepted is no longer believed.
	Profile string `json:",omitempty"`
	// Status is where its issuer says whether it still stands. No policy reads it: whoever asks one has looked there before.
	Status []Status `json:",omitempty"`
}

// Status is an entry of a status list.
type Status struct {
	Kind    string
	Purpose string
	List    string // URL
	Index   int
	Size    int `json:",omitempty"` // bits of the entry; 0 and 1 are one
}

// ValidAt reports whether the moment lies in the credential's validity, whose end is outside.
func (c Credential) ValidAt(at time.Time) bool {
	return !at.Before(c.NotBefore) && at.Before(c.NotAfter)
}

// Asset is what is asked for.
type Asset struct {
	ID         string
	Type       string // IRI of dct:type
	Version    string
	SemanticID string
}

// Agreement is the contract under which it is asked.
type Agreement struct {
	ID     string
	Digest string // SHA-256, hex, over the RFC 8785 form of the normalised agreement
	Signed time.Time
}

// Process names the negotiation or transfer and the message that led here.
type Process struct {
	ConsumerPID   string
	ProviderPID   string
	OfferID       string
	Format        string // transfer format
	MessageDigest string // SHA-256, hex, of the exact bytes received; "" when we start
}

// Request is one request of the data plane.
type Request struct {
	Method string
	Path   string // decoded, relative to the asset
	Query  string // in canonical form: sorted by name, percent-encoded; "" for none
}

// Approval is whether an operator's word is wanted beside the policies, and was given.
type Approval string

// The approvals. Without one, nobody has to be asked.
const (
	Awaited Approval = "awaited"
	Given   Approval = "given"
)

// CodeAwaited is the reason of a denial that an operator's approval would lift.
const CodeAwaited = "approval.awaited"

// Effect is the answer: nothing but these two.
type Effect string

// The effects.
const (
	Allow Effect = "allow"
	Deny  Effect = "deny"
)

// Outcome of one constraint.
type Outcome string

// The outcomes; only the first two let a request pass.
const (
	Satisfied    Outcome = "satisfied"
	AcceptedTerm Outcome = "accepted-term" // a binding term that no machine can measure here
	Violated     Outcome = "violated"
	Failed       Outcome = "error"
)

// Reason is the outcome of one constraint, for people through a catalogue of texts by Code.
type Reason struct {
	Code    string            `json:"code"`    // stable: "membership.missing"
	Rule    string            `json:"rule"`    // rule of the Rego module that fired
	Clause  string            `json:"clause"`  // path of the constraint in the policy: "permission/0/constraint/1"
	Operand string            `json:"operand"` // left operand, local name: "FrameworkAgreement"
	Outcome Outcome           `json:"outcome"`
	Params  map[string]string `json:"params,omitempty"` // for the text: wanted value, operator
}

// Decision answers one Question. The zero value denies.
type Decision struct {
	Effect  Effect
	Class   string   // "" or the class of error behind a deny: "timeout", "evaluation", "undefined", "input"
	Reasons []Reason // ordered by clause; for allow and deny alike
	Limits  Limits
	Input   json.RawMessage // canonical (RFC 8785) input document
	Result  json.RawMessage // canonical complete result document
	Bundle  string          // SHA-256, hex, of the bundle content
	Caps    string          // SHA-256, hex, of the capabilities
	Schema  string          // SHA-256, hex, of the input schema
}

// Limits is what the data plane may do on the strength of a decision.
type Limits struct {
	NotAfter time.Time // zero: none
}

// Allowed reports whether the decision allows. Everything that is not literally "allow" is a refusal.
func (d Decision) Allowed() bool { return d.Effect == Allow && d.Class == "" }

// Asks reports a denial that nothing stands behind but an operator's approval.
func (d Decision) Asks() bool {
	denials := d.Denials()
	return d.Effect == Deny && d.Class == "" && len(denials) > 0 &&
		!slices.ContainsFunc(denials, func(r Reason) bool { return r.Code != CodeAwaited })
}

// CutOff tells a decision that was broken off from one that was made: it says nothing of the peer, who may come again.
func (d Decision) CutOff(ctx context.Context) bool {
	return d.Class == "timeout" || d.Class != "" && ctx.Err() != nil
}

// Denied is the answer to a question that no policy had to be asked for; code says why.
func Denied(code string) Decision {
	return Decision{Effect: Deny, Reasons: []Reason{{Code: code, Outcome: Failed}}}
}

// Denials returns the reasons that stood against it.
func (d Decision) Denials() []Reason {
	var out []Reason
	for _, r := range d.Reasons {
		if r.Outcome != Satisfied && r.Outcome != AcceptedTerm {
			out = append(out, r)
		}
	}
	return out
}
