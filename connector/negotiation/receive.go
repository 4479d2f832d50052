package negotiation

import (
	"context"
	"errors"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Receive takes a message of a verified peer (DSP 2025-1, section 3). pid is our own pid from the path, "" for an initial request or
// offer. An illegal message is a Conflict that changed nothing; a process that is not this peer's is NotFound, as if it did not exist.
func (s *Service) Receive(ctx context.Context, local participant.Participant, peer participant.Peer, pid string, m Message) (Received, error) {
	const op = "negotiation.Receive"
	if (m.Kind == Request || m.Kind == OfferMessage) && (m.Offer == nil || m.Offer.ID == "") {
		return Received{}, fault.New(op, fault.Malformed, "offer: want an offer with its @id")
	}
	if m.Kind == Agreement && m.Contract == nil {
		return Received{}, fault.New(op, fault.Malformed, "agreement: want the agreement")
	}
	if pid == "" {
		switch {
		case m.Kind == Request && m.ConsumerPID != "":
			return s.open(ctx, local, peer, m)
		case m.Kind == OfferMessage && m.ProviderPID != "":
			return s.openOffer(ctx, local, peer, m)
		}
		return Received{}, fault.New(op, fault.Malformed, "a negotiation begins with a request or an offer that names its sender's pid")
	}
	var out Received
	err := process.Retry(func() (Negotiation, error) { return s.cfg.Store.Negotiation(ctx, local.ID, peer.DID, pid) }, func(n Negotiation) (err error) {
		out, err = s.receive(ctx, local, peer, n, m)
		return err
	})
	return out, err
}

func (s *Service) receive(ctx context.Context, local participant.Participant, peer participant.Peer, n Negotiation, m Message) (Received, error) {
	said := process.Status[string]{ConsumerPID: m.ConsumerPID, ProviderPID: m.ProviderPID}
	if err := process.Addressed(n.Role, n.ID, n.PeerPID, said); err != nil {
		return Received{}, err
	}
	if repeated(n, m) {
		return s.reply(n, nil, false), nil
	}
	at := n.effective(m)
	to, err := Next(at.State, m.Kind, n.Role.Other())
	if err != nil {
		return Received{}, process.Illegal(err)
	}
	next := at
	next.State, next.Updated = to, s.cfg.Now()
	next.Accepted = process.ReceiptOf(m.Kind, m.ID, m.Raw)
	if next.PeerPID == "" {
		next.PeerPID = said.PID(n.Role.Other())
	}
	step := step{s: s, ctx: ctx, local: local, peer: peer, old: n, next: next, message: m, settled: n.owes()}
	switch m.Kind {
	case Request:
		return step.counterOffer()
	case OfferMessage:
		return step.offered()
	case Acceptance:
		return step.accepted()
	case Agreement:
		return step.agreed()
	case Verification:
		return step.verified()
	case Finalization:
		return step.finalized()
	case Termination:
		return step.terminated()
	}
	return Received{}, fault.New("negotiation.Receive", fault.Malformed, "message kind %q is not known", m.Kind)
}

// repeated reports a byte-equal repeat of the last accepted message: it gets the same answer again, except counter-offers and in
// final states, where the protocol wants an error (section 3.6).
func repeated(n Negotiation, m Message) bool {
	return m.Kind != Request && !n.State.Final() && n.Accepted == process.ReceiptOf(m.Kind, m.ID, m.Raw)
}

// effective is the negotiation as the sender of m sees it: when m is legal only after our pending transition, the peer has taken
// that message although its answer did not reach us yet.
func (n Negotiation) effective(m Message) Negotiation {
	if n.Pending.Kind == "" {
		return n
	}
	by := n.Role.Other()
	if _, err := Next(n.State, m.Kind, by); err == nil {
		return n
	}
	if _, err := Next(n.Pending.To, m.Kind, by); err != nil {
		return n
	}
	n.State = n.Pending.To
	return n
}

// step is one received message on its way to the commit.
type step struct {
	s         *Service
	ctx       context.Context
	local     participant.Participant
	peer      participant.Peer
	old, next Negotiation
	message   Message
	settled   string
	entries   []decisionlog.Entry
}

// commit writes the step with what follows from it, and names the event after the state that was reached.
func (p *step) commit(a answer) (Received, error) {
	p.next.Pending = Pending{}
	e := commit.Effects{Decisions: append(p.entries, a.entries...), Settled: p.settled, Agreement: a.contract}
	if n := len(e.Decisions); n > 0 {
		p.next.LastRecord = e.Decisions[n-1].ID
	}
	var err error
	if e.Owed, err = p.s.say(&p.next, a); err != nil {
		return Received{}, err
	}
	kind := kinds[p.next.State]
	e.Events = []commit.Event{event(kind, p.next, p.next.Updated, string(p.peer.DID))}
	if err := p.s.cfg.Store.ReplaceNegotiation(p.ctx, p.old, p.next, e); err != nil {
		return Received{}, err
	}
	p.s.changed(p.ctx, p.next, kind)
	return p.s.reply(p.next, e.Owed, false), nil
}

// answer is what a negotiation does next of its own accord. The zero value waits for the peer or an operator.
type answer struct {
	message  *Message // to the peer
	to       State
	held     Held // the message that an operator must release instead
	entries  []decisionlog.Entry
	contract *agreement.Agreement // concluded with it
}

// refusal ends the negotiation and says why.
func refusal(code string, reasons []string, entries ...decisionlog.Entry) answer {
	return answer{message: &Message{Kind: Termination, Code: code, Reasons: reasons}, to: Terminated, entries: entries}
}

// say owes what follows from the answer: its message, or the deadline of what waits instead. What was concluded keeps the exact bytes.
func (s *Service) say(n *Negotiation, a answer) (*commit.Owed, error) {
	n.Held = a.held
	if a.message == nil {
		return s.deadline(n)
	}
	if a.message.Kind == Termination {
		n.Code, n.Reasons = a.message.Code, a.message.Reasons
	}
	owed, err := s.owe(n, *a.message, a.to)
	if err == nil && a.contract != nil && a.contract.Raw == nil {
		a.contract.Raw = owed.Body
	}
	return owed, err
}

// unless lets the answer wait for an operator when its message is to be held.
func (s *Service) unless(n Negotiation, a answer) answer {
	if s.cfg.Hold == nil || !s.cfg.Hold(n, a.message.Kind) {
		return a
	}
	return answer{held: Held{Message: a.message.Kind}, entries: a.entries}
}

// ask lets the answer wait for the operator that the policy asks for.
func ask(m Kind, d policy.Decision, entries ...decisionlog.Entry) answer {
	_, reasons := Refusal(d)
	return answer{held: Held{Message: m, Reasons: reasons}, entries: entries}
}

// admit holds for every message that begins a process, cheap checks first: the peer may have only so many open, and its callback address
// must be its own.
func (s *Service) admit(ctx context.Context, local participant.Participant, peer participant.Peer, callback string) error {
	open, err := s.cfg.Store.OpenNegotiations(ctx, local.ID, peer.DID)
	if err != nil {
		return err
	}
	if open >= s.cfg.MaxOpen {
		return fault.New("negotiation.Receive", fault.Exhausted, "%d negotiations are open with you; finish some first", open)
	}
	return s.cfg.Directory.Callback(ctx, peer, callback)
}

// open answers an initial request as provider.
func (s *Service) open(ctx context.Context, local participant.Participant, peer participant.Peer, m Message) (Received, error) {
	if got, done, err := s.known(ctx, local, peer, m.ConsumerPID, Provider, m); done {
		return got, err
	}
	if err := s.admit(ctx, local, peer, m.Callback); err != nil {
		return Received{}, err
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Received{}, err
	}
	now := s.cfg.Now()
	n := Negotiation{Participant: local.ID, ID: id, Version: 1, Role: Provider, Peer: peer.DID, PeerPID: m.ConsumerPID, Callback: m.Callback,
		State: Requested, Offer: *m.Offer, Accepted: process.ReceiptOf(Request, m.ID, m.Raw), Actor: string(peer.DID), Created: now, Updated: now}
	entry, claims, seen, err := s.published(ctx, local, peer, n, m)
	if err != nil {
		return Received{}, err
	}
	n.Offer.Target, n.LastRecord = entry.Asset.ID, seen.ID
	a, err := s.respond(ctx, local, &n, claims, entry, m)
	if err != nil {
		return Received{}, err
	}
	e := commit.Effects{Decisions: append([]decisionlog.Entry{seen}, a.entries...), Agreement: a.contract}
	n.LastRecord = e.Decisions[len(e.Decisions)-1].ID
	if e.Owed, err = s.say(&n, a); err != nil {
		return Received{}, err
	}
	e.Events = []commit.Event{event("requested", n, now, string(peer.DID))}
	return s.create(ctx, n, m, e)
}

// openOffer takes an initial offer as consumer, from a peer that has proven something: once our own policy allowed it, an operator accepts
// it or ends it. The protocol defines little of such offers, so they are taken only where the operator says so.
func (s *Service) openOffer(ctx context.Context, local participant.Participant, peer participant.Peer, m Message) (Received, error) {
	const op = "negotiation.openOffer"
	if !s.cfg.Offered {
		return Received{}, &fault.Error{Op: op, Kind: fault.Refused, Code: "offer.uninvited", Reason: "offers are not taken here; request one of your catalog's"}
	}
	if got, done, err := s.known(ctx, local, peer, m.ProviderPID, Consumer, m); done {
		return got, err
	}
	if err := s.admit(ctx, local, peer, m.Callback); err != nil {
		return Received{}, err
	}
	theirs, err := s.cfg.Evidence.Claims(ctx, local, peer)
	if err != nil {
		return Received{}, err
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Received{}, err
	}
	now := s.cfg.Now()
	n := Negotiation{Participant: local.ID, ID: id, Version: 1, Role: Consumer, Peer: peer.DID, PeerPID: m.ProviderPID, Callback: m.Callback,
		State: Offered, Offer: *m.Offer, Accepted: process.ReceiptOf(OfferMessage, m.ID, m.Raw), Actor: string(peer.DID), Created: now, Updated: now}
	refused := func(entry decisionlog.Entry, code string, reasons []string) (Received, error) {
		if err := s.cfg.Offers.Record(ctx, local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}); err != nil {
			return Received{}, err
		}
		return Received{}, &fault.Error{Op: op, Kind: fault.Refused, Code: code, Reason: "the offer is not taken", Reasons: reasons}
	}
	if terms := s.unknown(m.Offer.Policy); len(terms) > 0 {
		entry, err := s.deny(ctx, local, n, policy.DoorOffer, codeUnknown, m.Raw, m.Offer.Policy)
		if err != nil {
			return Received{}, err
		}
		return refused(entry, codeUnknown, terms)
	}
	own, err := s.cfg.Evidence.Own(ctx, local)
	if err != nil {
		return Received{}, err
	}
	d, entry, err := s.decide(ctx, local, n, policy.DoorOffer, theirs, own, policy.Asset{ID: m.Offer.Target}, policy.Agreement{}, m.Raw, m.Offer.Policy)
	if err != nil {
		return Received{}, err
	}
	if !d.Allowed() {
		code, reasons := Refusal(d)
		return refused(entry, code, reasons)
	}
	n.LastRecord = entry.ID
	owed, err := s.say(&n, answer{held: Held{Message: Acceptance}})
	if err != nil {
		return Received{}, err
	}
	return s.create(ctx, n, m, commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: owed, Events: []commit.Event{event("offered", n, now, string(peer.DID))}})
}

