package transfer

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Pull is the one transfer format that is served.
const Pull = "HttpData-PULL"

const (
	// MaxOpen is how many transfers one peer may have open with one hosted participant.
	MaxOpen = 1000
	// TokenLife is how long an access token opens unless something ends it earlier.
	TokenLife = 300 * time.Second
)

// Config carries what a Service is made of. All fields are required unless said otherwise.
type Config struct {
	Store      Store
	Agreements Agreements
	Assets     Assets
	Decider    Decider
	Evidence   Evidence
	Standing   Standing
	Codec      Codec
	Directory  Directory
	Tokens     Tokens
	Flows      Flows
	Outbox     Outbox
	Endpoint   func(participant.Participant) string // public address of the data plane
	Explain    func(policy.Decision) (code string, reasons []string)
	Now        func() time.Time
	Rand       io.Reader
	Log        *slog.Logger
	MaxOpen    int // 0: MaxOpen
	// Hold says that a start which could be sent at once waits for an operator instead; nil: none does. It cannot let pass what a policy denied.
	Hold func(t Transfer) bool
	// Began is told of each transfer under which data may flow for the first time, once that is committed; nil: nobody is.
	Began func(role Role)
}

// Service runs transfers in both roles. It is safe for concurrent use; races on one transfer are settled by the store.
type Service struct{ cfg Config }

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.MaxOpen == 0 {
		cfg.MaxOpen = MaxOpen
	}
	if cfg.Began == nil {
		cfg.Began = func(Role) {}
	}
	return &Service{cfg}
}

func (t Transfer) status() Status { return process.StatusOf(t.Role, t.ID, t.PeerPID, t.State) }

func (s *Service) reply(t Transfer, owed *commit.Owed, created bool) Received {
	r := Received{Status: t.status(), Created: created, Flushed: func() {}}
	if owed != nil {
		r.Flushed = func() { s.cfg.Outbox.Send(*owed) }
	}
	return r
}

func (s *Service) owe(t *Transfer, m Message, to State) (*commit.Owed, error) {
	m.ConsumerPID, m.ProviderPID, m.ToConsumer = t.status().ConsumerPID, t.status().ProviderPID, t.Role == Provider
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return nil, err
	}
	m.ID = id
	path, body, err := s.cfg.Codec.EncodeTransfer(m)
	if err != nil {
		return nil, fault.Wrap("transfer.owe", fault.Internal, err)
	}
	owed, err := process.Owe(s.cfg.Rand, s.cfg.Now(), commit.Owed{ID: id, Participant: t.Participant, Process: commit.Transfer, ProcessID: t.ID, Peer: t.Peer,
		Message: string(m.Kind), Body: body, Trace: t.Trace}, t.Callback, path)
	if err != nil {
		return nil, err
	}
	t.Pending = Pending{Kind: m.Kind, To: to, Owed: owed.ID}
	return owed, nil
}

// changed tells the operator's log that a transfer moved on from the state, and that it began when this is how it did.
func (s *Service) changed(ctx context.Context, from State, t Transfer, kind string) {
	if (from == Initial || from == Requested) && (t.State == Started || t.State == Suspended || t.State == Completed) {
		s.cfg.Began(t.Role)
	}
	s.cfg.Log.InfoContext(ctx, "transfer changed", slog.String("event", kind), slog.String("transfer", t.ID), slog.String("peer", string(t.Peer)),
		slog.String("role", string(t.Role)), slog.String("state", string(t.State)), slog.String("code", t.Code))
}

func event(kind string, t Transfer, now time.Time, actor string) commit.Event {
	return commit.Event{Type: "transfer." + kind, Subject: t.ID, Time: now, Actor: actor, Trace: t.Trace,
		Data: map[string]string{"state": string(t.State), "peer": string(t.Peer), "agreement": t.AgreementID, "code": t.Code}}
}

// Get returns the transfer for the operator.
func (s *Service) Get(ctx context.Context, local participant.Participant, id string) (Transfer, error) {
	return s.cfg.Store.Transfer(ctx, local.ID, "", id)
}

// List returns transfers for the operator.
func (s *Service) List(ctx context.Context, local participant.Participant, f Filter, r page.Request) (page.Of[Transfer], error) {
	return s.cfg.Store.Transfers(ctx, local.ID, f, r)
}

