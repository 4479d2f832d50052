package tck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Config says what company is started.
type Config struct {
	Dir   string
	Store settings.Store
	Peer  string        // base URL of the counter-party: its callback address
	Delay time.Duration // before each deed of an operator: the kit listens late
	Log   *slog.Logger
	// Change may alter the connector's configuration before it is started.
	Change func(cfg *connector.Config)
}

// Company is a running connector that plays its part in every case.
type Company struct {
	*connector.Connector
	Local  participant.Participant
	Root   string            // its root URL; /.well-known/dspace-version is below it
	Offers map[string]string // id of the offer by dataset

	identity *identity
	steerer  *steerer
	stop     context.CancelFunc
	running  sync.WaitGroup
	failed   error
}

const slug = "cut"

// Start builds the company, gives it what the cases are about, and serves plain HTTP on loopback.
func Start(ctx context.Context, cfg Config) (*Company, error) {
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	management, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, public.Close())
	}
	s := settings.Default()
	s.Data, s.Store = filepath.Join(cfg.Dir, "data"), cfg.Store
	port := strings.TrimPrefix(public.Addr().String(), "127.0.0.1:")
	s.Public.Host, s.Public.Listen, s.Management.Listen = "localhost:"+port, public.Addr().String(), management.Addr().String()
	s.Participants = []settings.Participant{{Slug: slug, Name: "Connector under test"}}
	s.Egress.Peers = []string{cfg.Peer}
	s.Profiles[0].Trust = []settings.Trust{{Issuer: authority, Credentials: []string{"MembershipCredential"}}}
	who := &identity{peer: cfg.Peer}
	all := func(negotiation.Negotiation, negotiation.Kind) bool { return true }
	made := connector.Config{Settings: s, Log: cfg.Log, Public: public, Management: management, Scheme: "http", Identity: who,
		Hold: connector.Hold{Negotiation: all, Transfer: func(transfer.Transfer) bool { return true }}}
	if cfg.Change != nil {
		cfg.Change(&made)
	}
	c, err := connector.New(ctx, made)
	if err != nil {
		return nil, errors.Join(err, public.Close(), management.Close())
	}
	company := &Company{Connector: c, Root: "http://localhost:" + port + "/" + slug, identity: who}
	if company.Local, err = c.Participant(ctx, slug); err == nil {
		company.Offers, err = seed(ctx, c, company.Local)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	company.stop = stop
	company.steerer = &steerer{c: company, delay: cfg.Delay, log: cfg.Log, done: map[string]int{}, acting: map[string]bool{}}
	company.running.Go(func() { company.steerer.run(run) })
	company.running.Go(func() { company.failed = c.Run(run) })
	return company, nil
}

// Close stops serving and releases everything.
func (c *Company) Close() error {
	c.stop()
	c.running.Wait()
	return errors.Join(c.failed, c.Connector.Close())
}

// identity takes everybody for the kit.
type identity struct{ peer string }

func (*identity) Authenticate(*http.Request, participant.Participant) (participant.Peer, *commit.Used, error) {
	return participant.Peer{DID: Peer}, nil, nil
}

func (*identity) Settle(context.Context, *commit.Used) error { return nil }

func (*identity) Authorize(context.Context, participant.Participant, participant.DID) (string, error) {
	return "Bearer tck", nil
}

func (*identity) Claims(context.Context, participant.Participant, participant.Peer) (policy.Party, error) {
	return member(Peer), nil
}

func (*identity) Own(_ context.Context, local participant.Participant) (policy.Party, error) {
	return member(string(local.DID)), nil
}

func (i *identity) Endpoint(context.Context, participant.Participant, participant.DID) (string, error) {
	return i.peer, nil
}

func (*identity) Callback(context.Context, participant.Peer, string) error { return nil }

// authority vouches for everybody here.
const authority = "did:web:authority.example"

func member(did string) policy.Party {
	return policy.Party{DID: did, Credentials: []policy.Credential{{Type: "MembershipCredential", Issuer: authority, ID: "urn:uuid:member",
		Subject: map[string]string{"memberOf": "Meridian"}, NotAfter: time.Now().AddDate(1, 0, 0), Digest: strings.Repeat("0", 64)}}}
}

// Use is the policy of everything here: one action, without further terms.
func Use(action string) odrl.Policy { return odrl.Policy{Permission: []odrl.Rule{{Action: action}}} }

