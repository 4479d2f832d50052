package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// members writes the members of a JSON text and the kinds of their values, sorted, each once: members FILE INTO
func members(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: members FILE INTO")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	var out []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				walk(strings.TrimPrefix(path+"."+name, "."), member)
			}
		case []any:
			for _, item := range v {
				walk(path+"[]", item)
			}
		case string:
			out = append(out, path+" text")
		case float64:
			out = append(out, path+" number")
		case bool:
			out = append(out, path+" boolean")
		default:
			out = append(out, path+" null")
		}
	}
	walk("", v)
	slices.Sort(out)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(slices.Compact(out), "\n")+"\n"), 0o600))
}

// hostile writes what steers a terminal into the door of a record, in a file of entries, or into the name of a new file in a
// directory: hostile FILE | hostile DIR/
func hostile(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: hostile FILE|DIR/")
	}
	path := ts.MkAbs(args[0])
	if strings.HasSuffix(args[0], "/") {
		ts.Check(os.WriteFile(path+"/\x1b[2J\u202e\u009bx\nfile", nil, 0o600))
		return
	}
	const door, evil = `"negotiation.request"`, `"\u001b[2J` + "\u202e\u2066\u009bxy" + `"`
	old, err := os.ReadFile(path)
	ts.Check(err)
	if len(door) != len(evil) || !bytes.Contains(old, []byte(door)) {
		ts.Fatalf("the door does not fit")
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(old, []byte(door), []byte(evil)), 0o600))
}
