package connector

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/dataplane"
	"github.com/sluice-connector/sluice/connector/dataplane/pull"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/postgres"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/turn"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
	"github.com/sluice-connector/sluice/connector/wire/egress"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
	"github.com/sluice-connector/sluice/policy/decisionlog/markfile"
	"github.com/sluice-connector/sluice/policy/engine"
)

// Config is everything a connector is made of. Settings is required; each other field has a default that the comment names, and
// exists so that a test can own it.
type Config struct {
	Settings settings.Settings
	Now      func() time.Time // the system's clock
	Rand     io.Reader        // crypto/rand
	Dial     egress.Dial      // net.Dialer
	Resolve  egress.Resolve   // the system's resolver
	VFS      string           // the operating system's file layer, for the embedded store
	Disk     durable.FS       // the operating system's file system, for the master key and checkpoints
	Roots    *x509.CertPool   // the system's roots, with Settings.Egress.Roots
	Master   keyring.Master   // the file Settings.Keys.Master; it is made when nothing in the store needs it yet
	Engine   *engine.Engine   // one of its own; several connectors in one process may share one
	Identity Identity         // DCP over the DIDs of the hosted participants
	Hold     Hold             // nothing waits for an operator
	// Reload reads the settings again, for ReloadTrust; nil: they cannot be read again.
	Reload func() (settings.Settings, error)
	Fresh  bool         // the data plane relies on no decision twice, not even for a second
	Scheme string       // https; what serves behind another's TLS, or a test, may say http
	Log    *slog.Logger // discarded

	Public     net.Listener     // listens at Settings.Public.Listen
	Management net.Listener     // listens at Settings.Management.Listen
	TLS        *tls.Certificate // Settings.Public.Cert and Key
}

// GCPercent is what a process that serves should give debug.SetGCPercent, unless its operator set GOGC: the heap of a connector is small and its
// garbage is not, so that with the usual 100 a tenth of its time goes into collecting.
const GCPercent = 400

// Hold says what waits for an operator although the policies allow it.
type Hold struct {
	Negotiation func(n negotiation.Negotiation, m negotiation.Kind) bool
	Transfer    func(t transfer.Transfer) bool
}

// Connector hosts participants. New made it; Run serves; Close releases.
type Connector struct {
	cfg        Config
	ecosystems *ecosystems
	reloading  sync.Mutex // held by who changes what is believed
	models     *aspect.Models
	store      store.Store
	keeper     *keyring.Keeper
	hosted     *hosted
	ledger     *ledger
	peers      *egress.Client
	sources    *egress.Client
	logins     *egress.Client
	registries *egress.Client
	users      *identity.Users
	directory  *directory.Reader

	resolver     *identity.Resolver
	informal     map[participant.DID]bool // who may leave out what nothing rests on
	calls        credential.Calls
	losses       losses
	metrics      metrics
	patient      *egress.Client
	tokens       *identity.Verifier
	wallet       *wallet.Service
	issuers      *dcphttp.Issuers
	agent        *dcphttp.Agent
	identity     Identity
	client       *dsphttp.Client
	catalog      *catalog.Service
	negotiations *negotiation.Service
	transfers    *transfer.Service
	outbox       *outbox.Outbox
	plane        *dataplane.Plane
	owners       map[commit.ProcessKind]outbox.Owner
	senders      senders
	issuer       *issuer.Service
	runner       *exchange.Runner
	publisher    *publishing.Publisher
	rpc          *rpc.Server

	issuerService *dcphttp.IssuerService

	gate       *gate.Gate
	public     http.Handler
	sequencers sequencers
}

