package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

const (
	contextV1 = "https://www.w3.org/2018/credentials/v1"
	contextCX = "https://w3id.org/catenax/credentials/v1.0.0"
	baseType  = "VerifiableCredential"

	maxCredential   = 64 << 10
	maxPresentation = 256 << 10
)

// Subject is what a credential says of its holder: string members besides the id.
type Subject map[string]string

type vcClaims struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	ID      string `json:"jti"`
	identity.Window
	VC vc `json:"vc"`
}

type vc struct {
	Context []string        `json:"@context"`
	ID      string          `json:"id,omitempty"`
	Type    []string        `json:"type"`
	Issuer  json.RawMessage `json:"issuer"`
	Issued  string          `json:"issuanceDate"`
	Expires string          `json:"expirationDate"`
	Subject json.RawMessage `json:"credentialSubject"`
	Status  json.RawMessage `json:"credentialStatus,omitempty"`
	Schema  json.RawMessage `json:"credentialSchema,omitempty"`
}

// Issuer signs credentials for one hosted participant that is an authority.
type Issuer struct {
	DID  participant.DID
	Keys identity.Keys
	Now  func() time.Time
	Rand io.Reader
}

// Issue makes a credential of the type for the holder. Catena-X reads the members of subject (CX-0050).
func (i *Issuer) Issue(ctx context.Context, holder participant.DID, kind string, subject Subject, life time.Duration) (id, token string, err error) {
	u, err := uuid.NewRandomFromReader(i.Rand)
	if err != nil {
		return "", "", fmt.Errorf("credential: %w", err)
	}
	id = u.URN()
	now := i.Now().UTC().Truncate(time.Second)
	members := map[string]string{"id": string(holder)}
	for name, value := range subject {
		members[name] = value
	}
	rawSubject, err := json.Marshal(members)
	if err != nil {
		return "", "", err
	}
	rawIssuer, err := json.Marshal(string(i.DID))
	if err != nil {
		return "", "", err
	}
	claims := vcClaims{Issuer: string(i.DID), Subject: string(holder), ID: id,
		Window: identity.Window{IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(life).Unix()},
		VC: vc{Context: []string{contextV1, contextCX}, ID: id, Type: []string{baseType, kind}, Issuer: rawIssuer, Issued: now.Format(time.RFC3339),
			Expires: now.Add(life).Format(time.RFC3339), Subject: rawSubject}}
	token, err = identity.SignJWT(ctx, string(i.DID), i.Keys, identity.UseIssue, "JWT", claims, now.Add(life))
	return id, token, err
}

// Trust says who may issue which type of credential.
type Trust map[string][]participant.DID // type -> issuers

// Trusts reports whether the issuer may issue the type.
func (t Trust) Trusts(issuer, kind string) bool {
	return slices.Contains(t[kind], participant.DID(issuer))
}

// read is a credential that was parsed and not yet believed.
type read struct {
	token  string
	header identity.Header
	claims vcClaims
	issuer string
	fact   policy.Credential
}

// parse reads a credential's form; the signature is not checked.
func parse(token string) (read, error) {
	r := read{token: token}
	header, payload, err := identity.ParseJWT(token, maxCredential)
	if err != nil {
		return r, fmt.Errorf("credential.syntax: %w", err)
	}
	r.header = header
	if err := ijson.Bind(payload, &r.claims); err != nil {
		return r, fmt.Errorf("credential.syntax: %w", err)
	}
	c := r.claims
	if r.issuer, err = issuerOf(c.VC.Issuer); err != nil {
		return r, err
	}
	if c.Issuer != "" && c.Issuer != r.issuer {
		return r, errors.New("credential.issuer: iss and issuer differ")
	}
	if !slices.Contains(c.VC.Type, baseType) || len(c.VC.Type) < 2 || len(c.VC.Context) == 0 || c.VC.Context[0] != contextV1 {
		return r, errors.New("credential.type: want a VerifiableCredential of data model 1.1 with a type of its own")
	}
	return r, r.facts()
}

func issuerOf(raw json.RawMessage) (string, error) {
	var s string
	var o struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &s) == nil && s != "" {
		return s, nil
	}
	if json.Unmarshal(raw, &o) == nil && o.ID != "" {
		return o.ID, nil
	}
	return "", errors.New("credential.issuer: want a DID")
}

// facts takes over what a policy may read: the narrower of both validity windows, and the string members of the subject.
func (r *read) facts() error {
	c := r.claims
	subjects := []map[string]any{}
	if json.Unmarshal(c.VC.Subject, &subjects) != nil {
		var one map[string]any
		if err := json.Unmarshal(c.VC.Subject, &one); err != nil {
			return errors.New("credential.subject: want an object")
		}
		subjects = append(subjects, one)
	}
	r.fact = policy.Credential{Issuer: r.issuer, ID: c.VC.ID, Subject: map[string]string{}}
	for _, kind := range c.VC.Type {
		if kind != baseType {
			r.fact.Type = kind
		}
	}
	for _, s := range subjects {
		for name, value := range s {
			if text, ok := value.(string); ok {
				r.fact.Subject[name] = text
			}
		}
		if id, _ := s["id"].(string); id != c.Subject {
			return errors.New("credential.subject: its id is not the token's subject")
		}
	}
	notBefore, err := instant(c.VC.Issued, max(c.NotBefore, c.IssuedAt), later)
	if err != nil {
		return err
	}
	notAfter, err := instant(c.VC.Expires, c.Expires, earlier)
	if err != nil {
		return err
	}
	r.fact.NotBefore, r.fact.NotAfter = notBefore, notAfter
	sum := sha256.Sum256([]byte(r.token))
	r.fact.Digest = hex.EncodeToString(sum[:])
	return nil
}

func later(a, b time.Time) bool   { return a.After(b) }
func earlier(a, b time.Time) bool { return a.Before(b) }

// instant combines a date of the credential with a claim of the token; one of them must be there.
func instant(text string, seconds int64, prefer func(a, b time.Time) bool) (time.Time, error) {
	var out time.Time
	if text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return out, errors.New("credential.validity: want dates like 2026-11-24T09:00:00Z")
		}
		out = t.UTC()
	}
	if seconds != 0 {
		if t := time.Unix(seconds, 0).UTC(); out.IsZero() || prefer(t, out) {
			out = t
		}
	}
	if out.IsZero() {
		return out, errors.New("credential.validity: issuance and expiration are required")
	}
	return out, nil
}

// Stored is a credential in a wallet.
type Stored struct {
	ID    string
	Types []string
	Token string
	Fact  policy.Credential
}

// Read takes a credential into a wallet: its form is checked, its signature is the business of those it is shown to.
func Read(token string, holder participant.DID) (Stored, error) {
	r, err := parse(token)
	if err != nil {
		return Stored{}, err
	}
	if r.claims.Subject != string(holder) {
		return Stored{}, errors.New("credential.subject: it was issued to somebody else")
	}
	return Stored{ID: r.fact.ID, Types: r.claims.VC.Type, Token: token, Fact: r.fact}, nil
}
