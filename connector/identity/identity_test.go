package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store/embedded"
)

const (
	boreal participant.DID = "did:web:boreal.example:boreal"
	cobalt participant.DID = "did:web:cobalt.example:cobalt"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

type world struct {
	keys     map[participant.DID]*keyring.Ring
	verifier *identity.Verifier
	again    func() *identity.Verifier // another one over the same store
	fetched  *atomic.Int32
}

func setup(t testing.TB) world {
	t.Helper()
	w := world{keys: map[participant.DID]*keyring.Ring{}, fetched: new(atomic.Int32)}
	documents := map[string][]byte{}
	for _, did := range []participant.DID{boreal, cobalt} {
		k, err := keyring.Draw("company", rand.Reader, time.Now)
		check(t, err)
		w.keys[did] = k
		doc, err := identity.NewDocument(did, k, []identity.Service{{ID: string(did) + "#dsp", Type: "DataService", Endpoint: "https://boreal.example/x/.well-known/dspace-version"}})
		check(t, err)
		_, url, err := identity.ParseDID(string(did))
		check(t, err)
		documents[url] = doc
	}
	store, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	t.Cleanup(func() { _ = store.Close() })
	resolver := identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) {
		w.fetched.Add(1)
		doc, ok := documents[url]
		if !ok {
			return nil, fmt.Errorf("nothing at %s", url)
		}
		return doc, nil
	}, func() time.Time { return now })
	w.again = func() *identity.Verifier {
		return identity.NewVerifier(resolver, store, func() time.Time { return now })
	}
	w.verifier = w.again()
	return w
}

// accept verifies a token and uses it up, under a context that carries it, as a server does.
func (w world) accept(t *testing.T, token string) (participant.Peer, error) {
	peer, used, err := w.verifier.Verify(t.Context(), token, cobalt)
	if err == nil {
		err = w.verifier.Settle(commit.WithUsed(t.Context(), used), used)
	}
	return peer, err
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFreshTokenProvesItsSenderOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	token, err := identity.IssueToken(t.Context(), boreal, cobalt, w.keys[boreal], "access", now, rand.Reader)
	check(t, err)
	peer, err := w.accept(t, token)
	check(t, err)
	if peer.DID != boreal || peer.AccessToken != "access" || len(peer.Origins) != 1 {
		t.Errorf("peer %+v", peer)
	}
	if _, err := w.accept(t, token); err == nil || !strings.Contains(err.Error(), "token.replayed") {
		t.Errorf("the second time: %v", err)
	}
	again := w.again() // the next process
	_, used, err := again.Verify(t.Context(), token, cobalt)
	check(t, err)
	if err := again.Settle(t.Context(), used); err == nil || !strings.Contains(err.Error(), "token.replayed") {
		t.Errorf("after a restart: %v", err)
	}
}

