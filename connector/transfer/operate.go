package transfer

import (
	"context"
	"slices"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

var _ outbox.Owner = (*Service)(nil)

// Retirer ends agreements early.
type Retirer interface {
	Retire(ctx context.Context, r agreement.Retirement, e commit.Effects) error
}

// Terminate ends a transfer that is not final. Its flows are cut before it returns.
func (s *Service) Terminate(ctx context.Context, local participant.Participant, id string, order commit.Order) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Termination, Code: "operator.terminated", Reasons: []string{order.Reason}}, "transfer.terminate", order)
}

// Suspend pauses a started transfer. Its flows are cut before it returns.
func (s *Service) Suspend(ctx context.Context, local participant.Participant, id string, order commit.Order) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Suspension, Code: "operator.suspended", Reasons: []string{order.Reason}}, "transfer.suspend", order)
}

// Complete ends a started transfer in good order.
func (s *Service) Complete(ctx context.Context, local participant.Participant, id string, order commit.Order) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Completion}, "transfer.complete", order)
}

// Approve lets a transfer that waits for an operator start, as provider. The policy engine is asked once more; approving cannot allow what it
// denies, which ends the transfer.
func (s *Service) Approve(ctx context.Context, local participant.Participant, id string, order commit.Order) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Start}, codeApprove, order)
}

const (
	codeApprove = "transfer.approve"
	codeResume  = "transfer.resume"
)

// Resume starts a suspended transfer again: the provider after a new decision, the consumer by asking for it. While the peer is still
// being told of the pause it is a Conflict.
func (s *Service) Resume(ctx context.Context, local participant.Participant, id string, order commit.Order) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Start}, codeResume, order)
}

// operate applies an operator's message: on record, committed with what is owed, then told to the peer.
func (s *Service) operate(ctx context.Context, local participant.Participant, id string, m Message, code string, order commit.Order) (Transfer, error) {
	var out Transfer
	var r Received
	err := process.Retry(func() (Transfer, error) { return s.cfg.Store.Transfer(ctx, local.ID, "", id) }, func(t Transfer) error {
		if err := order.On(t.Version); err != nil {
			return err
		}
		to, err := Next(t.State, m.Kind, t.Role)
		if err != nil {
			return process.Illegal(err)
		}
		if code == codeApprove && t.Held != Start {
			return process.Illegal(fault.New("transfer.Approve", fault.Conflict, "in state %s there is nothing that waits for an operator", t.State))
		}
		if code == codeResume && t.Held == Start {
			return process.Illegal(fault.New("transfer.Resume", fault.Conflict, "it waits for an operator's approval; approve or terminate it"))
		}
		if m.Kind == Start && t.Pending.Kind != "" {
			// The peer may not have heard of the pause yet: it would take a start for nothing, and keep a token that opens no more.
			return process.Illegal(fault.New("transfer.Resume", fault.Conflict, "a %s is on its way to the peer; try again when it has arrived", t.Pending.Kind))
		}
		entry, err := s.record(ctx, local, t, code, order.Actor, reasonDetail(m))
		if err != nil {
			return err
		}
		next := t
		next.Updated, next.LastRecord, next.Held = s.cfg.Now(), entry.ID, ""
		if t.Role == Provider || m.Kind == Start {
			next.Accepted = t.Accepted.Moved()
		}
		e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Settled: t.Pending.Owed}
		if m.Kind == Start && t.Role == Provider {
			owed, entries, err := s.restart(ctx, local, &next)
			if err != nil {
				return err
			}
			e.Owed, e.Decisions = owed, append(e.Decisions, entries...)
		} else {
			s.apply(&next, m, to)
			if e.Owed, err = s.tell(&next, m, to); err != nil {
				return err
			}
		}
		out = next
		r, err = s.commit(ctx, local, t, next, e, kindOf(m.Kind), order.Actor)
		return err
	})
	if err != nil {
		return Transfer{}, err
	}
	out.Version++
	r.Flushed()
	return out, nil
}

func reasonDetail(m Message) map[string]string {
	if len(m.Reasons) == 0 {
		return nil
	}
	return map[string]string{"reason": m.Reasons[0]}
}

// restart is the provider's own start of a suspended transfer.
func (s *Service) restart(ctx context.Context, local participant.Participant, t *Transfer) (*commit.Owed, []decisionlog.Entry, error) {
	if _, err := s.usable(ctx, local, t.AgreementID); err != nil {
		return nil, nil, err
	}
	return s.start(ctx, local, t, nil, nil)
}

func kindOf(k Kind) string {
	return map[Kind]string{Termination: "terminated", Suspension: "suspended", Completion: "completed", Start: "resumed"}[k]
}

// apply makes our own ending or pause effective at once: nothing flows while the peer is being told.
func (s *Service) apply(t *Transfer, m Message, to State) {
	if m.Kind == Start {
		return
	}
	t.State, t.Code, t.Reasons = to, m.Code, m.Reasons
	t.Grant.Hash, t.Address = "", nil
}

