package credential_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

func TestACredentialCountsForTheTypesThatItsIssuerMayIssue(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, tt := range []struct {
		types []string
		want  []string
	}{
		{[]string{"VerifiableCredential", "MembershipCredential", "DismantlerCredential"}, []string{"MembershipCredential"}}, // 8.13
		{[]string{"DismantlerCredential", "MembershipCredential", "VerifiableCredential"}, []string{"MembershipCredential"}},
		{[]string{"VerifiableCredential", "MembershipCredential", "BpnCredential", "BpnCredential"}, []string{"BpnCredential", "MembershipCredential"}},
	} {
		w.verifier.ForgetAll()
		w.presents(t, w.vc(t, inner("type", tt.types)))
		if _, types, err := w.claims(t); err != nil || !slices.Equal(types, tt.want) {
			t.Errorf("%v proves %v, %v", tt.types, types, err)
		}
	}
}

func TestATypeThatIssuersSayOfThemselvesSatisfiesNoScope(t *testing.T) {
	t.Parallel()
	w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) {
		c.Required = []string{"org.eclipse.tractusx.vc.type:DismantlerCredential:read"}
	}})
	w.presents(t, w.vc(t, inner("type", []string{"VerifiableCredential", "MembershipCredential", "DismantlerCredential"})))
	w.refused(t, "8.13 a type on the side", "scope.unsatisfied")
}

func TestEveryRequiredScopeMustBeSatisfied(t *testing.T) {
	t.Parallel()
	w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) {
		c.Required = []string{"org.eclipse.dspace.dcp.vc.type:MembershipCredential:read", "org.eclipse.dspace.dcp.vc.id:urn:x", "org.eclipse.dspace.dcp.vc.type:https://www.w3.org/2018/credentials/v1#MembershipCredential"}
	}})
	for _, tt := range []struct {
		name string
		show func() []string
		want string
	}{
		{"no presentation", func() []string { return nil }, "scope.unsatisfied"},
		{"a presentation of nothing", func() []string { return []string{w.vp(t)} }, "scope.unsatisfied"},
		{"another credential", func() []string {
			return []string{w.vp(t, w.vc(t, inner("type", []string{"VerifiableCredential", "BpnCredential"})))}
		}, "scope.unsatisfied"},
		{"the type under another id", func() []string { return []string{w.vp(t, w.vc(t, inner("id", "urn:x2")))} }, "scope.unsatisfied"},
		{"the type in another context", func() []string { return []string{w.vp2(t, w.vc2(t, with(goodVC2(), "id", "urn:x")))} }, "scope.unsatisfied"},
		{"what is required, and more", func() []string {
			return []string{w.vp(t, w.vc(t, goodVC()), w.vc(t, inner("type", []string{"VerifiableCredential", "BpnCredential"})))}
		}, ""},
	} {
		w.verifier.ForgetAll()
		w.shows(tt.show()...)
		if _, _, err := w.claims(t); credential.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestAProfileThatIsNotAcceptedIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.trust.Profiles = []string{credential.Profile11}
	w.shows(w.vp2(t, w.vc2(t, goodVC2())))
	w.refused(t, "version 2.0 where only 1.1 is accepted", "presentation.profile")
	w.verifier.ForgetAll()
	w.presents(t, w.vc(t, goodVC()))
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Errorf("version 1.1: %v, %v", types, err)
	}
}

