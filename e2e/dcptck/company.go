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

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
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
	s.Participants = []settings.Participant{{Slug: member, Name: "Boreal Drives"}, {Slug: authority, Name: "Meridian"}}
	s.Profile.File, s.Profile.Trust = file, []settings.Trust{{Issuer: string(KitDID(cfg.Kit, "issuer")), Credentials: types}}
	kit := strings.Replace(cfg.Kit, "127.0.0.1", "localhost", 1)
	s.Egress.Peers = []string{"https://" + kit, "http://" + kit}
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
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.running.Go(func() { c.failed = c.Run(run) })
	return c, nil
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
