package credential

import (
	"errors"
	"fmt"

	"github.com/sluice-connector/sluice/connector/identity"
)

// Refusal is why a caller is not believed: the step of the verification that failed, by a stable code, and what was found there. It is for the
// operator alone; a stranger is told one thing whatever it was.
type Refusal struct {
	Code string // one of Steps
	Err  error  // what was found; may be nil
}

func (r *Refusal) Error() string {
	if r.Err == nil {
		return r.Code
	}
	return r.Code + ": " + r.Err.Error()
}

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(code, format string, args ...any) error {
	return &Refusal{Code: code, Err: fmt.Errorf(format, args...)}
}

// unsigned is the refusal of a signature: under the code away when it could not be checked, for that is no forgery.
func unsigned(code, away string, err error) error {
	if errors.Is(err, identity.ErrUnchecked) {
		code = away
	}
	return &Refusal{Code: code, Err: err}
}

// CodeOf returns the code of the step that failed, "" when err is no refusal of this package.
func CodeOf(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// Step is one step of the verification that may fail.
type Step struct {
	Code    string
	Meaning string // for the operator
}

// The steps' codes. They stand in logs and records, so they do not change.
const (
	codeAccess    = "token.access"
	codeBudget    = "verification.budget"
	codeQuery     = "presentation.query"
	codeCount     = "presentation.count"
	codeVPSyntax  = "presentation.syntax"
	codeVPType    = "presentation.type"
	codeVPProfile = "presentation.profile"
	codeEnvelope  = "presentation.envelope"
	codeVPKid     = "presentation.kid"
	codeVPIssuer  = "presentation.issuer"
	codeVPHolder  = "presentation.holder"
	codeAudience  = "presentation.audience"
	codeJTI       = "presentation.jti"
	codeVPTime    = "presentation.time"
	codeVPSigned  = "presentation.signature"
	codeVPKey     = "presentation.key.unavailable"
	codeReplayed  = "presentation.replayed"
	codeMixed     = "presentation.mixed"

	codeSyntax    = "credential.syntax"
	codeType      = "credential.type"
	codeKid       = "credential.kid"
	codeIssuer    = "credential.issuer"
	codeUntrusted = "credential.untrusted"
	codeSigned    = "credential.signature"
	codeKey       = "credential.key.unavailable"
	codeValidity  = "credential.validity"
	codeEarly     = "credential.early"
	codeExpired   = "credential.expired"
	codeSubject   = "credential.subject"
	codeHolder    = "credential.holder"
	codeBPN       = "credential.bpn"

	codeStatusType     = "credential.status.type"
	codeStatusEntry    = "credential.status.entry"
	codeStatusFetch    = "credential.status.unavailable"
	codeStatusSyntax   = "credential.status.syntax"
	codeStatusKid      = "credential.status.kid"
	codeStatusIssuer   = "credential.status.issuer"
	codeStatusSigned   = "credential.status.signature"
	codeStatusID       = "credential.status.id"
	codeStatusValidity = "credential.status.validity"
	codeStatusOld      = "credential.status.outdated"
	codeStatusPurpose  = "credential.status.purpose"
	codeStatusSize     = "credential.status.size"
	codeStatusRange    = "credential.status.range"
	codeRevoked        = "credential.status.revoked"
	codeSuspended      = "credential.status.suspended"
	codeStatusSet      = "credential.status.set"

	codeSchemaType     = "credential.schema.type"
	codeSchemaUnknown  = "credential.schema.unknown"
	codeSchemaFetch    = "credential.schema.unavailable"
	codeSchemaSyntax   = "credential.schema.syntax"
	codeSchemaViolated = "credential.schema.violated"

	codeScope = "scope.unsatisfied"
)

var steps = []Step{
	{codeAccess, "the caller's token carries no access token, so its credentials cannot be asked for"},
	{codeQuery, "the caller's credential service could not be found, did not answer in time, or answered no"},
	{codeCount, "more than 10 presentations, or more than 50 credentials in all"},
	{codeVPSyntax, "a presentation is no compact JWS of ES256 or EdDSA with one presentation inside, or a name stands in it twice"},
	{codeVPType, "what was presented is no verifiable presentation, or its token is of another kind"},
	{codeVPProfile, "the presentation is of a credential profile that the trust settings do not accept"},
	{codeEnvelope, "the presentation comes in a second envelope, and the settings do not allow that"},
	{codeVPKid, "the presentation's key id is not of its issuer's DID"},
	{codeVPIssuer, "the presentation was not made by the caller"},
	{codeVPHolder, "the presentation names another holder than its issuer"},
	{codeAudience, "the presentation was made for somebody else, for several, or for nobody"},
	{codeJTI, "the presentation has no id, or one of more than 255 characters"},
	{codeVPTime, "the presentation is not valid now, lives longer than 10 minutes, or does not say so"},
	{codeVPSigned, "the presentation's signature does not fit a key that the caller's DID document lists under authentication"},
	{codeVPKey, "the presentation's signature could not be checked: the caller's DID document could not be had, or too much was being checked"},
	{codeReplayed, "the presentation was shown before"},
	{codeMixed, "credentials of two data models in one presentation"},
	{codeSyntax, "a credential is no compact JWS of ES256 or EdDSA with one credential inside, or a name stands in it twice"},
	{codeType, "a credential has another type of token, no type of its own, or another data model than it says"},
	{codeKid, "a credential's key id is not of its issuer's DID"},
	{codeIssuer, "a credential has no issuer, or two different ones"},
	{codeUntrusted, "a credential's issuer is trusted for none of its types"},
	{codeSigned, "a credential's signature does not fit a key that its issuer's DID document lists under assertionMethod"},
	{codeKey, "a credential's signature could not be checked: its issuer's DID document could not be had, or too much was being checked"},
	{codeValidity, "a credential does not say from when until when it is valid, or not as a date"},
	{codeEarly, "a credential is not valid yet"},
	{codeExpired, "a credential has expired"},
	{codeSubject, "a credential's subject is none, has no id or two different ones, or says two things under one name"},
	{codeHolder, "a credential was issued to somebody else"},
	{codeStatusType, "a credential's status is of a type that is not known"},
	{codeStatusEntry, "a credential's status entry is malformed: its index, its list or its purpose"},
	{codeStatusFetch, "a status list, or the key that signed it, could not be fetched, and its grace, if it has one, is over"},
	{codeStatusSyntax, "a status list is not signed, not of the kind that the credential says, malformed, too large or compressed too much"},
	{codeStatusKid, "a status list's key id is not of its issuer's DID"},
	{codeStatusIssuer, "a status list is not of the credential's issuer, nor of one that the trust settings let it delegate to"},
	{codeStatusSigned, "a status list's signature does not fit a key of its issuer"},
	{codeStatusID, "a status list says that it is another one than the one that was fetched"},
	{codeStatusValidity, "a status list is not valid now"},
	{codeStatusOld, "a status list is older than the one that was seen before"},
	{codeStatusPurpose, "a status list is not for the purpose that the credential names"},
	{codeStatusSize, "a status list has fewer entries than the settings demand"},
	{codeStatusRange, "a credential's index lies outside its status list"},
	{codeRevoked, "a credential was revoked"},
	{codeSuspended, "a credential is suspended"},
	{codeStatusSet, "a credential's status is set for a purpose that is not known, which counts as invalid"},
	{codeSchemaType, "a credential's schema is of a type that is not known, or has no id"},
	{codeSchemaUnknown, "a credential's schema is not on the list of those that may be fetched"},
	{codeSchemaFetch, "a credential's schema could not be fetched"},
	{codeSchemaSyntax, "a credential's schema is no JSON schema, or refers to another document"},
	{codeSchemaViolated, "a credential does not keep to its schema"},
	{codeBPN, "the credentials name different business partner numbers"},
	{codeScope, "a credential that every caller must show is missing"},
	{codeBudget, "to check it all would have taken too many calls to others"},
}

// Steps lists every step that may fail, in the order in which they are taken.
func Steps() []Step { return append([]Step(nil), steps...) }
