package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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

func TestWhatCannotBeSeenIsShownAsADot(t *testing.T) {
	t.Parallel()
	for _, r := range "\x00\x07\x1b\x7f\u0085\u009b\u00ad\u061c\u180e\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\u3164\ufe0f\ufeff\U000e0041" {
		if got := printable("a" + string(r) + "b"); got != "a·b" {
			t.Errorf("%U is shown as %q", r, got)
		}
		out := plain([]byte(`"a` + string(r) + `b"`))
		var back string
		if r >= 0x20 && (json.Unmarshal(out, &back) != nil || back != "a"+string(r)+"b" || bytes.ContainsRune(out, r)) {
			t.Errorf("%U goes into JSON as %s", r, out)
		}
	}
	const fine = "Größe 1 m², „ok“, 日本語, e\u0301, 🔋"
	if got := printable(fine); got != fine {
		t.Errorf("%q is shown as %q", fine, got)
	}
	if got := plain([]byte(fine)); string(got) != fine {
		t.Errorf("%q goes into JSON as %q", fine, got)
	}
}

func TestAComplaintIsOneOfOurOwnLinesAndColours(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{system: system{stderr: &out, env: func(string) string { return "" }}}
	remote, err := status.New(codes.NotFound, "no \x1b[2J\u202e\nsuch").WithDetails(&errdetails.ErrorInfo{Reason: "x\u009b"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Description: "a\u200f\nb"}}})
	if err != nil {
		t.Fatal(err)
	}
	a.complain(remote.Err())
	a.complain(errors.New("of our own\nin two lines, \x1b[31mquoting"))
	if got, want := out.String(), "sluice: no ·[2J··such (x·)\n  - a··b\nsluice: of our own\nin two lines, ·[31mquoting\n"; got != want {
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

// A token that is the only way in is not lost with the file that it was to go to.
func TestATokenThatCouldNotBeWrittenIsTold(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	if err := handOver(func(string) error { return full }, "slc_secret", "init"); !errors.Is(err, full) || !strings.Contains(err.Error(), "slc_secret") {
		t.Errorf("got %v", err)
	}
	kept := ""
	if err := handOver(func(secret string) error { kept = secret; return nil }, "slc_secret", "init"); err != nil || kept != "slc_secret" {
		t.Errorf("kept %q, %v", kept, err)
	}
}