// known answers an initial message whose pid the peer used before in the same role: the same message gets the existing negotiation,
// another one an error.
func (s *Service) known(ctx context.Context, local participant.Participant, peer participant.Peer, pid string, own Role, m Message) (Received, bool, error) {
	existing, err := s.cfg.Store.NegotiationByPeerPID(ctx, local.ID, peer.DID, pid)
	switch {
	case fault.Is(err, fault.NotFound), err == nil && existing.Role != own:
		return Received{}, false, nil
	case err != nil:
		return Received{}, true, err
	case existing.Accepted.Kind == m.Kind && existing.Accepted.Digest != process.Digest(m.Raw):
		return Received{}, true, process.Illegal(fault.New("negotiation.Receive", fault.Conflict, "this pid names another negotiation already"))
	}
	return s.reply(existing, nil, true), true, nil
}

// create commits a negotiation that a peer began.
func (s *Service) create(ctx context.Context, n Negotiation, m Message, e commit.Effects) (Received, error) {
	err := s.cfg.Store.CreateNegotiation(ctx, n, e)
	if process.IsStale(err) { // the same message twice at once: the other one won
		local, peer := participant.Participant{ID: n.Participant}, participant.Peer{DID: n.Peer}
		if got, done, knownErr := s.known(ctx, local, peer, n.PeerPID, n.Role, m); done {
			return got, knownErr
		}
		return Received{}, process.Busy(err)
	}
	if err != nil {
		return Received{}, err
	}
	s.changed(ctx, n, kinds[n.State])
	return s.reply(n, e.Owed, true), nil
}

