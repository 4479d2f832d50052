package issuer

import (
	"context"
	"crypto/rand"
	"io"
	"math/big"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
)

const (
	contextV1 = "https://www.w3.org/2018/credentials/v1"
	contextV2 = "https://www.w3.org/ns/credentials/v2"
	baseType  = "VerifiableCredential"
)

// Draft is a credential before it is signed.
type Draft struct {
	ID       string
	Profile  string
	Contexts []string        // behind the one of the data model
	Types    []string        // behind VerifiableCredential
	Subject  any             // with its id
	About    participant.DID // the subject's; "" for a status list
	Schema   string          // URL; "" for none
	Status   []statuslist.Entry
	Begins   time.Time
	Ends     time.Time
}

// vc11 is the data model 1.1 as a JWT: the registered claims repeat what the credential says.
type vc11 struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub,omitempty"`
	ID      string `json:"jti"`
	identity.Window
	VC vc11Inner `json:"vc"`
}

type vc11Inner struct {
	Context []string `json:"@context"`
	ID      string   `json:"id"`
	Type    []string `json:"type"`
	Issuer  string   `json:"issuer"`
	Issued  string   `json:"issuanceDate"`
	Expires string   `json:"expirationDate"`
	Subject any      `json:"credentialSubject"`
	Status  any      `json:"credentialStatus,omitempty"`
	Schema  *schema  `json:"credentialSchema,omitempty"`
}

// vc20 is the data model 2.0 secured with JOSE: the payload is the credential, and no claim vc may be in it. iat and exp are of the signature.
type vc20 struct {
	Context  []string `json:"@context"`
	ID       string   `json:"id"`
	Type     []string `json:"type"`
	Issuer   string   `json:"issuer"`
	From     string   `json:"validFrom"`
	Until    string   `json:"validUntil"`
	Subject  any      `json:"credentialSubject"`
	Status   any      `json:"credentialStatus,omitempty"`
	Schema   *schema  `json:"credentialSchema,omitempty"`
	Iss      string   `json:"iss"`
	Sub      string   `json:"sub,omitempty"`
	JTI      string   `json:"jti"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

type schema struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// Sign makes the credential's text. The issuer is the DID, never a base URL: whoever checks compares it with the key's.
func (d Draft) Sign(ctx context.Context, did participant.DID, keys identity.Keys) (string, error) {
	var status any
	switch len(d.Status) {
	case 0:
	case 1:
		status = d.Status[0]
	default:
		status = d.Status
	}
	var described *schema
	if d.Schema != "" {
		described = &schema{d.Schema, "JsonSchema"}
	}
	from, until := d.Begins.UTC().Format(time.RFC3339), d.Ends.UTC().Format(time.RFC3339)
	types := append([]string{baseType}, d.Types...)
	if d.Profile == credential.Profile20 {
		return identity.SignJWT(ctx, string(did), keys, identity.UseIssue, "vc+jwt", vc20{Context: append([]string{contextV2}, d.Contexts...), ID: d.ID, Type: types,
			Issuer: string(did), From: from, Until: until, Subject: d.Subject, Status: status, Schema: described, Iss: string(did), Sub: string(d.About), JTI: d.ID,
			IssuedAt: d.Begins.Unix(), Expires: d.Ends.Unix()}, d.Ends)
	}
	return identity.SignJWT(ctx, string(did), keys, identity.UseIssue, "JWT", vc11{Issuer: string(did), Subject: string(d.About), ID: d.ID,
		Window: identity.Window{IssuedAt: d.Begins.Unix(), NotBefore: d.Begins.Unix(), Expires: d.Ends.Unix()},
		VC: vc11Inner{Context: append([]string{contextV1}, d.Contexts...), ID: d.ID, Type: types, Issuer: string(did), Issued: from, Expires: until,
			Subject: d.Subject, Status: status, Schema: described}}, d.Ends)
}

// mint signs a credential of the definition. Its places are in the row already.
func (s *Service) mint(ctx context.Context, local participant.Participant, d Definition, holder participant.DID, members map[string]any, places []Place, now time.Time) (Credential, string, error) {
	const op = "issuer.mint"
	keys, err := s.cfg.Keys(local)
	if err != nil {
		return Credential{}, "", fault.Wrap(op, fault.Unavailable, err)
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Credential{}, "", err
	}
	begins := now.UTC().Truncate(time.Second)
	subject := map[string]any{"id": string(holder)}
	for name, value := range members {
		subject[name] = value
	}
	made := Draft{ID: id, Profile: d.Profile, Contexts: d.Contexts, Types: []string{d.Type}, Subject: subject, About: holder, Schema: d.Schema,
		Begins: begins, Ends: begins.Add(d.Life)}
	for _, p := range places {
		list := s.cfg.StatusURL(local, p.List)
		made.Status = append(made.Status, statuslist.Entry{Kind: kindOf(d.Profile), ID: list + "#" + big.NewInt(int64(p.Index)).String(), Purpose: p.Purpose, Index: p.Index, List: list})
	}
	token, err := made.Sign(ctx, local.DID, keys)
	if err != nil {
		return Credential{}, "", fault.Wrap(op, fault.Unavailable, err)
	}
	return Credential{Participant: local.ID, ID: id, Version: 1, Holder: holder, Definition: d.ID, Type: d.Type, Profile: d.Profile, Standing: Good,
		Digest: process.Digest([]byte(token)), Places: places, Issued: begins, Expires: made.Ends, Updated: now}, token, nil
}

// random draws a number below n, each as likely as the others.
func random(source io.Reader, n int) (int, error) {
	v, err := rand.Int(source, big.NewInt(int64(n)))
	if err != nil {
		return 0, fault.Wrap("issuer.random", fault.Unavailable, err)
	}
	return int(v.Int64()), nil
}
