package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/identity"
)

// login is an identity provider: keys that sign, and documents at its addresses. Its tokens are made by hand, so that they can be wrong.
type login struct {
	issuer string

	mu      sync.Mutex
	keys    map[string]crypto.Signer // by id
	extra   []map[string]any         // further members of the set
	down    bool
	fetched map[string]int
	docs    map[string]any // what is served instead
}

var loginTime = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// one RSA key for all tests: making one takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newLogin(t testing.TB, issuer string) *login {
	t.Helper()
	l := &login{issuer: issuer, keys: map[string]crypto.Signer{"rs": rsaKey()}, fetched: map[string]int{}, docs: map[string]any{}}
	for id, curve := range map[string]elliptic.Curve{"es": elliptic.P256(), "es384": elliptic.P384(), "p521": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		l.keys[id] = k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.keys["ed"] = ed
	return l
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwkOf(id string, key crypto.PublicKey) map[string]any {
	out := map[string]any{"kid": id}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		n := (k.Curve.Params().BitSize + 7) / 8
		out["kty"], out["crv"], out["x"], out["y"] = "EC", k.Curve.Params().Name, b64(k.X.FillBytes(make([]byte, n))), b64(k.Y.FillBytes(make([]byte, n)))
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", b64(k)
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	}
	return out
}

// fetch is what the guarded client would do.
func (l *login) fetch(_ context.Context, url string, limit int64) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetched[url]++
	if l.down {
		return nil, errors.New("unreachable")
	}
	doc, ok := l.docs[url]
	switch {
	case ok:
	case url == l.issuer+"/.well-known/openid-configuration":
		doc = map[string]any{"issuer": l.issuer, "jwks_uri": l.issuer + "/keys", "token_endpoint": l.issuer + "/token"}
	case url == l.issuer+"/keys":
		set := l.extra
		for id, k := range l.keys {
			set = append(set, jwkOf(id, k.Public()))
		}
		doc = map[string]any{"keys": set}
	default:
		return nil, fmt.Errorf("nothing at %s", url)
	}
	raw, err := json.Marshal(doc)
	if err == nil && int64(len(raw)) > limit {
		err = errors.New("too long")
	}
	return raw, err
}

func (l *login) calls(url string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fetched[url]
}

func (l *login) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// claims of a good token.
func (l *login) claims() map[string]any {
	n := loginTime.Unix()
	return map[string]any{"iss": l.issuer, "sub": "u-1", "aud": "sluice", "iat": n - 10, "nbf": n - 10, "exp": n + 300, "realm": map[string]any{"roles": []string{"staff", "sluice-ops"}}}
}

func with(claims map[string]any, pairs ...any) map[string]any {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(claims, pairs[i].(string))
			continue
		}
		claims[pairs[i].(string)] = pairs[i+1]
	}
	return claims
}

func (l *login) header(kid, alg string) map[string]any {
	return map[string]any{"alg": alg, "kid": kid, "typ": "at+jwt", "x5t": "thumbprint"}
}

// sign makes a token with the key of the id, whatever the header says.
func (l *login) sign(t testing.TB, kid string, header, claims map[string]any) string {
	t.Helper()
	h, err1 := json.Marshal(header)
	c, err2 := json.Marshal(claims)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	input := b64(h) + "." + b64(c)
	return input + "." + b64(rawSign(t, l.keys[kid], fmt.Sprint(header["alg"]), []byte(input)))
}

