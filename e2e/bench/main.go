// Command bench measures what docs/benchmarks.md reports and prints it as a table beside the figures that the design holds us to.
//
//	make bench
//	BENCH=proxy,exchange CPUPROFILE=cpu.out make bench
//
// Everything runs on this machine in one go, ours and the rival (nginx) in turn; quote ratios, not single times. It needs
// SLUICE_TEST_POSTGRES (tools/pgtest brings it) and nginx (Debian's package, installed when it is missing).
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/connector"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	do := run
	if os.Getenv(asHostile) != "" {
		do = func(ctx context.Context) error { return attackAs(ctx, os.Stdin, os.Stdout) }
	}
	err := do(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is one line of the table.
type row struct {
	what, bar, got string
	met            string // "yes", "no", or "" where there is no bar
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if path := os.Getenv("CPUPROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(connector.GCPercent) // as sluice serve does
	}
	var rows []row
	for _, part := range []struct {
		name string
		do   func(context.Context, string) ([]row, error)
	}{{"machine", machine}, {"start", start}, {"decision", decision}, {"log", appends}, {"exchange", exchanges}, {"many", many}, {"hostile", hostile}, {"proxy", proxy}, {"revoke", revoke}} {
		if only := os.Getenv("BENCH"); only != "" && !strings.Contains(only, part.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s\n", part.name)
		sub := filepath.Join(dir, part.name)
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		got, err := part.do(ctx, sub)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		rows = append(rows, got...)
	}
	print(rows)
	return ctx.Err()
}

func print(rows []row) {
	widths := [4]int{}
	all := append([]row{{"what", "bar", "measured", "met"}, {"---", "---", "---", "---"}}, rows...)
	for _, r := range all {
		for i, cell := range []string{r.what, r.bar, r.got, r.met} {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, r := range all {
		var b strings.Builder
		for i, cell := range []string{r.what, r.bar, r.got, r.met} {
			b.WriteString("| " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+1))
		}
		fmt.Println(b.String() + "|")
	}
}

// quantile of sorted or unsorted times.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Clone(times)
	slices.Sort(sorted)
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func met(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

// machine measures the two things that everything else here is made of: signatures on one core, and the sync that every durable step waits for.
func machine(ctx context.Context, dir string) ([]row, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte("sluice"))
	n, begin := 0, time.Now()
	for ; time.Since(begin) < time.Second && ctx.Err() == nil; n++ {
		signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			return nil, errors.Join(err, errors.New("a signature does not verify"))
		}
	}
	rows, err := disk(dir)
	speed := row{"this machine: P-256 signatures made and verified, one core", "", fmt.Sprintf("%.0f/s", float64(n)/time.Since(begin).Seconds()), ""}
	return append([]row{speed}, rows...), err
}

func disk(dir string) (rows []row, err error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, 4096)
	var times []time.Duration
	for range 500 {
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := f.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
	}
	return []row{{"fsync of 4 KiB, p50", "", fmt.Sprintf("%.2f ms", float64(quantile(times, 0.5).Microseconds())/1000), ""}}, nil
}
