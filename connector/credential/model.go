package credential

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

const (
	contextV2        = "https://www.w3.org/ns/credentials/v2"
	presentationType = "VerifiablePresentation"

	typeVC = "vc+jwt"
	typeVP = "vp+jwt"

	envelopedVC = "EnvelopedVerifiableCredential"
	envelopedVP = "EnvelopedVerifiablePresentation"
	dataVC      = "data:application/vc+jwt,"
	dataVP      = "data:application/vp+jwt,"
)

// opened is a token of a data model after its form was checked: which model, and the members at the top. Nothing is believed yet.
type opened struct {
	header  identity.Header
	profile string
	claims  claimSet
	body    json.RawMessage // the credential or presentation itself
}

// claimSet is the registered claims of a token.
type claimSet struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience any    `json:"aud"`
	ID       string `json:"jti"`
	identity.Window
}

var errModel = errors.New("of neither data model: want a claim vc or vp in a JWT, or a vc+jwt or vp+jwt of version 2.0")

// open tells the data model by the type of token and the members, which must agree: the two models nest differently, and a token that two
// readers open differently is refused. inner is the claim that the older model nests in, typ the newer one's type of token, which may be left out
// where named says that what the token came in has said it.
func open(token string, limit int, inner, typ string, named bool) (opened, error) {
	var o opened
	header, payload, err := identity.ParseJWT(token, limit)
	if err != nil {
		return o, err
	}
	o.header = header
	if err := ijson.Bind(payload, &o.claims); err != nil {
		return o, err
	}
	var members map[string]json.RawMessage
	if err := ijson.Bind(payload, &members); err != nil {
		return o, err
	}
	nested, nests := members[inner]
	_, vc := members["vc"]
	_, vp := members["vp"]
	switch {
	case nests && !(vc && vp) && (header.Type == "" || strings.EqualFold(header.Type, "JWT")):
		o.profile, o.body = Profile11, nested
	case !vc && !vp && (strings.EqualFold(header.Type, typ) || named && header.Type == ""):
		o.profile, o.body = Profile20, bytes.TrimSpace(payload)
	default:
		return o, errModel
	}
	return o, nil
}

// contextOf is the context that the data model wants first.
func (o opened) contextOf() string {
	if o.profile == Profile20 {
		return contextV2
	}
	return contextV1
}

// contextsOf reads contexts, of which that of the data model comes first. Where there are none, or others stand before it or in its place, informal
// is what to say of that: by the form of its token it is of the model all the same. The context of the other model among them is a fault in any case.
func (o opened) contextsOf(raw json.RawMessage, code string) (contexts []string, informal, err error) {
	wrong, other := refuse(code, "want the context of its data model first"), contextV1
	if o.profile == Profile11 {
		other = contextV2
	}
	if len(raw) == 0 {
		return []string{o.contextOf()}, wrong, nil
	}
	contexts, err = contextsOf(raw)
	switch {
	case err != nil:
		return nil, nil, wrong
	case contexts[0] == o.contextOf():
		return contexts, nil, nil
	case slices.Contains(contexts, other):
		return nil, nil, wrong
	}
	return contexts, wrong, nil
}

// body is the members of a credential, in both data models.
type body struct {
	Context    json.RawMessage `json:"@context"`
	ID         string          `json:"id"`
	Type       json.RawMessage `json:"type"`
	Issuer     json.RawMessage `json:"issuer"`
	Issued     string          `json:"issuanceDate"`
	Expires    string          `json:"expirationDate"`
	ValidFrom  string          `json:"validFrom"`
	ValidUntil string          `json:"validUntil"`
	Subject    json.RawMessage `json:"credentialSubject"`
	Status     json.RawMessage `json:"credentialStatus"`
	Schema     json.RawMessage `json:"credentialSchema"`
}

// read is a credential that was parsed and not yet believed.
type read struct {
	opened
	members   body
	issuer    participant.DID
	types     []string // without the base type
	contexts  []string
	subjects  []json.RawMessage
	id        string
	notBefore time.Time // zero: not said
	notAfter  time.Time // zero: not said
	digest    string
	informal  error // what it leaves out, although the data model wants it and nothing here rests on it
}

// formal complains of what is left out, unless that is tolerated. Then a subject of the token that is no DID of any method says nothing either:
// whom the credential is about is what it says itself.
func (r *read) formal(tolerated bool) error {
	if !tolerated {
		return r.informal
	}
	if !strings.HasPrefix(strings.ToLower(r.claims.Subject), "did:") {
		r.claims.Subject = ""
	}
	return nil
}

