package issuer

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// kindOf is the kind of status list of a profile.
func kindOf(profile string) statuslist.Kind {
	if profile == credential.Profile20 {
		return statuslist.Bitstring
	}
	return statuslist.List2021
}

// Bounds of what operators may write.
const (
	MaxDefinitions = 200
	MaxHolders     = 10000 // of one import
	MaxLife        = 10 * 365 * 24 * time.Hour

	maxName    = 128
	maxText    = 1000
	maxMembers = 50
	maxValues  = 50
	maxRules   = 10
)

// Authority says since when a hosted participant is an issuer.
type Authority struct {
	Participant participant.ID
	Since       time.Time
}

// Definition is a credential that can be had, and by whom.
type Definition struct {
	Participant participant.ID
	ID          string // as the issuer's metadata names it
	Version     int64
	Type        string
	Profile     string
	Contexts    []string // behind the one of the data model
	Schema      string   // URL of a JSON schema that its subject fits; "" for none
	Life        time.Duration
	Subject     []Member
	Purposes    []string // of the status lists it stands in: statuslist.Revocation, statuslist.Suspension
	Rules       []Rule   // all must hold; without any nobody gets it
	Open        bool     // holders that are not known may ask too
	Created     time.Time
	Updated     time.Time
}

// Source says where the value of a member comes from.
type Source string

// The sources.
const (
	Constant   Source = "constant" // the definition itself
	OfHolder   Source = "holder"   // the holder's row, or what the operator who decides gives
	OfEvidence Source = "claim"    // a credential that the holder showed
)

// Member is a member of a credential's subject, besides its id.
type Member struct {
	Name       string
	From       Source
	Values     []string // Constant
	Key        string   // OfHolder: name of the value; OfEvidence: member of the other credential's subject
	Credential string   // OfEvidence: type of the other credential
	Many       bool     // written as an array
	Optional   bool     // left out when there is no value; else nothing is issued without one
}

// RuleKind is how a rule attests that a holder gets a credential.
type RuleKind string

// The kinds of rule.
const (
	ByList     RuleKind = "list"     // the holder's row names the definition
	ByApproval RuleKind = "approval" // an operator approves the request
	ByClaim    RuleKind = "claim"    // the holder shows another credential
)

// Rule is one condition.
type Rule struct {
	Kind       RuleKind
	Credential string   // ByClaim: type of the other credential
	Claim      string   // ByClaim: a member of its subject that must have one of Values; "": the credential is enough
	Values     []string // ByClaim
}

// Holder is a company that may ask for credentials.
type Holder struct {
	Participant participant.ID
	DID         participant.DID
	Version     int64
	Name        string
	Grants      []string            // ids of the definitions whose list it is on
	Values      map[string][]string // what members of a subject are filled with
	Created     time.Time
	Updated     time.Time
}

// State of a request.
type State string

// The states (DCP 1.0, section 4.2 of our reference). Each has one of three names on the wire, see Request.Status.
const (
	Submitted State = "SUBMITTED" // waits for an operator
	Approved  State = "APPROVED"  // credentials are signed, delivery is owed
	Delivered State = "DELIVERED"
	Rejected  State = "REJECTED" // a rule or an operator said no
	Errored   State = "ERRORED"  // the holder did not take them
)

// States lists them.
func States() []State { return []State{Submitted, Approved, Delivered, Rejected, Errored} }

// Final reports whether nothing follows the state.
func (s State) Final() bool { return s == Delivered || s == Rejected || s == Errored }

// Wire is the state as a holder is told it.
func (s State) Wire() string {
	switch s {
	case Submitted, Approved:
		return "RECEIVED"
	case Delivered:
		return "ISSUED"
	}
	return "REJECTED"
}

// Request is a holder's request for credentials.
type Request struct {
	Participant participant.ID
	ID          string // our pid
	Version     int64
	Holder      participant.DID
	HolderPID   string
	Digest      string // of the message
	State       State
	Wanted      []string // ids of definitions
	Evidence    Evidence // what the holder showed when it asked
	Grant       []byte   // its access token, sealed; nil when it gave none
	Credentials []string // ids of those that were signed for it
	Owed        string   // id of the message or deadline that it owes; "" for none
	Actor       string   // who decided; "" for the rules
	Code        string   // why it was rejected or failed, stable
	Reasons     []string // in words, for the operator
	LastRecord  string
	Trace       string
	Created     time.Time
	Updated     time.Time
}

