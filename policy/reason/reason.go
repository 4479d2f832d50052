package reason

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/sluice-connector/sluice/policy"
)

//go:embed texts.yaml
var source []byte

var catalogue = sync.OnceValue(func() map[string]map[string]string {
	out := map[string]map[string]string{}
	if err := yaml.Unmarshal(source, &out); err != nil {
		return nil // a test reads the embedded file; without texts the codes still speak
	}
	return out
})

// Languages are those that every code has a text in.
func Languages() []string { return []string{"en", "de"} }

// Known reports whether the code has a text in the language.
func Known(code, language string) bool { return catalogue()[code][language] != "" }

// Text is the reason in plain words, in the language or else in English. A code without a text speaks for itself.
func Text(language string, r policy.Reason) string {
	texts := catalogue()[r.Code]
	text := texts[language]
	if text == "" {
		text = texts["en"]
	}
	if text == "" {
		return r.Code
	}
	return strings.NewReplacer("{want}", r.Params["want"], "{operator}", r.Params["operator"], "{operand}", r.Operand).Replace(text)
}

// Line is a reason for a peer: the stable code, the words, and which constraint of the policy it is about.
func Line(language string, r policy.Reason) string {
	return fmt.Sprintf("%s: %s (%s at %s)", r.Code, Text(language, r), r.Operand, r.Clause)
}
