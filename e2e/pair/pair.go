package pair

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/dataplane"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/engine"
	"github.com/sluice-connector/sluice/policy/profile"
	"github.com/sluice-connector/sluice/policy/rego"
)

// Dataset is what Cobalt Cells offers once Publish was called.
const Dataset = "urn:cobalt:part:CC-4711"

// bpns are the companies that take part, each with its business partner number.
var bpns = map[string]string{"aurora": "BPNL00000000AUR1", "boreal": "BPNL00000000BOR1", "cobalt": "BPNL00000000COB1", "dusk": "BPNL00000000DUS1"}

// shared is one engine for all tests of a process: it is compiled once and has no state.
var shared = sync.OnceValues(func() (*engine.Engine, error) { return engine.New(context.Background()) })

// Network is the companies and what lies between them. Time stands still unless Advance moves it.
type Network struct {
	t       testing.TB
	parts   Parts
	engine  *engine.Engine
	profile *profile.Profile

	mu    sync.Mutex
	now   time.Time
	sides map[string]*Side
}

// Parts is what each company is made of, by its slug.
type Parts struct {
	Rand   func(slug string) io.Reader
	Open   func(slug string) (*sqlstore.Store, error)
	Keys   func(slug string) (identity.Keys, error)
	Now    func() time.Time         // nil: the network's own clock, which stands still
	Root   func(slug string) string // address of a company; nil: all share a host
	Outbox func(*Side) Outbox       // asked at every start; nil: what is sent waits until the test delivers it
	Log    func(slug string) *slog.Logger
}

// Outbox is what services hand their messages to.
type Outbox interface{ Send(commit.Owed) }

// New joins the companies named by slug: aurora, boreal, cobalt and dusk are known. All but dusk accepted the framework agreement
// and take offers that they did not ask for.
func New(t testing.TB, slugs ...string) *Network {
	t.Helper()
	dirs := map[string]string{}
	for _, slug := range slugs {
		dirs[slug] = t.TempDir()
	}
	return Join(t, Parts{
		Rand: func(string) io.Reader { return rand.Reader },
		Open: func(slug string) (*sqlstore.Store, error) {
			s, err := embedded.Open(t.Context(), embedded.Options{Dir: dirs[slug], Rand: rand.Reader})
			if err == nil {
				t.Cleanup(func() { _ = s.Close() })
			}
			return s, err
		},
		Keys: func(slug string) (identity.Keys, error) {
			return keyring.Draw(slug, rand.Reader, time.Now)
		},
	}, slugs...)
}

// Join is New with parts of the caller's, who closes the stores.
func Join(t testing.TB, parts Parts, slugs ...string) *Network {
	t.Helper()
	e, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Default()
	if err != nil {
		t.Fatal(err)
	}
	if parts.Root == nil {
		parts.Root = func(slug string) string { return host + "/" + slug }
	}
	if parts.Log == nil {
		log := slog.New(slog.NewTextHandler(t.Output(), nil))
		parts.Log = func(slug string) *slog.Logger { return log.With(slog.String("company", slug)) }
	}
	n := &Network{t: t, parts: parts, engine: e, profile: p, now: Dawn, sides: map[string]*Side{}}
	for _, slug := range slugs {
		n.sides[slug] = n.join(slug)
	}
	return n
}