func TestClocksMayDifferByTheLeewayOfTheTrust(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ trust, within time.Duration }{{0, 30 * time.Second}, {5 * time.Second, 5 * time.Second}, {time.Hour, 30 * time.Second}} {
		w := setup(t)
		w.trust.Clock = tt.trust
		for _, off := range []time.Duration{tt.within, tt.within + time.Second} {
			ok := off == tt.within
			for name, show := range map[string]func(*testing.T, *world) []string{
				"a credential":                        inVP(with(goodVC(), "nbf", now.Add(off).Unix())),
				"a presentation":                      vp11("iat", now.Add(off).Unix()),
				"a presentation that has ended":       vp11("exp", now.Add(-off+time.Second).Unix()),
				"a presentation that has not started": vp11("nbf", now.Add(off).Unix()),
			} {
				if name == "a presentation that has ended" {
					show = one(func(t *testing.T, w *world) string {
						claims := with(with(w.goodVP(w.vc(t, goodVC())), "iat", now.Add(-time.Minute).Unix()), "exp", now.Add(time.Second-off).Unix())
						return w.sign(t, boreal, identity.UseToken, "JWT", claims)
					})
				}
				w.verifier.ForgetAll()
				w.shows(show(t, w)...)
				if _, _, err := w.claims(t); (err == nil) != ok {
					t.Errorf("leeway %v, %s off by %v: %v", tt.trust, name, off, err)
				}
			}
		}
	}
}

func TestATokenWithoutAccessTokenProvesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	_, _, err := w.claimsOf(t, participant.Peer{DID: boreal, Key: "a"})
	if credential.CodeOf(err) != "token.access" || w.queries.Load() != 0 {
		t.Errorf("%v after %d queries", err, w.queries.Load())
	}
}

func TestAQueryThatFailsIsItsOwnStep(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.answer = func() ([]string, error) { return nil, errors.New("nobody there") }
	w.refused(t, "a credential service that is away", "presentation.query")
}

// 8.18: what is remembered lives no longer than the shortest life in it, and five minutes at most.
func TestWhatWasProvenIsRememberedForTheShortestLifeInIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		show func(t *testing.T, w *world) string
		life time.Duration
	}{
		{"five minutes", func(t *testing.T, w *world) string {
			return w.sign(t, boreal, identity.UseToken, "JWT", with(w.goodVP(w.vc(t, goodVC())), "exp", w.clock().Add(10*time.Minute).Unix()))
		}, 5 * time.Minute},
		{"the presentation's", func(t *testing.T, w *world) string {
			return w.sign(t, boreal, identity.UseToken, "JWT", with(w.goodVP(w.vc(t, goodVC())), "exp", w.clock().Add(time.Minute).Unix()))
		}, time.Minute},
		{"the credential's", func(t *testing.T, w *world) string {
			return w.vp(t, w.vc(t, goodVC()), w.vc(t, inner("expirationDate", w.clock().Add(time.Minute).Format(time.RFC3339))))
		}, time.Minute},
		{"the token's around the credential", func(t *testing.T, w *world) string {
			return w.vp(t, w.vc(t, with(goodVC(), "exp", w.clock().Add(time.Minute).Unix())))
		}, time.Minute},
		{"the status list's", func(t *testing.T, w *world) string {
			url := w.origin + listPath
			claims := with(w.list(url, listSubject(t, statuslist.Bitstring, statuslist.Revocation)), "validUntil", w.clock().Add(time.Minute).Format(time.RFC3339))
			w.serve(listPath, says(w.sign(t, meridian, identity.UseIssue, "vc+jwt", claims)))
			return w.vp(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
		}, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.answer = func() ([]string, error) { return []string{tt.show(t, w)}, nil }
			for _, step := range []struct {
				wait time.Duration
				asks int32
			}{{0, 1}, {tt.life - time.Microsecond, 1}, {time.Microsecond, 2}} {
				w.wait(step.wait)
				if _, _, err := w.claims(t); err != nil || w.queries.Load() != step.asks {
					t.Fatalf("after %v more: %d queries, want %d; %v", step.wait, w.queries.Load(), step.asks, err)
				}
			}
		})
	}
}

func TestAKitMayHaveNothingRemembered(t *testing.T) {
	t.Parallel()
	w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) { c.Remember = 0 }})
	w.shows(w.vp(t, w.vc(t, goodVC())))
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.shows("junk")
	w.refused(t, "another part under the same name", "presentation.syntax")
	w.presents(t, w.vc(t, goodVC()))
	if _, _, err := w.claims(t); err != nil || w.queries.Load() != 3 {
		t.Errorf("and the first one again: %v after %d queries", err, w.queries.Load())
	}
}

