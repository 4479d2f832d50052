package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

const (
	hostilePeers = 50
	pace         = 100 * time.Millisecond // between two deeds of one hostile peer
)

// The bench runs itself as the hostile peers, so that they have a process of their own like everybody who attacks.
const (
	asHostile = "SLUICE_BENCH_HOSTILE" // set for the process of the hostile peers: it reads a siege from its input and attacks until that ends
	rounds    = 6
	perRound  = 50
)

// siege is what the hostile peers are told.
type siege struct {
	URL       string // of the message that begins a negotiation
	Own       string // DID of the hostile peers: they are members, and can prove it
	Target    string // DID of who is attacked
	Data      string // data directory of the hostile peers
	Roots     []byte // certificate of the authority
	Addresses int    // of how many addresses they come
}

// hostile measures what an honest partner feels while fifty hostile ones are at the provider: the same exchanges alone and under attack in turns, so
// that what else happens on this machine happens to both.
func hostile(ctx context.Context, dir string) ([]row, error) {
	n, err := pair(ctx, dir, settings.Embedded, func(_ string, cfg *connector.Config) {
		cfg.Settings.Limits.OpenProcesses = 10_000 // nobody ends a transfer here
	}, network.Member{Slug: "dusk", Name: "Dusk Trading", BPN: "BPNL00000000DUS1"})
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, settings.Embedded, "dusk")
	_, _ = several(ctx, n, 20) // warm
	many, err := besieged(ctx, n, data, hostilePeers)
	if err == nil {
		var one []row
		one, err = besieged(ctx, n, data, 1)
		many = append(many, one...)
	}
	return many, errors.Join(err, n.Close())
}

func besieged(ctx context.Context, n *network.Network, data string, addresses int) ([]row, error) {
	_, document, err := identity.ParseDID(string(n.Companies["cobalt"].Local.DID))
	if err != nil {
		return nil, err
	}
	s := siege{URL: strings.TrimSuffix(document, "/did.json") + "/dsp/2025-1/negotiations/request", Own: string(n.Companies["dusk"].Local.DID),
		Target: string(n.Companies["cobalt"].Local.DID), Data: data, Roots: n.CA.PEM(), Addresses: addresses}
	var alone, under []time.Duration
	var failedAlone, failed, deeds int
	var lasted, peace, war time.Duration
	for range rounds {
		began := computed()
		times, missed := several(ctx, n, perRound)
		peace += computed() - began
		alone, failedAlone = append(alone, times...), failedAlone+missed
		lift, err := s.begin(ctx)
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		began = computed()
		times, missed = several(ctx, n, perRound)
		lasted, war = lasted+time.Since(begin), war+computed()-began
		did, err := lift()
		if err != nil {
			return nil, err
		}
		under, failed, deeds = append(under, times...), failed+missed, deeds+did
	}
	if len(alone) == 0 || len(under) == 0 {
		return nil, fmt.Errorf("no exchange came to its end: %d failed alone, %d under attack", failedAlone, failed)
	}
	from := "from as many addresses"
	if addresses == 1 {
		from = "from one address"
	}
	p50, p99 := ratio(under, alone, 0.5), ratio(under, alone, 0.99)
	return []row{{fmt.Sprintf("exchange while %d hostile peers attack %s, against alone, p50 / p99", hostilePeers, from), "≤ 2 ×",
		fmt.Sprintf("%.1f × / %.1f × (%s / %s, alone %s / %s, %.0f deeds/s at %s of computing each, %d of %d failed, alone %d)", p50, p99, ms(quantile(under, 0.5)), ms(quantile(under, 0.99)),
			ms(quantile(alone, 0.5)), ms(quantile(alone, 0.99)), float64(deeds)/lasted.Seconds(), ms((war-peace)/time.Duration(max(deeds, 1))), failed, rounds*perRound, failedAlone),
		met(p50 <= 2 && p99 <= 2 && failed <= failedAlone)}}, nil
}

