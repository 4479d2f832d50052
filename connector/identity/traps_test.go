package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// Trap 8.3: the DID of a key id is compared as text. An issuer that, read as a pattern, matches the key's DID, or is the beginning of it, is not it.
func TestTrap8_3AKeyIDBelongsToTheIssuerByTextAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for issuer, kid := range map[string]string{
		"did:web:boreal.example:boreal":   "did:web:boreal-example:boreal#k",  // "." as any character
		"did:web:boreal.example:bor":      "did:web:boreal.example:boreal#k",  // a beginning
		"did:web:boreal.example:boreal:x": "did:web:boreal.example:boreal#k",  // an end more
		"did:web:boreal.example":          "did:web:boreal.example:boreal#k",  // the root of the same host
		"did:web:boreal.example:b":        "did:web:boreal.example:b#k#k",     // two marks
		"did:web:boreal.example:c":        "did:web:boreal.example:c?x=1#k",   // a query
		"did:web:boreal.example:d":        "did:web:boreal.example:d/path#k",  // a path
		"did:web:boreal.example:e":        "DID:web:boreal.example:e#k",       // trap 8.25: another spelling
		"did:web:boreal.example:f":        "did:web:BOREAL.example:f#k",       // and one more
		"did:web:boreal.example:g":        "did:web:boreal.example:%67#k",     // and one more
		"did:web:boreal.example:h":        "did:web:boreal.example:h\u200b#k", // and one that looks the same
	} {
		header, err := json.Marshal(map[string]string{"alg": "ES256", "kid": kid, "typ": "JWT"})
		check(t, err)
		payload, err := json.Marshal(map[string]any{"iss": issuer, "sub": issuer, "aud": string(cobalt), "jti": "1", "iat": now.Unix(), "exp": now.Unix() + 60})
		check(t, err)
		before := w.fetched.Load()
		_, err = w.accept(t, forge(t, w.keys[boreal], string(header), string(payload)))
		if err == nil || !strings.Contains(err.Error(), "token.kid") || w.fetched.Load() != before {
			t.Errorf("%s with key %s: %v; want a refusal before anything is fetched", issuer, kid, err)
		}
	}
}

