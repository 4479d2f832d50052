package engine

import (
	"bytes"
	_ "embed"
	"io"
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

//go:embed input.schema.json
var inputSchema string

// document is the one input document of all doors. Times are milliseconds since 1970; 0 is "none".
type document struct {
	Door      string          `json:"door"`
	Now       int64           `json:"now"`
	Action    string          `json:"action"`
	Profile   string          `json:"profile"`
	Role      string          `json:"role"`
	Own       party           `json:"own"`
	Peer      party           `json:"peer"`
	Accepts   []string        `json:"accepts"`
	Policies  []policyInForce `json:"policies"`
	Asset     asset           `json:"asset"`
	Agreement agreement       `json:"agreement"`
	Process   process         `json:"process"`
	Request   request         `json:"request"`
}

type party struct {
	DID         string       `json:"did"`
	BPN         string       `json:"bpn"`
	Credentials []credential `json:"credentials"`
}

type credential struct {
	Type      string            `json:"type"`
	Issuer    string            `json:"issuer"`
	ID        string            `json:"id"`
	Subject   map[string]string `json:"subject"`
	NotBefore int64             `json:"not_before"`
	NotAfter  int64             `json:"not_after"`
	Digest    string            `json:"digest"`
}

type policyInForce struct {
	Digest  string   `json:"digest"`
	Clauses []clause `json:"clauses"`
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
	Type       string `json:"type"`
	Version    string `json:"version"`
	SemanticID string `json:"semantic_id"`
}

type agreement struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`
	Signed int64  `json:"signed"`
}

type process struct {
	ConsumerPID string `json:"consumer_pid"`
	ProviderPID string `json:"provider_pid"`
	OfferID     string `json:"offer_id"`
	Format      string `json:"format"`
	Message     string `json:"message"`
}

type request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

// Input returns the canonical input document of a question: what is evaluated, committed to and archived.
func Input(q policy.Question) ([]byte, error) {
	doc := document{Door: string(q.Door), Now: q.Now.UnixMilli(), Action: q.Action, Profile: q.Profile, Role: q.Role,
		Own: partyOf(q.Own), Peer: partyOf(q.Peer), Accepts: append([]string{}, q.Accepts...), Policies: []policyInForce{},
		Asset:     asset{q.Asset.ID, q.Asset.Type, q.Asset.Version, q.Asset.SemanticID},
		Agreement: agreement{q.Agreement.ID, q.Agreement.Digest, millis(q.Agreement.Signed)},
		Process:   process{q.Process.ConsumerPID, q.Process.ProviderPID, q.Process.OfferID, q.Process.Format, q.Process.MessageDigest},
		Request:   request{q.Request.Method, q.Request.Path}}
	for _, p := range q.Policies {
		doc.Policies = append(doc.Policies, inForce(p, q.Action))
	}
	return ijson.Marshal(doc)
}

func partyOf(p policy.Party) party {
	out := party{DID: p.DID, BPN: p.BPN, Credentials: []credential{}}
	for _, c := range p.Credentials {
		subject := c.Subject
		if subject == nil {
			subject = map[string]string{}
		}
		out.Credentials = append(out.Credentials, credential{c.Type, c.Issuer, c.ID, subject, millis(c.NotBefore), millis(c.NotAfter), c.Digest})
	}
	return out
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
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
			out.Clauses = append(out.Clauses, clause{place + "/action", "action", rule.Action, []string{}})
		}
		if len(rule.Constraint) == 0 {
			// Without terms a permission still asks for a member.
			out.Clauses = append(out.Clauses, clause{place, "Membership", "eq", []string{"active"}})
		}
		for j, c := range rule.Constraint {
			out.Clauses = flatten(out.Clauses, place+"/constraint/"+strconv.Itoa(j), c)
		}
	}
	for i := range p.Prohibition {
		out.Clauses = append(out.Clauses, clause{"prohibition/" + strconv.Itoa(i), "prohibition", "", []string{}})
	}
	for i := range p.Obligation {
		out.Clauses = append(out.Clauses, clause{"obligation/" + strconv.Itoa(i), "obligation", "", []string{}})
	}
	return out
}

func flatten(out []clause, place string, c odrl.Constraint) []clause {
	for j, nested := range c.And {
		out = flatten(out, place+"/and/"+strconv.Itoa(j), nested)
	}
	for name, nested := range map[string][]odrl.Constraint{"or": c.Or, "xone": c.Xone, "andSequence": c.AndSequence} {
		if len(nested) > 0 {
			out = append(out, clause{place + "/" + name, name, "", []string{}})
		}
	}
	if c.LeftOperand != "" {
		out = append(out, clause{place, c.LeftOperand, c.Operator, append([]string{}, c.RightOperand...)})
	}
	return out
}

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }
