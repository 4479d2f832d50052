package odrl_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

const plain = `{"@type":"Offer","@id":"urn:o","permission":[{"action":"use","constraint":[{"and":[` +
	`{"leftOperand":"Membership","operator":"eq","rightOperand":"active"},{"leftOperand":"UsagePurpose","operator":"isAnyOf","rightOperand":["cx.pcf.base:1"]}]}]}]}`

func parse(t *testing.T, text string) odrl.Policy {
	t.Helper()
	p, _, err := odrl.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestOneMeaningHasOneDigestHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	want := odrl.Digest(parse(t, plain))
	if kept := "f75abf362de22294be9907068370a03b18bffeec8c7eeca809104b65728a10bc"; want != kept {
		t.Errorf("digest %s, want %s: policies and agreements that were stored are known by it", want, kept)
	}
	for name, text := range map[string]string{
		"prefixed terms":      strings.NewReplacer(`"use"`, `"odrl:use"`, `"Membership"`, `"cx-policy:Membership"`, `"eq"`, `"odrl:eq"`).Replace(plain),
		"full IRIs":           strings.NewReplacer(`"Membership"`, `"https://w3id.org/catenax/2025/9/policy/Membership"`, `"eq"`, `"http://www.w3.org/ns/odrl/2/eq"`).Replace(plain),
		"objects with ids":    strings.NewReplacer(`"use"`, `{"@id":"use"}`, `"eq"`, `{"@id":"odrl:eq"}`).Replace(plain),
		"a list of one":       strings.Replace(plain, `"active"`, `["active"]`, 1),
		"one for a list":      strings.Replace(plain, `["cx.pcf.base:1"]`, `"cx.pcf.base:1"`, 1),
		"a value object":      strings.Replace(plain, `"active"`, `{"@value":"active"}`, 1),
		"an expanded list":    strings.Replace(plain, `["cx.pcf.base:1"]`, `{"@list":[{"@value":"cx.pcf.base:1"}]}`, 1),
		"one permission bare": strings.NewReplacer(`"permission":[`, `"permission":`, `}]}]}]}`, `}]}]}}`).Replace(plain),
		"another id":          strings.Replace(plain, `"urn:o"`, `"urn:other"`, 1),
		"white space":         strings.ReplaceAll(plain, ",", " , "),
	} {
		if text == plain {
			t.Fatalf("%s: the case changes nothing", name)
		}
		if got := odrl.Digest(parse(t, text)); got != want {
			t.Errorf("%s: digest %s, want %s", name, got, want)
		}
	}
	for name, text := range map[string]string{
		"another value":    strings.Replace(plain, "active", "passive", 1),
		"another operator": strings.Replace(plain, `"eq"`, `"neq"`, 1),
		"another action":   strings.Replace(plain, `"use"`, `"access"`, 1),
		"another order":    strings.Replace(plain, `["cx.pcf.base:1"]`, `["cx.pcf.base:1","x"]`, 1),
		"a prohibition":    strings.Replace(plain, `"permission"`, `"prohibition"`, 1),
		"an or":            strings.Replace(plain, `"and"`, `"or"`, 1),
		"a foreign term":   strings.Replace(plain, `"Membership"`, `"https://example.org/Membership"`, 1),
	} {
		if odrl.Equal(parse(t, text), parse(t, plain)) {
			t.Errorf("%s says the same", name)
		}
	}
}