// Trap 8.5: each segment is decoded by itself and encoded again; nothing that it holds leads to another path or host.
func TestTrap8_5NoSegmentOfADIDLeadsElsewhere(t *testing.T) {
	t.Parallel()
	for _, did := range []string{
		"did:web:example.com:a%2Fb", "did:web:example.com:%2F", "did:web:example.com:%2e%2e", "did:web:example.com:%2E%2E", "did:web:example.com:..%2Fx",
		"did:web:example.com:%5C", "did:web:example.com%40evil.example", "did:web:evil.example%2Fexample.com", "did:web:example.com%3A80%40evil.example",
		"did:web:example.com%3A80%3A80", "did:web:example.com:a%3Fb", "did:web:example.com:a%23b", "did:web:example.com:a%25b", "did:web:example.com:%252e%252e",
		"did:web:example.com:a+b", "did:web:example.com:a%00b", "did:web:example.com:a%0Ab", "did:web:example.com:%C3%BC", "did:web:example.com:a%2", "did:web:example.com:%zz",
		"did:web:[::1]", "did:web:%5B::1%5D", "did:web:0x7f000001", "did:web:2130706433", "did:web:127.1", "did:web:localhost%3A", "did:web:localhost%3A+80",
		"did:web:localhost%3A0x50", "did:web:localhost%3A65536",
	} {
		_, address, err := identity.ParseDID(did)
		if did == "did:web:0x7f000001" {
			// A name by its letters: whether its address is let out is judged when it is dialled (security rule T-01).
			if err != nil || address != "https://0x7f000001/.well-known/did.json" {
				t.Errorf("%s: %s, %v", did, address, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s leads to %s", did, address)
		}
	}
}

// Trap 8.25: a company has one DID. Whatever else would lead to the same document is nobody.
func TestTrap8_25ADIDHasOneSpelling(t *testing.T) {
	t.Parallel()
	for _, did := range []string{
		"DID:web:example.com", "did:WEB:example.com", "did:web:Example.com", "did:web:example.com%3a8443", "did:web:example.com:%61", "did:web:example.com:a%2d",
		"did:web:example.com:%2b", "did:web:example.com.", "did:web:exämple.com", "did:web:exam\u200bple.com", "did:web:еxample.com", " did:web:example.com", "did:web:example.com ",
	} {
		if _, address, err := identity.ParseDID(did); err == nil {
			t.Errorf("%q leads to %s", did, address)
		}
	}
}

func jwk(t *testing.T, members map[string]any, key any) map[string]any {
	t.Helper()
	out := map[string]any{}
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		b, err := k.Bytes()
		check(t, err)
		size := (len(b) - 1) / 2
		out["kty"], out["crv"] = "EC", k.Curve.Params().Name
		out["x"], out["y"] = base64.RawURLEncoding.EncodeToString(b[1:1+size]), base64.RawURLEncoding.EncodeToString(b[1+size:])
	case ed25519.PublicKey:
		out["kty"], out["crv"], out["x"] = "OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(k)
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", base64.RawURLEncoding.EncodeToString(k.N.Bytes()), "AQAB"
	}
	for name, value := range members {
		out[name] = value
	}
	return out
}

// Trap 8.15 and rule T-12: which key of a document verifies what. Each case is a whole document; the key id that is asked for is …#a.
func TestTrap8_15NoKeyOfADocumentPassesForAnother(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	key, bytes := &private.PublicKey, func(members map[string]any, key any) any { return jwk(t, members, key) }
	method := func(changes ...any) map[string]any {
		m := map[string]any{"id": string(boreal) + "#a", "type": "JsonWebKey2020", "controller": string(boreal), "publicKeyJwk": bytes(nil, key)}
		for i := 0; i+1 < len(changes); i += 2 {
			if m[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
				delete(m, changes[i].(string))
			}
		}
		return m
	}
	own := string(boreal) + "#a"
	point, err := other.PublicKey.Bytes()
	check(t, err)
	for name, tt := range map[string]struct {
		methods []any
		lists   any // under capabilityInvocation
		want    string
	}{
		"by its absolute id":                  {[]any{method()}, []any{own}, "found"},
		"by a relative id":                    {[]any{method("id", "#a")}, []any{"#a"}, "found"},
		"by a bare fragment":                  {[]any{method("id", "a")}, []any{own}, "found"},
		"embedded in the list":                {nil, []any{method()}, "found"},
		"without a controller":                {[]any{method("controller", nil)}, []any{own}, "found"},
		"of Ed25519":                          {[]any{method("publicKeyJwk", bytes(nil, ed))}, []any{own}, "found"},
		"that no list names":                  {[]any{method()}, []any{}, "refused"},
		"under a list that is not there":      {[]any{method()}, nil, "refused"},
		"of another id":                       {[]any{method("id", "#b")}, []any{"#b", own}, "unknown"},
		"with another controller":             {[]any{method("controller", string(cobalt))}, []any{own}, "malformed"},
		"twice":                               {[]any{method(), method("publicKeyJwk", bytes(nil, &other.PublicKey))}, []any{own}, "malformed"},
		"twice, spelled in two ways":          {[]any{method(), method("id", "#a")}, []any{own}, "malformed"},
		"twice, once of no use":               {[]any{method("publicKeyJwk", bytes(nil, &weak.PublicKey)), method()}, []any{own}, "malformed"},
		"once in the methods, once in a list": {[]any{method()}, []any{method("publicKeyJwk", bytes(nil, &other.PublicKey))}, "malformed"},
		"without an id":                       {[]any{method("id", nil)}, []any{own}, "malformed"},
		"for agreeing on keys":                {[]any{method("type", "X25519KeyAgreementKey2019")}, []any{own}, "unknown"},
		"of no type":                          {[]any{method("type", nil)}, []any{own}, "unknown"},
		"for encryption":                      {[]any{method("publicKeyJwk", bytes(map[string]any{"use": "enc"}, key))}, []any{own}, "unknown"},
		"for signing only":                    {[]any{method("publicKeyJwk", bytes(map[string]any{"key_ops": []string{"sign"}}, key))}, []any{own}, "unknown"},
		"with its private half (trap 8.24)":   {[]any{method("publicKeyJwk", bytes(map[string]any{"d": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}, key))}, []any{own}, "unknown"},
		"that is a secret":                    {[]any{method("publicKeyJwk", map[string]any{"kty": "oct", "k": "AAAA"})}, []any{own}, "unknown"},
		"of RSA":                              {[]any{method("publicKeyJwk", bytes(nil, &weak.PublicKey))}, []any{own}, "unknown"},
		"of another curve":                    {[]any{method("publicKeyJwk", bytes(nil, &large.PublicKey))}, []any{own}, "unknown"},
		"off its curve":                       {[]any{method("publicKeyJwk", bytes(map[string]any{"y": base64.RawURLEncoding.EncodeToString(point[1:33])}, key))}, []any{own}, "unknown"},
		"in another form":                     {[]any{method("publicKeyJwk", nil, "publicKeyMultibase", "z6Mk")}, []any{own}, "unknown"},
		"that is a text":                      {[]any{"#a"}, []any{own}, "malformed"},
	} {
		document := map[string]any{"id": string(boreal), "verificationMethod": tt.methods, "authentication": []any{own}}
		if tt.lists != nil {
			document["capabilityInvocation"] = tt.lists
		}
		text, err := json.Marshal(document)
		check(t, err)
		d, err := identity.ParseDocument(boreal, text)
		got := "malformed"
		if err == nil {
			switch found, err := d.Key(own, identity.CapabilityInvocation); {
			case errors.Is(err, identity.ErrUnknownKey):
				got = "unknown"
			case err != nil:
				got = "refused"
			default:
				got = "found"
				if k, ok := found.(*ecdsa.PublicKey); ok && !k.Equal(key) {
					t.Errorf("a key %s: another was found", name)
				}
			}
		}
		if got != tt.want {
			t.Errorf("a key %s is %s, want %s (%v)", name, got, tt.want, err)
		}
	}
}

// A credential's key needs assertionMethod where the document has it at all (DCP 1.0, section 2.3).
func TestAKeyAssertsWhereTheDocumentLetsIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	token, issue := w.keys[boreal].Public(identity.UseToken)[0].ID, w.keys[boreal].Public(identity.UseIssue)[0].ID
	text, err := identity.NewDocument(boreal, w.keys[boreal], nil)
	check(t, err)
	var silent map[string]any
	check(t, json.Unmarshal(text, &silent))
	delete(silent, "assertionMethod")
	without, err := json.Marshal(silent)
	check(t, err)
	for _, tt := range []struct {
		text  []byte
		kid   string
		use   identity.Relationship
		found bool
	}{
		{text, issue, identity.AssertionMethod, true}, {text, token, identity.AssertionMethod, false}, {text, token, identity.Authentication, true},
		{text, issue, identity.Authentication, false}, {text, issue, identity.CapabilityInvocation, false},
		{without, token, identity.AssertionMethod, true}, {without, issue, identity.Authentication, false},
	} {
		d, err := identity.ParseDocument(boreal, tt.text)
		check(t, err)
		if _, err := d.Key(string(boreal)+"#"+tt.kid, tt.use); (err == nil) != tt.found {
			t.Errorf("%s for %s: %v", tt.kid, tt.use, err)
		}
	}
}

