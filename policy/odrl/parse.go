package odrl

import (
	"encoding/json"
	"fmt"
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

// wire is a policy as it arrives: terms unprefixed or prefixed, single values or lists.
type wire struct {
	Type        string          `json:"@type"`
	ID          string          `json:"@id"`
	Profile     json.RawMessage `json:"profile"`
	Target      json.RawMessage `json:"target"`
	Assigner    json.RawMessage `json:"assigner"`
	Assignee    json.RawMessage `json:"assignee"`
	Timestamp   string          `json:"timestamp"`
	Permission  json.RawMessage `json:"permission"`
	Prohibition json.RawMessage `json:"prohibition"`
	Obligation  json.RawMessage `json:"obligation"`
}

type wireRule struct {
	Action     json.RawMessage `json:"action"`
	Target     json.RawMessage `json:"target"`
	Constraint json.RawMessage `json:"constraint"`
	Duty       json.RawMessage `json:"duty"`
}

type wireConstraint struct {
	LeftOperand  json.RawMessage `json:"leftOperand"`
	Operator     json.RawMessage `json:"operator"`
	RightOperand json.RawMessage `json:"rightOperand"`
	And          json.RawMessage `json:"and"`
	Or           json.RawMessage `json:"or"`
	Xone         json.RawMessage `json:"xone"`
	AndSequence  json.RawMessage `json:"andSequence"`
}

// Parse reads a policy in the JSON form of the Dataspace Protocol 2025-1 (section 3.4): an Offer, an Agreement or a Set. It
// tolerates on read what implementations write: one value instead of a list, {"@value": …}, {"@id": …}, {"@list": …}.
// What it cannot read is a Fault.
func Parse(data []byte) (Policy, Parties, error) {
	var w wire
	if err := ijson.Unmarshal(data, ijson.DefaultLimits(), &w); err != nil {
		return Policy{}, Parties{}, err
	}
	p := parser{}
	out := Policy{ID: w.ID, Profile: p.one("profile", w.Profile, false),
		Permission:  p.rules("permission", w.Permission),
		Prohibition: p.rules("prohibition", w.Prohibition),
		Obligation:  p.rules("obligation", w.Obligation)}
	parties := Parties{Kind: local(w.Type), Target: p.one("target", w.Target, false), Assigner: p.one("assigner", w.Assigner, false),
		Assignee: p.one("assignee", w.Assignee, false), Timestamp: w.Timestamp}
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

// list returns the items of an array, or the one value that stands instead of it; absent and null give none.
func list(raw json.RawMessage) []json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) == nil {
		return items
	}
	return []json.RawMessage{raw}
}

func (p *parser) rules(section string, raw json.RawMessage) []Rule {
	var out []Rule
	for i, item := range list(raw) {
		clause := section + "/" + strconv.Itoa(i)
		var w wireRule
		if err := json.Unmarshal(item, &w); err != nil {
			p.fail(clause, shape(item), "an object with an action")
			return nil
		}
		if len(w.Duty) > 0 {
			p.fail(clause+"/duty", "a duty inside a rule", "obligations beside the permissions")
		}
		out = append(out, Rule{Action: local(p.one(clause+"/action", w.Action, true)),
			Constraint: p.constraints(clause+"/constraint", w.Constraint, 1)})
	}
	return out
}

func (p *parser) constraints(clause string, raw json.RawMessage, depth int) []Constraint {
	if depth > maxDepth {
		p.fail(clause, "more than "+strconv.Itoa(maxDepth)+" levels", "a flatter policy")
		return nil
	}
	var out []Constraint
	for i, item := range list(raw) {
		if p.count++; p.count > maxConstraints || p.err != nil {
			p.fail(clause, "more than "+strconv.Itoa(maxConstraints)+" constraints", "fewer")
			return nil
		}
		out = append(out, p.constraint(clause+"/"+strconv.Itoa(i), item, depth))
	}
	return out
}

