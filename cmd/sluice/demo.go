package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/schemas"
)

//go:embed demodata/battery-parts.csv
var demoParts []byte

// demoPart is the one the story is about.
const demoPart = "CC-21700-50"

func (a *app) demoCommand() *cobra.Command {
	d := demo{app: a}
	c := &cobra.Command{
		Use:   "demo",
		Short: "A whole dataspace on this machine: a footprint travels, a rival is refused, the log proves both",
		Long: `Demo starts five companies in this process, each a connector of its own with its own store, keys, sockets and TLS: the authority Meridian,
the OEM Aurora Motors, its suppliers Boreal Drives and Cobalt Cells, and Dusk Trading, which may see an offer but never accepted
the framework agreement that using it asks for. It tells what happens, with timings, and leaves an export of the supplier's
decision log that "sluice log verify" checks.`,
		Example: `  sluice demo
  sluice demo --once
  sluice demo --once --json --exchanges 50`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	c.Flags().BoolVar(&d.once, "once", false, "end when the story has ended; exit 0 only if every step held")
	c.Flags().IntVar(&d.exchanges, "exchanges", 20, "exchanges to time, each with a negotiation of its own")
	c.Flags().StringVar(&d.logDir, "log-dir", "", "where to leave the export of the decision log (default: a new temporary directory)")
	return c
}

// demo is one telling of the story. Its report is the JSON form.
type demo struct {
	*app
	once      bool
	exchanges int
	logDir    string

	net      *network.Network
	asset    string
	contract string // between Boreal and Cobalt
	payload  []byte
	source   *source
	report   demoReport
}

type demoReport struct {
	OK       bool         `json:"ok"`
	Steps    []demoStep   `json:"steps"`
	Exchange demoExchange `json:"exchange"`
	Refusal  demoRefusal  `json:"refusal"`
	Log      demoLog      `json:"log"`
	ReadyMS  float64      `json:"ready_ms"` // process start to all five serving
	RSSMiB   float64      `json:"rss_mib"`  // resident then
}

type demoStep struct {
	Name  string  `json:"name"`
	OK    bool    `json:"ok"`
	MS    float64 `json:"ms"`
	Error string  `json:"error,omitempty"`
}

type demoExchange struct {
	Count  int     `json:"count"`
	P50MS  float64 `json:"p50_ms"`
	P99MS  float64 `json:"p99_ms"`
	ColdMS float64 `json:"cold_ms"`
}

type demoRefusal struct {
	Code    string   `json:"code"`
	Reasons []string `json:"reasons"`
}

type demoLog struct {
	Dir      string `json:"dir"`
	Key      string `json:"key"`
	Size     uint64 `json:"size"`
	Verified bool   `json:"verified"`
}

func (d *demo) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if d.source, err = startSource(); err != nil {
		return err
	}
	defer d.source.close()
	if err := d.start(ctx, dir); err != nil {
		return err
	}
	err = errors.Join(d.story(ctx), ctx.Err())
	if d.json {
		err = errors.Join(err, d.value(d.report))
	}
	if err == nil && !d.once {
		d.say("\nThe five stay up until you press Ctrl-C.\n")
		for _, c := range d.companies() {
			d.say("  %-14s  %s\n", c.Local.Name, c.Local.DID)
		}
		<-ctx.Done()
	}
	err = errors.Join(err, d.net.Close())
	if err == nil && !d.report.OK {
		return &exitError{code: exitFailed, silent: true, err: errors.New("a step did not hold")}
	}
	return err
}

// say tells the story to people; with --json nobody is listening.
func (d *demo) say(format string, args ...any) {
	if !d.json {
		fmt.Fprintf(d.stdout, format, args...)
	}
}

func (d *demo) companies() []*network.Company {
	var out []*network.Company
	for _, slug := range []string{network.AuthoritySlug, "aurora", "boreal", "cobalt", "dusk"} {
		out = append(out, d.net.Companies[slug])
	}
	return out
}