// tell owes the message, unless the peer never named its side of the process.
func (s *Service) tell(t *Transfer, m Message, to State) (*commit.Owed, error) {
	if t.PeerPID == "" {
		t.Pending = Pending{}
		return nil, nil
	}
	if m.Kind == Start {
		to = Suspended // the consumer's wish; the provider's own start makes it STARTED
	}
	return s.owe(t, m, to)
}

// Retire ends an agreement early: the retirement and its record are durable, then every live transfer under it is terminated and its flows
// are cut. When it returns without error, no byte leaves under the agreement. It returns how many transfers it ended. An agreement that is
// retired already is a Conflict; what a crash left running under it is ended all the same.
func (s *Service) Retire(ctx context.Context, local participant.Participant, store Retirer, id, actor, reason string) (int, error) {
	const op = "transfer.Retire"
	now := s.cfg.Now()
	entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: "agreement.retire", Actor: actor, Subject: id, Agreement: id, Now: now,
		Details: map[string]string{"reason": reason}})
	if err != nil {
		return 0, fault.Wrap(op, fault.Unavailable, err)
	}
	e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{{Type: "agreement.retired", Subject: id, Time: now, Actor: actor,
		Data: map[string]string{"reason": reason}}}}
	err = store.Retire(ctx, agreement.Retirement{Participant: local.ID, Agreement: id, Reason: reason, Actor: actor, Time: now}, e)
	if err != nil && !fault.Is(err, fault.Conflict) {
		return 0, err
	}
	ended, _, sweepErr := s.sweep(ctx, local, Filter{Agreement: id})
	if sweepErr != nil {
		return ended, sweepErr
	}
	return ended, err
}

// Sweep is for the start, and for when it has changed whom we believe. It ends every live transfer of a retired agreement, as Retire does itself, for a
// crash may have come in between; until then nothing leaks: a data request under a retired agreement is refused. The others depend on what their
// peers have proven, as before. lost are the peers of whom it is known already that something of it does not stand any more: they are to be reconsidered.
func (s *Service) Sweep(ctx context.Context, local participant.Participant) (ended int, lost []participant.DID, err error) {
	for _, state := range States() {
		if state.Final() {
			continue
		}
		n, some, err := s.sweep(ctx, local, Filter{State: state})
		ended, lost = ended+n, append(lost, some...)
		if err != nil {
			return ended, lost, err
		}
	}
	slices.Sort(lost)
	return ended, slices.Compact(lost), nil
}

// sweep walks the transfers of the filter and ends those whose agreement is retired.
func (s *Service) sweep(ctx context.Context, local participant.Participant, f Filter) (ended int, lost []participant.DID, err error) {
	const op = "transfer.sweep"
	for r := (page.Request{Limit: page.MaxLimit}); ; {
		live, err := s.cfg.Store.Transfers(ctx, local.ID, f, r)
		if err != nil {
			return ended, lost, fault.Wrap(op, fault.Unavailable, err)
		}
		for _, t := range live.Items {
			did, err := s.endRetired(ctx, local, t)
			if err != nil {
				return ended, lost, fault.Wrap(op, fault.Unavailable, err)
			}
			if did {
				ended++
			} else if t.flowing() && s.cfg.Standing.Rely(local, t.ID, t.Claims) != "" {
				// What its lists say that nobody has looked at yet is seen with the first look.
				lost = append(lost, t.Peer)
			}
		}
		if live.Next.ID == "" {
			return ended, lost, nil
		}
		r.After = live.Next
	}
}

// endRetired terminates a live transfer when its agreement is retired.
func (s *Service) endRetired(ctx context.Context, local participant.Participant, t Transfer) (bool, error) {
	if t.State.Final() {
		return false, nil
	}
	a, err := s.cfg.Agreements.Agreement(ctx, local.ID, t.AgreementID)
	if err != nil || a.Retired == nil {
		return false, err
	}
	s.cfg.Flows.Stop(local.ID, t.ID)
	_, err = s.operate(ctx, local, t.ID, Message{Kind: Termination, Code: "agreement.retired", Reasons: []string{a.Retired.Reason}}, "transfer.terminate",
		commit.Order{Actor: a.Retired.Actor})
	if process.IsIllegal(err) { // it ended by itself in between
		return false, nil
	}
	return err == nil, err
}

// watch is asked after each commit that lets data flow, or wait for an operator to let it: a retirement may have been committed after the
// agreement was read and have looked for live transfers before this one was there. One of the two sees the other. So it is with a credential that is
// revoked. ended says that this one did, and that the message owed before is withdrawn.
func (s *Service) watch(ctx context.Context, local participant.Participant, t Transfer) (ended bool, err error) {
	if t.Role != Provider || t.Pending.To != Started && t.Held == "" {
		return false, nil
	}
	ctx = context.WithoutCancel(ctx)
	if ended, err := s.endRetired(ctx, local, t); ended || err != nil {
		return ended, err
	}
	if s.cfg.Standing.Rely(local, t.ID, t.Claims) == "" {
		return false, nil
	}
	return s.reconsider(ctx, local, t.ID)
}

// Expired implements outbox.Owner: transfers set no deadlines.
func (s *Service) Expired(context.Context, commit.Owed) error { return nil }