// parse reads a credential's form, of which formal says whether it is whole; the signature is not checked. A claim of the token stands for a
// member that the credential lacks, in the older model (VC 1.1, section 6.3.1); where both are there the narrower one counts, and names must agree.
func parse(token string, limit int) (read, error) {
	var r read
	var err error
	if r.opened, err = open(token, limit, "vc", typeVC, false); err != nil {
		return r, refuse(codeSyntax, "%w", err)
	}
	if err := ijson.Bind(r.body, &r.members); err != nil {
		return r, refuse(codeSyntax, "%w", err)
	}
	if r.issuer, err = issuerOf(r.members.Issuer, r.claims.Issuer); err != nil {
		return r, refuse(codeIssuer, "%w", err)
	}
	if r.contexts, r.informal, err = r.contextsOf(r.members.Context, codeType); err != nil {
		return r, err
	}
	types, err := ijson.Texts(r.members.Type)
	untyped := refuse(codeType, "want a %s with a type of its own", baseType)
	if !slices.Contains(types, baseType) && r.informal == nil {
		r.informal = untyped // by the form of its token it is one all the same
	}
	if r.types = slices.DeleteFunc(types, func(t string) bool { return t == baseType }); err != nil || len(r.types) == 0 {
		return r, untyped
	}
	if r.subjects = ijson.Many(r.members.Subject); len(r.subjects) == 0 {
		return r, refuse(codeSubject, "want an object, or a list of them")
	}
	if r.id = r.members.ID; r.id == "" {
		r.id = r.claims.ID
	}
	if r.notBefore, err = instant(later, max(r.claims.NotBefore, r.claims.IssuedAt), r.members.Issued, r.members.ValidFrom); err != nil {
		return r, refuse(codeValidity, "%w", err)
	}
	if r.notAfter, err = instant(earlier, r.claims.Expires, r.members.Expires, r.members.ValidUntil); err != nil {
		return r, refuse(codeValidity, "%w", err)
	}
	sum := sha256.Sum256([]byte(token))
	r.digest = hex.EncodeToString(sum[:])
	return r, nil
}

// kid checks that the key id is of the issuer: exactly its DID before the one '#'.
func (r read) kid() bool {
	did, ok := identity.DIDOf(r.header.KeyID)
	return ok && did == string(r.issuer)
}

// issuerOf is the issuer of a credential: a DID, or an object with one as its id. What the token says must be the same.
func issuerOf(raw json.RawMessage, claimed string) (participant.DID, error) {
	var named string
	var o struct {
		ID string `json:"id"`
	}
	switch {
	case len(raw) == 0:
		named = claimed
	case raw[0] == '{' && ijson.Bind(raw, &o) == nil:
		named = o.ID
	case ijson.Bind(raw, &named) != nil:
		return "", errors.New("want a DID, or an object with one as its id")
	}
	if claimed != "" && claimed != named {
		return "", errors.New("iss and issuer differ")
	}
	did, _, err := identity.ParseDID(named)
	return did, err
}

// facts takes over what a policy may read of a credential that is relied upon for the types. Whom it is about must be clear: every subject has
// the same id, which is the token's subject where that is said.
func (r read) facts(types []string) ([]policy.Credential, error) {
	fact := policy.Credential{Issuer: string(r.issuer), ID: r.id, Subject: map[string]string{}, NotBefore: r.notBefore, NotAfter: r.notAfter, Digest: r.digest, Profile: r.profile}
	for _, raw := range r.subjects {
		var s map[string]any
		if err := ijson.Bind(raw, &s); err != nil || s == nil {
			return nil, refuse(codeSubject, "want an object")
		}
		if _, said := s["id"]; !said && len(r.subjects) == 1 && r.profile == Profile11 {
			s["id"] = r.claims.Subject
		}
		if id, _ := s["id"].(string); id == "" || r.claims.Subject != "" && id != r.claims.Subject {
			return nil, refuse(codeSubject, "its id is not the token's subject")
		}
		for name, value := range s {
			text, ok := value.(string)
			if !ok {
				continue
			}
			if said, ok := fact.Subject[name]; ok && said != text {
				return nil, refuse(codeSubject, "%q is said twice, and differently", name)
			}
			fact.Subject[name] = text
		}
	}
	if r.notBefore.IsZero() || r.notAfter.IsZero() {
		return nil, refuse(codeValidity, "want a beginning and an end")
	}
	var out []policy.Credential
	for _, kind := range types {
		fact.Type = kind
		out = append(out, fact)
	}
	return out, nil
}

func later(a, b time.Time) bool   { return a.After(b) }
func earlier(a, b time.Time) bool { return a.Before(b) }

// instant combines a claim of the token with dates of the credential: the narrower counts. It is zero when nothing is said.
func instant(prefer func(a, b time.Time) bool, seconds int64, dates ...string) (time.Time, error) {
	var out time.Time
	if seconds != 0 {
		out = time.Unix(seconds, 0).UTC()
	}
	for _, text := range dates {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return out, errors.New("want dates like 2026-11-24T09:00:00Z")
		}
		if t = t.UTC(); out.IsZero() || prefer(t, out) {
			out = t
		}
	}
	return out, nil
}

