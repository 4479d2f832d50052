package credential_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/identity"
)

// attempt is what a caller shows, and the step at which it is refused. What it shows is good but for the one thing that its name says. Numbers
// are those of the traps in our reference of the protocol, section 8.
type attempt struct {
	name string
	code string
	show func(t *testing.T, w *world) []string
}

func one(f func(t *testing.T, w *world) string) func(*testing.T, *world) []string {
	return func(t *testing.T, w *world) []string { return []string{f(t, w)} }
}

// vp11 is a presentation of version 1.1 with a member changed.
func vp11(name string, value any) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		return w.sign(t, boreal, identity.UseToken, "JWT", with(w.goodVP(w.vc(t, goodVC())), name, value))
	})
}

// vp20 is one of version 2.0.
func vp20(name string, value any) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		return w.sign(t, boreal, identity.UseToken, "vp+jwt", with(w.goodVP2(w.vc2(t, goodVC2())), name, value))
	})
}

// inVP is a good presentation around a credential of version 1.1 with these claims.
func inVP(claims members) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string { return w.vp(t, w.vc(t, claims)) })
}

// inVP2 is one around a credential of version 2.0.
func inVP2(claims members) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string { return w.vp2(t, w.vc2(t, claims)) })
}

// headed is a presentation with a header member changed.
func headed(name string, value any) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		header := with(members{"alg": "ES256", "typ": "JWT", "kid": w.kid(boreal, identity.UseToken)}, name, value)
		return w.forge(t, boreal, identity.UseToken, header, w.goodVP(w.vc(t, goodVC())))
	})
}

// headedVC is a credential with a header member changed, in a good presentation.
func headedVC(name string, value any) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		header := with(members{"alg": "ES256", "typ": "JWT", "kid": w.kid(meridian, identity.UseIssue)}, name, value)
		return w.vp(t, w.forge(t, meridian, identity.UseIssue, header, goodVC()))
	})
}

func bare(list ...string) func(*testing.T, *world) []string {
	return func(*testing.T, *world) []string { return list }
}

func many(t *testing.T, w *world, n int) []string {
	good, out := w.vc(t, goodVC()), make([]string, n)
	for i := range out {
		out[i] = good
	}
	return out
}

