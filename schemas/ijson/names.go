package ijson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"unicode"
)

// encoding/json binds a member to a field whose name is equal under Unicode simple folding: "ISS", "iſſ" and "iss" are one to it and
// three to everybody else. So two names of one object that fold alike are duplicates, and a name that meets a field only when
// folded is a fault.

// fold returns a form that is equal for two names exactly when bytes.EqualFold holds: of each letter the smallest of its spellings.
func fold(name []byte) string {
	return string(bytes.Map(func(r rune) rune {
		// SimpleFold goes round the spellings of a letter upwards and then starts again at the smallest.
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name))
}

// fields are those of a struct, by their names in JSON.
type fields struct {
	exact  map[string]reflect.Type // as bound returns it
	folded map[string]string       // folded name -> name
}

var known sync.Map // reflect.Type -> *fields

// fieldsOf returns nil when t is no struct that encoding/json fills in by itself.
func fieldsOf(t reflect.Type) *fields {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	if f, ok := known.Load(t); ok {
		return f.(*fields)
	}
	f := &fields{exact: map[string]reflect.Type{}, folded: map[string]string{}}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Tag.Get("json") == "-" || !field.IsExported() || field.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		f.exact[name] = bound(field.Type)
		f.folded[fold([]byte(name))] = name
	}
	known.Store(t, f)
	return f
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// bound is the type that encoding/json fills in for t: behind pointers, and nil where a type reads itself or anything may stand.
func bound(t reflect.Type) reflect.Type {
	for t != nil {
		if p := reflect.PointerTo(t); p.Implements(unmarshaler) || p.Implements(textUnmarshaler) {
			return nil
		}
		if t.Kind() != reflect.Pointer {
			return t
		}
		t = t.Elem()
	}
	return nil
}

// elem is the type that the elements of an array, or the members of a map, are bound to.
func elem(t reflect.Type) reflect.Type {
	if t == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Array:
		return bound(t.Elem())
	}
	return nil
}
