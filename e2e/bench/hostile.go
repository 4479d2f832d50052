package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyfile"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/settings"
)

const (
	hostilePeers = 50
	pace         = 100 * time.Millisecond // between two deeds of one hostile peer
)

// hostile measures what an honest partner feels while fifty hostile ones are at the provider: the same exchanges alone, then under attack.
func hostile(ctx context.Context, dir string) ([]row, error) {
	n, err := pair(ctx, dir, settings.Embedded, nil, network.Member{Slug: "dusk", Name: "Dusk Trading", BPN: "BPNL00000000DUS1"})
	if err != nil {
		return nil, err
	}
	rows, err := besieged(ctx, n, filepath.Join(dir, settings.Embedded, "dusk", "keys", "dusk.json"))
	if closeErr := n.Close(); err == nil {
		err = closeErr
	}
	return rows, err
}

func besieged(ctx context.Context, n *network.Network, keys string) ([]row, error) {
	_, _ = several(ctx, n, 10) // warm
	alone, failedAlone := several(ctx, n, 100)
	a, err := newAttack(n, keys)
	if err != nil {
		return nil, err
	}
	siege, lift := context.WithCancel(ctx)
	var peers sync.WaitGroup
	for i := range hostilePeers {
		peers.Go(func() { a.run(siege, i) })
	}
	begin := time.Now()
	under, failed := several(ctx, n, 100)
	lasted := time.Since(begin)
	lift()
	peers.Wait()
	if len(alone) == 0 || len(under) == 0 {
		return nil, fmt.Errorf("no exchange came to its end: %d failed alone, %d under attack", failedAlone, failed)
	}
	p50, p99 := ratio(under, alone, 0.5), ratio(under, alone, 0.99)
	return []row{{fmt.Sprintf("exchange while %d hostile peers attack, against alone, p50 / p99", hostilePeers), "≤ 2 ×",
		fmt.Sprintf("%.1f × / %.1f × (%s / %s, %.0f deeds/s, %d of 100 failed, alone %d)", p50, p99, ms(quantile(under, 0.5)), ms(quantile(under, 0.99)),
			float64(a.deeds.Load())/lasted.Seconds(), failed, failedAlone), met(p50 <= 2 && p99 <= 2 && failed <= failedAlone)}}, nil
}

// several runs exchanges one after the other. One that fails is counted, and the next one tried: an attack that makes them fail must show.
func several(ctx context.Context, n *network.Network, count int) (times []time.Duration, failed int) {
	for range count {
		took, err := once(ctx, n)
		if err != nil {
			failed++
			continue
		}
		times = append(times, took)
	}
	return times, failed
}

func ratio(a, b []time.Duration, q float64) float64 {
	return float64(quantile(a, q)) / float64(quantile(b, q))
}

// attack is what the hostile peers share: who they are and whom they are at. They are members, and can prove it.
type attack struct {
	keys   *keyfile.Keys
	n      *network.Network
	url    string
	host   string
	tls    *tls.Config
	client *http.Client
	deeds  atomic.Int64
}

func newAttack(n *network.Network, path string) (*attack, error) {
	keys, err := keyfile.Open(path, rand.Reader)
	if err != nil {
		return nil, err
	}
	_, document, err := identity.ParseDID(string(n.Companies["cobalt"].Local.DID))
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(document, "/did.json")
	host, _, _ := strings.Cut(strings.TrimPrefix(base, "https://"), "/")
	config := &tls.Config{RootCAs: n.CA.Pool(), MinVersion: tls.VersionTLS12}
	return &attack{keys: keys, n: n, url: base + "/dsp/2025-1/negotiations/request", host: host, tls: config,
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: hostilePeers}}}, nil
}

// run is one hostile peer until the siege is lifted. What it is answered is nothing to it.
func (a *attack) run(ctx context.Context, i int) {
	do := []func(context.Context){a.slowBody, a.slowHeader, a.badToken, a.junk, a.hugeBody}[i%5]
	for ctx.Err() == nil {
		do(ctx)
		a.deeds.Add(1)
		select {
		case <-time.After(pace):
		case <-ctx.Done():
		}
	}
}

func (a *attack) token() string {
	token, _ := identity.IssueToken(a.n.Companies["dusk"].Local.DID, a.n.Companies["cobalt"].Local.DID, a.keys, "", time.Now(), rand.Reader)
	return token
}

func (a *attack) post(ctx context.Context, token string, body io.Reader) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, body)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	if res, err := a.client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// badToken has all that a token needs but the signature, which is checked last.
func (a *attack) badToken(ctx context.Context) {
	token, other := a.token(), a.token()
	a.post(ctx, token[:strings.LastIndex(token, ".")]+other[strings.LastIndex(other, "."):], strings.NewReader("{}"))
}

func (a *attack) junk(ctx context.Context) {
	a.post(ctx, a.token(), strings.NewReader(`{"@context":[`+strings.Repeat(`[`, 60_000)))
}

func (a *attack) hugeBody(ctx context.Context) {
	a.post(ctx, a.token(), io.LimitReader(blanks{}, 64<<20))
}

type blanks struct{}

func (blanks) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte(" "), len(p))), nil }

func (a *attack) slowBody(ctx context.Context) {
	a.drip(ctx, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n",
		strings.TrimPrefix(a.url, "https://"+a.host), a.host, a.token()))
}

func (a *attack) slowHeader(ctx context.Context) {
	a.drip(ctx, "POST / HTTP/1.1\r\nHost: "+a.host+"\r\nX-Slow: ")
}

// drip sends the beginning, and then a byte now and then until it is cut off.
func (a *attack) drip(ctx context.Context, beginning string) {
	conn, err := (&tls.Dialer{Config: a.tls}).DialContext(ctx, "tcp", a.host)
	if err != nil {
		return
	}
	defer conn.Close()
	for _, err = io.WriteString(conn, beginning); err == nil && ctx.Err() == nil; _, err = conn.Write([]byte("x")) {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}
