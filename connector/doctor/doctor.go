package doctor

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/trust"
	"github.com/sluice-connector/sluice/connector/wire/egress"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
	"github.com/sluice-connector/sluice/policy/profile"
)

// Result is the verdict of a check.
type Result string

// The verdicts. A warning is what may be meant, or will be a fault; a fault keeps something from working.
const (
	OK      Result = "ok"
	Warning Result = "warning"
	Fault   Result = "fault"
)

// Finding is what one check found.
type Finding struct {
	Check  string `json:"check"` // what was looked at: "clock", "document of aurora"
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"` // one sentence: what is there, or what is wrong
	Mend   string `json:"mend,omitempty"`   // the command, or the key of the settings, that mends it
}

// Config carries what an examination is made of. Settings, valid and with absolute paths, are required.
type Config struct {
	Settings settings.Settings
	File     string                                 // of the settings, as commands are to name it; "" is the default one
	Master   keyring.Master                         // the file that the settings name
	Roots    *x509.CertPool                         // the system's, with Settings.Egress.Roots
	Now      func() time.Time                       // the system's clock
	Rand     io.Reader                              // crypto/rand
	Disk     durable.FS                             // the operating system's file system, for the master key
	Dial     egress.Dial                            // net.Dialer
	Resolve  egress.Resolve                         // the system's resolver
	Own      func() (addresses []net.Addr, _ error) // net.InterfaceAddrs
}

// Bounds of one examination: it must end, however large the dataspace.
const (
	maxHosted   = 32              // participants that are looked at
	maxIssuers  = 32              // issuers that are asked for their documents
	maxPartners = 8               // partners, for their clocks
	maxVisits   = 8               // at once
	patience    = 5 * time.Second // with one of them
	maxSaid     = 8               // findings about the credentials of one participant
)

func (cfg *Config) defaults() {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Disk == nil {
		cfg.Disk = durable.OS{}
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: patience}).DialContext
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Own == nil {
		cfg.Own = net.InterfaceAddrs
	}
}

// examination is one run of all checks.
type examination struct {
	cfg      Config
	set      settings.Settings
	roots    *x509.CertPool
	leaf     *x509.Certificate // of public.cert, once it could be read
	profiles []*profile.Profile
	book     *trust.Book
	out      *egress.Client            // the way out of the connector itself, and to our own address
	store    store.Store               // nil: it cannot be read
	hosted   []participant.Participant // that the store has
	serving  bool                      // a connector answers where peers come in
	visits   map[participant.DID]*visit

	findings []Finding
}

// Examine makes every check, in the order in which one mends what it finds, and returns what each found.
func Examine(ctx context.Context, cfg Config) []Finding {
	cfg.defaults()
	x := &examination{cfg: cfg, set: cfg.Settings, visits: map[participant.DID]*visit{}}
	x.add("settings", OK, "valid", "")
	if !x.ecosystems() {
		return x.findings
	}
	x.directory()
	defer x.openStore(ctx)()
	x.keys(ctx)
	x.authorities()
	x.certificates()
	x.wayOut()
	x.publicHost(ctx)
	x.ports(ctx)
	x.visitAll(ctx)
	x.clock()
	x.seen()
	x.documents(ctx)
	x.issuers()
	x.credentials(ctx)
	return x.findings
}

func (x *examination) add(check string, r Result, detail, mend string) {
	x.findings = append(x.findings, Finding{Check: check, Result: r, Detail: detail, Mend: mend})
}

// ecosystems reads the files of the profiles, and whom the settings believe.
func (x *examination) ecosystems() bool {
	var err error
	if x.profiles, x.book, err = connector.Ecosystems(x.set); err != nil {
		x.add("profiles", Fault, err.Error(), "settings key profiles")
		return false
	}
	for i, p := range x.profiles {
		if len(x.book.Terms(p.ID).Issuers) == 0 {
			x.add("trust", Warning, fmt.Sprintf("nobody is believed in %s: no peer can prove anything there, so every usage policy refuses", p.ID),
				fmt.Sprintf("settings key profiles[%d].trust, then: sluice trust reload", i))
		}
	}
	return true
}

