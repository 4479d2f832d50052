package negotiation

import (
	"context"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

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
	return s.begin(ctx, local, Negotiation{Role: Consumer, Peer: r.Peer, Offer: r.Offer, Actor: r.Actor, Trace: r.Trace},
		Message{Kind: Request, Callback: s.cfg.Directory.Own(local), Offer: &r.Offer}, Requested)
}

// BeginOffer offers a contract to a peer as provider, as an operator's action on record. The offer is one that is published. Showing it is the
// operator's act: the policies ask for credentials that the peer has not shown yet, and are asked when it accepts. Not every peer takes such offers.
func (s *Service) BeginOffer(ctx context.Context, local participant.Participant, peer participant.DID, offer, actor string) (Negotiation, error) {
	const op = "negotiation.BeginOffer"
	if peer == local.DID {
		return Negotiation{}, fault.New(op, fault.Malformed, "the peer is this participant itself")
	}
	entry, err := s.cfg.Offers.Offer(ctx, local.ID, offer)
	if err != nil {
		return Negotiation{}, err
	}
	o := Offer{ID: entry.Offer.ID, Target: entry.Asset.ID, Policy: entry.Usage.Policy}
	return s.begin(ctx, local, Negotiation{Role: Provider, Peer: peer, Offer: o, Actor: actor},
		Message{Kind: OfferMessage, Offer: &o, Callback: s.cfg.Directory.Own(local)}, Offered)
}

// begin commits a negotiation of ours with its first message.
func (s *Service) begin(ctx context.Context, local participant.Participant, n Negotiation, m Message, to State) (Negotiation, error) {
	const op = "negotiation.Begin"
	var err error
	if n.Callback, err = s.cfg.Directory.Endpoint(ctx, local, n.Peer); err != nil {
		return Negotiation{}, fault.Wrap(op, fault.Unavailable, err)
	}
	if n.ID, err = process.NewID(s.cfg.Rand); err != nil {
		return Negotiation{}, err
	}
	now := s.cfg.Now()
	n.Participant, n.Version, n.State, n.Created, n.Updated = local.ID, 1, Initial, now, now
	owed, err := s.owe(&n, m, to)
	if err != nil {
		return Negotiation{}, err
	}
	entry, err := s.record(ctx, local, n, "negotiation.begin", n.Actor, map[string]string{"peer": string(n.Peer), "offer": n.Offer.ID})
	if err != nil {
		return Negotiation{}, err
	}
	n.LastRecord = entry.ID
	e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: owed, Events: []commit.Event{event("begun", n, now, n.Actor)}}
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