// start brings the five up and takes the first figures.
func (d *demo) start(ctx context.Context, dir string) (err error) {
	d.net, err = network.Start(ctx, network.Config{Dir: dir, Now: d.now,
		Log: func(string) *slog.Logger { return slog.New(slog.DiscardHandler) },
		Members: []network.Member{
			{Slug: "aurora", Name: "Aurora Motors", BPN: "BPNL00000000AUR1", Framework: true},
			{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true},
			{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true},
			{Slug: "dusk", Name: "Dusk Trading", BPN: "BPNL00000000DUS1"},
		},
		Change: func(slug string, cfg *connector.Config) {
			if slug == "cobalt" {
				cfg.Settings.Egress.Upstreams = []settings.Upstream{{Origin: d.source.url}}
			}
		}})
	if err != nil {
		return err
	}
	d.report.ReadyMS = round(float64(sinceStart().Microseconds()) / 1000)
	d.report.RSSMiB = round(residentMiB())
	d.say("%s\n\n", d.paint(d.stdout, bold, "Five companies, one dataspace"))
	d.say("  Meridian is the authority. Cobalt Cells makes battery cells, Boreal Drives builds packs of them, Aurora Motors builds the cars.\n")
	d.say("  Dusk Trading is a member too, but it never accepted the framework agreement.\n")
	d.say("  All five serve after %.0f ms, in %.0f MiB.\n\n", d.report.ReadyMS, d.report.RSSMiB)
	return nil
}

// story tells the steps in order; the first that fails ends it.
func (d *demo) story(ctx context.Context) error {
	cold := d.now()
	steps := []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"onboard", d.onboard}, {"publish", d.publish}, {"discover", d.discover}, {"negotiate", d.negotiate}, {"transfer", d.transfer}, {"pull", d.pull},
		{"validate", d.validate}, {"refuse", d.refuse}, {"revoke", d.revoke}, {"verify", d.verify},
	}
	for _, s := range steps {
		begin := d.now()
		if s.name == "discover" {
			cold = begin
		}
		told, err := s.do(ctx)
		took := d.now().Sub(begin)
		if s.name == "pull" {
			d.report.Exchange.ColdMS = round(float64(d.now().Sub(cold).Microseconds()) / 1000)
		}
		step := demoStep{Name: s.name, OK: err == nil, MS: round(float64(took.Microseconds()) / 1000)}
		if err != nil {
			step.Error = err.Error()
		}
		d.report.Steps = append(d.report.Steps, step)
		d.tell(step, told)
		if err != nil {
			return nil // told already; the exit code says it
		}
		if s.name == "validate" {
			if err := d.measure(ctx); err != nil {
				return err
			}
		}
	}
	d.report.OK = true
	return nil
}

func (d *demo) tell(s demoStep, told string) {
	mark := d.paint(d.stdout, green, "✓")
	if !s.OK {
		mark, told = d.paint(d.stdout, red, "✗"), lines(s.Error)
	}
	d.say("  %s %-9s %8.1f ms  %s\n", mark, s.Name, s.MS, strings.ReplaceAll(told, "\n", "\n"+strings.Repeat(" ", 26)))
}

