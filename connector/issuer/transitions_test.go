package issuer_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/issuer"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTheWholeMachine walks every state and step; a change of the table is a change of the golden file, read as a table.
func TestTheWholeMachine(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, from := range issuer.States() {
		for _, on := range issuer.Steps() {
			to, err := issuer.Next(from, on)
			result := string(to)
			if err != nil {
				if result = "refused"; to != from {
					t.Errorf("%s %s: a refused step moves the state to %s", from, on, to)
				}
			}
			if err == nil && from.Final() {
				t.Errorf("%s %s leaves a final state", from, on)
			}
			fmt.Fprintf(&b, "%-9s  %-7s  %s\n", from, on, result)
		}
	}
	for _, from := range []issuer.Standing{issuer.Good, issuer.Suspended, issuer.Revoked} {
		for _, to := range []issuer.Standing{issuer.Good, issuer.Suspended, issuer.Revoked} {
			moves, err := issuer.Change(from, to)
			result := map[bool]string{true: "changes", false: "stays"}[moves]
			if err != nil {
				if result = "refused"; !fault.Is(err, fault.Conflict) {
					t.Errorf("%s to %s: %v", from, to, err)
				}
			}
			fmt.Fprintf(&b, "%-9s  %-9s  %s\n", from, to, result)
		}
	}
	golden(t, "testdata/transitions.golden", b.String())
}

// TestTheDiagramShowsTheTable prints the machine for people from the rows that run it.
func TestTheDiagramShowsTheTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> SUBMITTED\n    [*] --> APPROVED\n    [*] --> REJECTED\n")
	for _, from := range issuer.States() {
		for _, on := range issuer.Steps() {
			if to, err := issuer.Next(from, on); err == nil {
				fmt.Fprintf(&b, "    %s --> %s: %s\n", from, to, on)
			}
		}
		if from.Final() {
			fmt.Fprintf(&b, "    %s --> [*]\n", from)
		}
	}
	b.WriteString("```\n")
	block(t, "../../docs/state-machines.md", "issuer", b.String())
}

func TestARevokedCredentialStaysRevoked(t *testing.T) {
	t.Parallel()
	for _, to := range []issuer.Standing{issuer.Good, issuer.Suspended} {
		if _, err := issuer.Change(issuer.Revoked, to); err == nil {
			t.Errorf("a revoked credential became %s", to)
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs: run with -update and read the diff\n%s", path, got)
	}
}

// block compares the part of a document between its markers.
func block(t *testing.T, file, name, got string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no part marked %q", file, name)
	}
	if *update && old != got {
		if err := os.WriteFile(file, []byte(before+begin+got+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != got {
		t.Errorf("%s, part %q, is not what the table says; run the test with -update", file, name)
	}
}