func rawSign(t testing.TB, key crypto.Signer, alg string, input []byte) []byte {
	t.Helper()
	var out []byte
	var err error
	switch k := key.(type) {
	case ed25519.PrivateKey:
		out = ed25519.Sign(k, input)
	case *rsa.PrivateKey:
		sum := sha256.Sum256(input)
		if alg == "PS256" {
			out, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			out, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
		}
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(input)
		digest := sum[:]
		if k.Curve == elliptic.P384() {
			long := sha512.Sum384(input)
			digest = long[:]
		}
		r, s, failed := ecdsa.Sign(rand.Reader, k, digest)
		n := (k.Curve.Params().BitSize + 7) / 8
		out, err = append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...), failed
	default:
		t.Fatalf("no key of type %T", key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (l *login) provider() identity.Provider {
	return identity.Provider{Issuer: l.issuer, Audience: "sluice", Beside: []string{"account"},
		Roles:        identity.Mapping{Claim: "/realm/roles", Values: map[string]string{"sluice-ops": "operator", "sluice-view": "reader"}},
		Participants: identity.Mapping{Claim: "companies", Values: map[string]string{"aurora-team": "aurora", "platform": identity.Everywhere}}}
}

func users(l *login, now func() time.Time, more ...identity.Provider) *identity.Users {
	return identity.NewUsers(l.fetch, now, append([]identity.Provider{l.provider()}, more...))
}

func still() time.Time { return loginTime }

const issuer = "https://login.aurora.example/realms/staff"

func TestATokenOfAnIdentityProviderSaysWhoCallsAndAsWhat(t *testing.T) {
	t.Parallel()
	l := newLogin(t, issuer)
	u := users(l, still)
	for _, tt := range []struct{ alg, kid string }{{"ES256", "es"}, {"ES384", "es384"}, {"EdDSA", "ed"}, {"RS256", "rs"}, {"PS256", "rs"}} {
		got, err := u.Verify(t.Context(), l.sign(t, tt.kid, l.header(tt.kid, tt.alg), with(l.claims(), "companies", []string{"aurora-team", "unlisted"})))
		if err != nil {
			t.Errorf("%s: %v", tt.alg, err)
			continue
		}
		want := identity.User{ID: got.ID, Actor: "oidc:login.aurora.example/realms/staff#u-1", Roles: []string{"operator"}, Participants: []string{"aurora"},
			Expires: loginTime.Add(330 * time.Second)}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" || len(got.ID) != 64 {
			t.Errorf("%s (-want +got):\n%s", tt.alg, diff)
		}
	}
	if n := l.calls(issuer + "/keys"); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
}

func TestWhatTheClaimsMean(t *testing.T) {
	t.Parallel()
	l := newLogin(t, issuer)
	plain, fixed := l.provider(), l.provider()
	plain.Issuer, plain.Keys = "https://plain.example", issuer+"/keys"
	plain.Roles.Claim, plain.Participants = "https://sluice.example/roles", identity.Mapping{Claim: "/org/slugs"}
	fixed.Issuer, fixed.Keys, fixed.Participants, fixed.Everyone = "https://fixed.example", issuer+"/keys", identity.Mapping{}, []string{"boreal"}
	u := users(l, still, plain, fixed)
	for name, tt := range map[string]struct {
		claims map[string]any
		roles  []string
		slugs  []string
		whole  bool
	}{
		"several roles, each once":                {with(l.claims(), "realm", map[string]any{"roles": []string{"sluice-view", "sluice-ops", "sluice-view"}}), []string{"reader", "operator"}, nil, false},
		"roles as words":                          {with(l.claims(), "realm", map[string]any{"roles": "openid sluice-view"}), []string{"reader"}, nil, false},
		"the whole process, by the table alone":   {with(l.claims(), "companies", "platform"), []string{"operator"}, nil, true},
		"a star in the token is nothing":          {with(l.claims(), "companies", "*"), []string{"operator"}, nil, false},
		"a slug that the table does not give":     {with(l.claims(), "companies", "aurora"), []string{"operator"}, nil, false},
		"an audience beside ours that is listed":  {with(l.claims(), "aud", []string{"account", "sluice"}), []string{"operator"}, nil, false},
		"a claim whose name is a URL, and slugs":  {with(l.claims(), "iss", "https://plain.example", "https://sluice.example/roles", []string{"sluice-view"}, "org", map[string]any{"slugs": []string{"aurora", "cobalt"}}), []string{"reader"}, []string{"aurora", "cobalt"}, false},
		"a star is no slug without a table":       {with(l.claims(), "iss", "https://plain.example", "https://sluice.example/roles", []string{"sluice-view"}, "org", map[string]any{"slugs": []string{"*"}}), []string{"reader"}, []string{"*"}, false},
		"everybody of a company of its own":       {with(l.claims(), "iss", "https://fixed.example"), []string{"operator"}, []string{"boreal"}, false},
		"a token without a type, and without nbf": {with(l.claims(), "nbf", nil), []string{"operator"}, nil, false},
		"a clock that is 29 s behind":             {with(l.claims(), "iat", loginTime.Unix()+29, "nbf", loginTime.Unix()+29), []string{"operator"}, nil, false},
		"a token that ended 29 s ago":             {with(l.claims(), "exp", loginTime.Unix()-29, "iat", loginTime.Unix()-300), []string{"operator"}, nil, false},
	} {
		header := l.header("es", "ES256")
		if strings.Contains(name, "without a type") {
			delete(header, "typ")
		}
		got, err := u.Verify(t.Context(), l.sign(t, "es", header, tt.claims))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if fmt.Sprint(got.Roles, got.Participants, got.Whole) != fmt.Sprint(tt.roles, tt.slugs, tt.whole) {
			t.Errorf("%s: %v %v %v, want %v %v %v", name, got.Roles, got.Participants, got.Whole, tt.roles, tt.slugs, tt.whole)
		}
	}
}

// Each is good but for one thing, and the operator is told which.
func TestATokenOfAUserIsRefused(t *testing.T) {
	t.Parallel()
	l, other := newLogin(t, issuer), newLogin(t, "https://login.boreal.example")
	second := other.provider()
	u := identity.NewUsers(func(ctx context.Context, url string, limit int64) ([]byte, error) {
		if strings.HasPrefix(url, other.issuer) {
			return other.fetch(ctx, url, limit)
		}
		return l.fetch(ctx, url, limit)
	}, still, []identity.Provider{l.provider(), second})
	good := func() string { return l.sign(t, "es", l.header("es", "ES256"), l.claims()) }
	if _, err := u.Verify(t.Context(), good()); err != nil {
		t.Fatal(err)
	}
	claim := func(pairs ...any) string { return l.sign(t, "es", l.header("es", "ES256"), with(l.claims(), pairs...)) }
	head := func(pairs ...any) string { return l.sign(t, "es", with(l.header("es", "ES256"), pairs...), l.claims()) }
	parts := strings.Split(good(), ".")
	public, err := x509.MarshalPKIXPublicKey(l.keys["rs"].Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, alg string) string {
		h, _ := json.Marshal(l.header("rs", alg))
		c, _ := json.Marshal(l.claims())
		input := b64(h) + "." + b64(c)
		m := hmac.New(sha256.New, key)
		m.Write([]byte(input))
		return input + "." + b64(m.Sum(nil))
	}
	none, _ := json.Marshal(map[string]any{"alg": "none", "kid": "es"})
	n := loginTime.Unix()
	for _, tt := range []struct{ name, token, step string }{
		{"algorithm confusion: an RSA algorithm for an elliptic key", l.sign(t, "rs", l.header("es", "RS256"), l.claims()), "oidc.algorithm"},
		{"algorithm confusion: ES256 for a key on P-384", l.sign(t, "es384", l.header("es384", "ES256"), l.claims()), "oidc.algorithm"},
		{"algorithm confusion: a key on P-521", l.sign(t, "p521", l.header("p521", "ES256"), l.claims()), "key-unknown"},
		{"HMAC with the public key", mac(public, "HS256"), "token.syntax"},
		{"HMAC with the public key under an asymmetric name", mac(public, "RS256"), "oidc.signature"},
		{"none", b64(none) + "." + parts[1] + ".", "token.syntax"},
		{"none with something for a signature", b64(none) + "." + parts[1] + ".AAAA", "token.syntax"},
		{"an ECDSA signature of zeros", parts[0] + "." + parts[1] + "." + b64(make([]byte, 64)), "oidc.signature"},
		{"wrong audience", claim("aud", "another"), "oidc.audience"},
		{"an audience that contains ours", claim("aud", "sluice-test"), "oidc.audience"},
		{"an audience beside ours that is not listed", claim("aud", []string{"sluice", "another"}), "oidc.audience"},
		{"no audience", claim("aud", nil), "oidc.audience"},
		{"an empty list of audiences", claim("aud", []string{}), "oidc.audience"},
		{"wrong issuer", claim("iss", "https://login.cobalt.example"), "oidc.issuer"},
		{"an issuer that ours is a prefix of", claim("iss", issuer+".evil.example"), "oidc.issuer"},
		{"an issuer with ours as its user", claim("iss", "https://login.aurora.example@evil.example/realms/staff"), "oidc.issuer"},
		{"our issuer with a slash at its end", claim("iss", issuer+"/"), "oidc.issuer"},
		{"our issuer in capitals", claim("iss", strings.ToUpper(issuer)), "oidc.issuer"},
		{"no issuer", claim("iss", nil), "oidc.issuer"},
		{"expired", claim("exp", n-31, "iat", n-300), "token.expired"},
		{"not yet valid", claim("nbf", n+31), "token.early"},
		{"issued in the future", claim("iat", n+31), "token.early"},
		{"no end", claim("exp", nil), "token.time"},
		{"no beginning", claim("iat", nil), "token.time"},
		{"a life of two days", claim("exp", n+2*24*3600), "token.life"},
		{"a key in the header", head("jwk", jwkOf("es", l.keys["es"].Public())), "token.syntax"},
		{"the address of a key in the header", head("jku", issuer+"/keys"), "token.syntax"},
		{"a certificate in the header", head("x5c", []string{"AAAA"}), "token.syntax"},
		{"the address of a certificate in the header", head("x5u", issuer+"/cert"), "token.syntax"},
		{"a critical extension", head("crit", []string{"exp"}), "token.syntax"},
		{"an unencoded payload", head("b64", false), "token.syntax"},
		{"no key id", head("kid", ""), "oidc.kid"},
		{"the key of another provider", other.sign(t, "es", l.header("es", "ES256"), l.claims()), "oidc.signature"},
		{"the key id of another provider", other.sign(t, "es", other.header("unknown", "ES256"), l.claims()), "key-unknown"},
		{"another provider in the name of ours", other.sign(t, "es", other.header("es", "ES256"), with(other.claims(), "iss", issuer)), "oidc.signature"},
		{"missing role", claim("realm", nil), "oidc.role"},
		{"unknown role", claim("realm", map[string]any{"roles": []string{"operator"}}), "oidc.role"},
		{"a role in other letters", claim("realm", map[string]any{"roles": []string{"Sluice-Ops"}}), "oidc.role"},
		{"roles that are numbers", claim("realm", map[string]any{"roles": []int{1}}), "oidc.role"},
		{"roles somewhere else", claim("realm", "roles"), "oidc.role"},
		{"too many roles", claim("realm", map[string]any{"roles": make([]string, 300)}), "oidc.role"},
		{"companies that are none", claim("companies", 7), "oidc.participants"},
		{"no subject", claim("sub", nil), "oidc.subject"},
		{"a subject with a line break", claim("sub", "u-1\nactor=root"), "oidc.subject"},
		{"a subject of 256 bytes", claim("sub", strings.Repeat("x", 256)), "oidc.subject"},
		{"an ID token", claim("at_hash", "x"), "oidc.class"},
		{"a presentation", claim("vp", map[string]any{}), "oidc.class"},
		{"a logout token", head("typ", "logout+jwt"), "oidc.type"},
		{"a self-issued token of the dataspace", claim("iss", "did:web:login.aurora.example"), "oidc.issuer"},
		{"a claim twice", parts[0] + "." + b64([]byte(`{"iss":"`+issuer+`","iss":"x"}`)) + "." + parts[2], "token.syntax"},
		{"oversized", claim("padding", strings.Repeat("x", 20<<10)), "token.syntax"},
		{"four parts", good() + ".AAAA", "token.syntax"},
		{"a changed payload", parts[0] + "." + b64([]byte(strings.Replace(string(unb64(t, parts[1])), "u-1", "u-2", 1))) + "." + parts[2], "oidc.signature"},
		{"padding in base64", parts[0] + "=." + parts[1] + "." + parts[2], "token.syntax"},
		{"nothing", "..", "token.syntax"},
	} {
		got, err := u.Verify(t.Context(), tt.token)
		if err == nil {
			t.Errorf("%s: let in as %+v", tt.name, got)
		} else if !strings.Contains(err.Error(), tt.step) {
			t.Errorf("%s: %v, want the step %s", tt.name, err, tt.step)
		}
	}
}

func unb64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnAlgorithmThatTheOperatorTookOffIsRefused(t *testing.T) {
	t.Parallel()
	l := newLogin(t, issuer)
	p := l.provider()
	p.Algorithms = []string{"ES256"}
	u := identity.NewUsers(l.fetch, still, []identity.Provider{p})
	if _, err := u.Verify(t.Context(), l.sign(t, "es", l.header("es", "ES256"), l.claims())); err != nil {
		t.Error(err)
	}
	if _, err := u.Verify(t.Context(), l.sign(t, "rs", l.header("rs", "RS256"), l.claims())); err == nil || !strings.Contains(err.Error(), "oidc.algorithm") {
		t.Errorf("RS256: %v", err)
	}
}

// A set may hold keys for other things: they open nothing, and they do not make the rest useless.
func TestKeysOfASetThatOpenNothing(t *testing.T) {
	t.Parallel()
	l := newLogin(t, issuer)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	sealing := jwkOf("sealing", l.keys["rs"].Public())
	sealing["use"] = "enc"
	pinned := jwkOf("pinned", l.keys["rs"].Public())
	pinned["alg"] = "PS256"
	signing := jwkOf("signing", l.keys["es"].Public())
	signing["key_ops"] = []string{"sign"}
	private := jwkOf("private", l.keys["ed"].Public())
	private["d"] = b64(l.keys["ed"].(ed25519.PrivateKey).Seed())
	l.keys["weak"] = small
	l.extra = []map[string]any{sealing, pinned, signing, private, jwkOf("twice", l.keys["es"].Public()), jwkOf("twice", l.keys["es384"].Public()),
		{"kty": "oct", "kid": "shared", "k": "AAAA"}, {"kty": "of tomorrow", "kid": "new"}, jwkOf("", l.keys["es"].Public())}
	u := users(l, still)
	for _, tt := range []struct{ kid, key, alg, step string }{
		{"es", "es", "ES256", ""},
		{"pinned", "rs", "PS256", ""},
		{"pinned", "rs", "RS256", "oidc.algorithm"},
		{"sealing", "rs", "RS256", "key-unknown"},
		{"signing", "es", "ES256", "key-unknown"},
		{"private", "ed", "EdDSA", "key-unknown"},
		{"twice", "es", "ES256", "key-unknown"},
		{"shared", "es", "ES256", "key-unknown"},
		{"weak", "weak", "RS256", "key-unknown"},
	} {
		_, err := u.Verify(t.Context(), l.sign(t, tt.key, l.header(tt.kid, tt.alg), l.claims()))
		if tt.step == "" && err != nil || tt.step != "" && (err == nil || !strings.Contains(err.Error(), tt.step)) {
			t.Errorf("%s, %s: %v, want %q", tt.kid, tt.alg, err, tt.step)
		}
	}
}

func TestARevokedKeyIsRefusedWithinTheLifeOfTheSet(t *testing.T) {
	t.Parallel()
	l, now := newLogin(t, issuer), loginTime
	u := users(l, func() time.Time { return now })
	token := l.sign(t, "es", l.header("es", "ES256"), with(l.claims(), "exp", loginTime.Unix()+3600))
	if _, err := u.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	l.change(func() { delete(l.keys, "es") })
	now = now.Add(10*time.Minute - time.Second)
	if _, err := u.Verify(t.Context(), token); err != nil {
		t.Errorf("while the set is fresh: %v", err)
	}
	now = now.Add(time.Second)
	if _, err := u.Verify(t.Context(), token); !errors.Is(err, identity.ErrUnknownKey) {
		t.Errorf("a key that was taken out of the set: %v", err)
	}
}

func TestANewKeyIsFoundAtOnceAndInventedIdsCostOneFetchInTenSeconds(t *testing.T) {
	t.Parallel()
	l, now := newLogin(t, issuer), loginTime
	u := users(l, func() time.Time { return now })
	if _, err := u.Verify(t.Context(), l.sign(t, "es", l.header("es", "ES256"), l.claims())); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := u.Verify(t.Context(), l.sign(t, "es", l.header(fmt.Sprint("invented-", i), "ES256"), l.claims())); !errors.Is(err, identity.ErrUnknownKey) {
			t.Fatalf("an invented key: %v", err)
		}
	}
	if n := l.calls(issuer + "/keys"); n != 1 {
		t.Errorf("%d fetches for 50 invented ids within a moment, want the first one only", n)
	}
	now = now.Add(10 * time.Second)
	l.change(func() { l.keys["new"] = l.keys["es384"] })
	if _, err := u.Verify(t.Context(), l.sign(t, "new", l.header("new", "ES384"), l.claims())); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if n := l.calls(issuer + "/keys"); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestAProviderThatCannotBeReachedLetsNobodyInLongerThanItsKeysLive(t *testing.T) {
	t.Parallel()
	l, now := newLogin(t, issuer), loginTime
	l.down = true
	u := users(l, func() time.Time { return now })
	token := l.sign(t, "es", l.header("es", "ES256"), with(l.claims(), "exp", loginTime.Unix()+3600))
	for range 5 {
		if _, err := u.Verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "oidc.keys") {
			t.Errorf("nothing was ever fetched: %v", err)
		}
	}
	if n := l.calls(issuer + "/.well-known/openid-configuration"); n != 1 {
		t.Errorf("%d fetches of what is not there, want 1", n)
	}
	now = now.Add(10 * time.Second)
	l.change(func() { l.down = false })
	if _, err := u.Verify(t.Context(), token); err != nil {
		t.Fatalf("it is back: %v", err)
	}
	l.change(func() { l.down = true })
	now = now.Add(5 * time.Minute)
	if _, err := u.Verify(t.Context(), token); err != nil {
		t.Errorf("down for five minutes: %v", err)
	}
	if _, err := u.Verify(t.Context(), l.sign(t, "es", l.header("invented", "ES256"), with(l.claims(), "exp", loginTime.Unix()+3600))); err == nil {
		t.Error("an invented key")
	}
	if _, err := u.Verify(t.Context(), token); err != nil {
		t.Errorf("a fetch for somebody's invented key took the good ones away: %v", err)
	}
	now = now.Add(5 * time.Minute)
	if _, err := u.Verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "oidc.keys") {
		t.Errorf("down for longer than keys live: %v", err)
	}
}

