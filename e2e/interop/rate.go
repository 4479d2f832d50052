package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/kits"
)

// How much is measured. Each connector warms up first: its compiler has seen the code, and its caches are full.
const (
	warm    = 15 * time.Second
	samples = 100               // exchanges one after the other,
	most    = 120 * time.Second // or as many as are done by then
	rating  = 20 * time.Second  // and then as many as it can, some at once
)

// crowds are how many exchanges are under way at once when the rate is taken.
var crowds = [2]int{8, 32}

// The steps of an exchange.
const (
	toCatalog = iota
	toAgreement
	toToken
	toFirstByte
	steps
)

// exchanged is how long each step of one exchange took.
type exchanged [steps]time.Duration

// figures are what was measured of one connector that trades with itself.
type figures struct {
	name, store string
	took        []exchanged
	rate        [len(crowds)]float64
	failed, all int
	first       error // the first failure
}

// rates measures whole exchanges, each with a negotiation of its own, of EDC with EDC and of us with us, one after the other, and prints them.
func rates(ctx context.Context, lib string) error {
	if err := errors.Join(check(releases[0], lib), check(releases[0]+stores, lib+stores)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	debug.SetGCPercent(connector.GCPercent) // as sluice serve does
	var rivals, own []figures
	for _, wait := range []int{0, 50} {
		for _, kind := range []string{"memory", "PostgreSQL"} {
			got, err := edcFigures(ctx, filepath.Join(dir, fmt.Sprint(kind, wait)), lib, wait, kind)
			if err != nil {
				return err
			}
			rivals = append(rivals, got)
		}
	}
	for _, kind := range []string{"embedded", "PostgreSQL"} {
		got, err := ourFigures(ctx, filepath.Join(dir, "ours", kind), kind)
		if err != nil {
			return err
		}
		own = append(own, got)
	}
	print(rivals, own)
	return ctx.Err()
}

// inbox keeps what EDC told, by process, until somebody asks for it.
type inbox struct {
	mu   sync.Mutex
	told map[string]chan event
}

func (b *inbox) of(process string) chan event {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told[process] == nil {
		b.told[process] = make(chan event, 1)
	}
	return b.told[process]
}

func (b *inbox) hear(e event) {
	select {
	case b.of(e.Payload.Negotiation + e.Payload.Transfer) <- e:
	default: // how it began to end is told already
	}
}

// until waits for what EDC tells of the process, which must be the event.
func (b *inbox) until(ctx context.Context, process, kind string) (e event, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	select {
	case e = <-b.of(process):
	case <-ctx.Done():
		return e, fmt.Errorf("not within a minute: %s", kind)
	}
	b.mu.Lock()
	delete(b.told, process)
	b.mu.Unlock()
	if e.Type != kind {
		err = fmt.Errorf("%s, want %s: %s", e.Type, kind, e.Payload.Reason)
	}
	return e, err
}

// edcFigures lets one runtime of EDC buy from another.
func edcFigures(ctx context.Context, dir, lib string, wait int, kind string) (f figures, err error) {
	f = figures{name: "EDC, default loops", store: kind}
	if wait > 0 {
		f.name = fmt.Sprintf("EDC, loops of %d ms", wait)
	}
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(ours)) }))
	defer source.Close()
	told := &inbox{told: map[string]chan event{}}
	listener := listen(told.hear)
	defer listener.Close()
	sides := map[string]*edc{}
	for _, side := range []string{"seller", "buyer"} {
		e := &edc{jvm: jvm{dir: filepath.Join(dir, side)}, id: "did:web:" + side + ".example", lib: lib, wait: wait}
		if side == "buyer" {
			e.listener = listener.URL
			e.topics = []string{"contract.negotiation.finalized", "contract.negotiation.terminated", "transfer.process.started", "transfer.process.terminated"}
		}
		if kind == "PostgreSQL" {
			if e.database, err = kits.Schema(ctx, fmt.Sprintf("edc_%s_%d", side, wait)); err != nil {
				return f, err
			}
		}
		if _, err = prepare(ctx, e); err != nil {
			return f, err
		}
		defer e.stop()
		if err = e.start(ctx); err != nil {
			return f, err
		}
		sides[side] = e
	}
	if err = sides["seller"].seed(ctx, source.URL); err != nil {
		return f, err
	}
	market := &field{edc: sides["buyer"], seller: seller{sides["seller"].id, sides["seller"].protocol() + "/2025-1"}}
	err = f.measure(ctx, func() (exchanged, error) { return market.bought(ctx, told) })
	return f, err
}

