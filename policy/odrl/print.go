package odrl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// printed is the wire form; empty lists are left out, as the schema demands.
type printed struct {
	Type        string        `json:"@type,omitempty"`
	ID          string        `json:"@id,omitempty"`
	Profile     string        `json:"profile,omitempty"`
	Target      string        `json:"target,omitempty"`
	Assigner    string        `json:"assigner,omitempty"`
	Assignee    string        `json:"assignee,omitempty"`
	Timestamp   string        `json:"timestamp,omitempty"`
	Permission  []printedRule `json:"permission,omitempty"`
	Prohibition []printedRule `json:"prohibition,omitempty"`
	Obligation  []printedRule `json:"obligation,omitempty"`
}

type printedRule struct {
	Action     string              `json:"action"`
	Constraint []printedConstraint `json:"constraint,omitempty"`
}

type printedConstraint struct {
	LeftOperand  string              `json:"leftOperand,omitempty"`
	Operator     string              `json:"operator,omitempty"`
	RightOperand any                 `json:"rightOperand,omitempty"`
	And          []printedConstraint `json:"and,omitempty"`
	Or           []printedConstraint `json:"or,omitempty"`
	Xone         []printedConstraint `json:"xone,omitempty"`
	AndSequence  []printedConstraint `json:"andSequence,omitempty"`
}

// Marshal returns the policy in the JSON form of the protocol, as the kind that parties names, with p.ID as its @id.
func Marshal(p Policy, parties Parties) (json.RawMessage, error) {
	b, err := json.Marshal(printed{Type: parties.Kind, ID: p.ID, Profile: p.Profile, Target: parties.Target, Assigner: parties.Assigner,
		Assignee: parties.Assignee, Timestamp: parties.Timestamp, Permission: printRules(p.Permission),
		Prohibition: printRules(p.Prohibition), Obligation: printRules(p.Obligation)})
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", p.ID, err)
	}
	return b, nil
}

func printRules(rules []Rule) []printedRule {
	var out []printedRule
	for _, r := range rules {
		out = append(out, printedRule{r.Action, printConstraints(r.Constraint)})
	}
	return out
}

func printConstraints(constraints []Constraint) []printedConstraint {
	var out []printedConstraint
	for _, c := range constraints {
		w := printedConstraint{LeftOperand: c.LeftOperand, Operator: c.Operator, And: printConstraints(c.And), Or: printConstraints(c.Or),
			Xone: printConstraints(c.Xone), AndSequence: printConstraints(c.AndSequence)}
		switch {
		case c.LeftOperand == "":
		case c.List || len(c.RightOperand) != 1:
			w.RightOperand = c.RightOperand
		default:
			w.RightOperand = c.RightOperand[0]
		}
		out = append(out, w)
	}
	return out
}

// Canonical is the RFC 8785 form of the rules and profile, without id and parties. Right operands are lists in it, so that
// "x" and ["x"] are one policy. It is written here and not by an encoder, because it must not fail: there is always a digest.
func Canonical(p Policy) []byte {
	c := canonical(make([]byte, 0, 512))
	c.open('{')
	c.rules("obligation", p.Obligation)
	c.rules("permission", p.Permission)
	c.text("profile", p.Profile)
	c.rules("prohibition", p.Prohibition)
	return append(c, '}')
}

// canonical is the text so far.
type canonical []byte

// open begins an object, an array or their next element: a comma stands before all but the first.
func (c *canonical) open(b byte) {
	c.comma()
	*c = append(*c, b)
}

func (c *canonical) comma() {
	if n := len(*c); n > 0 && !strings.ContainsRune("{[:", rune((*c)[n-1])) {
		*c = append(*c, ',')
	}
}

func (c *canonical) member(name string) {
	c.comma()
	*c = append(ijson.AppendString(*c, name), ':')
}

func (c *canonical) text(name, value string) {
	if value != "" {
		c.member(name)
		*c = ijson.AppendString(*c, value)
	}
}

func (c *canonical) rules(name string, rules []Rule) {
	if len(rules) == 0 {
		return
	}
	c.member(name)
	c.open('[')
	for _, r := range rules {
		c.open('{')
		c.member("action")
		*c = ijson.AppendString(*c, r.Action)
		c.constraints("constraint", r.Constraint)
		*c = append(*c, '}')
	}
	*c = append(*c, ']')
}

func (c *canonical) constraints(name string, constraints []Constraint) {
	if len(constraints) == 0 {
		return
	}
	c.member(name)
	c.open('[')
	for _, o := range constraints {
		c.open('{')
		c.constraints("and", o.And)
		c.constraints("andSequence", o.AndSequence)
		c.text("leftOperand", o.LeftOperand)
		c.text("operator", o.Operator)
		c.constraints("or", o.Or)
		if o.LeftOperand != "" {
			c.member("rightOperand")
			c.open('[')
			for _, value := range o.RightOperand {
				c.comma()
				*c = ijson.AppendString(*c, value)
			}
			*c = append(*c, ']')
		}
		c.constraints("xone", o.Xone)
		*c = append(*c, '}')
	}
	*c = append(*c, ']')
}

// Digest identifies a policy by its content: SHA-256, hex, over Canonical.
func Digest(p Policy) string { return ijson.Digest("policy", Canonical(p)) }

// Equal reports whether two policies say the same.
func Equal(a, b Policy) bool { return bytes.Equal(Canonical(a), Canonical(b)) }

// IsZero reports whether p says nothing.
func (p Policy) IsZero() bool { return reflect.ValueOf(p).IsZero() }
