package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	modules "github.com/sluice-connector/sluice/policy/rego"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Timeout is how long the evaluation of one decision may take before it is a denial; waiting for others does not count.
const Timeout = 50 * time.Millisecond

// patience is how long the self-test may take: a machine that is busy while we start is no broken build.
const patience = 10 * time.Second

// nondeterministic builtins are taken out: what could answer differently tomorrow is input, or is not there.
var nondeterministic = []string{"http.send", "io.jwt.decode_verify", "io.jwt.encode_sign", "io.jwt.encode_sign_raw",
	"json.match_schema", "json.verify_schema", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "time.now_ns", "uuid.rfc4122",
	"crypto.x509.parse_and_verify_certificates", "crypto.x509.parse_and_verify_certificates_with_options"}

// Engine decides. It is safe for concurrent use.
type Engine struct {
	query   rego.PreparedEvalQuery
	timeout time.Duration
	// lanes are the evaluations at once, one for each core: with more, each would take longer, and all could run out of time together.
	lanes  []sync.Mutex
	turn   atomic.Uint32
	bundle decisionlog.Bundle
}

// New compiles the embedded modules and asks them one question, so that a broken build does not start.
func New(ctx context.Context) (*Engine, error) {
	sources, err := modules.Modules()
	if err != nil {
		return nil, err
	}
	caps := Capabilities()
	bundle, err := bundleOf(sources, caps)
	if err != nil {
		return nil, err
	}
	options := []func(*rego.Rego){rego.Query(modules.Query), rego.StrictBuiltinErrors(true), rego.Capabilities(caps),
		rego.Store(inmem.NewWithOpts(inmem.OptReturnASTValuesOnRead(true)))}
	for name, text := range sources {
		options = append(options, rego.Module(name, text))
	}
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("policy modules: %w", err)
	}
	e := &Engine{query: query, timeout: patience, lanes: make([]sync.Mutex, runtime.GOMAXPROCS(0)), bundle: bundle}
	if err := e.selfTest(ctx); err != nil {
		return nil, err
	}
	e.timeout = Timeout
	return e, nil
}

// selfTest asks a question without policies: the only right answer is a denial of the right shape.
func (e *Engine) selfTest(ctx context.Context) error {
	d := e.Decide(ctx, policy.Question{Role: "provider", Now: time.UnixMilli(1)})
	if d.Allowed() || d.Class != "" {
		return fmt.Errorf("policy modules: the empty question was answered with %q, class %q", d.Effect, d.Class)
	}
	return nil
}

// Capabilities is what modules may use.
func Capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(b *ast.Builtin) bool { return slices.Contains(nondeterministic, b.Name) })
	caps.AllowNet = []string{}
	return caps
}

// Info is what the decision records say about this engine.
func Info() decisionlog.Engine {
	info := decisionlog.Engine{Module: "github.com/open-policy-agent/opa", Go: runtime.Version(), Target: "rego", Strict: true}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range build.Deps {
			if dep.Path == info.Module {
				info.Module += "@" + dep.Version + " " + dep.Sum
			}
		}
	}
	return info
}

// Decide answers the question. It never fails: what cannot be evaluated is denied, with the class of the error.
func (e *Engine) Decide(ctx context.Context, q policy.Question) policy.Decision {
	d := policy.Decision{Effect: policy.Deny, Bundle: e.bundle.Bundle, Caps: e.bundle.Caps, Schema: e.bundle.InputSchema}
	doc := documentOf(q)
	input, err := ijson.Marshal(doc)
	if err != nil {
		d.Class = "input"
		return d
	}
	d.Input = input
	lane := &e.lanes[e.turn.Add(1)%uint32(len(e.lanes))]
	lane.Lock()
	defer lane.Unlock()
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	// One call when the time is up, instead of a goroutine that waits for it in each evaluation.
	stop := topdown.NewCancel()
	defer context.AfterFunc(ctx, stop.Cancel)()
	results, err := e.query.Eval(ctx, rego.EvalParsedInput(doc.value()), rego.EvalExternalCancel(stop), rego.EvalGenerateJSON(asTerm),
		rego.EvalMetrics(metrics.NoOp()))
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		d.Class = "timeout"
		return d
	case err != nil:
		d.Class = "evaluation"
		return d
	case len(results) != 1 || len(results[0].Expressions) != 1:
		d.Class = "undefined"
		return d
	}
	answer, _ := results[0].Expressions[0].Value.(*ast.Term)
	return read(d, answer, doc)
}

// asTerm leaves a result as it is; it is read without a way through JSON.
func asTerm(t *ast.Term, _ *rego.EvalContext) (any, error) { return t, nil }

// read takes the result over if it has exactly the shape that was agreed.
func read(d policy.Decision, answer *ast.Term, doc document) policy.Decision {
	out, ok := readResult(answer, doc)
	text, err := ijson.Marshal(out)
	if !ok || err != nil {
		d.Class = "result"
		return d
	}
	d.Effect, d.Result = out.Effect, text
	for _, v := range out.Reasons {
		d.Reasons = append(d.Reasons, policy.Reason{Code: v.Code, Rule: v.Rule, Clause: v.Clause, Operand: v.Operand, Outcome: v.Outcome, Params: v.Params})
	}
	if end := out.Limits.NotAfter; end > 0 {
		d.Limits.NotAfter = time.UnixMilli(end).UTC()
	}
	return d
}
