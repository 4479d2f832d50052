package credential_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
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
	now      time.Time
	keys     map[participant.DID]*keyring.Ring
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
	w := &world{now: now, keys: map[participant.DID]*keyring.Ring{}}
	documents := map[string][]byte{}
	for _, did := range []participant.DID{meridian, boreal, cobalt, dusk} {
		k, err := keyring.Draw("company", rand.Reader, time.Now)
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
	clock := func() time.Time { return w.now }
	resolver := identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) {
		doc, ok := documents[url]
		if !ok {
			return nil, fmt.Errorf("nothing at %s", url)
		}
		return doc, nil
	}, clock)
	w.holder = &credential.Holder{Wallet: w, Keys: func(p participant.Participant) (identity.Keys, error) { return w.keys[p.DID], nil }, Replay: store, Now: clock, Rand: rand.Reader}
	w.verifier = credential.NewVerifier(credential.VerifierConfig{Querier: w, Tokens: identity.NewVerifier(resolver, store, clock),
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
	_, token, err := issuer.Issue(t.Context(), boreal, kind, subject, time.Hour)
	check(t, err)
	stored, err := credential.Read(token, boreal)
	check(t, err)
	w.wallet = append(w.wallet, stored)
}

func (w *world) claims(t *testing.T) (bpn string, types []string, err error) {
	t.Helper()
	return w.claimsOf(t, participant.Peer{DID: boreal, Key: "a", AccessToken: "x"})
}

func (w *world) claimsOf(t *testing.T, peer participant.Peer) (bpn string, types []string, err error) {
	t.Helper()
	party, err := w.verifier.Claims(t.Context(), participant.Participant{Slug: "cobalt", DID: cobalt}, peer)
	for _, c := range party.Credentials {
		types = append(types, c.Type)
	}
	return party.BPN(now), types, err
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
		token, err := identity.SignJWT(t.Context(), string(did), w.keys[did], use, "JWT", claims, time.Time{})
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
	foreign, err := identity.SignJWT(t.Context(), string(boreal), w.keys[dusk], identity.UseToken, "JWT", goodVP(1002, good), time.Time{})
	check(t, err)
	for name, tt := range map[string]struct {
		answer []string
		want   string
	}{
		"a credential of an untrusted issuer":      {[]string{vp(sign(dusk, identity.UseIssue, with(with(goodVC(), "iss", dusk), "vc", with(goodInner(), "issuer", dusk))))}, "credential.untrusted"},
		"a credential in another's name":           {[]string{vp(sign(dusk, identity.UseIssue, goodVC()))}, "credential.kid"},
		"a type that the issuer may not issue":     {[]string{vp(vc(inner("type", []string{"VerifiableCredential", "DismantlerCredential"})))}, "credential.untrusted"},
		"a credential for somebody else":           {[]string{vp(vc(with(with(goodVC(), "sub", dusk), "vc", with(goodInner(), "credentialSubject", map[string]any{"id": dusk}))))}, "credential.holder"},
		"a subject that is not the token's":        {[]string{vp(vc(inner("credentialSubject", map[string]any{"id": dusk})))}, "credential.subject"},
		"a subject without id":                     {[]string{vp(vc(inner("credentialSubject", map[string]any{"memberOf": "x"})))}, "credential.subject"},
		"two subjects, one of them another":        {[]string{vp(vc(inner("credentialSubject", []any{map[string]any{"id": boreal}, map[string]any{"id": dusk}})))}, "credential.subject"},
		"an issuer that is not the token's":        {[]string{vp(vc(inner("issuer", dusk)))}, "credential.issuer"},
		"a credential that has expired":            {[]string{vp(vc(inner("expirationDate", now.Format(time.RFC3339))))}, "credential.expired"},
		"a token around it that has expired":       {[]string{vp(vc(with(goodVC(), "exp", now.Unix())))}, "credential.expired"},
		"a credential from the future":             {[]string{vp(vc(inner("issuanceDate", now.Add(time.Hour).Format(time.RFC3339))))}, "credential.early"},
		"a credential that never expires":          {[]string{vp(vc(with(inner("expirationDate", nil), "exp", nil)))}, "credential.validity"},
		"an end in another spelling":               {[]string{vp(vc(with(with(goodVC(), "exp", nil), "vc", with(with(goodInner(), "expirationDate", nil), "ExpirationDate", now.Add(time.Hour).Format(time.RFC3339)))))}, "ExpirationDate"},
		"a presentation's issuer in another one":   {[]string{sign(boreal, identity.UseToken, with(with(goodVP(1002, good), "iss", nil), "ISS", boreal))}, "ISS"},
		"a date that is none":                      {[]string{vp(vc(inner("expirationDate", "soon")))}, "credential.validity"},
		"a status that cannot be checked":          {[]string{vp(vc(inner("credentialStatus", map[string]any{"type": "StatusList2021Entry"})))}, "credential.status"},
		"a schema that cannot be checked":          {[]string{vp(vc(inner("credentialSchema", map[string]any{"type": "JsonSchema"})))}, "credential.schema"},
		"a credential without type of its own":     {[]string{vp(vc(inner("type", []string{"VerifiableCredential"})))}, "credential.type"},
		"another data model":                       {[]string{vp(vc(inner("@context", []string{"https://www.w3.org/ns/credentials/v2"})))}, "credential.type"},
		"a credential signed with the wrong key":   {[]string{vp(sign(meridian, identity.UseToken, goodVC()))}, "not listed under assertionMethod"},
		"a changed credential":                     {[]string{vp(good[:len(good)-4] + "AAAA")}, "credential: token.signature"},
		"one bad credential among good ones":       {[]string{vp(good, vc(inner("expirationDate", "soon")))}, "credential.validity"},
		"too many credentials":                     {[]string{vp(many...)}, "presentation.count"},
		"a presentation of somebody else":          {[]string{sign(dusk, identity.UseToken, with(with(goodVP(1, good), "iss", dusk), "sub", dusk))}, "presentation.issuer"},
		"a presentation signed by somebody else":   {[]string{sign(dusk, identity.UseToken, goodVP(1001, good))}, "presentation.kid"},
		"a presentation signed with a foreign key": {[]string{foreign}, "token.key-unknown"},
		"a presentation for somebody else":         {[]string{presentation("aud", dusk)}, "presentation.audience"},
		"a presentation for two":                   {[]string{presentation("aud", []any{cobalt, dusk})}, "presentation.audience"},
		"a presentation that has expired":          {[]string{presentation("exp", now.Unix()-31)}, "presentation: token.expired"},
		"a presentation without end":               {[]string{presentation("exp", nil)}, "presentation: token.time"},
		"a presentation without id":                {[]string{presentation("jti", nil)}, "presentation.jti"},
		"a presentation with another holder":       {[]string{presentation("vp", map[string]any{"type": "VerifiablePresentation", "holder": dusk, "verifiableCredential": []string{good}})}, "presentation.holder"},
		"no presentation at all":                   {[]string{presentation("vp", nil)}, "presentation.syntax"},
		"two presentations in one":                 {[]string{presentation("vp", []any{map[string]any{"type": "VerifiablePresentation"}, map[string]any{"type": "VerifiablePresentation"}})}, "presentation.syntax"},
		"a presentation of another type":           {[]string{presentation("vp", map[string]any{"type": "Something", "verifiableCredential": []string{good}})}, "presentation.type"},
		"the same presentation twice":              {[]string{replayed, replayed}, "presentation.replayed"},
		"too many presentations":                   {strings.Split(strings.Repeat("x ", 11), " "), "presentation.count"},
		"nonsense":                                 {[]string{"x.y.z"}, "presentation.syntax"},
	} {
		w.verifier.Forget(boreal)
		w.answer = func() ([]string, error) { return tt.answer, nil }
		if _, types, err := w.claims(t); !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: proven %v, %v; want %s", name, types, err, tt.want)
		}
	}
	w.verifier.Forget(boreal)
	w.answer = func() ([]string, error) { return nil, nil }
	if _, types, err := w.claims(t); err != nil || len(types) != 0 {
		t.Errorf("who shows nothing has proven %v, %v", types, err)
	}
}

