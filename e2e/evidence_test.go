package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// pulled has a footprint travel from cobalt to boreal.
func pulled(t *testing.T, n *network.Network) exchange.Result {
	t.Helper()
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	result, err := boreal.Pull(t.Context(), boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: publish(t, cobalt).Assets[0], Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, result.Body); err != nil {
		t.Fatal(err)
	}
	if err := result.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return result
}

// TestEveryDecisionCanBeMadeAgainFromTheArchiveAlone takes nothing but the records and what is archived under the digests that they hold: no module,
// schema or capability of this binary.
func TestEveryDecisionCanBeMadeAgainFromTheArchiveAlone(t *testing.T) {
	t.Parallel()
	n := start(t, members[1], members[2])
	pulled(t, n)
	for _, slug := range []string{"cobalt", "boreal"} {
		c := n.Companies[slug]
		if err := c.Export(t.Context(), c.Local, t.TempDir()+"/log"); err != nil { // sequences what waits
			t.Fatal(err)
		}
		entries, err := c.Store().LogEntries(t.Context(), slug, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		archive := archive{t, c}
		active, decisions := "", 0
		for i, e := range entries {
			rec, err := decisionlog.ParseRecord(e.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			switch rec.Kind {
			case decisionlog.KindBundle:
				active = rec.Bundle
				archive.get(rec.InputSchema)
			case decisionlog.KindDecision:
				if rec.Error == "timeout" {
					continue // the one outcome that is not reproducible, and says so
				}
				decisions++
				if rec.Bundle != active {
					t.Errorf("%s: record %d was decided by bundle %s, active is %q", slug, i, rec.Bundle, active)
				}
				if got := archive.decide(rec); got != rec.Result {
					t.Errorf("%s: record %d (%s): decided again the result is %s, the record has %s", slug, i, rec.Door, got, rec.Result)
				}
			}
		}
		if decisions == 0 {
			t.Errorf("%s decided nothing", slug)
		}
	}
}

type archive struct {
	t *testing.T
	c *network.Company
}

// get reads an object and checks it against its digest; an input is known by the root of its record.
func (a archive) get(digest string) []byte {
	a.t.Helper()
	o, err := a.c.Store().Archived(a.t.Context(), a.c.Local.Slug, digest)
	if err != nil {
		a.t.Fatalf("%s: nothing is archived under %s: %v", a.c.Local.Slug, digest, err)
	}
	if o.Type != "input" && ijson.Digest(o.Type, o.Bytes) != digest {
		a.t.Fatalf("%s: what is archived under %s is something else", a.c.Local.Slug, digest)
	}
	return o.Bytes
}

// decide compiles the archived modules under the archived capabilities, evaluates the archived input and returns the digest of the result.
func (a archive) decide(rec decisionlog.Record) string {
	a.t.Helper()
	var caps ast.Capabilities
	if err := json.Unmarshal(a.get(rec.Caps), &caps); err != nil {
		a.t.Fatal(err)
	}
	var files []struct{ Path, Digest string }
	if err := json.Unmarshal(a.get(rec.Bundle), &files); err != nil {
		a.t.Fatal(err)
	}
	options := []func(*rego.Rego){rego.Query(rec.Query), rego.StrictBuiltinErrors(rec.Engine.Strict), rego.Capabilities(&caps)}
	for _, f := range files {
		options = append(options, rego.Module(f.Path, string(a.get(f.Digest))))
	}
	input, err := ast.ValueFromReader(bytes.NewReader(a.get(rec.Input)))
	if err != nil {
		a.t.Fatal(err)
	}
	results, err := rego.New(append(options, rego.ParsedInput(input))...).Eval(a.t.Context())
	if err != nil || len(results) != 1 {
		a.t.Fatalf("decided again: %v, %v", results, err)
	}
	result, err := ijson.Marshal(results[0].Expressions[0].Value)
	if err != nil {
		a.t.Fatal(err)
	}
	return ijson.Digest("result", result)
}