// Verified exchanges need no call beyond the first within the life of what was presented.
func TestTheSecondExchangeOfAPairMakesNoCallAtAll(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation))
	schema := w.serve("/schema/s.json", says(`{"type":"object"}`))
	vc := with(with(goodInner(), "credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation)), "credentialSchema", members{"id": schema, "type": "JsonSchema"})
	w.presents(t, w.vc(t, with(goodVC(), "vc", vc)))
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	first := w.calls.Counts()
	want := map[credential.Call]int64{credential.CallDocument: 2, credential.CallPresentation: 1, credential.CallList: 1, credential.CallSchema: 1}
	for kind, n := range want {
		if first[kind] != n {
			t.Errorf("the first exchange made %d calls for a %s, want %d", first[kind], kind, n)
		}
	}
	w.wait(5*time.Minute - time.Microsecond)
	for range 100 {
		if _, _, err := w.claimsOf(t, participant.Peer{DID: boreal, Key: "a", AccessToken: fmt.Sprint(w.serial)}); err != nil {
			t.Fatal(err)
		}
	}
	if more := w.made() - 5; more != 0 {
		t.Errorf("a hundred more exchanges made %d calls", more)
	}
}

// 8.21: one request must not make us call the whole world.
func TestOneRequestCausesABoundedNumberOfCalls(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var vcs []string
	for i := range 25 {
		url := w.publish(t, fmt.Sprint("/status/", i), listSubject(t, statuslist.Bitstring, statuslist.Revocation))
		vcs = append(vcs, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
	}
	w.presents(t, vcs...)
	w.refused(t, "25 lists", "verification.budget")
	if n := w.made(); n != credential.MaxCalls {
		t.Errorf("it made %d calls, want %d", n, credential.MaxCalls)
	}
	// A second try finds what the first one fetched.
	w.verifier.ForgetAll()
	if _, types, err := w.claims(t); err != nil || len(types) != 25 {
		t.Errorf("the second try: %v, %v", types, err)
	}
}

// 8.21: before the issuer is known to be trusted, nothing is fetched on a credential's account.
func TestNothingIsFetchedForACredentialOfAStranger(t *testing.T) {
	t.Parallel()
	w := setup(t)
	claims := with(with(goodVC(), "iss", dusk), "vc", with(with(goodInner(), "issuer", dusk), "credentialStatus", entry(statuslist.Bitstring, w.origin+listPath, 7, statuslist.Revocation)))
	w.presents(t, w.sign(t, dusk, identity.UseIssue, "JWT", claims))
	w.refused(t, "a credential of an issuer that is not trusted", "credential.untrusted")
	if n := w.calls.Counts(); n[credential.CallDocument] != 1 || w.visits(listPath) != 0 {
		t.Errorf("calls %v, looks at the list %d", n, w.visits(listPath))
	}
}

func TestCredentialsOfBothDataModelsAreShownApart(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.keep(t, w.vc(t, goodVC()))
	w.keep(t, w.vc2(t, with(goodVC2(), "type", []string{"VerifiableCredential", "BpnCredential"})))
	access, err := w.holder.Grant(local, cobalt, scopes)
	check(t, err)
	shown, err := w.holder.Present(t.Context(), local, participant.Peer{DID: cobalt, AccessToken: access}, scopes)
	check(t, err)
	if len(shown) != 2 {
		t.Fatalf("%d presentations", len(shown))
	}
	w.shows(shown...)
	if _, types, err := w.claims(t); err != nil || !slices.Equal(types, []string{"BpnCredential", "MembershipCredential"}) {
		t.Errorf("proven %v, %v", types, err)
	}
}

func TestASubjectWithoutIdIsTheTokens(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.presents(t, w.vc(t, with(inner("credentialSubject", members{"memberOf": "Meridian"}), "jti", "urn:z")))
	party, err := w.party(t, caller)
	if err != nil || len(party.Credentials) != 1 || party.Credentials[0].Subject["id"] != string(boreal) {
		t.Errorf("proven %+v, %v", party, err)
	}
}

func TestWhatThePolicyReadsIsWhatWasSigned(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.presents(t, w.vc(t, with(inner("credentialSubject", members{"id": boreal, "memberOf": "Meridian", "holderIdentifier": "BPNL00000000BOR1", "level": 7}), "exp", now.Add(30*time.Minute).Unix())))
	party, err := w.party(t, caller)
	check(t, err)
	c := party.Credentials[0]
	if c.Type != "MembershipCredential" || c.Issuer != string(meridian) || c.ID != "urn:x" || c.BPN != "BPNL00000000BOR1" || len(c.Subject) != 3 || len(c.Digest) != 64 ||
		!c.NotBefore.Equal(now) || !c.NotAfter.Equal(now.Add(30*time.Minute)) {
		t.Errorf("%+v", c)
	}
	if party.DID != string(boreal) {
		t.Errorf("the party is %s", party.DID)
	}
}

func TestASecondEnvelopeIsOpenedWhereTheSettingsSaySo(t *testing.T) {
	t.Parallel()
	w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) { c.Envelope = true }})
	inside := func(change func(members) members) string {
		return w.sign(t, boreal, identity.UseToken, "vp+jwt", change(w.goodVP2(w.vc2(t, goodVC2()))))
	}
	same := func(m members) members { return m }
	bare := func(m members) members {
		for _, name := range []string{"iss", "aud", "exp", "iat", "jti"} {
			m = with(m, name, nil)
		}
		return m
	}
	untyped := members{"alg": "ES256", "kid": w.kid(boreal, identity.UseToken)}
	for _, tt := range []struct{ name, token, want string }{
		{"around a presentation that says all", w.wrap(t, boreal, inside(same), nil), ""},
		{"around one that says for whom in the envelope alone", w.wrap(t, boreal, inside(bare), members{"iss": boreal, "aud": cobalt, "iat": now.Unix(), "exp": now.Unix() + 60, "jti": "e1"}), ""},
		{"around one that says nothing, nor does the envelope", w.wrap(t, boreal, inside(bare), nil), ""},
		{"around one that is of no type of token, since the envelope says what it is", w.wrap(t, boreal, w.forge(t, boreal, identity.UseToken, untyped, bare(w.goodVP2(w.vc2(t, goodVC2())))), nil), ""},
		{"around one that is of another type of token", w.wrap(t, boreal, w.sign(t, boreal, identity.UseToken, "JWT", bare(w.goodVP2(w.vc2(t, goodVC2())))), nil), "presentation.syntax"},
		{"one of no type of token without an envelope", w.forge(t, boreal, identity.UseToken, untyped, w.goodVP2(w.vc2(t, goodVC2()))), "presentation.syntax"},
		{"an envelope for somebody else", w.wrap(t, boreal, inside(bare), members{"aud": dusk, "iat": now.Unix(), "exp": now.Unix() + 60}), "presentation.audience"},
		{"a presentation for somebody else", w.wrap(t, boreal, inside(func(m members) members { return with(m, "aud", dusk) }), members{"aud": cobalt}), "presentation.audience"},
		{"a presentation for nobody, with an end", w.wrap(t, boreal, inside(func(m members) members { return with(m, "aud", nil) }), nil), "presentation.audience"},
		{"an envelope that has expired", w.wrap(t, boreal, inside(bare), members{"aud": cobalt, "iat": now.Unix() - 300, "exp": now.Unix() - 60}), "presentation.time"},
		{"an envelope of somebody else", w.wrap(t, dusk, inside(same), nil), "presentation.kid"},
		{"an envelope in another's name", w.wrap(t, boreal, inside(same), members{"iss": dusk}), "presentation.issuer"},
		{"a presentation of somebody else", w.wrap(t, boreal, w.sign(t, dusk, identity.UseToken, "vp+jwt", bare(w.goodVP2(w.vc2(t, goodVC2())))), nil), "presentation.kid"},
		{"an envelope in an envelope", w.wrap(t, boreal, w.wrap(t, boreal, inside(same), nil), nil), "presentation.syntax"},
		{"an envelope whose signature is another's", zeros(w.wrap(t, boreal, inside(same), nil)), "presentation.signature"},
	} {
		w.verifier.ForgetAll()
		w.shows(tt.token)
		if _, _, err := w.claims(t); credential.CodeOf(err) != tt.want || tt.want == "" && err != nil {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

const (
	firstModel  = "https://www.w3.org/2018/credentials/v1"
	secondModel = "https://www.w3.org/ns/credentials/v2"
	furtherOne  = "https://boreal.example/contexts/v1"
)

// bodyOf is a presentation of version 1.1 around a good credential, with these contexts or none.
func bodyOf(contexts any) func(*testing.T, *world) []string {
	return one(func(t *testing.T, w *world) string {
		claims := w.goodVP(w.vc(t, goodVC()))
		return w.sign(t, boreal, identity.UseToken, "JWT", with(claims, "vp", with(claims["vp"].(members), "@context", contexts)))
	})
}

// nameless is a good credential whose token names a subject that is no DID.
func nameless() members { return with(goodVC(), "sub", "e0b9c1f2-6a35-4a8e-9c55-3f0f6f0d6b51") }

// What may be left out by who is named for it, and the step at which everybody else is refused for it.
var leftOut = []attempt{
	{"a presentation without contexts", "presentation.type", bodyOf(nil)},
	{"a presentation with its model's context in the second place", "presentation.type", bodyOf([]string{furtherOne, firstModel})},
	{"a presentation with another context than its model's", "presentation.type", bodyOf(furtherOne)},
	{"a presentation of version 2.0 without contexts", "presentation.type", vp20("@context", nil)},
	{"a credential without contexts", "credential.type", inVP(inner("@context", nil))},
	{"a credential with its model's context in the second place", "credential.type", inVP(inner("@context", []string{furtherOne, firstModel}))},
	{"a credential of version 2.0 without contexts", "credential.type", inVP2(with(goodVC2(), "@context", nil))},
	{"a credential that does not say that it is one", "credential.type", inVP(inner("type", []string{"MembershipCredential"}))},
	{"a credential of version 2.0 that does not say that it is one", "credential.type", inVP2(with(goodVC2(), "type", "MembershipCredential"))},
	{"a token whose subject is no DID", "credential.subject", inVP(nameless())},
}

func TestWhoIsInformalMayLeaveOutForm(t *testing.T) {
	t.Parallel()
	for name, informal := range map[string]map[participant.DID]bool{"nobody": nil, "the holder and the issuer": {boreal: true, meridian: true},
		"others": {dusk: true, cobalt: true, lookalike: true, boreal: false}} {
		w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) { c.Informal = informal }})
		for _, a := range leftOut {
			w.verifier.ForgetAll()
			w.shows(a.show(t, w)...)
			if !informal[boreal] {
				w.refused(t, name+": "+a.name, a.code)
				continue
			}
			party, err := w.party(t, caller)
			if err != nil || len(party.Credentials) != 1 || party.Credentials[0].Type != "MembershipCredential" || party.Credentials[0].Subject["id"] != string(boreal) {
				t.Errorf("%s: %s: proven %+v, %v", name, a.name, party.Credentials, err)
			}
		}
	}
}

