package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"time"
)

// wanted are the markers that a run must reach, each at least once.
var wanted = []string{
	"agreement met a termination", "agreements concluded", "an operator approved what was held", "answer lost after agreement",
	"counter-offer by the consumer", "counter-offer by the provider", "crash between commit and answer", "crash in the middle of a group commit",
	"crash with an owed message", "duplicate after final", "look after a refusal", "power lost in the middle of a step", "provider began",
	"refusal on record", "retirement of a start on its way", "retirement racing a start", "start ended what a retirement had left", "start met an ending",
	"suspensions crossed", "termination crossing an agreement", "transfer: resume by the consumer", "transfer: resume by the provider",
}

// Run is what came of many seeds.
type Run struct {
	Seeds   int
	Failed  []Result
	Faults  map[string]int
	Markers map[string]int
	Took    time.Duration
}

// Missing lists the markers that were not reached.
func (r Run) Missing() []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(m string) bool { return r.Markers[m] > 0 })
}

// run plays seeds, several at once, and tells each result.
func run(ctx context.Context, from uint64, seeds int, tell func(Result)) Run {
	began := time.Now()
	r := Run{Faults: map[string]int{}, Markers: map[string]int{}}
	numbers, results := make(chan uint64), make(chan Result)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := range numbers {
				results <- play(n)
			}
		})
	}
	go func() {
		defer close(results)
		defer workers.Wait()
		defer close(numbers)
		for n := range uint64(seeds) {
			select {
			case numbers <- from + n:
			case <-ctx.Done():
				return
			}
		}
	}()
	for one := range results {
		r.Seeds++
		if one.Failure != "" {
			r.Failed = append(r.Failed, one)
		}
		add(r.Faults, one.Faults)
		add(r.Markers, one.Markers)
		tell(one)
	}
	r.Took = time.Since(began)
	return r
}

func add(to, from map[string]int) {
	for k, n := range from {
		to[k] += n
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	seeds := flag.Int("seeds", 3000, "how many seeds are played")
	from := flag.Uint64("from", 1, "the first of them")
	verbose := flag.Bool("v", false, "print the trace of every seed")
	twice := flag.Bool("twice", false, "play every seed twice and compare the traces")
	flag.Parse()
	os.Exit(simulate(ctx, os.Stdout, *from, *seeds, *verbose, *twice))
}

// enough seeds reach every marker; fewer are played to look at them.
const enough = 500

// tail is how much of a failing trace is printed.
const tail = 40

func simulate(ctx context.Context, out io.Writer, from uint64, seeds int, verbose, twice bool) int {
	code := 0
	r := run(ctx, from, seeds, func(one Result) {
		if verbose {
			for _, line := range one.Trace {
				fmt.Fprintln(out, line)
			}
		}
		if one.Failure != "" {
			fmt.Fprintf(out, "seed %d FAILED: %s\n", one.Seed, one.Failure)
			if !verbose {
				for _, line := range one.Trace[max(0, len(one.Trace)-tail):] {
					fmt.Fprintln(out, "  ", line)
				}
			}
			fmt.Fprintf(out, "   again: go run ./e2e/simulate -from %d -seeds 1 -v\n", one.Seed)
		}
		if twice {
			if again := play(one.Seed); again.Digest() != one.Digest() {
				fmt.Fprintf(out, "seed %d has two traces: %s and %s\n", one.Seed, one.Digest(), again.Digest())
				code = 1
			}
		}
	})
	fmt.Fprintf(out, "%d seeds in %s, %.0f a second, %d failed\n", r.Seeds, r.Took.Round(time.Millisecond), float64(r.Seeds)/r.Took.Seconds(), len(r.Failed))
	table(out, "faults injected", r.Faults)
	table(out, "markers reached", r.Markers)
	if missing := r.Missing(); len(missing) > 0 && r.Seeds >= enough {
		fmt.Fprintf(out, "NOT REACHED: %q: the run proves too little\n", missing)
		code = 1
	}
	if len(r.Failed) > 0 {
		code = 1
	}
	return code
}

func table(out io.Writer, title string, counts map[string]int) {
	fmt.Fprintln(out, title)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "  %8d  %s\n", counts[k], k)
	}
}
