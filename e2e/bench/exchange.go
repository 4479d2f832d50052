package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/settings"
)

// pair starts Cobalt and Boreal, and more, all on the kind of store, and publishes the demo's parts.
func pair(ctx context.Context, dir, kind string, change func(string, *connector.Config), more ...network.Member) (*network.Network, error) {
	members := append([]network.Member{
		{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true},
		{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true},
	}, more...)
	if kind == settings.Postgres {
		for i := range members {
			url, err := schema(ctx, "bench_"+members[i].Slug)
			if err != nil {
				return nil, err
			}
			members[i].Store = settings.Store{Kind: settings.Postgres, URL: url}
		}
	}
	n, err := network.Start(ctx, network.Config{Dir: filepath.Join(dir, kind), Now: time.Now, Members: members, Change: change, Log: func(slug string) *slog.Logger {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})).With(slog.String("company", slug))
	}})
	if err != nil {
		return nil, err
	}
	parts, err := os.ReadFile("cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	cobalt := n.Companies["cobalt"]
	got, err := cobalt.Publish(ctx, cobalt.Local, publishing.File{Format: "csv", Template: "pcf", Actor: "bench"}, bytes.NewReader(parts), nil)
	if err != nil || got.Total > 0 {
		return nil, errors.Join(fmt.Errorf("publish: %d faults", got.Total), err, n.Close())
	}
	return n, nil
}

// exchanges measures catalog → agreement → token → first byte, alone and with eight at once.
func exchanges(ctx context.Context, dir string) ([]row, error) {
	var rows []row
	for _, kind := range []string{settings.Embedded, settings.Postgres} {
		n, err := pair(ctx, dir, kind, nil)
		if err != nil {
			return nil, err
		}
		got, err := measure(ctx, n, kind)
		if err := errors.Join(err, n.Close()); err != nil {
			return nil, err
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

func measure(ctx context.Context, n *network.Network, kind string) ([]row, error) {
	cold, err := once(ctx, n)
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for range 100 {
		took, err := once(ctx, n)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	var done atomic.Int64
	var mu sync.Mutex
	var failed error
	begin := time.Now()
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for time.Since(begin) < 8*time.Second {
				if _, err := once(ctx, n); err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
	rate := float64(done.Load()) / time.Since(begin).Seconds()
	p50, p99 := quantile(times, 0.5), quantile(times, 0.99)
	return []row{
		{"exchange to first byte, " + kind + ", p50 / p99 (cold)", "≤ 50 / 150 ms", fmt.Sprintf("%s / %s (%s)", ms(p50), ms(p99), ms(cold)), met(p50 <= 50*time.Millisecond && p99 <= 150*time.Millisecond)},
		{"whole exchanges, 8 at once, both sides here, " + kind, "≥ 100/s", fmt.Sprintf("%.0f/s", rate), met(rate >= 100)},
	}, failed
}

// once runs one exchange with a negotiation of its own and returns the time to the first byte.
func once(ctx context.Context, n *network.Network) (time.Duration, error) {
	boreal, cobalt := n.Companies["boreal"], n.Companies["cobalt"]
	begin := time.Now()
	result, err := boreal.Pull(ctx, boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: sheet.AssetID("CC-21700-50"), Fresh: true, Actor: "bench"})
	if err != nil {
		return 0, err
	}
	defer result.Body.Close()
	if _, err := io.ReadFull(result.Body, make([]byte, 1)); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	_, err = io.Copy(io.Discard, result.Body)
	return took, err
}