func TestAHolderIsNotInformalForItsIssuerNorAnIssuerForItsHolder(t *testing.T) {
	t.Parallel()
	for name, informal := range map[string]participant.DID{"presentation": boreal, "credential": meridian} {
		w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) { c.Informal = map[participant.DID]bool{informal: true} }})
		for _, a := range leftOut {
			w.verifier.ForgetAll()
			w.shows(a.show(t, w)...)
			if !strings.HasPrefix(a.code, name) {
				w.refused(t, a.name, a.code)
			} else if _, types, err := w.claims(t); err != nil || len(types) != 1 {
				t.Errorf("%s of %s: proven %v, %v", a.name, informal, types, err)
			}
		}
	}
}

// What everything rests on is asked of who is informal as of everybody.
func TestWhoIsInformalIsRefusedForAllElse(t *testing.T) {
	t.Parallel()
	w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) {
		c.Informal = map[participant.DID]bool{meridian: true, boreal: true, cobalt: true, dusk: true, lookalike: true}
	}})
	sparse := func() members {
		return with(with(nameless(), "vc", with(with(goodInner(), "@context", nil), "type", "MembershipCredential")), "jti", nil)
	}
	w.presents(t, w.vc(t, sparse()))
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Fatalf("the credential that the others are made from: %v, %v", types, err)
	}
	of := func(name string, value any) func(*testing.T, *world) []string {
		return inVP(with(sparse(), "vc", with(sparse()["vc"].(members), name, value)))
	}
	for _, a := range []attempt{
		{"a presentation with the other model's context in the second place", "presentation.type", bodyOf([]string{furtherOne, secondModel})},
		{"a presentation with both models' contexts behind another", "presentation.type", bodyOf([]string{furtherOne, firstModel, secondModel})},
		{"a presentation of nothing for contexts", "presentation.type", bodyOf([]string{})},
		{"a presentation whose first context is written out", "presentation.type", bodyOf([]any{members{}, firstModel})},
		{"a presentation of version 2.0 with the other model's context behind another", "presentation.type", vp20("@context", []string{furtherOne, firstModel})},
		{"a credential with the other model's context in the second place", "credential.type", inVP(inner("@context", []string{furtherOne, secondModel}))},
		{"a credential of version 2.0 with the other model's context behind another", "credential.type", inVP2(with(goodVC2(), "@context", []string{furtherOne, firstModel}))},
		{"a credential without a type of its own", "credential.type", of("type", "VerifiableCredential")},
		{"a credential without types", "credential.type", of("type", []string{})},
		{"a credential whose type is no text", "credential.type", of("type", []any{"MembershipCredential", 7})},
		{"a presentation of another type", "presentation.type", vp11("vp", members{"type": "MembershipCredential"})},
		{"a token about somebody else", "credential.subject", inVP(with(sparse(), "sub", dusk))},
		{"a token about a DID of another method", "credential.subject", inVP(with(sparse(), "sub", "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"))},
		{"a token about a DID in another spelling", "credential.subject", inVP(with(sparse(), "sub", "DID:web:dusk.example:dusk"))},
		{"a token about nobody, and a credential too", "credential.subject", of("credentialSubject", members{"memberOf": "Meridian"})},
		{"a credential about somebody else", "credential.holder", of("credentialSubject", members{"id": dusk})},
		{"a credential about two", "credential.subject", of("credentialSubject", []any{members{"id": dusk}, members{"id": boreal}})},
		{"a credential of a type that its issuer may not issue", "credential.untrusted", of("type", []string{"VerifiableCredential", "DismantlerCredential"})},
		{"a credential that has expired", "credential.expired", of("expirationDate", now.Format(time.RFC3339))},
		{"a credential without end", "credential.validity", inVP(with(with(sparse(), "exp", nil), "vc", with(sparse()["vc"].(members), "expirationDate", nil)))},
		{"a credential from the future", "credential.early", of("issuanceDate", now.Add(time.Hour).Format(time.RFC3339))},
		{"a credential in another's name", "credential.kid", one(func(t *testing.T, w *world) string {
			return w.vp(t, w.sign(t, dusk, identity.UseIssue, "JWT", sparse()))
		})},
		{"a forged credential", "credential.signature", one(func(t *testing.T, w *world) string {
			return w.vp(t, w.forge(t, dusk, identity.UseIssue, members{"alg": "ES256", "kid": w.kid(meridian, identity.UseIssue)}, sparse()))
		})},
		{"a credential signed with a key for tokens, where the document tells them apart", "credential.signature", one(func(t *testing.T, w *world) string {
			return w.vp(t, w.sign(t, meridian, identity.UseToken, "JWT", sparse()))
		})},
		{"a credential of the other model", "presentation.mixed", one(func(t *testing.T, w *world) string { return w.vp(t, w.vc2(t, with(goodVC2(), "@context", nil))) })},
		{"a presentation for somebody else", "presentation.audience", vp11("aud", dusk)},
		{"a presentation of somebody else", "presentation.issuer", one(func(t *testing.T, w *world) string {
			return w.sign(t, dusk, identity.UseToken, "JWT", with(with(w.goodVP(w.vc(t, sparse())), "iss", dusk), "sub", dusk))
		})},
		{"a presentation about no DID", "presentation.holder", vp11("sub", "e0b9c1f2-6a35-4a8e-9c55-3f0f6f0d6b51")},
		{"a presentation without id", "presentation.jti", vp11("jti", nil)},
		{"a presentation that has expired", "presentation.time", vp11("exp", now.Unix()-30)},
		{"a presentation signed with a foreign key", "presentation.signature", one(func(t *testing.T, w *world) string {
			return w.forge(t, dusk, identity.UseToken, members{"alg": "ES256", "kid": w.kid(boreal, identity.UseToken)}, w.goodVP(w.vc(t, sparse())))
		})},
		{"the same presentation twice", "presentation.replayed", func(t *testing.T, w *world) []string {
			same := w.vp(t, w.vc(t, sparse()))
			return []string{same, same}
		}},
		{"a credential that was revoked", "credential.status.revoked", listed(statuslist.List2021, nil, 7)},
		{"a status list without contexts", "credential.status.syntax", listed(statuslist.Bitstring, func(_ *world, m members) members { return with(m, "@context", nil) })},
		{"a status list with other contexts", "credential.status.syntax", listed(statuslist.List2021, func(_ *world, m members) members {
			return with(m, "vc", with(m["vc"].(members), "@context", []string{furtherOne, firstModel}))
		})},
	} {
		w.verifier.ForgetAll()
		w.shows(a.show(t, w)...)
		w.refused(t, a.name, a.code)
	}
}

