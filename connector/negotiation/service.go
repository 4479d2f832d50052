package negotiation

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/policy/reason"
)

// MaxOpen is how many negotiations one peer may have open with one hosted participant.
const MaxOpen = 1000

// Validator says which terms of an offered policy cannot be enforced here.
type Validator interface {
	Understand(p odrl.Policy) []odrl.Fault
}

// Config carries what a Service is made of. All fields are required unless said otherwise.
type Config struct {
	Store     Store
	Offers    Offers
	Decider   Decider
	Evidence  Evidence
	Codec     Codec
	Directory Directory
	Outbox    Outbox
	Profile   Validator
	ProfileID string
	Accepts   []string // usage purposes that we, as consumer, allow ourselves
	Now       func() time.Time
	Rand      io.Reader
	Log       *slog.Logger
	MaxOpen   int  // 0: MaxOpen
	Offered   bool // initial offers of providers are taken
	Hosted    Hosted
	Patience  time.Duration // how long something waits for an operator before it is refused; 0: for ever
	// Hold says that a message which could be sent at once waits for an operator instead; nil: none does. It cannot let pass what a policy denied.
	Hold func(n Negotiation, m Kind) bool
}

// Service runs negotiations in both roles. It is safe for concurrent use; races on one negotiation are settled by the store.
type Service struct{ cfg Config }

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.MaxOpen == 0 {
		cfg.MaxOpen = MaxOpen
	}
	return &Service{cfg}
}

func (n Negotiation) status() Status { return process.StatusOf(n.Role, n.ID, n.PeerPID, n.State) }

// reply makes the answer of a committed step.
func (s *Service) reply(n Negotiation, owed *commit.Owed, created bool) Received {
	r := Received{Status: n.status(), Created: created, Flushed: func() {}}
	if owed != nil {
		r.Flushed = func() { s.cfg.Outbox.Send(*owed) }
	}
	return r
}

// owe encodes the message once and makes it owed by the negotiation; next gets the pending transition.
func (s *Service) owe(n *Negotiation, m Message, to State) (*commit.Owed, error) {
	m.ConsumerPID, m.ProviderPID, m.ToConsumer = n.status().ConsumerPID, n.status().ProviderPID, n.Role == Provider
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return nil, err
	}
	m.ID = id
	path, body, err := s.cfg.Codec.EncodeNegotiation(m)
	if err != nil {
		return nil, fault.Wrap("negotiation.owe", fault.Internal, err)
	}
	owed, err := process.Owe(s.cfg.Rand, s.cfg.Now(), commit.Owed{ID: id, Participant: n.Participant, Process: commit.Negotiation, ProcessID: n.ID, Peer: n.Peer,
		Message: string(m.Kind), Body: body, Trace: n.Trace}, n.Callback, path)
	if err != nil {
		return nil, err
	}
	n.Pending = Pending{Kind: m.Kind, To: to, Owed: owed.ID}
	return owed, nil
}

func event(kind string, n Negotiation, now time.Time, actor string) commit.Event {
	return commit.Event{Type: "negotiation." + kind, Subject: n.ID, Time: now, Actor: actor, Trace: n.Trace,
		Data: map[string]string{"state": string(n.State), "peer": string(n.Peer), "agreement": n.AgreementID, "code": n.Code}}
}

// changed tells the operator's log that a negotiation moved on.
func (s *Service) changed(ctx context.Context, n Negotiation, kind string) {
	s.cfg.Log.InfoContext(ctx, "negotiation changed", slog.String("event", kind), slog.String("negotiation", n.ID), slog.String("peer", string(n.Peer)),
		slog.String("role", string(n.Role)), slog.String("state", string(n.State)), slog.String("code", n.Code))
}

// decide asks the policy engine about the negotiation at a door.
func (s *Service) decide(ctx context.Context, local participant.Participant, n Negotiation, door policy.Door, peer policy.Party,
	own policy.Party, a policy.Asset, contract policy.Agreement, raw []byte, policies ...odrl.Policy) (policy.Decision, decisionlog.Entry, error) {
	id, err := decisionlog.NewID(s.cfg.Rand)
	if err != nil {
		return policy.Decision{}, decisionlog.Entry{}, fault.Wrap("negotiation.decide", fault.Unavailable, err)
	}
	return s.ask(ctx, local, s.question(local, id, n, door, peer, own, a, contract, raw, policies...))
}

