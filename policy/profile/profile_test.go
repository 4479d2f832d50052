package profile_test

import (
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/policy/profile"
)

func load(t *testing.T) *profile.Profile {
	t.Helper()
	p, err := profile.Default()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func term(operand, operator string, values ...string) odrl.Constraint {
	return odrl.Constraint{LeftOperand: operand, Operator: operator, RightOperand: values, List: len(values) > 1}
}

func with(action string, terms ...odrl.Constraint) odrl.Policy {
	return odrl.Policy{Permission: []odrl.Rule{{Action: action, Constraint: []odrl.Constraint{{And: terms}}}}}
}

func TestTheTemplatesAreSoundAndPrintAsTheyAreMeant(t *testing.T) {
	t.Parallel()
	p := load(t)
	for _, tmpl := range p.Templates {
		pol, access, ok := p.Template(tmpl.Name)
		if !ok || access != tmpl.Access {
			t.Errorf("%s: %t %t", tmpl.Name, access, ok)
		}
		if faults := p.Validate(pol, access); len(faults) > 0 {
			t.Errorf("%s: %v", tmpl.Name, faults)
		}
	}
	if _, _, ok := p.Template("none"); ok {
		t.Error("a template that is not there was found")
	}
}

func TestATermThatCannotBeEnforcedIsNamed(t *testing.T) {
	t.Parallel()
	p := load(t)
	good := term("FrameworkAgreement", "eq", "DataExchangeGovernance:1.0")
	for name, tt := range map[string]struct {
		policy       odrl.Policy
		access       bool
		clause, want string
	}{
		"an unknown operand":            {with("use", term("Region", "eq", "EU")), false, "permission/0/constraint/0/and/0/leftOperand", "FrameworkAgreement"},
		"a term of the profile to come": {with("use", term("ContractReference", "isAllOf", "x")), false, "leftOperand", "UsagePurpose"},
		"no operand":                    {with("use", good, odrl.Constraint{}), false, "permission/0/constraint/0/and/1/leftOperand", "FrameworkAgreement"},
		"an operand of another kind":    {with("use", term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000AUR1")), false, "leftOperand", "kind of policy"},
		"an operator of another one":    {with("use", term("Membership", "isAnyOf", "active")), false, "operator", "eq for Membership"},
		"a value outside the list":      {with("use", term("FrameworkAgreement", "eq", "Pcf:1.0")), false, "rightOperand/0", "DataExchangeGovernance:1.0"},
		"two values for one":            {with("use", term("Membership", "eq", "active", "active")), false, "rightOperand", "one value"},
		"a number that is none":         {with("access", term("BusinessPartnerNumber", "isAnyOf", "BPNS00000000AUR1")), true, "rightOperand/0", "BPNL"},
		"a duration in words":           {with("use", term("DataUsageEndDurationDays", "eq", "ninety")), false, "rightOperand/0", "0-9"},
		"two ends":                      {with("use", term("DataUsageEndDate", "eq", "2027-01-01T00:00:00Z"), term("DataUsageEndDurationDays", "eq", "9")), false, "and/1/leftOperand", "one of the two"},
		"an access policy with use":     {with("use", term("Membership", "eq", "active")), true, "permission/0/action", "\"access\""},
		"a usage policy with access":    {with("access", good), false, "permission/0/action", "\"use\""},
		"terms side by side":            {odrl.Policy{Permission: []odrl.Rule{{Action: "use", Constraint: []odrl.Constraint{good, good}}}}, false, "permission/0/constraint", "and"},
		"a usage without terms":         {odrl.Policy{Permission: []odrl.Rule{{Action: "use"}}}, false, "permission/0/constraint", "at least one"},
		"an or":                         {odrl.Policy{Permission: []odrl.Rule{{Action: "use", Constraint: []odrl.Constraint{{Or: []odrl.Constraint{good}}}}}}, false, "constraint/0/or", "and"},
		"a prohibition":                 {odrl.Policy{Permission: with("use", good).Permission, Prohibition: []odrl.Rule{{Action: "use"}}}, false, "prohibition", "none"},
		"no permission":                 {odrl.Policy{Prohibition: []odrl.Rule{{Action: "use"}}}, false, "permission", "at least one permission"},
		"another profile":               {odrl.Policy{Profile: "cx-policy:profile2405", Permission: with("use", good).Permission}, false, "profile", "2025/9"},
	} {
		found := false
		faults := p.Validate(tt.policy, tt.access)
		for _, f := range faults {
			found = found || strings.HasSuffix(f.Clause, tt.clause) && strings.Contains(f.Want, tt.want)
		}
		if !found {
			t.Errorf("%s: %v, want one at %s that names %q", name, faults, tt.clause, tt.want)
		}
	}
}

func TestAProfileWithAnUnknownKeyIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"id: x\noperandz: []\n", "operands:\n  - {name: x, pattern: '('}\n", "["} {
		if _, err := profile.Parse([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestAForeignOfferIsTakenByWhatItMeans(t *testing.T) {
	t.Parallel()
	p, err := profile.Default()
	if err != nil {
		t.Fatal(err)
	}
	member := odrl.Constraint{LeftOperand: "Membership", Operator: "eq", RightOperand: []string{"active"}}
	for name, tt := range map[string]struct {
		rule odrl.Rule
		want int
	}{
		"without terms":                 {odrl.Rule{Action: "use"}, 0},
		"with terms side by side":       {odrl.Rule{Action: "use", Constraint: []odrl.Constraint{member, member}}, 0},
		"with a term that nobody knows": {odrl.Rule{Action: "use", Constraint: []odrl.Constraint{{LeftOperand: "Moon", Operator: "eq", RightOperand: []string{"full"}}}}, 1},
		"for another action":            {odrl.Rule{Action: "sell"}, 1},
	} {
		pol := odrl.Policy{Permission: []odrl.Rule{tt.rule}}
		if got := p.Understand(pol); len(got) != tt.want {
			t.Errorf("%s: %v, want %d faults", name, got, tt.want)
		}
		if got := p.Validate(pol, false); len(got) == 0 {
			t.Errorf("%s: our own policy may be like that", name)
		}
	}
}