func TestAWalletTakesWhatItsInformalIssuerLeavesOut(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, claims := range []members{inner("@context", nil), inner("@context", []string{furtherOne, firstModel}), inner("type", "MembershipCredential"), nameless()} {
		token := w.vc(t, claims)
		if _, err := credential.Read(token, boreal, map[participant.DID]bool{boreal: true, dusk: true}); err == nil {
			t.Errorf("%v: taken of who is not named", claims)
		}
		stored, err := credential.Read(token, boreal, map[participant.DID]bool{meridian: true})
		if err != nil || stored.Fact.Subject["id"] != string(boreal) || stored.Token != token {
			t.Errorf("%v: %+v, %v", claims, stored, err)
		}
		if _, err := credential.Read(token, dusk, map[participant.DID]bool{meridian: true}); err == nil {
			t.Errorf("%v: taken by who it is not about", claims)
		}
	}
}

func TestASchemaIsOfTheSubjectOrOfTheWhole(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.serve("/one.json", says(`{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","required":["id","memberOf"]}`))
	w.serve("/schema/v1/whole.json", says(`{"$schema":"https://json-schema.org/draft/2020-12/schema","required":["issuer","credentialSubject"],"properties":{"credentialSubject":{"$ref":"#/$defs/s"}},"$defs":{"s":{"required":["memberOf"]}}}`))
	for _, tt := range []struct{ name, id, kind string }{
		{"one of draft 4 that may be fetched", w.origin + "/one.json", "JsonSchemaValidator2018"},
		{"one of draft 2020-12 about the whole, below what may be fetched", w.origin + "/schema/v1/whole.json", "JsonSchema"},
	} {
		for range 2 {
			w.verifier.ForgetAll()
			w.presents(t, w.vc(t, inner("credentialSchema", members{"id": tt.id, "type": tt.kind})))
			if _, types, err := w.claims(t); err != nil || len(types) != 1 {
				t.Errorf("%s: %v, %v", tt.name, types, err)
			}
		}
	}
	if n := w.calls.Counts()[credential.CallSchema]; n != 2 {
		t.Errorf("%d schemas were fetched, want each once", n)
	}
}

