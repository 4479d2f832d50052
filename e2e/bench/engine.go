package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // schemas of our own

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/postgres"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/engine"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/policy/profile"
)

// start measures a binary of our own: from exec to serving, and what it holds then.
func start(ctx context.Context, dir string) ([]row, error) {
	binary := filepath.Join(dir, "sluice")
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/sluice").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w\n%s", err, out)
	}
	set := settings.Default()
	set.Data = filepath.Join(dir, "data")
	set.Public.Listen, set.Management.Listen = "127.0.0.1:0", "127.0.0.1:0"
	set.Participants = []settings.Participant{{Slug: "aurora", Name: "Aurora Motors"}}
	config := filepath.Join(dir, "sluice.yaml")
	f, err := os.Create(config)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(settings.Print(f, set), f.Close()); err != nil {
		return nil, err
	}
	var times []time.Duration
	resident := 0.0
	for range 11 {
		took, rss, err := startOnce(ctx, binary, config)
		if err != nil {
			return nil, err
		}
		times, resident = append(times, took), max(resident, rss)
	}
	times = times[1:] // the first one makes keys and tables
	p50 := quantile(times, 0.5)
	return []row{
		{"start to serving, embedded store, p50 of 10", "≤ 300 ms", ms(p50), met(p50 <= 300*time.Millisecond)},
		{"resident then", "≤ 64 MiB", fmt.Sprintf("%.0f MiB", resident), met(resident <= 64)},
	}, nil
}

func startOnce(ctx context.Context, binary, config string) (time.Duration, float64, error) {
	cmd := exec.CommandContext(ctx, binary, "serve", "--config", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(out)
	said := ""
	for lines.Scan() && !strings.Contains(lines.Text(), "msg=serving") {
		said += lines.Text() + "\n"
	}
	took := time.Since(begin)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("it did not stay up: %w\n%s", err, said)
	}
	var kib float64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err = fmt.Sscanf(rest, "%f", &kib)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	return took, kib / 1024, err
}

// decision measures the policy engine on the usage policy of the PCF template.
func decision(ctx context.Context, _ string) ([]row, error) {
	e, err := engine.New(ctx)
	if err != nil {
		return nil, err
	}
	p, err := profile.Default()
	if err != nil {
		return nil, err
	}
	usage, _, _ := p.Template("pcf")
	now := time.Now()
	valid := func(kind string, subject map[string]string) policy.Credential {
		return policy.Credential{Type: kind, BPN: subject["bpn"], Issuer: "did:web:meridian.example", ID: "urn:uuid:1", Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), Digest: strings.Repeat("a", 64)}
	}
	q := policy.Question{Door: policy.DoorRequest, Now: now, Action: "use", Role: "provider", Policies: []odrl.Policy{usage},
		Peer: policy.Party{DID: "did:web:aurora.example", Credentials: []policy.Credential{
			valid("MembershipCredential", map[string]string{"memberOf": "Meridian", "holderIdentifier": "BPNL00000000AUR1"}),
			valid("BpnCredential", map[string]string{"bpn": "BPNL00000000AUR1"}),
			valid("DataExchangeGovernanceCredential", map[string]string{"contractVersion": "1.0", "useCase": "DataExchangeGovernance"})}}}
	var times []time.Duration
	for range 20000 {
		begin := time.Now()
		if d := e.Decide(ctx, q); !d.Allowed() {
			return nil, fmt.Errorf("denied: %+v", d)
		}
		times = append(times, time.Since(begin))
	}
	p50, p99 := quantile(times, 0.5), quantile(times, 0.99)
	return []row{{"decision by OPA, usage policy with reasons, p50 (p99)", "≤ 100 µs", fmt.Sprintf("%d µs (%d µs)", p50.Microseconds(), p99.Microseconds()), met(p50 <= 100*time.Microsecond)}}, nil
}

// stores opens one of each kind, empty.
func stores(ctx context.Context, dir string) (map[string]store.Store, error) {
	e, err := embedded.Open(ctx, embedded.Options{Dir: dir, Rand: rand.Reader})
	if err != nil {
		return nil, err
	}
	url, err := schema(ctx, "bench_log")
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	p, err := postgres.Open(ctx, postgres.Options{URL: url, Rand: rand.Reader})
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return map[string]store.Store{"embedded": e, "PostgreSQL": p}, nil
}

// schema makes a schema of its own on the server of the run.
func schema(ctx context.Context, name string) (string, error) {
	url := os.Getenv("SLUICE_TEST_POSTGRES")
	if url == "" {
		return "", errors.New("no PostgreSQL: run `make bench`, which brings its own server")
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return "", err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, "DROP SCHEMA IF EXISTS "+name+" CASCADE; CREATE SCHEMA "+name)
	return url + "&search_path=" + name, err
}

// appends measures durable records that change nothing else, by 256 callers.
func appends(ctx context.Context, dir string) ([]row, error) {
	all, err := stores(ctx, dir)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, kind := range []string{"embedded", "PostgreSQL"} {
		rate, p99, err := append256(ctx, all[kind])
		if err != nil {
			return nil, err
		}
		bar := map[string]int{"embedded": 20000, "PostgreSQL": 10000}[kind]
		rows = append(rows, row{"durable records, log only, 256 callers, " + kind + " (p99)", fmt.Sprintf("≥ %d/s (≤ 20 ms)", bar),
			fmt.Sprintf("%.0f/s (%s)", rate, ms(p99)), met(rate >= float64(bar) && p99 <= 20*time.Millisecond)})
		if err := all[kind].Close(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func append256(ctx context.Context, s store.Store) (float64, time.Duration, error) {
	p, err := s.CreateParticipant(ctx, participant.Participant{Slug: "bench", DID: "did:web:bench.example", Created: time.Now()})
	if err != nil {
		return 0, 0, err
	}
	payload := []byte(`{"filler":"` + strings.Repeat("x", 1800) + `"}`)
	const callers = 256
	var count atomic.Int64
	var mu sync.Mutex
	var times []time.Duration
	var failed error
	begin := time.Now()
	var workers sync.WaitGroup
	for range callers {
		workers.Go(func() {
			var own []time.Duration
			for time.Since(begin) < 4*time.Second {
				id, err := decisionlog.NewID(rand.Reader)
				one := time.Now()
				if err == nil {
					err = s.Record(ctx, p.ID, commit.Effects{Decisions: []decisionlog.Entry{{ID: id, Kind: "decision", Time: one, Bytes: payload}}})
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				own = append(own, time.Since(one))
				count.Add(1)
			}
			mu.Lock()
			times = append(times, own...)
			mu.Unlock()
		})
	}
	workers.Wait()
	return float64(count.Load()) / time.Since(begin).Seconds(), quantile(times, 0.99), failed
}
