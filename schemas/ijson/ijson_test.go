package ijson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

func TestCheckRefusesWhatTwoReadersCouldReadDifferently(t *testing.T) {
	t.Parallel()
	small := ijson.Limits{MaxBytes: 200, Depth: 3, Members: 3, Items: 3, String: 20}
	for _, tt := range []struct {
		name, text string
		kind       ijson.Kind
		path       string
	}{
		{"a member twice", `{"a":1,"a":2}`, ijson.Duplicate, "/a"},
		{"a member twice, one escaped", `{"a":1,"\u0061":2}`, ijson.Duplicate, "/a"},
		{"a member in two spellings of case", `{"allow":1,"Allow":2}`, ijson.Duplicate, "/Allow"},
		{"a long s that folds to s", `{"ſ":1,"ſ":2}`, ijson.Duplicate, "/ſ"},
		{"a long s beside an s", `{"permission":1,"permi` + "ſſ" + `ion":2}`, ijson.Duplicate, "/permi" + "ſſ" + "ion"},
		{"a Kelvin sign beside a k", `{"kid":1,"` + "\u212a" + `id":2}`, ijson.Duplicate, "/" + "\u212a" + "id"},
		{"a Kelvin sign written as an escape", `{"kid":1,"\u212aid":2}`, ijson.Duplicate, "/" + "\u212a" + "id"},
		{"too deep", `[[[[]]]]`, ijson.TooDeep, "/0/0/0"},
		{"too many members", `{"a":1,"b":2,"c":3,"d":4}`, ijson.TooMany, "/d"},
		{"too many items", `[1,2,3,4]`, ijson.TooMany, "/3"},
		{"a long string", `"` + strings.Repeat("x", 30) + `"`, ijson.TooLarge, ""},
		{"a long text", `"` + strings.Repeat("x", 300) + `"`, ijson.TooLarge, ""},
		{"a lone high surrogate", `"\ud800"`, ijson.Encoding, ""},
		{"a lone low surrogate", `"\udc00"`, ijson.Encoding, ""},
		{"a high surrogate before a letter", `"\ud800\u0041"`, ijson.Encoding, ""},
		{"invalid UTF-8", "\"\xff\"", ijson.Encoding, ""},
		{"a NUL", `"\u0000"`, ijson.Encoding, ""},
		{"a raw control character", "\"\x01\"", ijson.Encoding, ""},
		{"a byte order mark", "\ufeff{}", ijson.Syntax, ""},
		{"bytes behind the value", `{} {}`, ijson.Syntax, ""},
		{"nothing", ``, ijson.Syntax, ""},
		{"a trailing comma", `{"a":1,}`, ijson.Syntax, ""},
		{"a trailing comma in an array", `[1,]`, ijson.Syntax, "/1"},
		{"a leading zero", `01`, ijson.Syntax, ""},
		{"a bare minus", `-`, ijson.Syntax, ""},
		{"a point without digits", `1.`, ijson.Syntax, ""},
		{"an integer above 2^53", `9007199254740993`, ijson.Number, ""},
		{"a decimal that a double rounds", `{"v":0.12345678901234567890}`, ijson.Number, "/v"},
		{"an overflow", `1e9999`, ijson.Number, ""},
		{"an underflow", `1e-9999`, ijson.Number, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := ijson.Check([]byte(tt.text), small)
			var fault *ijson.Error
			if !errors.As(err, &fault) {
				t.Fatalf("Check(%q) = %v, want *ijson.Error", tt.text, err)
			}
			if fault.Kind != tt.kind || fault.Path != tt.path {
				t.Errorf("Check(%q): got %s at %q, want %s at %q (%v)", tt.text, fault.Kind, fault.Path, tt.kind, tt.path, err)
			}
		})
	}
}

func TestCheckAcceptsPlainJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{}`, `[]`, ` {"a" : [1, -2.5, 1e3, 0.1, true, false, null, "\u00e9\ud83d\ude00\n"]} `, `9007199254740991`, `-0`, `100000000000000000000e-5`} {
		if err := ijson.Check([]byte(text), ijson.DefaultLimits()); err != nil {
			t.Errorf("Check(%q) = %v, want nil", text, err)
		}
	}
}

func TestManyMembersAreStillChecked(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"x":0`)
	for i := range 100 {
		b.WriteString(`,"m` + strings.Repeat("a", i) + `":1`)
	}
	text := b.String()
	if err := ijson.Check([]byte(text+`}`), ijson.DefaultLimits()); err != nil {
		t.Fatalf("Check = %v, want nil", err)
	}
	for _, more := range []string{`,"X":1}`, `,"s":1,"ſ":2}`, `,"k":1,"\u212a":2}`} {
		if err := ijson.Check([]byte(text+more), ijson.DefaultLimits()); err == nil {
			t.Errorf("%s among many members was accepted", more)
		}
	}
}

func TestUnmarshalNamesTheMemberThatDoesNotFit(t *testing.T) {
	t.Parallel()
	var v struct {
		Offer struct{ ID string }
	}
	err := ijson.Unmarshal([]byte(`{"Offer":{"ID":7}}`), ijson.DefaultLimits(), &v)
	var fault *ijson.Error
	if !errors.As(err, &fault) || fault.Path != "/Offer/ID" {
		t.Fatalf("got %v, want a fault at /Offer/ID", err)
	}
}

// claims is something to bind to, with every way down that a type can have.
type claims struct {
	Issuer any             `json:"iss"`
	Kind   any             `json:"kind,omitempty"`
	Rules  []*claims       `json:"rules"`
	Named  map[string]rule `json:"named"`
	Raw    json.RawMessage `json:"raw"`
	Base
}

type rule struct{ Class any }

type Base struct {
	Scope any `json:"scope"`
}

