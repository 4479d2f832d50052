package simulate

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/process"
)

// seedsOf is how many seeds a test plays: a sample of what make simulate plays.
func seedsOf(t *testing.T, many, few int) int {
	if testing.Short() {
		return few
	}
	t.Helper()
	return many
}

func TestWhatTheFireLeavesIsLegalAndOnRecord(t *testing.T) {
	t.Parallel()
	run(t, 1, seedsOf(t, 40, 5), 0, func(_ Run, r *Result) {
		if r.Failed {
			t.Log("seed", r.Seed, strings.Join(r.Trace[max(0, len(r.Trace)-tail):], "\n"))
		}
	})
}

func TestTheSameSeedGivesTheSameTrace(t *testing.T) {
	t.Parallel()
	digests := map[string]bool{}
	seeds := seedsOf(t, 15, 3)
	for _, r := range run(t, 100, seeds, seeds, func(_ Run, r *Result) { digests[r.Digest()] = true }).Unlike {
		t.Errorf("seed %d has two traces", r.Seed)
	}
	if len(digests) != seeds {
		t.Errorf("%d seeds have %d traces: the seed decides nothing", seeds, len(digests))
	}
}

// TestAnIllegalHistoryIsFound shows that the judge can say no.
func TestAnIllegalHistoryIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name               string
		provider, consumer string
		legal              bool
	}{
		{"both went all the way", "REQUESTED AGREED VERIFIED FINALIZED", "REQUESTED AGREED VERIFIED FINALIZED", true},
		{"the provider did not hear how its agreement arrived", "REQUESTED VERIFIED FINALIZED", "REQUESTED AGREED VERIFIED FINALIZED", true},
		{"the consumer did not hear the end", "REQUESTED AGREED VERIFIED FINALIZED", "REQUESTED AGREED VERIFIED", true},
		{"both ended it at once", "REQUESTED AGREED TERMINATED", "REQUESTED TERMINATED", true},
		{"counter-offers whose arrival nobody heard", "REQUESTED REQUESTED REQUESTED AGREED VERIFIED FINALIZED", "REQUESTED OFFERED OFFERED AGREED FINALIZED", true},
		{"the consumer verified what it never saw", "REQUESTED AGREED VERIFIED FINALIZED", "REQUESTED VERIFIED FINALIZED", false},
		{"nobody asked for the agreement", "AGREED VERIFIED", "AGREED VERIFIED", false},
		{"one was offered what the other had agreed", "REQUESTED AGREED VERIFIED", "REQUESTED OFFERED ACCEPTED", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if legal := holds(negotiations, strings.Fields(c.provider), strings.Fields(c.consumer)); legal != c.legal {
				t.Errorf("provider %s, consumer %s: legal %t, want %t", c.provider, c.consumer, legal, c.legal)
			}
		})
	}
	if got := negotiations("REQUESTED"); !slices.Contains(got, edge{"AGREED", process.Provider}) {
		t.Errorf("the machine of negotiations has no agreement: %v", got)
	}
}

func TestARunThatMissesAMarkerNamesIt(t *testing.T) {
	t.Parallel()
	r := Run{Markers: map[string]int{}}
	for _, m := range wanted[1:] {
		r.Markers[m] = 1
	}
	if got := r.Missing(); !slices.Equal(got, wanted[:1]) {
		t.Errorf("missing %q, want %q", got, wanted[:1])
	}
}
