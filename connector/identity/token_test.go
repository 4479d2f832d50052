package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// sender is a company with one key and a DID document that was written by hand: its tokens may be anything.
type sender struct {
	did participant.DID
	key *ecdsa.PrivateKey
}

func newSender(t *testing.T, did participant.DID) *sender {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &sender{did, key}
}

func (s *sender) document() []byte {
	point, _ := s.key.PublicKey.Bytes()
	enc := base64.RawURLEncoding.EncodeToString
	return fmt.Appendf(nil, `{"id":%q,"verificationMethod":[{"id":"%[1]s#1","type":"JsonWebKey2020","controller":%[1]q,"publicKeyJwk":{"kty":"EC","crv":"P-256","x":%[2]q,"y":%[3]q}}],
		"authentication":["%[1]s#1"],"assertionMethod":["%[1]s#1"],"capabilityInvocation":["%[1]s#1"]}`, s.did, enc(point[1:33]), enc(point[33:]))
}

func (s *sender) sign(t *testing.T, header, claims map[string]any) string {
	t.Helper()
	var parts []string
	for _, m := range []map[string]any{header, claims} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, ".")))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...))), ".")
}

// known remembers ids as the store does.
type known map[string]bool

func (k known) Remember(_ context.Context, issuer, jti string, _, _ time.Time) (bool, error) {
	fresh := !k[issuer+" "+jti]
	k[issuer+" "+jti] = true
	return fresh, nil
}

