package wallet_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/wallet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTheWholeMachine walks every state and step; a change of the table is a change of the golden file, read as a table.
func TestTheWholeMachine(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, from := range wallet.States() {
		for _, on := range wallet.Steps() {
			to, err := wallet.Next(from, on)
			result := string(to)
			if err != nil {
				if result = "refused"; to != from {
					t.Errorf("%s %s: a refused step moves the state to %s", from, on, to)
				}
			}
			fmt.Fprintf(&b, "%-10s  %-7s  %s\n", from, on, result)
		}
	}
	const file = "testdata/transitions.golden"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNothingFollowsWhatIsRejectedOrGivenUp(t *testing.T) {
	t.Parallel()
	for _, from := range []wallet.State{wallet.Rejected, wallet.Failed} {
		for _, on := range wallet.Steps() {
			if to, err := wallet.Next(from, on); err == nil {
				t.Errorf("%s takes %s and becomes %s", from, on, to)
			}
		}
	}
}

// TestTheDiagramShowsTheTable prints the machine for people from the rows that run it.
func TestTheDiagramShowsTheTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> CREATED\n    [*] --> REQUESTING\n")
	for _, row := range wallet.Transitions() {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", row.From, row.To, row.On)
	}
	for _, s := range wallet.States() {
		if s.Over() {
			fmt.Fprintf(&b, "    %s --> [*]\n", s)
		}
	}
	b.WriteString("```\n")
	const file, begin, end = "../../docs/state-machines.md", "<!-- begin wallet -->\n", "<!-- end wallet -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no such part", file)
	}
	if *update && old != b.String() {
		if err := os.WriteFile(file, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != b.String() {
		t.Errorf("%s is not what the table says; run the test with -update", file)
	}
}
