package crash_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// kills is how often one of the two processes is killed: a sample by default, SLUICE_CRASHES for more.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SLUICE_CRASHES")
	if text == "" {
		return 8
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SLUICE_CRASHES=%q: want a number", text)
	}
	return n
}

// side is one company in a process of its own.
type side struct {
	member     network.Member
	settings   settings.Settings
	config     string // settings file
	management string
	token      string
	did        participant.DID

	cmd *exec.Cmd
}

func TestNothingIsLostOrDoubledWhenProcessesAreKilled(t *testing.T) {
	binary := build(t)
	provider := &side{member: network.Member{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true}}
	consumer := &side{member: network.Member{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true}}
	provider.settings.Store = settings.Store{Kind: settings.Embedded}
	consumer.settings.Store = settings.Store{Kind: settings.Postgres, URL: schema(t)}
	sides := []*side{provider, consumer}
	dir := t.TempDir()
	for _, s := range sides {
		s.settle(t, dir)
	}
	n, err := network.Start(t.Context(), network.Config{Dir: dir, Now: time.Now, Peers: []string{"https://" + provider.settings.Public.Host, "https://" + consumer.settings.Public.Host}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, s := range sides {
		s.prepare(t, n, sides)
		s.start(t, binary)
		defer s.stop()
	}

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, 1))
	traffic := begin(t, consumer, provider)
	for range kills(t) {
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		victim := sides[random.IntN(len(sides))]
		victim.kill(t)
		victim.start(t, binary)
	}
	traffic.another(t)
	traffic.end()
	t.Logf("%d pulls ended well, %d bytes arrived", traffic.pulls.Load(), traffic.bytes.Load())
	settled(t, sides)
	for _, s := range sides {
		s.stop()
	}
	judge(t, provider, consumer, traffic.bytes.Load())
}

func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/sluice-connector/sluice/cmd/sluice")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

