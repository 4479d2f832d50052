package main

import (
	"bytes"
	"slices"
	"testing"
)

func TestColumnsFitTheTerminal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		widths []int
		total  int
		want   []int
	}{
		{"what fits stays as it is", []int{5, 5}, 20, []int{5, 5}},
		{"the widest column gives way", []int{40, 10}, 32, []int{20, 10}},
		{"the next one when the widest cannot", []int{40, 30}, 20, []int{8, 10}},
		{"nothing is cut below what can be read", []int{40, 40}, 5, []int{8, 8}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := slices.Clone(tt.widths)
			shrink(got, tt.total)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAPeerCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{system: system{stdout: &out, env: func(string) string { return "" }}}
	a.table([]string{"NAME", "END"}, [][]string{{"a\x1b[31mb\nc\u009b", "x"}})
	a.fields("title", "a\rb", "empty", "")
	if got, want := out.String(), "NAME        END\na·[31mb·c·  x\ntitle  a·b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAPipeGetsWholeValuesAndNoColours(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{system: system{stdout: &out, env: func(string) string { return "" }}}
	long := "urn:uuid:00000000-0000-4000-8000-000000000000-and-much-more-that-would-never-fit-a-terminal-of-eighty-columns"
	a.table([]string{"ID"}, [][]string{{long}})
	if got, want := out.String(), "ID\n"+long+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := a.paint(&out, red, "x"); got != "x" {
		t.Errorf("got %q, want no colour", got)
	}
}