func TestOfAThousandCopiesOneIsAccepted(t *testing.T) {
	t.Parallel()
	w := setup(t)
	token, err := identity.IssueToken(t.Context(), boreal, cobalt, w.keys[boreal], "", now, rand.Reader)
	check(t, err)
	var accepted atomic.Int32
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			if _, err := w.accept(t, token); err == nil {
				accepted.Add(1)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 1 {
		t.Errorf("accepted %d times", accepted.Load())
	}
	if n := w.fetched.Load(); n != 1 {
		t.Errorf("the document was fetched %d times, want once", n)
	}
}

// forge signs any header and payload with any key.
func forge(t *testing.T, keys *keyring.Ring, header, payload string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := sign(t, keys, []byte(input))
	check(t, err)
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestEachStepOfVerificationRefuses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	kid := string(boreal) + "#" + w.keys[boreal].Public(identity.UseToken)[0].ID
	issue := string(boreal) + "#" + w.keys[boreal].Public(identity.UseIssue)[0].ID
	header := func(changes ...string) string {
		h := map[string]any{"alg": "ES256", "kid": kid, "typ": "JWT"}
		return changed(t, h, changes)
	}
	n := 0
	payload := func(changes ...string) string {
		n++
		p := map[string]any{"iss": boreal, "sub": boreal, "aud": cobalt, "jti": fmt.Sprint("id-", n), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 300}
		return changed(t, p, changes)
	}
	at := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	good := forge(t, w.keys[boreal], header(), payload())
	if _, err := w.accept(t, good); err != nil {
		t.Fatalf("the token that the others are made from: %v", err)
	}
	own, other := w.keys[boreal], w.keys[cobalt]
	parts, used := strings.Split(forge(t, own, header(), payload()), "."), strings.Split(good, ".")
	for name, tt := range map[string]struct{ token, want string }{
		"used, and not worth a look at its signature": {used[0] + "." + used[1] + "." + used[2][:40], "token.replayed"},
		"unsigned":                        {forge(t, own, header("alg", `"none"`), payload()), "token.syntax: algorithm \"none\""},
		"signed with a secret":            {forge(t, own, header("alg", `"HS256"`), payload()), "token.syntax: algorithm \"HS256\""},
		"signed by another algorithm":     {forge(t, own, header("alg", `"EdDSA"`), payload()), "token.signature: the header names EdDSA"},
		"signed with a foreign key":       {forge(t, other, header(), payload()), "token.signature: could not verify"},
		"a key of another DID":            {forge(t, other, header("kid", `"`+string(cobalt)+"#"+other.Public(identity.UseToken)[0].ID+`"`), payload()), "token.kid: its DID is not the issuer"},
		"a key for another purpose":       {forge(t, own, header("kid", `"`+issue+`"`), payload()), "not listed under capabilityInvocation"},
		"a key that is not there":         {forge(t, own, header("kid", `"`+string(boreal)+`#none"`), payload()), "token.key-unknown"},
		"no key id":                       {forge(t, own, header("kid", ""), payload()), "token.kid: want an absolute DID URL"},
		"a relative key id":               {forge(t, own, header("kid", `"#x"`), payload()), "token.kid: its DID is not the issuer"},
		"a key in the header":             {forge(t, own, header("jwk", `{"kty":"EC"}`), payload()), "token.syntax: header member jwk"},
		"a key address":                   {forge(t, own, header("jku", `"https://dusk.example"`), payload()), "token.syntax: header member jku"},
		"a critical extension":            {forge(t, own, header("crit", `["b64"]`), payload()), "token.syntax: header member crit"},
		"another encoding":                {forge(t, own, header("b64", `false`), payload()), "token.syntax: header member b64"},
		"a compressed payload":            {forge(t, own, header("zip", `"DEF"`), payload()), "token.syntax: header member zip"},
		"a header member twice":           {forge(t, own, `{"alg":"ES256","alg":"none","kid":"`+kid+`"}`, payload()), "token.syntax: header: /alg"},
		"a payload member twice":          {forge(t, own, header(), strings.Replace(payload(), `{`, `{"iss":"did:web:dusk.example",`, 1)), "token.syntax: payload: /iss"},
		"an algorithm in capitals":        {forge(t, own, `{"ALG":"ES256","kid":"`+kid+`"}`, payload()), "token.syntax: header: /ALG"},
		"an issuer in capitals":           {forge(t, own, header(), payload("iss", "", "ISS", `"`+string(boreal)+`"`)), "token.syntax: payload: /ISS"},
		"an issuer with long s":           {forge(t, own, header(), payload("iss", "", "iſſ", `"`+string(boreal)+`"`)), "token.syntax: payload: /iſſ"},
		"for somebody else":               {forge(t, own, header(), payload("aud", `"did:web:dusk.example:dusk"`)), "token.audience"},
		"for two":                         {forge(t, own, header(), payload("aud", `["`+string(cobalt)+`","did:web:dusk.example"]`)), "token.audience"},
		"for nobody":                      {forge(t, own, header(), payload("aud", "")), "token.audience"},
		"issuer and subject differ":       {forge(t, own, header(), payload("sub", `"`+string(cobalt)+`"`)), "token.subject"},
		"no id":                           {forge(t, own, header(), payload("jti", "")), "token.jti"},
		"expired":                         {forge(t, own, header(), payload("exp", at(-31*time.Second), "iat", at(-5*time.Minute), "nbf", at(-5*time.Minute))), "token.expired"},
		"never expiring":                  {forge(t, own, header(), payload("exp", "")), "token.time"},
		"no moment of issue":              {forge(t, own, header(), payload("iat", "")), "token.time"},
		"living too long":                 {forge(t, own, header(), payload("exp", at(11*time.Minute))), "token.life"},
		"issued in the future":            {forge(t, own, header(), payload("iat", at(time.Minute))), "token.early"},
		"not valid yet":                   {forge(t, own, header(), payload("nbf", at(time.Minute))), "token.early"},
		"times as text":                   {forge(t, own, header(), payload("exp", `"`+now.Add(time.Minute).Format(time.RFC3339)+`"`)), "token.syntax: payload"},
		"a key of its own in the payload": {forge(t, own, header(), payload("sub_jwk", `{}`)), "token.syntax: claim sub_jwk"},
		"a presentation":                  {forge(t, own, header(), payload("vp", `{}`)), "token.syntax: claim vp"},
		"a credential":                    {forge(t, own, header(), payload("vc", `{}`)), "token.syntax: claim vc"},
		"a changed payload":               {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(payload())) + "." + parts[2], "token.signature: could not verify"},
		"no signature":                    {parts[0] + "." + parts[1] + ".", "token.syntax: part 3"},
		"a signature that is too short":   {parts[0] + "." + parts[1] + "." + parts[2][:40], "token.signature: could not verify"},
		"four parts":                      {good + ".x", "token.syntax: want a compact JWS"},
		"padding":                         {good + "=", "token.syntax: part 3"},
		"too long":                        {good + strings.Repeat("A", identity.MaxToken), "token.syntax: want a compact JWS"},
		"a JSON serialization":            {`{"payload":"` + parts[1] + `","signatures":[]}`, "token.syntax: want a compact JWS"},
		"nothing":                         {"", "token.syntax: want a compact JWS"},
	} {
		if peer, err := w.accept(t, tt.token); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v; want %s", name, peer.DID, err, tt.want)
		}
	}
}

