package transfer_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/transfer"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTheWholeMachine walks every state, message and sender; a change of the table is a change of the golden file, read as a table.
func TestTheWholeMachine(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, from := range transfer.States() {
		for _, on := range transfer.Kinds() {
			for _, by := range []transfer.Role{transfer.Consumer, transfer.Provider} {
				to, err := transfer.Next(from, on, by)
				result := string(to)
				if err != nil {
					if result = "refused"; to != from {
						t.Errorf("%s %s %s: a refused message moves the state to %s", from, on, by, to)
					}
				}
				fmt.Fprintf(&b, "%-10s  %-26s  %-8s  %s\n", from, on, by, result)
			}
		}
	}
	golden(t, "testdata/transitions.golden", b.String())
}

func TestNothingFollowsAFinalState(t *testing.T) {
	t.Parallel()
	for _, row := range transfer.Transitions() {
		if row.From.Final() {
			t.Errorf("%v leaves a final state", row)
		}
	}
}

func TestEitherSideMayTerminateWhatIsNotOver(t *testing.T) {
	t.Parallel()
	for _, from := range transfer.States() {
		for _, by := range []transfer.Role{transfer.Consumer, transfer.Provider} {
			to, err := transfer.Next(from, transfer.Termination, by)
			if from.Final() != (err != nil) || err == nil && to != transfer.Terminated {
				t.Errorf("termination by the %s in %s: %s, %v", by, from, to, err)
			}
		}
	}
}

// TestTheDiagramShowsTheTable prints the machine for people from the rows that run it.
func TestTheDiagramShowsTheTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> INITIAL\n")
	arrows := map[string]int{}
	var lines []string
	for _, row := range transfer.Transitions() {
		key := string(row.From) + " --> " + string(row.To) + ": " + short(string(row.On))
		if i, ok := arrows[key]; ok {
			lines[i] += ", " + string(row.By)
			continue
		}
		arrows[key] = len(lines)
		lines = append(lines, "    "+key+" by "+string(row.By))
	}
	b.WriteString(strings.Join(lines, "\n"))
	for _, s := range transfer.States() {
		if s.Final() {
			b.WriteString("\n    " + string(s) + " --> [*]")
		}
	}
	b.WriteString("\n```\n")
	block(t, "../../docs/state-machines.md", "transfer", b.String())
}

func short(kind string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(kind, "Transfer"), "Message"))
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the table says; run the test with -update and read the difference", file)
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
