package odrl

import (
	_ "embed" // the namespaces
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Limits of one policy (security.md, rule T-23).
const (
	maxDepth       = 16
	maxConstraints = 256
	maxOperands    = 1000
)

// Fault says what is wrong with a policy and where.
type Fault struct {
	Clause string // JSON pointer within the policy: "permission/0/constraint/1/operator"
	Have   string // shape of what is there
	Want   string // what would be right
}

func (f Fault) Error() string {
	if f.Have == "" {
		return fmt.Sprintf("policy %s: want %s", f.Clause, f.Want)
	}
	return fmt.Sprintf("policy %s: have %s, want %s", f.Clause, f.Have, f.Want)
}

// Parties is what an offer or agreement says besides its rules.
type Parties struct {
	Kind      string // "Offer", "Agreement" or "Set"
	Target    string
	Assigner  string
	Assignee  string
	Timestamp string
}

// Names that an object may have. The lists are closed: what is not understood is refused, never left out of what is enforced (rule T-23).
var (
	policyNames = []string{"@context", "@type", "@id", "uid", "profile", "target", "assigner", "assignee", "timestamp",
		"permission", "prohibition", "obligation"}
	ruleNames       = []string{"@type", "@id", "uid", "action", "constraint", "target", "assigner", "assignee"}
	constraintNames = []string{"@type", "@id", "uid", "leftOperand", "operator", "rightOperand", "and", "or", "xone", "andSequence"}
	scalarNames     = []string{"@id", "@value"}
	listNames       = []string{"@list", "@set"}
)

// Parse reads a policy in the JSON form of the Dataspace Protocol 2025-1 (section 3.4): an Offer, an Agreement or a Set. It
// tolerates on read what implementations write: one value instead of a list, {"@value": …}, {"@id": …}, {"@list": …}.
// What it cannot read is a Fault, and so is every member that it does not know.
func Parse(data []byte) (Policy, Parties, error) {
	if err := ijson.Check(data, ijson.DefaultLimits()); err != nil {
		return Policy{}, Parties{}, err
	}
	p := parser{}
	m := p.object("", data, "a policy object", policyNames)
	p.context(m["@context"])
	parties := Parties{Kind: p.kind("", m["@type"], "Offer", "Agreement", "Set"), Target: p.one("target", m["target"], false),
		Assigner: p.one("assigner", m["assigner"], false), Assignee: p.one("assignee", m["assignee"], false),
		Timestamp: p.one("timestamp", m["timestamp"], false)}
	out := Policy{ID: p.one("@id", m["@id"], false), Profile: p.one("profile", m["profile"], false),
		Permission:  p.rules("permission", "Permission", m["permission"], parties),
		Prohibition: p.rules("prohibition", "Prohibition", m["prohibition"], parties),
		Obligation:  p.rules("obligation", "Duty", m["obligation"], parties)}
	switch uid := p.one("uid", m["uid"], false); {
	case out.ID == "":
		out.ID = uid
	case uid != "" && uid != out.ID:
		p.fail("uid", "another id than @id", "one id")
	}
	if p.err == nil && len(out.Permission)+len(out.Prohibition) == 0 {
		p.fail("permission", "", "at least one permission or prohibition")
	}
	if p.err != nil {
		return Policy{}, Parties{}, p.err
	}
	return out, parties, nil
}

// parser keeps the first fault.
type parser struct {
	err   error
	count int
}

func (p *parser) fail(clause, have, want string) {
	if p.err == nil {
		p.err = Fault{clause, have, want}
	}
}

// object returns the members of an object that may have these names and no other, in this spelling and no other.
func (p *parser) object(clause string, raw json.RawMessage, want string, names []string) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		p.fail(clause, shape(raw), want)
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(names, name) {
			p.fail(below(clause, name), "a member that is not known here", "one of "+strings.Join(names, ", "))
		}
	}
	return members
}

// below is the clause of a member. Its name is a peer's text: it is cut and escaped.
func below(clause, name string) string {
	const longest = 64
	if len(name) > longest {
		name = name[:longest] + "…"
	}
	quoted := strconv.Quote(name)
	name = strings.NewReplacer("~", "~0", "/", "~1").Replace(quoted[1 : len(quoted)-1])
	if clause == "" {
		return name
	}
	return clause + "/" + name
}

// kind reads an @type; none is fine, another than those that may stand here is not.
func (p *parser) kind(clause string, raw json.RawMessage, kinds ...string) string {
	kind := local(p.one(below(clause, "@type"), raw, false))
	if kind != "" && !slices.Contains(kinds, kind) {
		p.fail(below(clause, "@type"), "another type", "none or one of "+strings.Join(kinds, ", "))
	}
	return kind
}

// context takes addresses only: a context object could give the terms another meaning than the one that is enforced.
func (p *parser) context(raw json.RawMessage) {
	for i, item := range ijson.Many(raw) {
		var address string
		if json.Unmarshal(item, &address) != nil {
			p.fail("@context/"+strconv.Itoa(i), shape(item), "an address; terms have the meaning of the profile")
		}
	}
}

func (p *parser) rules(section, kind string, raw json.RawMessage, parties Parties) []Rule {
	var out []Rule
	for i, item := range ijson.Many(raw) {
		clause := section + "/" + strconv.Itoa(i)
		m := p.object(clause, item, "an object with an action", ruleNames)
		p.kind(clause, m["@type"], "Rule", kind)
		p.same(clause+"/target", m["target"], parties.Target)
		p.same(clause+"/assigner", m["assigner"], parties.Assigner)
		p.same(clause+"/assignee", m["assignee"], parties.Assignee)
		out = append(out, Rule{Action: local(p.one(clause+"/action", m["action"], true)),
			Constraint: p.constraints(clause+"/constraint", m["constraint"], 1)})
	}
	return out
}