// zeros is a token whose signature is nothing but zeros.
func zeros(token string) string {
	return token[:strings.LastIndex(token, ".")+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
}

// twice writes claims with one member said a second time.
func twice(t *testing.T, claims members, name, value string) json.RawMessage {
	b, err := json.Marshal(claims)
	check(t, err)
	return json.RawMessage(strings.TrimSuffix(string(b), "}") + `,"` + name + `":` + value + "}")
}

var presentations = []attempt{
	{"nonsense", "presentation.syntax", bare("x.y.z")},
	{"8.8 JSON serialisation", "presentation.syntax", bare(`{"payload":"e30","signatures":[]}`)},
	{"8.8 an encrypted token, in five parts", "presentation.syntax", bare("a.b.c.d.e")},
	{"8.8 no algorithm", "presentation.syntax", headed("alg", "none")},
	{"8.8 a shared secret", "presentation.syntax", headed("alg", "HS256")},
	{"8.8 another algorithm than the key's", "presentation.signature", headed("alg", "EdDSA")},
	{"8.8 a key in the header", "presentation.syntax", headed("jwk", members{"kty": "EC"})},
	{"8.8 the address of a key in the header", "presentation.syntax", headed("jku", "https://dusk.example/keys")},
	{"8.8 a certificate in the header", "presentation.syntax", headed("x5c", []string{"x"})},
	{"8.8 a demand in the header", "presentation.syntax", headed("crit", []string{"exp"})},
	{"8.8 a payload that is not encoded", "presentation.syntax", headed("b64", false)},
	{"8.8 a signature of zeros", "presentation.signature", one(func(t *testing.T, w *world) string { return zeros(w.vp(t, w.vc(t, goodVC()))) })},
	{"8.26 a claim said twice", "presentation.syntax", one(func(t *testing.T, w *world) string {
		return w.sign(t, boreal, identity.UseToken, "JWT", twice(t, w.goodVP(), "aud", `"`+string(cobalt)+`"`))
	})},
	{"8.26 a claim in another spelling", "presentation.syntax", vp11("ISS", boreal)},
	{"8.26 a number that no double holds", "presentation.syntax", vp11("exp", json.RawMessage("1e400"))},
	{"8.26 an object deeper than 32", "presentation.syntax", vp11("x", json.RawMessage(strings.Repeat("[", 40)+strings.Repeat("]", 40)))},
	{"a presentation larger than 256 KiB", "presentation.syntax", vp11("x", strings.Repeat("x", 256<<10))},
	{"no presentation at all", "presentation.syntax", vp11("vp", nil)},
	{"two presentations in one", "presentation.syntax", vp11("vp", []any{members{"type": "VerifiablePresentation"}, members{"type": "VerifiablePresentation"}})},
	{"a credential in place of the presentation", "presentation.syntax", one(func(t *testing.T, w *world) string { return w.vc(t, goodVC()) })},
	{"a presentation that is a credential too", "presentation.syntax", vp11("vc", goodInner())},
	{"8.13 a token of another kind", "presentation.syntax", headed("typ", "dcp-at+jwt")},
	{"a presentation of version 2.0 that says it is any token", "presentation.syntax", one(func(t *testing.T, w *world) string {
		return w.sign(t, boreal, identity.UseToken, "JWT", w.goodVP2(w.vc2(t, goodVC2())))
	})},
	{"a presentation of version 2.0 with an older one inside", "presentation.syntax", vp20("vp", members{})},
	{"a presentation of another type", "presentation.type", vp11("vp", members{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "type": "Something"})},
	{"a presentation of another data model than its token", "presentation.type", vp11("vp", members{"@context": []string{"https://www.w3.org/ns/credentials/v2"}, "type": "VerifiablePresentation"})},
	{"a presentation without context", "presentation.type", vp20("@context", nil)},
	{"8.2 a presentation signed by somebody else", "presentation.kid", one(func(t *testing.T, w *world) string {
		return w.sign(t, dusk, identity.UseToken, "JWT", w.goodVP(w.vc(t, goodVC())))
	})},
	{"8.2 a key id with two fragments", "presentation.kid", headed("kid", string(boreal)+"#a#b")},
	{"8.2 no key id", "presentation.kid", headed("kid", nil)},
	{"8.2 a presentation of version 2.0 signed by somebody else", "presentation.kid", one(func(t *testing.T, w *world) string {
		return w.sign(t, dusk, identity.UseToken, "vp+jwt", w.goodVP2(w.vc2(t, goodVC2())))
	})},
	{"a presentation signed with a foreign key", "presentation.signature", one(func(t *testing.T, w *world) string {
		return w.forge(t, dusk, identity.UseToken, members{"alg": "ES256", "typ": "JWT", "kid": w.kid(boreal, identity.UseToken)}, w.goodVP(w.vc(t, goodVC())))
	})},
	{"a presentation signed with a key for credentials", "presentation.signature", one(func(t *testing.T, w *world) string {
		return w.sign(t, boreal, identity.UseIssue, "JWT", w.goodVP(w.vc(t, goodVC())))
	})},
	{"7.5 a presentation from another holder", "presentation.issuer", one(func(t *testing.T, w *world) string {
		claims := with(with(w.goodVP(w.vc(t, goodVC())), "iss", dusk), "sub", dusk)
		return w.sign(t, dusk, identity.UseToken, "JWT", claims)
	})},
	{"a presentation of version 2.0 of nobody", "presentation.issuer", vp20("iss", nil)},
	{"a presentation about somebody else", "presentation.holder", vp11("sub", dusk)},
	{"a presentation with another holder", "presentation.holder", vp20("holder", dusk)},
	{"a holder that is no DID", "presentation.holder", vp20("holder", 7)},
	{"8.6 a presentation for somebody else", "presentation.audience", vp11("aud", dusk)},
	{"8.6 a presentation for nobody", "presentation.audience", vp11("aud", nil)},
	{"8.6 a presentation for two", "presentation.audience", vp11("aud", []any{cobalt, dusk})},
	{"8.6 a presentation of version 2.0 for somebody else", "presentation.audience", vp20("aud", dusk)},
	{"8.6 a presentation of version 2.0 for nobody", "presentation.audience", vp20("aud", nil)},
	{"8.6 a presentation of version 2.0 without end", "presentation.time", vp20("exp", nil)},
	{"8.7 a presentation for another company that is hosted beside the verifier", "presentation.audience", vp11("aud", string(cobalt)+"2")},
	{"8.11 a presentation without id", "presentation.jti", vp11("jti", nil)},
	{"8.11 a presentation of version 2.0 without id", "presentation.jti", vp20("jti", nil)},
	{"8.11 the same presentation twice", "presentation.replayed", func(t *testing.T, w *world) []string {
		same := w.vp(t, w.vc(t, goodVC()))
		return []string{same, same}
	}},
	{"8.11 another presentation under the same id", "presentation.replayed", func(t *testing.T, w *world) []string {
		claims := w.goodVP(w.vc(t, goodVC()))
		return []string{w.sign(t, boreal, identity.UseToken, "JWT", claims), w.sign(t, boreal, identity.UseToken, "JWT", with(claims, "x", 1))}
	}},
	{"a presentation that has expired", "presentation.time", vp11("exp", now.Unix()-30)},
	{"a presentation without end", "presentation.time", vp11("exp", nil)},
	{"a presentation of tomorrow", "presentation.time", vp11("nbf", now.Add(time.Hour).Unix())},
	{"a presentation made 31 seconds from now", "presentation.time", vp11("iat", now.Unix()+31)},
	{"a presentation for an hour", "presentation.time", vp11("exp", now.Add(time.Hour).Unix())},
	{"8.21 eleven presentations", "presentation.count", bare(strings.Split(strings.Repeat("x ", 10)+"x", " ")...)},
	{"8.21 51 credentials", "presentation.count", one(func(t *testing.T, w *world) string { return w.vp(t, many(t, w, 51)...) })},
	{"8.21 51 credentials in two presentations", "presentation.count", func(t *testing.T, w *world) []string {
		return []string{w.vp(t, many(t, w, 25)...), w.vp(t, many(t, w, 26)...)}
	}},
	{"a credential of version 2.0 among those of 1.1", "presentation.mixed", one(func(t *testing.T, w *world) string { return w.vp(t, w.vc(t, goodVC()), w.vc2(t, goodVC2())) })},
	{"a credential of version 1.1 in an envelope of 2.0", "presentation.mixed", one(func(t *testing.T, w *world) string { return w.vp2(t, w.vc(t, goodVC())) })},
	{"a bare credential in a presentation of version 2.0", "presentation.mixed", vp20("verifiableCredential", []any{"a.b.c"})},
	{"an envelope in a presentation of version 1.1", "presentation.mixed", vp11("vp", members{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "type": "VerifiablePresentation",
		"verifiableCredential": []any{members{"type": "EnvelopedVerifiableCredential", "id": "data:application/vc+jwt,a.b.c"}}})},
	{"a credential without proof in a presentation of version 2.0", "presentation.syntax", vp20("verifiableCredential", []any{goodVC2()})},
	{"an envelope that is elsewhere", "presentation.syntax", vp20("verifiableCredential", []any{members{"type": "EnvelopedVerifiableCredential", "id": "https://dusk.example/vc"}})},
	{"a second envelope", "presentation.envelope", one(func(t *testing.T, w *world) string { return w.wrap(t, boreal, w.vp2(t, w.vc2(t, goodVC2())), nil) })},
}

// wrap puts a presentation into a second envelope.
func (w *world) wrap(t testing.TB, by any, presentation string, more members) string {
	claims := members{"@context": []string{"https://www.w3.org/ns/credentials/v2"}, "type": "EnvelopedVerifiablePresentation", "id": "data:application/vp+jwt," + presentation}
	for name, value := range more {
		claims[name] = value
	}
	did := boreal
	if by == dusk {
		did = dusk
	}
	return w.sign(t, did, identity.UseToken, "JWT", claims)
}

var credentials = []attempt{
	{"nonsense", "credential.syntax", one(func(t *testing.T, w *world) string { return w.vp(t, "x.y.z") })},
	{"8.8 a credential of no algorithm", "credential.syntax", headedVC("alg", "none")},
	{"8.8 a credential of a shared secret", "credential.syntax", headedVC("alg", "HS256")},
	{"8.8 a credential of RSA", "credential.syntax", headedVC("alg", "RS256")},
	{"8.8 a credential that brings its key", "credential.syntax", headedVC("jwk", members{"kty": "EC"})},
	{"8.8 a credential of another algorithm than its key's", "credential.signature", headedVC("alg", "EdDSA")},
	{"8.8 a credential with a signature of zeros", "credential.signature", one(func(t *testing.T, w *world) string { return w.vp(t, zeros(w.vc(t, goodVC()))) })},
	{"8.26 a member said twice", "credential.syntax", one(func(t *testing.T, w *world) string {
		return w.vp(t, w.sign(t, meridian, identity.UseIssue, "JWT", twice(t, goodVC(), "sub", `"`+string(boreal)+`"`)))
	})},
	{"8.26 a member in another spelling", "credential.syntax", inVP(inner("ExpirationDate", now.Add(time.Hour).Format(time.RFC3339)))},
	{"8.26 an issuance that is a number", "credential.syntax", inVP(inner("issuanceDate", now.Unix()))},
	{"8.26 a type that is an object", "credential.type", inVP(inner("type", members{"VerifiableCredential": true}))},
	{"8.26 a subject that is a text", "credential.subject", inVP(inner("credentialSubject", string(boreal)))},
	{"8.26 a subject that is nothing", "credential.subject", inVP(inner("credentialSubject", []any{}))},
	{"8.26 a member that two subjects say differently", "credential.subject", inVP(inner("credentialSubject", []any{members{"id": boreal, "memberOf": "A"}, members{"id": boreal, "memberOf": "B"}}))},
	{"a credential of version 2.0 with an older one inside", "credential.syntax", inVP2(with(goodVC2(), "vc", goodInner()))},
	{"a credential of version 2.0 that says it is any token", "credential.syntax", one(func(t *testing.T, w *world) string { return w.vp2(t, w.vc(t, goodVC2())) })},
	{"8.13 a presentation in place of a credential", "credential.syntax", one(func(t *testing.T, w *world) string { return w.vp(t, w.vp(t)) })},
	{"a credential without type of its own", "credential.type", inVP(inner("type", []string{"VerifiableCredential"}))},
	{"a credential that is none", "credential.type", inVP(inner("type", []string{"MembershipCredential", "Other"}))},
	{"a credential of another data model than its token", "credential.type", inVP(inner("@context", []string{"https://www.w3.org/ns/credentials/v2"}))},
	{"a credential whose context is written out", "credential.type", inVP(inner("@context", []any{members{}, "https://www.w3.org/2018/credentials/v1"}))},
	{"8.2 a credential in another's name", "credential.kid", one(func(t *testing.T, w *world) string {
		return w.vp(t, w.sign(t, dusk, identity.UseIssue, "JWT", goodVC()))
	})},
	{"8.2 a credential of version 2.0 in another's name", "credential.kid", one(func(t *testing.T, w *world) string {
		return w.vp2(t, w.sign(t, dusk, identity.UseIssue, "vc+jwt", goodVC2()))
	})},
	{"8.3 a key id that fits the issuer as a pattern", "credential.kid", one(func(t *testing.T, w *world) string {
		return w.vp(t, w.sign(t, lookalike, identity.UseIssue, "JWT", goodVC()))
	})},
	{"8.3 a key id that begins like the issuer", "credential.kid", headedVC("kid", string(meridian)+"2#key")},
	{"an issuer that is not the token's", "credential.issuer", inVP(inner("issuer", dusk))},
	{"an issuer of version 2.0 that is not the token's", "credential.issuer", inVP2(with(goodVC2(), "iss", dusk))},
	{"an issuer that is no DID", "credential.issuer", inVP(with(with(goodVC(), "iss", nil), "vc", with(goodInner(), "issuer", "https://meridian.example")))},
	{"7.5 a credential of an issuer that is trusted for nothing", "credential.untrusted", one(func(t *testing.T, w *world) string {
		return w.vp(t, w.sign(t, boreal, identity.UseIssue, "JWT", with(with(goodVC(), "iss", boreal), "vc", with(goodInner(), "issuer", boreal))))
	})},
	{"8.13 a type that the issuer may not issue", "credential.untrusted", inVP(inner("type", []string{"VerifiableCredential", "DismantlerCredential"}))},
	{"8.13 a type that begins like one that it may issue", "credential.untrusted", inVP(inner("type", []string{"VerifiableCredential", "MembershipCredential2"}))},
	{"8.13 a type that ends like one that it may issue", "credential.untrusted", inVP(inner("type", []string{"VerifiableCredential", "https://dusk.example/MembershipCredential"}))},
	{"7.5 a forged credential", "credential.signature", one(func(t *testing.T, w *world) string {
		return w.vp(t, w.forge(t, dusk, identity.UseIssue, members{"alg": "ES256", "kid": w.kid(meridian, identity.UseIssue)}, goodVC()))
	})},
	{"a changed credential", "credential.signature", one(func(t *testing.T, w *world) string {
		good, other := w.vc(t, goodVC()), w.vc(t, inner("credentialSubject", members{"id": boreal, "memberOf": "Dusk"}))
		return w.vp(t, other[:strings.LastIndex(other, ".")]+good[strings.LastIndex(good, "."):])
	})},
	{"7.5 a credential signed with a key for tokens", "credential.signature", one(func(t *testing.T, w *world) string {
		return w.vp(t, w.sign(t, meridian, identity.UseToken, "JWT", goodVC()))
	})},
	{"a credential that never expires", "credential.validity", inVP(with(inner("expirationDate", nil), "exp", nil))},
	{"a credential that never began", "credential.validity", inVP2(with(with(goodVC2(), "validFrom", nil), "iat", nil))},
	{"a date that is none", "credential.validity", inVP(inner("expirationDate", "soon"))},
	{"a credential that has expired", "credential.expired", inVP(inner("expirationDate", now.Format(time.RFC3339)))},
	{"a credential of version 2.0 that has expired", "credential.expired", inVP2(with(goodVC2(), "validUntil", now.Format(time.RFC3339)))},
	{"a token that has expired around a credential that has not", "credential.expired", inVP(with(goodVC(), "exp", now.Unix()))},
	{"a token of version 2.0 that has expired around a credential that has not", "credential.expired", inVP2(with(goodVC2(), "exp", now.Unix()))},
	{"a credential from the future", "credential.early", inVP(inner("issuanceDate", now.Add(time.Hour).Format(time.RFC3339)))},
	{"a credential from 31 seconds on", "credential.early", inVP(with(goodVC(), "nbf", now.Unix()+31))},
	{"a credential of version 2.0 from the future", "credential.early", inVP2(with(goodVC2(), "validFrom", now.Add(time.Hour).Format(time.RFC3339)))},
	{"a token of version 2.0 from the future", "credential.early", inVP2(with(goodVC2(), "nbf", now.Add(time.Hour).Unix()))},
	{"a subject that is not the token's", "credential.subject", inVP(inner("credentialSubject", members{"id": dusk}))},
	{"two subjects, one of them another", "credential.subject", inVP(inner("credentialSubject", []any{members{"id": boreal}, members{"id": dusk}}))},
	{"two subjects, one of them nobody", "credential.subject", inVP(inner("credentialSubject", []any{members{"id": boreal}, members{"x": "y"}}))},
	{"a subject of version 2.0 without id", "credential.subject", inVP2(with(goodVC2(), "credentialSubject", members{"memberOf": "Meridian"}))},
	{"two subjects of version 2.0, one of them another", "credential.subject", inVP2(with(goodVC2(), "credentialSubject", []any{members{"id": boreal}, members{"id": dusk}}))},
	{"a credential for somebody else", "credential.holder", inVP(with(with(goodVC(), "sub", dusk), "vc", with(goodInner(), "credentialSubject", members{"id": dusk})))},
	{"a credential of version 2.0 for somebody else", "credential.holder", inVP2(with(goodVC2(), "credentialSubject", members{"id": dusk}))},
	{"one bad credential among good ones", "credential.expired", one(func(t *testing.T, w *world) string {
		return w.vp(t, w.vc(t, goodVC()), w.vc(t, inner("expirationDate", now.Format(time.RFC3339))))
	})},
	{"two business partner numbers", "credential.bpn", one(func(t *testing.T, w *world) string {
		number := func(kind, member, n string) string {
			return w.vc(t, with(goodVC(), "vc", with(with(goodInner(), "type", []string{"VerifiableCredential", kind}), "credentialSubject", members{"id": boreal, member: n})))
		}
		return w.vp(t, number("BpnCredential", "bpn", "BPNL00000000BOR1"), number("MembershipCredential", "holderIdentifier", "BPNL00000000AUR1"))
	})},
}

// listed is a good presentation of a credential whose status is in a list at a path of its own, published with changes to its claims.
func listed(kind statuslist.Kind, change func(w *world, claims members) members, set ...int) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		w.serial++
		path := "/status/x" + strconv.Itoa(w.serial)
		claims, typ := w.list(w.origin+path, listSubject(t, kind, statuslist.Revocation, set...)), "JWT"
		if kind == statuslist.Bitstring {
			typ = "vc+jwt"
		}
		if change != nil {
			claims = change(w, claims)
		}
		w.serve(path, says(w.sign(t, meridian, identity.UseIssue, typ, claims)))
		return w.vp(t, w.vc(t, inner("credentialStatus", entry(kind, w.origin+path, 7, statuslist.Revocation))))
	})
}