func TestWhatIsRememberedStandsForTheSameKeyWithAnAccessToken(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.answer = func() ([]string, error) { return nil, nil }
	for _, step := range []struct {
		name string
		wait time.Duration
		peer participant.Peer
		asks int32
		ok   bool
	}{
		{"the first time", 0, participant.Peer{DID: boreal, Key: "a", AccessToken: "x"}, 1, true},
		{"again", 5*time.Minute - 1, participant.Peer{DID: boreal, Key: "a", AccessToken: "y"}, 0, true},
		{"without access token", 0, participant.Peer{DID: boreal, Key: "a"}, 0, false},
		{"with another key", 0, participant.Peer{DID: boreal, Key: "b", AccessToken: "x"}, 1, true},
		{"after five minutes", 5 * time.Minute, participant.Peer{DID: boreal, Key: "b", AccessToken: "x"}, 1, true},
	} {
		w.now = w.now.Add(step.wait)
		before := w.queries.Load()
		_, _, err := w.claimsOf(t, step.peer)
		if asks := w.queries.Load() - before; asks != step.asks || (err == nil) != step.ok || err != nil && !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: asked %d times, want %d; %v", step.name, asks, step.asks, err)
		}
	}
}

// T-05: a credential service that fails, or whatever a peer calls one, is left alone for a while.
func TestAFailedQueryIsRememberedForTenSeconds(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.answer = func() ([]string, error) { return nil, errors.New("nobody there") }
	for _, step := range []struct {
		wait time.Duration
		key  string
		asks int32
	}{{0, "a", 1}, {10*time.Second - 1, "a", 0}, {0, "b", 0}, {1, "a", 1}} {
		w.now = w.now.Add(step.wait)
		before := w.queries.Load()
		_, _, err := w.claimsOf(t, participant.Peer{DID: boreal, Key: step.key, AccessToken: "x"})
		if asks := w.queries.Load() - before; asks != step.asks || !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "nobody there") {
			t.Errorf("%v later: asked %d times, want %d; %v", step.wait, asks, step.asks, err)
		}
	}
	w.now = w.now.Add(10 * time.Second)
	w.answer = func() ([]string, error) { return nil, nil }
	if _, _, err := w.claims(t); err != nil {
		t.Errorf("once it answers: %v", err)
	}
}

