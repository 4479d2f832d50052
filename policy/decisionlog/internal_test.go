package decisionlog

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// slowLeaves is the obvious way to list the leaves of a document.
func slowLeaves(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			out[path] = "{}"
		}
		for name, item := range v {
			key, _ := ijson.Marshal(name)
			slowLeaves(path+"/"+string(key[1:len(key)-1]), item, out)
		}
	case []any:
		if len(v) == 0 {
			out[path] = "[]"
		}
		for i, item := range v {
			slowLeaves(path+"/"+strconv.Itoa(i), item, out)
		}
	default:
		b, _ := ijson.Marshal(v)
		out[path] = string(b)
	}
}

func FuzzLeavesAgreeWithASlowWalk(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"x\"y"},[]],"c":{},"d":null}`))
	f.Add([]byte(`"just a string"`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if ijson.Check(text, ijson.DefaultLimits()) != nil {
			return
		}
		canonical, err := ijson.Canonical(text)
		if err != nil {
			return
		}
		var v any
		dec := json.NewDecoder(bytes.NewReader(canonical))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		want, got := map[string]string{}, map[string]string{}
		slowLeaves("", v, want)
		if err := eachLeaf(canonical, func(path string, value []byte) { got[path] = string(value) }); err != nil {
			t.Fatalf("%s: %v", canonical, err)
		}
		if len(got) != len(want) {
			t.Fatalf("%s: got %v, want %v", canonical, got, want)
		}
		for path, value := range want {
			if got[path] != value {
				t.Fatalf("%s at %s: got %s, want %s", canonical, path, got[path], value)
			}
		}
	})
}

func TestTilesStandWhereTheStandardPutsThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level string
		n     uint64
		width int
		want  string
	}{
		{"0", 0, 256, "tile/0/000"}, {"0", 1234067, 256, "tile/0/x001/x234/067"}, {"entries", 273, 112, "tile/entries/273.p/112"},
		{"1", 1000, 256, "tile/1/x001/000"},
	} {
		if got := tilePath(tt.level, tt.n, tt.width); got != tt.want {
			t.Errorf("tilePath(%s, %d, %d) = %s, want %s", tt.level, tt.n, tt.width, got, tt.want)
		}
	}
	if n := len(wantedFiles(70000)); n != 3+274+274+2+1 {
		t.Errorf("an export of 70,000 records has %d files, want %d", n, 3+274+274+2+1)
	}
}

func FuzzTheTwoCanonicalFormsAgree(f *testing.F) {
	for _, text := range []string{`{"b":[1,{"x":"\u20ac\ud83d\ude00\u0007"}],"a":{},"\ufb33":1,"\ud83d\ude00":2}`, `[1e21,1e-7,-0,0.1,123456789012,1.5e300,5e-324,1e-6]`, `"\\\"\n\u001f"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if ijson.Check(text, ijson.DefaultLimits()) != nil {
			return
		}
		want, err := ijson.Canonical(text)
		if err != nil {
			return
		}
		if got, err := canonical(text); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q: the verifier has %q, %v; the log has %q", text, got, err, want)
		}
	})
}

func FuzzTheTwoTreesAgree(f *testing.F) {
	f.Add([]byte("some entries, cut by a pattern"), uint8(3))
	f.Add([]byte{}, uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		head, tree := Head{}, growingTree(nil)
		for at := 0; ; at += int(step)/8 + 1 {
			want, err := head.Root()
			if err != nil {
				t.Fatal(err)
			}
			if got := tree.root(); !bytes.Equal(got[:], want) {
				t.Fatalf("at size %d the verifier has root %x, the log %x", head.Size, got, want)
			}
			if at >= len(text) {
				return
			}
			entry := text[at:min(len(text), at+int(step))]
			if head, err = head.Append(entry); err != nil {
				t.Fatal(err)
			}
			tree.add(leafOf(entry))
		}
	})
}
