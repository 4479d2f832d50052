package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/publishing"
)

// rates measures whole exchanges, catalog to bytes with a negotiation of their own, of EDC with EDC and of us with us, one after the other.
func rates(ctx context.Context, lib string) error {
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("| who with itself | one after the other, catalog to bytes | eight at once | failed |\n| --- | --- | --- | --- |")
	for _, wait := range []int{0, 50} {
		loops := "default loops"
		if wait > 0 {
			loops = fmt.Sprintf("loops of %d ms", wait)
		}
		if err := edcRate(ctx, filepath.Join(dir, fmt.Sprint(wait)), lib, wait, "EDC "+releases[0]+", "+loops+", in memory"); err != nil {
			return err
		}
	}
	return ourRate(ctx, dir)
}

// edcRate lets one runtime of EDC buy from another.
func edcRate(ctx context.Context, dir, lib string, wait int, name string) error {
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(ours)) }))
	defer source.Close()
	var sides []*edc
	for _, id := range []string{"did:web:seller.example", "did:web:buyer.example"} {
		e, err := prepare(ctx, id, filepath.Join(dir, strings.ReplaceAll(id, ":", "-")), lib, wait)
		if err != nil {
			return err
		}
		defer e.stop()
		if err := e.start(ctx); err != nil {
			return err
		}
		sides = append(sides, e)
	}
	if err := sides[0].seed(ctx, source.URL); err != nil {
		return err
	}
	f := &field{edc: sides[1], seller: seller{sides[0].id, sides[0].protocol() + "/2025-1"}}
	return measure(name, func() error {
		p, err := f.pulling(ctx, "open")
		if err != nil {
			return err
		}
		return p.served(ctx, true)
	})
}

// ourRate does the same with two of our companies: each message over TLS, each sender proven, each step on disk before its answer.
func ourRate(ctx context.Context, dir string) (err error) {
	n, err := network.Start(ctx, network.Config{Dir: filepath.Join(dir, "ours"), Now: time.Now,
		Members: []network.Member{{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true},
			{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true}},
		Log: func(string) *slog.Logger { return slog.New(slog.DiscardHandler) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	parts, err := os.Open("cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		return err
	}
	defer parts.Close()
	boreal, cobalt := n.Companies["boreal"], n.Companies["cobalt"]
	got, err := cobalt.Publish(ctx, cobalt.Local, publishing.File{Format: "csv", Template: "pcf", Actor: "interop"}, parts, nil)
	if err != nil || got.Total > 0 {
		return fmt.Errorf("publish: %d faults: %w", got.Total, err)
	}
	return measure("Sluice, identities proven, on disk", func() error {
		got, err := boreal.Pull(ctx, boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: sheet.AssetID("CC-21700-50"), Fresh: true, Actor: "interop"})
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, got.Body)
		return errors.Join(err, got.Body.Close())
	})
}

// measure prints a row: the times of exchanges one after the other, and the rate of eight at once. An exchange that fails is counted, not timed.
func measure(name string, once func() error) error {
	for range 3 { // caches and compilers get warm
		_ = once()
	}
	var failed []error
	var times []time.Duration
	for begin := time.Now(); time.Since(begin) < 15*time.Second; {
		one := time.Now()
		if err := once(); err != nil {
			failed = append(failed, err)
			continue
		}
		times = append(times, time.Since(one))
	}
	if len(times) == 0 {
		return errors.Join(failed...)
	}
	slices.Sort(times)
	var mu sync.Mutex
	done, begin := 0, time.Now()
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for time.Since(begin) < 15*time.Second {
				err := once()
				mu.Lock()
				if err != nil {
					failed = append(failed, err)
				} else {
					done++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	rate := float64(done) / time.Since(begin).Seconds()
	fmt.Printf("| %s | p50 %d ms, longest %d ms | %.1f/s | %d of %d |\n", name, times[len(times)/2].Milliseconds(), times[len(times)-1].Milliseconds(), rate,
		len(failed), len(failed)+len(times)+done)
	if len(failed) > 0 {
		fmt.Fprintln(os.Stderr, failed[0])
	}
	return nil
}
