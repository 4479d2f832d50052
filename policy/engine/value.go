package engine

import (
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sluice-connector/sluice/policy"
)

// value is the document as OPA reads it: what ast.ValueFromReader makes of its canonical bytes, without the way through text.
func (d document) value() ast.Value {
	return ast.NewObject(
		member("accepts", list(d.Accepts, text)),
		member("action", text(d.Action)),
		member("agreement", object(member("digest", text(d.Agreement.Digest)), member("id", text(d.Agreement.ID)), member("signed", number(d.Agreement.Signed)))),
		member("approval", text(d.Approval)),
		member("asset", object(member("id", text(d.Asset.ID)), member("semantic_id", text(d.Asset.SemanticID)), member("type", text(d.Asset.Type)),
			member("version", text(d.Asset.Version)))),
		member("door", text(d.Door)),
		member("now", number(d.Now)),
		member("own", d.Own.term()),
		member("peer", d.Peer.term()),
		member("policies", list(d.Policies, policyInForce.term)),
		member("process", object(member("consumer_pid", text(d.Process.ConsumerPID)), member("format", text(d.Process.Format)),
			member("message", text(d.Process.Message)), member("offer_id", text(d.Process.OfferID)), member("provider_pid", text(d.Process.ProviderPID)))),
		member("profile", text(d.Profile)),
		member("request", object(member("method", text(d.Request.Method)), member("path", text(d.Request.Path)), member("query", text(d.Request.Query)))),
		member("role", text(d.Role)),
	)
}

func (p party) term() *ast.Term {
	return object(member("bpn", text(p.BPN)), member("credentials", list(p.Credentials, credential.term)), member("did", text(p.DID)),
		member("groups", p.Groups.term()))
}

func (g groups) term() *ast.Term {
	members := make([][2]*ast.Term, 0, len(g))
	for name, in := range g {
		members = append(members, [2]*ast.Term{text(name), ast.BooleanTerm(in)})
	}
	return object(members...)
}

func (c credential) term() *ast.Term {
	subject := make([][2]*ast.Term, 0, len(c.Subject))
	for name, value := range c.Subject {
		subject = append(subject, [2]*ast.Term{text(name), text(value)})
	}
	return object(member("digest", text(c.Digest)), member("id", text(c.ID)), member("issuer", text(c.Issuer)), member("not_after", number(c.NotAfter)),
		member("not_before", number(c.NotBefore)), member("subject", object(subject...)), member("type", text(c.Type)))
}

func (p policyInForce) term() *ast.Term {
	return object(member("clauses", list(p.Clauses, clause.term)), member("digest", text(p.Digest)))
}

func (c clause) term() *ast.Term {
	return object(member("clause", text(c.Clause)), member("operand", text(c.Operand)), member("operator", text(c.Operator)), member("values", list(c.Values, text)))
}

// names are the terms of the members' names: terms do not change, so one of each serves every document.
var names = func() map[string]*ast.Term {
	out := map[string]*ast.Term{}
	for _, name := range []string{"accepts", "action", "agreement", "approval", "asset", "bpn", "clause", "clauses", "code", "consumer_pid", "credentials", "did", "digest",
		"door", "effect", "format", "groups", "id", "issuer", "limits", "message", "method", "not_after", "not_before", "now", "offer_id", "operand", "operator", "outcome",
		"own", "params", "path", "peer", "policies", "process", "profile", "provider_pid", "query", "reasons", "request", "role", "rule", "semantic_id", "signed",
		"subject", "type", "values", "version"} {
		out[name] = ast.StringTerm(name)
	}
	return out
}()

func member(name string, value *ast.Term) [2]*ast.Term { return [2]*ast.Term{names[name], value} }

func object(members ...[2]*ast.Term) *ast.Term { return ast.NewTerm(ast.NewObject(members...)) }