// Status answers a peer's GET: NotFound when the transfer is not its own.
func (s *Service) Status(ctx context.Context, local participant.Participant, peer participant.Peer, id string) (Status, error) {
	t, err := s.cfg.Store.Transfer(ctx, local.ID, peer.DID, id)
	if err != nil {
		return Status{}, err
	}
	if t.PeerPID == "" { // its answer to our request, which names its side, is on the way
		return Status{}, fault.New("transfer.Status", fault.NotFound, "there is no such transfer yet")
	}
	return t.status(), nil
}

// BeginRequest asks for data under an agreement.
type BeginRequest struct {
	Agreement string
	Format    string
	Actor     string
	Trace     string
}

// record seals an operator's action on the transfer; it commits with what the action does.
func (s *Service) record(ctx context.Context, local participant.Participant, t Transfer, code, actor string, details map[string]string) (decisionlog.Entry, error) {
	entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: code, Actor: actor, Subject: t.ID, Process: t.ID,
		Agreement: t.AgreementID, Previous: t.LastRecord, Now: s.cfg.Now(), Details: details})
	return entry, fault.Wrap(code, fault.Unavailable, err)
}

// Begin starts a transfer as consumer, as an operator's action on record. The request leaves at once; it is retried until the peer answers.
func (s *Service) Begin(ctx context.Context, local participant.Participant, r BeginRequest) (Transfer, error) {
	const op = "transfer.Begin"
	if r.Format != Pull {
		return Transfer{}, fault.New(op, fault.Malformed, "format %q is not known here, want %s", r.Format, Pull)
	}
	a, err := s.usable(ctx, local, r.Agreement)
	if err != nil {
		return Transfer{}, err
	}
	if a.Role != string(Consumer) {
		return Transfer{}, fault.New(op, fault.Conflict, "only the consumer of an agreement begins a transfer")
	}
	base, err := s.cfg.Directory.Endpoint(ctx, local, a.Provider)
	if err != nil {
		return Transfer{}, fault.Wrap(op, fault.Unavailable, err)
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Transfer{}, err
	}
	now := s.cfg.Now()
	t := Transfer{Participant: local.ID, ID: id, Version: 1, Role: Consumer, Peer: a.Provider, Callback: base, State: Initial, AgreementID: a.ID,
		Asset: a.Asset, Format: r.Format, Actor: r.Actor, Trace: r.Trace, Created: now, Updated: now}
	owed, err := s.owe(&t, Message{Kind: Request, AgreementID: a.ID, Format: r.Format, Callback: s.cfg.Directory.Own(local)}, Requested)
	if err != nil {
		return Transfer{}, err
	}
	entry, err := s.record(ctx, local, t, "transfer.begin", r.Actor, nil)
	if err != nil {
		return Transfer{}, err
	}
	t.LastRecord = entry.ID
	e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: owed, Events: []commit.Event{event("begun", t, now, r.Actor)}}
	if err := s.cfg.Store.CreateTransfer(ctx, t, e); err != nil {
		return Transfer{}, fault.Wrap(op, fault.Internal, err)
	}
	if ended, err := s.endRetired(context.WithoutCancel(ctx), local, t); err != nil || ended { // a retirement overtook it, see watch
		if err == nil {
			_, err = s.usable(ctx, local, a.ID)
		}
		return Transfer{}, err
	}
	s.cfg.Outbox.Send(*owed)
	return t, nil
}

// usable returns an agreement under which data may flow: concluded to the end, and not retired.
func (s *Service) usable(ctx context.Context, local participant.Participant, id string) (agreement.Agreement, error) {
	const op = "transfer.usable"
	a, err := s.cfg.Agreements.Agreement(ctx, local.ID, id)
	if err != nil {
		return a, err
	}
	if a.Retired != nil {
		return a, &fault.Error{Op: op, Kind: fault.Refused, Code: "agreement.retired", Reason: "the agreement was retired: " + a.Retired.Reason}
	}
	final, err := s.cfg.Agreements.Finalized(ctx, local.ID, id)
	if err == nil && !final {
		err = fault.New(op, fault.NotFound, "there is no such agreement")
	}
	return a, err
}

