package transfer

import (
	"context"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// codeSuspended is of a loss that may be taken back.
const codeSuspended = "credential.status.suspended"

// flowing reports that data may flow to the peer, or that nothing but an operator's word, or an answer, is wanting for that.
func (t Transfer) flowing() bool {
	return t.Role == Provider && (t.State == Started || t.Pending.To == Started || t.Held == Start)
}

// rest ends what a transfer depends on when nothing can flow under it.
func (s *Service) rest(t Transfer) {
	if t.Role == Provider && !t.flowing() {
		s.cfg.Standing.Leave(t.ID)
	}
}

// Reconsider judges again, at the door of what runs, each transfer under which data may flow to the peer: a credential of it was lost,
// or its issuer is not believed any more.
// Each is decided with the credentials that stand now. One that the policy still allows goes on; another is suspended when the loss may be taken
// back, else terminated, and the peer is told. What was decided, and the loss behind it, is on record with that. Whoever calls it has cut the
// peer's streams already; after an error it is to be called again, and until then each request is judged by what stands.
func (s *Service) Reconsider(ctx context.Context, local participant.Participant, peer participant.DID) error {
	const op = "transfer.Reconsider"
	for _, state := range []State{Requested, Started, Suspended} {
		for r := (page.Request{Limit: page.MaxLimit}); ; {
			all, err := s.cfg.Store.Transfers(ctx, local.ID, Filter{Peer: peer, State: state, Role: Provider}, r)
			if err != nil {
				return fault.Wrap(op, fault.Unavailable, err)
			}
			for _, t := range all.Items {
				if !t.flowing() {
					continue
				}
				if _, err := s.reconsider(ctx, local, t.ID); err != nil {
					return fault.Wrap(op, fault.Unavailable, err)
				}
			}
			if all.Next.ID == "" {
				break
			}
			r.After = all.Next
		}
	}
	return nil
}

// reconsider judges one transfer again; ended says that nothing flows under it any more.
func (s *Service) reconsider(ctx context.Context, local participant.Participant, id string) (ended bool, err error) {
	var r Received
	err = process.Retry(func() (Transfer, error) { return s.cfg.Store.Transfer(ctx, local.ID, "", id) }, func(t Transfer) error {
		r, ended = Received{Flushed: func() {}}, false
		if !t.flowing() {
			return nil
		}
		code := s.cfg.Standing.Rely(local, t.ID, t.Claims)
		if code == "" {
			return nil // it does not rest on what was lost, or that has been given back
		}
		next := t
		if next.Claims, err = s.cfg.Standing.Stand(ctx, local, t.ID, t.Claims); err != nil {
			return err
		}
		loss, err := s.loss(ctx, local, t, code)
		if err != nil {
			return err
		}
		next.LastRecord, next.Updated = loss.ID, s.cfg.Now()
		a, err := s.cfg.Agreements.Agreement(ctx, local.ID, t.AgreementID)
		if err != nil {
			return err
		}
		asset, err := s.cfg.Assets.Asset(ctx, local.ID, t.Asset)
		if err != nil {
			return err
		}
		d, entry, err := s.decide(ctx, local, next, policy.DoorReeval, a, asset, nil)
		if err != nil {
			return err
		}
		e := commit.Effects{Decisions: []decisionlog.Entry{loss, entry}}
		if d.Allowed() {
			r, err = s.commit(ctx, local, t, next, e, "reconsidered", "")
			return err
		}
		m := Message{Kind: Termination, Code: code}
		_, m.Reasons = s.cfg.Explain(d)
		at := t.State
		if t.Pending.To == Started {
			at = Started // the peer may have it already; one that has not takes no pause, which ends the transfer
		}
		if code == codeSuspended && at == Started {
			m.Kind = Suspension
		}
		to, err := Next(at, m.Kind, Provider)
		if err != nil {
			return process.Illegal(err)
		}
		next.Held, next.Accepted, e.Settled, ended = "", Receipt{}, t.Pending.Owed, true
		s.apply(&next, m, to)
		if e.Owed, err = s.tell(&next, m, to); err != nil {
			return err
		}
		r, err = s.commit(ctx, local, t, next, e, kindOf(m.Kind), "")
		return err
	})
	if err != nil {
		return false, err
	}
	r.Flushed()
	return ended, nil
}

// loss seals that something the transfer rests on is not believed any more.
func (s *Service) loss(ctx context.Context, local participant.Participant, t Transfer, code string) (decisionlog.Entry, error) {
	id, err := decisionlog.NewID(s.cfg.Rand)
	if err != nil {
		return decisionlog.Entry{}, err
	}
	return s.cfg.Decider.Deny(ctx, policy.Question{ID: id, Log: local.Slug, Door: policy.DoorIdentity, Now: s.cfg.Now(), Profile: local.Profile,
		Own: policy.Party{DID: string(local.DID)}, Peer: t.Claims, Role: string(t.Role), Policies: []odrl.Policy{}, Asset: policy.Asset{ID: t.Asset},
		Agreement: policy.Agreement{ID: t.AgreementID}, Process: policy.Process{ConsumerPID: t.status().ConsumerPID, ProviderPID: t.status().ProviderPID},
		Previous: t.LastRecord}, code)
}