// TestWhatASelfIssuedTokenMustBe goes through sections 1.1 and 1.3 of the claims protocol: each row changes one thing of a token that is right.
func TestWhatASelfIssuedTokenMustBe(t *testing.T) {
	t.Parallel()
	const own, did participant.DID = "did:web:cobalt.example:cobalt", "did:web:boreal.example:boreal"
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	boreal, sub, other := newSender(t, did), newSender(t, "did:web:sub.boreal.example:boreal"), newSender(t, "did:web:sub-boreal.example:boreal")
	documents := map[string][]byte{}
	for _, s := range []*sender{boreal, sub, other} {
		_, url, err := identity.ParseDID(string(s.did))
		if err != nil {
			t.Fatal(err)
		}
		documents[url] = s.document()
	}
	fetched := 0
	verifier := identity.NewVerifier(identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) {
		fetched++
		if doc, ok := documents[url]; ok {
			return doc, nil
		}
		return nil, errors.New("nothing there")
	}, func() time.Time { return at }), known{}, func() time.Time { return at })
	is := func(pairs ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	when := func(d time.Duration) int64 { return at.Add(d).Unix() }
	const absent = "absent"
	for name, tt := range map[string]struct {
		by             *sender
		header, claims map[string]any
		want           string // in the operator's eyes; "" when it is right
		early          bool   // refused before anything is fetched
		twice          bool   // it was verified before
	}{
		"right":                                       {},
		"without typ":                                 {header: is("typ", absent)},
		"with a typ in small letters":                 {header: is("typ", "jwt")},
		"for a list of one":                           {claims: is("aud", []any{own})},
		"without nbf":                                 {claims: is("nbf", absent)},
		"with an access token":                        {claims: is("token", "theirs")},
		"with a pre-authorized code":                  {claims: is("pre-authorized_code", "4711")},
		"as old as it may be":                         {claims: is("iat", when(-10*time.Minute), "nbf", when(-10*time.Minute), "exp", when(-time.Second))},
		"29 seconds past its end":                     {claims: is("iat", when(-5*time.Minute), "exp", when(-29*time.Second))},
		"29 seconds early":                            {claims: is("iat", when(29*time.Second), "nbf", when(29*time.Second))},
		"a presentation by its typ (trap 8.6)":        {header: is("typ", "vp+jwt"), want: "token.typ", early: true},
		"a credential by its typ":                     {header: is("typ", "vc+jwt"), want: "token.typ", early: true},
		"an access token by its typ":                  {header: is("typ", "at+jwt"), want: "token.typ", early: true},
		"a presentation by its claims":                {claims: is("verifiableCredential", []any{}), want: "claim verifiableCredential", early: true},
		"a credential by its claims":                  {claims: is("credentialSubject", is()), want: "claim credentialSubject", early: true},
		"with a key of its own":                       {claims: is("sub_jwk", is()), want: "claim sub_jwk", early: true},
		"with a code that is no text":                 {claims: is("pre-authorized_code", 4711), want: "payload", early: true},
		"with an access token that is no text":        {claims: is("token", is()), want: "payload", early: true},
		"without kid":                                 {header: is("kid", absent), want: "token.kid", early: true},
		"with a kid that is a fragment":               {header: is("kid", "#1"), want: "token.kid", early: true},
		"with a kid that is a DID":                    {header: is("kid", did), want: "token.kid", early: true},
		"with a kid of two fragments":                 {header: is("kid", string(did)+"#1#1"), want: "token.kid", early: true},
		"with a kid of an empty fragment":             {header: is("kid", string(did)+"#"), want: "token.kid", early: true},
		"with a kid of somebody else (trap 8.2)":      {by: sub, header: is("kid", string(sub.did)+"#1"), want: "token.kid: its DID is not the issuer", early: true},
		"with a kid that iss matches (trap 8.3)":      {by: other, header: is("kid", string(other.did)+"#1"), claims: is("iss", sub.did, "sub", sub.did), want: "token.kid: its DID is not the issuer", early: true},
		"with a kid that iss begins":                  {header: is("kid", string(did)+":more#1"), want: "token.kid: its DID is not the issuer", early: true},
		"without iss":                                 {claims: is("iss", absent), want: "token.kid", early: true},
		"without sub":                                 {claims: is("sub", absent), want: "token.subject", early: true},
		"for nobody":                                  {claims: is("aud", absent), want: "token.audience", early: true},
		"for null":                                    {claims: is("aud", nil), want: "token.audience", early: true},
		"for an empty list":                           {claims: is("aud", []any{}), want: "token.audience", early: true},
		"for two":                                     {claims: is("aud", []any{own, own}), want: "token.audience", early: true},
		"for a list in a list":                        {claims: is("aud", []any{[]any{own}}), want: "token.audience", early: true},
		"for an object":                               {claims: is("aud", is("id", own)), want: "token.audience", early: true},
		"for another company hosted here":             {claims: is("aud", "did:web:cobalt.example:cobalt2"), want: "token.audience", early: true}, // trap 8.7
		"for what begins like us":                     {claims: is("aud", string(own)+":x"), want: "token.audience", early: true},
		"without jti (trap 8.11)":                     {claims: is("jti", absent), want: "token.jti", early: true},
		"with a long jti":                             {claims: is("jti", strings.Repeat("x", 256)), want: "token.jti", early: true},
		"with a jti that is a number":                 {claims: is("jti", 7), want: "payload", early: true},
		"without exp":                                 {claims: is("exp", absent), want: "token.time", early: true},
		"without iat":                                 {claims: is("iat", absent), want: "token.time", early: true},
		"with times as text":                          {claims: is("exp", "2026-11-24T09:05:00Z"), want: "payload", early: true},
		"with a fraction of a second":                 {claims: is("iat", 1.5), want: "payload", early: true},
		"with an end beyond all time":                 {claims: is("exp", int64(9e15)), want: "token.life", early: true},
		"with a beginning before all time":            {claims: is("exp", when(time.Minute), "iat", int64(-9e15)), want: "token.life", early: true},
		"31 seconds past its end (trap 8.12)":         {claims: is("iat", when(-5*time.Minute), "exp", when(-31*time.Second)), want: "token.expired", early: true},
		"31 seconds early":                            {claims: is("nbf", when(31*time.Second)), want: "token.early", early: true},
		"issued 31 seconds from now":                  {claims: is("iat", when(31*time.Second)), want: "token.early", early: true},
		"issued when it ends":                         {claims: is("iat", when(time.Second), "exp", when(time.Second)), want: "token.life", early: true},
		"issued too long ago":                         {claims: is("iat", when(-11*time.Minute), "nbf", when(-11*time.Minute), "exp", when(-20*time.Second)), want: "token.life", early: true},
		"from an issuer that is us":                   {header: is("kid", string(own)+"#1"), claims: is("iss", own, "sub", own), want: "token.issuer", early: true},
		"from an issuer that is no DID":               {header: is("kid", "https://boreal.example#1"), claims: is("iss", "https://boreal.example", "sub", "https://boreal.example"), want: "token.issuer", early: true},
		"from a method in capitals (trap 8.25)":       {header: is("kid", "did:WEB:boreal.example:boreal#1"), claims: is("iss", "did:WEB:boreal.example:boreal", "sub", "did:WEB:boreal.example:boreal"), want: "token.issuer", early: true},
		"with a jti that was used before (trap 8.11)": {twice: true, want: "token.replayed"},
	} {
		header, claims := is("alg", "ES256", "typ", "JWT", "kid", string(did)+"#1"), is("iss", did, "sub", did, "aud", own, "jti", name, "iat", at.Unix(), "nbf", at.Unix(), "exp", when(5*time.Minute))
		maps.Copy(header, tt.header)
		maps.Copy(claims, tt.claims)
		for _, m := range []map[string]any{header, claims} {
			maps.DeleteFunc(m, func(_ string, v any) bool { return v == absent })
		}
		by := tt.by
		if by == nil {
			by = boreal
		}
		if tt.twice {
			if _, _, err := verifier.Verify(t.Context(), by.sign(t, header, claims), own); err != nil {
				t.Fatal(err)
			}
		}
		before := fetched
		peer, used, err := verifier.Verify(t.Context(), by.sign(t, header, claims), own)
		switch {
		case tt.want == "" && (err != nil || peer.DID != did || used == nil):
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want the operator to read %q", name, err, tt.want)
		case tt.early && fetched != before:
			t.Errorf("%s: a document was fetched on account of it (trap 8.21)", name)
		}
	}
}