// seed publishes the datasets and concludes the agreements that the cases name.
func seed(ctx context.Context, c *connector.Connector, local participant.Participant) (map[string]string, error) {
	store, now := c.Store(), time.Now()
	access, usage := Use("access"), Use("use")
	lot := catalog.Lot{}
	for _, d := range []struct {
		policy odrl.Policy
		access bool
	}{{access, true}, {usage, false}} {
		lot.Policies = append(lot.Policies, catalog.Definition{Participant: local.ID, Digest: odrl.Digest(d.policy), Access: d.access, Policy: d.policy, Created: now})
	}
	lot.Rules = []catalog.Rule{{Participant: local.ID, ID: "urn:uuid:00000000-0000-4000-8000-000000000001", Access: odrl.Digest(access), Usage: odrl.Digest(usage), Created: now}}
	put := func(id string) {
		content := []byte(`{"case":"` + id + `"}`)
		digest := catalog.DigestOf(content)
		lot.Contents = append(lot.Contents, catalog.Content{Digest: digest, MediaType: "application/json", Bytes: content, Created: now})
		lot.Assets = append(lot.Assets, catalog.Asset{Participant: local.ID, ID: id, Type: "https://example.org/case", Created: now, Updated: now,
			Address: catalog.Address{Content: digest, MediaType: "application/json"}})
	}
	for _, id := range Datasets {
		put(id)
	}
	for _, tc := range Cases {
		put(tc.Key())
	}
	if err := store.PutAssets(ctx, local.ID, lot, commit.Effects{}); err != nil {
		return nil, err
	}
	for _, tc := range Cases {
		if tc.Transfer() {
			if err := conclude(ctx, c, local, tc, usage, now); err != nil {
				return nil, err
			}
		}
	}
	offers := map[string]string{}
	for _, a := range lot.Assets {
		entries, err := store.Entries(ctx, local.ID, []string{odrl.Digest(access)}, a.ID, page.Request{Limit: 1})
		if err != nil || len(entries.Items) != 1 {
			return nil, errors.Join(err, fmt.Errorf("%s is offered %d times", a.ID, len(entries.Items)))
		}
		offers[a.ID] = entries.Items[0].Offer.ID
	}
	return offers, nil
}

// conclude stores a finalized negotiation with its agreement.
func conclude(ctx context.Context, c *connector.Connector, local participant.Participant, tc Case, usage odrl.Policy, now time.Time) error {
	key := tc.Key()
	a := agreement.Agreement{Participant: local.ID, ID: key, Negotiation: "urn:seed:" + key, Role: string(negotiation.Provider), Provider: local.DID,
		Consumer: Peer, Asset: key, Policy: usage, Signed: now, Raw: []byte("{}"), Created: now}
	role := negotiation.Provider
	if tc.Consumer() {
		role = negotiation.Consumer
		a.Role, a.Provider, a.Consumer = string(role), Peer, local.DID
	}
	var err error
	if a.Digest, err = agreement.DigestOf(a); err != nil {
		return err
	}
	n := negotiation.Negotiation{Participant: local.ID, ID: a.Negotiation, Role: role, Peer: Peer, PeerPID: "urn:seed:peer:" + key, State: negotiation.Finalized,
		Offer: negotiation.Offer{ID: "urn:seed:offer:" + key, Target: key, Policy: usage}, AgreementID: key, Created: now, Updated: now}
	return c.Store().CreateNegotiation(ctx, n, commit.Effects{Agreement: &a})
}

// Ask begins a negotiation as consumer, as the kit's trigger wants it.
func (c *Company) Ask(ctx context.Context, offer, dataset string) error {
	_, err := c.Negotiations().Begin(ctx, c.Local, negotiation.BeginRequest{Peer: Peer, Offer: negotiation.Offer{ID: offer, Target: dataset, Policy: Use("use")}, Actor: "kit"})
	return err
}

// Fetch begins a transfer as consumer.
func (c *Company) Fetch(ctx context.Context, agreementID string) error {
	_, err := c.Transfers().Begin(ctx, c.Local, transfer.BeginRequest{Agreement: agreementID, Format: transfer.Pull, Actor: "kit"})
	return err
}

// Triggers is what the kit calls to make us begin: POST /negotiations and POST /transfers.
func (c *Company) Triggers() http.Handler {
	mux := http.NewServeMux()
	trigger := func(begin func(ctx context.Context, t triggered) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var t triggered
			err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&t)
			if err == nil {
				err = begin(r.Context(), t)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}
	mux.HandleFunc("POST /negotiations", trigger(func(ctx context.Context, t triggered) error { return c.Ask(ctx, t.Offer, t.Dataset) }))
	mux.HandleFunc("POST /transfers", trigger(func(ctx context.Context, t triggered) error { return c.Fetch(ctx, t.Agreement) }))
	return mux
}

type triggered struct {
	Offer     string `json:"offerId"`
	Dataset   string `json:"datasetId"`
	Agreement string `json:"agreementId"`
}