func TestWhatCannotBeReadIsRefusedByItsPlace(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"and":[`, 20) + `{"leftOperand":"a","operator":"eq","rightOperand":"x"}` + strings.Repeat(`]}`, 20)
	wide := strings.TrimSuffix(strings.Repeat(`{"leftOperand":"a","operator":"eq","rightOperand":"x"},`, 300), ",")
	rule := func(constraint string) string {
		return `{"@type":"Offer","@id":"o","permission":[{"action":"use","constraint":[` + constraint + `]}]}`
	}
	for name, tt := range map[string]struct{ text, want string }{
		"no rules":              {`{"@type":"Offer","@id":"o"}`, "permission"},
		"only an obligation":    {`{"@type":"Offer","@id":"o","obligation":[{"action":"use"}]}`, "permission"},
		"a rule without action": {`{"@type":"Offer","@id":"o","permission":[{}]}`, "permission/0/action"},
		"a duty in a rule":      {`{"@type":"Offer","@id":"o","permission":[{"action":"use","duty":[{}]}]}`, "permission/0/duty"},
		"a rule that is text":   {`{"@type":"Offer","@id":"o","permission":["use"]}`, "permission/0"},
		"no operand":            {rule(`{"operator":"eq","rightOperand":"x"}`), "permission/0/constraint/0"},
		"two forms":             {rule(`{"leftOperand":"a","operator":"eq","rightOperand":"x","and":[{"leftOperand":"a","operator":"eq","rightOperand":"x"}]}`), "exactly one"},
		"an empty and":          {rule(`{"and":[]}`), "constraint/0/and"},
		"no right operand":      {rule(`{"leftOperand":"a","operator":"eq"}`), "rightOperand"},
		"a boolean":             {rule(`{"leftOperand":"a","operator":"eq","rightOperand":true}`), "rightOperand/0"},
		"an object":             {rule(`{"leftOperand":"a","operator":"eq","rightOperand":{"x":1}}`), "rightOperand/0"},
		"two operators":         {rule(`{"leftOperand":"a","operator":["eq","neq"],"rightOperand":"x"}`), "operator"},
		"too deep":              {rule(deep), "levels"},
		"too many":              {rule(wide), "fewer"},
	} {
		_, _, err := odrl.Parse([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to name %q", name, err, tt.want)
		}
	}
}

func TestAMemberThatIsNotKnownIsRefusedWhereItStands(t *testing.T) {
	t.Parallel()
	const term = `"leftOperand":"Membership","operator":"eq","rightOperand":"active"`
	policy := func(more string) string {
		return `{"@type":"Agreement","@id":"o","target":"urn:t","assigner":"did:web:p","assignee":"did:web:c",` + more + `}`
	}
	rule := func(more string) string { return policy(`"permission":[{` + more + `}]`) }
	constraint := func(more string) string { return rule(`"action":"use","constraint":[` + more + `]`) }
	for name, tt := range map[string]struct{ text, want string }{
		"a refinement of the action":        {rule(`"action":{"@id":"use","refinement":[{` + term + `}]}`), "permission/0/action/refinement"},
		"an action with a value of RDF":     {rule(`"action":{"rdf:value":{"@id":"use"}}`), "permission/0/action/rdf:value"},
		"an action with two names":          {rule(`"action":{"@id":"use","@value":"access"}`), "permission/0/action: have 2 members"},
		"an action that is a number":        {rule(`"action":7`), "permission/0/action: have a number"},
		"another target in a rule":          {rule(`"action":"use","target":"urn:other"`), "permission/0/target"},
		"another assignee in a rule":        {rule(`"action":"use","assignee":"did:web:other"`), "permission/0/assignee"},
		"another assigner in a rule":        {rule(`"action":"use","assigner":"did:web:other"`), "permission/0/assigner"},
		"an empty assignee in a rule":       {rule(`"action":"use","assignee":""`), "permission/0/assignee"},
		"a remedy":                          {rule(`"action":"use","remedy":[{"action":"use"}]`), "permission/0/remedy"},
		"a duty":                            {rule(`"action":"use","duty":[{"action":"use"}]`), "permission/0/duty"},
		"constraints, a letter too many":    {rule(`"action":"use","constraints":[{` + term + `}]`), "permission/0/constraints"},
		"constraint in another case":        {rule(`"action":"use","Constraint":[{` + term + `}]`), "permission/0/Constraint"},
		"constraint with a long s":          {rule(`"action":"use","con` + "ſ" + `traint":[{` + term + `}]`), "permission/0/con" + "ſ" + "traint"},
		"a prefixed constraint":             {rule(`"action":"use","odrl:constraint":[{` + term + `}]`), "permission/0/odrl:constraint"},
		"a prohibition called a permission": {rule(`"@type":"Prohibition","action":"use"`), "permission/0/@type"},
		"a duty of the policy":              {policy(`"permission":[{"action":"use"}],"duty":[{"action":"use"}]`), "policy duty"},
		"prohibitions, a letter too many":   {policy(`"permission":[{"action":"use"}],"prohibitions":[{"action":"use"}]`), "policy prohibitions"},
		"a policy to inherit from":          {policy(`"permission":[{"action":"use"}],"inheritFrom":"urn:p"`), "policy inheritFrom"},
		"a strategy for conflicts":          {policy(`"permission":[{"action":"use"}],"conflict":"perm"`), "policy conflict"},
		"a type that is none":               {strings.Replace(policy(`"permission":[{"action":"use"}]`), "Agreement", "Ticket", 1), "policy @type"},
		"two ids":                           {policy(`"uid":"urn:x","permission":[{"action":"use"}]`), "policy uid"},
		"two assignees":                     {strings.Replace(policy(`"permission":[{"action":"use"}]`), `"did:web:c"`, `["did:web:c","did:web:d"]`, 1), "policy assignee"},
		"a context that gives other terms":  {policy(`"@context":[{"Membership":"urn:x"}],"permission":[{"action":"use"}]`), "@context/0"},
		"a unit":                            {constraint(`{` + term + `,"unit":"urn:day"}`), "permission/0/constraint/0/unit"},
		"a data type":                       {constraint(`{` + term + `,"dataType":"xsd:date"}`), "permission/0/constraint/0/dataType"},
		"a reference to a right operand":    {constraint(`{` + term + `,"rightOperandReference":"urn:x"}`), "rightOperandReference"},
		"an operator beside an and":         {constraint(`{"and":[{` + term + `}],"operator":"eq"}`), "permission/0/constraint/0"},
		"a null beside a term":              {constraint(`{` + term + `,"and":null}`), "permission/0/constraint/0"},
		"a unit inside an and":              {constraint(`{"and":[{` + term + `,"unit":"urn:day"}]}`), "permission/0/constraint/0/and/0/unit"},
		"a rule called a constraint":        {constraint(`{"@type":"Permission",` + term + `}`), "permission/0/constraint/0/@type"},
		"a value with a type":               {constraint(`{"leftOperand":"a","operator":"eq","rightOperand":{"@value":"1","@type":"xsd:integer"}}`), "rightOperand/0/@type"},
		"a list and a set":                  {constraint(`{"leftOperand":"a","operator":"eq","rightOperand":{"@list":["x"],"@set":["y"]}}`), "rightOperand: have two lists"},
		"a list with an index":              {constraint(`{"leftOperand":"a","operator":"eq","rightOperand":{"@list":["x"],"@index":"1"}}`), "rightOperand/@index"},
		"a name that draws on the terminal": {rule(`"action":"use","\u001b[2J\u202e":1`), `permission/0/\x1b[2J\u202e`},
	} {
		_, _, err := odrl.Parse([]byte(tt.text))
		var fault odrl.Fault
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want a fault that names %q", name, err, tt.want)
		}
	}
	for name, text := range map[string]string{
		"the policy's own parties in a rule": rule(`"@type":"Permission","uid":"urn:r","action":{"@id":"use"},"target":"urn:t","assigner":["did:web:p"],"assignee":{"@id":"did:web:c"}`),
		"types and ids of constraints":       constraint(`{"@type":"LogicalConstraint","uid":"urn:l","and":[{"@type":"AtomicConstraint","@id":"urn:a",` + term + `}]}`),
		"a context of addresses":             policy(`"@context":["https://w3id.org/catenax/2025/9/policy/odrl.jsonld"],"profile":"https://w3id.org/catenax/2025/9/policy/","permission":[{"action":"use"}]`),
		"an id of ODRL":                      `{"@type":"Set","uid":"o","permission":[{"action":"use"}]}`,
	} {
		if p := parse(t, text); p.ID != "o" {
			t.Errorf("%s: id %q", name, p.ID)
		}
	}
}

func TestATermBehindTwoPrefixesOrNoneAtAllIsNoTermOfTheProfile(t *testing.T) {
	t.Parallel()
	for _, operand := range []string{"odrl:", "cx-policy:", "odrl:odrl:Membership", "odrl:cx-policy:Membership", "http://www.w3.org/ns/odrl/2/x/Membership"} {
		p := parse(t, strings.Replace(plain, `"Membership"`, `"`+operand+`"`, 1))
		if got := p.Permission[0].Constraint[0].And[0].LeftOperand; got != operand {
			t.Errorf("%s is read as %q", operand, got)
		}
	}
}

// slowCanonical is the canonical form by way of the wire form and an encoder.
func slowCanonical(t *testing.T, p odrl.Policy) string {
	t.Helper()
	p.ID = ""
	for _, rules := range [][]odrl.Rule{p.Permission, p.Prohibition, p.Obligation} {
		for i := range rules {
			listed(rules[i].Constraint)
		}
	}
	text, err := odrl.Marshal(p, odrl.Parties{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := ijson.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// listed writes every right operand as a list.
func listed(constraints []odrl.Constraint) {
	for i, c := range constraints {
		constraints[i].List = true
		for _, nested := range [][]odrl.Constraint{c.And, c.Or, c.Xone, c.AndSequence} {
			listed(nested)
		}
	}
}

// unknown returns a member name, at any depth, that no policy has.
func unknown(v any) string {
	known := []string{"@context", "@type", "@id", "uid", "profile", "target", "assigner", "assignee", "timestamp", "permission", "prohibition", "obligation",
		"action", "constraint", "leftOperand", "operator", "rightOperand", "and", "or", "xone", "andSequence", "@value", "@list", "@set"}
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if !slices.Contains(known, name) {
				return name
			}
			if below := unknown(member); below != "" {
				return below
			}
		}
	case []any:
		for _, item := range v {
			if below := unknown(item); below != "" {
				return below
			}
		}
	}
	return ""
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte(`{"@type":"Set","@id":"x","permission":{"action":{"@id":"odrl:use"},"constraint":{"leftOperand":"a","operator":"eq","rightOperand":{"@list":["x",1.5]}}}}`))
	f.Add([]byte(`{"@context":"urn:c","@type":"Agreement","uid":"x","target":"t","assigner":{"@id":"a"},"assignee":["b"],"timestamp":"2026-11-24T09:00:00Z","prohibition":[{"@type":"Prohibition","action":"use","target":"t"}],"obligation":[{"@type":"Duty","action":"odrl:odrl:use"}]}`))
	f.Add([]byte(`{"@type":"Set","@id":"x","permission":[{"action":{"@id":"use","refinement":[]},"constraints":[]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, parties, err := odrl.Parse(text)
		if err != nil {
			return
		}
		printed, err := odrl.Marshal(p, parties)
		if err != nil {
			t.Fatal(err)
		}
		again, sides, err := odrl.Parse(printed)
		if err != nil || !odrl.Equal(p, again) || p.ID != again.ID || sides != parties {
			t.Fatalf("%s prints as %s and reads back as %+v of %+v, %v", text, printed, again, sides, err)
		}
		if want := slowCanonical(t, p); string(odrl.Canonical(p)) != want {
			t.Fatalf("canonical form of %s: %s, want %s", text, odrl.Canonical(p), want)
		}
		// Nothing that was written may be left out: what is accepted says no other names than what it prints as.
		var have any
		if err := json.Unmarshal(text, &have); err != nil {
			t.Fatal(err)
		}
		if name := unknown(have); name != "" {
			t.Fatalf("%s was accepted with %q in it", text, name)
		}
	})
}
