package profile

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sluice-connector/sluice/policy/odrl"
)

//go:embed *.yaml
var files embed.FS

// Profile is one ecosystem.
type Profile struct {
	ID          string      `yaml:"id"`
	Default     bool        `yaml:"default"` // of those that come with the binary: the one when nobody says otherwise
	Policy      string      `yaml:"policy"`  // IRI that policies carry as their profile
	Scopes      []string    `yaml:"scopes"`  // credentials that a caller must present
	Aliases     []string    `yaml:"aliases"` // that scopes are written with, besides those of the protocol (DCP 1.0, section 3.2)
	Credentials Credentials `yaml:"credentials"`
	Directory   string      `yaml:"directory"` // scope of what a member shows to read the directory of numbers; empty: there is none
	BPN         []Claim     `yaml:"bpn"`       // where the business partner number is proven; all must agree
	Operands    []Operand   `yaml:"operands"`
	Asset       Asset       `yaml:"asset"`
	Templates   []Template  `yaml:"templates"`
	Issuance    []Issuance  `yaml:"issuance"` // what an issuer of the ecosystem begins with
}

// Credentials says what a credential must be to be believed, whoever issued it.
type Credentials struct {
	Profiles []string      `yaml:"profiles"` // of DCP 1.0: data model, proof and status
	Leeway   time.Duration `yaml:"leeway"`   // how far a peer's clock may differ
}

// Claim is a member of a credential's subject.
type Claim struct {
	Credential string `yaml:"credential"`
	Claim      string `yaml:"claim"`
}

// Issuance is a credential that issuers of the ecosystem issue, to holders on their list.
type Issuance struct {
	Type     string   `yaml:"type"`
	Profile  string   `yaml:"profile"`
	Contexts []string `yaml:"contexts"`
	Days     int      `yaml:"days"`
	Subject  []Member `yaml:"subject"`
}

// Member of a subject: a constant, or the holder's value of the key.
type Member struct {
	Name     string `yaml:"name"`
	Value    string `yaml:"value"`
	Key      string `yaml:"key"`
	Many     bool   `yaml:"many"`
	Optional bool   `yaml:"optional"`
}

// Operand is a row of the operand table: where a left operand may stand and what it may say.
type Operand struct {
	Name      string   `yaml:"name"`
	Access    bool     `yaml:"access"`
	Usage     bool     `yaml:"usage"`
	Operators []string `yaml:"operators"`
	Values    []string `yaml:"values"`  // closed list; empty: any that fits Pattern
	Pattern   string   `yaml:"pattern"` // RE2
	List      bool     `yaml:"list"`    // several values allowed
	Group     string   `yaml:"group"`   // operands of one group exclude each other

	pattern *regexp.Regexp
}

// Asset names the properties of a dataset.
type Asset struct {
	Type     string `yaml:"type"`
	Version  string `yaml:"version"`
	Semantic string `yaml:"semantic"`
	Taxonomy string `yaml:"taxonomy"`
}

// Template is a policy to publish under.
type Template struct {
	Name        string       `yaml:"name"`
	Access      bool         `yaml:"access"`
	Constraints []Constraint `yaml:"constraints"`
}

// Constraint of a template.
type Constraint struct {
	Operand  string   `yaml:"operand"`
	Operator string   `yaml:"operator"`
	Values   []string `yaml:"values"`
}

// Default returns the profile that is used when the settings name none.
func Default() (*Profile, error) {
	names, err := Names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if p, err := Builtin(name); err != nil || p.Default {
			return p, err
		}
	}
	return nil, errors.New("profile: none is the default")
}

// Names lists the profiles that come with the binary.
func Names() ([]string, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return out, nil
}

// Builtin returns a profile that comes with the binary.
func Builtin(name string) (*Profile, error) {
	text, err := files.ReadFile(name + ".yaml")
	if err != nil {
		names, _ := Names()
		return nil, fmt.Errorf("profile %q: want one of %s, or a file", name, strings.Join(names, ", "))
	}
	return Parse(text)
}

// idPattern is what a profile may be called.
var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Parse reads a profile; unknown keys are refused.
func Parse(data []byte) (*Profile, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var p Profile
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("profile: the file has a second document")
	}
	if !idPattern.MatchString(p.ID) || p.Policy == "" {
		return nil, fmt.Errorf("profile: id %q, policy %q: want 1 to 63 of a-z, 0-9 and '-', and the IRI that policies carry", p.ID, p.Policy)
	}
	for i := range p.Operands {
		if p.Operands[i].Pattern == "" {
			continue
		}
		re, err := regexp.Compile(p.Operands[i].Pattern)
		if err != nil {
			return nil, fmt.Errorf("profile %s, operand %s: %w", p.ID, p.Operands[i].Name, err)
		}
		p.Operands[i].pattern = re
	}
	return &p, nil
}

// Template builds the policy of a template; false when there is none of the name.
func (p *Profile) Template(name string) (policy odrl.Policy, access, ok bool) {
	i := slices.IndexFunc(p.Templates, func(t Template) bool { return t.Name == name })
	if i < 0 {
		return odrl.Policy{}, false, false
	}
	t := p.Templates[i]
	var all []odrl.Constraint
	for _, c := range t.Constraints {
		operand, _ := p.operand(c.Operand)
		all = append(all, odrl.Constraint{LeftOperand: c.Operand, Operator: c.Operator, RightOperand: c.Values, List: operand.List})
	}
	rule := odrl.Rule{Action: action(t.Access), Constraint: all}
	if len(all) > 1 {
		rule.Constraint = []odrl.Constraint{{And: all}}
	}
	return odrl.Policy{Profile: p.Policy, Permission: []odrl.Rule{rule}}, t.Access, true
}

func action(access bool) string {
	if access {
		return "access"
	}
	return "use"
}

