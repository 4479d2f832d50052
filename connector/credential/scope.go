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

// How an alias ends says what it means.
const (
	typeAlias = ".vc.type"
	idAlias   = ".vc.id"
)

// protocolAliases are those that DCP 1.0 itself has.
var protocolAliases = []string{"org.eclipse.dspace.dcp" + typeAlias, "org.eclipse.dspace.dcp" + idAlias}

// Aliases are the names by which an ecosystem's scopes ask besides those of the protocol: "org.example.vc.type" asks by type, "org.example.vc.id" by
// id. A name that is not among them asks for nothing, however it ends: whose word it is nobody here can say.
type Aliases []string

// Validate checks that each alias says what it means, and that the scopes are written with them.
func (a Aliases) Validate(scopes ...string) error {
	for _, alias := range a {
		if len(alias) > 256 || strings.ContainsAny(alias, ": \t\r\n") || !strings.HasSuffix(alias, typeAlias) && !strings.HasSuffix(alias, idAlias) {
			return fmt.Errorf("aliases: %q: want a name that ends in %s or %s", alias, typeAlias, idAlias)
		}
	}
	for _, s := range scopes {
		if _, err := a.Parse(s); err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
	}
	return nil
}

// Parse reads a scope; the operation must be one that reads.
func (a Aliases) Parse(s string) (Scope, error) {
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
	case !slices.Contains(protocolAliases, alias) && !slices.Contains(a, alias):
		return Scope{}, fmt.Errorf("scope: the alias is not known")
	case strings.HasSuffix(alias, idAlias):
		out.ByID = true
	default:
		if i := strings.LastIndexByte(rest, '#'); i >= 0 {
			out.Context, out.Value = rest[:i], rest[i+1:]
		}
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

// parse reads the scopes of a query or of a grant.
func (a Aliases) parse(list []string) ([]Scope, error) {
	if len(list) == 0 || len(list) > 20 {
		return nil, fmt.Errorf("scope: want 1 to 20")
	}
	out := make([]Scope, 0, len(list))
	for _, s := range list {
		scope, err := a.Parse(s)
		if err != nil {
			return nil, err
		}
		out = append(out, scope)
	}
	return out, nil
}
