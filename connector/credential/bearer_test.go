package credential_test

import (
	"testing"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

func TestAMemberIsWhoShowsItsMembershipAndNothingElse(t *testing.T) {
	t.Parallel()
	w := setup(t)
	keeper := participant.Participant{Slug: "cobalt", DID: cobalt}
	const scope = "org.eclipse.tractusx.vc.type:MembershipCredential:read"
	member := w.vc(t, goodVC())
	bpn := w.vc(t, inner("type", []string{"VerifiableCredential", "BpnCredential"}))
	own := func(m members) members { return with(m, "aud", boreal) }
	signed := func(m members) string { return w.sign(t, boreal, identity.UseToken, "JWT", m) }
	again := signed(w.goodVP(member))
	for _, tt := range []struct{ name, token, scope, code string }{
		{"made for the keeper", again, scope, ""},
		{"the same once more", again, scope, "presentation.replayed"},
		{"made for its holder, as directories have it", signed(own(w.goodVP(member))), scope, ""},
		{"made for another", signed(with(w.goodVP(member), "aud", dusk)), scope, "presentation.audience"},
		{"made for nobody", signed(with(w.goodVP(member), "aud", nil)), scope, "presentation.audience"},
		{"data model 2.0", w.sign(t, boreal, identity.UseToken, "vp+jwt", own(w.goodVP2(w.vc2(t, goodVC2())))), scope, ""},
		{"without credentials", signed(w.goodVP()), scope, "presentation.count"},
		{"another credential alone", signed(w.goodVP(bpn)), scope, "scope.unsatisfied"},
		{"another credential beside it", signed(w.goodVP(member, bpn)), scope, "scope.unsatisfied"},
		{"somebody else's membership", signed(with(w.goodVP(member), "iss", dusk)), scope, "presentation.kid"},
		{"somebody else's membership in a presentation of its own", w.sign(t, dusk, identity.UseToken, "JWT", with(with(with(w.goodVP(member), "iss", dusk), "sub", dusk), "vp",
			members{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "type": "VerifiablePresentation", "verifiableCredential": []string{member}})), scope, "credential.holder"},
		{"an issuer that nobody believes", signed(w.goodVP(w.sign(t, dusk, identity.UseIssue, "JWT", with(inner("issuer", dusk), "iss", dusk)))), scope, "credential.untrusted"},
		{"expired", signed(with(w.goodVP(member), "exp", now.Unix()-60)), scope, "presentation.time"},
		{"signed by another", w.forge(t, dusk, identity.UseToken, members{"alg": "ES256", "kid": w.kid(boreal, identity.UseToken), "typ": "JWT"}, w.goodVP(member)), scope, "presentation.signature"},
		{"no presentation", member, scope, "presentation.syntax"},
	} {
		did, err := w.verifier.Member(t.Context(), keeper, tt.token, tt.scope)
		if got := credential.CodeOf(err); got != tt.code || (err == nil) != (did == boreal) || err != nil && !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %q, %v; want the code %q", tt.name, did, err, tt.code)
		}
	}
}
