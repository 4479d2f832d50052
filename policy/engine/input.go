package engine

import (
	_ "embed"
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
)

//go:embed input.schema.json
var inputSchema string

// document is the one input document of all doors. Times are milliseconds since 1970; 0 is "none".
type document struct {
	Accepts   []string        `json:"accepts"`
	Action    string          `json:"action"`
	Agreement agreement       `json:"agreement"`
	Approval  string          `json:"approval"`
	Asset     asset           `json:"asset"`
	Door      string          `json:"door"`
	Now       int64           `json:"now"`
	Own       party           `json:"own"`
	Peer      party           `json:"peer"`
	Policies  []policyInForce `json:"policies"`
	Process   process         `json:"process"`
	Profile   string          `json:"profile"`
	Request   request         `json:"request"`
	Role      string          `json:"role"`
}

type party struct {
	BPN         string       `json:"bpn"`
	Credentials []credential `json:"credentials"`
	DID         string       `json:"did"`
	Groups      groups       `json:"groups"`
}

// groups are those that the policies name, of those that there are, and whether the party is in each.
type groups map[string]bool

type credential struct {
	Digest    string            `json:"digest"`
	ID        string            `json:"id"`
	Issuer    string            `json:"issuer"`
	NotAfter  int64             `json:"not_after"`
	NotBefore int64             `json:"not_before"`
	Subject   map[string]string `json:"subject"`
	Type      string            `json:"type"`
}

type policyInForce struct {
	Clauses []clause `json:"clauses"`
	Digest  string   `json:"digest"`
}

// clause is one atomic constraint with its place in the policy. What is no atomic constraint under "and" becomes a clause with
// an operand that no rule knows, and is denied.
type clause struct {
	Clause   string   `json:"clause"`
	Operand  string   `json:"operand"`
	Operator string   `json:"operator"`
	Values   []string `json:"values"`
}

type asset struct {
	ID         string `json:"id"`
	SemanticID string `json:"semantic_id"`
	Type       string `json:"type"`
	Version    string `json:"version"`
}

type agreement struct {
	Digest string `json:"digest"`
	ID     string `json:"id"`
	Signed int64  `json:"signed"`
}

type process struct {
	ConsumerPID string `json:"consumer_pid"`
	Format      string `json:"format"`
	Message     string `json:"message"`
	OfferID     string `json:"offer_id"`
	ProviderPID string `json:"provider_pid"`
}

type request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query"`
}

// documentOf returns the input document of a question. Its canonical form is what is committed to and archived, its value what is
// evaluated.
func documentOf(q policy.Question) document {
	doc := document{Approval: string(q.Approval), Door: string(q.Door), Now: millis(q.Now), Action: q.Action, Profile: q.Profile, Role: q.Role,
		Own: partyOf(q.Own, q.Now), Peer: partyOf(q.Peer, q.Now), Accepts: append([]string{}, q.Accepts...), Policies: []policyInForce{},
		Asset:     asset{ID: q.Asset.ID, Type: q.Asset.Type, Version: q.Asset.Version, SemanticID: q.Asset.SemanticID},
		Agreement: agreement{ID: q.Agreement.ID, Digest: q.Agreement.Digest, Signed: millis(q.Agreement.Signed)},
		Process: process{ConsumerPID: q.Process.ConsumerPID, ProviderPID: q.Process.ProviderPID, OfferID: q.Process.OfferID,
			Format: q.Process.Format, Message: q.Process.MessageDigest},
		Request: request{Method: q.Request.Method, Path: q.Request.Path, Query: q.Request.Query}}
	for _, p := range q.Policies {
		doc.Policies = append(doc.Policies, inForce(p, q.Action))
	}
	doc.Own.Groups, doc.Peer.Groups = doc.named(q.Own.Groups), doc.named(q.Peer.Groups)
	if q.Approval != "" && len(doc.Policies) > 0 {
		first := &doc.Policies[0]
		first.Clauses = append(first.Clauses, clause{Clause: "approval", Operand: "approval", Operator: "eq", Values: []string{string(policy.Given)}})
	}
	return doc
}