// errOffer is the one answer about an offer that is unknown, hidden from the peer, or of another dataset.
func errOffer() error {
	return fault.New("negotiation.Receive", fault.NotFound, "there is no such offer")
}

// published finds the offer that the message names, if the peer may see it. Who may not learns nothing of it, not even by how the answer
// came about; the denial is on record all the same. The record of the permission is returned, to commit with what follows.
func (s *Service) published(ctx context.Context, local participant.Participant, peer participant.Peer, n Negotiation, m Message) (catalog.Entry, policy.Party,
	decisionlog.Entry, error) {
	none := func(err error) (catalog.Entry, policy.Party, decisionlog.Entry, error) {
		return catalog.Entry{}, policy.Party{}, decisionlog.Entry{}, err
	}
	claims, err := s.cfg.Evidence.Claims(ctx, local, peer) // before the offer is looked up: a failure here says nothing of it
	if err != nil {
		return none(err)
	}
	entry, err := s.cfg.Offers.Offer(ctx, local.ID, m.Offer.ID)
	switch {
	case fault.Is(err, fault.NotFound):
		return none(errOffer())
	case err != nil:
		return none(err)
	case m.Offer.Target != "" && m.Offer.Target != entry.Asset.ID:
		return none(errOffer())
	}
	d, seen, err := s.decideAccess(ctx, local, n, claims, assetOf(entry), m.Raw, entry)
	if err != nil {
		return none(err)
	}
	if !d.Allowed() {
		if err := s.cfg.Offers.Record(ctx, local.ID, commit.Effects{Decisions: []decisionlog.Entry{seen}}); err != nil {
			return none(err)
		}
		return none(errOffer())
	}
	return entry, claims, seen, nil
}