// changed applies pairs of member and JSON value; an empty value takes the member out.
func changed(t *testing.T, m map[string]any, changes []string) string {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			delete(m, changes[i])
			continue
		}
		m[changes[i]] = json.RawMessage(changes[i+1])
	}
	b, err := json.Marshal(m)
	check(t, err)
	return string(b)
}

func TestDIDsAreReadStrictly(t *testing.T) {
	t.Parallel()
	for did, want := range map[string]string{
		"did:web:example.com":               "https://example.com/.well-known/did.json",
		"did:web:example.com%3A8443":        "https://example.com:8443/.well-known/did.json",
		"did:web:example.com:user:alice":    "https://example.com/user/alice/did.json",
		"did:web:example.com:a%20b%2Bc":     "",
		"did:web:localhost%3A8083:holder":   "https://localhost:8083/holder/did.json",
		"did:web:example.com:a%2Bb:%28c%29": "https://example.com/a+b/%28c%29/did.json",
		"did:web:xn--bcher-kva.example":     "https://xn--bcher-kva.example/.well-known/did.json",
	} {
		if _, url, err := identity.ParseDID(did); (err != nil) != (want == "") || url != want {
			t.Errorf("%s: %s, %v; want %s", did, url, err, want)
		}
	}
	for _, did := range []string{"", "did:web:", "did:key:z6Mk", "DID:web:example.com", "did:web:example.com:", "did:web:example.com::x", "did:web:example.com:..",
		"did:web:example.com:a%2Fb", "did:web:example.com:%2e%2e", "did:web:user@example.com", "did:web:127.0.0.1", "did:web:1.2.3.4%3A80", "did:web:example.com%3A0",
		"did:web:example.com%3A99999", "did:web:example.com%3A080", "did:web:example.com/path", "did:web:example.com#f", "did:web:example.com?q", "did:web:ex ample.com",
		"did:web:" + strings.Repeat("a", 600) + ".com", "did:web:.example.com", "did:web:example..com", "did:web:exa%6dple.com"} {
		if _, _, err := identity.ParseDID(did); err == nil {
			t.Errorf("%q was accepted", did)
		}
	}
}