func schema(t *testing.T) string {
	t.Helper()
	base := os.Getenv("SLUICE_TEST_POSTGRES")
	if base == "" {
		t.Fatal("no PostgreSQL: run `make test`, which brings its own server")
	}
	name := fmt.Sprintf("crash_%d", os.Getpid())
	db, err := sql.Open("pgx", base)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return base + "&search_path=" + name
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// settle chooses addresses, so that everybody knows everybody before anybody starts.
func (s *side) settle(t *testing.T, dir string) {
	t.Helper()
	keep := s.settings.Store
	s.settings = settings.Default()
	s.settings.Store = keep
	s.settings.Data = filepath.Join(dir, s.member.Slug)
	s.settings.Public.Listen = freeAddress(t)
	_, port, _ := net.SplitHostPort(s.settings.Public.Listen)
	s.settings.Public.Host = "localhost:" + port
	s.settings.Management.Listen = freeAddress(t)
	s.management = "http://" + s.settings.Management.Listen
	s.settings.Participants = []settings.Participant{{Slug: s.member.Slug, Name: s.member.Name}}
	if err := os.MkdirAll(s.settings.Data, 0o700); err != nil {
		t.Fatal(err)
	}
}

// prepare writes certificates and settings, and fills the wallet, the catalog and the tokens before the first start.
func (s *side) prepare(t *testing.T, n *network.Network, sides []*side) {
	t.Helper()
	if err := n.CA.Write(s.settings.Data, "localhost", "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(s.settings.Data, name) }
	s.settings.Public.Cert, s.settings.Public.Key, s.settings.Egress.Roots = in("tls.pem"), in("tls.key"), in("ca.pem")
	s.settings.Profiles[0].Trust = []settings.Trust{n.Trust()}
	host, _, _ := strings.Cut(strings.TrimPrefix(string(n.Authority.Local.DID), "did:web:"), ":")
	s.settings.Egress.Peers = []string{"https://" + strings.Replace(host, "%3A", ":", 1)}
	for _, other := range sides {
		s.settings.Egress.Peers = append(s.settings.Egress.Peers, "https://"+other.settings.Public.Host)
	}
	s.config = in("sluice.yaml")
	f, err := os.Create(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(settings.Print(f, s.settings), f.Close()); err != nil {
		t.Fatal(err)
	}
	s.inProcess(t, func(ctx context.Context, c *connector.Connector, local participant.Participant) {
		s.did = local.DID
		if err := n.Attest(ctx, c, local, s.member); err != nil {
			t.Fatal(err)
		}
		secret, token, err := rpc.NewToken(rand.Reader, store.Token{Role: rpc.Operator, Label: "test", Created: time.Now()})
		if err == nil {
			err = c.Store().PutToken(ctx, token)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.token = secret
		if s.member.Slug != "cobalt" {
			return
		}
		parts, err := os.Open("../../cmd/sluice/demodata/battery-parts.csv")
		if err != nil {
			t.Fatal(err)
		}
		defer parts.Close()
		if got, err := c.Publish(ctx, local, publishing.File{Format: "csv", Template: "pcf", Actor: "test"}, parts, nil); err != nil || got.Total > 0 {
			t.Fatalf("publish: %+v, %v", got.Faults, err)
		}
	})
}

// inProcess opens the side's connector here, without serving, while no process has it.
func (s *side) inProcess(t *testing.T, do func(context.Context, *connector.Connector, participant.Participant)) {
	t.Helper()
	c, err := connector.New(t.Context(), connector.Config{Settings: s.settings})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	local, err := c.Participant(t.Context(), s.member.Slug)
	if err != nil {
		t.Fatal(err)
	}
	do(t.Context(), c, local)
}

// start runs "sluice serve" and waits until it says that it serves.
func (s *side) start(t *testing.T, binary string) {
	t.Helper()
	s.cmd = exec.Command(binary, "serve", "--config", s.config)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		said := ""
		for lines.Scan() {
			if strings.Contains(lines.Text(), "msg=serving") {
				serving <- ""
				said = ""
			}
			said += lines.Text() + "\n"
		}
		serving <- said
	}()
	if said := <-serving; said != "" {
		t.Fatalf("%s did not start:\n%s", s.member.Slug, said)
	}
}

func (s *side) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *side) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// traffic is what goes on while processes die: pulls, each with a negotiation of its own.
type traffic struct {
	pulls, bytes atomic.Int64
	stop         context.CancelFunc
	workers      sync.WaitGroup
}

func begin(t *testing.T, consumer, provider *side) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{stop: cancel}
	q := url.Values{"peer": {string(provider.did)}, "asset": {sheet.AssetID("CC-21700-50")}, "fresh": {"true"}}
	for range 4 {
		tr.workers.Go(func() {
			for ctx.Err() == nil {
				tr.pull(ctx, consumer, q)
			}
		})
	}
	return tr
}

// another waits for a pull that ends well now that nobody is killed any more: they trade again, on a slow machine too.
func (tr *traffic) another(t *testing.T) {
	t.Helper()
	before := tr.pulls.Load()
	for deadline := time.Now().Add(2 * time.Minute); tr.pulls.Load() == before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no pull ends well, though nobody is killed any more")
		}
	}
}

func (tr *traffic) end() {
	tr.stop()
	tr.workers.Wait()
}

// pull asks once. What fails is what a killed process leaves behind; what arrived counts in any case.
func (tr *traffic) pull(ctx context.Context, consumer *side, q url.Values) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, consumer.management+"/v1/participants/"+consumer.member.Slug+"/pull?"+q.Encode(), nil)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+consumer.token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		time.Sleep(20 * time.Millisecond)
		return
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	if res.StatusCode == http.StatusOK {
		tr.bytes.Add(n)
		if err == nil && n > 0 {
			tr.pulls.Add(1)
		}
	}
}

// settled waits until neither side owes anything.
func settled(t *testing.T, sides []*side) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		open := 0
		for _, s := range sides {
			open += s.open(t)
		}
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d negotiations are still open", open)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// open counts negotiations that are in no final state, through the API as an operator would.
func (s *side) open(t *testing.T) int {
	t.Helper()
	n := 0
	for _, state := range []string{"INITIAL", "REQUESTED", "OFFERED", "ACCEPTED", "AGREED", "VERIFIED"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.management+"/v1/participants/"+s.member.Slug+"/negotiations?pageSize=1000&state="+state, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.token)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s %v", s.member.Slug, res.StatusCode, body, err)
		}
		n += strings.Count(string(body), `"state"`)
	}
	return n
}