func list[T any](items []T, term func(T) *ast.Term) *ast.Term {
	out := make([]*ast.Term, len(items))
	for i, item := range items {
		out[i] = term(item)
	}
	return ast.ArrayTerm(out...)
}

// text is a string as JSON carries it: each byte that is not UTF-8 becomes the replacement character.
func text(s string) *ast.Term {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return ast.StringTerm(s)
}

func number(n int64) *ast.Term { return ast.NumberTerm(json.Number(strconv.FormatInt(n, 10))) }

// result is what the modules answer, with its members in canonical order.
type result struct {
	Effect policy.Effect `json:"effect"`
	Limits struct {
		NotAfter int64 `json:"not_after"`
	} `json:"limits"`
	Reasons []verdict `json:"reasons"`
}

type verdict struct {
	Clause  string            `json:"clause"`
	Code    string            `json:"code"`
	Operand string            `json:"operand"`
	Outcome policy.Outcome    `json:"outcome"`
	Params  map[string]string `json:"params"`
	Rule    string            `json:"rule"`
}

// readResult takes over a result that has exactly the shape that was agreed and answers each clause of the document, in its order.
func readResult(t *ast.Term, d document) (result, bool) {
	out := result{Reasons: []verdict{}}
	if t == nil {
		return out, false
	}
	r := reader{ok: true}
	top := r.object(t, 3)
	out.Effect = policy.Effect(r.text(top, "effect"))
	out.Limits.NotAfter = r.number(r.object(r.get(top, "limits"), 1), "not_after")
	reasons, _ := r.get(top, "reasons").Value.(*ast.Array)
	if reasons == nil {
		return out, false
	}
	reasons.Foreach(func(item *ast.Term) {
		o := r.object(item, 6)
		out.Reasons = append(out.Reasons, verdict{Clause: r.text(o, "clause"), Code: r.text(o, "code"), Operand: r.text(o, "operand"),
			Outcome: policy.Outcome(r.text(o, "outcome")), Params: r.texts(r.get(o, "params")), Rule: r.text(o, "rule")})
	})
	rest := out.Reasons
	for _, p := range d.Policies {
		for _, c := range p.Clauses {
			if len(rest) == 0 || rest[0].Clause != c.Clause || rest[0].Operand != c.Operand {
				return out, false
			}
			rest = rest[1:]
		}
	}
	against := slices.ContainsFunc(out.Reasons, func(v verdict) bool { return v.Outcome != policy.Satisfied && v.Outcome != policy.AcceptedTerm })
	return out, r.ok && len(rest) == 0 && out.Limits.NotAfter >= 0 && (out.Effect == policy.Deny || out.Effect == policy.Allow && !against)
}

// reader remembers whether everything it was asked for was there.
type reader struct{ ok bool }

var nothing = ast.NullTerm()

func (r *reader) object(t *ast.Term, members int) ast.Object {
	o, ok := t.Value.(ast.Object)
	if !ok || members >= 0 && o.Len() != members {
		r.ok = false
		return ast.NewObject()
	}
	return o
}

func (r *reader) get(o ast.Object, name string) *ast.Term {
	if t := o.Get(names[name]); t != nil {
		return t
	}
	r.ok = false
	return nothing
}

func (r *reader) text(o ast.Object, name string) string {
	s, ok := r.get(o, name).Value.(ast.String)
	r.ok = r.ok && ok
	return string(s)
}

func (r *reader) texts(t *ast.Term) map[string]string {
	out := map[string]string{}
	r.object(t, -1).Foreach(func(name, value *ast.Term) {
		k, ok1 := name.Value.(ast.String)
		v, ok2 := value.Value.(ast.String)
		r.ok = r.ok && ok1 && ok2
		out[string(k)] = string(v)
	})
	return out
}

func (r *reader) number(o ast.Object, name string) int64 {
	n, ok := r.get(o, name).Value.(ast.Number)
	whole, exact := n.Int64()
	r.ok = r.ok && ok && exact
	return whole
}
