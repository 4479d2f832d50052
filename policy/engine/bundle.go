package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// bundleFile is a line of the list that a bundle is known by: the sorted names and digests of its files.
type bundleFile struct{ Path, Digest string }

// Bundle is everything that decides here, to be archived with the log: whoever has it and the input of a record can decide again.
func (e *Engine) Bundle() decisionlog.Bundle { return e.bundle }

func bundleOf(sources map[string]string, caps *ast.Capabilities) (decisionlog.Bundle, error) {
	capsJSON, err := ijson.Marshal(caps)
	if err != nil {
		return decisionlog.Bundle{}, fmt.Errorf("capabilities: %w", err)
	}
	capabilities, schema := decisionlog.NewObject("capabilities", capsJSON), decisionlog.NewObject("input-schema", []byte(inputSchema))
	objects := []decisionlog.Object{capabilities, schema}
	files := make([]bundleFile, 0, len(sources))
	for name, text := range sources {
		o := decisionlog.NewObject("bundle-file", []byte(text))
		objects, files = append(objects, o), append(files, bundleFile{name, o.Digest})
	}
	slices.SortFunc(files, func(a, b bundleFile) int { return cmp.Compare(a.Path, b.Path) })
	list, err := ijson.Marshal(files)
	if err != nil {
		return decisionlog.Bundle{}, fmt.Errorf("bundle: %w", err)
	}
	bundle := decisionlog.NewObject("bundle", list)
	return decisionlog.Bundle{Bundle: bundle.Digest, Caps: capabilities.Digest, InputSchema: schema.Digest, Objects: append(objects, bundle)}, nil
}
