package credential

import (
	"slices"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// The credential profiles of DCP 1.0: data model, proof and status.
const (
	Profile11 = "vc11-sl2021/jwt" // VC 1.1 as JWT
	Profile20 = "vc20-bssl/jwt"   // VC 2.0 enveloped with JOSE
)

// Trust says who is believed what. It is asked anew each time, so it may change while it is used; it must be safe for concurrent use.
type Trust interface {
	// Trusts reports whether the issuer may issue credentials of exactly this type.
	Trusts(issuer participant.DID, kind string) bool
	// Accepts reports whether credentials of the profile (Profile11, Profile20) are accepted.
	Accepts(profile string) bool
	// Delegates reports whether the issuer lets another one publish the status lists of its credentials.
	Delegates(issuer, lister participant.DID) bool
	// Leeway is how far a peer's clock may differ from ours. More than identity.Leeway is as much as that.
	Leeway() time.Duration
}

// TrustList is trust that was written down once.
type TrustList struct {
	Issuers   map[string][]participant.DID          // type of credential -> who may issue it
	Profiles  []string                              // that are accepted; none: both
	Delegated map[participant.DID][]participant.DID // issuer -> who may publish its status lists besides itself
	Clock     time.Duration                         // leeway; 0 is identity.Leeway
}

var _ Trust = TrustList{}

// Trusts implements Trust.
func (t TrustList) Trusts(issuer participant.DID, kind string) bool {
	return slices.Contains(t.Issuers[kind], issuer)
}

// Accepts implements Trust.
func (t TrustList) Accepts(profile string) bool {
	return len(t.Profiles) == 0 || slices.Contains(t.Profiles, profile)
}

// Delegates implements Trust.
func (t TrustList) Delegates(issuer, lister participant.DID) bool {
	return slices.Contains(t.Delegated[issuer], lister)
}

// Leeway implements Trust.
func (t TrustList) Leeway() time.Duration {
	if t.Clock == 0 {
		return identity.Leeway
	}
	return t.Clock
}

// leewayOf is the trust's leeway within the house's.
func leewayOf(t Trust) time.Duration { return max(0, min(t.Leeway(), identity.Leeway)) }