// Unsigned junk does not burn somebody's id: trap 8.11.
func TestAForgedTokenSpendsNoID(t *testing.T) {
	t.Parallel()
	const own, did participant.DID = "did:web:cobalt.example:cobalt", "did:web:boreal.example:boreal"
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	boreal, forger := newSender(t, did), newSender(t, did)
	clock := func() time.Time { return at }
	verifier := identity.NewVerifier(identity.NewResolver(func(context.Context, string, int64) ([]byte, error) { return boreal.document(), nil }, clock), known{}, clock)
	header := map[string]any{"alg": "ES256", "kid": string(did) + "#1"}
	claims := map[string]any{"iss": did, "sub": did, "aud": own, "jti": "1", "iat": at.Unix(), "exp": at.Unix() + 60}
	if _, _, err := verifier.Verify(t.Context(), forger.sign(t, header, claims), own); err == nil || !strings.Contains(err.Error(), "token.signature") {
		t.Errorf("forged: %v", err)
	}
	if _, _, err := verifier.Verify(t.Context(), boreal.sign(t, header, claims), own); err != nil {
		t.Errorf("the true one after it: %v", err)
	}
}

func TestABearerTokenStandsInOneHeaderBehindOneWord(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values []string
		want   string
	}{
		"as it should be":     {[]string{"Bearer a.b.c"}, "a.b.c"},
		"in small letters":    {[]string{"bearer a.b.c"}, "a.b.c"},
		"no header":           {nil, ""},
		"two headers":         {[]string{"Bearer a.b.c", "Bearer a.b.c"}, ""},
		"no word":             {[]string{"a.b.c"}, ""},
		"another word":        {[]string{"Basic a.b.c"}, ""},
		"nothing behind it":   {[]string{"Bearer "}, ""},
		"a longer word":       {[]string{"Bearers a.b.c"}, ""},
		"far too much":        {[]string{"Bearer " + strings.Repeat("a", identity.MaxToken+1)}, ""},
		"a tab for the blank": {[]string{"Bearer\ta.b.c"}, ""},
	} {
		if got, err := identity.Bearer(tt.values); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
