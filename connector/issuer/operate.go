package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Enable switches the participant on as issuer; it begins with the templates. Once on, it stays on: credentials that name its status lists
// live on. Again is no change.
func (s *Service) Enable(ctx context.Context, local participant.Participant, actor string) error {
	if s.Enabled(local.ID) {
		return nil
	}
	now := s.cfg.Now()
	changes := Changes{Authority: &Authority{Participant: local.ID, Since: now}}
	for _, d := range s.cfg.Templates(local) {
		d.Participant, d.Version, d.Created, d.Updated = local.ID, 1, now, now
		if err := d.Validate(); err != nil {
			return err
		}
		changes.Definitions = append(changes.Definitions, commit.Swap[Definition]{New: &d})
	}
	err := s.operate(ctx, local, "issuer.enable", "issuer.enabled", string(local.DID), actor, nil, changes)
	if err != nil && !process.IsStale(err) {
		return err
	}
	// Somebody else may have done it meanwhile.
	if failed := s.Load(ctx, local.ID); failed != nil || !s.Enabled(local.ID) {
		return errors.Join(err, failed)
	}
	return nil
}

// operate commits an operator's change with its record and event.
func (s *Service) operate(ctx context.Context, local participant.Participant, code, event, subject, actor string, details map[string]string, changes Changes) error {
	now := s.cfg.Now()
	entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: code, Actor: actor, Subject: subject, Now: now, Details: details})
	if err != nil {
		return fault.Wrap("issuer.operate", fault.Unavailable, err)
	}
	return fault.Wrap("issuer.operate", fault.Internal, s.cfg.Store.CommitIssuer(ctx, local.ID, changes, commit.Effects{Decisions: []decisionlog.Entry{entry},
		Events: []commit.Event{{Type: event, Subject: subject, Time: now, Actor: actor}}}))
}

// Definitions lists what the issuer issues.
func (s *Service) Definitions(ctx context.Context, local participant.Participant) ([]Definition, error) {
	if err := s.enabled(local); err != nil {
		return nil, err
	}
	return s.cfg.Store.IssuerDefinitions(ctx, local.ID)
}

// PutDefinition writes a definition. d.Version is that of the one which the operator saw; 0: whatever is there, if anything.
func (s *Service) PutDefinition(ctx context.Context, local participant.Participant, d Definition, actor string) (Definition, error) {
	if err := s.enabled(local); err != nil {
		return d, err
	}
	if err := d.Validate(); err != nil {
		return d, err
	}
	saw := d.Version
	err := process.Retry(func() (struct{}, error) { return struct{}{}, nil }, func(struct{}) error {
		all, err := s.cfg.Store.IssuerDefinitions(ctx, local.ID)
		if err != nil {
			return err
		}
		now := s.cfg.Now()
		var old *Definition
		if at := slices.IndexFunc(all, func(o Definition) bool { return o.ID == d.ID }); at >= 0 {
			old = &all[at]
		}
		d.Participant, d.Version, d.Created, d.Updated = local.ID, 1, now, now
		switch {
		case old != nil:
			if err := (commit.Order{Version: saw}).On(old.Version); err != nil {
				return err
			}
			d.Version, d.Created = old.Version+1, old.Created
		case saw != 0:
			return fault.New("issuer.PutDefinition", fault.NotFound, "there is no such definition")
		case len(all) >= MaxDefinitions:
			return fault.New("issuer.PutDefinition", fault.Exhausted, "an issuer has at most %d definitions", MaxDefinitions)
		}
		digest, err := digestOf(d)
		if err != nil {
			return err
		}
		return s.operate(ctx, local, "issuer.definition.put", "issuer.definition.put", d.ID, actor, map[string]string{"type": d.Type, "profile": d.Profile, "definition": digest},
			Changes{Definitions: []commit.Swap[Definition]{{Old: old, New: &d}}})
	})
	return d, err
}