// onboard looks whether each member holds what it asked the authority for, all of that and nothing else, and lets the rival ask for what it may not have.
func (d *demo) onboard(ctx context.Context) (string, error) {
	authority := d.net.Authority
	given := 0
	for _, c := range d.companies()[1:] {
		want := []string{"BpnCredential", "MembershipCredential"}
		if c.Local.Slug != "dusk" {
			want = []string{"BpnCredential", framework, "MembershipCredential"}
		}
		held, err := c.Wallet().Held(ctx, c.Local) // what it can show now
		if err != nil {
			return "", err
		}
		var types []string
		for _, h := range held {
			types = append(types, h.Types...)
		}
		slices.Sort(types)
		if types = slices.DeleteFunc(types, func(kind string) bool { return kind == "VerifiableCredential" }); !slices.Equal(types, want) {
			return "", fmt.Errorf("%s holds %v, want %v", c.Local.Name, types, want)
		}
		all, err := c.Wallet().Credentials(ctx, c.Local)
		if err != nil {
			return "", err
		}
		for _, h := range all {
			asked, err := c.Wallet().Request(ctx, c.Local, h.Request)
			if err != nil || h.Issuer != authority.Local.DID || asked.Issuer != h.Issuer || asked.State != wallet.Issued {
				return "", errors.Join(fmt.Errorf("%s holds a credential that it did not ask the authority for, or did not get from it", c.Local.Name), err)
			}
			book, err := authority.Issuer().Credential(ctx, authority.Local, h.ID)
			if err != nil || book.Holder != c.Local.DID || book.Digest != h.Digest || book.Standing != issuer.Good {
				return "", errors.Join(fmt.Errorf("the authority's books do not have what %s holds", c.Local.Name), err)
			}
			given++
		}
	}
	if err := d.turnedAway(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("The four members asked Meridian for their credentials and hold all %d, each as its books have it. Dusk Trading is not on the list\n"+
		"for the framework agreement: it asks for that too, is refused, and gets none.", given), nil
}

// framework is the credential that the rival does not get.
const framework = "DataExchangeGovernanceCredential"

// turnedAway lets the rival ask for the framework agreement: its request ends without a credential because of the list, and for no other reason.
func (d *demo) turnedAway(ctx context.Context) error {
	authority, dusk := d.net.Authority, d.net.Companies["dusk"]
	told := dusk.Store().Notify(ctx, dusk.Local.ID)
	r, err := dusk.Wallet().Ask(ctx, dusk.Local, wallet.Ask{Issuer: authority.Local.DID, Types: []string{framework}, Actor: "demo"})
	for err == nil && !r.State.Over() {
		select {
		case <-told:
			r, err = dusk.Wallet().Request(ctx, dusk.Local, r.ID)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	if r.State == wallet.Issued {
		return errors.New("Dusk Trading got a credential that it is not on the list for")
	}
	books, err := authority.Issuer().Requests(ctx, authority.Local, issuer.Filter{Holder: dusk.Local.DID, State: string(issuer.Rejected)}, page.Request{Newest: true})
	if err != nil {
		return err
	}
	if len(books.Items) != 1 || books.Items[0].HolderPID != r.ID || books.Items[0].Code != "rule.list" {
		return fmt.Errorf("the authority did not refuse Dusk Trading by its list: the request is %s: %s", r.State, r.Reason)
	}
	held, err := dusk.Wallet().Credentials(ctx, dusk.Local)
	if err == nil && slices.ContainsFunc(held, func(c wallet.Credential) bool { return slices.Contains(c.Types, framework) }) {
		err = errors.New("Dusk Trading holds the framework agreement all the same")
	}
	return err
}

func (d *demo) publish(ctx context.Context) (string, error) {
	cobalt := d.net.Companies["cobalt"]
	got, err := cobalt.Publish(ctx, cobalt.Local, publishing.File{Format: "csv", Template: "pcf", Actor: "demo"}, bytes.NewReader(demoParts), nil)
	if err != nil {
		return "", err
	}
	if got.Total > 0 {
		return "", fmt.Errorf("%d faults in the part list, the first: %+v", got.Total, got.Faults[0])
	}
	d.asset = sheet.AssetID(demoPart)
	return fmt.Sprintf("Cobalt Cells publishes the CO2 footprints of %d parts. Members may see them; using one takes the framework agreement.", len(got.Assets)), nil
}

func (d *demo) discover(ctx context.Context) (string, error) {
	cobalt := d.net.Companies["cobalt"]
	var seen []string
	for _, slug := range []string{"boreal", "dusk"} {
		c := d.net.Companies[slug]
		dataset, err := c.Dataset(ctx, c.Local, cobalt.Local.DID, d.asset)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.Local.Name, err)
		}
		seen = append(seen, c.Local.Name)
		if len(dataset.Offers) != 1 {
			return "", fmt.Errorf("%s sees %d offers, want 1", c.Local.Name, len(dataset.Offers))
		}
	}
	return fmt.Sprintf("%s find %q in its catalog, each identified by credentials.", strings.Join(seen, " and "), demoPart), nil
}

func (d *demo) errand() exchange.Errand {
	return exchange.Errand{Peer: d.net.Companies["cobalt"].Local.DID, Asset: d.asset, Actor: "demo"}
}

func (d *demo) negotiate(ctx context.Context) (string, error) {
	boreal := d.net.Companies["boreal"]
	contract, err := boreal.Agree(ctx, boreal.Local, d.errand())
	if err != nil {
		return "", err
	}
	d.contract = contract
	theirs, err := d.net.Companies["cobalt"].Store().Agreement(ctx, d.net.Companies["cobalt"].Local.ID, contract)
	if err != nil {
		return "", err
	}
	ours, err := boreal.Store().Agreement(ctx, boreal.Local.ID, contract)
	if err != nil {
		return "", err
	}
	if ours.Digest != theirs.Digest {
		return "", errors.New("the two sides do not hold the same agreement")
	}
	return "Boreal Drives and Cobalt Cells conclude an agreement; both hold it with the digest " + ours.Digest[:12] + "….", nil
}

func (d *demo) transfer(ctx context.Context) (string, error) {
	boreal := d.net.Companies["boreal"]
	result, err := boreal.Pull(ctx, boreal.Local, d.errand())
	if err != nil {
		return "", err
	}
	defer result.Body.Close()
	if result.Agreement != d.contract {
		return "", errors.New("the transfer runs under another agreement")
	}
	d.payload, err = io.ReadAll(io.LimitReader(result.Body, 1<<20))
	return "A transfer starts under it; an access token is issued, bound to this agreement, consumer and asset.", err
}

func (d *demo) pull(ctx context.Context) (string, error) {
	boreal := d.net.Companies["boreal"]
	result, err := boreal.Pull(ctx, boreal.Local, d.errand())
	if err != nil {
		return "", err
	}
	defer result.Body.Close()
	again, err := io.ReadAll(io.LimitReader(result.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if !bytes.Equal(again, d.payload) || len(again) == 0 {
		return "", errors.New("two pulls of one footprint differ")
	}
	return fmt.Sprintf("Boreal Drives pulls %d bytes; each serve record was durable before the first of them left.", len(again)), nil
}

func (d *demo) validate(context.Context) (string, error) {
	faults, err := d.net.Companies["boreal"].Models().Check(schemas.PCF, d.payload)
	if err != nil {
		return "", err
	}
	if len(faults) > 0 {
		return "", faults[0]
	}
	return "What arrived conforms to " + schemas.PCF + ", decimals digit for digit.", nil
}

// refuse lets the rival try: it sees the offer, asks, and is told which term it does not meet.
func (d *demo) refuse(ctx context.Context) (string, error) {
	dusk := d.net.Companies["dusk"]
	_, err := dusk.Pull(ctx, dusk.Local, d.errand())
	var refused *fault.Error
	if !errors.As(err, &refused) || refused.Kind != fault.Refused || refused.Code != "policy.refused" {
		return "", fmt.Errorf("Dusk Trading was not refused by policy: %w", err)
	}
	d.report.Refusal = demoRefusal{refused.Code, refused.Reasons}
	if !strings.Contains(strings.Join(refused.Reasons, " "), "FrameworkAgreement") {
		return "", fmt.Errorf("the refusal does not name the term: %v", refused.Reasons)
	}
	return "Dusk Trading asks for the same and is refused, with the reason:\n" + d.paint(d.stdout, yellow, lines(strings.Join(refused.Reasons, "\n"))), nil
}

// revoke retires an agreement while a pull runs under it: the pull stops.
func (d *demo) revoke(ctx context.Context) (string, error) {
	cobalt, aurora := d.net.Companies["cobalt"], d.net.Companies["aurora"]
	id := "urn:sluice:demo:line-telemetry"
	err := cobalt.PublishAsset(ctx, cobalt.Local, catalog.Asset{ID: id, Title: "Live telemetry of cell line 4", Type: "https://w3id.org/catenax/taxonomy#Submodel",
		APIVersion: "3.0", Properties: map[string]string{catalog.PropertyTerms: "pcf"}, Address: catalog.Address{BaseURL: d.source.url + "/line/4"}}, "demo")
	if err != nil {
		return "", err
	}
	result, err := aurora.Pull(ctx, aurora.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: id, Actor: "demo"})
	if err != nil {
		return "", err
	}
	defer result.Body.Close()
	if _, err := io.ReadFull(result.Body, make([]byte, 64<<10)); err != nil {
		return "", fmt.Errorf("the stream did not run: %w", err)
	}
	ended := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, result.Body)
		ended <- n
	}()
	begin := d.now()
	if err := cobalt.Retire(ctx, cobalt.Local, result.Agreement, "demo", "the pilot has ended"); err != nil {
		return "", err
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		return "", errors.New("the pull went on after the agreement was retired")
	}
	took := d.now().Sub(begin)
	if n := cobalt.Flows(); n != 0 {
		return "", fmt.Errorf("%d streams still run", n)
	}
	return fmt.Sprintf("Cobalt Cells retires its agreement with Aurora Motors while a stream runs: the last byte arrives %.1f ms later.",
		float64(took.Microseconds())/1000), nil
}