func TestASchemaThatFailedIsAskedForAgainAfterTenSeconds(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.presents(t, w.vc(t, inner("credentialSchema", members{"id": w.origin + "/one.json", "type": "JsonSchema"})))
	for _, step := range []struct {
		wait   time.Duration
		visits int
		code   string
	}{{0, 1, "credential.schema.unavailable"}, {10*time.Second - 1, 1, "credential.schema.unavailable"}, {1, 2, ""}, {40 * time.Minute, 2, ""}} {
		w.wait(step.wait)
		if step.visits == 2 {
			w.serve("/one.json", says(`{}`))
		}
		w.verifier.ForgetAll()
		if _, _, err := w.claims(t); credential.CodeOf(err) != step.code || (err == nil) != (step.code == "") || w.visits("/one.json") != step.visits {
			t.Errorf("after %v more: %v, %d looks, want %d", step.wait, err, w.visits("/one.json"), step.visits)
		}
	}
}

// 8.21: neither a slow credential service nor a caller that has left keeps the verification from its end.
func TestTheQueryHasADeadlineOfItsOwn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := w.verifier.Claims(gone, participant.Participant{DID: cobalt}, caller); err != nil || !w.bounded.Load() {
		t.Errorf("%v, with a deadline: %v", err, w.bounded.Load())
	}
}

