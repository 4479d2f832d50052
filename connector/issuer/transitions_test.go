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