// verify exports the supplier's log and checks it with the public key alone.
func (d *demo) verify(ctx context.Context) (string, error) {
	cobalt := d.net.Companies["cobalt"]
	dir := d.logDir
	if dir == "" {
		tmp, err := os.MkdirTemp("", "sluice-demo-log-")
		if err != nil {
			return "", err
		}
		dir = filepath.Join(tmp, "cobalt")
	}
	if err := cobalt.Export(ctx, cobalt.Local, dir); err != nil {
		return "", err
	}
	key, err := cobalt.VerifierKey(ctx, cobalt.Local)
	if err != nil {
		return "", err
	}
	report, err := decisionlog.Verify(dir, key)
	if err != nil {
		return "", err
	}
	allowed, denied := 0, 0
	for rec, err := range decisionlog.Records(dir) {
		switch {
		case err != nil:
			return "", err
		case rec.Effect == "allow":
			allowed++
		case rec.Effect == "deny":
			denied++
		}
	}
	if allowed == 0 || denied == 0 {
		return "", errors.New("the log does not hold both an allow and a refusal")
	}
	d.report.Log = demoLog{Dir: dir, Key: key, Size: report.Size, Verified: true}
	return fmt.Sprintf("Cobalt Cells' log of %d records (%d allowed, %d refused) checks out with its public key alone:\nsluice log verify --key '%s' %s",
		report.Size, allowed, denied, key, dir), nil
}

