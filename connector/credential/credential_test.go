package credential_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
)

var local = participant.Participant{Slug: "boreal", DID: boreal}

func TestWhatWasGrantedIsShownOnceAndProvesWhatItSays(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.give(t, "MembershipCredential", map[string]string{"holderIdentifier": "BPNL00000000BOR1"})
	w.give(t, "BpnCredential", map[string]string{"bpn": "BPNL00000000BOR1"})
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
	w.give(t, "BpnCredential", map[string]string{"bpn": "BPNL00000000BOR1"})
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
	for _, bad := range [][]string{nil, {"x"}, {"unknown:Type:read"}, {"org.example.vc.type:MembershipCredential:read"}, {"org.eclipse.tractusx.vc.id:urn:x"}, {"org.eclipse.tractusx.vc.type:MembershipCredential:write"}, make([]string, 21)} {
		if _, err := w.holder.Present(t.Context(), local, participant.Peer{DID: cobalt, AccessToken: grant()}, bad); !fault.Is(err, fault.Malformed) {
			t.Errorf("scopes %v: %v", bad, err)
		}
	}
}

// The drafts of DCP 1.0 refuse who asks for more than was granted, 1.0.1 shows what was: the setting says which.
func TestAWalletMayRefuseWhoAsksForMoreThanItWasGranted(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.holder.Exact = true
	w.give(t, "MembershipCredential", nil)
	w.give(t, "BpnCredential", map[string]string{"bpn": "BPNL00000000BOR1"})
	ask := func(granted []string, asked ...string) (int, error) {
		access, err := w.holder.Grant(local, cobalt, granted)
		check(t, err)
		shown, err := w.holder.Present(t.Context(), local, participant.Peer{DID: cobalt, AccessToken: access}, asked)
		return len(shown), err
	}
	for name, asked := range map[string][]string{"more": scopes, "something else": scopes[1:], "a longer name": {"org.eclipse.tractusx.vc.type:MembershipCredential2:read"},
		"it by its id": {"org.eclipse.dspace.dcp.vc.id:MembershipCredential:read"}} {
		if n, err := ask(scopes[:1], asked...); !fault.Is(err, fault.Unauthenticated) || n != 0 {
			t.Errorf("%s: shown %d, %v", name, n, err)
		}
	}
	for name, asked := range map[string][]string{"all": scopes, "less": scopes[:1], "it under another alias": {"org.eclipse.dspace.dcp.vc.type:MembershipCredential"}} {
		if n, err := ask(scopes, asked...); err != nil || n != 1 {
			t.Errorf("%s: shown %d, %v", name, n, err)
		}
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
		w.wait(step.wait)
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
		w.wait(step.wait)
		before := w.queries.Load()
		_, _, err := w.claimsOf(t, participant.Peer{DID: boreal, Key: step.key, AccessToken: "x"})
		if asks := w.queries.Load() - before; asks != step.asks || !fault.Is(err, fault.Unauthenticated) || !strings.Contains(err.Error(), "nobody there") {
			t.Errorf("%v later: asked %d times, want %d; %v", step.wait, asks, step.asks, err)
		}
	}
	w.wait(10 * time.Second)
	w.answer = func() ([]string, error) { return nil, nil }
	if _, _, err := w.claims(t); err != nil {
		t.Errorf("once it answers: %v", err)
	}
}

func TestTwoBusinessPartnerNumbersProveNone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.give(t, "MembershipCredential", map[string]string{"holderIdentifier": "BPNL00000000BOR1"})
	w.give(t, "BpnCredential", map[string]string{"bpn": "BPNL00000000AUR1"})
	if party, err := w.verifier.Own(t.Context(), local); err == nil {
		t.Errorf("proven %q", party.BPN(now))
	}
}

func FuzzScope(f *testing.F) {
	f.Add("org.eclipse.tractusx.vc.type:MembershipCredential:read")
	f.Add("org.eclipse.dspace.dcp.vc.id:urn:uuid:1")
	f.Fuzz(func(t *testing.T, s string) {
		if scope, err := aliases.Parse(s); err == nil && scope.Value == "" {
			t.Errorf("%q selects nothing", s)
		}
	})
}

// token wraps a payload in a token of a type that is well-formed; its signature is never looked at.
func token(typ string, payload []byte) string {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"` + typ + `"}`))
	return header + "." + base64.RawURLEncoding.EncodeToString(payload) + ".AA"
}

var fuzzedTypes = []string{"JWT", "vc+jwt", "vp+jwt"}

func FuzzParsePresentation(f *testing.F) {
	w := &world{now: now}
	for i, claims := range []members{w.goodVP("a.b.c"), w.goodVP("a.b.c", "d.e.f"), w.goodVP2("a.b.c"), with(w.goodVP(), "vp", []any{members{"type": "VerifiablePresentation"}})} {
		payload, err := json.Marshal(claims)
		check(f, err)
		f.Add(payload, uint8(i/2*2))
	}
	f.Fuzz(func(t *testing.T, payload []byte, typ uint8) {
		profile, list, err := credential.ParsePresentation(token(fuzzedTypes[int(typ)%3], payload))
		if err != nil {
			return
		}
		if profile != credential.Profile11 && profile != credential.Profile20 || len(list) > 50 {
			t.Errorf("%s was accepted as %s with %d credentials", payload, profile, len(list))
		}
	})
}

// FuzzRead reads credentials of any payload in a token that is well-formed.
func FuzzRead(f *testing.F) {
	for i, claims := range []members{goodVC(), inner("credentialSubject", []any{members{"id": boreal}}), inner("issuer", members{"id": meridian}), goodVC2()} {
		payload, err := json.Marshal(claims)
		check(f, err)
		f.Add(payload, uint8(i/3))
	}
	f.Fuzz(func(t *testing.T, payload []byte, typ uint8) {
		token := token(fuzzedTypes[int(typ)%3], payload)
		got, err := credential.Read(token, boreal, nil)
		if err != nil {
			return
		}
		c := got.Fact
		if got.Token != token || got.Profile == "" || c.Type == "" || c.Issuer == "" || c.Digest == "" || c.NotBefore.IsZero() || c.NotAfter.IsZero() || c.Subject["id"] != string(boreal) {
			t.Errorf("%s was accepted as %+v", payload, got)
		}
	})
}

// FuzzParseList reads list credentials of any payload.
func FuzzParseList(f *testing.F) {
	w := &world{now: now}
	for i, kind := range []statuslist.Kind{statuslist.List2021, statuslist.Bitstring} {
		payload, err := json.Marshal(w.list("https://m.example/1", listSubject(f, kind, statuslist.Revocation, 7)))
		check(f, err)
		f.Add(payload, uint8(i))
	}
	f.Fuzz(func(t *testing.T, payload []byte, typ uint8) {
		if n, err := credential.ParseList(token(fuzzedTypes[int(typ)%3], payload)); err == nil && (n == 0 || n > statuslist.MaxEntries) {
			t.Errorf("%s was accepted with %d entries", payload, n)
		}
	})
}