// Evidence is what a holder proved by credentials, by their type.
type Evidence map[string][]Proof

// Proof is one credential that a holder showed.
type Proof struct {
	Issuer  string
	Digest  string
	Until   time.Time
	Subject map[string]string
}

// Standing of a credential that was issued.
type Standing string

// The standings. A credential that has expired keeps the one it had.
const (
	Good      Standing = "ISSUED"
	Suspended Standing = "SUSPENDED"
	Revoked   Standing = "REVOKED"
)

// Standings lists them.
func Standings() []Standing { return []Standing{Good, Suspended, Revoked} }

// Credential is one that was issued. Its text is not kept: it is the holder's.
type Credential struct {
	Participant participant.ID
	ID          string
	Version     int64
	Holder      participant.DID
	Definition  string
	Type        string
	Profile     string
	Request     string // "" when an operator ordered it
	Standing    Standing
	Digest      string // SHA-256, hex, of its text
	Places      []Place
	Actor       string // who changed it last
	Reason      string
	LastRecord  string
	Issued      time.Time
	Expires     time.Time
	Updated     time.Time
}

// Place is a credential's place in a status list.
type Place struct {
	Purpose string
	List    string
	Index   int
}

// List is a status list: one purpose of one profile.
type List struct {
	Participant participant.ID
	ID          string
	Version     int64 // grows with each change of a bit
	Profile     string
	Purpose     string
	Size        int // entries
	Taken       int // entries that were given out
	Bits        []byte
	Created     time.Time
	Updated     time.Time
}

// OfferState is what became of an offer.
type OfferState string

// The states of an offer.
const (
	OfferOwed      OfferState = "OWED"
	OfferDelivered OfferState = "DELIVERED"
	OfferErrored   OfferState = "ERRORED"
)

// OfferStates lists them.
func OfferStates() []OfferState { return []OfferState{OfferOwed, OfferDelivered, OfferErrored} }

// Offer tells a holder what it may request.
type Offer struct {
	Participant participant.ID
	ID          string
	Version     int64
	Holder      participant.DID
	Definitions []string
	Reason      string // one of credential.OfferReasons
	State       OfferState
	Owed        string
	Code        string
	Error       string
	Actor       string
	LastRecord  string
	Created     time.Time
	Updated     time.Time
}

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// Validate reports everything that is wrong with a definition at once, as one Malformed fault with a reason for each.
func (d Definition) Validate() error {
	var f faults
	f.expect(name.MatchString(d.ID), "id: want 1 to %d letters, digits and . _ : -", maxName)
	f.expect(name.MatchString(d.Type) && d.Type != "VerifiableCredential", "type: want the name of a type of credential")
	f.expect(d.Profile == credential.Profile11 || d.Profile == credential.Profile20, "profile: want %s or %s", credential.Profile11, credential.Profile20)
	f.expect(d.Life >= time.Minute && d.Life <= MaxLife, "life: want %s to %d days", time.Minute, MaxLife/(24*time.Hour))
	f.expect(len(d.Contexts) <= 10, "contexts: want at most 10")
	for _, c := range d.Contexts {
		f.expect(webURL(c), "contexts: %q is no https URL", c)
	}
	f.expect(d.Schema == "" || webURL(d.Schema), "schema: %q is no https URL", d.Schema)
	for i, p := range d.Purposes {
		f.expect(p == statuslist.Revocation || p == statuslist.Suspension, "purposes: %q is neither %s nor %s", p, statuslist.Revocation, statuslist.Suspension)
		f.expect(!slices.Contains(d.Purposes[:i], p), "purposes: %s is there twice", p)
	}
	f.expect(len(d.Subject) <= maxMembers, "subject: want at most %d members", maxMembers)
	seen := map[string]bool{"id": true}
	for _, m := range d.Subject {
		f.expect(text(m.Name, maxName) && !strings.HasPrefix(m.Name, "@") && !seen[m.Name], "subject: %q cannot be the name of a member, or is there twice", m.Name)
		seen[m.Name] = true
		m.validate(&f)
	}
	f.expect(len(d.Rules) > 0 && len(d.Rules) <= maxRules, "rules: want 1 to %d: without a rule nobody gets it", maxRules)
	for _, r := range d.Rules {
		r.validate(&f)
	}
	return f.err("definition")
}