// place is the index of a profile in the settings, for the keys there.
func (x *examination) place(id string) int {
	return max(0, slices.IndexFunc(x.profiles, func(p *profile.Profile) bool { return p.ID == id }))
}

// wayOut makes the client that everything outside is asked with. Our own address is let out in any case: whether others may go there is judged
// by publicHost, and what is served there is looked at all the same.
func (x *examination) wayOut() {
	var allow []string
	for _, raw := range append(slices.Clone(x.set.Egress.Peers), x.origin()) {
		if origin, err := egress.Origin(raw); err == nil {
			allow = append(allow, origin)
		}
	}
	x.out = egress.New(egress.Config{Dial: x.cfg.Dial, Resolve: x.cfg.Resolve, Allow: allow, Public: true, Total: patience, Log: slog.New(slog.DiscardHandler),
		TLS: &tls.Config{RootCAs: x.roots, MinVersion: tls.VersionTLS12, Time: x.cfg.Now}})
}

// origin is where peers find us.
func (x *examination) origin() string { return "https://" + x.set.Public.Host }

// listed reports whether the settings let this origin out although the rules would not.
func (x *examination) listed(origin string) bool {
	want, err := egress.Origin(origin)
	return err == nil && slices.ContainsFunc(x.set.Egress.Peers, func(raw string) bool {
		have, err := egress.Origin(raw)
		return err == nil && have == want
	})
}

// serve is the command that starts the connector.
func (x *examination) serve() string {
	if x.cfg.File == "" {
		return "sluice serve"
	}
	return "sluice serve --config " + x.cfg.File
}

// locals are the participants that are looked at: those of the store, and while it cannot be read those of the settings.
func (x *examination) locals() []participant.Participant {
	all := x.hosted
	if x.store == nil {
		for _, p := range x.set.Participants {
			all = append(all, participant.Participant{Slug: p.Slug, DID: identity.FormatDID(x.set.Public.Host, p.Slug), Profile: p.Profile})
		}
	}
	return all[:min(len(all), maxHosted)]
}

// visitAll asks for every document that something is to be said of, several at once.
func (x *examination) visitAll(ctx context.Context) {
	var dids []participant.DID
	for _, p := range x.locals() {
		dids = append(dids, p.DID)
	}
	dids = append(dids, x.believed()...)
	dids = append(dids, x.partners(ctx)...)
	places := make(chan struct{}, maxVisits)
	var wait sync.WaitGroup
	for _, did := range dids {
		if x.visits[did] != nil {
			continue
		}
		v := &visit{did: did}
		x.visits[did] = v
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			x.visit(ctx, v)
		})
	}
	wait.Wait()
}

// believed are those whose documents are needed to believe anybody: issuers, and who publishes their status lists.
func (x *examination) believed() []participant.DID {
	var out []participant.DID
	for _, p := range x.profiles {
		for _, i := range x.book.Terms(p.ID).Issuers {
			for _, did := range append([]participant.DID{i.DID}, i.Status...) {
				if !slices.Contains(out, did) {
					out = append(out, did)
				}
			}
		}
	}
	return out[:min(len(out), maxIssuers)]
}

// partners are some of those with whom there are agreements, the newest first.
func (x *examination) partners(ctx context.Context) []participant.DID {
	var out []participant.DID
	if x.store == nil {
		return nil
	}
	for _, p := range x.locals() {
		agreements, err := x.store.Agreements(ctx, p.ID, "", page.Request{Newest: true, Limit: 100})
		if err != nil {
			continue // the store's own check says it
		}
		for _, a := range agreements.Items {
			if did := a.Peer(); len(out) < maxPartners && !slices.Contains(out, did) {
				out = append(out, did)
			}
		}
	}
	return out
}

// ours reports whether a DID is of this connector's host.
func (x *examination) ours(did participant.DID) bool {
	return strings.HasPrefix(string(did), string(identity.FormatDID(x.set.Public.Host, "")))
}

// soon is how long before its end something is to be replaced: an eighth of its life, at most two weeks.
func soon(from, to time.Time) time.Duration { return min(14*24*time.Hour, to.Sub(from)/8) }

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// sentence joins what several things are called.
func sentence(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
