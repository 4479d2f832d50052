package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/dataplane/pull"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
	"github.com/sluice-connector/sluice/connector/wire/egress"
	"github.com/sluice-connector/sluice/e2e/kits"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// held is the dataset whose negotiations wait for our operator.
const held = "held"

// policies are the datasets of both sides, each with its terms of use.
var policies = map[string][][2]string{
	"open":     nil,
	held:       nil,
	"members":  {{"Membership", "active"}},
	"governed": {{"FrameworkAgreement", "DataExchangeGovernance:1.0"}},
}

// company is our connector, with a stub that speaks EDC's mock identity.
type company struct {
	*connector.Connector
	local  participant.Participant
	stub   *stub
	runner *exchange.Runner

	dir, public string
	log         *slog.Logger
	stop        context.CancelFunc
	running     sync.WaitGroup
	failed      error
	mu          sync.Mutex // over being open or closed
}

func newCompany(dir string, peer *edc, log *slog.Logger) (*company, error) {
	port, err := kits.Free()
	if err != nil {
		return nil, err
	}
	c := &company{dir: dir, public: fmt.Sprintf("localhost:%d", port), log: log, stub: &stub{peer: peer, seen: map[string][]byte{}}}
	out := egress.New(egress.Config{Dial: (&net.Dialer{}).DialContext, Resolve: resolve, Allow: peer.origins(), Log: log})
	c.stub.out = out
	c.stub.client = dsphttp.NewClient(dsphttp.ClientConfig{HTTP: c.stub, Authorizer: c.stub, Services: c.stub, Now: time.Now, Log: log})
	return c, nil
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// start serves, on the same address and the same data each time.
func (c *company) start(ctx context.Context) error {
	s := settings.Default()
	s.Data = filepath.Join(c.dir, "data")
	s.Public.Host, s.Public.Listen, s.Management.Listen = c.public, c.public, "127.0.0.1:0"
	s.Participants = []settings.Participant{{Slug: "boreal", Name: "Boreal Drives"}}
	s.Egress.Peers = c.stub.peer.origins()
	s.Profiles[0].Trust = []settings.Trust{{Issuer: authority, Credentials: []string{member.Type, governed.Type}}}
	// What answers a step of EDC's waits until EDC says that it has noted that step: see noted.
	hold := connector.Hold{Negotiation: func(negotiation.Negotiation, negotiation.Kind) bool { return true },
		Transfer: func(t transfer.Transfer) bool { return t.State == transfer.Requested }}
	made, err := connector.New(ctx, connector.Config{Settings: s, Log: c.log, Scheme: "http", Identity: c.stub, Hold: hold, Resolve: resolve})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Connector = made
	if c.local, err = c.Participant(ctx, "boreal"); err == nil {
		c.stub.own = c.local.DID
		err = seed(ctx, made, c.local)
	}
	if err != nil {
		return errors.Join(err, made.Close())
	}
	c.runner = exchange.New(exchange.Config{Offers: catalog.Finder{Peers: c.stub.client}, Negotiations: c.Negotiations(), Transfers: c.Transfers(),
		Agreements: c.Store(), Events: c.Store(), Fetcher: pull.Fetcher{HTTP: c.stub.out}, Now: time.Now, Log: c.log})
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.running.Go(func() { c.failed = made.Run(run) })
	return nil
}

func (c *company) close() error {
	if c.Connector == nil {
		return nil
	}
	c.stop()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	err := errors.Join(c.failed, c.Connector.Close())
	c.Connector = nil
	return err
}

// answers are what EDC waits for once it has noted a step of its own.
var answers = map[string]negotiation.Kind{
	"ContractNegotiationRequested": negotiation.Agreement,
	"ContractNegotiationAgreed":    negotiation.Verification,
	"ContractNegotiationVerified":  negotiation.Finalization,
}

// noted lets the answer go out that waits for EDC to have noted its step. EDC loses a step when the answer is faster than its own note of
// it; docs/interop-edc.md says how. What our operator decides in a scenario waits for him.
func (c *company) noted(ctx context.Context, e event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Connector == nil {
		return nil
	}
	if e.Payload.Transfer != "" {
		t, err := c.Store().TransferByPeerPID(ctx, c.local.ID, edcID, e.Payload.Transfer)
		if err == nil && t.Held == transfer.Start {
			_, err = c.Transfers().Approve(ctx, c.local, t.ID, order)
		}
		return known(err)
	}
	n, err := c.Store().NegotiationByPeerPID(ctx, c.local.ID, edcID, e.Payload.Negotiation)
	if err == nil && n.Held.Message == answers[e.Type] && n.Held.Message != "" && (n.Held.Message != negotiation.Agreement || n.Offer.Target != held) {
		_, err = c.Negotiations().Approve(ctx, c.local, n.ID, order)
	}
	return known(err)
}

// known takes away the error of a process that is not ours: EDC notes its own first step before it tells us of it.
func known(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// base is where EDC finds us.
func (c *company) base() string { return "http://" + c.public + "/boreal/dsp/2025-1" }

// seed offers one asset under each policy. A second start finds them there.
func seed(ctx context.Context, c *connector.Connector, local participant.Participant) error {
	if _, err := c.Store().Asset(ctx, local.ID, "open"); err == nil || !fault.Is(err, fault.NotFound) {
		return err
	}
	now := time.Now()
	access := odrl.Policy{Permission: []odrl.Rule{{Action: "access"}}}
	lot := catalog.Lot{Policies: []catalog.Definition{{Participant: local.ID, Digest: odrl.Digest(access), Access: true, Policy: access, Created: now}}}
	known := map[string]bool{}
	for id, terms := range policies {
		rule := odrl.Rule{Action: "use"}
		for _, t := range terms {
			rule.Constraint = append(rule.Constraint, odrl.Constraint{LeftOperand: t[0], Operator: "eq", RightOperand: []string{t[1]}})
		}
		usage := odrl.Policy{Permission: []odrl.Rule{rule}}
		if d := odrl.Digest(usage); !known[d] {
			known[d] = true
			lot.Policies = append(lot.Policies, catalog.Definition{Participant: local.ID, Digest: d, Policy: usage, Created: now})
		}
		digest := catalog.DigestOf([]byte(ours))
		lot.Rules = append(lot.Rules, catalog.Rule{Participant: local.ID, ID: "urn:rule:" + id, Access: odrl.Digest(access), Usage: odrl.Digest(usage),
			Selector: catalog.Selector{Assets: []string{id}}, Created: now})
		lot.Contents = []catalog.Content{{Digest: digest, MediaType: "application/json", Bytes: []byte(ours), Created: now}}
		lot.Assets = append(lot.Assets, catalog.Asset{Participant: local.ID, ID: id, Type: "https://example.org/case", Created: now, Updated: now,
			Address: catalog.Address{Content: digest, MediaType: "application/json"}})
	}
	return c.Store().PutAssets(ctx, local.ID, lot, commit.Effects{})
}

// stub speaks EDC's iam-mock: the token is a JSON text that says who speaks, and is believed.
type stub struct {
	peer   *edc
	own    participant.DID
	client *dsphttp.Client
	out    *egress.Client

	mu   sync.Mutex
	seen map[string][]byte // what EDC sent, last by name
}

type mockToken struct {
	Region   string `json:"region"`
	Audience string `json:"audience"`
	ClientID string `json:"clientId"`
}

func (s *stub) Authenticate(r *http.Request, _ participant.Participant) (participant.Peer, *commit.Used, error) {
	var t mockToken
	if err := json.Unmarshal([]byte(r.Header.Get("Authorization")), &t); err != nil || t.ClientID != edcID {
		return participant.Peer{}, nil, fault.New("interop", fault.Unauthenticated, "not EDC")
	}
	r.Body = &heard{ReadCloser: r.Body, tell: s.keep}
	return participant.Peer{DID: participant.DID(t.ClientID), Origins: []string{s.peer.protocol()}}, nil, nil
}

func (*stub) Settle(context.Context, *commit.Used) error { return nil }

func (s *stub) Authorize(context.Context, participant.Participant, participant.DID) (string, error) {
	text, err := json.Marshal(mockToken{"eu", s.peer.protocol(), string(s.own)})
	return string(text), err
}

func (*stub) Claims(_ context.Context, _ participant.Participant, p participant.Peer) (policy.Party, error) {
	return party(string(p.DID), member), nil
}

func (*stub) Own(_ context.Context, local participant.Participant) (policy.Party, error) {
	return party(string(local.DID), member, governed), nil
}

func (s *stub) Endpoint(ctx context.Context, local participant.Participant, peer participant.DID) (string, error) {
	return s.client.Endpoint(ctx, local, peer)
}

func (s *stub) Callback(ctx context.Context, peer participant.Peer, url string) error {
	return s.client.Callback(ctx, peer, url)
}

// Services stands for EDC's DID document.
func (s *stub) Services(context.Context, participant.DID, string) ([]string, error) {
	return []string{s.peer.protocol() + "/.well-known/dspace-version"}, nil
}

// Do and Check implement dsphttp.Doer, and keep what EDC answers.
func (s *stub) Do(r *http.Request, limit int64) (int, http.Header, []byte, error) {
	status, header, body, err := s.out.Do(r, limit)
	s.keep(body)
	return status, header, body, err
}

func (s *stub) Check(url string) error { return s.out.Check(url) }

// keep remembers a message by its type.
func (s *stub) keep(body []byte) {
	var m struct {
		Type     any    `json:"@type"`
		Event    string `json:"eventType"`
		Versions any    `json:"protocolVersions"`
	}
	if json.Unmarshal(body, &m) != nil {
		return
	}
	name, _ := m.Type.(string)
	if m.Versions != nil {
		name = "Versions"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[name+m.Event] = body
}

// heard tells what was read when it is closed or has ended.
type heard struct {
	io.ReadCloser
	text bytes.Buffer
	tell func([]byte)
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.text.Write(p[:n])
	if err == io.EOF {
		h.tell(bytes.Clone(h.text.Bytes()))
	}
	return n, err
}

func party(did string, credentials ...policy.Credential) policy.Party {
	return policy.Party{DID: did, Credentials: credentials}
}

var (
	member   = fact("MembershipCredential", map[string]string{"memberOf": "Meridian"})
	governed = fact("DataExchangeGovernanceCredential", map[string]string{"contractVersion": "1.0", "useCase": "DataExchangeGovernance"})
)

// authority vouches for both.
const authority = "did:web:authority.example"

func fact(kind string, subject map[string]string) policy.Credential {
	now := time.Now()
	return policy.Credential{Type: kind, Issuer: authority, ID: "urn:uuid:" + strings.ToLower(kind), Subject: subject,
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), Digest: strings.Repeat("0", 64)}
}

// secrets are what must not stand in a file: tokens that EDC signed.
var secrets = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)

// record writes what EDC sent into the folder, "" for none.
func (s *stub) record(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, body := range s.seen {
		var text bytes.Buffer
		if dir == "" || name == "" || json.Indent(&text, secrets.ReplaceAll(body, []byte("token")), "", "  ") != nil {
			continue
		}
		text.WriteByte('\n')
		if err := os.WriteFile(filepath.Join(dir, name+".json"), text.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}
