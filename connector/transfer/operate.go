package transfer

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

var _ outbox.Owner = (*Service)(nil)

// Retirer ends agreements early.
type Retirer interface {
	Retire(ctx context.Context, r agreement.Retirement, e commit.Effects) error
}

// Terminate ends a transfer that is not final. Its flows are cut before it returns.
func (s *Service) Terminate(ctx context.Context, local participant.Participant, id, actor, reason string) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Termination, Code: "operator.terminated", Reasons: []string{reason}}, "transfer.terminate", actor)
}

// Suspend pauses a started transfer. Its flows are cut before it returns.
func (s *Service) Suspend(ctx context.Context, local participant.Participant, id, actor, reason string) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Suspension, Code: "operator.suspended", Reasons: []string{reason}}, "transfer.suspend", actor)
}

// Complete ends a started transfer in good order.
func (s *Service) Complete(ctx context.Context, local participant.Participant, id, actor string) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Completion}, "transfer.complete", actor)
}

// Resume starts a suspended transfer again: the provider after a new decision, the consumer by asking for it.
func (s *Service) Resume(ctx context.Context, local participant.Participant, id, actor string) (Transfer, error) {
	return s.operate(ctx, local, id, Message{Kind: Start}, "transfer.resume", actor)
}

// operate applies an operator's message: on record, committed with what is owed, then told to the peer.
func (s *Service) operate(ctx context.Context, local participant.Participant, id string, m Message, code, actor string) (Transfer, error) {
	var out Transfer
	var r Received
	err := s.step(func() (Transfer, error) { return s.cfg.Store.Transfer(ctx, local.ID, "", id) }, func(t Transfer) error {
		to, err := Next(t.State, m.Kind, t.Role)
		if err != nil {
			return illegal(err)
		}
		entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: code, Actor: actor, Subject: t.ID, Process: t.ID,
			Agreement: t.AgreementID, Previous: t.LastRecord, Now: s.cfg.Now()})
		if err != nil {
			return fault.Wrap("transfer.operate", fault.Unavailable, err)
		}
		next := t
		next.Updated, next.LastRecord = s.cfg.Now(), entry.ID
		e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Settled: t.Pending.Owed}
		if m.Kind == Start && t.Role == Provider {
			owed, entries, err := s.start(ctx, local, &next, nil)
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
		r, err = s.commit(ctx, local, t, next, e, kindOf(m.Kind), actor)
		return err
	})
	if err == nil {
		r.Flushed()
	}
	return out, err
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
// are cut. When it returns, no byte leaves under the agreement.
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
	if err != nil {
		return 0, err
	}
	ended := 0
	r := page.Request{Limit: page.MaxLimit}
	for {
		live, err := s.cfg.Store.Transfers(ctx, local.ID, Filter{Agreement: id}, r)
		if err != nil {
			return ended, fault.Wrap(op, fault.Unavailable, err)
		}
		for _, t := range live.Items {
			if t.State.Final() {
				continue
			}
			s.cfg.Flows.Stop(local.ID, t.ID)
			_, err := s.operate(ctx, local, t.ID, Message{Kind: Termination, Code: "agreement.retired", Reasons: []string{reason}}, "transfer.terminate", actor)
			if err != nil && !fault.Is(err, fault.Conflict) {
				return ended, fault.Wrap(op, fault.Unavailable, err)
			}
			ended++
		}
		if live.Next.ID == "" {
			return ended, nil
		}
		r.After = live.Next
	}
}

// Delivered implements outbox.Owner: the peer acknowledged, so the pending transition is complete.
func (s *Service) Delivered(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, func(t Transfer) Transfer {
		t.State = t.Pending.To
		pid := a.ConsumerPID
		if t.Role == Consumer {
			pid = a.ProviderPID
		}
		if t.PeerPID == "" {
			t.PeerPID = pid
		}
		if t.PeerPID == "" {
			return lost(t, "answer.pid", "the peer accepted without saying its pid")
		}
		return t
	})
}

// Rejected implements outbox.Owner: the peer refuses for good, or could not be reached in time.
func (s *Service) Rejected(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, func(t Transfer) Transfer {
		switch {
		case t.State.Final():
			return t // we ended it; what the peer thinks of it changes nothing
		case a.OK() && State(a.State) == t.Pending.To:
			t.State = t.Pending.To
			return t
		case a.Status == 0:
			return lost(t, "peer.unreachable", "the peer could not be reached in time: "+o.LastError)
		}
		t.State, t.Code, t.Reasons, t.Grant.Hash = Terminated, a.Code, a.Reasons, ""
		if t.Code == "" {
			t.Code = "peer.refused"
		}
		if len(t.Reasons) == 0 {
			t.Reasons = []string{"the peer answered " + strconv.Itoa(a.Status)}
		}
		return t
	})
}

func lost(t Transfer, code, reason string) Transfer {
	t.State, t.Code, t.Reasons, t.Error, t.Grant.Hash = Terminated, code, []string{reason}, reason, ""
	return t
}

// settle completes the owed message, once.
func (s *Service) settle(ctx context.Context, o commit.Owed, outcome func(Transfer) Transfer) error {
	return s.step(func() (Transfer, error) { return s.cfg.Store.Transfer(ctx, o.Participant, "", o.ProcessID) }, func(t Transfer) error {
		if t.Pending.Owed != o.ID {
			return nil
		}
		next := outcome(t)
		next.Pending, next.Updated = Pending{}, s.cfg.Now()
		kind := map[State]string{Requested: "requested", Started: "started", Suspended: "suspended", Completed: "completed", Terminated: "terminated"}[next.State]
		err := s.cfg.Store.ReplaceTransfer(ctx, t, next, commit.Effects{Settled: o.ID, Events: []commit.Event{event(kind, next, next.Updated, "")}})
		if err != nil {
			return err
		}
		if next.Role == Provider && next.State.Final() {
			s.cfg.Flows.Stop(o.Participant, next.ID)
		}
		s.cfg.Log.InfoContext(ctx, "transfer "+kind, slog.String("transfer", t.ID), slog.String("peer", string(t.Peer)), slog.String("state", string(next.State)))
		return nil
	})
}