func TestTwoBusinessPartnerNumbersProveNone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.give(t, "MembershipCredential", credential.Subject{"holderIdentifier": "BPNL00000000BOR1"})
	w.give(t, "BpnCredential", credential.Subject{"bpn": "BPNL00000000AUR1"})
	if party, err := w.verifier.Own(t.Context(), local); err == nil {
		t.Errorf("proven %q", party.BPN(now))
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

func FuzzParsePresentation(f *testing.F) {
	f.Add([]byte(`{"@context":["https://www.w3.org/2018/credentials/v1"],"type":"VerifiablePresentation","holder":"did:web:x","verifiableCredential":["a.b.c"]}`))
	f.Add([]byte(`[{"type":["VerifiablePresentation"]}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		again, err := credential.ParsePresentation(raw)
		if err != nil {
			return
		}
		if back, err := credential.ParsePresentation(again); err != nil || string(back) != string(again) {
			t.Errorf("%s was accepted and reads back as %s, %v", raw, back, err)
		}
	})
}

// FuzzRead reads credentials of any payload in a token that is well-formed.
func FuzzRead(f *testing.F) {
	for _, claims := range []map[string]any{goodVC(), inner("credentialSubject", []any{map[string]any{"id": boreal}}), inner("issuer", map[string]any{"id": meridian})} {
		payload, err := json.Marshal(claims)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		token := "eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(payload) + ".AA"
		got, err := credential.Read(token, boreal)
		if err != nil {
			return
		}
		c := got.Fact
		if got.Token != token || c.Type == "" || c.Issuer == "" || c.Digest == "" || c.NotBefore.IsZero() || c.NotAfter.IsZero() || c.Subject["id"] != string(boreal) {
			t.Errorf("%s was accepted as %+v", payload, got)
		}
	})
}
