package negotiation

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
)

var _ outbox.Owner = (*Service)(nil)

// Delivered implements outbox.Owner: the peer acknowledged, so the pending transition is complete.
func (s *Service) Delivered(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, func(n Negotiation) (Negotiation, error) {
		n.State = n.Pending.To
		if pid := theirPID(n, a); n.PeerPID == "" {
			if pid == "" {
				return s.lost(n, "answer.pid", "the peer accepted without saying its pid"), nil
			}
			n.PeerPID = pid
		}
		return n, nil
	})
}

// Rejected implements outbox.Owner: the peer refuses for good, or could not be reached in time. When it shows a state that
// it can have only after taking our message, it did take it.
func (s *Service) Rejected(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, func(n Negotiation) (Negotiation, error) {
		switch {
		case n.Pending.To == Terminated || n.State.Final():
			n.State = Terminated // we ended it; what the peer thinks of it changes nothing
		case a.OK() && State(a.State) == n.Pending.To:
			n.State = n.Pending.To
		case a.Status == 0:
			return s.lost(n, "peer.unreachable", "the peer could not be reached in time: "+o.LastError), nil
		default:
			code := a.Code
			if code == "" {
				code = "peer.refused"
			}
			reasons := a.Reasons
			if len(reasons) == 0 {
				reasons = []string{"the peer answered " + strconv.Itoa(a.Status)}
			}
			n.State, n.Code, n.Reasons = Terminated, code, reasons
		}
		return n, nil
	})
}

func (s *Service) lost(n Negotiation, code, reason string) Negotiation {
	n.State, n.Code, n.Reasons, n.Error = Terminated, code, []string{reason}, reason
	return n
}

func theirPID(n Negotiation, a outbox.Answer) string {
	if n.Role == Consumer {
		return a.ProviderPID
	}
	return a.ConsumerPID
}

// settle completes the owed message, once: a negotiation that went on meanwhile has settled it already.
func (s *Service) settle(ctx context.Context, o commit.Owed, outcome func(Negotiation) (Negotiation, error)) error {
	return s.step(func() (Negotiation, error) { return s.cfg.Store.Negotiation(ctx, o.Participant, "", o.ProcessID) }, func(n Negotiation) error {
		if n.Pending.Owed != o.ID {
			return nil
		}
		next, err := outcome(n)
		if err != nil {
			return err
		}
		next.Pending, next.Updated = Pending{}, s.cfg.Now()
		kind := map[State]string{Requested: "requested", Offered: "offered", Accepted: "accepted", Agreed: "agreed", Verified: "verified",
			Finalized: "finalized", Terminated: "terminated"}[next.State]
		e := commit.Effects{Settled: o.ID, Events: []commit.Event{event(kind, next, next.Updated, "")}}
		if err := s.cfg.Store.ReplaceNegotiation(ctx, n, next, e); err != nil {
			if fault.Is(err, fault.Conflict) {
				return err
			}
			return fault.Wrap("negotiation.settle", fault.Unavailable, err)
		}
		s.cfg.Log.InfoContext(ctx, "negotiation "+kind, slog.String("negotiation", n.ID), slog.String("peer", string(n.Peer)), slog.String("state", string(next.State)))
		return nil
	})
}