func (m Member) validate(f *faults) {
	values := len(m.Values) > 0 && len(m.Values) <= maxValues && texts(m.Values)
	switch m.From {
	case Constant:
		f.expect(values && (m.Many || len(m.Values) == 1) && m.Key == "" && m.Credential == "", "subject/%s: a constant has its value, or several when it is an array", m.Name)
	case OfHolder:
		f.expect(text(m.Key, maxName) && len(m.Values) == 0 && m.Credential == "", "subject/%s: want the name of the holder's value as the key", m.Name)
	case OfEvidence:
		f.expect(text(m.Key, maxName) && text(m.Credential, maxName) && len(m.Values) == 0, "subject/%s: want a type of credential, and a member of its subject as the key", m.Name)
	default:
		f.expect(false, "subject/%s: from: want %s, %s or %s", m.Name, Constant, OfHolder, OfEvidence)
	}
}

func (r Rule) validate(f *faults) {
	switch r.Kind {
	case ByList, ByApproval:
		f.expect(r.Credential == "" && r.Claim == "" && len(r.Values) == 0, "rules: %s has no credential, claim or values", r.Kind)
	case ByClaim:
		f.expect(text(r.Credential, maxName), "rules: %s wants the type of the other credential", r.Kind)
		f.expect((r.Claim == "") == (len(r.Values) == 0) && len(r.Values) <= maxValues && texts(r.Values), "rules: %s wants a claim and its values, or neither", r.Kind)
		f.expect(r.Claim == "" || text(r.Claim, maxName), "rules: %q cannot be the name of a claim", r.Claim)
	default:
		f.expect(false, "rules: %q is none of %s, %s, %s", r.Kind, ByList, ByApproval, ByClaim)
	}
}

// Validate reports everything that is wrong with a holder's row.
func (h Holder) Validate() error {
	var f faults
	_, _, err := identity.ParseDID(string(h.DID))
	f.expect(err == nil, "did: %q is no DID of the method web", h.DID)
	f.expect(h.Name == "" || text(h.Name, 200), "name: want at most 200 bytes that can be seen")
	f.expect(len(h.Grants) <= MaxDefinitions, "credentials: want at most %d", MaxDefinitions)
	for i, g := range h.Grants {
		f.expect(name.MatchString(g) && !slices.Contains(h.Grants[:i], g), "credentials: %q is no id of a definition, or is there twice", g)
	}
	f.values(h.Values)
	return f.err("holder")
}

func (f *faults) values(all map[string][]string) {
	f.expect(len(all) <= maxMembers, "values: want at most %d", maxMembers)
	for key, values := range all {
		f.expect(text(key, maxName) && key != "id" && len(values) > 0 && len(values) <= maxValues && texts(values), "values/%s: want a name, and 1 to %d values of at most %d bytes",
			key, maxValues, maxText)
	}
}

// faults collects what is wrong.
type faults []string

func (f *faults) expect(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

func (f faults) err(subject string) error {
	if len(f) == 0 {
		return nil
	}
	slices.Sort(f)
	return &fault.Error{Op: "issuer.Validate", Kind: fault.Malformed, Code: subject + ".invalid", Reason: "the " + subject + " is not valid", Reasons: f}
}

// text reports whether s can be shown and is neither empty nor too long.
func text(s string, limit int) bool {
	return s != "" && len(s) <= limit && strings.IndexFunc(s, unicode.IsControl) < 0
}

func texts(all []string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !text(s, maxText) })
}

func webURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && len(s) <= 2048
}