func TestAMemberInAnotherSpellingThanTheFieldsIsNotBound(t *testing.T) {
	t.Parallel()
	for text, path := range map[string]string{
		`{"ISS":1}`:                          "/ISS",
		`{"iſſ":1}`:                          "/iſſ",
		`{"\u212aind":1}`:                    "/\u212aind",
		`{"rules":[{"iss":1},{"Iss":2}]}`:    "/rules/1/Iss",
		`{"rules":[{"rules":[{"KIND":2}]}]}`: "/rules/0/rules/0/KIND",
		`{"named":{"a":{"Class":1,"x":{}}, "b":{"class":1}}}`: "/named/b/class",
		`{"Scope":1}`: "/Scope",
	} {
		for name, err := range map[string]error{"Unmarshal": ijson.Unmarshal([]byte(text), ijson.DefaultLimits(), &claims{}), "Bind": ijson.Bind([]byte(text), &claims{})} {
			var fault *ijson.Error
			if !errors.As(err, &fault) || fault.Kind != ijson.Shape || fault.Path != path {
				t.Errorf("%s of %s: %v, want a fault at %s", name, text, err, path)
			}
		}
	}
	for _, text := range []string{`{"iss":1,"other":{"ISS":2},"raw":{"ISS":1},"scope":2}`, `{"named":{"ISS":{"Class":1}}}`} {
		if err := ijson.Unmarshal([]byte(text), ijson.DefaultLimits(), &claims{}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzWhatIsBoundIsWhatTheExactNamesSay compares with the plainest reader there is: the text as maps, looked up by exact name.
func FuzzWhatIsBoundIsWhatTheExactNamesSay(f *testing.F) {
	for _, seed := range []string{`{"iss":1,"ISS":2}`, `{"iss":1,"iſſ":2}`, `{"rules":[{"iss":"a","named":{"x":{"Class":1}}},null]}`, `{"\u212aind":1,"kind":2}`, `{"raw":{"a":1,"A":2},"scope":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got claims
		if ijson.Unmarshal(data, ijson.DefaultLimits(), &got) != nil {
			return
		}
		var plain any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if err := dec.Decode(&plain); err != nil {
			t.Fatal(err)
		}
		sameClaims(t, data, &got, plain)
		namesApart(t, data)
	})
}

func sameClaims(t *testing.T, data []byte, got *claims, plain any) {
	t.Helper()
	m, _ := plain.(map[string]any)
	if got == nil {
		got = &claims{}
	}
	if !reflect.DeepEqual(got.Issuer, m["iss"]) || !reflect.DeepEqual(got.Kind, m["kind"]) || !reflect.DeepEqual(got.Scope, m["scope"]) {
		t.Fatalf("%q binds as %+v", data, got)
	}
	rules, _ := m["rules"].([]any)
	if len(rules) != len(got.Rules) {
		t.Fatalf("%q binds as %+v", data, got)
	}
	for i := range rules {
		sameClaims(t, data, got.Rules[i], rules[i])
	}
	named, _ := m["named"].(map[string]any)
	if len(named) != len(got.Named) {
		t.Fatalf("%q binds as %+v", data, got)
	}
	for name, v := range named {
		if r, _ := v.(map[string]any); !reflect.DeepEqual(got.Named[name].Class, r["Class"]) {
			t.Fatalf("%q binds as %+v", data, got)
		}
	}
}

// namesApart fails when one object has two names that encoding/json could take for one.
func namesApart(t *testing.T, data []byte) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	var value func(token json.Token)
	next := func() json.Token {
		token, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	value = func(token json.Token) {
		switch token {
		case json.Delim('['):
			for dec.More() {
				value(next())
			}
			next()
		case json.Delim('{'):
			var names []string
			for dec.More() {
				name := next().(string)
				if slices.ContainsFunc(names, func(seen string) bool { return strings.EqualFold(seen, name) }) {
					t.Fatalf("%q was accepted with %q twice", data, name)
				}
				names = append(names, name)
				value(next())
			}
			next()
		}
	}
	value(next())
}

func TestDigestsOfDifferentTypesDiffer(t *testing.T) {
	t.Parallel()
	if ijson.Digest("a", nil) == ijson.Digest("b", nil) {
		t.Error("the domain does not count")
	}
}

func FuzzCheckAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,2,{"b":null}]}`, `"\ud83d\ude00"`, `1e5`, `-0`, `[0,-1,10]`, `{"a":[],"b":{},"c":"x"}`, `{"b":1,"a":2}`, `{"a":1,"A":2}`, "[\"\xff\"]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lim := ijson.DefaultLimits()
		if ijson.Check(data, lim) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted %q, which encoding/json refuses", data)
		}
		canonical, err := ijson.Canonical(data)
		if err != nil {
			t.Fatalf("accepted %q, which has no canonical form: %v", data, err)
		}
		slow, err := jcs.Transform(data)
		if err != nil || !bytes.Equal(slow, canonical) {
			t.Fatalf("canonical form of %q is %q, want %q, %v", data, canonical, slow, err)
		}
		again, err := ijson.Canonical(canonical)
		if err != nil || !bytes.Equal(again, canonical) {
			t.Fatalf("canonical form of %q is not stable: %q, %q, %v", data, canonical, again, err)
		}
	})
}

func FuzzAppendStringIsTheCanonicalForm(f *testing.F) {
	for _, seed := range []string{"", "plain", "\"\\/", "\b\t\n\f\r\x00\x1f\x7f", "größer < & > \u2028\u2029", "\xff\xc3x\xed\xa0\x80", "\U0001f600"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := ijson.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := ijson.AppendString(nil, s); !bytes.Equal(got, want) {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	var text strings.Builder
	text.WriteString(`{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"dataset":[`)
	for i := range 50 {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(`{"@id":"urn:uuid:6f8a2c5e","@type":"Dataset","n":12.5,"hasPolicy":[{"@id":"o","@type":"Offer","permission":[{"action":"use"}]}]}`)
	}
	text.WriteString(`]}`)
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := ijson.Check(data, ijson.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