func TestADocumentMustBeTheDIDsOwnAndUnambiguous(t *testing.T) {
	t.Parallel()
	w := setup(t)
	good, err := identity.NewDocument(boreal, w.keys[boreal], nil)
	check(t, err)
	if strings.Contains(string(good), `"d"`) {
		t.Error("the document shows a private key")
	}
	for name, text := range map[string]string{
		"of another DID":      strings.Replace(string(good), `"id":"`+string(boreal)+`"`, `"id":"`+string(cobalt)+`"`, 1),
		"with another owner":  strings.Replace(string(good), `"controller":"`+string(boreal), `"controller":"`+string(cobalt), 1),
		"with a member twice": strings.Replace(string(good), `{`, `{"id":"x",`, 1),
		"in capitals":         strings.Replace(string(good), `"verificationMethod"`, `"VerificationMethod"`, 1),
		"with a Controller":   strings.Replace(string(good), `"controller"`, `"Controller"`, 1),
		"too large":           strings.Replace(string(good), `{`, `{"x":"`+strings.Repeat("x", identity.MaxDocument)+`",`, 1),
		"that is no object":   `[]`,
	} {
		if text == string(good) {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if _, err := identity.ParseDocument(boreal, []byte(text)); err == nil {
			t.Errorf("a document %s was accepted", name)
		}
	}
}

func TestAKeyMustBeMeantForVerifying(t *testing.T) {
	t.Parallel()
	w := setup(t)
	key := w.keys[boreal].Public(identity.UseToken)[0]
	kid := string(boreal) + "#" + key.ID
	document, err := identity.NewDocument(boreal, w.keys[boreal], nil)
	check(t, err)
	for members, want := range map[string]bool{
		``:                                true,
		`"use":"sig",`:                    true,
		`"key_ops":["verify"],`:           true,
		`"key_ops":["sign","verify"],`:    true,
		`"use":"enc",`:                    false,
		`"use":"",`:                       false,
		`"key_ops":["encrypt"],`:          false,
		`"key_ops":[],`:                   false,
		`"use":"sig","key_ops":["sign"],`: false,
	} {
		text := strings.Replace(string(document), `"publicKeyJwk":{`, `"publicKeyJwk":{`+members, 1)
		d, err := identity.ParseDocument(boreal, []byte(text))
		check(t, err)
		if _, err := d.Key(kid, identity.CapabilityInvocation); (err == nil) != want {
			t.Errorf("a key with %s: %v", members, err)
		}
	}
}

func TestSealedThingsOpenOnlyWhereTheyBelong(t *testing.T) {
	t.Parallel()
	w := setup(t)
	v := identity.Vault{Keys: func(p participant.Participant) (identity.Keys, error) { return w.keys[p.DID], nil }, Rand: rand.Reader}
	a, b := participant.Participant{Slug: "boreal", DID: boreal}, participant.Participant{Slug: "cobalt", DID: cobalt}
	sealed, err := v.Seal(a, []byte("secret"))
	check(t, err)
	if plain, err := v.Open(a, sealed); err != nil || string(plain) != "secret" {
		t.Errorf("opened %q, %v", plain, err)
	}
	if _, err := v.Open(b, sealed); err == nil {
		t.Error("another participant opened it")
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := v.Open(a, sealed); err == nil {
		t.Error("a changed one opened")
	}
	one, _ := v.Token(a, "t", 1)
	again, _ := v.Token(a, "t", 1)
	next, _ := v.Token(a, "t", 2)
	if one != again || one == next || len(one) < 40 {
		t.Errorf("tokens %q %q %q", one, again, next)
	}
	c := identity.Cursors{Vault: v}
	token, err := c.Seal(a, page.Key{Created: now, ID: "x"}, "boreal|list")
	check(t, err)
	if key, err := c.Open(a, token, "boreal|list"); err != nil || key.ID != "x" || !key.Created.Equal(now) {
		t.Errorf("cursor %+v, %v", key, err)
	}
	if _, err := c.Open(a, token, "dusk|list"); err == nil {
		t.Error("another caller's cursor opened")
	}
}

func FuzzParseJWT(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.AA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		h, _, err := identity.ParseJWT(token, identity.MaxToken)
		if err == nil && h.Algorithm != "ES256" && h.Algorithm != "EdDSA" {
			t.Errorf("accepted algorithm %q", h.Algorithm)
		}
	})
}

