// Package network builds small dataspaces of real connectors on loopback sockets, with TLS from a development authority: for the
// demo and for the tests, which tell their stories on the same ground.
package network

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/certs"
	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/policy/engine"
)

// Company is one connector with one hosted participant.
type Company struct {
	*connector.Connector
	Local      participant.Participant
	Management string // address of its management API
}

// Member says who takes part and what the authority attests.
type Member struct {
	Slug, Name, BPN string
	Framework       bool // accepted the framework agreement
	Store           settings.Store
}

// Config says how to build.
type Config struct {
	Dir     string
	Now     func() time.Time
	Log     func(slug string) *slog.Logger // nil: discarded
	Members []Member
	Peers   []string // origins of connectors outside this network that members reach
	// Change may alter a member's configuration before it is started.
	Change func(slug string, cfg *connector.Config)
}

// Network is a running dataspace.
type Network struct {
	CA        *certs.CA // signed everybody's certificate
	Authority *Company
	Companies map[string]*Company

	stop    context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	failed  error
}

// AuthoritySlug names the issuer of credentials.
const AuthoritySlug = "meridian"

// Trust is what a connector must hold to believe the authority.
func (n *Network) Trust() settings.Trust {
	return settings.Trust{Issuer: string(n.Authority.Local.DID), Credentials: credentialTypes}
}

// credentialTypes are those that the authority is trusted for.
var credentialTypes = []string{"MembershipCredential", "BpnCredential", "DataExchangeGovernanceCredential"}

type seat struct {
	Member
	public, management net.Listener
}

// Start builds the authority and the members, starts them all, and lets each ask the authority for its credentials. When it returns, all serve.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	if cfg.Log == nil {
		cfg.Log = func(string) *slog.Logger { return slog.New(slog.DiscardHandler) }
	}
	ca, err := certs.New(rand.Reader, cfg.Now)
	if err != nil {
		return nil, err
	}
	leaf, err := ca.Leaf("localhost", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	seats, origins, err := sit(append([]Member{{Slug: AuthoritySlug, Name: "Meridian", BPN: "BPNL00000000MER1", Framework: true}}, cfg.Members...))
	if err != nil {
		return nil, err
	}
	shared, err := engine.New(ctx)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	n := &Network{CA: ca, Companies: map[string]*Company{}, stop: stop}
	origins = append(origins, cfg.Peers...)
	trust := settings.Trust{Issuer: didOf(seats[0]), Credentials: credentialTypes}
	var opening sync.WaitGroup
	for _, s := range seats {
		opening.Go(func() {
			n.start(ctx, run, s, func() (*Company, error) { return n.open(ctx, cfg, s, origins, trust, leaf, ca, shared) })
		})
	}
	opening.Wait()
	n.mu.Lock()
	err = n.failed
	n.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.Authority = n.Companies[AuthoritySlug]
	if err := n.attest(ctx, seats); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// attest gives everybody its credentials: members ask for theirs, all at once; the authority does not ask itself.
func (n *Network) attest(ctx context.Context, seats []seat) error {
	if err := n.Attest(ctx, n.Authority.Connector, n.Authority.Local, seats[0].Member); err != nil {
		return fmt.Errorf("%s: %w", seats[0].Slug, err)
	}
	var rows []issuer.Holder
	for _, s := range seats[1:] {
		rows = append(rows, row(n.Companies[s.Slug].Local.DID, s.Member))
	}
	if len(rows) == 0 {
		return nil
	}
	if _, err := n.Authority.Issuer().PutHolders(ctx, n.Authority.Local, rows, actor); err != nil {
		return err
	}
	var asking sync.WaitGroup
	errs := make([]error, len(seats))
	for i, s := range seats[1:] {
		asking.Go(func() {
			if err := n.ask(ctx, n.Companies[s.Slug], rows[i].Grants); err != nil {
				errs[i] = fmt.Errorf("%s: %w", s.Slug, err)
			}
		})
	}
	asking.Wait()
	return errors.Join(errs...)
}

// sit opens a listener for each, so that every address is known before anybody starts.
func sit(members []Member) (seats []seat, origins []string, err error) {
	for _, m := range members {
		s := seat{Member: m}
		if s.public, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if s.management, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		seats = append(seats, s)
		origins = append(origins, "https://"+hostOf(s))
	}
	return seats, origins, nil
}

func hostOf(s seat) string {
	_, port, _ := net.SplitHostPort(s.public.Addr().String())
	return "localhost:" + port
}

func didOf(s seat) string {
	return "did:web:" + strings.Replace(hostOf(s), ":", "%3A", 1) + ":" + s.Slug
}

// start opens a company and runs it until run ends. What fails ends the network.
func (n *Network) start(ctx, run context.Context, s seat, open func() (*Company, error)) {
	c, err := open()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.failed = errors.Join(n.failed, fmt.Errorf("%s: %w", s.Slug, err))
		return
	}
	n.Companies[s.Slug] = c
	n.running.Go(func() {
		if err := c.Run(run); err != nil {
			n.mu.Lock()
			n.failed = errors.Join(n.failed, err)
			n.mu.Unlock()
		}
	})
}

