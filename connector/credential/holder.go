package credential

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// Wallet keeps the credentials of hosted participants.
type Wallet interface {
	Held(ctx context.Context, p participant.Participant) ([]Stored, error)
}

// Holder shows a hosted participant's credentials to those it granted them to.
type Holder struct {
	Wallet Wallet
	Keys   func(participant.Participant) (identity.Keys, error)
	Replay identity.Replay
	Now    func() time.Time
	Rand   io.Reader
}

const (
	accessLife       = identity.TokenLife
	presentationLife = time.Minute
	accessPrefix     = "sluice-at1."
)

// access is our own presentation access token: who may ask for which scopes until when. Only we read it, so it carries a MAC.
type access struct {
	Holder   string   `json:"h"`
	Verifier string   `json:"v"`
	Scopes   []string `json:"s"`
	ID       string   `json:"j"`
	Expires  int64    `json:"e"`
}

// Grant makes the access token that a self-issued token to the verifier carries.
func (h *Holder) Grant(local participant.Participant, verifier participant.DID, scopes []string) (string, error) {
	keys, err := h.Keys(local)
	if err != nil {
		return "", err
	}
	id, err := uuid.NewRandomFromReader(h.Rand)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(access{string(local.DID), string(verifier), scopes, id.String(), h.Now().Add(accessLife).Unix()})
	if err != nil {
		return "", err
	}
	key, err := keys.Secret(identity.SecretHolder)
	if err != nil {
		return "", err
	}
	mac := accessMAC(key, body)
	return accessPrefix + base64.RawURLEncoding.EncodeToString(body) + "." + base64.RawURLEncoding.EncodeToString(mac), nil
}

func accessMAC(key, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("sluice/presentation-access/v1\x00"))
	m.Write(body)
	return m.Sum(nil)
}

// granted opens an access token for the verifier that presents it, once.
func (h *Holder) granted(ctx context.Context, local participant.Participant, keys identity.Keys, verifier participant.DID, token string) ([]Scope, error) {
	refused := fault.New("credential.granted", fault.Unauthenticated, "the caller is not known") // the words of every refusal of a token
	rest, ok := strings.CutPrefix(token, accessPrefix)
	body64, mac64, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(token) > identity.MaxToken {
		return nil, refused
	}
	body, err1 := base64.RawURLEncoding.Strict().DecodeString(body64)
	mac, err2 := base64.RawURLEncoding.Strict().DecodeString(mac64)
	secrets, err3 := keys.Secrets(identity.SecretHolder)
	ours := slices.ContainsFunc(secrets, func(key []byte) bool { return hmac.Equal(mac, accessMAC(key, body)) })
	var a access
	if errors.Join(err1, err2, err3) != nil || !ours || json.Unmarshal(body, &a) != nil {
		return nil, refused
	}
	now := h.Now()
	if a.Holder != string(local.DID) || a.Verifier != string(verifier) || now.Unix() >= a.Expires {
		return nil, refused
	}
	fresh, err := h.Replay.Remember(ctx, "at|"+a.Holder, a.ID, time.Unix(a.Expires, 0), now)
	if err != nil {
		return nil, fault.Wrap("credential.granted", fault.Unavailable, err)
	}
	if !fresh {
		return nil, refused
	}
	return parseScopes(a.Scopes)
}

// Present answers a presentation query of an authenticated verifier: the credentials that are both asked for and granted, held, and
// valid now, in one presentation made for this verifier. None is an empty answer, not an error.
func (h *Holder) Present(ctx context.Context, local participant.Participant, verifier participant.Peer, scopes []string) ([]string, error) {
	const op = "credential.Present"
	asked, err := parseScopes(scopes)
	if err != nil {
		return nil, fault.New(op, fault.Malformed, "%s", err.Error())
	}
	keys, err := h.Keys(local)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	granted, err := h.granted(ctx, local, keys, verifier.DID, verifier.AccessToken)
	if err != nil {
		return nil, err
	}
	held, err := h.Wallet.Held(ctx, local)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	now := h.Now()
	var shown []string
	for _, c := range held {
		if selects(asked, c) && selects(granted, c) && !now.Before(c.Fact.NotBefore) && now.Before(c.Fact.NotAfter) {
			shown = append(shown, c.Token)
		}
	}
	if len(shown) == 0 {
		return nil, nil
	}
	vp, err := h.presentation(ctx, local, keys, verifier.DID, shown)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	return []string{vp}, nil
}

func selects(scopes []Scope, c Stored) bool {
	for _, s := range scopes {
		if s.Selects(c.ID, c.Types) {
			return true
		}
	}
	return false
}

type vpClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub,omitempty"`
	Audience any    `json:"aud"`
	ID       string `json:"jti"`
	identity.Window
	VP json.RawMessage `json:"vp"`
}

type vp struct {
	Context     []string `json:"@context"`
	Type        any      `json:"type"`
	Holder      string   `json:"holder,omitempty"`
	Credentials []string `json:"verifiableCredential"`
}

func (h *Holder) presentation(ctx context.Context, local participant.Participant, keys identity.Keys, verifier participant.DID, credentials []string) (string, error) {
	id, err := uuid.NewRandomFromReader(h.Rand)
	if err != nil {
		return "", err
	}
	inner, err := json.Marshal(vp{Context: []string{contextV1}, Type: []string{"VerifiablePresentation"}, Holder: string(local.DID), Credentials: credentials})
	if err != nil {
		return "", err
	}
	n, until := h.Now().Unix(), h.Now().Add(presentationLife)
	token, err := identity.SignJWT(ctx, string(local.DID), keys, identity.UseToken, "JWT", vpClaims{Issuer: string(local.DID), Subject: string(local.DID),
		Audience: string(verifier), ID: id.String(), Window: identity.Window{IssuedAt: n, NotBefore: n, Expires: until.Unix()}, VP: inner}, until)
	if err != nil {
		return "", fmt.Errorf("presentation: %w", err)
	}
	return token, nil
}