func (p *parser) constraint(clause string, item json.RawMessage, depth int) Constraint {
	var w wireConstraint
	if err := json.Unmarshal(item, &w); err != nil {
		p.fail(clause, shape(item), "a constraint object")
		return Constraint{}
	}
	c := Constraint{}
	kinds := 0
	for _, l := range []struct {
		name string
		raw  json.RawMessage
		to   *[]Constraint
	}{{"and", w.And, &c.And}, {"or", w.Or, &c.Or}, {"xone", w.Xone, &c.Xone}, {"andSequence", w.AndSequence, &c.AndSequence}} {
		if len(l.raw) == 0 {
			continue
		}
		kinds++
		*l.to = p.constraints(clause+"/"+l.name, l.raw, depth+1)
		if len(*l.to) == 0 {
			p.fail(clause+"/"+l.name, "no constraints", "at least one")
		}
	}
	if len(w.LeftOperand) > 0 {
		kinds++
		c.LeftOperand = local(p.one(clause+"/leftOperand", w.LeftOperand, true))
		c.Operator = local(p.one(clause+"/operator", w.Operator, true))
		c.RightOperand, c.List = p.operand(clause+"/rightOperand", w.RightOperand)
	}
	if kinds != 1 {
		p.fail(clause, strconv.Itoa(kinds)+" forms", "exactly one of leftOperand, and, or, xone, andSequence")
	}
	return c
}

// one reads a single string: plain, {"@id"}, {"@value"}, or a list of one.
func (p *parser) one(clause string, raw json.RawMessage, required bool) string {
	items := list(raw)
	if len(items) == 0 && !required {
		return ""
	}
	if len(items) != 1 {
		p.fail(clause, strconv.Itoa(len(items))+" values", "one string")
		return ""
	}
	s, ok := scalar(items[0])
	if !ok || required && s == "" {
		p.fail(clause, shape(items[0]), "a string")
	}
	return s
}

// operand reads a right operand as a list of strings.
func (p *parser) operand(clause string, raw json.RawMessage) ([]string, bool) {
	var wrapped struct {
		List json.RawMessage `json:"@list"`
		Set  json.RawMessage `json:"@set"`
	}
	if json.Unmarshal(raw, &wrapped) == nil && (len(wrapped.List) > 0 || len(wrapped.Set) > 0) {
		raw = append(wrapped.List, wrapped.Set...)
	}
	items := list(raw)
	if len(items) == 0 || len(items) > maxOperands {
		p.fail(clause, strconv.Itoa(len(items))+" values", "1 to "+strconv.Itoa(maxOperands))
		return nil, false
	}
	out := make([]string, 0, len(items))
	for i, item := range items {
		s, ok := scalar(item)
		if !ok {
			p.fail(clause+"/"+strconv.Itoa(i), shape(item), "a string")
			return nil, false
		}
		out = append(out, s)
	}
	return out, len(raw) > 0 && raw[0] == '['
}

// scalar reads a string, {"@value": string} or {"@id": string}. Numbers keep their text; the schema wants strings, peers send both.
func scalar(raw json.RawMessage) (string, bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, string(raw) != "null"
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String(), true
	}
	var o struct {
		Value json.RawMessage `json:"@value"`
		ID    string          `json:"@id"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return "", false
	}
	if o.ID != "" {
		return o.ID, true
	}
	if len(o.Value) > 0 && o.Value[0] != '{' && o.Value[0] != '[' {
		return scalar(o.Value)
	}
	return "", false
}

// namespaces that peers write before a term, longest first.
var namespaces = []string{
	"https://w3id.org/catenax/2025/9/policy/", "http://www.w3.org/ns/odrl/2/", "cx-policy:", "odrl:",
}

// local strips the namespaces that every profile of this protocol shares; other IRIs stay whole and match no operand.
func local(term string) string {
	for _, ns := range namespaces {
		if name, ok := strings.CutPrefix(term, ns); ok {
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