// shown is a presentation that was parsed and not yet believed.
type shown struct {
	opened
	holder      string
	credentials []string // tokens
	informal    error    // as of a credential
}

// parsePresentation reads a presentation; enveloped says that it came in an envelope that named it one.
func parsePresentation(token string, enveloped bool) (shown, error) {
	var s shown
	var err error
	if s.opened, err = open(token, maxPresentation, "vp", typeVP, enveloped); err != nil {
		return s, refuse(codeVPSyntax, "%w", err)
	}
	raw := s.body
	if s.profile == Profile11 && len(raw) > 0 && raw[0] == '[' {
		list := ijson.Many(raw)
		if len(list) != 1 {
			return s, refuse(codeVPSyntax, "want one presentation")
		}
		raw = list[0]
	}
	var m struct {
		Context     json.RawMessage `json:"@context"`
		Type        json.RawMessage `json:"type"`
		Holder      json.RawMessage `json:"holder"`
		Credentials json.RawMessage `json:"verifiableCredential"`
	}
	if len(raw) == 0 || raw[0] != '{' {
		return s, refuse(codeVPSyntax, "want a presentation")
	}
	if err := ijson.Bind(raw, &m); err != nil {
		return s, refuse(codeVPSyntax, "%w", err)
	}
	if _, s.informal, err = s.contextsOf(m.Context, codeVPType); err != nil {
		return s, err
	}
	if types, err := ijson.Texts(m.Type); err != nil || !slices.Contains(types, presentationType) {
		return s, refuse(codeVPType, "want a %s", presentationType)
	}
	if len(m.Holder) > 0 {
		holder, err := issuerOf(m.Holder, "")
		if err != nil {
			return s, refuse(codeVPHolder, "%w", err)
		}
		s.holder = string(holder)
	}
	if len(m.Credentials) == 0 {
		return s, nil // which proves nothing
	}
	list := ijson.Many(m.Credentials)
	if len(list) > maxCredentials {
		return s, refuse(codeCount, "%d credentials", len(list))
	}
	for _, one := range list {
		credential, err := s.enclosed(one)
		if err != nil {
			return s, err
		}
		s.credentials = append(s.credentials, credential)
	}
	return s, nil
}

// enclosed takes one credential's token out of a presentation. The newer model puts each into an envelope of its own; credentials of the other
// model are a fault, for one presentation is of one model.
func (s shown) enclosed(raw json.RawMessage) (string, error) {
	var token string
	if ijson.Bind(raw, &token) == nil {
		if s.profile != Profile11 {
			return "", refuse(codeMixed, "a bare token in a presentation of version 2.0")
		}
		return token, nil
	}
	if s.profile != Profile20 {
		return "", refuse(codeMixed, "want credentials as tokens in a presentation of version 1.1")
	}
	token, err := envelope(raw, envelopedVC, dataVC)
	if err != nil {
		return "", refuse(codeVPSyntax, "%w", err)
	}
	return token, nil
}

// envelope opens an object that holds a token as a data URL.
func envelope(raw json.RawMessage, kind, prefix string) (string, error) {
	var e struct {
		ID   string          `json:"id"`
		Type json.RawMessage `json:"type"`
	}
	if len(raw) == 0 || raw[0] != '{' {
		return "", fmt.Errorf("want an %s", kind)
	}
	if err := ijson.Bind(raw, &e); err != nil {
		return "", err
	}
	types, err := ijson.Texts(e.Type)
	token, ok := strings.CutPrefix(e.ID, prefix)
	if err != nil || !slices.Contains(types, kind) || !ok {
		return "", fmt.Errorf("want an %s with an id that begins with %s", kind, prefix)
	}
	return token, nil
}

// outer opens the envelope that some put around a presentation of version 2.0 once more, and returns the presentation inside; ok is false when
// the token is none.
func outer(token string) (inner string, claims claimSet, header identity.Header, ok bool) {
	header, payload, err := identity.ParseJWT(token, maxPresentation)
	if err != nil || ijson.Bind(payload, &claims) != nil {
		return "", claims, header, false
	}
	inner, err = envelope(bytes.TrimSpace(payload), envelopedVP, dataVP)
	return inner, claims, header, err == nil
}

// contextsOf reads the contexts that are addresses; those that stand there in full say nothing to a reader of plain JSON. The first must be an
// address.
func contextsOf(raw json.RawMessage) ([]string, error) {
	var out []string
	for i, one := range ijson.Many(raw) {
		var s string
		if err := ijson.Bind(one, &s); err != nil {
			if i == 0 {
				return nil, errors.New("want an address first")
			}
			continue
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.New("want a context")
	}
	return out, nil
}

// audience is the one audience of a token, "" when there is none or there are several.
func audience(aud any) string {
	if list, ok := aud.([]any); ok && len(list) == 1 {
		aud = list[0]
	}
	s, _ := aud.(string)
	return s
}
