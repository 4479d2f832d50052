package aspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/schemas"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Bounds of what Check looks at. A payload above MaxPayload, MaxValues or the bounds of a number has that one fault and is not looked at further.
const (
	MaxPayload = 4 << 20 // bytes of a payload
	MaxValues  = 50_000  // scalars, objects and arrays in it
	MaxFaults  = 1000    // faults that Check returns; a last one more tells how many are left out
)

// Fault is one thing wrong with a payload.
type Fault struct {
	Path    string // JSON pointer (RFC 6901)
	Value   string // what stands there, cut; "" for an object, an array or nothing
	Problem string
	Want    string // what would be right; may be empty
	Warn    bool   // worth a look, no reason to refuse
}

// Error tells the whole fault in one line.
func (f Fault) Error() string {
	text := f.Path
	if text == "" {
		text = "the payload"
	}
	text += ": " + f.Problem
	if f.Value != "" {
		text += ", have " + f.Value
	}
	if f.Want != "" {
		text += ", want " + f.Want
	}
	return text
}

// Models finds aspect models by URN. It is safe for concurrent use.
type Models struct {
	schemas map[string]*jsonschema.Schema
	printer *message.Printer
}

// NewModels compiles the embedded models. An error is a fault of this program's build.
func NewModels() (*Models, error) {
	m := &Models{schemas: map[string]*jsonschema.Schema{}, printer: message.NewPrinter(language.English)}
	for urn, text := range schemas.Aspects() {
		s, err := compile(urn, text)
		if err != nil {
			return nil, fmt.Errorf("aspect model %s: %w", urn, err)
		}
		m.schemas[urn] = s
	}
	return m, nil
}

func compile(urn string, text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if object, ok := doc.(map[string]any); ok {
		delete(object, "$id") // a URN with a fragment is no base URI
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	location := "mem:///" + strings.NewReplacer(":", "-", "#", "-").Replace(urn) + ".json"
	if err := c.AddResource(location, doc); err != nil {
		return nil, err
	}
	return c.Compile(location)
}

// Known reports whether the model is here.
func (m *Models) Known(urn string) bool { return m.schemas[urn] != nil }

// URNs lists the models, in order.
func (m *Models) URNs() []string { return slices.Sorted(maps.Keys(m.schemas)) }

// Check returns every fault of the payload under the model, ordered by place; none means that it conforms. Faults of the schema come
// alone: the plausibility rules look at what conforms to it. The payload may be anything; time and memory are bounded by its size. An
// unknown model is an error of kind NotFound.
func (m *Models) Check(urn string, payload []byte) ([]Fault, error) {
	s, ok := m.schemas[urn]
	if !ok {
		return nil, fault.New("aspect.Check", fault.NotFound, "the aspect model %s is not known here", cut(urn, 200))
	}
	lim := ijson.DefaultLimits()
	lim.MaxBytes, lim.BigNumbers = MaxPayload, true
	if err := ijson.Check(payload, lim); err != nil {
		return []Fault{malformed(err)}, nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return []Fault{{Problem: cut(err.Error(), 200)}}, nil
	}
	if f, ok := unbounded(value); ok {
		return []Fault{f}, nil
	}
	var faults []Fault
	var invalid *jsonschema.ValidationError
	if err := s.Validate(value); errors.As(err, &invalid) {
		faults = m.leaves(nil, invalid, value)
	} else if err != nil {
		return nil, fault.Wrap("aspect.Check", fault.Internal, err)
	}
	if len(faults) == 0 && urn == schemas.PCF {
		faults = checkPCF(value)
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return strings.Compare(a.Path, b.Path) })
	if left := len(faults) - MaxFaults; left > 0 {
		faults = append(faults[:MaxFaults], Fault{Problem: fmt.Sprintf("%d more faults are not listed", left)})
	}
	return faults, nil
}

func malformed(err error) Fault {
	var e *ijson.Error
	if !errors.As(err, &e) {
		return Fault{Problem: cut(err.Error(), 200)}
	}
	return Fault{Path: cut(e.Path, 400), Problem: fmt.Sprintf("the JSON text is wrong at byte %d: %s", e.Offset, e.Kind), Want: e.Want}
}

// Bounds of a number. Arithmetic on rationals writes an exponent out in full: a few bytes could ask for megabytes.
const (
	maxDigits   = 200
	maxExponent = 300
)

// unbounded finds what would make checking costly: too many values, or a number too long to compare.
func unbounded(v any) (Fault, bool) {
	left := MaxValues
	var bad Fault
	var walk func(v any, path string) bool
	walk = func(v any, path string) bool {
		if left--; left < 0 {
			bad = Fault{Problem: "the payload has too many values", Want: fmt.Sprintf("at most %d", MaxValues)}
			return true
		}
		switch v := v.(type) {
		case json.Number:
			if _, ok := decimal(v); !ok {
				bad = Fault{Path: path, Value: cut(v.String(), 80), Problem: "the number is too long",
					Want: fmt.Sprintf("at most %d characters and an exponent of at most %d", maxDigits, maxExponent)}
				return true
			}
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				if walk(v[name], path+"/"+escape(name)) {
					return true
				}
			}
		case []any:
			for i, item := range v {
				if walk(item, fmt.Sprintf("%s/%d", path, i)) {
					return true
				}
			}
		}
		return false
	}
	return bad, walk(v, "")
}

var escaper = strings.NewReplacer("~", "~0", "/", "~1")

// escape writes a member's name as a step of a JSON pointer.
func escape(step string) string { return escaper.Replace(step) }

// cut shortens text to n bytes and leaves it valid.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