func TestAKeyServesForAllWhereAnOperatorSaysSoAndItsDocumentListsNoRelationshipAtAll(t *testing.T) {
	t.Parallel()
	uses := []identity.Relationship{identity.Authentication, identity.AssertionMethod, identity.CapabilityInvocation}
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		r.Undeclared(map[participant.DID]bool{boreal: true})
		kids := map[participant.DID]string{}
		// put serves the document of a DID with these members in the place of all relationships.
		put := func(did participant.DID, members map[string]any) {
			keys := newKeys(t)
			text, err := identity.NewDocument(did, keys, []identity.Service{})
			check(t, err)
			var d map[string]any
			check(t, json.Unmarshal(text, &d))
			for _, use := range uses {
				delete(d, string(use))
			}
			maps.Copy(d, members)
			_, url, err := identity.ParseDID(string(did))
			check(t, err)
			n.documents[url], err = json.Marshal(d)
			check(t, err)
			kids[did] = string(did) + "#" + keys.Public(identity.UseToken)[0].ID
			r.Forget(did)
		}
		serves := func(did participant.DID) (out []identity.Relationship) {
			d, err := r.Resolve(t.Context(), did, false)
			check(t, err)
			for _, use := range uses {
				if _, err := d.Key(kids[did], use); err == nil {
					out = append(out, use)
				}
			}
			if _, err := d.Key(string(did)+"#other", identity.Authentication); !errors.Is(err, identity.ErrUnknownKey) {
				t.Errorf("a key that is not in the document of %s: %v", did, err)
			}
			return out
		}
		asserts := []identity.Relationship{identity.AssertionMethod} // as everybody's key does where its document lists none for that
		put(boreal, nil)
		if got := serves(boreal); !slices.Equal(got, uses) {
			t.Errorf("of who is named, with no relationship: it serves for %v", got)
		}
		put(cobalt, nil)
		if got := serves(cobalt); !slices.Equal(got, asserts) {
			t.Errorf("of who is not named: it serves for %v", got)
		}
		for _, listed := range []string{"authentication", "capabilityInvocation", "capabilityDelegation", "keyAgreement"} {
			put(boreal, map[string]any{listed: []string{"#elsewhere"}})
			if got := serves(boreal); !slices.Equal(got, asserts) {
				t.Errorf("of who is named, with %s: it serves for %v", listed, got)
			}
		}
		put(boreal, map[string]any{"authentication": []string{}}) // as EDC's wallet writes it
		if got := serves(boreal); !slices.Equal(got, uses) {
			t.Errorf("of who is named, with an authentication of nothing: it serves for %v", got)
		}
		put(boreal, map[string]any{"assertionMethod": []string{"#elsewhere"}})
		if got := serves(boreal); got != nil {
			t.Errorf("of who is named, with assertionMethod: it serves for %v", got)
		}
	})
}

