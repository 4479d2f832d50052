package ijson_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

func TestOneStandsForAListOfOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		raw   string
		many  int
		texts []string // nil: refused
	}{
		{``, 0, nil},
		{`null`, 0, nil},
		{`[]`, 0, nil},
		{`"a"`, 1, []string{"a"}},
		{`["a"]`, 1, []string{"a"}},
		{`["a","b"]`, 2, []string{"a", "b"}},
		{`""`, 1, nil},
		{`["a",""]`, 2, nil},
		{`["a",null]`, 2, nil},
		{`["a",["b"]]`, 2, nil},
		{`{"a":1}`, 1, nil},
		{`[{"a":1},2]`, 2, nil},
	} {
		if got := ijson.Many(json.RawMessage(tt.raw)); len(got) != tt.many {
			t.Errorf("%s: %d values, want %d", tt.raw, len(got), tt.many)
		}
		if got, err := ijson.Texts(json.RawMessage(tt.raw)); !slices.Equal(got, tt.texts) || (err == nil) != (tt.texts != nil) {
			t.Errorf("%s: %q, %v; want %q", tt.raw, got, err, tt.texts)
		}
	}
}
