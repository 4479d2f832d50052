package odrl

import (
	"encoding/json"
	"fmt"
	"reflect"

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
// "x" and ["x"] are one policy.
func Canonical(p Policy) []byte {
	b, err := ijson.Marshal(printed{Profile: p.Profile, Permission: printRules(listed(p.Permission)),
		Prohibition: printRules(listed(p.Prohibition)), Obligation: printRules(listed(p.Obligation))})
	if err != nil {
		// Strings and slices of strings always encode; an empty form equals no policy.
		return nil
	}
	return b
}

func listed(rules []Rule) []Rule {
	out := make([]Rule, len(rules))
	for i, r := range rules {
		out[i] = Rule{r.Action, listedConstraints(r.Constraint)}
	}
	return out
}

func listedConstraints(in []Constraint) []Constraint {
	out := make([]Constraint, len(in))
	for i, c := range in {
		c.List = true
		c.And, c.Or = listedConstraints(c.And), listedConstraints(c.Or)
		c.Xone, c.AndSequence = listedConstraints(c.Xone), listedConstraints(c.AndSequence)
		out[i] = c
	}
	return out
}

// Digest identifies a policy by its content: SHA-256, hex, over Canonical.
func Digest(p Policy) string { return ijson.Digest("policy", Canonical(p)) }

// Equal reports whether two policies say the same.
func Equal(a, b Policy) bool {
	x, y := Canonical(a), Canonical(b)
	return x != nil && string(x) == string(y)
}

// IsZero reports whether p says nothing.
func (p Policy) IsZero() bool { return reflect.ValueOf(p).IsZero() }