// bought is one exchange, each step begun by what EDC tells of the last.
func (f *field) bought(ctx context.Context, told *inbox) (took exchanged, err error) {
	begin := time.Now()
	done := func(step int) { took[step], begin = time.Since(begin), time.Now() }
	d, err := f.dataset(ctx, "open")
	if err != nil {
		return took, err
	}
	done(toCatalog)
	negotiation, err := f.requestFor(ctx, d)
	if err != nil {
		return took, err
	}
	agreed, err := told.until(ctx, negotiation, "ContractNegotiationFinalized")
	if err != nil {
		return took, err
	}
	done(toAgreement)
	p := pulling{}
	if p.id, err = f.transferOf(ctx, agreed.Payload.Agreement.ID); err != nil {
		return took, err
	}
	started, err := told.until(ctx, p.id, "TransferProcessStarted")
	if err != nil {
		return took, err
	}
	done(toToken)
	p.address(started.Payload.Address.Properties)
	err = p.served(ctx, true)
	done(toFirstByte)
	return took, err
}

// ourFigures are those of two of our companies: each message over TLS, each sender proven, each step on disk before its answer.
func ourFigures(ctx context.Context, dir, kind string) (f figures, err error) {
	f = figures{name: "Sluice", store: kind}
	members := []network.Member{{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true},
		{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true}}
	if kind == "PostgreSQL" {
		for i := range members {
			var address *url.URL
			if address, err = kits.Schema(ctx, "sluice_"+members[i].Slug); err != nil {
				return f, err
			}
			members[i].Store = settings.Store{Kind: settings.Postgres, URL: address.String()}
		}
	}
	n, err := network.Start(ctx, network.Config{Dir: dir, Now: time.Now, Members: members,
		Log: func(string) *slog.Logger { return slog.New(slog.DiscardHandler) }})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	parts, err := os.ReadFile("cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		return f, err
	}
	boreal, cobalt := n.Companies["boreal"], n.Companies["cobalt"]
	got, err := cobalt.Publish(ctx, cobalt.Local, publishing.File{Format: "csv", Template: "pcf", Actor: "interop"}, bytes.NewReader(parts), nil)
	if err != nil || got.Total > 0 {
		return f, fmt.Errorf("publish: %d faults: %w", got.Total, err)
	}
	err = f.measure(ctx, func() (took exchanged, err error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		begin := time.Now()
		got, err := boreal.Pull(ctx, boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: sheet.AssetID("CC-21700-50"), Fresh: true, Actor: "interop"})
		if err != nil {
			return took, err
		}
		_, err = io.ReadFull(got.Body, make([]byte, 1))
		took[toFirstByte] = time.Since(begin)
		if err == nil {
			_, err = io.Copy(io.Discard, got.Body)
		}
		if err = errors.Join(err, got.Body.Close()); err == nil {
			// Nothing stays open: a peer may have so many transfers under way and no more.
			_, err = boreal.Transfers().Complete(ctx, boreal.Local, got.Transfer, commit.Order{Actor: "interop"})
		}
		return took, err
	})
	return f, err
}

// measure takes the times of exchanges one after the other, then the rates of many at once. An exchange that fails is counted, not timed.
func (f *figures) measure(ctx context.Context, once func() (exchanged, error)) error {
	fmt.Fprintf(os.Stderr, "interop: %s, %s\n", f.name, f.store)
	f.crowd(ctx, crowds[0], warm, once)
	f.failed, f.all, f.first = 0, 0, nil
	for begin := time.Now(); len(f.took) < samples && time.Since(begin) < most && ctx.Err() == nil; {
		took, err := once()
		f.count(err)
		if err == nil {
			f.took = append(f.took, took)
		}
	}
	if len(f.took) == 0 {
		return fmt.Errorf("%s, %s: %w", f.name, f.store, f.first)
	}
	for i, n := range crowds {
		f.rate[i] = f.crowd(ctx, n, rating, once)
	}
	if f.first != nil {
		fmt.Fprintf(os.Stderr, "interop: %s, %s, the first failure: %v\n", f.name, f.store, f.first)
	}
	return nil
}