// named keeps of a party's groups what the policies speak of: the rest decides nothing.
func (d document) named(all map[string]bool) groups {
	out := groups{}
	for _, p := range d.Policies {
		for _, c := range p.Clauses {
			for _, value := range c.Values {
				if in, there := all[value]; there {
					out[value] = in
				}
			}
		}
	}
	return out
}

// partyOf is a party as it stands now: a number that was proven by a credential does not outlive it.
func partyOf(p policy.Party, now time.Time) party {
	out := party{DID: p.DID, BPN: p.BPN(now), Credentials: []credential{}}
	for _, c := range p.Credentials {
		subject := c.Subject
		if subject == nil {
			subject = map[string]string{}
		}
		out.Credentials = append(out.Credentials, credential{Type: c.Type, Issuer: c.Issuer, ID: c.ID, Subject: subject,
			NotBefore: millis(c.NotBefore), NotAfter: millis(c.NotAfter), Digest: c.Digest})
	}
	return out
}

// millis keeps to the numbers that a double holds (rule T-20): what is recorded is then what is evaluated, however far off a date is.
func millis(t time.Time) int64 {
	const furthest = 1<<53 - 1
	switch {
	case t.IsZero():
		return 0
	case t.After(time.UnixMilli(furthest)):
		return furthest
	case t.Before(time.UnixMilli(-furthest)):
		return -furthest
	}
	return t.UnixMilli()
}

// inForce flattens a policy. Every permission must hold; a permission for another action, a prohibition and an obligation are
// clauses that nothing satisfies.
func inForce(p odrl.Policy, action string) policyInForce {
	out := policyInForce{Digest: odrl.Digest(p), Clauses: []clause{}}
	for i, rule := range p.Permission {
		place := "permission/" + strconv.Itoa(i)
		if rule.Action != action && !(rule.Action == "access" && action == "use") {
			out.Clauses = append(out.Clauses, clause{Clause: place + "/action", Operand: "action", Operator: rule.Action, Values: []string{}})
		}
		if len(rule.Constraint) == 0 {
			// Without terms a permission still asks for a member.
			out.Clauses = append(out.Clauses, clause{Clause: place, Operand: "Membership", Operator: "eq", Values: []string{"active"}})
		}
		for j, c := range rule.Constraint {
			out.Clauses = flatten(out.Clauses, place+"/constraint/"+strconv.Itoa(j), c)
		}
	}
	for i := range p.Prohibition {
		out.Clauses = append(out.Clauses, clause{Clause: "prohibition/" + strconv.Itoa(i), Operand: "prohibition", Operator: "", Values: []string{}})
	}
	for i := range p.Obligation {
		out.Clauses = append(out.Clauses, clause{Clause: "obligation/" + strconv.Itoa(i), Operand: "obligation", Operator: "", Values: []string{}})
	}
	return out
}

func flatten(out []clause, place string, c odrl.Constraint) []clause {
	for j, nested := range c.And {
		out = flatten(out, place+"/and/"+strconv.Itoa(j), nested)
	}
	for _, l := range []struct {
		name   string
		nested []odrl.Constraint
	}{{"or", c.Or}, {"xone", c.Xone}, {"andSequence", c.AndSequence}} {
		if len(l.nested) > 0 {
			out = append(out, clause{Clause: place + "/" + l.name, Operand: l.name, Operator: "", Values: []string{}})
		}
	}
	// A constraint of no form at all is a clause as well: nothing satisfies it.
	if c.LeftOperand != "" || len(c.And)+len(c.Or)+len(c.Xone)+len(c.AndSequence) == 0 {
		out = append(out, clause{Clause: place, Operand: c.LeftOperand, Operator: c.Operator, Values: append([]string{}, c.RightOperand...)})
	}
	return out
}
