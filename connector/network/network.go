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
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
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

// Start builds the authority and the members, starts them all, and gives each its credentials. When it returns, all serve.
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
	for _, s := range seats {
		c, err := n.open(ctx, cfg, s, origins, trust, leaf, ca, shared)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.Slug, err), n.Close())
		}
		n.running.Go(func() {
			if err := c.Run(run); err != nil {
				n.mu.Lock()
				n.failed = errors.Join(n.failed, err)
				n.mu.Unlock()
			}
		})
	}
	n.Authority = n.Companies[AuthoritySlug]
	for _, s := range seats {
		if err := n.attest(ctx, s.Member); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.Slug, err), n.Close())
		}
	}
	return n, nil
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

func (n *Network) open(ctx context.Context, cfg Config, s seat, origins []string, trust settings.Trust, leaf tls.Certificate, ca *certs.CA, shared *engine.Engine) (*Company, error) {
	set := settings.Default()
	set.Data = filepath.Join(cfg.Dir, s.Slug)
	if s.Store.Kind != "" {
		set.Store = s.Store
	}
	set.Public = settings.Listener{Listen: s.public.Addr().String(), Host: hostOf(s)}
	set.Management.Listen = s.management.Addr().String()
	set.Participants = []settings.Participant{{Slug: s.Slug, Name: s.Name}}
	set.Profiles[0].Trust = []settings.Trust{trust}
	set.Egress.Peers = origins
	c := connector.Config{Settings: set, Now: cfg.Now, Roots: ca.Pool(), Engine: shared, Log: cfg.Log(s.Slug), Public: s.public, Management: s.management, TLS: &leaf}
	if cfg.Change != nil {
		cfg.Change(s.Slug, &c)
	}
	conn, err := connector.New(ctx, c)
	if err != nil {
		return nil, err
	}
	local, err := conn.Participant(ctx, s.Slug)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	company := &Company{Connector: conn, Local: local, Management: s.management.Addr().String()}
	n.Companies[s.Slug] = company
	return company, nil
}

// attest lets the authority issue what the member has.
func (n *Network) attest(ctx context.Context, m Member) error {
	c := n.Companies[m.Slug]
	return n.Attest(ctx, c.Connector, c.Local, m)
}

// Attest lets the authority issue what a member has, into the wallet of a connector that need not be of this network.
func (n *Network) Attest(ctx context.Context, c *connector.Connector, local participant.Participant, m Member) error {
	give := map[string]map[string]string{
		"MembershipCredential": {"holderIdentifier": m.BPN, "memberOf": "Meridian"},
		"BpnCredential":        {"holderIdentifier": m.BPN, "bpn": m.BPN},
	}
	if m.Framework {
		give["DataExchangeGovernanceCredential"] = map[string]string{"holderIdentifier": m.BPN, "group": "UseCaseFramework", "useCase": "DataExchangeGovernance",
			"contractTemplate": "https://meridian.example/dataexchangegovernance/1.0", "contractVersion": "1.0"}
	}
	for _, kind := range credentialTypes {
		subject, ok := give[kind]
		if !ok {
			continue
		}
		token, err := n.Authority.Issue(ctx, n.Authority.Local, local.DID, kind, subject, 90*24*time.Hour)
		if err != nil {
			return err
		}
		if _, err := c.PutCredential(ctx, local, token); err != nil {
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
