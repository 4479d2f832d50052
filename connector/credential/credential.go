package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
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

// Stored is a credential in a wallet.
type Stored struct {
	ID       string
	Profile  string // Profile11 or Profile20
	Types    []string
	Contexts []string
	Token    string
	Fact     policy.Credential // under its last type
}

// Read takes a credential into a wallet: its form is checked, its signature is the business of those it is shown to.
func Read(token string, holder participant.DID) (Stored, error) {
	r, err := parse(token, maxCredential)
	if err != nil {
		return Stored{}, err
	}
	facts, err := r.facts(r.types)
	if err != nil {
		return Stored{}, err
	}
	fact := facts[len(facts)-1]
	if fact.Subject["id"] != string(holder) {
		return Stored{}, errors.New("credential.subject: it was issued to somebody else")
	}
	return Stored{ID: r.id, Profile: r.profile, Types: append([]string{baseType}, r.types...), Contexts: r.contexts, Token: token, Fact: fact}, nil
}
