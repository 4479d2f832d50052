package reason_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/reason"
	"github.com/sluice-connector/sluice/policy/rego"
)

func TestEveryCodeOfTheModulesHasATextInEveryLanguage(t *testing.T) {
	t.Parallel()
	modules, err := rego.Modules()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for name, text := range modules {
		for _, m := range regexp.MustCompile(`:= \["([^"]+)", "[^"]+", "[^"]+"\]`).FindAllStringSubmatch(text, -1) {
			found++
			for _, language := range reason.Languages() {
				if !reason.Known(m[1], language) {
					t.Errorf("%s: %s has no text in %s", name, m[1], language)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d codes found: the search no longer fits the modules", found)
	}
}

func TestATextNamesWhatIsWanted(t *testing.T) {
	t.Parallel()
	r := policy.Reason{Code: "framework.missing", Operand: "FrameworkAgreement", Clause: "permission/0", Params: map[string]string{"want": "DataExchangeGovernance:1.0"}}
	if got := reason.Line("de", r); !strings.Contains(got, "Rahmenvereinbarung DataExchangeGovernance:1.0") || !strings.Contains(got, "FrameworkAgreement at permission/0") {
		t.Errorf("got %q", got)
	}
	if got := reason.Text("fr", r); !strings.Contains(got, "framework agreement") {
		t.Errorf("a language without texts gave %q, want English", got)
	}
	if got := reason.Text("en", policy.Reason{Code: "new.code"}); got != "new.code" {
		t.Errorf("a code without text gave %q", got)
	}
}