// Trap 8.24: what is published is public, whatever the kind of key.
func TestTrap8_24ADocumentShowsNothingPrivate(t *testing.T) {
	t.Parallel()
	text, err := identity.NewDocument(boreal, newKeys(t), nil)
	check(t, err)
	var d struct {
		Context            []string         `json:"@context"`
		VerificationMethod []map[string]any `json:"verificationMethod"`
	}
	check(t, json.Unmarshal(text, &d))
	if want := "https://www.w3.org/ns/did/v1 https://w3id.org/security/suites/jws-2020/v1 https://w3id.org/dspace-dcp/v1.0/dcp.jsonld https://w3id.org/dspace/2025/1/context.jsonld"; strings.Join(d.Context, " ") != want {
		t.Errorf("contexts %v", d.Context)
	}
	if len(d.VerificationMethod) != 2 {
		t.Fatalf("%d methods", len(d.VerificationMethod))
	}
	for _, m := range d.VerificationMethod {
		for name := range m["publicKeyJwk"].(map[string]any) {
			if !strings.Contains(" kty crv x y ", " "+name+" ") {
				t.Errorf("a key shows %q", name)
			}
		}
		if m["type"] != "JsonWebKey2020" || m["controller"] != string(boreal) || !strings.HasPrefix(m["id"].(string), string(boreal)+"#") {
			t.Errorf("method %v", m)
		}
	}
}

// Trap 8.4 and rule T-07: a document of another DID is nobody's, however it came; what was fetched before it is not believed any more.
func TestTrap8_4ADocumentOfAnotherDIDIsNobodys(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		n.serve(t, boreal, keys)
		if _, err := r.Resolve(t.Context(), boreal, false); err != nil {
			t.Fatal(err)
		}
		_, url, err := identity.ParseDID(string(boreal))
		check(t, err)
		n.mu.Lock()
		n.documents[url], err = identity.NewDocument(cobalt, keys, nil)
		n.mu.Unlock()
		check(t, err)
		time.Sleep(time.Second)
		for range 2 { // by who looks again, and by who did not
			if _, err := r.Resolve(t.Context(), boreal, true); err == nil || !strings.Contains(err.Error(), "its id is not the DID") {
				t.Errorf("another company's document: %v", err)
			}
		}
		if _, err := r.Resolve(t.Context(), boreal, false); err == nil {
			t.Error("the document before it is believed still")
		}
	})
}

func TestALastGoodDocumentServesWhileItsHostIsSilentAndNoLonger(t *testing.T) {
	t.Parallel()
	keys, strange := newKeys(t), newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		n.serve(t, boreal, keys)
		v := identity.NewVerifier(r, nil, time.Now)
		accept := func(keys identity.Keys) error {
			token, err := identity.IssueToken(t.Context(), boreal, cobalt, keys, "", time.Now(), rand.Reader)
			check(t, err)
			_, _, err = v.Verify(t.Context(), token, cobalt)
			return err
		}
		check(t, accept(keys))
		n.serve(t, boreal, nil)
		time.Sleep(time.Minute)
		// Whoever sends an invented key while the host is away does not take the company away with it.
		if err := accept(strange); err == nil {
			t.Error("a strange key was accepted")
		}
		if err := accept(keys); err != nil {
			t.Errorf("the known key while the host is silent: %v", err)
		}
		time.Sleep(4*time.Minute - time.Nanosecond)
		if err := accept(keys); err != nil {
			t.Errorf("within five minutes: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := accept(keys); err == nil {
			t.Error("the document outlived its five minutes")
		}
	})
}

