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

// Validator says whether the terms of an offered policy can be enforced here.
type Validator interface {
	Validate(p odrl.Policy, access bool) []odrl.Fault
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
	MaxOpen   int // 0: MaxOpen
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
	path, body, err := s.cfg.Codec.EncodeNegotiation(m)
	if err != nil {
		return nil, fault.Wrap("negotiation.owe", fault.Internal, err)
	}
	owed, err := process.Owe(s.cfg.Rand, s.cfg.Now(), commit.Owed{Participant: n.Participant, Process: commit.Negotiation, ProcessID: n.ID, Peer: n.Peer,
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
	status := n.status()
	q := policy.Question{ID: id, Log: local.Slug, Door: door, Now: s.cfg.Now(), Action: "use", Profile: s.cfg.ProfileID, Own: own, Peer: peer,
		Role: string(n.Role), Policies: policies, Accepts: s.cfg.Accepts, Asset: a, Agreement: contract, Previous: n.LastRecord,
		Process: policy.Process{ConsumerPID: status.ConsumerPID, ProviderPID: status.ProviderPID, OfferID: n.Offer.ID}}
	if raw != nil {
		q.Process.MessageDigest = process.Digest(raw)
	}
	return s.ask(ctx, local, q)
}

// late tells a decision that was cut off from one that was made.
func late(ctx context.Context, d policy.Decision) bool {
	return d.Class == "timeout" || d.Class != "" && ctx.Err() != nil
}

// ask puts the question. An answer that came too late says nothing of the peer: the denial goes on record, and the peer is asked to come
// again instead of being refused for good.
func (s *Service) ask(ctx context.Context, local participant.Participant, q policy.Question) (policy.Decision, decisionlog.Entry, error) {
	const op = "negotiation.decide"
	d, entry, err := s.cfg.Decider.Decide(ctx, q)
	if err != nil || !late(ctx, d) {
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
	st := n.status()
	if st.State == Initial {
		st.State = Requested
	}
	return st, nil
}

// unknown lists the terms of a policy that cannot be enforced here.
func (s *Service) unknown(p odrl.Policy) []string {
	var out []string
	for _, f := range s.cfg.Profile.Validate(p, false) {
		out = append(out, f.Error())
	}
	return out
}

const codeUnknown = "policy.unknown"

// BeginRequest asks for a contract on an offer of a peer's catalog.
type BeginRequest struct {
	Peer  participant.DID
	Offer Offer // as shown in the catalog, with its target
	Actor string
	Trace string
}

// Begin starts a negotiation as consumer, as an operator's action on record. The request leaves at once; it is retried until the peer
// answers. An offer with terms that cannot be kept here is Malformed with every such term.
func (s *Service) Begin(ctx context.Context, local participant.Participant, r BeginRequest) (Negotiation, error) {
	const op = "negotiation.Begin"
	if r.Peer == local.DID {
		return Negotiation{}, fault.New(op, fault.Malformed, "the peer is this participant itself")
	}
	if r.Offer.ID == "" || r.Offer.Target == "" || r.Offer.Policy.IsZero() {
		return Negotiation{}, fault.New(op, fault.Malformed, "an offer needs its id, its target and its policy, as the catalog shows them")
	}
	if terms := s.unknown(r.Offer.Policy); len(terms) > 0 {
		return Negotiation{}, &fault.Error{Op: op, Kind: fault.Malformed, Code: codeUnknown, Reason: "the offer has terms that cannot be enforced here", Reasons: terms}
	}
	base, err := s.cfg.Directory.Endpoint(ctx, local, r.Peer)
	if err != nil {
		return Negotiation{}, fault.Wrap(op, fault.Unavailable, err)
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Negotiation{}, err
	}
	now := s.cfg.Now()
	n := Negotiation{Participant: local.ID, ID: id, Version: 1, Role: Consumer, Peer: r.Peer, Callback: base, State: Initial, Offer: r.Offer,
		Actor: r.Actor, Trace: r.Trace, Created: now, Updated: now}
	owed, err := s.owe(&n, Message{Kind: Request, Callback: s.cfg.Directory.Own(local), Offer: &r.Offer}, Requested)
	if err != nil {
		return Negotiation{}, err
	}
	entry, err := s.record(ctx, local, n, "negotiation.begin", r.Actor, map[string]string{"peer": string(r.Peer), "offer": r.Offer.ID})
	if err != nil {
		return Negotiation{}, err
	}
	n.LastRecord = entry.ID
	e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: owed, Events: []commit.Event{event("begun", n, now, r.Actor)}}
	if err := s.cfg.Store.CreateNegotiation(ctx, n, e); err != nil {
		return Negotiation{}, fault.Wrap(op, fault.Internal, err)
	}
	s.cfg.Outbox.Send(*owed)
	return n, nil
}

// record seals an operator's action on the negotiation; it commits with what the action does.
func (s *Service) record(ctx context.Context, local participant.Participant, n Negotiation, code, actor string, details map[string]string) (decisionlog.Entry, error) {
	entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: code, Actor: actor, Subject: n.ID, Process: n.ID,
		Previous: n.LastRecord, Now: s.cfg.Now(), Details: details})
	return entry, fault.Wrap(code, fault.Unavailable, err)
}

