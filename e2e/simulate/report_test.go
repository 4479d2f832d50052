package simulate

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 0, "how many seeds are played; 0: a few")
	from  = flag.Uint64("from", 1, "the first of them")
	twice = flag.Int("twice", 0, "how many of them are played twice, and must give the same trace")
	trace = flag.Bool("trace", false, "print the trace of every seed")
)

// TestMain leaves more garbage than usual: a seed's stores are thrown away as a whole.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	m.Run()
}

// wanted are the markers that a run must reach, each at least once.
var wanted = []string{
	"agreement met a termination", "agreements concluded", "an operator approved what was held", "answer cut before its body, after the commit",
	"answer cut before it began, after the commit", "answer cut in its body, after the commit", "answer lost after agreement",
	"counter-offer by the consumer", "counter-offer by the provider", "crash between commit and answer", "crash in the middle of a group commit",
	"crash with an owed message", "deadline of an operator passed", "duplicate after final", "ended before the peer had answered", "look after a refusal",
	"power lost in the middle of a step", "provider began", "refusal on record", "request arrived after its sender had given up",
	"request cut before its body", "request cut in its body", "retirement of a start on its way", "retirement racing a start",
	"start ended what a retirement had left", "start met an ending", "suspensions crossed", "termination crossing an agreement",
	"transfer: resume by the consumer", "transfer: resume by the provider",
}

// Run is what came of many seeds.
type Run struct {
	Seeds, Again int
	Events       int
	Failed       []*Result
	Unlike       []*Result // that gave another trace the second time
	Faults       map[string]int
	Markers      map[string]int
	Took         time.Duration
}

// Missing lists the markers that were not reached.
func (r Run) Missing() []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(m string) bool { return r.Markers[m] > 0 })
}

// run plays seeds, several at once, the first of them twice, and tells how each ended.
func run(t *testing.T, from uint64, seeds, twice int, tell func(Run, *Result)) Run {
	began := time.Now()
	w := begin(t)
	r := Run{Faults: map[string]int{}, Markers: map[string]int{}}
	var mu sync.Mutex
	next := uint64(0)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= uint64(seeds)
	}
	t.Run("seed", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for n, more := take(); more; n, more = take() {
					one := w.play(t, from+n)
					var again *Result
					if n < uint64(twice) {
						again = w.play(t, from+n)
					}
					mu.Lock()
					r.add(one, again)
					tell(r, one)
					mu.Unlock()
				}
			})
		}
	})
	r.Took = time.Since(began)
	return r
}

func (r *Run) add(one, again *Result) {
	r.Seeds++
	r.Events += one.Events
	if one.Failed {
		r.Failed = append(r.Failed, one)
	}
	if again != nil {
		r.Again++
		if again.Digest() != one.Digest() {
			r.Unlike = append(r.Unlike, one)
		}
	}
	add(r.Faults, one.Faults)
	add(r.Markers, one.Markers)
}

func add(to, from map[string]int) {
	for k, n := range from {
		to[k] += n
	}
}

// enough seeds reach every marker; fewer are played to look at them.
const enough = 1000

// tail is how much of a failing trace is printed.
const tail = 40

// TestUnderFire plays what the flags say, and reports it.
func TestUnderFire(t *testing.T) {
	if *seeds == 0 {
		t.Log("make simulate plays many; the other tests play a few")
		return
	}
	out := os.Stdout
	progress := terminal(os.Stderr)
	r := run(t, *from, *seeds, *twice, func(r Run, one *Result) {
		switch {
		case one.Failed:
			fmt.Fprintf(out, "seed %d FAILED; again: make simulate FROM=%d SEEDS=1 TRACE=1\n", one.Seed, one.Seed)
			if !*trace {
				fmt.Fprintln(out, "   "+strings.Join(one.Trace[max(0, len(one.Trace)-tail):], "\n   "))
			}
		case progress:
			fmt.Fprintf(os.Stderr, "\r%d of %d seeds, %d failed ", r.Seeds, *seeds, len(r.Failed))
		}
		if *trace {
			fmt.Fprintln(out, strings.Join(one.Trace, "\n"))
		}
	})
	if progress {
		fmt.Fprintln(os.Stderr)
	}
	r.print(out)
	for _, one := range r.Unlike {
		t.Errorf("seed %d has two traces; again: make simulate FROM=%d SEEDS=1 TWICE=1", one.Seed, one.Seed)
	}
	if missing := r.Missing(); len(missing) > 0 && r.Seeds >= enough {
		t.Errorf("not reached: %q: the run proves too little", missing)
	}
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (r Run) print(out io.Writer) {
	fmt.Fprintf(out, "%d seeds in %s, %.1f a second, %d failed\n", r.Seeds, r.Took.Round(time.Millisecond), float64(r.Seeds+r.Again)/r.Took.Seconds(), len(r.Failed))
	fmt.Fprintf(out, "%d of them twice, %d with two traces; %d events\n", r.Again, len(r.Unlike), r.Events)
	table(out, "faults injected", r.Faults)
	table(out, "markers reached", r.Markers)
}

func table(out io.Writer, title string, counts map[string]int) {
	fmt.Fprintln(out, title)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "  %8d  %s\n", counts[k], k)
	}
}
