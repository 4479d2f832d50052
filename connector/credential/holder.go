package credential

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// Wallet keeps the credentials of hosted participants.
type Wallet interface {
	// Held returns those that may be shown: none that is known to be revoked or suspended.
	Held(ctx context.Context, p participant.Participant) ([]Stored, error)
}

// Holder shows a hosted participant's credentials to those it granted them to.
type Holder struct {
	Wallet  Wallet
	Keys    func(participant.Participant) (identity.Keys, error)
	Aliases func(participant.Participant) Aliases // of its ecosystem
	Replay  identity.Replay
	Now     func() time.Time
	Rand    io.Reader
	// Exact refuses a query for anything that was not granted, whole; otherwise what was granted of it is shown.
	Exact bool
}

const (
	accessLife       = identity.TokenLife
	presentationLife = identity.TokenLife // a verifier remembers what it was shown no longer than that
	accessPrefix     = "sluice-at1."
)

func accessMAC(key, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("sluice/presentation-access/v1\x00"))
	m.Write(body)
	return m.Sum(nil)
}

// granted opens an access token for the verifier that presents it, once.
func (h *Holder) granted(ctx context.Context, local participant.Participant, verifier participant.DID, token string) ([]Scope, error) {
	refused := func(err error) error { // the words of every refusal of a token
		return &fault.Error{Op: "credential.granted", Kind: fault.Unauthenticated, Reason: "the caller is not known", Err: err}
	}
	a, err := h.open(local, verifier, token)
	now := h.Now()
	switch {
	case err != nil:
		return nil, refused(err)
	case a.Purpose != forPresentation && a.Purpose != forIssuance:
		return nil, refused(errors.New("access.purpose: it is not for presentations"))
	case now.Unix() >= a.Expires:
		return nil, refused(errors.New("access.expired"))
	}
	fresh, err := h.Replay.Remember(ctx, "at|"+a.Holder, a.ID, time.Unix(a.Expires, 0), now)
	if err != nil {
		return nil, fault.Wrap("credential.granted", fault.Unavailable, err)
	}
	if !fresh {
		return nil, refused(errors.New("access.used"))
	}
	return h.Aliases(local).parse(a.Scopes)
}

// Present answers a presentation query of an authenticated verifier: the credentials that are both asked for and granted, held, and
// valid now, in presentations made for this verifier, one for each data model. None is an empty answer, not an error.
func (h *Holder) Present(ctx context.Context, local participant.Participant, verifier participant.Peer, scopes []string) ([]string, error) {
	const op = "credential.Present"
	asked, err := h.Aliases(local).parse(scopes)
	if err != nil {
		return nil, fault.New(op, fault.Malformed, "%s", err.Error())
	}
	keys, err := h.Keys(local)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	granted, err := h.granted(ctx, local, verifier.DID, verifier.AccessToken)
	if err != nil {
		return nil, err
	}
	for _, s := range asked {
		if h.Exact && !slices.Contains(granted, s) {
			return nil, &fault.Error{Op: op, Kind: fault.Unauthenticated, Reason: "the caller is not known", Err: fmt.Errorf("access.scope: %.200q was not granted", s.Value)}
		}
	}
	held, err := h.Wallet.Held(ctx, local)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	now := h.Now()
	shown := map[string][]string{} // profile -> tokens
	for _, c := range held {
		if selects(asked, c) && selects(granted, c) && !now.Before(c.Fact.NotBefore) && now.Before(c.Fact.NotAfter) {
			shown[c.Profile] = append(shown[c.Profile], c.Token)
		}
	}
	var out []string
	for _, profile := range slices.Sorted(maps.Keys(shown)) {
		vp, err := h.presentation(ctx, local, keys, verifier.DID, profile, shown[profile])
		if err != nil {
			return nil, fault.Wrap(op, fault.Unavailable, err)
		}
		out = append(out, vp)
	}
	return out, nil
}

func selects(scopes []Scope, c Stored) bool {
	for _, s := range scopes {
		if s.Selects(c.ID, c.Types, c.Contexts) {
			return true
		}
	}
	return false
}

// vpClaims are those of a presentation. The older model nests it, the newer one is the token.
type vpClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub,omitempty"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	identity.Window
	VP *vp `json:"vp,omitempty"`
	*vp
}

type vp struct {
	Context     []string `json:"@context"`
	Type        []string `json:"type"`
	Holder      string   `json:"holder"`
	Credentials []any    `json:"verifiableCredential"`
}

type enveloped struct {
	Context string `json:"@context"`
	ID      string `json:"id"`
	Type    string `json:"type"`
}

func (h *Holder) presentation(ctx context.Context, local participant.Participant, keys identity.Keys, verifier participant.DID, profile string, credentials []string) (string, error) {
	id, err := uuid.NewRandomFromReader(h.Rand)
	if err != nil {
		return "", err
	}
	n, until := h.Now().Unix(), h.Now().Add(presentationLife)
	inner := vp{Context: []string{contextV1}, Type: []string{presentationType}, Holder: string(local.DID)}
	claims := vpClaims{Issuer: string(local.DID), Subject: string(local.DID), Audience: string(verifier), ID: id.String(),
		Window: identity.Window{IssuedAt: n, NotBefore: n, Expires: until.Unix()}, VP: &inner}
	typ := "JWT"
	if profile == Profile20 {
		typ, inner.Context = typeVP, []string{contextV2}
		claims.VP, claims.vp = nil, &inner
	}
	for _, token := range credentials {
		if profile == Profile20 {
			inner.Credentials = append(inner.Credentials, enveloped{contextV2, dataVC + token, envelopedVC})
			continue
		}
		inner.Credentials = append(inner.Credentials, token)
	}
	token, err := identity.SignJWT(ctx, string(local.DID), keys, identity.UseToken, typ, claims, until)
	if err != nil {
		return "", fmt.Errorf("presentation: %w", err)
	}
	return token, nil
}
