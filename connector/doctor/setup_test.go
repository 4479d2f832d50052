package doctor_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/certs"
	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/doctor"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/policy/engine"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is where names lead: each has a public address of its own, and what listens there listens on this machine.
type world struct {
	names map[string]string // name -> address
	ports map[string]string // address:port -> listener
}

func (w world) resolve(_ context.Context, name string) ([]netip.Addr, error) {
	address, ok := w.names[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr(address)}, nil
}

func (w world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if real, ok := w.ports[address]; ok {
		address = real
	}
	if host, _, err := net.SplitHostPort(address); err == nil && host != "127.0.0.1" {
		return nil, fmt.Errorf("nobody is at %s: %w", address, os.ErrDeadlineExceeded)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// at is the world with one more name in it, or with one that leads elsewhere.
func (w world) at(name, address, listener string) world {
	next := world{map[string]string{}, map[string]string{}}
	for k, v := range w.names {
		next.names[k] = v
	}
	for k, v := range w.ports {
		next.ports[k] = v
	}
	next.names[name] = address
	next.ports[net.JoinHostPort(address, "443")] = listener
	return next
}

// The places of this world.
const (
	auroraHost, auroraAt     = "connector.aurora.example", "11.1.1.1"
	meridianHost, meridianAt = "meridian.example", "11.2.2.2"
	other                    = "other.example"
)

// company is a connector that serves with certificates in files.
type company struct {
	*connector.Connector
	local participant.Participant
	set   settings.Settings
	stop  func()
}

// town is a running dataspace of Aurora Motors and Meridian, the authority.
type town struct {
	world
	ca       *certs.CA
	aurora   *company
	meridian *company
}

var types = []string{"MembershipCredential", "BpnCredential", "DataExchangeGovernanceCredential"}

// shared is one engine for all connectors of these tests: it takes long to make.
var shared = sync.OnceValues(func() (*engine.Engine, error) { return engine.New(context.Background()) })

// build makes the town. Aurora is given credentials of the types, each good for a while.
func build(t *testing.T, held ...string) *town {
	t.Helper()
	ca, err := certs.New(rand.Reader, time.Now)
	must(t, err)
	v := &town{world: world{map[string]string{}, map[string]string{}}, ca: ca}
	public := map[string]net.Listener{}
	for name, address := range map[string]string{auroraHost: auroraAt, meridianHost: meridianAt} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		public[name] = l
		v.world = v.at(name, address, l.Addr().String())
	}
	v.meridian = v.serve(t, meridianHost, "meridian", public[meridianHost])
	v.aurora = v.serve(t, auroraHost, "aurora", public[auroraHost])
	for _, kind := range held {
		v.give(t, kind, 365*24*time.Hour)
	}
	return v
}

// serve runs a connector until the test ends, or until it is stopped.
func (v *town) serve(t *testing.T, host, slug string, public net.Listener) *company {
	t.Helper()
	dir := t.TempDir()
	must(t, v.ca.Write(dir, host))
	management, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	shared, err := shared()
	must(t, err)
	s := settings.Default()
	s.Data = filepath.Join(dir, "data")
	s.Public = settings.Listener{Listen: public.Addr().String(), Host: host, Cert: filepath.Join(dir, "tls.pem"), Key: filepath.Join(dir, "tls.key")}
	s.Management.Listen = management.Addr().String()
	s.Participants = []settings.Participant{{Slug: slug, Name: slug, Issuer: slug == "meridian"}}
	s.Profiles[0].Trust = []settings.Trust{{Issuer: "did:web:" + meridianHost + ":meridian", Credentials: types}}
	s.Egress.Roots = filepath.Join(dir, "ca.pem")
	must(t, s.Validate())
	c, err := connector.New(t.Context(), connector.Config{Settings: s, Engine: shared, Dial: v.dial, Resolve: v.resolve, Public: public, Management: management})
	must(t, err)
	local, err := c.Participant(t.Context(), slug)
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, c.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &company{c, local, s, stop}
}

// give lets Meridian issue a credential of the type to Aurora, by hand, and returns what Meridian knows of it.
func (v *town) give(t *testing.T, kind string, life time.Duration) issuer.Credential {
	t.Helper()
	ctx, authority := t.Context(), v.meridian.Issuer()
	all, err := authority.Definitions(ctx, v.meridian.local)
	must(t, err)
	for _, d := range all {
		if d.Type == kind && d.Life != life {
			d.Life = life
			_, err := authority.PutDefinition(ctx, v.meridian.local, d, "test")
			must(t, err)
		}
	}
	c, token, err := authority.Issue(ctx, v.meridian.local, issuer.Issuing{Holder: v.aurora.local.DID, Definition: kind, Values: map[string][]string{"bpn": {"BPNL00000000AUR1"}}, Actor: "test"})
	must(t, err)
	_, err = v.aurora.Wallet().Put(ctx, v.aurora.local, []byte(token), "program")
	must(t, err)
	return c
}

// config is that of an examination of Aurora, for a test to change: its own settings, in the town's world.
func (v *town) config() doctor.Config {
	s := v.aurora.set
	s.Profiles = append([]settings.Profile{}, s.Profiles...)
	return doctor.Config{Settings: s, Dial: v.dial, Resolve: v.resolve, Own: func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.ParseIP(auroraAt), Mask: net.CIDRMask(24, 32)}}, nil
	}}
}

// in lets an examination look at another world.
func in(cfg *doctor.Config, w world) { cfg.Dial, cfg.Resolve = w.dial, w.resolve }

// impostor serves over TLS with the certificate until the test ends, and returns where it listens. A nil certificate is no TLS.
func impostor(t *testing.T, leaf *tls.Certificate, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	if leaf != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12})
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return address
}

// text answers with a document.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// leaf is a certificate of the town's authority.
func (v *town) leaf(t *testing.T, names ...string) *tls.Certificate {
	t.Helper()
	leaf, err := v.ca.Leaf(names...)
	must(t, err)
	return &leaf
}

// found checks that an examination finds this, among whatever else, and names what mends it. detail and mend are patterns.
func found(t *testing.T, cfg doctor.Config, check string, result doctor.Result, detail, mend string) {
	t.Helper()
	findings := doctor.Examine(t.Context(), cfg)
	for _, f := range findings {
		if f.Check == check && f.Result == result && regexp.MustCompile(detail).MatchString(f.Detail) && regexp.MustCompile(mend).MatchString(f.Mend) {
			return
		}
	}
	t.Errorf("want %s, %s: %s (mend: %s); found:\n%s", result, check, detail, mend, written(findings))
}

func written(findings []doctor.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-7s %s: %s\n        mend: %s\n", f.Result, f.Check, f.Detail, f.Mend)
	}
	return b.String()
}