// Terminate ends a negotiation that is not final, as an operator's action on record. It is over for us when the call returns; the peer is
// told until it hears it. A final negotiation, and one whose finalization is on its way, is a Conflict.
func (s *Service) Terminate(ctx context.Context, local participant.Participant, id string, order commit.Order) (Negotiation, error) {
	var out Negotiation
	var owed *commit.Owed
	err := process.Retry(func() (Negotiation, error) { return s.cfg.Store.Negotiation(ctx, local.ID, "", id) }, func(n Negotiation) error {
		if err := order.On(n.Version); err != nil {
			return err
		}
		if _, err := Next(n.State, Termination, n.Role); err != nil {
			return process.Illegal(err)
		}
		if n.Pending.To == Finalized {
			// The peer may have heard it already, and nothing follows FINALIZED: ending it here would leave the two sides apart.
			return process.Illegal(fault.New("negotiation.Terminate", fault.Conflict, "the negotiation is being finalized; retire the agreement instead"))
		}
		entry, err := s.record(ctx, local, n, "negotiation.terminate", order.Actor, map[string]string{"reason": order.Reason})
		if err != nil {
			return err
		}
		out, owed, err = s.end(ctx, n, "operator.terminated", []string{order.Reason}, order.Actor, entry)
		return err
	})
	if err == nil && owed != nil {
		s.cfg.Outbox.Send(*owed)
	}
	return out, err
}

// Accept takes the provider's offer that waits for an operator, as an action on record, after the policy engine allowed it. A denial is
// Refused with its reasons; the negotiation stays as it was, and the denial is on record.
func (s *Service) Accept(ctx context.Context, local participant.Participant, id string, order commit.Order) (Negotiation, error) {
	const op = "negotiation.Accept"
	var out Negotiation
	var owed *commit.Owed
	err := process.Retry(func() (Negotiation, error) { return s.cfg.Store.Negotiation(ctx, local.ID, "", id) }, func(n Negotiation) error {
		if err := order.On(n.Version); err != nil {
			return err
		}
		to, err := Next(n.State, Acceptance, n.Role)
		if err != nil {
			return process.Illegal(err)
		}
		if n.Pending.Kind != "" {
			return process.Illegal(fault.New(op, fault.Conflict, "a %s is on its way already", n.Pending.Kind))
		}
		action, err := s.record(ctx, local, n, "negotiation.accept", order.Actor, map[string]string{"offer": n.Offer.ID})
		if err != nil {
			return err
		}
		own, err := s.cfg.Evidence.Own(ctx, local)
		if err != nil {
			return err
		}
		next := n
		next.Updated, next.LastRecord = s.cfg.Now(), action.ID
		d, entry, err := s.decide(ctx, local, next, policy.DoorOffer, policy.Party{DID: string(n.Peer)}, own, policy.Asset{ID: n.Offer.Target},
			policy.Agreement{}, nil, n.Offer.Policy)
		if err != nil {
			return err
		}
		e := commit.Effects{Decisions: []decisionlog.Entry{action, entry}, Settled: n.Pending.Owed}
		next.LastRecord = entry.ID
		if !d.Allowed() {
			if err := s.cfg.Store.ReplaceNegotiation(ctx, n, next, e); err != nil {
				return err
			}
			code, reasons := Refusal(d)
			return &fault.Error{Op: op, Kind: fault.Refused, Subject: n.ID, Code: code, Reason: "our own policy does not allow this offer", Reasons: reasons}
		}
		if e.Owed, err = s.owe(&next, Message{Kind: Acceptance}, to); err != nil {
			return err
		}
		e.Events = []commit.Event{event("accepting", next, next.Updated, order.Actor)}
		if err := s.cfg.Store.ReplaceNegotiation(ctx, n, next, e); err != nil {
			return err
		}
		next.Version++
		out, owed = next, e.Owed
		return nil
	})
	if err == nil && owed != nil {
		s.cfg.Outbox.Send(*owed)
	}
	return out, err
}

// end terminates from our side: the state is TERMINATED at once for everything of ours, and the peer is told.
func (s *Service) end(ctx context.Context, n Negotiation, code string, reasons []string, actor string, entries ...decisionlog.Entry) (Negotiation, *commit.Owed, error) {
	now := s.cfg.Now()
	next := n
	next.State, next.Code, next.Reasons, next.Updated = Terminated, code, reasons, now
	e := commit.Effects{Decisions: entries, Settled: n.Pending.Owed}
	next.Pending = Pending{}
	if len(entries) > 0 {
		next.LastRecord = entries[len(entries)-1].ID
	}
	if n.PeerPID != "" {
		owed, err := s.owe(&next, Message{Kind: Termination, Code: code, Reasons: reasons}, Terminated)
		if err != nil {
			return n, nil, err
		}
		e.Owed = owed
	}
	e.Events = []commit.Event{event("terminated", next, now, actor)}
	if err := s.cfg.Store.ReplaceNegotiation(ctx, n, next, e); err != nil {
		return n, nil, err
	}
	next.Version++
	return next, e.Owed, nil
}