func assetOf(e catalog.Entry) policy.Asset {
	return policy.Asset{ID: e.Asset.ID, Type: e.Asset.Type, Version: e.Asset.APIVersion, SemanticID: e.Asset.SemanticID}
}

// decideAccess asks whether the peer may see the offer at all.
func (s *Service) decideAccess(ctx context.Context, local participant.Participant, n Negotiation, claims policy.Party, a policy.Asset, raw []byte,
	e catalog.Entry) (policy.Decision, decisionlog.Entry, error) {
	id, err := decisionlog.NewID(s.cfg.Rand)
	if err != nil {
		return policy.Decision{}, decisionlog.Entry{}, fault.Wrap("negotiation.decideAccess", fault.Unavailable, err)
	}
	status := n.status()
	return s.ask(ctx, local, policy.Question{ID: id, Log: local.Slug, Door: policy.DoorCatalog, Now: s.cfg.Now(), Action: "access",
		Profile: s.cfg.ProfileID, Own: policy.Party{DID: string(local.DID)}, Peer: claims, Role: string(Provider), Policies: []odrl.Policy{e.Access.Policy}, Asset: a, Previous: n.LastRecord,
		Process: policy.Process{ConsumerPID: status.ConsumerPID, ProviderPID: status.ProviderPID, OfferID: e.Offer.ID, MessageDigest: process.Digest(raw)}})
}

