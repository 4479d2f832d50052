package issuer

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Delivered implements outbox.Owner: the holder took the message.
func (s *Service) Delivered(ctx context.Context, o commit.Owed, _ outbox.Answer) error {
	if o.Process == commit.IssuerOffer {
		return s.settleOffer(ctx, o, OfferDelivered, "", "")
	}
	return s.settle(ctx, o, StepDeliver, "", nil)
}

// Rejected implements outbox.Owner: the holder does not take the message, or could not be reached in time.
func (s *Service) Rejected(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	code, reason := "holder.refused", "the holder did not take the message: "+a.String()
	if a.Status == 0 {
		code, reason = "holder.unreachable", "the holder could not be reached in time: "+o.LastError
	}
	if o.Process == commit.IssuerOffer {
		return s.settleOffer(ctx, o, OfferErrored, code, reason)
	}
	return s.settle(ctx, o, StepFail, code, []string{reason})
}

// Expired implements outbox.Owner: nobody has decided about a request in time.
func (s *Service) Expired(ctx context.Context, o commit.Owed) error {
	local, err := s.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return err
	}
	var owed *commit.Owed
	err = process.Retry(func() (Request, error) { return s.cfg.Store.IssuerRequest(ctx, o.Participant, "", o.ProcessID) }, func(r Request) error {
		owed = nil
		if r.Owed != o.ID {
			return nil
		}
		var err error
		owed, err = s.reject(ctx, local, r, StepExpire, commit.Order{}, "approval.late", "nobody has decided in time")
		return err
	})
	if err == nil && owed != nil {
		s.cfg.Outbox.Send(*owed)
	}
	return fault.Wrap("issuer.Expired", fault.Internal, err)
}

// settle completes what a request owed, once. The news that a request was rejected changes nothing when it has arrived, or has not.
func (s *Service) settle(ctx context.Context, o commit.Owed, on Step, code string, reasons []string) error {
	local, err := s.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return err
	}
	err = process.Retry(func() (Request, error) { return s.cfg.Store.IssuerRequest(ctx, o.Participant, "", o.ProcessID) }, func(r Request) error {
		if r.Owed != o.ID {
			return nil
		}
		next := r
		next.Owed, next.Grant, next.Updated = "", nil, s.cfg.Now()
		e := commit.Effects{Settled: o.ID}
		if r.State != Rejected {
			var err error
			if next.State, err = Next(r.State, on); err != nil {
				return err
			}
			next.Code, next.Reasons = code, reasons
			e.Events = []commit.Event{requestEvent(next, "")}
		}
		if err := s.cfg.Store.CommitIssuer(ctx, o.Participant, Changes{Requests: []commit.Swap[Request]{{Old: &r, New: &next}}}, e); err != nil {
			return err
		}
		s.changed(ctx, local, next)
		return nil
	})
	return fault.Wrap("issuer.settle", fault.Internal, err)
}

// reject ends a request that waits; the holder is told as well as that goes.
func (s *Service) reject(ctx context.Context, local participant.Participant, r Request, on Step, order commit.Order, code, reason string) (*commit.Owed, error) {
	state, err := Next(r.State, on)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	next := r
	next.State, next.Actor, next.Code, next.Reasons, next.Updated = state, order.Actor, code, []string{reason}, now
	entry, err := s.record(ctx, local, "issuance.refuse", order.Actor, &next, now, map[string]string{"code": code, "reason": reason})
	if err != nil {
		return nil, err
	}
	owed, err := s.owe(&next, Delivery{IssuerPID: r.ID, HolderPID: r.HolderPID, Reason: reason}, now)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.CommitIssuer(ctx, local.ID, Changes{Requests: []commit.Swap[Request]{{Old: &r, New: &next}}},
		commit.Effects{Decisions: []decisionlog.Entry{entry}, Settled: r.Owed, Owed: owed, Events: []commit.Event{requestEvent(next, order.Actor)}})
	if err != nil {
		return nil, err
	}
	s.changed(ctx, local, next)
	return owed, nil
}

func (s *Service) settleOffer(ctx context.Context, o commit.Owed, state OfferState, code, reason string) error {
	err := process.Retry(func() (Offer, error) { return s.cfg.Store.IssuerOffer(ctx, o.Participant, o.ProcessID) }, func(f Offer) error {
		if f.Owed != o.ID {
			return nil
		}
		next := f
		next.State, next.Owed, next.Code, next.Error, next.Updated = state, "", code, reason, s.cfg.Now()
		return s.cfg.Store.CommitIssuer(ctx, o.Participant, Changes{Offers: []commit.Swap[Offer]{{Old: &f, New: &next}}}, commit.Effects{Settled: o.ID, Events: []commit.Event{offerEvent(next, "")}})
	})
	return fault.Wrap("issuer.settleOffer", fault.Internal, err)
}

func offerEvent(f Offer, actor string) commit.Event {
	kind := map[OfferState]string{OfferOwed: "made", OfferDelivered: "delivered", OfferErrored: "errored"}[f.State]
	return commit.Event{Type: "issuance.offer." + kind, Subject: f.ID, Time: f.Updated, Actor: actor,
		Data: map[string]string{"state": string(f.State), "holder": string(f.Holder), "code": f.Code}}
}

// Grant returns the access token that a message to the holder carries back: the one of its request (DCP 1.0, section 4.2), as long as it may
// still be good. Later attempts go without.
func (s *Service) Grant(ctx context.Context, local participant.Participant, o commit.Owed) (string, error) {
	if o.Process != commit.IssuerRequest {
		return "", nil
	}
	r, err := s.cfg.Store.IssuerRequest(ctx, o.Participant, "", o.ProcessID)
	if err != nil || r.Grant == nil || s.cfg.Now().Sub(r.Created) > identity.TokenLife-time.Minute {
		return "", err
	}
	token, err := s.cfg.Seals.Open(local, r.Grant)
	return string(token), err
}
