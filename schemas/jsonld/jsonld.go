// Package jsonld turns the JSON-LD that other implementations write into the plain form of the Dataspace Protocol 2025-1, which the one
// strict parser then reads. It knows the words of that protocol and no others, loads nothing, and expands nothing.
//
// A name is read under the contexts at the root of the document; a word of the protocol gets its plain name, every other name its whole IRI,
// so that a reader who knows it not treats it as unknown. What could give a word another meaning is refused: an unknown address when a name
// needs it, a context that redefines, a context further down. A value changes only where it is certain what it is in the plain form.
package jsonld

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Limits of a document that is not in the plain form (security.md, rule T-15). The work is one walk over the nodes: bounded nodes are
// bounded time.
const (
	maxDepth    = 16
	maxNodes    = 10000
	maxContexts = 32
	maxPrefixes = 64
)

// Plain returns the plain form of a document of at most maxBytes; nil when it is in that form already. A fault is an *ijson.Error.
func Plain(data []byte, maxBytes int) ([]byte, error) {
	lim := ijson.DefaultLimits()
	lim.MaxBytes, lim.Depth = maxBytes, maxDepth
	var in map[string]any
	if err := ijson.Check(data, lim); err != nil {
		return nil, err
	}
	if size(data) > maxNodes {
		return nil, &ijson.Error{Kind: ijson.TooMany, Want: "at most " + strconv.Itoa(maxNodes) + " values"}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&in); err != nil || in == nil {
		return nil, fault("", "an object")
	}
	r := reader{prefixes: map[string]string{}, bare: map[string]bool{}}
	if err := r.context(in["@context"]); err != nil {
		return nil, err
	}
	body := maps.Clone(in)
	delete(body, "@context")
	out, err := r.node("", body)
	if err != nil {
		return nil, err
	}
	out["@context"] = []any{Context}
	if reflect.DeepEqual(out, in) {
		return nil, nil
	}
	return json.Marshal(out)
}

func fault(path, want string) error { return &ijson.Error{Kind: ijson.Shape, Path: path, Want: want} }

// reader holds what the contexts of one document define.
type reader struct {
	prefixes map[string]string
	bare     map[string]bool // namespaces whose terms may stand without prefix
	vocab    string
	unknown  bool // some address is not known: what only it could define has no meaning here
}

