package negotiation_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/negotiation"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestTheWholeMachine walks every state, message and sender; a change of the table is a change of the golden file, read as a table.
func TestTheWholeMachine(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, from := range negotiation.States() {
		for _, on := range negotiation.Kinds() {
			for _, by := range []negotiation.Role{negotiation.Consumer, negotiation.Provider} {
				to, err := negotiation.Next(from, on, by)
				result := string(to)
				if err != nil {
					if result = "refused"; to != from {
						t.Errorf("%s %s %s: a refused message moves the state to %s", from, on, by, to)
					}
				}
				fmt.Fprintf(&b, "%-10s  %-42s  %-8s  %s\n", from, on, by, result)
			}
		}
	}
	golden(t, "testdata/transitions.golden", b.String())
}

func TestNothingFollowsAFinalState(t *testing.T) {
	t.Parallel()
	for _, row := range negotiation.Transitions() {
		if row.From.Final() {
			t.Errorf("%v leaves a final state", row)
		}
	}
}

func TestEitherSideMayTerminateWhatIsNotOver(t *testing.T) {
	t.Parallel()
	for _, from := range negotiation.States() {
		for _, by := range []negotiation.Role{negotiation.Consumer, negotiation.Provider} {
			to, err := negotiation.Next(from, negotiation.Termination, by)
			if from.Final() != (err != nil) || err == nil && to != negotiation.Terminated {
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
	for _, row := range negotiation.Transitions() {
		key := string(row.From) + " --> " + string(row.To) + ": " + short(string(row.On))
		if i, ok := arrows[key]; ok {
			lines[i] += ", " + string(row.By)
			continue
		}
		arrows[key] = len(lines)
		lines = append(lines, "    "+key+" by "+string(row.By))
	}
	b.WriteString(strings.Join(lines, "\n"))
	for _, s := range negotiation.States() {
		if s.Final() {
			b.WriteString("\n    " + string(s) + " --> [*]")
		}
	}
	b.WriteString("\n```\n")
	block(t, "../../docs/state-machines.md", "negotiation", b.String())
}

// words shortens the names of messages for the diagram.
var words = strings.NewReplacer("ContractNegotiation", "", "ContractAgreementVerification", "verification", "Contract", "", "Message", "")

func short(kind string) string {
	kind, event, _ := strings.Cut(kind, ":")
	if event != "" {
		return strings.ToLower(event)
	}
	return strings.ToLower(words.Replace(kind))
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