// Dawn is when every network begins, unless it has a clock of its own.
var Dawn = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// Now is the time everywhere in the network.
func (n *Network) Now() time.Time {
	if n.parts.Now != nil {
		return n.parts.Now()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// Advance moves the time.
func (n *Network) Advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = n.now.Add(d)
}

// Side returns a company.
func (n *Network) Side(slug string) *Side { return n.sides[slug] }

// Side is one company: its services over its own store.
type Side struct {
	Local        participant.Participant
	Peer         participant.Peer // itself, as others see it
	Facts        policy.Party     // what it proves by credential
	Catalog      *catalog.Service
	Negotiations *negotiation.Service
	Transfers    *transfer.Service
	Flows        *Flows
	Store        *Store
	Hold         func(negotiation.Negotiation, negotiation.Kind) bool // what waits for an operator; nil: nothing
	HoldStart    func(transfer.Transfer) bool                         // and which starts
	Ledger       dataplane.Decider                                    // what its data plane asks

	net      *Network
	rand     io.Reader
	recorder *decisionlog.Recorder
	vault    identity.Vault
	mux      *http.ServeMux

	mu   sync.Mutex
	sent []commit.Owed
}

func (n *Network) join(slug string) *Side {
	did := participant.DID("did:web:dataspace.example:" + slug)
	s := &Side{net: n, Flows: &Flows{}, rand: n.parts.Rand(slug), Peer: participant.Peer{DID: did}, Facts: facts(did, slug, Dawn)}
	keys, err := n.parts.Keys(slug)
	if err != nil {
		n.t.Fatal(err)
	}
	secret, err := keys.Secret(identity.SecretLog)
	if err != nil {
		n.t.Fatal(err)
	}
	s.recorder, err = decisionlog.NewRecorder(slug, "dataspace.example", engine.Info(), rego.Query, decisionlog.Domain{ID: slug + "/1", Key: secret}, s.rand)
	if err != nil {
		n.t.Fatal(err)
	}
	s.vault = identity.Vault{Keys: func(participant.Participant) (identity.Keys, error) { return keys, nil }, Rand: s.rand}
	s.Local = participant.Participant{Slug: slug, DID: did, Name: slug, Created: n.Now()}
	s.Start()
	return s
}

// Start opens the store and begins the services over it anew, as a process does: what it had in hand before is forgotten. Who calls it again
// has closed the store before.
func (s *Side) Start() {
	t, ctx := s.net.t, s.net.t.Context()
	t.Helper()
	raw, err := s.net.parts.Open(s.Local.Slug)
	if err != nil {
		t.Fatal(err)
	}
	local, err := raw.Participant(ctx, s.Local.Slug)
	if fault.Is(err, fault.NotFound) {
		local, err = raw.CreateParticipant(ctx, s.Local)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Local, s.Store, s.mux = local, &Store{Store: raw}, http.NewServeMux()
	s.Restart()
	s.services(s.vault)
}

func facts(did participant.DID, slug string, now time.Time) policy.Party {
	credential := func(kind string, subject map[string]string) policy.Credential {
		return policy.Credential{Type: kind, BPN: bpns[slug], Issuer: "did:web:dataspace.example:meridian", ID: "urn:uuid:" + slug, Subject: subject,
			NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), Digest: strings.Repeat("0", 64)}
	}
	p := policy.Party{DID: string(did), Credentials: []policy.Credential{credential("MembershipCredential", map[string]string{"memberOf": "Meridian"})}}
	if slug != "dusk" {
		p.Credentials = append(p.Credentials, credential("DataExchangeGovernanceCredential", map[string]string{"contractVersion": "1.0"}))
	}
	return p
}

func (s *Side) services(vault identity.Vault) {
	n := s.net
	s.Ledger = ledger{s}
	log := n.parts.Log(s.Local.Slug)
	var outbox Outbox = s
	if n.parts.Outbox != nil {
		outbox = n.parts.Outbox(s)
	}
	s.Catalog = catalog.New(catalog.Config{Store: s.Store, Decider: ledger{s}, Evidence: evidence{n}, Sources: sources{}, Profile: n.profile, ProfileID: n.profile.ID, Now: n.Now, Rand: s.rand})
	s.Negotiations = negotiation.New(negotiation.Config{Store: s.Store, Offers: s.Store, Decider: ledger{s}, Evidence: evidence{n}, Codec: dsp.Codec{}, Directory: directory{n}, Outbox: outbox,
		Profile: n.profile, ProfileID: n.profile.ID, Accepts: []string{"cx.pcf.base:1"}, Now: n.Now, Rand: s.rand, Log: log, MaxOpen: MaxOpen,
		Hosted: hosted{s}, Patience: Patience, Offered: s.Local.Slug != "dusk", Hold: func(n negotiation.Negotiation, m negotiation.Kind) bool { return s.Hold != nil && s.Hold(n, m) }})
	s.Transfers = transfer.New(transfer.Config{Store: s.Store, Agreements: s.Store, Assets: s.Store, Decider: ledger{s}, Evidence: evidence{n}, Codec: dsp.Codec{}, Directory: directory{n},
		Tokens: vault, Flows: s.Flows, Outbox: outbox, Endpoint: func(p participant.Participant) string { return n.parts.Root(p.Slug) + "/data" }, ProfileID: n.profile.ID,
		Explain: negotiation.Refusal, Now: n.Now, Rand: s.rand, Log: log, MaxOpen: MaxOpen,
		Hold: func(t transfer.Transfer) bool { return s.HoldStart != nil && s.HoldStart(t) }})
	dsphttp.New(dsphttp.Config{Participants: s.Store, Authenticator: caller{}, Negotiations: s.Negotiations, Transfers: s.Transfers, Catalogs: s.Catalog,
		Cursors: identity.Cursors{Vault: vault}, Base: n.base, Log: log}).Mount(s.mux)
}

// Patience is how long a negotiation waits for an operator.
const Patience = 72 * time.Hour

// MaxOpen is how many open processes a company allows one peer.
const MaxOpen = 20