// respond decides on a request for the offer: an agreement, or a termination that says why. A request for other terms than the published
// ones can wait for an operator; what the policy denies cannot.
func (s *Service) respond(ctx context.Context, local participant.Participant, n *Negotiation, claims policy.Party, e catalog.Entry, m Message) (answer, error) {
	n.Claims, n.Approval = claims, ""
	if !odrl.Equal(m.Offer.Policy, e.Usage.Policy) {
		entry, err := s.deny(ctx, local, *n, policy.DoorRequest, "offer.changed", m.Raw, m.Offer.Policy)
		if err != nil {
			return answer{}, err
		}
		a := refusal("offer.changed", []string{"the requested policy is not the offered one; request the offer as the catalog shows it"}, entry)
		return s.unless(*n, a), nil
	}
	rule, err := s.cfg.Offers.Rule(ctx, local.ID, e.Offer.Rule)
	if err != nil {
		return answer{}, err
	}
	if rule.Approval {
		n.Approval = policy.Awaited
	}
	d, entry, err := s.decide(ctx, local, *n, policy.DoorRequest, claims, policy.Party{DID: string(local.DID)}, assetOf(e), policy.Agreement{}, m.Raw, e.Usage.Policy)
	if err != nil {
		return answer{}, err
	}
	if d.Asks() {
		return ask(Agreement, d, entry), nil
	}
	if !d.Allowed() {
		code, reasons := Refusal(d)
		return refusal(code, reasons, entry), nil
	}
	if s.cfg.Hold != nil && s.cfg.Hold(*n, Agreement) {
		return answer{held: Held{Message: Agreement}, entries: []decisionlog.Entry{entry}}, nil
	}
	n.LastRecord = entry.ID
	a, err := s.agree(ctx, local, n, claims, e, m.Raw)
	a.entries = append([]decisionlog.Entry{entry}, a.entries...)
	return a, err
}

// agree concludes the agreement, if the policy engine lets it be signed.
func (s *Service) agree(ctx context.Context, local participant.Participant, n *Negotiation, claims policy.Party, e catalog.Entry, raw []byte) (answer, error) {
	contract, err := s.conclude(local, n, e.Usage.Policy)
	if err != nil {
		return answer{}, err
	}
	d, entry, err := s.decide(ctx, local, *n, policy.DoorAgree, claims, policy.Party{DID: string(local.DID)}, assetOf(e),
		policy.Agreement{ID: contract.ID, Digest: contract.Digest, Signed: contract.Signed}, raw, contract.Policy)
	if err != nil {
		return answer{}, err
	}
	if !d.Allowed() {
		n.AgreementID = ""
		code, reasons := Refusal(d)
		return refusal(code, reasons, entry), nil
	}
	return answer{message: &Message{Kind: Agreement, Contract: wireContract(*contract)}, to: Agreed, contract: contract, entries: []decisionlog.Entry{entry}}, nil
}

// conclude mints the agreement of a provider.
func (s *Service) conclude(local participant.Participant, n *Negotiation, p odrl.Policy) (*agreement.Agreement, error) {
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now().UTC().Truncate(time.Millisecond)
	a := &agreement.Agreement{Participant: local.ID, ID: id, Negotiation: n.ID, Role: string(Provider), Provider: local.DID, Consumer: n.Peer,
		Asset: n.Offer.Target, Policy: p, Profile: s.cfg.ProfileID, Signed: now, Created: s.cfg.Now()}
	a.Policy.ID = id
	if a.Digest, err = agreement.DigestOf(*a); err != nil {
		return nil, fault.Wrap("negotiation.conclude", fault.Internal, err)
	}
	n.AgreementID = id
	return a, nil
}