func (s *Service) question(local participant.Participant, id string, n Negotiation, door policy.Door, peer, own policy.Party, a policy.Asset,
	contract policy.Agreement, raw []byte, policies ...odrl.Policy) policy.Question {
	status := n.status()
	q := policy.Question{ID: id, Log: local.Slug, Door: door, Now: s.cfg.Now(), Action: "use", Profile: s.cfg.ProfileID, Own: own, Peer: peer,
		Role: string(n.Role), Policies: policies, Approval: n.Approval, Accepts: s.cfg.Accepts, Asset: a, Agreement: contract, Previous: n.LastRecord,
		Process: policy.Process{ConsumerPID: status.ConsumerPID, ProviderPID: status.ProviderPID, OfferID: n.Offer.ID}}
	if raw != nil {
		q.Process.MessageDigest = process.Digest(raw)
	}
	return q
}

// deny seals a denial that follows from the message alone, whatever a policy would say.
func (s *Service) deny(ctx context.Context, local participant.Participant, n Negotiation, door policy.Door, code string, raw []byte,
	policies ...odrl.Policy) (decisionlog.Entry, error) {
	id, err := decisionlog.NewID(s.cfg.Rand)
	if err != nil {
		return decisionlog.Entry{}, fault.Wrap("negotiation.deny", fault.Unavailable, err)
	}
	entry, err := s.cfg.Decider.Deny(ctx, s.question(local, id, n, door, policy.Party{DID: string(n.Peer)}, policy.Party{DID: string(local.DID)},
		policy.Asset{ID: n.Offer.Target}, policy.Agreement{}, raw, policies...), code)
	return entry, fault.Wrap("negotiation.deny", fault.Unavailable, err)
}

// ask puts the question. An answer that came too late says nothing of the peer: the denial goes on record, and the peer is asked to come
// again instead of being refused for good.
func (s *Service) ask(ctx context.Context, local participant.Participant, q policy.Question) (policy.Decision, decisionlog.Entry, error) {
	const op = "negotiation.decide"
	d, entry, err := s.cfg.Decider.Decide(ctx, q)
	if err != nil || !d.CutOff(ctx) {
		return d, entry, fault.Wrap(op, fault.Unavailable, err)
	}
	if err := s.cfg.Offers.Record(context.WithoutCancel(ctx), local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}); err != nil {
		return d, entry, fault.Wrap(op, fault.Unavailable, err)
	}
	return d, entry, fault.New(op, fault.Unavailable, "the decision took too long; try again")
}

// Refusal is what a peer is told of a denial by a policy that it was shown.
func Refusal(d policy.Decision) (code string, reasons []string) {
	if d.Class != "" {
		return "policy.error", []string{"the policy could not be evaluated (" + d.Class + ")"}
	}
	for _, r := range d.Denials() {
		reasons = append(reasons, Explain(r))
	}
	if len(reasons) == 0 {
		reasons = []string{"no permission allows this"}
	}
	return "policy.refused", reasons
}

// Explain is one reason for a peer: stable code, plain words, and the constraint.
func Explain(r policy.Reason) string { return reason.Line("en", r) }

// Get returns the negotiation for the operator.
func (s *Service) Get(ctx context.Context, local participant.Participant, id string) (Negotiation, error) {
	return s.cfg.Store.Negotiation(ctx, local.ID, "", id)
}

// List returns negotiations for the operator.
func (s *Service) List(ctx context.Context, local participant.Participant, f Filter, r page.Request) (page.Of[Negotiation], error) {
	return s.cfg.Store.Negotiations(ctx, local.ID, f, r)
}

// Status answers a peer's GET: NotFound when the negotiation is not its own.
func (s *Service) Status(ctx context.Context, local participant.Participant, peer participant.Peer, id string) (Status, error) {
	n, err := s.cfg.Store.Negotiation(ctx, local.ID, peer.DID, id)
	if err != nil {
		return Status{}, err
	}
	if n.PeerPID == "" { // its answer to our first message, which names its side, is on the way
		return Status{}, fault.New("negotiation.Status", fault.NotFound, "there is no such negotiation yet")
	}
	st := n.status()
	if st.State == Initial {
		st.State = n.Pending.To
	}
	return st, nil
}

// unknown lists the terms of a policy that cannot be enforced here.
func (s *Service) unknown(p odrl.Policy) []string {
	var out []string
	for _, f := range s.cfg.Profile.Understand(p) {
		out = append(out, f.Error())
	}
	return out
}

const codeUnknown = "policy.unknown"
