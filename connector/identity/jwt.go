package identity

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Steps of verification, as reason codes for the operator; a peer is told none of them.
var (
	ErrSyntax     = errors.New("token.syntax")
	ErrUnknownKey = errors.New("token.key-unknown")
	// ErrUnchecked tells that nobody knows whether a signature is good: the document with its key could not be had, or it was not its turn in time. It
	// is not to be believed, and it is no forgery.
	ErrUnchecked = errors.New("token.unchecked")
)

// Header is the protected header of a token.
type Header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
	Content   string `json:"cty,omitempty"` // of what is enveloped; read, never relied on
}

// form is what a class of tokens may look like.
type form struct {
	refused    []string // members of the header
	algorithms []string
}

// ours are the tokens of the dataspace: parties sign them with keys of their DID documents.
var ours = form{refused: refusedHeaders, algorithms: []string{"ES256", "EdDSA"}}

// refusedHeaders choose keys, algorithms or encodings from inside the token: none may (RFC 8725).
var refusedHeaders = []string{"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc", "cty+enc"}

// ParseJWT splits a compact JWS strictly and reads its header and payload. The signature is not verified: use the result to find
// the key, then call Verify.
func ParseJWT(token string, limit int) (Header, []byte, error) { return parseJWT(token, limit, ours) }

func parseJWT(token string, limit int, f form) (Header, []byte, error) {
	if len(token) > limit || strings.Count(token, ".") != 2 {
		return Header{}, nil, fmt.Errorf("%w: want a compact JWS of at most %d bytes", ErrSyntax, limit)
	}
	parts := strings.Split(token, ".")
	var decoded [3][]byte
	for i, part := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || len(b) == 0 {
			return Header{}, nil, fmt.Errorf("%w: part %d is not base64url", ErrSyntax, i+1)
		}
		decoded[i] = b
	}
	lim := ijson.Limits{MaxBytes: 8 << 10, Depth: 4, Members: 16, Items: 16, String: 4096}
	var h Header
	var all map[string]json.RawMessage
	if err := ijson.Unmarshal(decoded[0], lim, &all); err != nil {
		return Header{}, nil, fmt.Errorf("%w: header: %w", ErrSyntax, err)
	}
	for _, name := range f.refused {
		if _, ok := all[name]; ok {
			return Header{}, nil, fmt.Errorf("%w: header member %s is not allowed", ErrSyntax, name)
		}
	}
	if err := ijson.Bind(decoded[0], &h); err != nil {
		return Header{}, nil, fmt.Errorf("%w: header: %w", ErrSyntax, err)
	}
	if !slices.Contains(f.algorithms, h.Algorithm) {
		return Header{}, nil, fmt.Errorf("%w: algorithm %q is not allowed", ErrSyntax, short(h.Algorithm))
	}
	lim = ijson.DefaultLimits()
	lim.MaxBytes, lim.String = limit, limit
	if err := ijson.Check(decoded[1], lim); err != nil {
		return Header{}, nil, fmt.Errorf("%w: payload: %w", ErrSyntax, err)
	}
	return h, decoded[1], nil
}

// Verify checks the signature with one key, in the algorithm of that key.
func Verify(token string, key any) error { return verifySignature(token, key) }

// DIDOf returns the DID before the one '#' of a key id.
func DIDOf(kid string) (string, bool) {
	did, fragment, ok := strings.Cut(kid, "#")
	return did, ok && fragment != "" && !strings.Contains(fragment, "#")
}

// contents says what is in tokens of data model 2.0 (VC-JOSE-COSE, section 3.1).
var contents = map[string]string{"vc+jwt": "vc", "vp+jwt": "vp"}

// SignJWT makes a compact JWS with the key that signs for the use now. typ is the header's type; until is when the claims are no longer good.
func SignJWT(ctx context.Context, did string, keys Keys, use Use, typ string, claims any, until time.Time) (string, error) {
	signer, err := keys.Signer(use)
	if err != nil {
		return "", err
	}
	public := signer.Public()
	alg, err := algorithmOf(public.Key)
	if err != nil {
		return "", err
	}
	header, err := json.Marshal(Header{Algorithm: alg.String(), KeyID: did + "#" + public.ID, Type: typ, Content: contents[typ]})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	b.WriteString(base64.RawURLEncoding.EncodeToString(header))
	b.WriteByte('.')
	b.WriteString(base64.RawURLEncoding.EncodeToString(payload))
	signature, err := signer.Sign(ctx, b.Bytes(), until)
	if err != nil {
		return "", err
	}
	b.WriteByte('.')
	b.WriteString(base64.RawURLEncoding.EncodeToString(signature))
	return b.String(), nil
}

// Leeway is how far clocks may differ.
const Leeway = 30 * time.Second

// Window is a token's validity: seconds since 1970; NotBefore is 0 when absent.
type Window struct {
	IssuedAt  int64 `json:"iat"`
	NotBefore int64 `json:"nbf"`
	Expires   int64 `json:"exp"`
}

// Check judges the window at now: exp and iat must be there, and the whole life at most maxLife.
func (w Window) Check(now time.Time, maxLife time.Duration) error {
	n, leeway := now.Unix(), int64(Leeway/time.Second)
	switch {
	case w.Expires == 0 || w.IssuedAt == 0:
		return errors.New("token.time: exp and iat are required")
	case w.Expires <= n-leeway:
		return errors.New("token.expired")
	case w.NotBefore > n+leeway, w.IssuedAt > n+leeway:
		return errors.New("token.early")
	case w.IssuedAt >= w.Expires, w.Expires-w.IssuedAt > int64(maxLife/time.Second):
		return errors.New("token.life: it is longer than allowed")
	case w.IssuedAt < n-int64(maxLife/time.Second)-leeway:
		return errors.New("token.old")
	}
	return nil
}
