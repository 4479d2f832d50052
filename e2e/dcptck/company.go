package dcptck

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wallet"
)

//go:embed profile.yaml
var profile []byte

// Config says what company is started.
type Config struct {
	Dir   string
	Store settings.Store
	Kit   string // host:port on loopback where the kit will listen
	Log   *slog.Logger
}

// Company is a running connector with the participants that the kit's roles are played by.
type Company struct {
	*connector.Connector
	Member    participant.Participant // holder and verifier
	Authority participant.Participant // issuer
	Root      string                  // URL below which both are, by slug
	Client    string                  // of the member's token service
	Secret    string

	front   *Front
	stop    context.CancelFunc
	running sync.WaitGroup
	failed  error
}

// Request is the id under which the member asked the kit's issuer for credentials before the kit began.
const Request = "tck-correlation-1"

const member, authority = "boreal", "meridian"

// types are what the kit's issuer issues and what ours has to.
var types = []string{"MembershipCredential", "SensitiveDataCredential"}

// KitDID is the DID of one of the kit's own parties: holder, issuer, verifier or thirdparty.
func KitDID(kit, party string) participant.DID {
	return participant.DID("did:web:" + strings.ReplaceAll(strings.Replace(kit, "127.0.0.1", "localhost", 1), ":", "%3A") + ":" + party)
}

// Start builds the company and serves plain HTTP on loopback.
func Start(ctx context.Context, cfg Config) (_ *Company, err error) {
	c := &Company{stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.front, err = NewFront(cfg.Kit); err != nil {
		return nil, err
	}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	management, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, public.Close())
	}
	file := filepath.Join(cfg.Dir, "profile.yaml")
	if err := os.WriteFile(file, profile, 0o600); err != nil {
		return nil, err
	}
	s := settings.Default()
	s.Data, s.Store = filepath.Join(cfg.Dir, "data"), cfg.Store
	host := strings.Replace(public.Addr().String(), "127.0.0.1", "localhost", 1)
	s.Public.Host, s.Public.Listen, s.Management.Listen = host, public.Addr().String(), management.Addr().String()
	s.Participants = []settings.Participant{{Slug: member, Name: "Boreal Drives"}, {Slug: authority, Name: "Meridian", Issuer: true}}
	s.Verification.Remember = 0 // each case is judged by itself
	for _, party := range []string{"holder", "issuer", "verifier", "thirdparty"} {
		s.Verification.Informal = append(s.Verification.Informal, string(KitDID(cfg.Kit, party))) // see docs/conformance.md
	}
	s.Wallet.Renew = 0                                                                             // offers wait for an operator: the kit's issuer answers while a case runs, and not after it
	s.Wallet.Exact = true                                                                          // as this edition of the kit wants
	s.Limits.AddressRate, s.Limits.AddressBurst, s.Limits.AddressConnections = 10000, 10000, 10000 // all that the kit plays have one address
	s.Profiles = []settings.Profile{{Use: file, Required: []string{scope("MembershipCredential")}, Trust: []settings.Trust{{Issuer: string(KitDID(cfg.Kit, "issuer")), Credentials: types}}}}
	kit := strings.Replace(cfg.Kit, "127.0.0.1", "localhost", 1)
	s.Egress.Peers = []string{"https://" + kit, "http://" + kit}
	s.Verification.Schemas = []string{"http://" + kit + "/schema/"}
	dialer := net.Dialer{}
	if c.Connector, err = connector.New(ctx, connector.Config{Settings: s, Log: cfg.Log, Public: public, Management: management, Scheme: "http",
		Roots: c.front.Roots(), Dial: c.front.Dial(dialer.DialContext)}); err != nil {
		return nil, errors.Join(err, public.Close(), management.Close())
	}
	if c.Member, err = c.Participant(ctx, member); err != nil {
		return nil, err
	}
	if c.Authority, err = c.Participant(ctx, authority); err != nil {
		return nil, err
	}
	c.Root = "http://" + host
	if err := errors.Join(c.asked(ctx, KitDID(cfg.Kit, "issuer")), c.delegates(ctx), c.issues(ctx, KitDID(cfg.Kit, "holder"))); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.running.Go(func() { c.failed = c.Run(run) })
	return c, nil
}

func scope(kind string) string { return "org.eclipse.dspace.dcp.vc.type:" + kind + ":read" }

// asked is how the member stands when the kit begins: its request for both credentials is with the kit's issuer.
func (c *Company) asked(ctx context.Context, issuer participant.DID) error {
	r := wallet.Request{Participant: c.Member.ID, ID: Request, Version: 1, Issuer: issuer, State: wallet.Requested, IssuerPID: "kit", Actor: "kit",
		Created: time.Now(), Updated: time.Now()}
	for _, kind := range types {
		r.Wanted = append(r.Wanted, wallet.Wanted{Definition: kind, Type: kind, Profile: credential.Profile11})
	}
	return c.Store().CommitWallet(ctx, c.Member.ID, wallet.Change{Requests: []commit.Swap[wallet.Request]{{New: &r}}}, commit.Effects{})
}

// delegates makes the account with which the kit has the member's tokens made.
func (c *Company) delegates(ctx context.Context) error {
	client, secret, err := c.Wallet().CreateClient(ctx, c.Member, "kit", []string{scope(types[0]), scope(types[1])}, "kit")
	c.Client, c.Secret = client.ID, secret
	return err
}

// issues lets the authority issue both credentials to the kit's holder.
func (c *Company) issues(ctx context.Context, holder participant.DID) error {
	for _, kind := range types {
		if _, err := c.Issuer().PutDefinition(ctx, c.Authority, issuer.Definition{ID: kind, Type: kind, Profile: credential.Profile11, Life: time.Hour,
			Purposes: []string{statuslist.Revocation}, Rules: []issuer.Rule{{Kind: issuer.ByList}}}, "kit"); err != nil {
			return err
		}
	}
	_, err := c.Issuer().PutHolders(ctx, c.Authority, []issuer.Holder{{DID: holder, Name: "the kit", Grants: types}}, "kit")
	return err
}

// Close stops serving and releases everything.
func (c *Company) Close() error {
	c.stop()
	c.running.Wait()
	err := c.failed
	if c.Connector != nil {
		err = errors.Join(err, c.Connector.Close())
	}
	if c.front != nil {
		err = errors.Join(err, c.front.Close())
	}
	return err
}