// order carries out an operator's order on a negotiation that is not on its way already: do finds what follows, after the action was
// sealed, and returns it. A denial leaves the negotiation as it was, with action and denial on record, and is Refused with its reasons.
func (s *Service) order(ctx context.Context, local participant.Participant, id, code string, details map[string]string, order commit.Order,
	do func(n *Negotiation) (answer, policy.Decision, error)) (Negotiation, error) {
	var out Negotiation
	var owed *commit.Owed
	err := process.Retry(func() (Negotiation, error) { return s.cfg.Store.Negotiation(ctx, local.ID, "", id) }, func(n Negotiation) error {
		if err := order.On(n.Version); err != nil {
			return err
		}
		if n.Pending.Kind != "" {
			return process.Illegal(fault.New(code, fault.Conflict, "a %s is on its way already", n.Pending.Kind))
		}
		next := n
		action, err := s.record(ctx, local, n, code, order.Actor, details)
		if err != nil {
			return err
		}
		next.Updated, next.LastRecord = s.cfg.Now(), action.ID
		a, d, err := do(&next)
		if err != nil {
			return err
		}
		e := commit.Effects{Decisions: append([]decisionlog.Entry{action}, a.entries...), Agreement: a.contract}
		if !d.Allowed() {
			next = n
			next.Updated, next.LastRecord = s.cfg.Now(), e.Decisions[len(e.Decisions)-1].ID
			if err := s.cfg.Store.ReplaceNegotiation(ctx, n, next, e); err != nil {
				return err
			}
			code, reasons := Refusal(d)
			return &fault.Error{Op: "negotiation.order", Kind: fault.Refused, Subject: n.ID, Code: code, Reason: "the policy does not allow this", Reasons: reasons}
		}
		next.LastRecord, e.Settled = e.Decisions[len(e.Decisions)-1].ID, n.owes()
		if e.Owed, err = s.say(&next, a); err != nil {
			return err
		}
		e.Events = []commit.Event{event("ordered", next, next.Updated, order.Actor)}
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

// Approve lets a negotiation that waits for an operator go on: the consumer accepts an offer or verifies an agreement, the provider agrees or
// finalizes. Before it signs or accepts, the policy engine is asked once more; approving cannot allow what it denies.
func (s *Service) Approve(ctx context.Context, local participant.Participant, id string, order commit.Order) (Negotiation, error) {
	return s.order(ctx, local, id, "negotiation.approve", reasonOf(order), order, func(n *Negotiation) (answer, policy.Decision, error) {
		allowed := policy.Decision{Effect: policy.Allow}
		switch n.Held.Message {
		case Acceptance:
			d, entry, err := s.own(ctx, local, *n, n.Offer)
			return answer{message: &Message{Kind: Acceptance}, to: Accepted, entries: []decisionlog.Entry{entry}}, d, err
		case Verification:
			return answer{message: &Message{Kind: Verification}, to: Verified}, allowed, nil
		case Finalization:
			return answer{message: &Message{Kind: Finalization}, to: Finalized}, allowed, nil
		case Agreement:
			return s.approveRequest(ctx, local, n)
		}
		reason := "in state " + string(n.State) + " there is nothing that waits for an operator"
		if n.Held.Message == Termination {
			reason = "what waits is a refusal, because the terms are not ours: propose other terms, or terminate"
		}
		return answer{}, policy.Decision{}, process.Illegal(fault.New("negotiation.Approve", fault.Conflict, "%s", reason))
	})
}

// approveRequest agrees to what the consumer asked for, if that is what we offer.
func (s *Service) approveRequest(ctx context.Context, local participant.Participant, n *Negotiation) (answer, policy.Decision, error) {
	entry, err := s.offer(ctx, local, *n, n.Offer.ID)
	if err != nil {
		return answer{}, policy.Decision{}, err
	}
	if !odrl.Equal(n.Offer.Policy, entry.Usage.Policy) {
		return answer{}, policy.Decision{}, process.Illegal(fault.New("negotiation.Approve", fault.Conflict, "the offer has other terms by now"))
	}
	if n.Approval == policy.Awaited {
		n.Approval = policy.Given
	}
	d, asked, err := s.decide(ctx, local, *n, policy.DoorRequest, n.Claims, policy.Party{DID: string(local.DID)}, assetOf(entry), policy.Agreement{}, nil, entry.Usage.Policy)
	if err != nil || !d.Allowed() {
		return answer{entries: []decisionlog.Entry{asked}}, d, err
	}
	n.LastRecord = asked.ID
	a, err := s.agree(ctx, local, n, n.Claims, entry, nil)
	a.entries = append([]decisionlog.Entry{asked}, a.entries...)
	return a, d, err
}

// offer finds a published offer about the dataset that is negotiated.
func (s *Service) offer(ctx context.Context, local participant.Participant, n Negotiation, id string) (catalog.Entry, error) {
	entry, err := s.cfg.Offers.Offer(ctx, local.ID, id)
	if err == nil && entry.Asset.ID != n.Offer.Target {
		err = fault.New("negotiation.offer", fault.Malformed, "offer %s is about another dataset", id)
	}
	return entry, err
}

// own asks whether we, as consumer, may take the offer.
func (s *Service) own(ctx context.Context, local participant.Participant, n Negotiation, o Offer) (policy.Decision, decisionlog.Entry, error) {
	own, err := s.cfg.Evidence.Own(ctx, local)
	if err != nil {
		return policy.Decision{}, decisionlog.Entry{}, err
	}
	return s.decide(ctx, local, n, policy.DoorOffer, policy.Party{DID: string(n.Peer)}, own, policy.Asset{ID: o.Target}, policy.Agreement{}, nil, o.Policy)
}

// Propose puts other terms on the table: a provider answers a request with one of its published offers about the same dataset (only the id of o
// counts), a consumer answers an offer with the terms that it wants. The policy engine must allow them first.
func (s *Service) Propose(ctx context.Context, local participant.Participant, id string, o Offer, order commit.Order) (Negotiation, error) {
	const op = "negotiation.Propose"
	return s.order(ctx, local, id, "negotiation.propose", map[string]string{"offer": o.ID}, order, func(n *Negotiation) (answer, policy.Decision, error) {
		kind := Request
		if n.Role == Provider {
			kind = OfferMessage
		}
		to, err := Next(n.State, kind, n.Role)
		if err != nil {
			return answer{}, policy.Decision{}, process.Illegal(err)
		}
		var d policy.Decision
		var asked decisionlog.Entry
		if n.Role == Provider {
			var entry catalog.Entry
			if entry, err = s.offer(ctx, local, *n, o.ID); err != nil {
				return answer{}, policy.Decision{}, err
			}
			o = Offer{ID: entry.Offer.ID, Target: entry.Asset.ID, Policy: entry.Usage.Policy}
			n.Approval = "" // proposing it says nothing of the approval that its acceptance may need
			d, asked, err = s.decide(ctx, local, *n, policy.DoorRequest, n.Claims, policy.Party{DID: string(local.DID)}, assetOf(entry), policy.Agreement{}, nil, o.Policy)
		} else {
			if o.ID == "" || o.Target != n.Offer.Target || o.Policy.IsZero() {
				return answer{}, policy.Decision{}, fault.New(op, fault.Malformed, "want an offer with its id and policy, about the dataset that is negotiated")
			}
			if terms := s.unknown(o.Policy); len(terms) > 0 {
				return answer{}, policy.Decision{}, &fault.Error{Op: op, Kind: fault.Malformed, Code: codeUnknown, Reason: "the offer has terms that cannot be enforced here", Reasons: terms}
			}
			d, asked, err = s.own(ctx, local, *n, o)
		}
		n.Offer, n.Accepted = o, n.Accepted.Moved()
		return answer{message: &Message{Kind: kind, Offer: &o}, to: to, entries: []decisionlog.Entry{asked}}, d, err
	})
}

func reasonOf(o commit.Order) map[string]string {
	if o.Reason == "" {
		return nil
	}
	return map[string]string{"reason": o.Reason}
}

// end terminates from our side: the state is TERMINATED at once for everything of ours, and the peer is told.
func (s *Service) end(ctx context.Context, n Negotiation, code string, reasons []string, actor string, entries ...decisionlog.Entry) (Negotiation, *commit.Owed, error) {
	now := s.cfg.Now()
	next := n
	next.State, next.Code, next.Reasons, next.Updated = Terminated, code, reasons, now
	e := commit.Effects{Decisions: entries, Settled: n.owes()}
	next.Pending, next.Held = Pending{}, Held{}
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