// at is a good presentation of a credential with a status whose list is what the page serves.
func at(page http.HandlerFunc) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		w.serial++
		path := "/status/x" + strconv.Itoa(w.serial)
		w.serve(path, page)
		return w.vp(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, w.origin+path, 7, statuslist.Revocation))))
	})
}

// purposed is a good presentation of a credential whose entry and list are for these purposes, and set.
func purposed(kind statuslist.Kind, wants, has string) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		w.serial++
		url := w.publish(t, "/status/x"+strconv.Itoa(w.serial), listSubject(t, kind, has, 7))
		return w.vp(t, w.vc(t, inner("credentialStatus", entry(kind, url, 7, wants))))
	})
}

func status(value any) func(*testing.T, *world) []string {
	return inVP(inner("credentialStatus", value))
}

// signedBy is a list in the authority's name or the signer's, signed by the signer.
func signedBy(t *testing.T, w *world, signer any, claims members, header members) string {
	by := meridian
	if signer == dusk {
		by = dusk
	}
	return w.forge(t, by, identity.UseIssue, header, claims)
}

func listSigned(f func(t *testing.T, w *world, claims members) string) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		w.serial++
		path := "/status/x" + strconv.Itoa(w.serial)
		w.serve(path, says(f(t, w, w.list(w.origin+path, listSubject(t, statuslist.Bitstring, statuslist.Revocation)))))
		return w.vp(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, w.origin+path, 7, statuslist.Revocation))))
	})
}

