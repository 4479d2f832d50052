package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// large is the size of the body that must not be felt in memory.
const large = 10 << 30

// long pulls one body of 10 GiB through our data plane and through nginx, and watches our memory meanwhile.
func long(ctx context.Context, client *http.Client, address transfer.Address, front string) ([]row, error) {
	buffer := make([]byte, 256<<10)
	before, err := memory("VmRSS")
	if err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	var most atomic.Int64
	var watch sync.WaitGroup
	watch.Go(func() {
		for watching.Err() == nil {
			if now, err := memory("VmRSS"); err == nil && now > most.Load() {
				most.Store(now)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	begin := time.Now()
	err = fetch(ctx, client, address.Endpoint, address.Properties[transfer.PropertyToken], buffer)
	ours := time.Since(begin)
	stop()
	watch.Wait()
	if err != nil {
		return nil, fmt.Errorf("ours: %w", err)
	}
	begin = time.Now()
	if err := fetch(ctx, client, front, "", buffer); err != nil {
		return nil, fmt.Errorf("nginx: %w", err)
	}
	theirs := time.Since(begin)
	ratio, grown := theirs.Seconds()/ours.Seconds(), max(most.Load()-before, 0)>>20
	rate := func(d time.Duration) float64 { return large / d.Seconds() / (1 << 20) }
	return []row{{"data plane, one body of 10 GiB, memory meanwhile", "≥ 0.8 × nginx, ≤ 64 MiB", fmt.Sprintf("%.2f × (%.0f MiB/s, nginx %.0f MiB/s), + %d MiB", ratio, rate(ours), rate(theirs), grown),
		met(ratio >= 0.8 && grown <= 64)}}, nil
}

// memory reads a line of the process's status, in bytes: VmRSS is what is resident now, VmHWM the most that ever was.
func memory(name string) (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("the process's status has no %s", name)
}

// revocations is how many streams are cut for the figure.
const revocations = 200

// revoke measures how long after the retirement of its agreement was asked for the last byte of a running stream arrives.
func revoke(ctx context.Context, dir string) ([]row, error) {
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 16<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer source.Close()
	n, err := pair(ctx, dir, settings.Embedded, func(slug string, cfg *connector.Config) {
		if slug == "cobalt" {
			cfg.Settings.Egress.Upstreams = []settings.Upstream{{Origin: source.URL}}
		}
	})
	if err != nil {
		return nil, err
	}
	defer n.Close()
	client := trusting(n)
	var times []time.Duration
	for i := range revocations {
		took, err := cut(ctx, n, client, source.URL, i)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	p50, p99 := quantile(times, 0.5), quantile(times, 0.99)
	return []row{{fmt.Sprintf("retirement asked for → last byte of a running stream, p50 / p99 of %d", revocations), "p99 ≤ 250 ms", ms(p50) + " / " + ms(p99), met(p99 <= 250*time.Millisecond)}}, nil
}

// cut retires the agreement of a running stream and returns when its last byte came, counted from before the call.
func cut(ctx context.Context, n *network.Network, client *http.Client, url string, i int) (time.Duration, error) {
	cobalt := n.Companies["cobalt"]
	address, agreement, err := openUnder(ctx, n, url, fmt.Sprintf("stream-%d", i))
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.Endpoint, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", address.Properties[transfer.PropertyToken])
	res, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", res.StatusCode)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 1<<20)); err != nil {
		return 0, err
	}
	last := make(chan time.Time, 1)
	go func() {
		at, buffer := time.Now(), make([]byte, 64<<10)
		for {
			k, err := res.Body.Read(buffer)
			if k > 0 {
				at = time.Now()
			}
			if err != nil {
				last <- at
				return
			}
		}
	}()
	begin := time.Now()
	if err := cobalt.Retire(ctx, cobalt.Local, agreement, "bench", "the part was recalled"); err != nil {
		return 0, err
	}
	return max((<-last).Sub(begin), 0), nil
}
