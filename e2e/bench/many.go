package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/settings"
)

// crowd is how many negotiations are open at once.
const crowd = 10_000

// many begins 10,000 negotiations that wait for the provider's operator, so that all are open at once, and then approves them all.
func many(ctx context.Context, dir string) ([]row, error) {
	n, err := pair(ctx, dir, settings.Embedded, func(_ string, cfg *connector.Config) { cfg.Settings.Limits.OpenProcesses = 2 * crowd })
	if err != nil {
		return nil, err
	}
	defer n.Close()
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	parts, err := os.ReadFile("cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		return nil, err
	}
	published, err := cobalt.Publish(ctx, cobalt.Local, publishing.File{Format: "csv", Template: "pcf", Approval: true, Actor: "bench"}, bytes.NewReader(parts), nil)
	if err != nil || published.Total > 0 {
		return nil, errors.Join(err, fmt.Errorf("publish: %d faults", published.Total))
	}
	shown, err := boreal.Dataset(ctx, boreal.Local, cobalt.Local.DID, sheet.AssetID("CC-21700-50"))
	if err != nil {
		return nil, err
	}
	offer := negotiation.Offer{ID: shown.Offers[0].ID, Target: shown.ID, Policy: shown.Offers[0].Policy}
	begin := time.Now()
	err = each(crowd, func(int) error {
		_, err := boreal.Negotiations().Begin(ctx, boreal.Local, negotiation.BeginRequest{Peer: cobalt.Local.DID, Offer: offer, Actor: "bench"})
		return err
	})
	if err != nil {
		return nil, err
	}
	waiting, err := settled(ctx, cobalt, negotiation.Filter{Held: true})
	if err != nil {
		return nil, err
	}
	opened := time.Since(begin)
	err = each(len(waiting), func(i int) error {
		_, err := cobalt.Negotiations().Approve(ctx, cobalt.Local, waiting[i], commit.Order{Actor: "bench"})
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := settled(ctx, boreal, negotiation.Filter{State: negotiation.Finalized}); err != nil {
		return nil, err
	}
	most, err := memory("VmHWM")
	return []row{{"10,000 negotiations open at once, all finish; most memory, both sides in one process", "≤ 512 MiB each", fmt.Sprintf("%d MiB both (open after %.0f s, finished after %.0f s)",
		most>>20, opened.Seconds(), time.Since(begin).Seconds()), met(most>>20 <= 1024)}}, err
}

// settled waits until the company has all of the crowd in the state, and returns their ids.
func settled(ctx context.Context, c *network.Company, f negotiation.Filter) ([]string, error) {
	for {
		var ids []string
		for r := (page.Request{Limit: page.MaxLimit}); ; {
			got, err := c.Negotiations().List(ctx, c.Local, f, r)
			if err != nil {
				return nil, err
			}
			for _, n := range got.Items {
				ids = append(ids, n.ID)
			}
			if r.After = got.Next; r.After.ID == "" {
				break
			}
		}
		if len(ids) >= crowd {
			return ids, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// each calls do for 0 to n-1, 32 at a time, and returns the first failure.
func each(n int, do func(i int) error) error {
	var workers sync.WaitGroup
	var mu sync.Mutex
	var failed error
	next := make(chan int)
	for range 32 {
		workers.Go(func() {
			for i := range next {
				err := do(i)
				for fault.Is(err, fault.Unavailable) { // busy: it says to come again
					err = do(i)
				}
				if err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	return failed
}