// begin starts the hostile peers and returns when all of them are at it; lift ends them and says how many deeds they did since.
func (s siege) begin(ctx context.Context) (lift func() (deeds int, err error), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Those who attack compute on machines of their own; here they get what the companies leave of the cores.
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", self)
	cmd.Env = append(os.Environ(), asHostile+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	said := json.NewDecoder(out)
	stop := func() error { return errors.Join(in.Close(), cmd.Wait()) }
	var begun int
	if err := errors.Join(json.NewEncoder(in).Encode(s), said.Decode(&begun)); err != nil {
		return nil, errors.Join(err, stop())
	}
	return func() (deeds int, err error) {
		err = errors.Join(in.Close(), said.Decode(&deeds), cmd.Wait())
		return deeds - begun, err
	}, nil
}

// attackAs is the process of the hostile peers. It says how many deeds were done when all are at it, and again at the end.
func attackAs(ctx context.Context, in io.Reader, out io.Writer) error {
	read := json.NewDecoder(in)
	var s siege
	if err := read.Decode(&s); err != nil {
		return err
	}
	a, err := newAttack(s)
	if err != nil {
		return err
	}
	ctx, lift := context.WithCancel(ctx)
	defer lift()
	var peers sync.WaitGroup
	for i := range hostilePeers {
		peers.Go(func() { a.run(ctx, i) })
	}
	time.Sleep(time.Second) // until all are at it
	say := json.NewEncoder(out)
	if err := say.Encode(a.deeds.Load()); err != nil {
		return err
	}
	_ = read.Decode(&s) // until the input ends
	deeds := a.deeds.Load()
	lift()
	peers.Wait()
	return say.Encode(deeds)
}

// computed is how long the cores have worked for this process.
func computed() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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

// attack is what the hostile peers share.
type attack struct {
	siege
	keys  identity.Keys
	host  string
	roots *x509.CertPool
	deeds atomic.Int64
}

// stolen opens the keys of the hostile peers, who have what their own connector has.
func stolen(data string) (identity.Keys, error) {
	ctx := context.Background()
	st, err := embedded.Open(ctx, embedded.Options{Dir: data, Rand: rand.Reader})
	if err != nil {
		return nil, err
	}
	master, err := keyring.ReadMaster(durable.OS{}, filepath.Join(data, "master.key"), rand.Reader)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	keys, err := keyring.NewKeeper(keyring.Config{Store: st, Master: master, Now: time.Now, Rand: rand.Reader}).Open(ctx, "dusk")
	return keys, errors.Join(err, st.Close())
}

func newAttack(s siege) (*attack, error) {
	keys, err := stolen(s.Data)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	a := &attack{siege: s, keys: keys, host: u.Host, roots: x509.NewCertPool()}
	if !a.roots.AppendCertsFromPEM(s.Roots) {
		return nil, errors.New("no certificate of the authority")
	}
	return a, nil
}

// hostilePeer is one of them, with an address and connections of its own.
type hostilePeer struct {
	*attack
	dialer *tls.Dialer
	client *http.Client
}

// run is one hostile peer until the siege is lifted. What it is answered is nothing to it.
func (a *attack) run(ctx context.Context, i int) {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%a.Addresses))}}
	config := &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS12}
	p := hostilePeer{attack: a, dialer: &tls.Dialer{NetDialer: from, Config: config},
		client: &http.Client{Transport: &http.Transport{DialContext: from.DialContext, TLSClientConfig: config}}}
	defer p.client.CloseIdleConnections()
	do := []func(context.Context){p.slowBody, p.slowHeader, p.badToken, p.junk, p.hugeBody}[i%5]
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
	token, _ := identity.IssueToken(context.Background(), participant.DID(a.Own), participant.DID(a.Target), a.keys, "", time.Now(), rand.Reader)
	return token
}

func (p hostilePeer) post(ctx context.Context, token string, body io.Reader) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, body)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	if res, err := p.client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}

// badToken has all that a token needs but the signature, which is checked last.
func (p hostilePeer) badToken(ctx context.Context) {
	token, other := p.token(), p.token()
	p.post(ctx, token[:strings.LastIndex(token, ".")]+other[strings.LastIndex(other, "."):], strings.NewReader("{}"))
}

func (p hostilePeer) junk(ctx context.Context) {
	p.post(ctx, p.token(), strings.NewReader(`{"@context":[`+strings.Repeat(`[`, 60_000)))
}

func (p hostilePeer) hugeBody(ctx context.Context) {
	p.post(ctx, p.token(), io.LimitReader(blanks{}, 64<<20))
}

type blanks struct{}

func (blanks) Read(b []byte) (int, error) { return copy(b, spaces), nil }

var spaces = bytes.Repeat([]byte(" "), 64<<10)

func (p hostilePeer) slowBody(ctx context.Context) {
	p.drip(ctx, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n",
		strings.TrimPrefix(p.URL, "https://"+p.host), p.host, p.token()))
}

func (p hostilePeer) slowHeader(ctx context.Context) {
	p.drip(ctx, "POST / HTTP/1.1\r\nHost: "+p.host+"\r\nX-Slow: ")
}

// drip sends the beginning, and then a byte now and then until it is cut off.
func (p hostilePeer) drip(ctx context.Context, beginning string) {
	conn, err := p.dialer.DialContext(ctx, "tcp", p.host)
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