// DeleteDefinition ends a definition: it can no longer be asked for. What was issued by it stays as it is.
func (s *Service) DeleteDefinition(ctx context.Context, local participant.Participant, id string, order commit.Order) error {
	return process.Retry(func() (Definition, error) { return s.cfg.Store.IssuerDefinition(ctx, local.ID, id) }, func(d Definition) error {
		if err := order.On(d.Version); err != nil {
			return err
		}
		return s.operate(ctx, local, "issuer.definition.delete", "issuer.definition.deleted", id, order.Actor, nil, Changes{Definitions: []commit.Swap[Definition]{{Old: &d}}})
	})
}

// Holders lists who may ask, by creation.
func (s *Service) Holders(ctx context.Context, local participant.Participant, r page.Request) (page.Of[Holder], error) {
	return s.cfg.Store.IssuerHolders(ctx, local.ID, r)
}

// Holder returns one.
func (s *Service) Holder(ctx context.Context, local participant.Participant, did participant.DID) (Holder, error) {
	return s.cfg.Store.IssuerHolder(ctx, local.ID, did)
}

// Imported says what became of rows.
type Imported struct{ Added, Changed, Same int }

// PutHolders writes rows, all or none; a row that is there is replaced. Rows that say the same again change nothing.
func (s *Service) PutHolders(ctx context.Context, local participant.Participant, rows []Holder, actor string) (Imported, error) {
	const op = "issuer.PutHolders"
	var out Imported
	if err := s.enabled(local); err != nil {
		return out, err
	}
	if len(rows) == 0 || len(rows) > MaxHolders {
		return out, fault.New(op, fault.Malformed, "holders: want 1 to %d", MaxHolders)
	}
	seen := map[participant.DID]bool{}
	var dids []participant.DID
	for _, h := range rows {
		if err := h.Validate(); err != nil {
			return out, err
		}
		if seen[h.DID] {
			return out, fault.New(op, fault.Malformed, "holders: %s is there twice", h.DID)
		}
		seen[h.DID] = true
		dids = append(dids, h.DID)
	}
	err := process.Retry(func() (struct{}, error) { return struct{}{}, nil }, func(struct{}) error {
		out = Imported{}
		now := s.cfg.Now()
		var changes Changes
		there, err := s.cfg.Store.IssuerHoldersOf(ctx, local.ID, dids)
		if err != nil {
			return err
		}
		before := map[participant.DID]Holder{}
		for _, h := range there {
			before[h.DID] = h
		}
		for _, h := range rows {
			h.Participant, h.Version, h.Created, h.Updated = local.ID, 1, now, now
			old, known := before[h.DID]
			switch {
			case !known:
				out.Added++
				changes.Holders = append(changes.Holders, commit.Swap[Holder]{New: &h})
				continue
			case same(old, h):
				out.Same++
				continue
			}
			h.Version, h.Created = old.Version+1, old.Created
			out.Changed++
			changes.Holders = append(changes.Holders, commit.Swap[Holder]{Old: &old, New: &h})
		}
		if len(changes.Holders) == 0 {
			return nil
		}
		subject, written := string(rows[0].DID), make([]Holder, 0, len(changes.Holders))
		if len(rows) > 1 {
			subject = local.Slug
		}
		for _, c := range changes.Holders {
			written = append(written, Holder{DID: c.New.DID, Name: c.New.Name, Grants: c.New.Grants, Values: c.New.Values})
		}
		digest, err := digestOf(written)
		if err != nil {
			return err
		}
		details := map[string]string{"added": strconv.Itoa(out.Added), "changed": strconv.Itoa(out.Changed), "rows": digest}
		return s.operate(ctx, local, "issuer.holder.put", "issuer.holder.put", subject, actor, details, changes)
	})
	return out, err
}

// digestOf names rows in a record, which they may be too many for.
func digestOf(v any) (string, error) {
	text, err := json.Marshal(v)
	return process.Digest(text), err
}

func same(a, b Holder) bool {
	return a.Name == b.Name && slices.Equal(a.Grants, b.Grants) && maps.EqualFunc(a.Values, b.Values, slices.Equal[[]string])
}