func wireContract(a agreement.Agreement) *Contract {
	return &Contract{ID: a.ID, Target: a.Asset, Assigner: a.Provider, Assignee: a.Consumer, Signed: a.Signed, Policy: a.Policy}
}

// counterOffer answers a consumer's request for other terms: only terms that we publish to this peer, about the same dataset, can be agreed.
func (p *step) counterOffer() (Received, error) {
	if p.next.Offer.Target != p.message.Offer.Target {
		return Received{}, fault.New("negotiation.counterOffer", fault.Malformed, "offer/target: want the dataset that is negotiated")
	}
	p.next.Offer = *p.message.Offer
	p.message.Offer = &p.next.Offer
	got, err := p.requested()
	if fault.Is(err, fault.NotFound) && p.next.Offer.ID != p.old.Offer.ID {
		// An id of the consumer's own making, or of an offer that it may not see, which must look the same: the terms are compared with
		// what is on the table.
		p.next.Offer.ID = p.old.Offer.ID
		return p.requested()
	}
	return got, err
}

// accepted answers a consumer's acceptance of our offer.
func (p *step) accepted() (Received, error) {
	p.message.Offer = &p.next.Offer
	return p.requested()
}

func (p *step) requested() (Received, error) {
	entry, claims, seen, err := p.s.published(p.ctx, p.local, p.peer, p.next, p.message)
	if err != nil {
		return Received{}, err
	}
	p.entries, p.next.LastRecord = append(p.entries, seen), seen.ID
	a, err := p.s.respond(p.ctx, p.local, &p.next, claims, entry, p.message)
	if err != nil {
		return Received{}, err
	}
	return p.commit(a)
}

// offered takes a provider's offer: the one we asked for is accepted, another one waits for an operator.
func (p *step) offered() (Received, error) {
	if p.message.Offer.Target != p.next.Offer.Target && p.next.Offer.Target != "" {
		return Received{}, fault.New("negotiation.offered", fault.Malformed, "offer/target: want the dataset that was asked for")
	}
	asked := p.next.Offer
	p.next.Offer = *p.message.Offer
	if terms := p.s.unknown(p.message.Offer.Policy); len(terms) > 0 {
		return p.refuse(policy.DoorOffer, codeUnknown, terms, p.message.Offer.Policy)
	}
	d, err := p.judge(policy.DoorOffer, policy.Agreement{}, p.message.Offer.Policy)
	if err != nil {
		return Received{}, err
	}
	if !d.Allowed() {
		return p.commit(refusal(Refusal(d)))
	}
	if !odrl.Equal(asked.Policy, p.message.Offer.Policy) {
		return p.commit(answer{held: Held{Message: Acceptance}})
	}
	return p.commit(p.s.unless(p.next, answer{message: &Message{Kind: Acceptance}, to: Accepted}))
}

// refuse ends the negotiation for a reason that no policy had to be asked for; the denial is on record all the same.
func (p *step) refuse(door policy.Door, code string, reasons []string, pol odrl.Policy) (Received, error) {
	entry, err := p.s.deny(p.ctx, p.local, p.next, door, code, p.message.Raw, pol)
	if err != nil {
		return Received{}, err
	}
	return p.commit(refusal(code, reasons, entry))
}

// judge asks the policy engine as consumer; the record commits with the step.
func (p *step) judge(door policy.Door, contract policy.Agreement, pol odrl.Policy) (policy.Decision, error) {
	own, err := p.s.cfg.Evidence.Own(p.ctx, p.local)
	if err != nil {
		return policy.Decision{}, err
	}
	d, entry, err := p.s.decide(p.ctx, p.local, p.next, door, policy.Party{DID: string(p.peer.DID)}, own,
		policy.Asset{ID: p.next.Offer.Target}, contract, p.message.Raw, pol)
	if err != nil {
		return policy.Decision{}, err
	}
	p.entries = append(p.entries, entry)
	p.next.LastRecord = entry.ID
	return d, nil
}

