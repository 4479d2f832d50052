package credential

import (
	"fmt"
	"slices"
	"strings"
)

// Scope asks for credentials of a type or for one credential (DCP 1.0, section 3.2): alias:discriminator[:operation].
type Scope struct {
	ByID    bool
	Value   string // a type or an id, whole
	Context string // that credentials of the type must carry; "" for any
}

var typeAliases = []string{"org.eclipse.dspace.dcp.vc.type", "org.eclipse.tractusx.vc.type", "org.eclipse.edc.vc.type"}
var idAliases = []string{"org.eclipse.dspace.dcp.vc.id", "org.eclipse.tractusx.vc.id"}

// ParseScope reads a scope; the operation must be one that reads.
func ParseScope(s string) (Scope, error) {
	alias, rest, ok := strings.Cut(s, ":")
	if !ok || len(s) > 512 {
		return Scope{}, fmt.Errorf("scope: want alias:discriminator:read")
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		switch rest[i+1:] {
		case "read", "*", "all":
			rest = rest[:i]
		case "write":
			return Scope{}, fmt.Errorf("scope: write is no operation of a query")
		}
	}
	out := Scope{Value: rest}
	switch {
	case slices.Contains(typeAliases, alias):
		if i := strings.LastIndexByte(rest, '#'); i >= 0 {
			out.Context, out.Value = rest[:i], rest[i+1:]
		}
	case slices.Contains(idAliases, alias):
		out.ByID = true
	default:
		return Scope{}, fmt.Errorf("scope: the alias is not known")
	}
	if out.Value == "" {
		return Scope{}, fmt.Errorf("scope: the discriminator is empty")
	}
	return out, nil
}

// Selects reports whether the scope asks for a credential: its id, or one of its types, is exactly what the scope names.
func (s Scope) Selects(id string, types, contexts []string) bool {
	if s.ByID {
		return s.Value == id
	}
	return slices.Contains(types, s.Value) && (s.Context == "" || slices.Contains(contexts, s.Context))
}

func parseScopes(list []string) ([]Scope, error) {
	if len(list) == 0 || len(list) > 20 {
		return nil, fmt.Errorf("scope: want 1 to 20")
	}
	out := make([]Scope, 0, len(list))
	for _, s := range list {
		scope, err := ParseScope(s)
		if err != nil {
			return nil, err
		}
		out = append(out, scope)
	}
	return out, nil
}