// subject changes the subject of a list.
func subject(name string, value any) func(*world, members) members {
	return func(_ *world, claims members) members {
		raw, err := json.Marshal(claims["credentialSubject"])
		s := members{}
		if err := errors.Join(err, json.Unmarshal(raw, &s)); err != nil {
			panic(err)
		}
		return with(claims, "credentialSubject", with(s, name, value))
	}
}

func packed(b []byte) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	if err := errors.Join(err, z.Close()); err != nil {
		panic(err)
	}
	return "u" + base64.RawURLEncoding.EncodeToString(out.Bytes())
}

var statuses = []attempt{
	{"7.5 a credential that was revoked, version 2.0 of lists", "credential.status.revoked", listed(statuslist.Bitstring, nil, 7)},
	{"7.5 a credential that was revoked, version 2021 of lists", "credential.status.revoked", listed(statuslist.List2021, nil, 7)},
	{"7.5 a credential that is suspended", "credential.status.suspended", purposed(statuslist.Bitstring, statuslist.Suspension, statuslist.Suspension)},
	{"7.5 a credential that is suspended in a list of 2021", "credential.status.suspended", purposed(statuslist.List2021, statuslist.Suspension, statuslist.Suspension)},
	{"a status that is set for a purpose that is not known", "credential.status.set", purposed(statuslist.Bitstring, "parole", "parole")},
	{"one status of two that is set", "credential.status.suspended", one(func(t *testing.T, w *world) string {
		w.serial++
		good := w.publish(t, "/status/r"+strconv.Itoa(w.serial), listSubject(t, statuslist.Bitstring, statuslist.Revocation))
		bad := w.publish(t, "/status/s"+strconv.Itoa(w.serial), listSubject(t, statuslist.Bitstring, statuslist.Suspension, 7))
		return w.vp(t, w.vc(t, inner("credentialStatus", []any{entry(statuslist.Bitstring, good, 7, statuslist.Revocation), entry(statuslist.Bitstring, bad, 7, statuslist.Suspension)})))
	})},
	{"a revoked credential of version 2.0", "credential.status.revoked", one(func(t *testing.T, w *world) string {
		w.serial++
		url := w.publish(t, "/status/x"+strconv.Itoa(w.serial), listSubject(t, statuslist.Bitstring, statuslist.Revocation, 7))
		return w.vp2(t, w.vc2(t, with(goodVC2(), "credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
	})},
	{"8.9 a status of a type that is not known", "credential.status.type", status(members{"type": "RevocationList2020Status", "id": "x"})},
	{"a status of 2021 in a credential of version 2.0", "credential.status.type", inVP2(with(goodVC2(), "credentialStatus", entry(statuslist.List2021, "https://m.example/1", 7, statuslist.Revocation)))},
	{"8.9 a list of statuses that is empty", "credential.status.entry", status([]any{})},
	{"8.27 a negative index", "credential.status.entry", status(members{"type": "StatusList2021Entry", "statusPurpose": "revocation", "statusListIndex": "-1", "statusListCredential": "https://m.example/1"})},
	{"8.27 an index that is no number", "credential.status.entry", status(members{"type": "StatusList2021Entry", "statusPurpose": "revocation", "statusListIndex": "NaN", "statusListCredential": "https://m.example/1"})},
	{"an address with a fragment", "credential.status.entry", status(members{"type": "StatusList2021Entry", "statusPurpose": "revocation", "statusListIndex": "1", "statusListCredential": "https://m.example/1#2"})},
	{"8.9 a list that is not there", "credential.status.unavailable", at(http.NotFound)},
	{"8.9 a list whose server fails", "credential.status.unavailable", at(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })},
	{"8.9 a list that is elsewhere", "credential.status.unavailable", at(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://169.254.169.254/", http.StatusFound)
	})},
	{"8.9 a list that breaks off", "credential.status.unavailable", at(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write([]byte("eyJ"))
	})},
	{"8.10 a list without end", "credential.status.unavailable", at(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("A"), 64<<10)); err != nil {
				return
			}
		}
	})},
	{"8.1 a list at a private address", "credential.status.unavailable", status(entry(statuslist.Bitstring, "https://10.0.0.1/status", 7, statuslist.Revocation))},
	{"8.1 a list in the metadata of the cloud", "credential.status.unavailable", status(entry(statuslist.Bitstring, "http://169.254.169.254/latest", 7, statuslist.Revocation))},
	{"8.1 a list in a file", "credential.status.unavailable", status(entry(statuslist.Bitstring, "file:///etc/passwd", 7, statuslist.Revocation))},
	{"8.9 a list that is not signed", "credential.status.syntax", listSigned(func(t *testing.T, _ *world, claims members) string {
		b, err := json.Marshal(claims)
		check(t, err)
		return string(b)
	})},
	{"8.9 a page in place of a list", "credential.status.syntax", at(says("<html>"))},
	{"8.9 a list of no algorithm", "credential.status.syntax", listSigned(func(t *testing.T, w *world, claims members) string {
		return signedBy(t, w, meridian, claims, members{"alg": "none", "typ": "vc+jwt", "kid": w.kid(meridian, identity.UseIssue)})
	})},
	{"8.10 a compressed bomb", "credential.status.syntax", listed(statuslist.Bitstring, subject("encodedList", packed(make([]byte, 64<<20))))},
	{"a list of another kind than the credential says", "credential.status.syntax", one(func(t *testing.T, w *world) string {
		w.serial++
		url := w.publish(t, "/status/x"+strconv.Itoa(w.serial), listSubject(t, statuslist.List2021, statuslist.Revocation))
		return w.vp(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
	})},
	{"a list of 2021 in a credential of version 2.0", "credential.status.syntax", one(func(t *testing.T, w *world) string {
		w.serial++
		path := "/status/x" + strconv.Itoa(w.serial)
		claims := w.list(w.origin+path, listSubject(t, statuslist.Bitstring, statuslist.Revocation))
		claims = with(with(claims, "type", []string{"VerifiableCredential", "StatusList2021Credential"}), "credentialSubject", listSubject(t, statuslist.List2021, statuslist.Revocation))
		w.serve(path, says(w.sign(t, meridian, identity.UseIssue, "vc+jwt", claims)))
		return w.vp(t, w.vc(t, inner("credentialStatus", entry(statuslist.List2021, w.origin+path, 7, statuslist.Revocation))))
	})},
	{"a list that is a membership", "credential.status.syntax", listed(statuslist.Bitstring, func(_ *world, claims members) members {
		return with(claims, "type", []string{"VerifiableCredential", "MembershipCredential"})
	})},
	{"a list with a subject of another type", "credential.status.syntax", listed(statuslist.Bitstring, subject("type", "Something"))},
	{"a list of two subjects", "credential.status.syntax", listed(statuslist.Bitstring, func(_ *world, claims members) members {
		return with(claims, "credentialSubject", []any{claims["credentialSubject"], claims["credentialSubject"]})
	})},
	{"8.2 a list signed by another than its issuer", "credential.status.kid", listSigned(func(t *testing.T, w *world, claims members) string {
		return signedBy(t, w, dusk, claims, members{"alg": "ES256", "typ": "vc+jwt", "kid": w.kid(dusk, identity.UseIssue)})
	})},
	{"7.5 a list of another issuer", "credential.status.issuer", listSigned(func(t *testing.T, w *world, claims members) string {
		return signedBy(t, w, dusk, with(claims, "issuer", dusk), members{"alg": "ES256", "typ": "vc+jwt", "kid": w.kid(dusk, identity.UseIssue)})
	})},
	{"7.5 a list with a forged signature", "credential.status.signature", listSigned(func(t *testing.T, w *world, claims members) string {
		return signedBy(t, w, dusk, claims, members{"alg": "ES256", "typ": "vc+jwt", "kid": w.kid(meridian, identity.UseIssue)})
	})},
	{"a list that says it is another", "credential.status.id", listed(statuslist.Bitstring, func(_ *world, claims members) members { return with(claims, "id", "https://m.example/2") })},
	{"a list that is no longer valid", "credential.status.validity", listed(statuslist.Bitstring, func(_ *world, claims members) members {
		return with(claims, "validUntil", now.Format(time.RFC3339))
	})},
	{"a list whose token has expired", "credential.status.validity", listed(statuslist.Bitstring, func(_ *world, claims members) members { return with(claims, "exp", now.Unix()) })},
	{"a list of tomorrow", "credential.status.validity", listed(statuslist.Bitstring, func(_ *world, claims members) members {
		return with(claims, "validFrom", now.AddDate(0, 0, 1).Format(time.RFC3339))
	})},
	{"7.5 a list for another purpose", "credential.status.purpose", purposed(statuslist.Bitstring, statuslist.Revocation, statuslist.Suspension)},
	{"7.5 a list for a purpose that is spelled otherwise", "credential.status.purpose", purposed(statuslist.List2021, statuslist.Revocation, "Revocation")},
	{"a list that hides nobody", "credential.status.size", listed(statuslist.Bitstring, subject("encodedList", packed(make([]byte, 2048))))},
	{"an index outside its list", "credential.status.range", one(func(t *testing.T, w *world) string {
		w.serial++
		url := w.publish(t, "/status/x"+strconv.Itoa(w.serial), listSubject(t, statuslist.Bitstring, statuslist.Revocation))
		return w.vp(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, statuslist.MinEntries, statuslist.Revocation))))
	})},
}

