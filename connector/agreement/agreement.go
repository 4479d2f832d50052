package agreement

import (
	"time"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Agreement is a concluded contract (DSP 2025-1, section 3.4). Both sides hold an equal one: same id, same Digest.
type Agreement struct {
	Participant participant.ID // whose copy
	ID          string         // minted by the provider, urn:uuid
	Negotiation string         // own pid of the negotiation that concluded it
	Role        string         // our role: "provider" or "consumer"
	Provider    participant.DID
	Consumer    participant.DID
	Asset       string // target
	Policy      odrl.Policy
	Profile     string // id of the ecosystem profile the policy is read under
	Signed      time.Time
	Digest      string // SHA-256, hex, over the RFC 8785 form of the normalised agreement
	Raw         []byte // exact bytes of the ContractAgreementMessage, sent or received
	Created     time.Time
	Retired     *Retirement // joined by the store on read; nil while in force
}

// Peer returns the counter-party.
func (a Agreement) Peer() participant.DID {
	if a.Role == "provider" {
		return a.Consumer
	}
	return a.Provider
}

// Retirement ends an agreement early. There is at most one per agreement and participant.
type Retirement struct {
	Participant participant.ID
	Agreement   string
	Reason      string // for people; shown to the peer
	Actor       string
	Time        time.Time
}
