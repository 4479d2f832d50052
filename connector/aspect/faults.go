package aspect

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// leaves gathers the innermost causes: they name what is wrong, the others only where it is nested.
func (m *Models) leaves(out []Fault, e *jsonschema.ValidationError, root any) []Fault {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			out = m.leaves(out, cause, root)
		}
		return out
	}
	path := ""
	for _, step := range e.InstanceLocation {
		path += "/" + escape(step)
	}
	if k, ok := e.ErrorKind.(*kind.Required); ok {
		for _, name := range k.Missing {
			out = append(out, Fault{Path: path + "/" + escape(name), Problem: "the member is missing"})
		}
		return out
	}
	f := Fault{Path: path, Value: shown(find(root, e.InstanceLocation))}
	f.Problem, f.Want = m.describe(e.ErrorKind)
	return append(out, f)
}

// find follows a location that is known to exist.
func find(v any, location []string) any {
	for _, step := range location {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

// shown is a value in a message: its text, as short as a line needs it; nothing for a group.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(cut(v, 80))
	case json.Number:
		return cut(v.String(), 80)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// describe says a fault of the schema in plain words. The library's own words quote values at full length and through a float.
func (m *Models) describe(k jsonschema.ErrorKind) (problem, want string) {
	switch k := k.(type) {
	case *kind.Type:
		return "this is a JSON " + k.Got, "a JSON " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return "this is not one of the known values", list(k.Want)
	case *kind.Pattern:
		return "this does not have the right form", form(k.Want)
	case *kind.Format:
		return "this does not have the right form", "a " + strings.ToUpper(k.Want)
	case *kind.Minimum:
		return "the number is too small", "at least " + plain(k.Want)
	case *kind.ExclusiveMinimum:
		return "the number is too small", "more than " + plain(k.Want)
	case *kind.Maximum:
		return "the number is too large", "at most " + plain(k.Want)
	case *kind.ExclusiveMaximum:
		return "the number is too large", "less than " + plain(k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("there are %d elements", k.Got), fmt.Sprintf("at least %d", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("there are %d elements", k.Got), fmt.Sprintf("at most %d", k.Want)
	case *kind.UniqueItems:
		return fmt.Sprintf("elements %d and %d are equal", k.Duplicates[0], k.Duplicates[1]), "each once"
	case *kind.MinLength:
		return "the text is too short", fmt.Sprintf("at least %d characters", k.Want)
	case *kind.MaxLength:
		return "the text is too long", fmt.Sprintf("at most %d characters", k.Want)
	}
	return cut(k.LocalizedString(m.printer), 200), ""
}

func list(values []any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return "one of: " + strings.Join(texts, ", ")
}

// form says a pattern by example where people will meet it.
func form(pattern string) string {
	switch {
	case strings.HasPrefix(pattern, "^-?[0-9]{4}-[0-9]{2}-[0-9]{2}T"):
		return "a time such as 2025-12-31T00:00:00Z"
	case strings.HasPrefix(pattern, "^(urn:uuid:)?"):
		return "a UUID, with or without urn:uuid: before it"
	case pattern == "^([A-Z]{2})$":
		return "two capital letters such as SE (ISO 3166-1)"
	case strings.HasPrefix(pattern, "^([A-Z]{2}-"):
		return "a subdivision such as SE-AC (ISO 3166-2)"
	}
	return "a text that matches " + pattern
}

// plain writes a decimal in full, digit for digit.
func plain(r *big.Rat) string {
	n, _ := r.FloatPrec()
	return cut(r.FloatString(n), 80)
}
