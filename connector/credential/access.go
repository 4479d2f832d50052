package credential

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// purpose is what an access token of ours opens.
type purpose string

const (
	forPresentation purpose = "presentation"   // one query
	forIssuance     purpose = "issuance-write" // one query, and what an issuer brings
)

// access is our own access token (DCP 1.0, section 1.2): who may ask for which scopes until when. Only we read it, so it carries a MAC.
type access struct {
	Holder   string   `json:"h"`
	Verifier string   `json:"v"`
	Scopes   []string `json:"s"`
	ID       string   `json:"j"`
	Expires  int64    `json:"e"`
	Purpose  purpose  `json:"p"`
}

// Grant makes the access token that a self-issued token to the verifier carries.
func (h *Holder) Grant(local participant.Participant, verifier participant.DID, scopes []string) (string, error) {
	return h.grant(local, verifier, scopes, forPresentation)
}

// GrantWriting makes the one that a request to an issuer carries: it may ask once for what its rules need, and bring what was asked for.
func (h *Holder) GrantWriting(local participant.Participant, issuer participant.DID, scopes []string) (string, error) {
	return h.grant(local, issuer, scopes, forIssuance)
}

func (h *Holder) grant(local participant.Participant, to participant.DID, scopes []string, p purpose) (string, error) {
	keys, err := h.Keys(local)
	if err != nil {
		return "", err
	}
	id, err := uuid.NewRandomFromReader(h.Rand)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(access{string(local.DID), string(to), scopes, id.String(), h.Now().Add(accessLife).Unix(), p})
	if err != nil {
		return "", err
	}
	key, err := keys.Secret(identity.SecretHolder)
	if err != nil {
		return "", err
	}
	return accessPrefix + base64.RawURLEncoding.EncodeToString(body) + "." + base64.RawURLEncoding.EncodeToString(accessMAC(key, body)), nil
}

// open reads an access token of this holder that was made for who presents it. How old it is, and whether it was used, is not judged.
func (h *Holder) open(local participant.Participant, from participant.DID, token string) (access, error) {
	var a access
	keys, err := h.Keys(local)
	if err != nil {
		return a, err
	}
	rest, ok := strings.CutPrefix(token, accessPrefix)
	body64, mac64, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(token) > identity.MaxToken {
		return a, errors.New("access.syntax")
	}
	body, err1 := base64.RawURLEncoding.Strict().DecodeString(body64)
	mac, err2 := base64.RawURLEncoding.Strict().DecodeString(mac64)
	secrets, err3 := keys.Secrets(identity.SecretHolder)
	ours := slices.ContainsFunc(secrets, func(key []byte) bool { return hmac.Equal(mac, accessMAC(key, body)) })
	switch {
	case errors.Join(err1, err2, err3) != nil || !ours || json.Unmarshal(body, &a) != nil:
		return a, errors.New("access.mac")
	case a.Holder != string(local.DID):
		return a, errors.New("access.holder: it is another's")
	case a.Verifier != string(from):
		return a, errors.New("access.binding: it was made for somebody else")
	}
	return a, nil
}

// Writes judges the access token that an issuer carries when it brings something. None is right: what may be written its request says. One that is
// there must be ours, made for this issuer and for writing. Its age is not judged: an issuer may take its time.
func (h *Holder) Writes(local participant.Participant, issuer participant.Peer) error {
	if issuer.AccessToken == "" {
		return nil
	}
	a, err := h.open(local, issuer.DID, issuer.AccessToken)
	if err == nil && a.Purpose != forIssuance {
		err = errors.New("access.purpose: it is not for writing")
	}
	if err != nil {
		return &fault.Error{Op: "credential.Writes", Kind: fault.Unauthenticated, Reason: "the caller is not known", Err: err}
	}
	return nil
}