func (f *figures) count(err error) {
	f.all++
	if err != nil {
		f.failed++
		if f.first == nil {
			f.first = err
		}
	}
}

// crowd keeps n exchanges under way for the time, lets them end, and returns how many succeeded in a second.
func (f *figures) crowd(ctx context.Context, n int, until time.Duration, once func() (exchanged, error)) float64 {
	var mu sync.Mutex
	done, begin := 0, time.Now()
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for time.Since(begin) < until && ctx.Err() == nil {
				_, err := once()
				mu.Lock()
				f.count(err)
				if err == nil {
					done++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return float64(done) / time.Since(begin).Seconds()
}

// quantile is that of the whole exchange, or of one of its steps.
func (f figures) quantile(q float64, parts ...int) time.Duration {
	var times []time.Duration
	for _, took := range f.took {
		var sum time.Duration
		for _, step := range parts {
			sum += took[step]
		}
		times = append(times, sum)
	}
	slices.Sort(times)
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

func (f figures) total(q float64) time.Duration {
	return f.quantile(q, toCatalog, toAgreement, toToken, toFirstByte)
}

// print writes the tables of docs/benchmarks.md. Ours on the embedded store stands against EDC in memory.
func print(rivals, own []figures) {
	rows := [][]string{{"with itself", "state in", "p50", "p99", "of", "8 at once", "32 at once", "failed"}}
	for _, f := range append(slices.Clone(rivals), own...) {
		rows = append(rows, []string{f.name, f.store, ms(f.total(0.5)), ms(f.total(0.99)), fmt.Sprint(len(f.took)), fmt.Sprintf("%.1f/s", f.rate[0]),
			fmt.Sprintf("%.1f/s", f.rate[1]), fmt.Sprintf("%d of %d", f.failed, f.all)})
	}
	markdown(rows)
	rows = [][]string{{"EDC", "against us on", "p50", "p99", "8 at once", "32 at once"}}
	for i, f := range rivals {
		o := own[i%len(own)]
		times := func(q float64) string { return fmt.Sprintf("%.1f ×", float64(f.total(q))/float64(o.total(q))) }
		part := func(i int) string { return fmt.Sprintf("1 / %.1f", o.rate[i]/f.rate[i]) }
		rows = append(rows, []string{f.name[len("EDC, "):] + ", " + f.store, o.store, times(0.5), times(0.99), part(0), part(1)})
	}
	markdown(rows)
	rows = [][]string{{"EDC's steps, p50", "catalog", "agreement", "of 4 messages each", "token", "of 2 messages each", "bytes"}}
	for _, f := range rivals {
		rows = append(rows, []string{f.name[len("EDC, "):] + ", " + f.store, ms(f.quantile(0.5, toCatalog)), ms(f.quantile(0.5, toAgreement)), ms(f.quantile(0.5, toAgreement) / 4),
			ms(f.quantile(0.5, toToken)), ms(f.quantile(0.5, toToken) / 2), ms(f.quantile(0.5, toFirstByte))})
	}
	markdown(rows)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }

// markdown prints a table whose columns stand under each other; the first row is the head.
func markdown(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	line := func(cells []string, fill string) {
		var b strings.Builder
		for i, cell := range cells {
			b.WriteString("| " + cell + strings.Repeat(fill, widths[i]-len([]rune(cell))) + " ")
		}
		fmt.Println(b.String() + "|")
	}
	line(rows[0], " ")
	line(make([]string, len(rows[0])), "-")
	for _, row := range rows[1:] {
		line(row, " ")
	}
	fmt.Println()
}
