// Package rego holds the Rego modules that decide: data-driven from the ODRL policy in the input, the same at every door.
// It evaluates nothing; policy/engine does.
package rego

import (
	"embed"
	"io/fs"
)

//go:embed *.rego
var files embed.FS

// Query is the entry point: exactly one object {effect, limits, reasons}.
const Query = "data.sluice.decision"

// Modules returns the modules by file name, tests left out.
func Modules() (map[string]string, error) {
	return read(func(name string) bool { return !isTest(name) })
}

// Tests returns the modules' own tests by file name.
func Tests() (map[string]string, error) { return read(isTest) }

func isTest(name string) bool {
	const suffix = "_test.rego"
	return len(name) > len(suffix) && name[len(name)-len(suffix):] == suffix
}

func read(want func(string) bool) (map[string]string, error) {
	out := map[string]string{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !want(path) {
			return err
		}
		b, err := files.ReadFile(path)
		out[path] = string(b)
		return err
	})
	return out, err
}
