package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/engine"
	"github.com/sluice-connector/sluice/policy/odrl"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func newEngine(t testing.TB) *engine.Engine {
	t.Helper()
	e, err := engine.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return engine.Unhurried(e)
}

func term(operand, operator string, values ...string) odrl.Constraint {
	return odrl.Constraint{LeftOperand: operand, Operator: operator, RightOperand: values}
}

func usage(terms ...odrl.Constraint) odrl.Policy {
	return odrl.Policy{Permission: []odrl.Rule{{Action: "use", Constraint: []odrl.Constraint{{And: terms}}}}}
}

func credential(kind string, subject map[string]string) policy.Credential {
	return policy.Credential{Type: kind, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
}

var (
	member    = credential("MembershipCredential", map[string]string{"memberOf": "Meridian"})
	number    = policy.Credential{Type: "BpnCredential", BPN: "BPNL00000000AUR1", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	framework = credential("DataExchangeGovernanceCredential", map[string]string{"contractVersion": "1.0"})
)

func ask(peer policy.Party, p odrl.Policy) policy.Question {
	return policy.Question{Door: policy.DoorRequest, Now: now, Action: "use", Role: "provider", Peer: peer, Policies: []odrl.Policy{p}}
}

func TestEachTermAllowsDeniesAndNamesItself(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	all := policy.Party{DID: "did:web:aurora", Credentials: []policy.Credential{member, number, framework}}
	expired := member
	expired.NotAfter = now
	early := member
	early.NotBefore = now.Add(time.Millisecond)
	old := framework
	old.Subject = map[string]string{"contractVersion": "1.0.0"}
	ended, later := number, number
	ended.NotAfter, later.NotBefore = now, now.Add(time.Millisecond)
	signed := func(q policy.Question) policy.Question {
		q.Agreement.Signed = now.Add(-30 * 24 * time.Hour)
		return q
	}
	for _, tt := range []struct {
		name string
		q    policy.Question
		want policy.Effect
		code string
	}{
		{"a member passes", ask(all, usage(term("Membership", "eq", "active"))), policy.Allow, "membership.active"},
		{"nobody is a member without the credential", ask(policy.Party{}, usage(term("Membership", "eq", "active"))), policy.Deny, "membership.missing"},
		{"a membership that ends now has ended", ask(policy.Party{Credentials: []policy.Credential{expired}}, usage(term("Membership", "eq", "active"))), policy.Deny, "membership.missing"},
		{"a membership that begins later has not begun", ask(policy.Party{Credentials: []policy.Credential{early}}, usage(term("Membership", "eq", "active"))), policy.Deny, "membership.missing"},
		{"membership knows no other operator", ask(all, usage(term("Membership", "neq", "active"))), policy.Deny, "membership.term"},
		{"the framework passes", ask(all, usage(term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0"))), policy.Allow, "framework.accepted"},
		{"another version of the framework does not", ask(policy.Party{Credentials: []policy.Credential{old}}, usage(term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0"))), policy.Deny, "framework.missing"},
		{"the rival lacks the framework", ask(policy.Party{Credentials: []policy.Credential{member}}, usage(term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0"))), policy.Deny, "framework.missing"},
		{"a framework without a version is no term", ask(all, usage(term("FrameworkAgreement", "eq", "DataExchangeGovernance"))), policy.Deny, "framework.term"},
		{"a listed partner passes", ask(all, usage(term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000AUR1", "BPNL00000000BOR1"))), policy.Allow, "partner.listed"},
		{"an unlisted one does not", ask(all, usage(term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000BOR1"))), policy.Deny, "partner.unlisted"},
		{"an excluded one does not", ask(all, usage(term("BusinessPartnerNumber", "isNoneOf", "BPNL00000000AUR1"))), policy.Deny, "partner.excluded"},
		{"one that is not excluded passes", ask(all, usage(term("BusinessPartnerNumber", "isNoneOf", "BPNL00000000DUS1"))), policy.Allow, "partner.not-excluded"},
		{"who proved no number is not outside a list", ask(policy.Party{}, usage(term("BusinessPartnerNumber", "isNoneOf", "BPNL00000000DUS1"))), policy.Deny, "partner.unproven"},
		{"a number whose proof ends now is proven no more", ask(policy.Party{Credentials: []policy.Credential{member, ended}}, usage(term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000AUR1"))), policy.Deny, "partner.unproven"},
		{"nor is it outside a list", ask(policy.Party{Credentials: []policy.Credential{ended}}, usage(term("BusinessPartnerNumber", "isNoneOf", "BPNL00000000DUS1"))), policy.Deny, "partner.unproven"},
		{"a number whose proof begins later is not proven yet", ask(policy.Party{Credentials: []policy.Credential{later}}, usage(term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000AUR1"))), policy.Deny, "partner.unproven"},
		{"a number that another credential still proves", ask(policy.Party{Credentials: []policy.Credential{ended, number}}, usage(term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000AUR1"))), policy.Allow, "partner.listed"},
		{"a purpose binds", ask(all, usage(term("UsagePurpose", "isAnyOf", "cx.pcf.base:1"))), policy.Allow, "purpose.bound"},
		{"a purpose knows no other operator", ask(all, usage(term("UsagePurpose", "eq", "cx.pcf.base:1"))), policy.Deny, "purpose.term"},
		{"before the end date", ask(all, usage(term("DataUsageEndDate", "eq", "2026-11-24T10:00:01+01:00"))), policy.Allow, "usage-end.before"},
		{"at the end date", ask(all, usage(term("DataUsageEndDate", "eq", "2026-11-24T10:00:00+01:00"))), policy.Deny, "usage-end.passed"},
		{"a date that is none", ask(all, usage(term("DataUsageEndDate", "eq", "2026-02-30T10:00:00Z"))), policy.Deny, "usage-end.term"},
		{"a duration before there is an agreement", ask(all, usage(term("DataUsageEndDurationDays", "eq", "30"))), policy.Allow, "usage-end.later"},
		{"a duration on its last day", signed(ask(all, usage(term("DataUsageEndDurationDays", "eq", "31")))), policy.Allow, "usage-end.before"},
		{"a duration at its end", signed(ask(all, usage(term("DataUsageEndDurationDays", "eq", "30")))), policy.Deny, "usage-end.passed"},
		{"a duration that is no number", ask(all, usage(term("DataUsageEndDurationDays", "eq", "many"))), policy.Deny, "usage-end.term"},
		{"an unknown operand", ask(all, usage(term("Region", "eq", "EU"))), policy.Deny, "operand.unknown"},
		{"an or is not evaluated", ask(all, odrl.Policy{Permission: []odrl.Rule{{Action: "use", Constraint: []odrl.Constraint{{Or: []odrl.Constraint{term("Membership", "eq", "active")}}}}}}), policy.Deny, "operand.unknown"},
		{"a constraint that says nothing beside one that holds", ask(all, usage(term("Membership", "eq", "active"), odrl.Constraint{})), policy.Deny, "operand.unknown"},
		{"a prohibition wins", ask(all, odrl.Policy{Permission: []odrl.Rule{{Action: "use"}}, Prohibition: []odrl.Rule{{Action: "use"}}}), policy.Deny, "operand.unknown"},
		{"another action", ask(all, odrl.Policy{Permission: []odrl.Rule{{Action: "sell"}}}), policy.Deny, "operand.unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := e.Decide(t.Context(), tt.q)
			if d.Effect != tt.want || d.Class != "" {
				t.Errorf("effect %q class %q, want %q; reasons %+v", d.Effect, d.Class, tt.want, d.Reasons)
			}
			found := false
			for _, r := range d.Reasons {
				found = found || r.Code == tt.code
			}
			if !found {
				t.Errorf("reasons %+v do not name %s", d.Reasons, tt.code)
			}
		})
	}
}

func TestNoPolicyAllowsNothing(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	for name, policies := range map[string][]odrl.Policy{"none": nil, "one without rules": {{}}} {
		q := ask(policy.Party{Credentials: []policy.Credential{member}}, odrl.Policy{})
		q.Policies = policies
		if d := e.Decide(t.Context(), q); d.Allowed() {
			t.Errorf("%s: allowed", name)
		}
	}
}

func TestAConsumerSignsOnlyPurposesItAllowsItself(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	q := ask(policy.Party{}, usage(term("UsagePurpose", "isAnyOf", "cx.pcf.base:1", "cx.quality.base:1")))
	q.Role, q.Door = "consumer", policy.DoorAgree
	if d := e.Decide(t.Context(), q); d.Allowed() {
		t.Error("allowed without any accepted purpose")
	}
	q.Accepts = []string{"cx.pcf.base:1"}
	if d := e.Decide(t.Context(), q); !d.Allowed() {
		t.Errorf("denied an accepted purpose: %+v", d.Reasons)
	}
}

func TestTheEarliestEndLimitsTheData(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := e.Decide(t.Context(), ask(policy.Party{}, usage(term("DataUsageEndDate", "eq", "2026-12-24T10:00:00Z"))))
	if want := time.Date(2026, 12, 24, 10, 0, 0, 0, time.UTC); !d.Limits.NotAfter.Equal(want) {
		t.Errorf("NotAfter = %v, want %v", d.Limits.NotAfter, want)
	}
}

func TestPolicyValuesAreDataNeverCode(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	evil := `"] } allow := true { x := ["`
	for _, operand := range []string{"Membership", "FrameworkAgreement", "BusinessPartnerNumber", "UsagePurpose", "DataUsageEndDate", "DataUsageEndDurationDays", evil} {
		for _, operator := range []string{"eq", "isAnyOf", "isNoneOf", evil} {
			party := policy.Party{Credentials: []policy.Credential{member, number, framework}}
			harmless := e.Decide(t.Context(), ask(party, usage(term(operand, operator, "harm: less"))))
			hostile := e.Decide(t.Context(), ask(party, usage(term(operand, operator, evil))))
			if harmless.Effect != hostile.Effect || harmless.Class != hostile.Class || harmless.Reasons[0].Code != hostile.Reasons[0].Code {
				t.Errorf("%s %s: harmless %v %v, hostile %v %v", operand, operator, harmless.Effect, harmless.Reasons, hostile.Effect, hostile.Reasons)
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	e := newEngine(b)
	q := ask(policy.Party{DID: "did:web:aurora", Credentials: []policy.Credential{member, number, framework}},
		usage(term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0"), term("Membership", "eq", "active"),
			term("UsagePurpose", "isAnyOf", "cx.pcf.base:1"), term("DataUsageEndDate", "eq", "2027-11-24T10:00:00Z")))
	b.ReportAllocs()
	for b.Loop() {
		if d := e.Decide(b.Context(), q); !d.Allowed() {
			b.Fatal(d.Reasons)
		}
	}
}

func TestTheInputNamesTheWholeRequest(t *testing.T) {
	t.Parallel()
	got := newEngine(t).Decide(t.Context(), policy.Question{Request: policy.Request{Method: "GET", Path: "a/b", Query: "part=1"}}).Input
	if want := `"request":{"method":"GET","path":"a/b","query":"part=1"}`; !strings.Contains(string(got), want) {
		t.Errorf("input %s, want in it %s", got, want)
	}
}