// size is how many values a JSON text may hold, counted before room is made for them: never too few.
func size(data []byte) int {
	n, quoted := 1, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

// context reads the root's @context: addresses, and objects that define prefixes and nothing else.
func (r *reader) context(v any) error {
	list := listOf(v)
	if len(list) == 0 || len(list) > maxContexts {
		return fault("/@context", "1 to "+strconv.Itoa(maxContexts)+" contexts")
	}
	for i, item := range list {
		path := "/@context/" + strconv.Itoa(i)
		switch item := item.(type) {
		case string:
			known, ok := contexts[item]
			r.unknown = r.unknown || !ok
			for _, ns := range known.bare {
				r.bare[ns] = true
			}
			for _, prefix := range slices.Sorted(maps.Keys(known.prefixes)) {
				if err := r.define(path, prefix, known.prefixes[prefix]); err != nil {
					return err
				}
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(item)) {
				iri, _ := item[key].(string)
				if n, ok := item[key].(json.Number); ok && key == "@version" && n == "1.1" {
					continue
				}
				if err := r.define(path+"/"+strings.ReplaceAll(key, "/", "~1"), key, iri); err != nil {
					return err
				}
			}
		default:
			return fault(path, "an address or an object of prefixes")
		}
	}
	return nil
}

// define takes a prefix or @vocab. A word of the protocol is no prefix, and a known prefix has the meaning that it has.
func (r *reader) define(path, key, iri string) error {
	if !strings.HasPrefix(iri, "https://") && !strings.HasPrefix(iri, "http://") || !strings.HasSuffix(iri, "/") && !strings.HasSuffix(iri, "#") {
		return fault(path, "an IRI that ends in / or #: only prefixes are defined here")
	}
	if key == "@vocab" {
		if r.vocab != "" && r.vocab != iri {
			return fault(path, "one vocabulary")
		}
		r.vocab = iri
		return nil
	}
	meanings, protected := namespaces[key]
	_, twice := r.prefixes[key]
	switch {
	case key == "" || strings.ContainsAny(key, "@:/#") || owner(key) != "":
		return fault(path, "a prefix: a term keeps its meaning")
	case protected && !slices.Contains(meanings, iri), twice && r.prefixes[key] != iri && !protected:
		return fault(path, "the meaning that this prefix has")
	case len(r.prefixes) >= maxPrefixes:
		return fault(path, "at most "+strconv.Itoa(maxPrefixes)+" prefixes")
	}
	r.prefixes[key] = iri
	return nil
}

// owner is the namespace of a word of the protocol, "" when it is none.
func owner(word string) string {
	for ns, words := range terms {
		if _, ok := words[word]; ok {
			return ns
		}
	}
	return ""
}

// expand returns the IRI of a prefixed name, and other names as they are.
func (r *reader) expand(path, name string) (string, error) {
	prefix, local, ok := strings.Cut(name, ":")
	if !ok || strings.HasPrefix(local, "//") {
		return name, nil
	}
	if iri, ok := r.prefixes[prefix]; ok {
		return iri + local, nil
	}
	if _, protected := namespaces[prefix]; r.unknown && (!protected || namespaces[prefix] != nil) {
		return "", fault(path, "terms of known contexts; "+strconv.Quote(prefix)+" is of none")
	}
	return name, nil
}

// resolve returns the plain name of a member or type with the kind of its value; what is no word of the protocol gets its whole IRI.
func (r *reader) resolve(path, name string) (string, kind, error) {
	if strings.Contains(name, ":") {
		iri, err := r.expand(path, name)
		if err != nil {
			return "", other, err
		}
		plain, k := compact(iri)
		return plain, k, nil
	}
	ns := owner(name)
	switch {
	case ns != "" && r.bare[ns]:
		return name, terms[ns][name], nil
	case r.vocab != "":
		plain, k := compact(r.vocab + name)
		return plain, k, nil
	case ns != "" || r.unknown:
		return "", other, fault(path, "a term of a known context; "+strconv.Quote(name)+" is of none here")
	}
	return name, other, nil
}

// compact returns the plain name of an IRI that is a word of the protocol, and every other IRI whole.
func compact(iri string) (string, kind) {
	if newer, ok := spellings[iri]; ok {
		iri = newer
	}
	for ns, words := range terms {
		for _, address := range namespaces[ns] {
			word, ok := strings.CutPrefix(iri, address)
			if k, known := words[word]; ok && known {
				return word, k
			}
		}
	}
	return iri, other
}

// node reads an object of the document. Two names for one member are refused: a reader would see only one of them.
func (r *reader) node(path string, in map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(in))
	for _, key := range slices.Sorted(maps.Keys(in)) {
		at := path + "/" + pointer(key)
		plain, v, err := r.member(at, key, in[key])
		if err != nil {
			return nil, err
		}
		if _, twice := out[plain]; twice {
			return nil, &ijson.Error{Kind: ijson.Duplicate, Path: at, Want: "each member under one name"}
		}
		out[plain] = v
	}
	return out, nil
}