// schooled is a good presentation of a credential with a schema that stands on the world's server, below what may be fetched.
func schooled(schema string) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		w.serial++
		url := w.serve("/schema/"+strconv.Itoa(w.serial)+".json", says(schema))
		return w.vp(t, w.vc(t, inner("credentialSchema", members{"id": url, "type": "JsonSchemaValidator2018"})))
	})
}

func schemaAt(path string) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		w.serve(path, says(`{}`))
		return w.vp(t, w.vc(t, inner("credentialSchema", members{"id": w.origin + path, "type": "JsonSchema"})))
	})
}

var schemas = []attempt{
	{"a schema of a type that is not known", "credential.schema.type", inVP(inner("credentialSchema", members{"id": "https://m.example/s", "type": "ShExValidator2017"}))},
	{"a schema without id", "credential.schema.type", inVP(inner("credentialSchema", members{"type": "JsonSchema"}))},
	{"a schema that is only an address", "credential.schema.type", inVP(inner("credentialSchema", "https://m.example/s"))},
	{"a list of no schemas", "credential.schema.type", inVP(inner("credentialSchema", []any{}))},
	{"8.21 more schemas than anybody needs", "credential.schema.type", inVP(inner("credentialSchema", []any{1, 2, 3, 4, 5}))},
	{"8.22 a schema that nobody let in", "credential.schema.unknown", schemaAt("/other/1.json")},
	{"8.22 a schema beside the one that may be fetched", "credential.schema.unknown", schemaAt("/one.json2")},
	{"8.22 a schema that climbs out of what may be fetched", "credential.schema.unknown", schemaAt("/schema/../other/1.json")},
	{"8.22 a schema that climbs out in another spelling", "credential.schema.unknown", schemaAt("/schema/%2e%2e/1.json")},
	{"a schema that is not there", "credential.schema.unavailable", inVPWith(func(w *world) any { return members{"id": w.origin + "/schema/absent.json", "type": "JsonSchema"} })},
	{"8.10 a schema that is too large", "credential.schema.unavailable", schooled(`{"x":"` + strings.Repeat("x", credential.MaxSchema) + `"}`)},
	{"a schema that is none", "credential.schema.syntax", schooled(`{"type":"banana"}`)},
	{"a schema that is no JSON", "credential.schema.syntax", schooled(`<html>`)},
	{"8.26 a schema that says a thing twice", "credential.schema.syntax", schooled(`{"type":"object","type":"string"}`)},
	{"8.22 a schema that refers to another document", "credential.schema.syntax", schooled(`{"$ref":"https://dusk.example/s.json"}`)},
	{"8.22 a schema that refers to a file", "credential.schema.syntax", func(t *testing.T, w *world) []string {
		file := filepath.Join(t.TempDir(), "s.json")
		check(t, os.WriteFile(file, []byte(`{}`), 0o600))
		return schooled(`{"$ref":"file://`+file+`"}`)(t, w)
	}},
	{"a subject that does not keep to its schema, draft 4", "credential.schema.violated", schooled(`{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","required":["holderIdentifier"]}`)},
	{"a subject that does not keep to its schema, draft 2020-12", "credential.schema.violated", schooled(`{"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"memberOf":{"const":"Aurora"}}}`)},
	{"a credential that does not keep to a schema of the whole", "credential.schema.violated", schooled(`{"properties":{"credentialSubject":{"required":["holderIdentifier"]}}}`)},
	{"two schemas, the second of which is not kept to", "credential.schema.violated", inVPWith(func(w *world) any {
		good, bad := w.serve("/schema/good.json", says(`{}`)), w.serve("/schema/bad.json", says(`false`))
		return []any{members{"id": good, "type": "JsonSchema"}, members{"id": bad, "type": "JsonSchema"}}
	})},
}