func TestARefusalIsToldWhenATrustedIssuerSignedWhatWasShown(t *testing.T) {
	t.Parallel()
	var told []string
	w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) {
		c.Refused = func(_ context.Context, local participant.Participant, peer participant.DID, code string) {
			told = append(told, fmt.Sprint(local.DID, " ", peer, " ", code))
		}
	}})
	url := w.holds(t, statuslist.Bitstring)
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"a good caller", func() {}, nil},
		{"a revocation that a look finds", func() {
			w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation, 7))
			check(t, w.lists.Refresh(t.Context(), url))
		}, []string{"credential.status.revoked"}},
		{"the same once more, from memory", func() {}, nil},
		{"a stranger's nonsense", func() { w.verifier.ForgetAll(); w.shows("junk") }, nil},
		{"a stranger's own credential", func() {
			w.verifier.ForgetAll()
			w.presents(t, w.sign(t, dusk, identity.UseIssue, "JWT", with(with(goodVC(), "iss", dusk), "vc", with(goodInner(), "issuer", dusk))))
		}, nil},
		{"a forged credential", func() { w.verifier.ForgetAll(); w.presents(t, zeros(w.vc(t, goodVC()))) }, nil},
		{"a credential that has expired", func() {
			w.verifier.ForgetAll()
			w.presents(t, w.vc(t, with(goodVC(), "exp", now.Unix())))
		}, []string{"credential.expired"}},
	} {
		told = nil
		step.do()
		_, _, _ = w.claims(t)
		var codes []string
		for _, line := range told {
			code, ok := strings.CutPrefix(line, string(cobalt)+" "+string(boreal)+" ")
			if !ok {
				t.Errorf("%s: told %s", step.name, line)
			}
			codes = append(codes, code)
		}
		if !slices.Equal(codes, step.want) {
			t.Errorf("%s: told %v, want %v", step.name, codes, step.want)
		}
	}
}

// Whose key cannot be looked up is believed nothing, and is no forger.
func TestAKeyThatCannotBeLookedUpIsNoForgery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		away participant.DID
		code string
	}{
		{"the caller's", boreal, "presentation.key.unavailable"},
		{"the issuer's", meridian, "credential.key.unavailable"},
	} {
		var told []string
		w := setupWith(t, change{verifier: func(c *credential.VerifierConfig) {
			c.Refused = func(_ context.Context, _ participant.Participant, _ participant.DID, code string) {
				told = append(told, code)
			}
		}})
		w.presents(t, w.vc(t, goodVC()))
		_, url, err := identity.ParseDID(string(tt.away))
		check(t, err)
		document := w.documents[url]
		delete(w.documents, url)
		w.refused(t, tt.name, tt.code)
		if len(told) > 0 {
			t.Errorf("%s: it is on record as %q", tt.name, told)
		}
		w.documents[url] = document
		w.wait(10 * time.Second)
		if _, types, err := w.claims(t); err != nil || len(types) != 1 {
			t.Errorf("%s, once it is back: %v, %v", tt.name, types, err)
		}
	}
}
