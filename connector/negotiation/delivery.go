package negotiation

import (
	"context"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/process"
)

var _ outbox.Owner = (*Service)(nil)

// Delivered implements outbox.Owner: the peer acknowledged, so the pending transition is complete. One that we ended before the peer had
// named its side is known from now on, and the peer is told: it must not wait for us.
func (s *Service) Delivered(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	late := func(n Negotiation) (Negotiation, *Message) {
		if n.PeerPID = process.Theirs(n.Role, n.ID, a); n.PeerPID == "" {
			return n, nil
		}
		return n, &Message{Kind: Termination, Code: n.Code, Reasons: n.Reasons}
	}
	return s.settle(ctx, o, late, func(n Negotiation) (Negotiation, *Message) {
		if n.PeerPID == "" {
			if n.PeerPID = process.Theirs(n.Role, n.ID, a); n.PeerPID == "" {
				return lost(n, "answer.pid", "the peer accepted without saying its pid of this process"), nil
			}
		}
		n.State = n.Pending.To
		return n, nil
	})
}

// Rejected implements outbox.Owner: the peer refuses for good, or could not be reached in time. When it shows a state that it can have
// only after taking our message, it did take it. Otherwise the negotiation is over, and the peer is told so: it must not wait for us.
func (s *Service) Rejected(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return s.settle(ctx, o, nil, func(n Negotiation) (Negotiation, *Message) {
		switch {
		case n.Pending.To == Terminated || n.State.Final():
			n.State = Terminated // we ended it; what the peer thinks of it changes nothing
			return n, nil
		case a.OK() && reached(State(a.State), n.Pending.To):
			n.State = n.Pending.To
			return n, nil
		case a.Status == 0 && n.Pending.To == Finalized:
			// The peer may have heard it, and nothing follows FINALIZED; the agreement was verified, so it stands.
			n.State, n.Error = Finalized, "the peer was not seen to take the finalization: "+o.LastError
			return n, nil
		case a.Status == 0:
			return lost(n, "peer.unreachable", "the peer could not be reached in time: "+o.LastError), nil
		}
		seen := State(a.State)
		kind := n.Pending.Kind
		n.State, n.Code, n.Reasons = Terminated, a.Code, a.Reasons
		if n.Code == "" {
			n.Code = "peer.refused"
		}
		if len(n.Reasons) == 0 {
			n.Reasons = []string{"the peer did not take our " + string(kind) + ": " + a.String()}
		}
		if n.PeerPID == "" || seen == Terminated {
			return n, nil
		}
		return n, &Message{Kind: Termination, Code: "message.refused", Reasons: []string{"our " + string(kind) + " was not taken"}}
	})
}

// reached reports whether a peer in the state seen has taken the message that leads to want. The states that can come and go, REQUESTED
// and OFFERED, prove it only by themselves.
func reached(seen, want State) bool {
	if seen == want {
		return true
	}
	rank := map[State]int{Accepted: 1, Agreed: 2, Verified: 3, Finalized: 4}
	return rank[want] > 0 && rank[seen] > rank[want]
}

func lost(n Negotiation, code, reason string) Negotiation {
	n.State, n.Code, n.Reasons, n.Error = Terminated, code, []string{reason}, reason
	return n
}

// kinds names the event of reaching a state.
var kinds = map[State]string{Requested: "requested", Offered: "offered", Accepted: "accepted", Agreed: "agreed", Verified: "verified",
	Finalized: "finalized", Terminated: "terminated"}

// settle completes the owed message, once: a negotiation that went on meanwhile has settled it already. What outcome returns
// besides is owed next. late is asked instead, if it is there, when the negotiation was ended, and its first message withdrawn, before the peer
// was known.
func (s *Service) settle(ctx context.Context, o commit.Owed, late, outcome func(Negotiation) (Negotiation, *Message)) error {
	var owed *commit.Owed
	err := process.Retry(func() (Negotiation, error) { return s.cfg.Store.Negotiation(ctx, o.Participant, "", o.ProcessID) }, func(n Negotiation) error {
		owed = nil
		settled, find := o.ID, outcome
		if n.Pending.Owed != o.ID {
			if late == nil || !n.State.Final() || n.PeerPID != "" {
				return nil
			}
			settled, find = "", late
		}
		next, message := find(n)
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
		if err := s.cfg.Store.ReplaceNegotiation(ctx, n, next, e); err != nil {
			return err
		}
		s.changed(ctx, next, kinds[next.State])
		return nil
	})
	if err == nil && owed != nil {
		s.cfg.Outbox.Send(*owed)
	}
	return fault.Wrap("negotiation.settle", fault.Internal, err)
}
