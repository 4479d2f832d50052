package negotiation

import (
	"context"
	"strings"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
)

// codeLate is that of a refusal because no operator said anything in time.
const codeLate = "approval.late"

// owes is the id of the one row that a negotiation owes: the message on its way, or the deadline of what waits.
func (n Negotiation) owes() string {
	if n.Pending.Owed != "" {
		return n.Pending.Owed
	}
	return n.Held.Deadline
}

// deadline owes the end of the wait for an operator, if something waits: a row without an address, due then.
func (s *Service) deadline(n *Negotiation) (*commit.Owed, error) {
	if n.Held.Message == "" || s.cfg.Patience == 0 {
		return nil, nil
	}
	now := s.cfg.Now()
	owed, err := process.Owe(s.cfg.Rand, now, commit.Owed{Participant: n.Participant, Process: commit.Negotiation, ProcessID: n.ID, Peer: n.Peer,
		Message: "deadline", Trace: n.Trace}, "", "")
	if err != nil {
		return nil, err
	}
	owed.Due = now.Add(s.cfg.Patience)
	n.Held.Until, n.Held.Deadline = owed.Due, owed.ID
	return owed, nil
}

// Expired implements outbox.Owner: nobody approved in time, so the negotiation is refused, on record.
func (s *Service) Expired(ctx context.Context, o commit.Owed) error {
	local, err := s.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return err
	}
	var owed *commit.Owed
	err = process.Retry(func() (Negotiation, error) { return s.cfg.Store.Negotiation(ctx, local.ID, "", o.ProcessID) }, func(n Negotiation) error {
		if n.Held.Deadline != o.ID {
			return nil // somebody was faster, and the row is gone with it
		}
		door := map[Role]policy.Door{Provider: policy.DoorRequest, Consumer: policy.DoorOffer}[n.Role]
		entry, err := s.deny(ctx, local, n, door, codeLate, nil, n.Offer.Policy)
		if err != nil {
			return err
		}
		reasons := []string{strings.TrimSuffix("no operator approved it in time; "+strings.Join(n.Held.Reasons, "; "), "; ")}
		_, owed, err = s.end(ctx, n, codeLate, reasons, "", entry)
		return err
	})
	if err == nil && owed != nil {
		s.cfg.Outbox.Send(*owed)
	}
	return fault.Wrap("negotiation.Expired", fault.Internal, err)
}
