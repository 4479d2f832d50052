package credential

import (
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// The credential profiles of DCP 1.0: data model, proof and status in one word.
const (
	Profile11 = "vc11-sl2021/jwt" // VC 1.1 as JWT, StatusList2021
	Profile20 = "vc20-bssl/jwt"   // VC 2.0 enveloped with JOSE, BitstringStatusList
)

// Profiles lists them.
func Profiles() []string { return []string{Profile11, Profile20} }

// The reasons of an offer (DCP 1.0, section 6.6); an issuer may have others, which change nothing here.
const (
	ReasonIssuance   = "issuance"
	ReasonReissue    = "reissue"
	ReasonRevokedKey = "proof-key-revocation"
)

// OfferReasons lists them.
func OfferReasons() []string { return []string{ReasonIssuance, ReasonReissue, ReasonRevokedKey} }

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

// leewayOf is the trust's leeway within the house's.
func leewayOf(t Trust) time.Duration { return max(0, min(t.Leeway(), identity.Leeway)) }