func (cfg *Config) defaults() {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Scheme == "" {
		cfg.Scheme = "https"
	}
	if cfg.Disk == nil {
		cfg.Disk = durable.OS{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
}

// New opens the stores, hosts the participants of the settings and joins the parts. Nothing listens yet.
func New(ctx context.Context, cfg Config) (*Connector, error) {
	cfg.defaults()
	if err := cfg.Settings.Validate(); err != nil {
		return nil, err
	}
	c := &Connector{cfg: cfg}
	c.metrics = c.newMetrics()
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.join(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	for _, p := range cfg.Settings.Participants {
		local, err := c.host(ctx, p.Slug, p.Name, p.Profile, "settings")
		if err == nil && p.Profile != "" && local.Profile != p.Profile {
			err = fmt.Errorf("it was made under the profile %s, and that never changes; the settings say %s", local.Profile, p.Profile)
		}
		if err == nil && p.Issuer {
			err = c.EnableIssuer(ctx, local, "settings")
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("participant %s: %w", p.Slug, err), c.Close())
		}
	}
	return c, nil
}

// open reads profile, store, keys and logs.
func (c *Connector) open(ctx context.Context) (err error) {
	s := c.cfg.Settings
	if err := durable.Private(c.cfg.Disk, s.Data); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if c.ecosystems, err = newEcosystems(s, c.cfg.Now); err != nil {
		return err
	}
	if c.models, err = aspect.NewModels(); err != nil {
		return err
	}
	if c.store, err = openStore(ctx, c.cfg); err != nil {
		return err
	}
	c.ecosystems.groups = c.store
	if c.cfg.Engine == nil {
		if c.cfg.Engine, err = engine.New(ctx); err != nil {
			return err
		}
	}
	marks, err := markfile.Open(c.cfg.Disk, filepath.Join(s.Data, "checkpoints"))
	if err != nil {
		return err
	}
	cores := runtime.GOMAXPROCS(0)
	c.ledger = &ledger{turns: turn.New(cores, cores, math.MaxInt), engine: c.cfg.Engine, store: c.store, marks: marks, host: s.Public.Host, rand: c.cfg.Rand, now: c.cfg.Now, log: c.cfg.Log,
		recorders: map[string]*decisionlog.Recorder{}, sequencers: map[string]*decisionlog.Sequencer{}}
	if err := c.openKeys(ctx); err != nil {
		return err
	}
	c.hosted = newHosted(c.store, c.keeper, filepath.Join(s.Data, "keys"), c.cfg.Disk, c.cfg.Now)
	if err := c.store.AdoptProfile(ctx, c.ecosystems.all[0].ID); err != nil {
		return err
	}
	if err := c.hosted.load(ctx); err != nil {
		return err
	}
	for _, p := range c.hosted.all() {
		if _, err := c.ecosystems.named(p.Profile); err != nil {
			return fmt.Errorf("participant %s: %w", p.Slug, err)
		}
		keys, err := c.hosted.Keys(p)
		if err != nil {
			return err
		}
		if err := c.ledger.open(ctx, p, keys); err != nil {
			return err
		}
		if err := c.enterTrust(ctx, p, c.ecosystems.book.Terms(p.Profile), "settings"); err != nil {
			return err
		}
	}
	return nil
}

func openStore(ctx context.Context, cfg Config) (store.Store, error) {
	if cfg.Settings.Store.Kind == settings.Postgres {
		return postgres.Open(ctx, postgres.Options{URL: cfg.Settings.Store.URL, Rand: cfg.Rand})
	}
	return embedded.Open(ctx, embedded.Options{Dir: cfg.Settings.Data, VFS: cfg.VFS, Rand: cfg.Rand})
}

// join makes the services, top to bottom: the way out, identity, decision, state, wire.
func (c *Connector) join(ctx context.Context) error {
	if err := c.joinEgress(); err != nil {
		return err
	}
	if err := c.joinIdentity(); err != nil {
		return err
	}
	c.joinServices()
	c.joinHolding()
	if err := c.joinIssuer(ctx); err != nil {
		return err
	}
	c.joinWire()
	return c.joinManagement()
}

// Roots are the certificate authorities that peers are judged by: those of the system, and those in the file. Without a file it is nil: the system's.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return roots, nil
}

func (c *Connector) joinEgress() error {
	roots := c.cfg.Roots
	if roots == nil {
		var err error
		if roots, err = Roots(c.cfg.Settings.Egress.Roots); err != nil {
			return fmt.Errorf("egress roots: %w", err)
		}
	}
	patient := func(allow []string, public bool, total time.Duration) (*egress.Client, error) {
		origins := []string{}
		for _, raw := range allow {
			origin, err := egress.Origin(raw)
			if err != nil {
				return nil, err
			}
			origins = append(origins, origin)
		}
		return egress.New(egress.Config{Dial: c.cfg.Dial, Resolve: c.cfg.Resolve, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			Allow: origins, Public: public, Total: total, Log: c.cfg.Log}), nil
	}
	make := func(allow []string, public bool) (*egress.Client, error) { return patient(allow, public, 0) }
	var err error
	if c.peers, err = make(c.cfg.Settings.Egress.Peers, true); err != nil {
		return err
	}
	if c.patient, err = patient(c.cfg.Settings.Egress.Peers, true, credential.MaxWait+answering); err != nil {
		return err
	}
	var upstreams []string
	for _, u := range c.cfg.Settings.Egress.Upstreams {
		upstreams = append(upstreams, u.Origin)
	}
	if c.sources, err = make(upstreams, false); err != nil {
		return err
	}
	return errors.Join(c.joinUsers(make), c.joinDirectory(make))
}

func (c *Connector) joinIdentity() error {
	c.resolver = identity.NewResolver(c.calls.Documents(c.fetchDocument), c.cfg.Now)
	c.informal = map[participant.DID]bool{}
	for _, did := range c.cfg.Settings.Verification.Informal {
		c.informal[participant.DID(did)] = true
	}
	c.resolver.Undeclared(c.informal)
	c.tokens = identity.NewVerifier(c.resolver, c.store, c.cfg.Now)
	holder := &credential.Holder{Wallet: held{c}, Keys: c.hosted.Keys, Aliases: c.ecosystems.aliases, Replay: c.store, Now: c.cfg.Now, Rand: c.cfg.Rand, Exact: c.cfg.Settings.Wallet.Exact}
	c.directory = directory.NewReader(dcphttp.DirectoryClient{HTTP: c.registries, Holder: holder, Where: c.place}, c.cfg.Now, c.cfg.Log)
	c.agent = dcphttp.New(dcphttp.Config{Participants: c.hosted, Keys: c.hosted.Keys, Tokens: c.tokens, Holder: holder, Services: c.resolver, HTTP: c.peers,
		Scopes: c.ecosystems.scopes, Endpoints: c.endpoints, Now: c.cfg.Now, Rand: c.cfg.Rand, Log: c.cfg.Log})
	c.issuers = dcphttp.NewIssuers(c.agent, c.hosted)
	if err := c.joinVerifiers(c.tokens); err != nil {
		return err
	}
	c.client = dsphttp.NewClient(dsphttp.ClientConfig{HTTP: c.peers, Authorizer: authorizer{c}, Services: c.resolver, Hosted: c.hosted,
		Seals: identity.Vault{Keys: c.hosted.Keys, Rand: c.cfg.Rand}, Base: c.base,
		Callbacks: c.cfg.Settings.Egress.Callbacks, Now: c.cfg.Now, Log: c.cfg.Log})
	if c.identity = c.cfg.Identity; c.identity == nil {
		c.identity = claimed{c.agent, c.ecosystems, c.client}
	}
	return nil
}

func (c *Connector) joinServices() {
	cfg := c.cfg
	vault := identity.Vault{Keys: c.hosted.Keys, Rand: cfg.Rand}
	c.owners, c.senders = map[commit.ProcessKind]outbox.Owner{}, senders{commit.Negotiation: c.client, commit.Transfer: c.client}
	c.outbox = outbox.New(outbox.Config{Store: c.store, Sender: c.senders, Owners: c.owners, Now: cfg.Now, Rand: cfg.Rand, Log: cfg.Log, Deadline: cfg.Settings.Limits.GiveUp})
	c.plane = dataplane.New(dataplane.Config{Store: c.store, Decider: c.ledger, Standing: c.ecosystems, Now: cfg.Now, Rand: cfg.Rand, Log: cfg.Log,
		Streams: cfg.Settings.Limits.Streams, Fresh: cfg.Fresh})
	c.catalog = catalog.New(catalog.Config{Store: c.store, Decider: c.ledger, Evidence: c.identity, Sources: sources{cfg.Settings}, Profile: func(p participant.Participant) catalog.Validator { return c.ecosystems.profile(p) },
		Now: cfg.Now, Rand: cfg.Rand})
	c.publisher = publishing.New(publishing.Config{Catalog: c.catalog, Profile: c.ecosystems.profile, Models: c.models, Now: cfg.Now})
	c.negotiations = negotiation.New(negotiation.Config{Store: c.store, Offers: c.store, Decider: c.ledger, Evidence: c.identity, Codec: dsp.Codec{},
		Directory: addresses{c.identity, c.base}, Outbox: c.outbox, Profile: func(p participant.Participant) negotiation.Validator { return c.ecosystems.profile(p) },
		Accepts: func(p participant.Participant) []string { return c.ecosystems.of(p).ours.Accepts }, Now: cfg.Now, Rand: cfg.Rand,
		Log: cfg.Log, MaxOpen: cfg.Settings.Limits.OpenProcesses, Offered: func(p participant.Participant) bool { return c.ecosystems.of(p).ours.Offered }, Hold: cfg.Hold.Negotiation,
		Hosted: c.hosted, Patience: cfg.Settings.Limits.Approval})
	c.transfers = transfer.New(transfer.Config{Store: c.store, Agreements: c.store, Assets: c.store, Decider: c.ledger, Evidence: c.identity, Standing: c.ecosystems, Codec: dsp.Codec{},
		Directory: addresses{c.identity, c.base}, Tokens: vault, Flows: c.plane, Outbox: c.outbox, Endpoint: c.dataURL, Explain: negotiation.Refusal,
		Now: cfg.Now, Rand: cfg.Rand, Log: cfg.Log, MaxOpen: cfg.Settings.Limits.OpenProcesses, Hold: cfg.Hold.Transfer, Began: c.metrics.began})
	c.joinRevocation()
	c.owners[commit.Negotiation], c.owners[commit.Transfer] = c.negotiations, c.transfers
	c.runner = exchange.New(exchange.Config{Offers: catalog.Finder{Peers: c.client}, Negotiations: c.negotiations, Transfers: c.transfers, Agreements: c.store, Events: c.store,
		Fetcher: pull.Fetcher{HTTP: c.peers}, Now: cfg.Now, Log: cfg.Log})
}

func (c *Connector) joinWire() {
	mux := http.NewServeMux()
	c.agent.Mount(mux)
	c.issuerService.Mount(mux)
	dcphttp.NewCredentialService(c.agent, c.wallet).Mount(mux)
	dcphttp.NewTokenService(c.agent, c.wallet).Mount(mux)
	dcphttp.NewDirectoryServer(dcphttp.DirectoryConfig{Participants: c.hosted, Numbers: c.store, Member: c.member, Log: c.cfg.Log}).Mount(mux)
	dsphttp.New(dsphttp.Config{Participants: c.hosted, Authenticator: c.identity, Negotiations: c.negotiations, Transfers: c.transfers, Catalogs: c.catalog,
		Cursors: c.cursors(), Base: c.base, Log: c.cfg.Log}).Mount(mux)
	pull.New(pull.Config{Plane: c.plane, Participants: c.hosted, Sources: sources{c.cfg.Settings}, Upstream: c.sources, Log: c.cfg.Log}).Mount(mux)
	limits := c.cfg.Settings.Limits
	c.gate = gate.New(gate.Config{Connections: limits.Connections, AddressConnections: limits.AddressConnections, AddressRate: limits.AddressRate,
		AddressBurst: limits.AddressBurst, PeerRate: limits.PeerRate, PeerBurst: limits.PeerBurst, Proxies: c.cfg.Settings.Public.Networks(),
		Now: c.cfg.Now, Log: c.cfg.Log})
	c.public = c.gate.Handler(problem.WithIncidents(mux, c.cfg.Log, c.cfg.Rand))
}

func (c *Connector) joinManagement() error {
	temp := filepath.Join(c.cfg.Settings.Data, "tmp")
	err := os.MkdirAll(temp, 0o700)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	c.rpc, err = rpc.New(rpc.Config{Store: c.store, Recorder: c.ledger, Catalog: c.catalog, Negotiations: c.negotiations, Transfers: c.transfers, Peers: c.client,
		Puller: c.runner, Publisher: c.publisher, Hosting: c, Wallet: c.wallet, Issuer: c.issuer, Enabling: c, Keeper: c.keeper, Logs: c, Retire: c.Retire, Cursors: c.cursors(), Users: c.users, Trust: c, Directory: c.directory, Metrics: c.metrics.handler(c.cfg.Log), Temp: temp, Hosts: c.cfg.Settings.Management.Hosts,
		Now: c.cfg.Now, Rand: c.cfg.Rand, Log: c.cfg.Log})
	return err
}

func (c *Connector) cursors() identity.Cursors {
	return identity.Cursors{Vault: identity.Vault{Keys: c.hosted.Keys, Rand: c.cfg.Rand}}
}

// Addresses of a hosted participant.
func (c *Connector) root(p participant.Participant) string {
	return c.cfg.Scheme + "://" + c.cfg.Settings.Public.Host + "/" + p.Slug
}

func (c *Connector) base(p participant.Participant) string    { return c.root(p) + "/dsp/2025-1" }
func (c *Connector) dataURL(p participant.Participant) string { return c.root(p) + "/data" }

func (c *Connector) endpoints(p participant.Participant) []identity.Service {
	return Services(p, c.root(p), c.issuer.Enabled(p.ID))
}

// Services are the entries of a participant's DID document; root is the URL that all its addresses begin with.
func Services(p participant.Participant, root string, issues bool) []identity.Service {
	all := []identity.Service{
		{ID: string(p.DID) + "#credential-service", Type: "CredentialService", Endpoint: root + "/dcp"},
		{ID: string(p.DID) + "#dsp", Type: "DataService", Endpoint: root + "/.well-known/dspace-version"},
		{ID: string(p.DID) + "#catalog", Type: "CatalogService", Endpoint: root + "/dsp/2025-1/catalog"},
	}
	if issues {
		all = append(all, identity.Service{ID: string(p.DID) + "#issuer", Type: "IssuerService", Endpoint: root + "/issuer"})
	}
	return all
}

// Run serves until the context ends, then stops: listeners first, then what is under way, then the background work.
func (c *Connector) Run(ctx context.Context) error {
	public, management, err := c.listen()
	if err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 1) // the first failure ends it all
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	var background sync.WaitGroup
	background.Go(func() { c.outbox.Run(work) })
	background.Go(func() { c.keeper.Run(work) })
	for _, e := range c.ecosystems.all {
		background.Go(func() { e.watcher.Run(work) })
	}
	background.Go(func() { c.losses.run(work, c.reconsider) })
	c.sequencers.open(func(p participant.Participant) {
		background.Go(func() {
			if err := c.ledger.run(work, p); err != nil {
				fail(err)
			}
		})
	})
	defer func() {
		c.sequencers.close()
		stop()
		background.Wait()
	}()
	for _, p := range c.hosted.all() {
		c.sequencers.start(p)
	}
	// A retirement whose process died before its transfers were ended is brought to its end before anybody is served; so is a change of whom we believe.
	for _, p := range c.hosted.all() {
		if err := c.sweep(ctx, p); err != nil && ctx.Err() == nil {
			return errors.Join(fmt.Errorf("transfers of %s: %w", p.Slug, err), public.Close(), management.Close())
		}
	}
	servers := []*drained{c.server(c.public, nil, arrival), c.server(c.rpc, rpc.Protocols(), 0)}
	for i, l := range []net.Listener{public, management} {
		background.Go(func() {
			if err := servers[i].Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fail(err)
			}
		})
	}
	c.cfg.Log.InfoContext(ctx, "serving", slog.String("public", public.Addr().String()), slog.String("management", management.Addr().String()))
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	c.issuerService.Release()
	for _, s := range servers {
		s.drain(grace)
	}
	return err
}