// same takes of a rule only what the whole policy says already: it is about one asset and two parties.
func (p *parser) same(clause string, raw json.RawMessage, whole string) {
	if len(ijson.Many(raw)) > 0 && p.one(clause, raw, true) != whole {
		p.fail(clause, "something else than the policy has", "none")
	}
}

func (p *parser) constraints(clause string, raw json.RawMessage, depth int) []Constraint {
	if depth > maxDepth {
		p.fail(clause, "more than "+strconv.Itoa(maxDepth)+" levels", "a flatter policy")
		return nil
	}
	var out []Constraint
	for i, item := range ijson.Many(raw) {
		if p.count++; p.count > maxConstraints || p.err != nil {
			p.fail(clause, "more than "+strconv.Itoa(maxConstraints)+" constraints", "fewer")
			return nil
		}
		out = append(out, p.constraint(clause+"/"+strconv.Itoa(i), item, depth))
	}
	return out
}

func (p *parser) constraint(clause string, item json.RawMessage, depth int) Constraint {
	m := p.object(clause, item, "a constraint object", constraintNames)
	p.kind(clause, m["@type"], "Constraint", "AtomicConstraint", "LogicalConstraint")
	c := Constraint{}
	forms := 0
	for _, l := range []struct {
		name string
		to   *[]Constraint
	}{{"and", &c.And}, {"or", &c.Or}, {"xone", &c.Xone}, {"andSequence", &c.AndSequence}} {
		if m[l.name] == nil {
			continue
		}
		forms++
		*l.to = p.constraints(clause+"/"+l.name, m[l.name], depth+1)
		if len(*l.to) == 0 {
			p.fail(clause+"/"+l.name, "no constraints", "at least one")
		}
	}
	if m["leftOperand"] != nil || m["operator"] != nil || m["rightOperand"] != nil {
		forms++
		c.LeftOperand = local(p.one(clause+"/leftOperand", m["leftOperand"], true))
		c.Operator = local(p.one(clause+"/operator", m["operator"], true))
		c.RightOperand, c.List = p.operand(clause+"/rightOperand", m["rightOperand"])
	}
	if forms != 1 {
		p.fail(clause, strconv.Itoa(forms)+" forms", "exactly one of leftOperand, and, or, xone, andSequence")
	}
	return c
}

// one reads a single string: plain, {"@id"}, {"@value"}, or a list of one.
func (p *parser) one(clause string, raw json.RawMessage, required bool) string {
	items := ijson.Many(raw)
	if len(items) == 0 && !required {
		return ""
	}
	if len(items) != 1 {
		p.fail(clause, strconv.Itoa(len(items))+" values", "one string")
		return ""
	}
	s := p.scalar(clause, items[0], false)
	if required && s == "" {
		p.fail(clause, "an empty string", "a string")
	}
	return s
}

// operand reads a right operand as a list of strings.
func (p *parser) operand(clause string, raw json.RawMessage) ([]string, bool) {
	if wrapped := wrappedList(raw); wrapped != nil {
		m := p.object(clause, raw, "a list", listNames)
		if len(m) != 1 {
			p.fail(clause, "two lists", "one")
		}
		raw = wrapped
	}
	items := ijson.Many(raw)
	if len(items) == 0 || len(items) > maxOperands {
		p.fail(clause, strconv.Itoa(len(items))+" values", "1 to "+strconv.Itoa(maxOperands))
		return nil, false
	}
	out := make([]string, 0, len(items))
	for i, item := range items {
		out = append(out, p.scalar(clause+"/"+strconv.Itoa(i), item, true))
	}
	return out, len(raw) > 0 && raw[0] == '['
}

// wrappedList returns what stands in {"@list": …} or {"@set": …}, nil when raw is neither.
func wrappedList(raw json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	for _, name := range listNames {
		if members[name] != nil {
			return members[name]
		}
	}
	return nil
}

// scalar reads a string, {"@value": string} or {"@id": string}. Where numbers may stand they keep their text; the schema wants
// strings, peers send both.
func (p *parser) scalar(clause string, raw json.RawMessage, number bool) string {
	if len(raw) > 0 && raw[0] == '{' {
		m := p.object(clause, raw, "a string", scalarNames)
		if len(m) != 1 {
			p.fail(clause, strconv.Itoa(len(m))+" members", "one of "+strings.Join(scalarNames, ", "))
			return ""
		}
		raw = m["@value"]
		if id, ok := m["@id"]; ok {
			raw, number = id, false
		}
	}
	var s string
	var n json.Number
	switch {
	case len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil:
		return s
	case number && len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') && json.Unmarshal(raw, &n) == nil:
		return n.String()
	}
	p.fail(clause, shape(raw), "a string")
	return ""
}

// namespaces that peers write before a term, one a line.
//
//go:embed namespaces.txt
var namespaces string

// local strips the namespaces that every profile of this protocol shares; other IRIs stay whole and match no operand. So does what
// is no plain name behind a namespace: a second prefix, or nothing.
func local(term string) string {
	for ns := range strings.FieldsSeq(namespaces) {
		if name, ok := strings.CutPrefix(term, ns); ok && name != "" && !strings.ContainsAny(name, ":/#") {
			return name
		}
	}
	return term
}

func shape(raw json.RawMessage) string {
	switch {
	case len(raw) == 0:
		return "nothing"
	case raw[0] == '{':
		return "an object"
	case raw[0] == '[':
		return "an array"
	case raw[0] == '"':
		return "a string of " + strconv.Itoa(len(raw)-2) + " bytes"
	case raw[0] == 't' || raw[0] == 'f':
		return "a boolean"
	case raw[0] == 'n':
		return "null"
	}
	return "a number"
}
