package wallet

import (
	"slices"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/participant"
)

// Standing is what is known of how an issuer stands by a credential.
type Standing string

// The standings. Withdrawn is a credential whose proof no longer holds, because its issuer revoked the key.
const (
	Good      Standing = ""
	Suspended Standing = "suspended"
	Revoked   Standing = "revoked"
	Withdrawn Standing = "withdrawn"
)

// Credential is what a hosted participant holds.
type Credential struct {
	Participant participant.ID
	ID          string
	Version     int64
	Types       []string
	Issuer      participant.DID
	Raw         []byte // the JWT
	Digest      string // SHA-256 of Raw, hex
	NotBefore   time.Time
	NotAfter    time.Time
	Created     time.Time
	Standing    Standing
	Request     string    // the request that brought it; "" when an operator put it here
	Definition  string    // id of what was asked for in the issuer's metadata
	Profile     string    // alias; "" when an operator put it here
	Renewal     string    // the request that is to replace it
	Again       time.Time // a renewal does not begin before; zero: it may
	Revocable   bool      // its issuer can take it back
	Deadline    string    // id of the row that it owes: the moment of the next look, of its renewal, or of its end
	Expired     bool      // its end was reported
}

// Wanted is one credential that a request asks for.
type Wanted struct {
	Definition string // id in the issuer's metadata
	Type       string
	Profile    string
	Held       string // id of the credential that came for it
	Replaces   string // id of the one that is to go when it comes
}

// Request asks an issuer for credentials.
type Request struct {
	Participant participant.ID
	ID          string // holderPid
	Version     int64
	Issuer      participant.DID
	State       State
	Wanted      []Wanted
	Base        string // of the issuer's service
	Status      string // where the issuer says how it stands; "" when that is not known
	IssuerPID   string
	Owed        string   // id of the row that it owes: the message, or the moment of the next look
	Looks       int      // at the issuer's side
	Taken       []string // digests of the credentials that were taken, newest last
	Reason      string   // why it was rejected or given up
	Actor       string   // "" when nobody asked: a renewal, or an offer that the settings take
	Created     time.Time
	Updated     time.Time
	LastRecord  string
	Trace       string
}

// open are the wanted ones that have not come.
func (r Request) open() int {
	n := 0
	for _, w := range r.Wanted {
		if w.Held == "" {
			n++
		}
	}
	return n
}

// Object is a credential that an issuer issues, as its metadata or an offer describes it.
type Object struct {
	ID      string
	Type    string
	Profile string // as DCP names it; "" when it is not known
	Alias   string // as the issuer wrote it
	Schema  string
	Reason  string
}

// OfferState is what became of an offer.
type OfferState string

// The states of an offer.
const (
	Received OfferState = "RECEIVED"
	Accepted OfferState = "ACCEPTED"
	Declined OfferState = "DECLINED"
)

// OfferStates lists them.
func OfferStates() []OfferState { return []OfferState{Received, Accepted, Declined} }

// Offer is what an issuer offered.
type Offer struct {
	Participant participant.ID
	ID          string
	Version     int64
	Issuer      participant.DID
	State       OfferState
	Objects     []Object
	Digest      string // of the message
	Request     string // that came of it
	Owed        string // id of the row that makes the settings act on it; "" when they do not, or did
	Note        string // what came of that
	Actor       string // who decided; "" for the settings
	Created     time.Time
	Updated     time.Time
}

// Client may have self-issued tokens made in the participant's name.
type Client struct {
	Participant participant.ID
	ID          string
	Label       string
	Hash        string   // SHA-256 of its secret, hex
	Scopes      []string // that it may delegate
	Created     time.Time
}

// delegates reports whether every scope is one that the client may delegate; what a scope asks for counts, not how it is written.
func (c Client) delegates(scopes []string, aliases credential.Aliases) bool {
	var may []credential.Scope
	for _, s := range c.Scopes {
		if scope, err := aliases.Parse(s); err == nil {
			may = append(may, scope)
		}
	}
	for _, s := range scopes {
		scope, err := aliases.Parse(s)
		if err != nil || !slices.Contains(may, scope) {
			return false
		}
	}
	return true
}

// Bounds.
const (
	MaxWanted    = 50  // of one request
	MaxOpen      = 100 // requests at one issuer that are not over
	MaxOffers    = 50  // of one issuer that nobody decided
	MaxClients   = 100 // of one participant
	MaxScopes    = 20  // of one client
	maxTaken     = 500
	maxReason    = 1000
	maxIssuerPID = 255
)
