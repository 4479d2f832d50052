package odrl_test

import (
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/policy/odrl"
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

func FuzzParse(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte(`{"@type":"Set","@id":"x","permission":{"action":{"@id":"odrl:use"},"constraint":{"leftOperand":"a","operator":"eq","rightOperand":{"@list":["x",1.5]}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, parties, err := odrl.Parse(text)
		if err != nil {
			return
		}
		printed, err := odrl.Marshal(p, parties)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := odrl.Parse(printed)
		if err != nil || !odrl.Equal(p, again) {
			t.Fatalf("%s prints as %s and reads back as %+v, %v", text, printed, again, err)
		}
	})
}
