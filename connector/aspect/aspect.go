package aspect

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/schemas"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// MaxPayload bounds a payload in bytes.
const MaxPayload = 4 << 20

// Fault is one thing wrong with a payload.
type Fault struct {
	Path    string // JSON pointer
	Problem string
	Warn    bool // worth a look, no reason to refuse
}

func (f Fault) Error() string {
	path := f.Path
	if path == "" {
		path = "the payload"
	}
	return path + ": " + f.Problem
}

// Models finds aspect models by URN. It is safe for concurrent use.
type Models struct {
	schemas map[string]*jsonschema.Schema
	printer *message.Printer
}

// NewModels compiles the embedded models.
func NewModels() (*Models, error) {
	m := &Models{schemas: map[string]*jsonschema.Schema{}, printer: message.NewPrinter(language.English)}
	for urn, text := range schemas.Aspects() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("aspect model %s: %w", urn, err)
		}
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		c.AssertFormat()
		location := "mem:///" + strings.NewReplacer(":", "-", "#", "-").Replace(urn) + ".json"
		if object, ok := doc.(map[string]any); ok {
			delete(object, "$id") // a URN with a fragment is no base URI
		}
		if err := c.AddResource(location, doc); err != nil {
			return nil, fmt.Errorf("aspect model %s: %w", urn, err)
		}
		s, err := c.Compile(location)
		if err != nil {
			return nil, fmt.Errorf("aspect model %s: %w", urn, err)
		}
		m.schemas[urn] = s
	}
	return m, nil
}

// Known reports whether the model is here.
func (m *Models) Known(urn string) bool { return m.schemas[urn] != nil }

// Check returns every fault of the payload under the model, ordered by place; none means that it conforms. An unknown model is an error.
func (m *Models) Check(urn string, payload []byte) ([]Fault, error) {
	s, ok := m.schemas[urn]
	if !ok {
		return nil, fault.New("aspect.Check", fault.NotFound, "the aspect model %s is not known here", urn)
	}
	lim := ijson.DefaultLimits()
	lim.MaxBytes, lim.BigNumbers = MaxPayload, true
	if err := ijson.Check(payload, lim); err != nil {
		return []Fault{{Problem: err.Error()}}, nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return []Fault{{Problem: err.Error()}}, nil
	}
	var faults []Fault
	var invalid *jsonschema.ValidationError
	if err := s.Validate(value); errors.As(err, &invalid) {
		faults = m.leaves(faults, invalid)
	} else if err != nil {
		return nil, fault.Wrap("aspect.Check", fault.Internal, err)
	}
	if len(faults) == 0 && urn == schemas.PCF {
		faults = checkPCF(value)
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return strings.Compare(a.Path, b.Path) })
	return faults, nil
}

// leaves gathers the innermost causes: they name what is wrong, the others only where it is nested.
func (m *Models) leaves(out []Fault, e *jsonschema.ValidationError) []Fault {
	if len(e.Causes) == 0 {
		path := ""
		for _, step := range e.InstanceLocation {
			path += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step)
		}
		return append(out, Fault{Path: path, Problem: e.ErrorKind.LocalizedString(m.printer)})
	}
	for _, cause := range e.Causes {
		out = m.leaves(out, cause)
	}
	return out
}