func inVPWith(schema func(w *world) any) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string { return w.vp(t, w.vc(t, inner("credentialSchema", schema(w)))) })
}

func TestEachStepRefuses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.presents(t, w.vc(t, goodVC()))
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Fatalf("the presentation that the others are made from: %v, %v", types, err)
	}
	w.verifier.ForgetAll()
	w.shows(w.vp2(t, w.vc2(t, goodVC2())))
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Fatalf("the one of version 2.0: %v, %v", types, err)
	}
	for _, table := range [][]attempt{presentations, credentials, statuses, schemas} {
		for _, a := range table {
			w.verifier.ForgetAll()
			w.shows(a.show(t, w)...)
			w.refused(t, a.name, a.code)
		}
	}
}

// What is refused elsewhere than in the tables.
var elsewhere = []string{"token.access", "presentation.query", "presentation.profile", "scope.unsatisfied", "verification.budget", "credential.status.outdated",
	"presentation.key.unavailable", "credential.key.unavailable"}

func TestEveryStepIsProvokedAndSaysWhatItMeans(t *testing.T) {
	t.Parallel()
	provoked := map[string]bool{}
	for _, code := range elsewhere {
		provoked[code] = true
	}
	for _, table := range [][]attempt{presentations, credentials, statuses, schemas} {
		for _, a := range table {
			provoked[a.code] = true
		}
	}
	for _, s := range credential.Steps() {
		if !provoked[s.Code] {
			t.Errorf("nothing provokes %s", s.Code)
		}
		if s.Meaning == "" {
			t.Errorf("%s means nothing", s.Code)
		}
		delete(provoked, s.Code)
	}
	for code := range provoked {
		t.Errorf("%s is no step", code)
	}
}

func TestTheDocumentationListsEveryStepInOrder(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/identity.md")
	check(t, err)
	var want strings.Builder
	for _, s := range credential.Steps() {
		want.WriteString("| `" + s.Code + "` | " + s.Meaning + " |\n")
	}
	if !strings.Contains(string(text), "| code | what was wrong |\n|---|---|\n"+want.String()+"\n") {
		t.Errorf("docs/identity.md lacks this table:\n%s", want.String())
	}
}