func TestADiscoveryDocumentCannotLeadElsewhere(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]any{
		"to a private address":      map[string]any{"issuer": issuer, "jwks_uri": "http://169.254.169.254/latest/meta-data"},
		"to another host":           map[string]any{"issuer": issuer, "jwks_uri": "https://evil.example/keys"},
		"to another port":           map[string]any{"issuer": issuer, "jwks_uri": "https://login.aurora.example:8443/keys"},
		"to plain HTTP":             map[string]any{"issuer": issuer, "jwks_uri": "http://login.aurora.example/keys"},
		"by a user in the address":  map[string]any{"issuer": issuer, "jwks_uri": "https://x@login.aurora.example/keys"},
		"by being another issuer's": map[string]any{"issuer": issuer + "/", "jwks_uri": issuer + "/keys"},
		"by naming none":            map[string]any{"jwks_uri": issuer + "/keys"},
		"by being no object":        []string{"x"},
		"by having no keys":         map[string]any{"issuer": issuer},
	} {
		l := newLogin(t, issuer)
		l.docs[issuer+"/.well-known/openid-configuration"] = doc
		_, err := users(l, still).Verify(t.Context(), l.sign(t, "es", l.header("es", "ES256"), l.claims()))
		if err == nil || !strings.Contains(err.Error(), "oidc.keys: discovery") {
			t.Errorf("%s: %v", name, err)
		}
		if len(l.fetched) != 1 {
			t.Errorf("%s: %v was fetched, want discovery alone", name, l.fetched)
		}
	}
}

func TestAKeySetThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	many := make([]map[string]any, 65)
	for i := range many {
		many[i] = map[string]any{"kty": "x", "kid": fmt.Sprint(i)}
	}
	for name, doc := range map[string]any{
		"no keys": map[string]any{"keys": []any{}}, "too many keys": map[string]any{"keys": many}, "no object": "x",
		"oversized": map[string]any{"keys": []any{}, "padding": strings.Repeat("x", 300<<10)},
	} {
		l := newLogin(t, issuer)
		l.docs[issuer+"/keys"] = doc
		if _, err := users(l, still).Verify(t.Context(), l.sign(t, "es", l.header("es", "ES256"), l.claims())); err == nil || !strings.Contains(err.Error(), "oidc.keys") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzUserToken(f *testing.F) {
	l := newLogin(f, issuer)
	u := users(l, still)
	good := l.sign(f, "es", l.header("es", "ES256"), l.claims())
	f.Add(good)
	f.Add("..")
	f.Add(strings.Replace(good, ".", "..", 1))
	f.Fuzz(func(t *testing.T, token string) {
		got, err := u.Verify(t.Context(), token)
		if err == nil && (token != good && strings.Split(token, ".")[1] != strings.Split(good, ".")[1] || got.Actor == "" || len(got.Roles) == 0) {
			t.Errorf("%q was accepted as %+v", token, got)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	l := newLogin(f, issuer)
	raw, err := l.fetch(f.Context(), issuer+"/keys", 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQ","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, set []byte) {
		for id, algorithms := range identity.ParseKeySet(set) {
			if id == "" || len(algorithms) == 0 {
				t.Errorf("%s: a key %q for %v", set, id, algorithms)
			}
			for _, alg := range algorithms {
				if !strings.Contains("ES256 EdDSA RS256 PS256 ES384", alg) {
					t.Errorf("%s: %q for %s", set, id, alg)
				}
			}
		}
	})
}