// listen opens what Config did not bring.
func (c *Connector) listen() (public, management net.Listener, err error) {
	s := c.cfg.Settings
	if public, err = c.listener(c.cfg.Public, s.Public.Listen, c.gate.Listener, c.cfg.TLS, s.Public.Cert, s.Public.Key); err != nil {
		return nil, nil, err
	}
	open := func(l net.Listener) net.Listener { return l }
	if management, err = c.listener(c.cfg.Management, s.Management.Listen, open, nil, s.Management.Cert, s.Management.Key); err != nil {
		return nil, nil, errors.Join(err, public.Close())
	}
	return public, management, nil
}

// listener is TLS behind what guards the listener, or that alone.
func (c *Connector) listener(given net.Listener, address string, guard func(net.Listener) net.Listener, cert *tls.Certificate, chain, key string) (net.Listener, error) {
	var err error
	l := given
	if l == nil {
		if l, err = net.Listen("tcp", address); err != nil {
			return nil, err
		}
	}
	l = guard(l)
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	switch {
	case cert != nil:
		config.Certificates = []tls.Certificate{*cert}
	case chain != "":
		files, err := readCertificate(chain, key, c.cfg.Now, c.cfg.Log)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		config.GetCertificate = files.get
	default:
		return l, nil
	}
	return tls.NewListener(l, config), nil
}

// Close releases in reverse order. It may be called more than once.
func (c *Connector) Close() error {
	for _, client := range []*egress.Client{c.peers, c.patient, c.sources, c.logins, c.registries} {
		if client != nil {
			client.Close()
		}
	}
	if c.store == nil {
		return nil
	}
	return c.store.Close()
}