// judge looks at both stores after everything ended.
func judge(t *testing.T, provider, consumer *side, arrived int64) {
	t.Helper()
	theirs := map[string]string{} // agreement -> digest, at the provider
	provider.inProcess(t, func(ctx context.Context, c *connector.Connector, local participant.Participant) {
		for _, n := range negotiations(ctx, t, c, local) {
			if !n.State.Final() {
				t.Errorf("provider: %s ended in %s", n.ID, n.State)
			}
			if n.State == negotiation.Finalized {
				a, err := c.Store().Agreement(ctx, local.ID, n.AgreementID)
				if err != nil || a.Negotiation != n.ID {
					t.Errorf("provider: the agreement of %s: %v", n.ID, err)
				}
				theirs[a.ID] = a.Digest
			}
			recorded(ctx, t, c, local, n.ID, "negotiation.request")
		}
		granted := audit(ctx, t, c, local)
		if arrived > granted {
			t.Errorf("%d bytes arrived, the provider's records granted %d", arrived, granted)
		}
		for _, tr := range transfers(ctx, t, c, local) {
			if tr.State != transfer.Requested {
				recorded(ctx, t, c, local, tr.ID, "transfer.start")
			}
		}
	})
	consumer.inProcess(t, func(ctx context.Context, c *connector.Connector, local participant.Participant) {
		concluded := 0
		for _, n := range negotiations(ctx, t, c, local) {
			if !n.State.Final() {
				t.Errorf("consumer: %s ended in %s", n.ID, n.State)
			}
			if n.State != negotiation.Finalized {
				continue
			}
			concluded++
			a, err := c.Store().Agreement(ctx, local.ID, n.AgreementID)
			if err != nil {
				t.Errorf("consumer: the agreement of %s: %v", n.ID, err)
				continue
			}
			if theirs[a.ID] != a.Digest {
				t.Errorf("agreement %s: consumer has %s, provider %q", a.ID, a.Digest, theirs[a.ID])
			}
			delete(theirs, a.ID)
			recorded(ctx, t, c, local, n.ID, "negotiation.agree")
		}
		audit(ctx, t, c, local)
		t.Logf("%d agreements, equal on both sides", concluded)
	})
	for id := range theirs {
		t.Errorf("agreement %s is final at the provider alone", id)
	}
}

func negotiations(ctx context.Context, t *testing.T, c *connector.Connector, local participant.Participant) []negotiation.Negotiation {
	t.Helper()
	var out []negotiation.Negotiation
	r := page.Request{Limit: page.MaxLimit}
	for {
		p, err := c.Store().Negotiations(ctx, local.ID, negotiation.Filter{}, r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p.Items...)
		if r.After = p.Next; r.After.ID == "" {
			return out
		}
	}
}

func transfers(ctx context.Context, t *testing.T, c *connector.Connector, local participant.Participant) []transfer.Transfer {
	t.Helper()
	p, err := c.Store().Transfers(ctx, local.ID, transfer.Filter{}, page.Request{Limit: page.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	return p.Items
}

// recorded wants a decision of the process at the door.
func recorded(ctx context.Context, t *testing.T, c *connector.Connector, local participant.Participant, process, door string) {
	t.Helper()
	entries, err := c.Store().LogByProcess(ctx, local.Slug, process, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		rec, err := decisionlog.ParseRecord(e.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Door == door {
			return
		}
	}
	t.Errorf("%s: %s has no record at %s among %d", local.Slug, process, door, len(entries))
}

// audit exports and verifies the log and returns how many bytes its serve records granted.
func audit(ctx context.Context, t *testing.T, c *connector.Connector, local participant.Participant) (granted int64) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), local.Slug)
	if err := c.Export(ctx, local, dir); err != nil {
		t.Fatal(err)
	}
	key, err := c.VerifierKey(ctx, local)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decisionlog.Verify(dir, key); err != nil {
		t.Errorf("%s: %v", local.Slug, err)
	}
	for rec, err := range decisionlog.Records(dir) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == decisionlog.KindOpen {
			n, err := strconv.ParseInt(rec.Serve.Granted, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			granted += n
		}
	}
	return granted
}
