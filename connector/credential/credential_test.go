package credential_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyfile"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store/embedded"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

const (
	meridian participant.DID = "did:web:meridian.example:meridian" // the authority
	boreal   participant.DID = "did:web:boreal.example:boreal"     // the holder
	cobalt   participant.DID = "did:web:cobalt.example:cobalt"     // the verifier
	dusk     participant.DID = "did:web:dusk.example:dusk"         // the rival
)

var scopes = []string{"org.eclipse.tractusx.vc.type:MembershipCredential:read", "org.eclipse.tractusx.vc.type:BpnCredential:read"}

// world is four companies that know each other's documents; the verifier is told what the credential service answers.
type world struct {
	keys     map[participant.DID]*keyfile.Keys
	wallet   []credential.Stored
	holder   *credential.Holder
	verifier *credential.Verifier
	answer   func() ([]string, error)
	queries  atomic.Int32
}

func (w *world) Held(context.Context, participant.Participant) ([]credential.Stored, error) {
	return w.wallet, nil
}

func (w *world) Query(context.Context, participant.Participant, participant.Peer, []string) ([]string, error) {
	w.queries.Add(1)
	return w.answer()
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{keys: map[participant.DID]*keyfile.Keys{}}
	documents := map[string][]byte{}
	for _, did := range []participant.DID{meridian, boreal, cobalt, dusk} {
		k, err := keyfile.Create(filepath.Join(t.TempDir(), "keys.json"), rand.Reader)
		check(t, err)
		w.keys[did] = k
		_, url, err := identity.ParseDID(string(did))
		check(t, err)
		documents[url], err = identity.NewDocument(did, k, []identity.Service{})
		check(t, err)
	}
	store, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	t.Cleanup(func() { _ = store.Close() })
	clock := func() time.Time { return now }
	resolver := identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) {
		doc, ok := documents[url]
		if !ok {
			return nil, fmt.Errorf("nothing at %s", url)
		}
		return doc, nil
	}, clock)
	w.holder = &credential.Holder{Wallet: w, Keys: func(p participant.Participant) (identity.Keys, error) { return w.keys[p.DID], nil }, Replay: store, Now: clock, Rand: rand.Reader}
	w.verifier = credential.NewVerifier(credential.VerifierConfig{Querier: w, Tokens: &identity.Verifier{Documents: resolver, Replay: store, Now: clock},
		Trust: credential.Trust{"MembershipCredential": {meridian}, "BpnCredential": {meridian}}, Scopes: scopes,
		BPN:    []credential.Claim{{Credential: "BpnCredential", Claim: "bpn"}, {Credential: "MembershipCredential", Claim: "holderIdentifier"}},
		Wallet: w, Now: clock, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// give puts a credential of the authority into the holder's wallet.
func (w *world) give(t *testing.T, kind string, subject credential.Subject) {
	t.Helper()
	issuer := credential.Issuer{DID: meridian, Keys: w.keys[meridian], Now: func() time.Time { return now }, Rand: rand.Reader}
	_, token, err := issuer.Issue(boreal, kind, subject, time.Hour)
	check(t, err)
	stored, err := credential.Read(token, boreal)
	check(t, err)
	w.wallet = append(w.wallet, stored)
}

func (w *world) claims(t *testing.T) (bpn string, types []string, err error) {
	t.Helper()
	party, err := w.verifier.Claims(t.Context(), participant.Participant{Slug: "cobalt", DID: cobalt}, participant.Peer{DID: boreal, AccessToken: "x"})
	for _, c := range party.Credentials {
		types = append(types, c.Type)
	}
	return party.BPN, types, err
}

var local = participant.Participant{Slug: "boreal", DID: boreal}

func TestWhatWasGrantedIsShownOnceAndProvesWhatItSays(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.give(t, "MembershipCredential", credential.Subject{"holderIdentifier": "BPNL00000000BOR1"})
	w.give(t, "BpnCredential", credential.Subject{"bpn": "BPNL00000000BOR1"})
	access, err := w.holder.Grant(local, cobalt, scopes)
	check(t, err)
	verifier := participant.Peer{DID: cobalt, AccessToken: access}
	shown, err := w.holder.Present(t.Context(), local, verifier, scopes)
	check(t, err)
	w.answer = func() ([]string, error) { return shown, nil }
	bpn, types, err := w.claims(t)
	if err != nil || bpn != "BPNL00000000BOR1" || len(types) != 2 {
		t.Errorf("proven %q %v, %v", bpn, types, err)
	}
	if _, _, err := w.claims(t); err != nil || w.queries.Load() != 1 {
		t.Errorf("the second look asked again: %d queries, %v", w.queries.Load(), err)
	}
	if _, err := w.holder.Present(t.Context(), local, verifier, scopes); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("an access token opened twice: %v", err)
	}
}

func TestAnAccessTokenOpensForWhomAndWhatItWasGranted(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.give(t, "MembershipCredential", nil)
	w.give(t, "BpnCredential", credential.Subject{"bpn": "BPNL00000000BOR1"})
	grant := func() string {
		access, err := w.holder.Grant(local, cobalt, scopes[:1])
		check(t, err)
		return access
	}
	shown, err := w.holder.Present(t.Context(), local, participant.Peer{DID: cobalt, AccessToken: grant()}, scopes)
	check(t, err)
	w.answer = func() ([]string, error) { return shown, nil }
	if _, types, err := w.claims(t); err != nil || len(types) != 1 || types[0] != "MembershipCredential" {
		t.Errorf("asking for more than was granted showed %v, %v", types, err)
	}
	for name, peer := range map[string]participant.Peer{"another verifier": {DID: dusk, AccessToken: grant()}, "none": {DID: cobalt}, "a changed one": {DID: cobalt, AccessToken: grant() + "A"},
		"nonsense": {DID: cobalt, AccessToken: "sluice-at1.e30.AAAA"}} {
		if _, err := w.holder.Present(t.Context(), local, peer, scopes); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	access := grant()
	other := participant.Participant{Slug: "dusk", DID: dusk}
	if _, err := w.holder.Present(t.Context(), other, participant.Peer{DID: cobalt, AccessToken: access}, scopes); err == nil {
		t.Error("one company's access token opened another's wallet")
	}
	for _, bad := range [][]string{nil, {"x"}, {"unknown:Type:read"}, {"org.eclipse.tractusx.vc.type:MembershipCredential:write"}, make([]string, 21)} {
		if _, err := w.holder.Present(t.Context(), local, participant.Peer{DID: cobalt, AccessToken: grant()}, bad); !fault.Is(err, fault.Malformed) {
			t.Errorf("scopes %v: %v", bad, err)
		}
	}
}

// members of a good credential and a good presentation, to be changed by the cases.
func goodVC() map[string]any {
	return map[string]any{"iss": meridian, "sub": boreal, "jti": "urn:x", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "vc": goodInner()}
}

func goodInner() map[string]any {
	return map[string]any{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "id": "urn:x", "type": []string{"VerifiableCredential", "MembershipCredential"}, "issuer": meridian,
		"issuanceDate": now.Format(time.RFC3339), "expirationDate": now.Add(time.Hour).Format(time.RFC3339), "credentialSubject": map[string]any{"id": boreal, "memberOf": "Meridian"}}
}

func goodVP(n int, credentials ...string) map[string]any {
	return map[string]any{"iss": boreal, "sub": boreal, "aud": cobalt, "jti": fmt.Sprint("vp-", n), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 60,
		"vp": map[string]any{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "type": []string{"VerifiablePresentation"}, "holder": boreal, "verifiableCredential": credentials}}
}

func with(m map[string]any, name string, value any) map[string]any {
	out := maps.Clone(m)
	if value == nil {
		delete(out, name)
		return out
	}
	out[name] = value
	return out
}

func inner(name string, value any) map[string]any {
	return with(goodVC(), "vc", with(goodInner(), name, value))
}

func TestEachStepOfThePresentationRefuses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	n := 0
	sign := func(did participant.DID, use identity.Use, claims any) string {
		token, err := identity.SignJWT(string(did), w.keys[did], use, "JWT", claims)
		check(t, err)
		return token
	}
	vc := func(claims any) string { return sign(meridian, identity.UseIssue, claims) }
	vp := func(credentials ...string) string {
		n++
		return sign(boreal, identity.UseToken, goodVP(n, credentials...))
	}
	w.answer = func() ([]string, error) { return []string{vp(vc(goodVC()))}, nil }
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Fatalf("the presentation that the others are made from: %v, %v", types, err)
	}
	good := vc(goodVC())
	many := make([]string, 51)
	for i := range many {
		many[i] = good
	}
	presentation := func(name string, value any) string {
		n++
		return sign(boreal, identity.UseToken, with(goodVP(n, good), name, value))
	}
	replayed := vp(good)
	for name, answer := range map[string][]string{
		"a credential of an untrusted issuer":    {vp(sign(dusk, identity.UseIssue, with(with(goodVC(), "iss", dusk), "vc", with(goodInner(), "issuer", dusk))))},
		"a credential in another's name":         {vp(sign(dusk, identity.UseIssue, goodVC()))},
		"a type that the issuer may not issue":   {vp(vc(inner("type", []string{"VerifiableCredential", "DismantlerCredential"})))},
		"a credential for somebody else":         {vp(vc(with(with(goodVC(), "sub", dusk), "vc", with(goodInner(), "credentialSubject", map[string]any{"id": dusk}))))},
		"a subject that is not the token's":      {vp(vc(inner("credentialSubject", map[string]any{"id": dusk})))},
		"a subject without id":                   {vp(vc(inner("credentialSubject", map[string]any{"memberOf": "x"})))},
		"two subjects, one of them another":      {vp(vc(inner("credentialSubject", []any{map[string]any{"id": boreal}, map[string]any{"id": dusk}})))},
		"an issuer that is not the token's":      {vp(vc(inner("issuer", dusk)))},
		"a credential that has expired":          {vp(vc(inner("expirationDate", now.Format(time.RFC3339))))},
		"a token around it that has expired":     {vp(vc(with(goodVC(), "exp", now.Unix())))},
		"a credential from the future":           {vp(vc(inner("issuanceDate", now.Add(time.Hour).Format(time.RFC3339))))},
		"a credential that never expires":        {vp(vc(with(inner("expirationDate", nil), "exp", nil)))},
		"a date that is none":                    {vp(vc(inner("expirationDate", "soon")))},
		"a status that cannot be checked":        {vp(vc(inner("credentialStatus", map[string]any{"type": "StatusList2021Entry"})))},
		"a schema that cannot be checked":        {vp(vc(inner("credentialSchema", map[string]any{"type": "JsonSchema"})))},
		"a credential without type of its own":   {vp(vc(inner("type", []string{"VerifiableCredential"})))},
		"another data model":                     {vp(vc(inner("@context", []string{"https://www.w3.org/ns/credentials/v2"})))},
		"a credential signed with the wrong key": {vp(sign(meridian, identity.UseToken, goodVC()))},
		"a changed credential":                   {vp(good[:len(good)-4] + "AAAA")},
		"one bad credential among good ones":     {vp(good, vc(inner("expirationDate", "soon")))},
		"too many credentials":                   {vp(many...)},
		"a presentation of somebody else":        {sign(dusk, identity.UseToken, with(with(goodVP(1, good), "iss", dusk), "sub", dusk))},
		"a presentation signed by somebody else": {sign(dusk, identity.UseToken, goodVP(1001, good))},
		"a presentation for somebody else":       {presentation("aud", dusk)},
		"a presentation for two":                 {presentation("aud", []any{cobalt, dusk})},
		"a presentation that has expired":        {presentation("exp", now.Unix()-31)},
		"a presentation without end":             {presentation("exp", nil)},
		"a presentation without id":              {presentation("jti", nil)},
		"a presentation with another holder":     {presentation("vp", map[string]any{"type": "VerifiablePresentation", "holder": dusk, "verifiableCredential": []string{good}})},
		"no presentation at all":                 {presentation("vp", nil)},
		"two presentations in one":               {presentation("vp", []any{map[string]any{"type": "VerifiablePresentation"}, map[string]any{"type": "VerifiablePresentation"}})},
		"a presentation of another type":         {presentation("vp", map[string]any{"type": "Something", "verifiableCredential": []string{good}})},
		"the same presentation twice":            {replayed, replayed},
		"too many presentations":                 strings.Split(strings.Repeat("x ", 11), " "),
		"nonsense":                               {"x.y.z"},
	} {
		w.verifier.Forget(boreal)
		w.answer = func() ([]string, error) { return answer, nil }
		if _, types, err := w.claims(t); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: proven %v, %v", name, types, err)
		}
	}
	w.verifier.Forget(boreal)
	w.answer = func() ([]string, error) { return nil, nil }
	if _, types, err := w.claims(t); err != nil || len(types) != 0 {
		t.Errorf("who shows nothing has proven %v, %v", types, err)
	}
}

func TestTwoBusinessPartnerNumbersProveNone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.give(t, "MembershipCredential", credential.Subject{"holderIdentifier": "BPNL00000000BOR1"})
	w.give(t, "BpnCredential", credential.Subject{"bpn": "BPNL00000000AUR1"})
	if party, err := w.verifier.Own(t.Context(), local); err == nil {
		t.Errorf("proven %q", party.BPN)
	}
}

func FuzzParseScope(f *testing.F) {
	f.Add("org.eclipse.tractusx.vc.type:MembershipCredential:read")
	f.Add("org.eclipse.dspace.dcp.vc.id:urn:uuid:1")
	f.Fuzz(func(t *testing.T, s string) {
		if scope, err := credential.ParseScope(s); err == nil && scope.Value == "" {
			t.Errorf("%q selects nothing", s)
		}
	})
}
