package wallet

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// offerPatience is how long the settings try to act on an offer.
const offerPatience = 24 * time.Hour

// Offered takes an offer of an authenticated issuer. It must speak for itself and be trusted for something; whoever does neither is told what a
// stranger is told. The same offer again is the same offer.
func (s *Service) Offered(ctx context.Context, local participant.Participant, issuer participant.Peer, named string, objects []Object, digest string) error {
	const op = "wallet.Offered"
	stranger := func(why string) error {
		return &fault.Error{Op: op, Kind: fault.Unauthenticated, Reason: "the caller is not known", Err: fmt.Errorf("offer.issuer: %s", why)}
	}
	if named != string(issuer.DID) {
		return stranger("it is not who sends it")
	}
	if len(s.cfg.Trust.Types(local, issuer.DID)) == 0 {
		return stranger("it is trusted for nothing")
	}
	open, err := s.cfg.Store.OpenCredentialOffers(ctx, local.ID, issuer.DID, MaxOffers)
	switch {
	case err != nil:
		return fault.Wrap(op, fault.Internal, err)
	case slices.ContainsFunc(open, func(o Offer) bool { return o.Digest == digest }):
		return nil
	case len(open) >= MaxOffers:
		return fault.New(op, fault.Exhausted, "%d offers wait to be decided", len(open))
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	o := Offer{Participant: local.ID, ID: id, Issuer: issuer.DID, State: Received, Objects: objects, Digest: digest, Created: now, Updated: now}
	e := commit.Effects{Events: []commit.Event{s.event("credential.offered", id, string(issuer.DID), map[string]string{"issuer": string(issuer.DID)})}}
	if s.mayAct(objects) {
		if e.Owed, err = s.deadline(local.ID, commit.WalletOffer, id, issuer.DID, now); err != nil {
			return err
		}
		o.Owed = e.Owed.ID
	}
	switch err := s.cfg.Store.CommitWallet(ctx, local.ID, Change{Offers: []commit.Swap[Offer]{{New: &o}}}, e); {
	case process.IsStale(err):
		return nil // the same offer came twice at once
	case err != nil:
		return fault.Wrap(op, fault.Internal, err)
	}
	s.tell(e.Owed)
	return nil
}

// mayAct reports whether the settings may take something of the offer. What an object does not say its issuer's metadata may.
func (s *Service) mayAct(objects []Object) bool {
	return slices.ContainsFunc(objects, func(o Object) bool {
		return s.cfg.Renew > 0 && (o.Reason == "" || renews(o.Reason)) || slices.Contains(s.cfg.Auto, o.Type) || o.Type == "" && len(s.cfg.Auto) > 0
	})
}

func renews(reason string) bool {
	return reason == credential.ReasonReissue || reason == credential.ReasonRevokedKey
}

// Offer returns one.
func (s *Service) Offer(ctx context.Context, local participant.Participant, id string) (Offer, error) {
	o, err := s.cfg.Store.CredentialOffer(ctx, local.ID, id)
	return o, fault.Wrap("wallet.Offer", fault.Internal, err)
}

// Offers lists them.
func (s *Service) Offers(ctx context.Context, local participant.Participant, f Filter, r page.Request) (page.Of[Offer], error) {
	out, err := s.cfg.Store.CredentialOffers(ctx, local.ID, f, r)
	return out, fault.Wrap("wallet.Offers", fault.Internal, err)
}

// Accept asks for what is offered. Whether it exists, and where it is asked for, the issuer's own DID and metadata say.
func (s *Service) Accept(ctx context.Context, local participant.Participant, id, actor string) (Offer, error) {
	const op = "wallet.Accept"
	o, err := s.decidable(ctx, local, id)
	if err != nil {
		return Offer{}, err
	}
	if err := s.room(ctx, local, o.Issuer); err != nil {
		return Offer{}, err
	}
	base, objects, err := s.cfg.Issuers.Metadata(ctx, local, o.Issuer)
	if err != nil {
		return Offer{}, fault.Wrap(op, fault.Unavailable, err)
	}
	var ids []string
	for _, object := range o.Objects {
		ids = append(ids, object.ID)
	}
	if len(ids) > MaxWanted {
		return Offer{}, fault.New(op, fault.Refused, "the offer is of %d credentials: ask for at most %d by id", len(ids), MaxWanted)
	}
	wanted, err := choose(objects, nil, ids)
	if err != nil {
		return Offer{}, err
	}
	return s.accept(ctx, local, o, base, wanted, actor, "")
}

func (s *Service) accept(ctx context.Context, local participant.Participant, o Offer, base string, wanted []Wanted, actor, note string) (Offer, error) {
	r, owed, requested, err := s.draft(ctx, local, Request{Issuer: o.Issuer, Wanted: wanted, Base: base, Actor: actor})
	if err != nil {
		return Offer{}, err
	}
	entry, err := s.record(ctx, local, "credential.offer.accept", actor, o.ID, r.ID, requested.ID, map[string]string{"issuer": string(o.Issuer)})
	if err != nil {
		return Offer{}, err
	}
	r.LastRecord = entry.ID
	next := o
	next.State, next.Request, next.Actor, next.Owed, next.Note, next.Updated = Accepted, r.ID, actor, "", note, s.cfg.Now()
	c := Change{Offers: []commit.Swap[Offer]{{Old: &o, New: &next}}, Requests: []commit.Swap[Request]{{New: &r}}}
	for _, w := range wanted {
		if w.Replaces == "" {
			continue
		}
		old, err := s.old(ctx, local, w.Replaces)
		if err != nil {
			return Offer{}, err
		}
		if old != nil {
			renewing := *old
			renewing.Renewal = r.ID
			c.Credentials = append(c.Credentials, commit.Swap[Credential]{Old: old, New: &renewing})
		}
	}
	e := commit.Effects{Decisions: []decisionlog.Entry{requested, entry}, Owed: owed, Settled: o.Owed,
		Events: []commit.Event{s.event("credential.offer.accepted", o.ID, actor, facts(r)), s.event("credential.requested", r.ID, actor, facts(r))}}
	if err := s.cfg.Store.CommitWallet(ctx, local.ID, c, e); err != nil {
		return Offer{}, err
	}
	s.tell(owed)
	next.Version++
	return next, nil
}

// decidable returns an offer that nobody decided.
func (s *Service) decidable(ctx context.Context, local participant.Participant, id string) (Offer, error) {
	o, err := s.cfg.Store.CredentialOffer(ctx, local.ID, id)
	if err == nil && o.State != Received {
		err = process.Illegal(fault.New("wallet.decidable", fault.Conflict, "the offer is %s already", strings.ToLower(string(o.State))))
	}
	return o, fault.Wrap("wallet.decidable", fault.Internal, err)
}

// Decline puts an offer away.
func (s *Service) Decline(ctx context.Context, local participant.Participant, id, actor string) (Offer, error) {
	const op = "wallet.Decline"
	var next Offer
	err := process.Retry(func() (Offer, error) { return s.decidable(ctx, local, id) }, func(o Offer) error {
		entry, err := s.record(ctx, local, "credential.offer.decline", actor, o.ID, "", "", map[string]string{"issuer": string(o.Issuer)})
		if err != nil {
			return err
		}
		next = o
		next.State, next.Actor, next.Owed, next.Updated = Declined, actor, "", s.cfg.Now()
		return s.cfg.Store.CommitWallet(ctx, local.ID, Change{Offers: []commit.Swap[Offer]{{Old: &o, New: &next}}}, commit.Effects{Settled: o.Owed, Decisions: []decisionlog.Entry{entry},
			Events: []commit.Event{s.event("credential.offer.declined", o.ID, actor, nil)}})
	})
	next.Version++
	return next, fault.Wrap(op, fault.Internal, err)
}

// act does what the settings want of an offer: types that they name are asked for when their issuer is trusted for them, and what is held and
// offered anew is renewed. A key that its issuer revoked is looked for in the issuer's own document, not believed.
func (s *Service) act(ctx context.Context, owed commit.Owed) error {
	local, err := s.cfg.Hosted.ByID(ctx, owed.Participant)
	if err != nil {
		return err
	}
	err = process.Retry(func() (Offer, error) { return s.cfg.Store.CredentialOffer(ctx, local.ID, owed.ProcessID) }, func(o Offer) error {
		if o.Owed != owed.ID {
			return nil
		}
		base, objects, err := s.cfg.Issuers.Metadata(ctx, local, o.Issuer)
		if err != nil {
			if s.cfg.Now().Sub(o.Created) < offerPatience {
				return err
			}
			return s.leave(ctx, local, o, "the issuer's metadata could not be read in time")
		}
		wanted, err := s.attractive(ctx, local, o, objects)
		if err != nil {
			return err
		}
		if len(wanted) == 0 {
			return s.leave(ctx, local, o, "nothing in it is asked for by the settings")
		}
		_, err = s.accept(ctx, local, o, base, wanted, "", "the settings ask for it")
		return err
	})
	return fault.Wrap("wallet.act", fault.Internal, err)
}

// leave keeps an offer for an operator.
func (s *Service) leave(ctx context.Context, local participant.Participant, o Offer, note string) error {
	next := o
	next.Owed, next.Note, next.Updated = "", note, s.cfg.Now()
	return s.cfg.Store.CommitWallet(ctx, local.ID, Change{Offers: []commit.Swap[Offer]{{Old: &o, New: &next}}}, commit.Effects{Settled: o.Owed})
}

// attractive chooses of an offer what the settings ask for. What is under way is not asked for twice.
func (s *Service) attractive(ctx context.Context, local participant.Participant, o Offer, issued []Object) ([]Wanted, error) {
	held, err := s.cfg.Store.Credentials(ctx, local.ID)
	if err != nil {
		return nil, err
	}
	open, err := s.cfg.Store.OpenCredentialRequests(ctx, local.ID, o.Issuer, MaxOpen)
	if err != nil || len(open) >= MaxOpen {
		return nil, err
	}
	trusted := s.cfg.Trust.Types(local, o.Issuer)
	var out []Wanted
	for _, offered := range o.Objects {
		at := slices.IndexFunc(issued, func(x Object) bool { return x.ID == offered.ID })
		if at < 0 || issued[at].Profile == "" || len(out) == MaxWanted {
			continue
		}
		object, reason := issued[at], offered.Reason
		if reason == "" {
			reason = issued[at].Reason
		}
		underway := slices.ContainsFunc(open, func(r Request) bool {
			return slices.ContainsFunc(r.Wanted, func(w Wanted) bool { return w.Definition == object.ID && w.Held == "" })
		})
		if underway || !slices.Contains(trusted, object.Type) {
			continue
		}
		w := Wanted{Definition: object.ID, Type: object.Type, Profile: object.Profile}
		mine := slices.DeleteFunc(pick(held, o.Issuer, object), func(c Credential) bool { return c.Standing == Suspended || c.Standing == Revoked })
		if reason == credential.ReasonRevokedKey {
			s.inspect(ctx, local, mine)
		}
		switch {
		case len(mine) > 0 && renews(reason) && s.cfg.Renew > 0:
			w.Replaces = mine[len(mine)-1].ID
		case len(mine) == 0 && slices.Contains(s.cfg.Auto, object.Type):
		default:
			continue
		}
		out = append(out, w)
	}
	return out, nil
}

// inspect withdraws credentials whose proof no longer holds, by a document that is not from a cache. One that cannot be read withdraws nothing.
func (s *Service) inspect(ctx context.Context, local participant.Participant, held []Credential) {
	for _, c := range held {
		doc, err := s.cfg.Documents.Resolve(ctx, c.Issuer, true)
		if err != nil {
			s.cfg.Log.WarnContext(ctx, "an issuer's document could not be read", slog.String("issuer", string(c.Issuer)), attr(err))
			return
		}
		if err := standsIn(doc, string(c.Raw)); err == nil {
			continue
		}
		if err := s.note(ctx, local, c, Withdrawn); err != nil {
			s.cfg.Log.ErrorContext(ctx, "the standing of a credential was not noted", slog.String("credential", c.ID), attr(err))
		}
	}
}

// standsIn checks a credential's proof by a document of its issuer.
func standsIn(doc *identity.Document, token string) error {
	header, _, err := identity.ParseJWT(token, len(token))
	if err != nil {
		return err
	}
	key, err := doc.Key(header.KeyID, identity.AssertionMethod)
	if err != nil {
		return err
	}
	return identity.Verify(token, key)
}
