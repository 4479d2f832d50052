package issuer

import (
	"slices"
	"time"

	"github.com/sluice-connector/sluice/policy"
)

// applicant is what is known of who asks.
type applicant struct {
	known    bool // there is a row
	holder   Holder
	evidence Evidence            // what it showed; nil: it was not asked yet
	given    map[string][]string // by the operator who decides, over the row's values
	ordered  bool                // an operator ordered it: that is the attestation, whatever the rules say
}

// Codes of what a rule says no with. They are for the operator and the decision log; a holder is told one thing.
const (
	codeStranger = "holder.unknown"
	codeNoRule   = "rule.none"
	codeList     = "rule.list"
	codeClaim    = "rule.claim"
	codeUnknown  = "rule.unknown"
	codeValue    = "subject.value"
)

// refusal is a rule that does not hold.
type refusal struct{ code, reason string }

// judgeKnown judges by what is here already, before anybody is asked for anything.
func (a applicant) judgeKnown(d Definition) *refusal {
	if a.ordered {
		return nil
	}
	if !a.known && !d.Open {
		return &refusal{codeStranger, d.ID + ": the holder is not known"}
	}
	if len(d.Rules) == 0 {
		return &refusal{codeNoRule, d.ID + ": no rule says who gets it"}
	}
	for _, r := range d.Rules {
		switch r.Kind {
		case ByList:
			if !a.known || !slices.Contains(a.holder.Grants, d.ID) {
				return &refusal{codeList, d.ID + ": the holder is not on its list"}
			}
		case ByApproval, ByClaim:
		default:
			return &refusal{codeUnknown, d.ID + ": a rule of the kind " + string(r.Kind) + " is not known"}
		}
	}
	return nil
}

// judgeShown judges by what was shown at now. It repeats what is known: a row may have changed since.
func (a applicant) judgeShown(d Definition, now time.Time) *refusal {
	if no := a.judgeKnown(d); no != nil || a.ordered {
		return no
	}
	for _, r := range d.Rules {
		if r.Kind == ByClaim && !slices.ContainsFunc(a.evidence[r.Credential], func(p Proof) bool { return r.proven(p, now) }) {
			return &refusal{codeClaim, d.ID + ": no " + r.Credential + " that is good for it was shown"}
		}
	}
	return nil
}

// proven reports whether a credential is what the rule wants. Members are compared as a whole.
func (r Rule) proven(p Proof, now time.Time) bool {
	if !now.Before(p.Until) {
		return false
	}
	value, ok := p.Subject[r.Claim]
	return r.Claim == "" || ok && slices.Contains(r.Values, value)
}

// held reports whether an operator must approve.
func held(defs []Definition) bool {
	return slices.ContainsFunc(defs, func(d Definition) bool {
		return slices.ContainsFunc(d.Rules, func(r Rule) bool { return r.Kind == ByApproval })
	})
}

// shown lists the types of credentials that a definition needs to see.
func (d Definition) shown() []string {
	var out []string
	add := func(kind string) {
		if kind != "" && !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	for _, r := range d.Rules {
		add(r.Credential)
	}
	for _, m := range d.Subject {
		if !m.Optional {
			add(m.Credential)
		}
	}
	return out
}

// asks reports whether the holder is asked for credentials.
func (d Definition) asks() bool {
	return len(d.shown()) > 0 || slices.ContainsFunc(d.Subject, func(m Member) bool { return m.From == OfEvidence })
}

// subject fills the members. A value that is missing refuses, as do several where one is meant: nothing is guessed.
func (a applicant) subject(d Definition, now time.Time) (map[string]any, *refusal) {
	out := map[string]any{}
	for _, m := range d.Subject {
		values := a.values(d, m, now)
		switch {
		case len(values) == 0 && m.Optional:
		case len(values) == 0:
			return nil, &refusal{codeValue, d.ID + ": there is no value for " + m.Name}
		case m.Many:
			out[m.Name] = values
		case len(values) > 1:
			return nil, &refusal{codeValue, d.ID + ": there are several values for " + m.Name}
		default:
			out[m.Name] = values[0]
		}
	}
	return out, nil
}

func (a applicant) values(d Definition, m Member, now time.Time) []string {
	switch m.From {
	case Constant:
		return m.Values
	case OfHolder:
		if given, ok := a.given[m.Key]; ok {
			return given
		}
		return a.holder.Values[m.Key]
	case OfEvidence:
		var out []string
		for _, p := range a.evidence[m.Credential] {
			// Where a rule asks for this credential, only one that the rule takes speaks.
			if slices.ContainsFunc(d.Rules, func(r Rule) bool { return r.Kind == ByClaim && r.Credential == m.Credential && !r.proven(p, now) }) || !now.Before(p.Until) {
				continue
			}
			if v, ok := p.Subject[m.Key]; ok && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
		return out
	}
	return nil
}

// evidenceOf keeps what the definitions need of what a holder has proven.
func evidenceOf(party policy.Party, defs []Definition) Evidence {
	out := Evidence{}
	for _, d := range defs {
		for _, kind := range d.every() {
			if _, done := out[kind]; done {
				continue
			}
			for _, c := range party.Credentials {
				if c.Type == kind {
					out[kind] = append(out[kind], Proof{Issuer: c.Issuer, Digest: c.Digest, Until: c.NotAfter, Subject: c.Subject})
				}
			}
		}
	}
	return out
}

// every lists the types that may be looked at, those of optional members included.
func (d Definition) every() []string {
	out := d.shown()
	for _, m := range d.Subject {
		if m.From == OfEvidence && !slices.Contains(out, m.Credential) {
			out = append(out, m.Credential)
		}
	}
	return out
}
