package engine

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// asked is a question with every part of the input document filled in.
func asked(a, b, c string, n int64) policy.Question {
	at := time.UnixMilli(n).UTC()
	credential := policy.Credential{Type: a, Issuer: b, ID: c, BPN: a, Subject: map[string]string{"a": a, b: c}, NotBefore: at, NotAfter: at.Add(time.Hour), Digest: b}
	constraint := odrl.Constraint{LeftOperand: a, Operator: b, RightOperand: []string{b, c}}
	return policy.Question{ID: "1", Log: "x", Door: policy.Door(a), Now: at, Action: b, Profile: c, Role: "provider", Accepts: []string{a, b},
		Own: policy.Party{DID: a, Credentials: []policy.Credential{{}, credential}}, Peer: policy.Party{DID: b, Credentials: []policy.Credential{credential}},
		Policies: []odrl.Policy{{}, {Profile: a, Permission: []odrl.Rule{{Action: b}, {Action: c, Constraint: []odrl.Constraint{{And: []odrl.Constraint{constraint}}, {Or: []odrl.Constraint{constraint}}}}},
			Prohibition: []odrl.Rule{{}}, Obligation: []odrl.Rule{{}}}},
		Asset: policy.Asset{ID: a, Type: b, Version: c, SemanticID: a}, Agreement: policy.Agreement{ID: b, Digest: c, Signed: at},
		Process: policy.Process{ConsumerPID: a, ProviderPID: b, OfferID: c, Format: a, MessageDigest: b}, Request: policy.Request{Method: c, Path: a}}
}

// FuzzWhatIsEvaluatedIsWhatIsRecorded compares the value that OPA is given with OPA's own reading of the bytes that are archived.
func FuzzWhatIsEvaluatedIsWhatIsRecorded(f *testing.F) {
	f.Add("access", "Membership", "eq", int64(1795510800000))
	f.Add("<&>\u2028", "\xff\xfe", "größer\x00\"\\", int64(-1))
	f.Add("", "", "", int64(1<<62))
	f.Fuzz(func(t *testing.T, a, b, c string, n int64) {
		doc := documentOf(asked(a, b, c, n))
		text, err := ijson.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ast.ValueFromReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := doc.value(); got.Compare(want) != 0 || got.Hash() != want.Hash() {
			t.Errorf("%s\nis evaluated as\n%s", text, got)
		}
	})
}

func TestADecisionThatTakesTooLongIsADenial(t *testing.T) {
	t.Parallel()
	e, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.timeout = time.Nanosecond
	if d := e.Decide(t.Context(), asked("Membership", "eq", "active", 1)); d.Allowed() || d.Effect != policy.Deny || d.Class != "timeout" || len(d.Input) == 0 {
		t.Errorf("effect %q, class %q, %d bytes of input", d.Effect, d.Class, len(d.Input))
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	e.timeout = Timeout
	if d := e.Decide(ctx, asked("Membership", "eq", "active", 1)); d.Allowed() || d.Class != "timeout" {
		t.Errorf("past the caller's deadline: effect %q, class %q", d.Effect, d.Class)
	}
}

const answer = `{"effect":"allow","limits":{"not_after":7},"reasons":[{"clause":"permission/0","code":"c","operand":"o","outcome":"satisfied","params":{"operator":"eq","want":"x"},"rule":"r"}]}`

func TestAnAnswerOfAnotherShapeIsADenial(t *testing.T) {
	t.Parallel()
	doc := document{Policies: []policyInForce{{Clauses: []clause{{Clause: "permission/0", Operand: "o"}}}}}
	said := func(text string) policy.Decision {
		return read(policy.Decision{Effect: policy.Deny}, ast.MustParseTerm(text), doc)
	}
	if d := said(answer); !d.Allowed() || string(d.Result) != answer || d.Limits.NotAfter.UnixMilli() != 7 || len(d.Reasons) != 1 || d.Reasons[0].Params["want"] != "x" {
		t.Fatalf("the answer that the others are made from: %+v", d)
	}
	reason := answer[strings.Index(answer, "[")+1 : strings.LastIndex(answer, "]")]
	for name, tt := range map[string]struct{ old, new string }{
		"an effect that is none":                {`"allow"`, `"maybe"`},
		"an effect in capitals":                 {`"allow"`, `"Allow"`},
		"a boolean":                             {answer, `true`},
		"no effect":                             {`"effect":"allow",`, ``},
		"one member more":                       {`"effect"`, `"more":1,"effect"`},
		"no reasons":                            {reason, ``},
		"a reason twice":                        {reason, reason + "," + reason},
		"a reason for another clause":           {`"permission/0"`, `"permission/1"`},
		"a reason for another operand":          {`"o"`, `"p"`},
		"reasons that are a set":                {`[` + reason + `]`, `{` + reason + `}`},
		"a reason with a number":                {`"c"`, `1`},
		"a reason with one member more":         {`"clause"`, `"more":1,"clause"`},
		"a reason without code":                 {`"code":"c",`, ``},
		"params that are text":                  {`{"operator":"eq","want":"x"}`, `"x"`},
		"params with a number":                  {`"want":"x"`, `"want":1`},
		"an allow against a reason":             {`"satisfied"`, `"violated"`},
		"an allow with an outcome that is none": {`"satisfied"`, `"fine"`},
		"limits that are a number":              {`{"not_after":7}`, `7`},
		"an end that is text":                   {`"not_after":7`, `"not_after":"7"`},
		"an end in parts":                       {`"not_after":7`, `"not_after":7.5`},
		"an end before time":                    {`"not_after":7`, `"not_after":-7`},
	} {
		text := strings.Replace(answer, tt.old, tt.new, 1)
		if text == answer {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if d := said(text); d.Allowed() || d.Class != "result" || d.Effect != policy.Deny {
			t.Errorf("%s: effect %q, class %q", name, d.Effect, d.Class)
		}
	}
	if d := read(policy.Decision{Effect: policy.Deny}, nil, doc); d.Allowed() || d.Class != "result" {
		t.Errorf("no answer at all: effect %q, class %q", d.Effect, d.Class)
	}
}

// FuzzWhatIsArchivedIsTheWholeAnswer compares the result document with the canonical form of what OPA answered.
func FuzzWhatIsArchivedIsTheWholeAnswer(f *testing.F) {
	e, err := New(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Membership", "eq", "active", int64(1))
	f.Add("DataUsageEndDate", "eq", "2027-11-24T10:00:00Z", int64(1795510800000))
	f.Add("<&>", "\u2028", "größer", int64(5))
	f.Fuzz(func(t *testing.T, operand, operator, value string, n int64) {
		q := asked(operand, operator, value, n)
		q.Policies = []odrl.Policy{{Permission: []odrl.Rule{{Action: q.Action, Constraint: []odrl.Constraint{{LeftOperand: operand, Operator: operator, RightOperand: []string{value}}}}}}}
		d := e.Decide(t.Context(), q)
		if d.Class != "" {
			return
		}
		input, err := ast.ValueFromReader(bytes.NewReader(d.Input))
		if err != nil {
			t.Fatal(err)
		}
		results, err := e.query.Eval(t.Context(), rego.EvalParsedInput(input))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := ijson.Marshal(results[0].Expressions[0].Value); err != nil || !bytes.Equal(want, d.Result) {
			t.Errorf("archived %s, want %s, %v", d.Result, want, err)
		}
	})
}