func FuzzParseDID(f *testing.F) {
	for _, did := range []string{"did:web:example.com", "did:web:example.com%3A8443:a:b", "did:web:localhost%3A1:x%20y", "did:web:EXAMPLE.com:%61", "did:web:a:%3A", "did:web:a:b%2Bc"} {
		f.Add(did)
	}
	f.Fuzz(func(t *testing.T, s string) {
		did, address, err := identity.ParseDID(s)
		if err != nil {
			return
		}
		u, err := url.Parse(address)
		if string(did) != s || err != nil || u.String() != address || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			path.Clean(u.Path) != u.Path || !strings.HasSuffix(u.Path, "/did.json") || strings.Count(u.EscapedPath(), "/") != strings.Count(u.Path, "/") {
			t.Fatalf("%q leads to %q, %v", s, address, err)
		}
		// No other DID leads there: written back from its address it is the same, byte by byte.
		again := "did:web:" + strings.Replace(u.Host, ":", "%3A", 1)
		segments := strings.Split(strings.TrimPrefix(strings.TrimSuffix(u.Path, "/did.json"), "/"), "/")
		if len(segments) == 1 && segments[0] == ".well-known" && strings.Count(s, ":") == 2 {
			segments = nil
		}
		for _, segment := range segments {
			again += ":"
			for _, c := range []byte(segment) {
				if strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", c) >= 0 {
					again += string(rune(c))
				} else {
					again += fmt.Sprintf("%%%02X", c)
				}
			}
		}
		if again != s {
			t.Errorf("%q leads to %q, and so does %q", s, address, again)
		}
	})
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"id":"did:web:boreal.example:boreal","verificationMethod":[{"id":"#a","publicKeyJwk":{"kty":"EC"}}],"authentication":["#a",{"id":"#b"}]}`))
	f.Add([]byte(`{"id":"did:web:boreal.example:boreal","verificationMethod":[{"id":"#a","type":"JsonWebKey2020","controller":"did:web:boreal.example:boreal","publicKeyJwk":{"kty":"OKP","crv":"Ed25519",
		"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig"}}],"capabilityInvocation":["#a"],"service":[{"id":"#s","type":"DataService","serviceEndpoint":"https://x.example"},7]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := identity.ParseDocument(boreal, data)
		if err != nil {
			return
		}
		if d.ID != boreal {
			t.Errorf("read as %s", d.ID)
		}
		for _, s := range d.Services {
			if s.Endpoint == "" {
				t.Errorf("a service without endpoint from %s", data)
			}
		}
		if _, err := d.Key("#a", identity.CapabilityInvocation); err == nil {
			t.Errorf("a key is found by a relative id in %s", data)
		}
	})
}

func BenchmarkVerifySignature(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(b, err)
	input := "eyJhbGciOiJFUzI1NiJ9.e30"
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	check(b, err)
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	token := input + "." + base64.RawURLEncoding.EncodeToString(signature)
	for b.Loop() {
		if err := identity.Verify(token, &key.PublicKey); err != nil {
			b.Fatal(err)
		}
	}
}

// sign signs with the key that signs tokens now.
func sign(t testing.TB, keys identity.Keys, input []byte) ([]byte, error) {
	t.Helper()
	signer, err := keys.Signer(identity.UseToken)
	if err != nil {
		return nil, err
	}
	return signer.Sign(t.Context(), input, time.Time{})
}