func (n *Network) open(ctx context.Context, cfg Config, s seat, origins []string, trust settings.Trust, leaf tls.Certificate, ca *certs.CA, shared *engine.Engine) (*Company, error) {
	set := settings.Default()
	set.Data = filepath.Join(cfg.Dir, s.Slug)
	if s.Store.Kind != "" {
		set.Store = s.Store
	}
	set.Public = settings.Listener{Listen: s.public.Addr().String(), Host: hostOf(s)}
	set.Management.Listen = s.management.Addr().String()
	set.Participants = []settings.Participant{{Slug: s.Slug, Name: s.Name, Issuer: s.Slug == AuthoritySlug}}
	set.Profiles[0].Trust = []settings.Trust{trust}
	set.Egress.Peers = origins
	n.mu.Lock() // companies are opened together; who changes one need not mind the others
	c := connector.Config{Settings: set, Now: cfg.Now, Roots: ca.Pool(), Engine: shared, Log: cfg.Log(s.Slug), Public: s.public, Management: s.management, TLS: &leaf}
	if cfg.Change != nil {
		cfg.Change(s.Slug, &c)
	}
	n.mu.Unlock()
	conn, err := connector.New(ctx, c)
	if err != nil {
		return nil, err
	}
	local, err := conn.Participant(ctx, s.Slug)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &Company{Connector: conn, Local: local, Management: s.management.Addr().String()}, nil
}

// row is what the authority knows of a member.
func row(holder participant.DID, m Member) issuer.Holder {
	grants := []string{"MembershipCredential", "BpnCredential"}
	if m.Framework {
		grants = append(grants, "DataExchangeGovernanceCredential")
	}
	return issuer.Holder{DID: holder, Name: m.Name, Grants: grants, Values: map[string][]string{
		"bpn": {m.BPN}, "memberOf": {"Meridian"}, "contractTemplate": {"https://meridian.example/dataexchangegovernance/1.0"}}}
}

// actor is who does what a network does by itself.
const actor = "network"

// patience is how long a member waits for its credentials.
const patience = 30 * time.Second

// ask lets a member that serves ask the authority for credentials, over the wire, and waits until it holds them.
func (n *Network) ask(ctx context.Context, c *Company, grants []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	told := c.Store().Notify(ctx, c.Local.ID)
	r, err := c.Wallet().Ask(ctx, c.Local, wallet.Ask{Issuer: n.Authority.Local.DID, Definitions: grants, Actor: actor})
	for err == nil && !r.State.Over() {
		select {
		case <-told:
			r, err = c.Wallet().Request(ctx, c.Local, r.ID)
		case <-ctx.Done():
			return fmt.Errorf("its credentials did not come: the request is %s", r.State)
		}
	}
	if err == nil && r.State != wallet.Issued {
		err = fmt.Errorf("its request for credentials is %s: %s", r.State, r.Reason)
	}
	return err
}

// Attest lets the authority issue what a member has by order, and puts it into the wallet of a connector that does not serve, so that nothing can be
// delivered to it.
func (n *Network) Attest(ctx context.Context, c *connector.Connector, local participant.Participant, m Member) error {
	h := row(local.DID, m)
	if _, err := n.Authority.Issuer().PutHolders(ctx, n.Authority.Local, []issuer.Holder{h}, actor); err != nil {
		return err
	}
	for _, kind := range h.Grants {
		_, token, err := n.Authority.Issuer().Issue(ctx, n.Authority.Local, issuer.Issuing{Holder: local.DID, Definition: kind, Actor: actor})
		if err != nil {
			return err
		}
		if _, err := c.Wallet().Put(ctx, local, []byte(token), actor); err != nil {
			return err
		}
	}
	return nil
}

// Close stops everybody and waits.
func (n *Network) Close() error {
	n.stop()
	n.running.Wait()
	n.mu.Lock()
	err := n.failed
	n.mu.Unlock()
	for _, c := range n.Companies {
		err = errors.Join(err, c.Connector.Close())
	}
	return err
}
