package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// finding is one line of the doctor.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // "ok", "warning" or "fault"
	Detail string `json:"detail,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check settings, keys, store, certificates, clock and addresses",
		Long: `Doctor looks at everything that a connector needs and says what is wrong and what to do. It changes nothing but the schema of an older store. Exit code 7 when there is a fault;
warnings alone do not count. Run it before the first start, and again while the connector runs: only then can it see that peers reach it.`,
		Example: `  sluice doctor
  sluice doctor --config /etc/sluice/sluice.yaml --json`,
		Args: cobra.NoArgs,
	}
	path := a.configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return &exitError{code: exitWrong, err: err}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		d := &doctor{app: a, settings: s}
		d.all(ctx)
		return d.report()
	}
	return c
}

type doctor struct {
	*app
	settings settings.Settings
	findings []finding
}

func (d *doctor) note(check string, err error, ok string) bool {
	if err != nil {
		d.findings = append(d.findings, finding{check, "fault", err.Error()})
		return false
	}
	d.findings = append(d.findings, finding{check, "ok", ok})
	return true
}

func (d *doctor) warn(check, detail string) {
	d.findings = append(d.findings, finding{check, "warning", detail})
}

func (d *doctor) all(ctx context.Context) {
	d.note("settings", nil, "valid")
	d.clock()
	d.directory()
	d.store(ctx)
	roots := d.roots()
	d.certificate("certificate for peers", d.settings.Public.Cert, d.settings.Public.Key, roots, hostOnly(d.settings.Public.Host))
	d.certificate("certificate of the management API", d.settings.Management.Cert, d.settings.Management.Key, nil, "")
	if p := d.settings.Public; p.Cert == "" && len(p.Proxies) == 0 && hostOnly(p.Host) != "localhost" {
		d.warn("proxies", "no TLS here and public.proxies is empty: the proxy in front stands for all peers, who then share what limits give one address")
	}
	serving := d.listening(ctx, "address for peers", d.settings.Public.Listen)
	d.listening(ctx, "management address", d.settings.Management.Listen)
	if len(d.settings.Profile.Trust) == 0 {
		d.warn("trust", "profile.trust is empty: no peer can prove anything, so every usage policy refuses")
	}
	for _, p := range d.settings.Participants {
		d.did(ctx, p.Slug, roots, serving)
	}
}

func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// birth is before any binary of this program was built: an earlier clock is wrong.
var birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (d *doctor) clock() {
	now := d.now()
	var err error
	if now.Before(birth) {
		err = fmt.Errorf("the clock says %s: tokens and credentials would be judged by that; set it and keep it by NTP", now.UTC().Format(time.RFC3339))
	}
	d.note("clock", err, now.UTC().Format(time.RFC3339))
}

// directory checks who may read what is secret.
func (d *doctor) directory() {
	info, err := os.Stat(d.settings.Data)
	if errors.Is(err, fs.ErrNotExist) {
		d.warn("data directory", d.settings.Data+" is not there yet: serve makes it")
		return
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", d.settings.Data)
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s has mode %v: others may look in; chmod 700", d.settings.Data, info.Mode().Perm())
	}
	d.note("data directory", err, d.settings.Data)
}

func (d *doctor) store(ctx context.Context) {
	if _, err := os.Stat(d.settings.Data); err != nil && d.settings.Store.Kind == settings.Embedded {
		return // said already, and the doctor makes nothing
	}
	st, err := d.openStore(ctx, d.settings)
	if err != nil {
		d.note("store", err, "")
		return
	}
	d.note("store", st.Ping(ctx), d.settings.Store.Kind+": writes are durable")
	d.keys(ctx, st)
	if err := st.Close(); err != nil {
		d.note("store", err, "")
	}
}

// keys checks that the master key opens the keys in the store.
func (d *doctor) keys(ctx context.Context, st store.Store) {
	master, err := d.master()
	where := "SLUICE_MASTER_KEY"
	if err == nil && master == nil {
		where = d.settings.MasterKey()
		master, err = keyring.ReadMaster(durable.OS{}, where, d.rand)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if wrapped, err := st.Masters(ctx); err == nil && len(wrapped) == 0 {
			d.warn("master key", where+" is not there yet: serve makes it")
			return
		}
		err = fmt.Errorf("%w: the keys in the store cannot be read without it; bring it back, or set SLUICE_MASTER_KEY", err)
	}
	if !d.note("master key", err, where) {
		return
	}
	keeper := keyring.NewKeeper(keyring.Config{Store: st, Master: master, Now: d.now, Rand: d.rand, Log: d.logger(d.settings.Log)})
	for _, p := range d.settings.Participants {
		check := "keys of " + p.Slug
		if _, err := keeper.Open(ctx, p.Slug); fault.Is(err, fault.NotFound) {
			d.warn(check, "there are none yet: serve makes them, or takes them over from an earlier version")
		} else {
			d.note(check, err, "the master key opens them")
		}
	}
}

// roots are those that peers are judged by here. Without the file the system's are meant, and nil says so.
func (d *doctor) roots() *x509.CertPool {
	path := d.settings.Egress.Roots
	if path == "" {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(path)
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s holds no certificate", path)
	}
	d.note("certificate authorities", err, path)
	return pool
}

// certificate checks key, chain, name and how long it is good for.
func (d *doctor) certificate(check, cert, key string, roots *x509.CertPool, host string) {
	if cert == "" {
		if host != "" {
			d.warn(check, "none: something in front must end TLS, and peers must reach https://"+d.settings.Public.Host)
		}
		return
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		d.note(check, err, "")
		return
	}
	leaf := pair.Leaf
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: d.now()})
	if unknown := (x509.UnknownAuthorityError{}); host == "" && errors.As(err, &unknown) {
		d.warn(check, "no authority of this system signed it: the command line needs --ca")
		err = nil
	}
	if !d.note(check, err, "good until "+leaf.NotAfter.UTC().Format(time.DateOnly)) {
		return
	}
	if left := leaf.NotAfter.Sub(d.now()); left < 14*24*time.Hour {
		d.warn(check, fmt.Sprintf("ends in %d days", int(left.Hours()/24)))
	}
}

// listening reports whether somebody serves at the address; nobody is right before the first start.
func (d *doctor) listening(ctx context.Context, check, address string) bool {
	conn, err := d.dial(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
		d.note(check, nil, address+": in use, by this connector if it runs")
		return true
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		err = l.Close()
	}
	d.note(check, err, address+": free")
	return false
}

// maxDocument bounds a DID document.
const maxDocument = 64 << 10

// did fetches the participant's DID document the way a peer does, and compares clocks on the way.
func (d *doctor) did(ctx context.Context, slug string, roots *x509.CertPool, serving bool) {
	check := "DID of " + slug
	if !serving {
		d.warn(check, "not looked at: the connector does not run")
		return
	}
	did := identity.FormatDID(d.settings.Public.Host, slug)
	address := "https://" + d.settings.Public.Host + "/" + slug + "/did.json"
	transport := &http.Transport{DialContext: d.dial, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: d.now}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		d.note(check, err, "")
		return
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		d.note(check, fmt.Errorf("%s does not answer: %w", address, err), "")
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDocument))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", address, res.Status)
	}
	if err == nil {
		_, err = identity.ParseDocument(did, body)
	}
	d.note(check, err, string(did))
	if there, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		if off := d.now().Sub(there).Abs(); off > 30*time.Second {
			d.warn("clock", fmt.Sprintf("%s is %s away from the clock here: peers allow 30 s", d.settings.Public.Host, off.Round(time.Second)))
		}
	}
}

func (d *doctor) report() error {
	faults := 0
	colours := map[string]string{"ok": green, "warning": yellow, "fault": red}
	for _, f := range d.findings {
		if f.Result == "fault" {
			faults++
		}
		if !d.json {
			fmt.Fprintf(d.stdout, "%s  %s: %s\n", d.paint(d.stdout, colours[f.Result], fmt.Sprintf("%-7s", f.Result)), f.Check, printable(f.Detail))
		}
	}
	if d.json {
		if err := d.value(map[string]any{"ok": faults == 0, "findings": d.findings}); err != nil {
			return err
		}
	}
	if faults > 0 {
		return &exitError{code: exitWrong, silent: true, err: fmt.Errorf("%d faults", faults)}
	}
	return nil
}