func TestADocumentThatIsGoneOrForgottenIsNotBelievedAnyMore(t *testing.T) {
	t.Parallel()
	keys, next := newKeys(t), newKeys(t)
	resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
		n.serve(t, boreal, keys)
		if _, err := r.Resolve(t.Context(), boreal, false); err != nil {
			t.Fatal(err)
		}
		n.serve(t, boreal, nil)
		n.absent = identity.ErrGone
		time.Sleep(time.Second)
		if _, err := r.Resolve(t.Context(), boreal, true); !errors.Is(err, identity.ErrGone) {
			t.Errorf("%v", err)
		}
		if _, err := r.Resolve(t.Context(), boreal, false); !errors.Is(err, identity.ErrGone) {
			t.Errorf("after its host said that it is gone: %v", err)
		}

		// A key that is known to be revoked: also a fetch that began before does not bring it back.
		n.serve(t, cobalt, keys)
		n.hold = make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { _, _ = r.Resolve(context.Background(), cobalt, false) })
		for n.open.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		r.Forget(cobalt)
		close(n.hold)
		all.Wait()
		n.serve(t, cobalt, next)
		d, err := r.Resolve(t.Context(), cobalt, false)
		check(t, err)
		if _, err := d.Key(string(cobalt)+"#"+keys.Public(identity.UseToken)[0].ID, identity.CapabilityInvocation); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("the revoked key: %v", err)
		}
	})
}

// A key that begins to sign is known at its first token, however young the document is that was fetched before it.
func TestAKeyThatSignsAtOnceIsKnownAtItsFirstToken(t *testing.T) {
	t.Parallel()
	old, next := newKeys(t), newKeys(t)
	for _, age := range []time.Duration{time.Second, 5 * time.Second, 4 * time.Minute} {
		t.Run(fmt.Sprint(age), func(t *testing.T) {
			t.Parallel()
			resolving(t, func(t *testing.T, n *net, r *identity.Resolver) {
				v := identity.NewVerifier(r, nil, time.Now)
				n.serve(t, boreal, old)
				_, err := r.Resolve(t.Context(), boreal, false)
				check(t, err)
				n.serve(t, boreal, next)
				time.Sleep(age)
				token, err := identity.IssueToken(t.Context(), boreal, cobalt, next, "", time.Now(), rand.Reader)
				check(t, err)
				if _, _, err := v.Verify(t.Context(), token, cobalt); err != nil {
					t.Errorf("a document of %v: %v", age, err)
				}
			})
		})
	}
}

// Whatever keeps the keys, who is asked to sign is the key whose name goes into the header.
func TestATokenNamesTheKeyThatSignedIt(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	token, err := identity.IssueToken(t.Context(), boreal, cobalt, keys, "", now, rand.Reader)
	check(t, err)
	header, _, err := identity.ParseJWT(token, identity.MaxToken)
	check(t, err)
	if want := string(boreal) + "#" + keys.Public(identity.UseToken)[0].ID; header.KeyID != want {
		t.Errorf("key id %s, want %s", header.KeyID, want)
	}
}

// What cannot be looked up is neither good nor forged; a DID that has no document any more signs nothing.
func TestASignatureWhoseKeyCannotBeHadIsUnchecked(t *testing.T) {
	t.Parallel()
	const did participant.DID = "did:web:boreal.example:boreal"
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	boreal, dusk := newSender(t, did), newSender(t, did)
	header, claims := map[string]any{"alg": "ES256", "kid": string(did) + "#1"}, map[string]any{"iss": did}
	good, forged := boreal.sign(t, header, claims), dusk.sign(t, header, claims)
	for _, tt := range []struct {
		name      string
		seen      bool // once, and kept
		away      error
		token     string
		unchecked bool
	}{
		{"a host that does not answer", false, errors.New("no route to host"), good, true},
		{"a document that is gone", false, identity.ErrGone, good, false},
		{"a forgery, by the document that is there", false, nil, forged, false},
		{"a signature that does not fit what is kept, when nothing newer can be had", true, errors.New("no route to host"), forged, true},
		{"a signature that does not fit what is kept, and nothing else is there any more", true, identity.ErrGone, forged, false},
	} {
		var away error
		clock := at
		r := identity.NewResolver(func(context.Context, string, int64) ([]byte, error) { return boreal.document(), away }, func() time.Time { return clock })
		if tt.seen {
			if _, err := r.Resolve(t.Context(), did, false); err != nil {
				t.Fatal(err)
			}
		}
		away, clock = tt.away, clock.Add(time.Minute)
		v := identity.NewVerifier(r, nil, func() time.Time { return clock })
		for range 2 { // the second time nobody is asked
			err := v.Signature(t.Context(), did, header["kid"].(string), tt.token, identity.AssertionMethod)
			if err == nil || errors.Is(err, identity.ErrUnchecked) != tt.unchecked {
				t.Errorf("%s: %v, want unchecked %t", tt.name, err, tt.unchecked)
			}
		}
	}
}