// DeleteHolder takes a holder off: it gets nothing more. What it has is revoked by RevokeHolder.
func (s *Service) DeleteHolder(ctx context.Context, local participant.Participant, did participant.DID, order commit.Order) error {
	return process.Retry(func() (Holder, error) { return s.cfg.Store.IssuerHolder(ctx, local.ID, did) }, func(h Holder) error {
		if err := order.On(h.Version); err != nil {
			return err
		}
		return s.operate(ctx, local, "issuer.holder.delete", "issuer.holder.deleted", string(did), order.Actor, nil, Changes{Holders: []commit.Swap[Holder]{{Old: &h}}})
	})
}

// Approve lets a request that waits go on. The rules are asked once more with the operator's word as input: approving cannot give what they
// deny, and a denial leaves the request as it was. given are values of the holder, over those of its row.
func (s *Service) Approve(ctx context.Context, local participant.Participant, id string, given map[string][]string, order commit.Order) (Request, error) {
	const op = "issuer.Approve"
	var f faults
	if f.values(given); len(f) > 0 {
		return Request{}, f.err("values")
	}
	r, err := s.cfg.Store.IssuerRequest(ctx, local.ID, "", id)
	if err != nil {
		return r, fault.Wrap(op, fault.Internal, err)
	}
	if err := order.On(r.Version); err != nil {
		return r, err
	}
	if _, err := Next(r.State, StepApprove); err != nil {
		return r, err
	}
	defs, who, err := s.applicant(ctx, local, r.Holder, r.Wanted)
	switch {
	case fault.Is(err, fault.Unauthenticated), fault.Is(err, fault.Malformed):
		return r, denied(codeStranger, "the holder is no longer known, or a definition is gone", err)
	case err != nil: // what cannot be looked up denies nothing
		return r, fault.Wrap(op, fault.Internal, err)
	}
	now := s.cfg.Now()
	who.evidence, who.given = r.Evidence, given
	if no := s.refused(defs, func(d Definition) *refusal { return who.judgeShown(d, now) }); no != nil {
		return r, denied(no.code, no.reason, nil)
	}
	owed, no, err := s.grant(ctx, local, &r, r, defs, who, order, now)
	if err != nil {
		return r, err
	}
	if no != nil {
		return r, denied(no.code, no.reason, nil)
	}
	s.cfg.Outbox.Send(*owed)
	return s.Request(ctx, local, id)
}

func denied(code, reason string, err error) error {
	return &fault.Error{Op: "issuer", Kind: fault.Refused, Code: code, Reason: reason, Err: err}
}

// Refuse ends a request that waits. order.Reason is for the holder and for the record.
func (s *Service) Refuse(ctx context.Context, local participant.Participant, id string, order commit.Order) (Request, error) {
	if !text(order.Reason, maxText) {
		return Request{}, fault.New("issuer.Refuse", fault.Malformed, "reason: want one sentence for the holder")
	}
	var owed *commit.Owed
	err := process.Retry(func() (Request, error) { return s.cfg.Store.IssuerRequest(ctx, local.ID, "", id) }, func(r Request) error {
		if err := order.On(r.Version); err != nil {
			return err
		}
		var err error
		owed, err = s.reject(ctx, local, r, StepRefuse, order, "operator.refused", order.Reason)
		return err
	})
	if err != nil {
		return Request{}, fault.Wrap("issuer.Refuse", fault.Internal, err)
	}
	s.cfg.Outbox.Send(*owed)
	return s.Request(ctx, local, id)
}

// Issuing is an operator's order to issue a credential without a request. The order is the attestation, whatever the rules say; the values
// that the subject needs are the holder's, where it is known, under those that are given.
type Issuing struct {
	Holder     participant.DID
	Definition string
	Values     map[string][]string
	Actor      string
}

