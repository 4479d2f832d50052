package ijson_test

import (
	"bytes"
	"encoding/json"
	"errors"
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
	if err := ijson.Check([]byte(text+`,"X":1}`), ijson.DefaultLimits()); err == nil {
		t.Error("a case variant among many members was accepted")
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