// Delivered implements outbox.Owner: the peer acknowledged, so the pending transition is complete. One that we ended before the peer had
// named its side is known from now on, and the peer is told: it must not wait for us.
func (s *Service) Delivered(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	late := func(t Transfer) (Transfer, *Message) {
		if t.PeerPID = process.Theirs(t.Role, t.ID, a); t.PeerPID == "" {
			return t, nil
		}
		return t, &Message{Kind: Termination, Code: t.Code, Reasons: t.Reasons}
	}
	return s.settle(ctx, o, late, func(t Transfer) (Transfer, *Message) {
		if t.PeerPID == "" {
			t.PeerPID = process.Theirs(t.Role, t.ID, a)
		}
		if t.PeerPID == "" {
			return lost(t, "answer.pid", "the peer accepted without saying its pid of this process"), nil
		}
		t.State = t.Pending.To
		return t, nil
	})
}

// Rejected implements outbox.Owner: the peer refuses for good, or could not be reached in time. When it shows a state that it can have
// only after taking our message, it did take it. A refused wish to resume leaves the transfer suspended; anything else ends it, and the
// peer is told so: it must not wait for us.
func (s *Service) Rejected(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, nil, func(t Transfer) (Transfer, *Message) {
		switch {
		case t.State.Final() && t.Pending.Kind == Completion && !State(a.State).Final() && a.Status != 0:
			// A peer that paused meanwhile cannot complete; a termination it takes in any state, and must not wait for us.
			return t, notTaken(Completion)
		case t.State.Final():
			return t, nil // we ended it; what the peer thinks of it changes nothing
		case a.OK() && !t.wishes() && reached(State(a.State), t.Pending.To):
			t.State = t.Pending.To
			return t, nil
		case a.Status == 0:
			return lost(t, "peer.unreachable", "the peer could not be reached in time: "+o.LastError), nil
		}
		seen, kind := State(a.State), t.Pending.Kind
		t.Code, t.Reasons = a.Code, a.Reasons
		if t.Code == "" {
			t.Code = "peer.refused"
		}
		if len(t.Reasons) == 0 {
			t.Reasons = []string{"the peer did not take our " + string(kind) + ": " + a.String()}
		}
		if t.wishes() && !seen.Final() {
			return t, nil
		}
		t.State, t.Grant.Hash, t.Address = Terminated, "", nil
		if t.PeerPID == "" || seen.Final() {
			return t, nil
		}
		return t, notTaken(kind)
	})
}

func notTaken(kind Kind) *Message {
	return &Message{Kind: Termination, Code: "message.refused", Reasons: []string{"our " + string(kind) + " was not taken"}}
}

// wishes reports a consumer's wish to resume on its way: it changes nothing by itself.
func (t Transfer) wishes() bool { return t.Role == Consumer && t.Pending.Kind == Start }

// reached reports whether a peer in the state seen has taken the message that leads to want. Only REQUESTED never comes again.
func reached(seen, want State) bool {
	return seen == want || want == Requested && (seen == Started || seen == Suspended || seen == Completed)
}

func lost(t Transfer, code, reason string) Transfer {
	t.State, t.Code, t.Reasons, t.Error = Terminated, code, []string{reason}, reason
	t.Grant.Hash, t.Address = "", nil
	return t
}

// kinds names the event of reaching a state.
var kinds = map[State]string{Requested: "requested", Started: "started", Suspended: "suspended", Completed: "completed", Terminated: "terminated"}

// settle completes the owed message, once: a transfer that went on meanwhile has settled it already. What outcome returns besides is
// owed next. late is asked instead, if it is there, when the transfer was ended, and its request withdrawn, before the peer was known.
func (s *Service) settle(ctx context.Context, o commit.Owed, late, outcome func(Transfer) (Transfer, *Message)) error {
	var owed *commit.Owed
	err := process.Retry(func() (Transfer, error) { return s.cfg.Store.Transfer(ctx, o.Participant, "", o.ProcessID) }, func(t Transfer) error {
		owed = nil
		settled, find := o.ID, outcome
		if t.Pending.Owed != o.ID {
			if late == nil || !t.State.Final() || t.PeerPID != "" {
				return nil
			}
			settled, find = "", late
		}
		next, message := find(t)
		if settled == "" && message == nil {
			return nil
		}
		next.Pending, next.Updated = Pending{}, s.cfg.Now()
		if message != nil {
			var err error
			if owed, err = s.owe(&next, *message, Terminated); err != nil {
				return err
			}
		}
		e := commit.Effects{Settled: settled, Owed: owed, Events: []commit.Event{event(kinds[next.State], next, next.Updated, "")}}
		if err := s.cfg.Store.ReplaceTransfer(ctx, t, next, e); err != nil {
			return err
		}
		if next.Role == Provider && next.State.Final() {
			s.cfg.Flows.Stop(o.Participant, next.ID)
		}
		s.rest(next)
		s.changed(ctx, t.State, next, kinds[next.State])
		return nil
	})
	if err == nil && owed != nil {
		s.cfg.Outbox.Send(*owed)
	}
	return fault.Wrap("transfer.settle", fault.Internal, err)
}