// Issue signs a credential by an operator's order and returns its text, which is kept nowhere here: whoever ordered it hands it to the holder.
func (s *Service) Issue(ctx context.Context, local participant.Participant, i Issuing) (Credential, string, error) {
	const op = "issuer.Issue"
	if err := s.enabled(local); err != nil {
		return Credential{}, "", err
	}
	if err := (Holder{DID: i.Holder, Values: i.Values}).Validate(); err != nil {
		return Credential{}, "", err
	}
	d, err := s.cfg.Store.IssuerDefinition(ctx, local.ID, i.Definition)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			err = fault.New(op, fault.NotFound, "there is no definition %q", i.Definition)
		}
		return Credential{}, "", fault.Wrap(op, fault.Internal, err)
	}
	who := applicant{given: i.Values, ordered: true}
	if who.holder, err = s.cfg.Store.IssuerHolder(ctx, local.ID, i.Holder); err != nil && !fault.Is(err, fault.NotFound) {
		return Credential{}, "", fault.Wrap(op, fault.Unavailable, err)
	}
	var made Credential
	var token string
	err = process.Retry(func() (struct{}, error) { return struct{}{}, nil }, func(struct{}) error {
		now := s.cfg.Now()
		changes, signed, no, err := s.sign(ctx, local, i.Holder, []Definition{d}, who, "", i.Actor, now)
		if err != nil {
			return err
		}
		if no != nil {
			return &fault.Error{Op: op, Kind: fault.Malformed, Code: no.code, Reason: no.reason}
		}
		c := changes.Credentials[0].New
		entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: "credential.issue", Actor: i.Actor, Subject: c.ID, Process: c.ID, Now: now,
			Details: map[string]string{"holder": string(i.Holder), "type": c.Type, "digest": c.Digest}})
		if err != nil {
			return fault.Wrap(op, fault.Unavailable, err)
		}
		c.LastRecord = entry.ID
		made, token = *c, signed[0].Token
		return s.cfg.Store.CommitIssuer(ctx, local.ID, changes, commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{credentialEvent(*c, "credential.issued", now, i.Actor)}})
	})
	return made, token, fault.Wrap(op, fault.Internal, err)
}

// Offer tells a holder that it may request credentials. It must be known, and the definitions must be there; whether it gets them is judged when it
// asks.
func (s *Service) Offer(ctx context.Context, local participant.Participant, holder participant.DID, ids []string, reason, actor string) (Offer, error) {
	const op = "issuer.Offer"
	if err := s.enabled(local); err != nil {
		return Offer{}, err
	}
	if reason == "" {
		reason = credential.ReasonIssuance
	}
	if !slices.Contains(credential.OfferReasons(), reason) {
		return Offer{}, fault.New(op, fault.Malformed, "reason: want one of %v", credential.OfferReasons())
	}
	defs, who, err := s.applicant(ctx, local, holder, ids)
	if fault.Is(err, fault.Unauthenticated) || err == nil && !who.known {
		return Offer{}, fault.New(op, fault.NotFound, "the holder is not known: put it on the list first")
	}
	if err != nil {
		return Offer{}, err
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Offer{}, err
	}
	now := s.cfg.Now()
	body, err := s.cfg.Codec.EncodeOffer(metadata(local, defs, reason))
	if err != nil {
		return Offer{}, fault.Wrap(op, fault.Internal, err)
	}
	owed, err := process.Owe(s.cfg.Rand, now, commit.Owed{Participant: local.ID, Process: commit.IssuerOffer, ProcessID: id, Peer: holder, Message: "CredentialOfferMessage", Body: body},
		AtCredentialService(holder), "")
	if err != nil {
		return Offer{}, err
	}
	f := Offer{Participant: local.ID, ID: id, Version: 1, Holder: holder, Definitions: ids, Reason: reason, State: OfferOwed, Owed: owed.ID, Actor: actor, Created: now, Updated: now}
	entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: "issuance.offer", Actor: actor, Subject: id, Process: id, Now: now,
		Details: map[string]string{"holder": string(holder), "reason": reason}})
	if err != nil {
		return Offer{}, fault.Wrap(op, fault.Unavailable, err)
	}
	f.LastRecord = entry.ID
	err = s.cfg.Store.CommitIssuer(ctx, local.ID, Changes{Offers: []commit.Swap[Offer]{{New: &f}}}, commit.Effects{Decisions: []decisionlog.Entry{entry}, Owed: owed, Events: []commit.Event{offerEvent(f, actor)}})
	if err != nil {
		return Offer{}, fault.Wrap(op, fault.Unavailable, err)
	}
	s.cfg.Outbox.Send(*owed)
	return f, nil
}

