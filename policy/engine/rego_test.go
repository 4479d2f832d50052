package engine_test

import (
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"

	modules "github.com/sluice-connector/sluice/policy/rego"
)

// TestTheModulesPassTheirOwnTests runs the *_test.rego beside the modules, each case as a test of its own.
func TestTheModulesPassTheirOwnTests(t *testing.T) {
	t.Parallel()
	sources, err := modules.Modules()
	if err != nil {
		t.Fatal(err)
	}
	tests, err := modules.Tests()
	if err != nil {
		t.Fatal(err)
	}
	parsed := map[string]*ast.Module{}
	for _, files := range []map[string]string{sources, tests} {
		for name, text := range files {
			parsed[name] = ast.MustParseModule(text)
		}
	}
	results, err := tester.NewRunner().RaiseBuiltinErrors(true).Run(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for r := range results {
		ran++
		t.Run(strings.TrimPrefix(r.Name, "test_"), func(t *testing.T) {
			if r.Error != nil {
				t.Fatal(r.Error)
			}
			for path, sub := range r.SubResults.Iter {
				t.Run(strings.Join(path, "/"), func(t *testing.T) {
					if sub.Fail {
						t.Error("it does not hold")
					}
				})
			}
			if !r.Pass() {
				t.Error("it does not hold")
			}
		})
	}
	if ran == 0 {
		t.Error("there are no tests")
	}
	for name := range sources {
		if test := strings.TrimSuffix(name, ".rego") + "_test.rego"; tests[test] == "" {
			t.Errorf("%s has no %s beside it", name, test)
		}
	}
}