// Address opens the data address of a started transfer for its consumer. The token in it is a secret.
func (s *Service) Address(ctx context.Context, local participant.Participant, id string) (Address, error) {
	const op = "transfer.Address"
	t, err := s.cfg.Store.Transfer(ctx, local.ID, "", id)
	if err != nil {
		return Address{}, err
	}
	if t.Role != Consumer || t.State != Started || len(t.Address) == 0 {
		return Address{}, fault.New(op, fault.Conflict, "the transfer is %s; only a started one has an address", t.State)
	}
	plain, err := s.cfg.Tokens.Open(local, t.Address)
	if err != nil {
		return Address{}, fault.Wrap(op, fault.Internal, err)
	}
	var a Address
	if err := json.Unmarshal(plain, &a); err != nil {
		return Address{}, fault.Wrap(op, fault.Internal, err)
	}
	return a, nil
}

// decide asks the policy engine about the transfer at a door, as provider.
func (s *Service) decide(ctx context.Context, local participant.Participant, t Transfer, door policy.Door, a agreement.Agreement,
	asset catalog.Asset, raw []byte) (policy.Decision, decisionlog.Entry, error) {
	id, err := decisionlog.NewID(s.cfg.Rand)
	if err != nil {
		return policy.Decision{}, decisionlog.Entry{}, fault.Wrap("transfer.decide", fault.Unavailable, err)
	}
	q := policy.Question{ID: id, Log: local.Slug, Door: door, Now: s.cfg.Now(), Action: "use", Profile: a.Profile,
		Own: policy.Party{DID: string(local.DID)}, Peer: t.Claims, Role: string(t.Role), Policies: []odrl.Policy{a.Policy},
		Asset:     policy.Asset{ID: asset.ID, Type: asset.Type, Version: asset.APIVersion, SemanticID: asset.SemanticID},
		Agreement: policy.Agreement{ID: a.ID, Digest: a.Digest, Signed: a.Signed}, Previous: t.LastRecord,
		Process: policy.Process{ConsumerPID: t.status().ConsumerPID, ProviderPID: t.status().ProviderPID, Format: t.Format}}
	if raw != nil {
		q.Process.MessageDigest = process.Digest(raw)
	}
	return s.ask(ctx, local, q)
}

// ask puts the question; see negotiation: a decision that was cut off is on record, and the peer is asked to come again.
func (s *Service) ask(ctx context.Context, local participant.Participant, q policy.Question) (policy.Decision, decisionlog.Entry, error) {
	const op = "transfer.decide"
	d, entry, err := s.cfg.Decider.Decide(ctx, q)
	if err != nil || !d.CutOff(ctx) {
		return d, entry, fault.Wrap(op, fault.Unavailable, err)
	}
	if err := s.cfg.Store.Record(context.WithoutCancel(ctx), local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}); err != nil {
		return d, entry, fault.Wrap(op, fault.Unavailable, err)
	}
	return d, entry, fault.New(op, fault.Unavailable, "the decision took too long; try again")
}

// address makes the data address with a fresh token generation; the hash stays here, the token leaves in the message.
func (s *Service) address(local participant.Participant, t *Transfer, limits policy.Limits) (*Address, error) {
	t.Grant.Generation++
	token, err := s.cfg.Tokens.Token(local, t.ID, t.Grant.Generation)
	if err != nil {
		return nil, fault.Wrap("transfer.address", fault.Unavailable, err)
	}
	t.Grant.Hash = process.Digest([]byte(token))
	now := s.cfg.Now()
	t.Grant.Expires = now.Add(TokenLife)
	if !limits.NotAfter.IsZero() && limits.NotAfter.Before(t.Grant.Expires) {
		t.Grant.Expires = limits.NotAfter
	}
	endpoint := s.cfg.Endpoint(local)
	return &Address{EndpointType: "https://w3id.org/idsa/v4.1/HTTP", Endpoint: endpoint, Properties: map[string]string{
		PropertyEndpoint: endpoint, PropertyToken: token, PropertyAuthType: "bearer",
		PropertyExpires: strconv.Itoa(int(t.Grant.Expires.Sub(now).Seconds())),
	}}, nil
}

// Names of endpoint properties (Catena-X CX-0018, HttpData-PULL).
const (
	PropertyEndpoint = "https://w3id.org/edc/v0.0.1/ns/endpoint"
	PropertyToken    = "https://w3id.org/edc/v0.0.1/ns/authorization"
	PropertyAuthType = "https://w3id.org/edc/v0.0.1/ns/authType"
	PropertyExpires  = "https://w3id.org/tractusx/auth/expiresIn"
)