// Offers lists them for the operator.
func (s *Service) Offers(ctx context.Context, local participant.Participant, f Filter, r page.Request) (page.Of[Offer], error) {
	return s.cfg.Store.IssuerOffers(ctx, local.ID, f, r)
}

// Credentials lists what was issued.
func (s *Service) Credentials(ctx context.Context, local participant.Participant, f Filter, r page.Request) (page.Of[Credential], error) {
	return s.cfg.Store.IssuerCredentials(ctx, local.ID, f, r)
}

// Credential returns one that was issued.
func (s *Service) Credential(ctx context.Context, local participant.Participant, id string) (Credential, error) {
	return s.cfg.Store.IssuerCredential(ctx, local.ID, id)
}

// Revoke takes a credential back for good. Twice is once.
func (s *Service) Revoke(ctx context.Context, local participant.Participant, id string, order commit.Order) (Credential, error) {
	return s.stand(ctx, local, id, Revoked, order)
}

// Suspend takes a credential back until it is reinstated.
func (s *Service) Suspend(ctx context.Context, local participant.Participant, id string, order commit.Order) (Credential, error) {
	return s.stand(ctx, local, id, Suspended, order)
}

// Reinstate ends a suspension. What was revoked stays so: Conflict.
func (s *Service) Reinstate(ctx context.Context, local participant.Participant, id string, order commit.Order) (Credential, error) {
	return s.stand(ctx, local, id, Good, order)
}

// verbs names what leads to a standing, in the decision log and in events.
var verbs = map[Standing][2]string{Good: {"credential.reinstate", "credential.reinstated"}, Suspended: {"credential.suspend", "credential.suspended"},
	Revoked: {"credential.revoke", "credential.revoked"}}

func (s *Service) stand(ctx context.Context, local participant.Participant, id string, to Standing, order commit.Order) (Credential, error) {
	var out Credential
	err := process.Retry(func() (Credential, error) { return s.cfg.Store.IssuerCredential(ctx, local.ID, id) }, func(c Credential) error {
		out = c
		if err := order.On(c.Version); err != nil {
			return err
		}
		changes, err := s.restand(ctx, local, []Credential{c}, to, order)
		if err == nil && len(changes.Credentials) > 0 {
			out = *changes.Credentials[0].New
		}
		return err
	})
	return out, fault.Wrap("issuer.stand", fault.Internal, err)
}

// maxRevoked is how many credentials of a holder change in one commit.
const maxRevoked = 100

// RevokeHolder revokes everything that the holder has and has not expired, and says how many that were. It may be repeated: what is revoked stays so.
// What stands in no list cannot be revoked: the rest is, and a Conflict tells of it.
func (s *Service) RevokeHolder(ctx context.Context, local participant.Participant, holder participant.DID, order commit.Order) (int, error) {
	const op = "issuer.RevokeHolder"
	n, stuck := 0, 0
	for _, standing := range []Standing{Good, Suspended} {
		var after page.Key
		for {
			var next page.Key
			err := process.Retry(func() (page.Of[Credential], error) {
				return s.cfg.Store.IssuerCredentials(ctx, local.ID, Filter{Holder: holder, State: string(standing)}, page.Request{After: after, Limit: maxRevoked})
			}, func(all page.Of[Credential]) error {
				next = all.Next
				now := s.cfg.Now()
				live := slices.DeleteFunc(all.Items, func(c Credential) bool { return !now.Before(c.Expires) })
				have := len(live)
				live = slices.DeleteFunc(live, func(c Credential) bool {
					return !slices.ContainsFunc(c.Places, func(p Place) bool { return p.Purpose == statuslist.Revocation })
				})
				stuck += have - len(live)
				changes, err := s.restand(ctx, local, live, Revoked, order)
				if err == nil {
					n += len(changes.Credentials)
				}
				return err
			})
			if err != nil {
				return n, fault.Wrap(op, fault.Internal, err)
			}
			if next == (page.Key{}) {
				break
			}
			after = next
		}
	}
	if stuck > 0 {
		return n, &fault.Error{Op: op, Kind: fault.Conflict, Code: "credential.no-status", Reason: fmt.Sprintf("%d revoked; %d stand in no list that could tell it: they end when they expire", n, stuck)}
	}
	return n, nil
}