// measure times whole exchanges: catalog, agreement, token, first byte; both sides identified at each message, presentations warm.
func (d *demo) measure(ctx context.Context) error {
	boreal := d.net.Companies["boreal"]
	times := make([]time.Duration, 0, d.exchanges)
	for range d.exchanges {
		e := d.errand()
		e.Fresh = true
		begin := d.now()
		result, err := boreal.Pull(ctx, boreal.Local, e)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(result.Body, make([]byte, 1)); err != nil {
			return errors.Join(err, result.Body.Close())
		}
		times = append(times, d.now().Sub(begin))
		_, _ = io.Copy(io.Discard, result.Body)
		if err := result.Body.Close(); err != nil {
			return err
		}
	}
	d.report.Exchange.Count = len(times)
	if len(times) == 0 {
		return nil
	}
	slices.Sort(times)
	at := func(q float64) float64 {
		return round(float64(times[min(int(q*float64(len(times))), len(times)-1)].Microseconds()) / 1000)
	}
	d.report.Exchange.P50MS, d.report.Exchange.P99MS = at(0.50), at(0.99)
	d.say("  %s %-9s %8.1f ms  the middle of %d exchanges from catalog to first byte, each with its own contract (99th percentile %.1f ms, the first %.1f ms)\n",
		d.paint(d.stdout, green, "✓"), "exchange", d.report.Exchange.P50MS, len(times), d.report.Exchange.P99MS, d.report.Exchange.ColdMS)
	return nil
}

func round(f float64) float64 {
	n, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', 1, 64), 64)
	if err != nil {
		return f
	}
	return n
}

// sinceStart is how long this process has run, as the system sees it; its resolution is 10 ms.
func sinceStart() time.Duration {
	stat, err1 := os.ReadFile("/proc/self/stat")
	uptime, err2 := os.ReadFile("/proc/uptime")
	if errors.Join(err1, err2) != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	up := strings.Fields(string(uptime))
	if len(fields) < 20 || len(up) == 0 {
		return 0
	}
	ticks, err1 := strconv.ParseFloat(fields[19], 64)
	seconds, err2 := strconv.ParseFloat(up[0], 64)
	if errors.Join(err1, err2) != nil {
		return 0
	}
	return time.Duration((seconds - ticks/100) * float64(time.Second))
}

func residentMiB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err == nil {
				return kib / 1024
			}
		}
	}
	return 0
}

// source is a data source of the supplier's: telemetry that does not end.
type source struct {
	url    string
	server *http.Server
	done   sync.WaitGroup
}

func startSource() (*source, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &source{url: "http://" + l.Addr().String()}
	s.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		line, err := json.Marshal(map[string]string{"line": r.URL.Path, "state": "running"})
		block := bytes.Repeat(append(line, '\n'), 256)
		for err == nil && r.Context().Err() == nil {
			_, err = w.Write(block)
		}
	})}
	s.done.Go(func() { _ = s.server.Serve(l) })
	return s, nil
}

func (s *source) close() {
	_ = s.server.Close()
	s.done.Wait()
}