func (p *Profile) operand(name string) (Operand, bool) {
	i := slices.IndexFunc(p.Operands, func(o Operand) bool { return o.Name == name })
	if i < 0 {
		return Operand{}, false
	}
	return p.Operands[i], true
}

// Validate returns every fault of a policy under the profile; none means that each of its terms can be enforced here. It is
// asked when a policy is created; Understand is asked when one arrives.
func (p *Profile) Validate(pol odrl.Policy, access bool) []odrl.Fault {
	return p.judge(pol, validator{profile: p, access: access, groups: map[string]string{}})
}

// Understand returns what cannot be enforced in the usage policy of somebody else's offer. How its author arranges terms, or that there are
// none, is the author's business.
func (p *Profile) Understand(pol odrl.Policy) []odrl.Fault {
	return p.judge(pol, validator{profile: p, foreign: true, groups: map[string]string{}})
}

func (p *Profile) judge(pol odrl.Policy, v validator) []odrl.Fault {
	if pol.Profile != "" && pol.Profile != p.Policy {
		v.fault("profile", quote(pol.Profile), quote(p.Policy))
	}
	if len(pol.Permission) == 0 {
		v.fault("permission", "none", "at least one permission; a policy without one allows nothing")
	}
	for i, rule := range pol.Permission {
		v.rule("permission/"+strconv.Itoa(i), rule)
	}
	for section, rules := range map[string][]odrl.Rule{"prohibition": pol.Prohibition, "obligation": pol.Obligation} {
		if len(rules) > 0 {
			v.fault(section, strconv.Itoa(len(rules))+" rules", "none; no "+section+" can be enforced here")
		}
	}
	slices.SortFunc(v.faults, func(a, b odrl.Fault) int { return strings.Compare(a.Clause, b.Clause) })
	return v.faults
}

type validator struct {
	profile *Profile
	access  bool
	foreign bool              // somebody else's: only what it means counts, not how it is arranged
	groups  map[string]string // exclusion group -> operand seen
	faults  []odrl.Fault
}

func (v *validator) fault(clause, have, want string) {
	v.faults = append(v.faults, odrl.Fault{Clause: clause, Have: have, Want: want})
}

func (v *validator) rule(clause string, r odrl.Rule) {
	if want := action(v.access); r.Action != want {
		kind := map[bool]string{true: "an access policy", false: "a usage policy"}[v.access]
		v.fault(clause+"/action", quote(r.Action), quote(want)+" in "+kind)
	}
	if len(r.Constraint) > 1 && !v.foreign {
		v.fault(clause+"/constraint", strconv.Itoa(len(r.Constraint))+" constraints side by side", "one constraint, or several inside one \"and\"")
	}
	if len(r.Constraint) == 0 && !v.access && !v.foreign {
		v.fault(clause+"/constraint", "none", "at least one term; a usage policy without terms allows everything")
	}
	for i, c := range r.Constraint {
		v.constraint(clause+"/constraint/"+strconv.Itoa(i), c)
	}
}

func (v *validator) constraint(clause string, c odrl.Constraint) {
	for name, nested := range map[string][]odrl.Constraint{"or": c.Or, "xone": c.Xone, "andSequence": c.AndSequence} {
		if len(nested) > 0 {
			v.fault(clause+"/"+name, quote(name), "\"and\"; the profile has no other logical constraint")
		}
	}
	for i, nested := range c.And {
		v.constraint(clause+"/and/"+strconv.Itoa(i), nested)
	}
	if len(c.And)+len(c.Or)+len(c.Xone)+len(c.AndSequence) == 0 || c.LeftOperand != "" {
		v.atomic(clause, c)
	}
}

func (v *validator) atomic(clause string, c odrl.Constraint) {
	o, known := v.profile.operand(c.LeftOperand)
	if !known {
		v.fault(clause+"/leftOperand", quote(c.LeftOperand), "one of "+strings.Join(v.profile.names(v.access), ", "))
		return
	}
	if v.access && !o.Access || !v.access && !o.Usage {
		v.fault(clause+"/leftOperand", quote(c.LeftOperand), "one of "+strings.Join(v.profile.names(v.access), ", ")+" in this kind of policy")
	}
	if !slices.Contains(o.Operators, c.Operator) {
		v.fault(clause+"/operator", quote(c.Operator), strings.Join(o.Operators, " or ")+" for "+o.Name)
	}
	if o.Group != "" && !v.foreign {
		if other := v.groups[o.Group]; other != "" {
			v.fault(clause+"/leftOperand", o.Name+" beside "+other, "one of the two")
		}
		v.groups[o.Group] = o.Name
	}
	if len(c.RightOperand) == 0 || len(c.RightOperand) > 1 && !o.List {
		v.fault(clause+"/rightOperand", strconv.Itoa(len(c.RightOperand))+" values", "one value for "+o.Name)
	}
	for i, value := range c.RightOperand {
		v.value(clause+"/rightOperand/"+strconv.Itoa(i), o, value)
	}
}

func (v *validator) value(clause string, o Operand, value string) {
	switch {
	case len(o.Values) > 0 && !slices.Contains(o.Values, value):
		v.fault(clause, quote(value), "one of "+strings.Join(o.Values, ", "))
	case o.pattern != nil && !o.pattern.MatchString(value):
		v.fault(clause, quote(value), "a value like "+o.Pattern)
	case value == "" || len(value) > 1024:
		v.fault(clause, strconv.Itoa(len(value))+" bytes", "1 to 1024 bytes")
	}
}

func (p *Profile) names(access bool) []string {
	var out []string
	for _, o := range p.Operands {
		if access && o.Access || !access && o.Usage {
			out = append(out, o.Name)
		}
	}
	return out
}

func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strconv.Quote(s)
}