// restand changes the standing of credentials, and the bits that say so, in one commit with a record for each. It is in force when it returns:
// the lists are read anew by whoever asks.
func (s *Service) restand(ctx context.Context, local participant.Participant, all []Credential, to Standing, order commit.Order) (Changes, error) {
	var changes Changes
	var e commit.Effects
	var lists []string
	now := s.cfg.Now()
	bits := map[string]*commit.Swap[List]{}
	for _, c := range all {
		moves, err := Change(c.Standing, to)
		if err != nil {
			return changes, err
		}
		if !moves {
			continue
		}
		next := c
		next.Version, next.Standing, next.Actor, next.Reason, next.Updated = c.Version+1, to, order.Actor, order.Reason, now
		if err := s.mark(ctx, local, next, bits, now); err != nil {
			return changes, err
		}
		entry, err := s.cfg.Decider.Record(ctx, decisionlog.Action{Log: local.Slug, Code: verbs[to][0], Actor: order.Actor, Subject: c.ID, Process: c.ID, Previous: c.LastRecord, Now: now,
			Details: map[string]string{"holder": string(c.Holder), "type": c.Type, "reason": order.Reason}})
		if err != nil {
			return changes, fault.Wrap("issuer.restand", fault.Unavailable, err)
		}
		next.LastRecord = entry.ID
		changes.Credentials = append(changes.Credentials, commit.Swap[Credential]{Old: &c, New: &next})
		e.Decisions = append(e.Decisions, entry)
		e.Events = append(e.Events, credentialEvent(next, verbs[to][1], now, order.Actor))
	}
	if len(changes.Credentials) == 0 {
		return changes, nil
	}
	for id, swap := range bits {
		changes.Lists = append(changes.Lists, *swap)
		lists = append(lists, id)
	}
	if err := s.cfg.Store.CommitIssuer(ctx, local.ID, changes, e); err != nil {
		return Changes{}, err
	}
	s.wake(local.ID, lists)
	return changes, nil
}

// mark sets the bits that a credential's standing asks for, in the lists as they will be. A standing that no list of the credential can tell is
// refused: nobody would see it.
func (s *Service) mark(ctx context.Context, local participant.Participant, c Credential, bits map[string]*commit.Swap[List], now time.Time) error {
	wants := map[string]bool{statuslist.Revocation: c.Standing == Revoked, statuslist.Suspension: c.Standing == Suspended}
	told := c.Standing == Good
	for _, p := range c.Places {
		want, ok := wants[p.Purpose]
		if !ok {
			continue
		}
		told = told || want
		swap, ok := bits[p.List]
		if !ok {
			l, err := s.cfg.Store.IssuerList(ctx, local.ID, p.List)
			if err != nil {
				return err
			}
			next := l
			next.Version, next.Updated, next.Bits = l.Version+1, now, slices.Clone(l.Bits)
			swap = &commit.Swap[List]{Old: &l, New: &next}
		}
		b, err := statuslist.FromBytes(swap.New.Bits)
		var set bool
		if err == nil {
			set, err = b.Get(p.Index)
		}
		if err == nil && set != want { // a list that says so already gets no other version, for which all who watch it would come
			bits[p.List], err = swap, b.Set(p.Index, want)
		}
		if err != nil {
			return fault.Wrap("issuer.mark", fault.Internal, err)
		}
	}
	if !told {
		return &fault.Error{Op: "issuer.mark", Kind: fault.Conflict, Code: "credential.no-status", Reason: "the credential stands in no list that could tell it: it ends when it expires"}
	}
	return nil
}