// pointer is a peer's name as a part of a JSON pointer, cut.
func pointer(key string) string {
	if len(key) > 64 {
		key = strings.ToValidUTF8(key[:64], "") + "…"
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

func (r *reader) member(path, key string, v any) (string, any, error) {
	switch {
	case key == "@id":
		return key, textOf(v), nil
	case key == "@type":
		s, ok := textOf(v).(string)
		if !ok {
			return key, v, nil
		}
		plain, _, err := r.resolve(path, s)
		return key, plain, err
	case strings.HasPrefix(key, "@"):
		return "", nil, fault(path, "@id and @type; a context stands at the root")
	}
	plain, k, err := r.resolve(path, key)
	if err != nil {
		return "", nil, err
	}
	out, err := r.value(path, k, v)
	if plain == "dataAddress" && err == nil {
		out = address(out)
	}
	return plain, out, err
}

func (r *reader) value(path string, k kind, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch k {
	case text:
		return textOf(v), nil
	case state, name:
		s, ok := textOf(v).(string)
		if !ok {
			return v, nil
		}
		if ns := owner(s); k == name && r.unknown && !strings.Contains(s, ":") && (ns == "" || !r.bare[ns]) {
			return nil, fault(path, "a term of a known context; "+strconv.Quote(s)+" is of none here")
		}
		iri, err := r.expand(path, s)
		if k == state {
			for _, ns := range namespaces["dspace"] {
				iri = strings.TrimPrefix(iri, ns)
			}
		}
		return iri, err
	case node:
		if list := listOf(v); len(list) == 1 {
			return r.inner(path, list[0])
		}
	case nodes:
		out := []any{}
		for i, item := range listOf(v) {
			inner, err := r.inner(path+"/"+strconv.Itoa(i), item)
			if err != nil {
				return nil, err
			}
			out = append(out, inner)
		}
		return out, nil
	case values:
		return listOf(v), nil
	case operand:
		return r.operand(v), nil
	}
	return v, nil
}

func (r *reader) inner(path string, v any) (any, error) {
	if m, ok := v.(map[string]any); ok {
		return r.node(path, m)
	}
	return v, nil
}

// operand keeps the difference between one value and a list of one: they are not the same policy.
func (r *reader) operand(v any) any {
	items, isList := v.([]any)
	if m, ok := v.(map[string]any); ok && len(m) == 1 && (m["@list"] != nil || m["@set"] != nil) {
		items, isList = listOf(v), true
	}
	if !isList {
		return r.literal(v)
	}
	out := make([]any, 0, len(items))
	for _, item := range items {
		out = append(out, r.literal(item))
	}
	return out
}

// literal is a value without its wrapping; a type of XML Schema beside it does not change its text.
func (r *reader) literal(v any) any {
	m, ok := v.(map[string]any)
	if !ok || m["@value"] == nil {
		return v
	}
	if kind, typed := m["@type"].(string); len(m) == 2 && typed {
		if iri, err := r.expand("", kind); err == nil && strings.HasPrefix(iri, namespaces["xsd"][0]) {
			return m["@value"]
		}
		return v
	}
	if len(m) == 1 {
		return m["@value"]
	}
	return v
}

// listOf is the list that v is, holds or stands for.
func listOf(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	case map[string]any:
		for _, key := range []string{"@list", "@set"} {
			if inner, ok := v[key].([]any); ok && len(v) == 1 {
				return inner
			}
		}
	}
	return []any{v}
}

// textOf is the one string that v is or wraps; anything else comes back as it is.
func textOf(v any) any {
	one := v
	if list := listOf(v); len(list) == 1 {
		one = list[0]
	}
	if m, ok := one.(map[string]any); ok {
		for key, beside := range map[string]string{"@id": "@type", "@value": "@type @language"} {
			if only(m, key, beside) {
				one = m[key]
			}
		}
	}
	if s, ok := one.(string); ok {
		return s
	}
	return v
}

// only reports an object that has the key and, besides, none but the others.
func only(m map[string]any, key, others string) bool {
	for name := range m {
		if name != key && !slices.Contains(strings.Fields(others), name) {
			return false
		}
	}
	return m[key] != nil
}

// address gathers the members that EDC writes in its own namespace into a data address as endpoint properties.
func address(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := maps.Clone(m)
	properties, _ := out["endpointProperties"].([]any)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		name, ours := strings.CutPrefix(key, namespaces["edc"][0])
		value, isText := textOf(m[key]).(string)
		if !ours || !isText {
			continue
		}
		delete(out, key)
		properties = append(slices.Clip(properties), map[string]any{"@type": "EndpointProperty", "name": name, "value": value})
	}
	if len(properties) > 0 {
		out["endpointProperties"] = properties
	}
	return out
}