// agreed takes the provider's agreement: parties, target and terms must be what we asked for, and our own policy must allow to sign.
func (p *step) agreed() (Received, error) {
	c := p.message.Contract
	if err := p.asAsked(c); err != nil {
		entry, denied := p.s.deny(p.ctx, p.local, p.next, policy.DoorAgree, codeDiffers, p.message.Raw, c.Policy)
		if denied != nil {
			return Received{}, denied
		}
		return Received{}, errors.Join(err, p.s.cfg.Offers.Record(p.ctx, p.local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}))
	}
	if terms := p.s.unknown(c.Policy); len(terms) > 0 {
		return p.refuse(policy.DoorAgree, codeUnknown, terms, c.Policy)
	}
	a := &agreement.Agreement{Participant: p.local.ID, ID: c.ID, Negotiation: p.next.ID, Role: string(Consumer), Provider: c.Assigner,
		Consumer: c.Assignee, Asset: c.Target, Policy: c.Policy, Profile: p.s.cfg.ProfileID, Signed: c.Signed, Raw: p.message.Raw, Created: p.next.Updated}
	var err error
	if a.Digest, err = agreement.DigestOf(*a); err != nil {
		return Received{}, fault.Wrap("negotiation.agreed", fault.Internal, err)
	}
	p.next.AgreementID = a.ID
	d, err := p.judge(policy.DoorAgree, policy.Agreement{ID: a.ID, Digest: a.Digest, Signed: a.Signed}, a.Policy)
	if err != nil {
		return Received{}, err
	}
	if !d.Allowed() {
		p.next.AgreementID = ""
		return p.commit(refusal(Refusal(d)))
	}
	verify := p.s.unless(p.next, answer{message: &Message{Kind: Verification}, to: Verified})
	verify.contract = a
	return p.commit(verify)
}

// codeDiffers is that of an agreement about something else than was negotiated.
const codeDiffers = "agreement.differs"

// maxSkew is how far the provider's signing time may lie outside the negotiation as our clock saw it. Delivery may take long; signing
// happened between our request and now.
const maxSkew = 10 * time.Minute

// asAsked checks that the agreement is about what was negotiated (section 3.4); one that is not is an error that changes nothing.
func (p *step) asAsked(c *Contract) error {
	differs := func(format string, args ...any) error {
		e := fault.New("negotiation.agreed", fault.Malformed, format, args...)
		e.Code = codeDiffers
		return e
	}
	switch {
	case c.ID == "":
		return differs("agreement/@id: want the id of the agreement")
	case c.Assigner != p.peer.DID:
		return differs("agreement/assigner: want the provider's DID")
	case c.Assignee != p.local.DID:
		return differs("agreement/assignee: want the consumer's DID")
	case c.Target != p.next.Offer.Target:
		return differs("agreement/target: want the dataset that was asked for")
	case !odrl.Equal(c.Policy, p.next.Offer.Policy):
		return differs("agreement: its rules are not those of the offer")
	case c.Signed.IsZero(), c.Signed.Before(p.old.Created.Add(-maxSkew)), c.Signed.After(p.next.Updated.Add(maxSkew)):
		return differs("agreement/timestamp: want the moment of signing")
	}
	return nil
}

// verified takes the consumer's verification and owes the finalization.
func (p *step) verified() (Received, error) {
	return p.commit(p.s.unless(p.next, answer{message: &Message{Kind: Finalization}, to: Finalized}))
}

func (p *step) finalized() (Received, error) { return p.commit(answer{}) }

// terminated takes the peer's termination with its reasons: the operator is shown them.
func (p *step) terminated() (Received, error) {
	p.next.Code, p.next.Reasons = p.message.Code, p.message.Reasons
	return p.commit(answer{})
}
