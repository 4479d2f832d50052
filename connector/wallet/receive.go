package wallet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Delivery is what an issuer brings to a credential service: credentials, or that there will be none.
type Delivery struct {
	IssuerPID   string
	HolderPID   string
	Rejected    bool
	Reason      string // of a rejection
	Credentials []Delivered
}

// Delivered is one credential of it.
type Delivered struct {
	Type    string
	Profile string // "" when it is not known, or not the one of the payload
	Token   string
}

// none is the one answer to a delivery for a request that does not exist, is somebody else's, or waits for nothing.
func none(err error) error {
	return &fault.Error{Op: "wallet.Deliver", Kind: fault.NotFound, Reason: "there is no such request", Err: err}
}

// refused is the one answer to credentials that are not taken; why is for the operator.
func refused(err error) error {
	return &fault.Error{Op: "wallet.Deliver", Kind: fault.Malformed, Code: "credential.refused", Reason: "the credentials are not accepted", Err: err}
}

// Deliver takes what an authenticated issuer brings (section 4.3): for a request of this participant that was addressed to this issuer and waits
// for it, whole or not at all. What was taken before is taken again and changes nothing. Why something is refused is for the operator.
func (s *Service) Deliver(ctx context.Context, local participant.Participant, issuer participant.Peer, d Delivery) error {
	var change Change
	err := process.Retry(func() (Request, error) { return s.cfg.Store.CredentialRequest(ctx, local.ID, issuer.DID, d.HolderPID) }, func(r Request) error {
		change = Change{}
		if d.Rejected {
			return s.rejected(ctx, local, r, d)
		}
		return s.delivered(ctx, local, r, d, &change)
	})
	switch {
	case fault.Is(err, fault.NotFound), process.IsIllegal(err):
		return none(err)
	case err != nil:
		return err
	}
	s.tellAll(change)
	return nil
}

func (s *Service) rejected(ctx context.Context, local participant.Participant, r Request, d Delivery) error {
	if r.State == Rejected {
		return nil
	}
	next, _, err := s.end(r, StepReject, d.Reason)
	if err != nil {
		return process.Illegal(err)
	}
	next.Owed, next.IssuerPID, next.Updated = "", d.IssuerPID, s.cfg.Now()
	if next.Reason == "" {
		next.Reason = "the issuer rejected the request"
	}
	c, e := Change{}, commit.Effects{Settled: r.Owed}
	if err := s.reached(ctx, local, &next, &c, &e); err != nil {
		return err
	}
	c.Requests = []commit.Swap[Request]{{Old: &r, New: &next}}
	if err := s.cfg.Store.CommitWallet(ctx, local.ID, c, e); err != nil {
		return err
	}
	s.changed(ctx, local, r, next)
	s.tellAll(c)
	return nil
}

func (s *Service) delivered(ctx context.Context, local participant.Participant, r Request, d Delivery, c *Change) error {
	if _, err := Next(r.State, StepDeliver); err != nil {
		return process.Illegal(err)
	}
	next := r
	next.Wanted, next.Taken = slices.Clone(r.Wanted), slices.Clone(r.Taken)
	fresh, err := s.fresh(ctx, local, &next, d)
	switch {
	case errors.Is(err, identity.ErrUnchecked): // they may be good, and are not to be lost
		return &fault.Error{Op: "wallet.Deliver", Kind: fault.Unavailable, Reason: "the credentials cannot be checked now; bring them again later", Err: err}
	case err != nil:
		return refused(err)
	}
	if len(fresh) == 0 {
		return nil
	}
	details := map[string]string{}
	for _, f := range fresh {
		if err := s.take(ctx, local, &next, f, c); err != nil {
			return err
		}
		details[f.row.ID] = f.row.Digest
	}
	step := StepDeliver
	if next.open() > 0 {
		step = StepPart
	}
	if next.State, err = Next(r.State, step); err != nil {
		return process.Illegal(err)
	}
	next.IssuerPID, next.Updated = d.IssuerPID, s.cfg.Now()
	entry, err := s.record(ctx, local, "credential.store", string(r.Issuer), string(r.Issuer), r.ID, r.LastRecord, details)
	if err != nil {
		return err
	}
	next.LastRecord = entry.ID
	e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{s.event(events[next.State], r.ID, string(r.Issuer), facts(next))}}
	if next.State == Issued {
		e.Settled, next.Owed = r.Owed, ""
	} else if r.State == Requesting { // what was owed is the message, which has arrived
		e.Settled = r.Owed
		if e.Owed, err = s.look(&next); err != nil {
			return err
		}
	}
	c.Requests = []commit.Swap[Request]{{Old: &r, New: &next}}
	if err := s.cfg.Store.CommitWallet(ctx, local.ID, *c, e); err != nil {
		return err
	}
	s.changed(ctx, local, r, next)
	s.tell(e.Owed)
	return nil
}

// found is a credential that passed every check, and what it was wanted as.
type found struct {
	row    Credential
	wanted int
}

// fresh checks every credential of a delivery and returns those that were not taken before. The first that fails refuses them all.
func (s *Service) fresh(ctx context.Context, local participant.Participant, r *Request, d Delivery) ([]found, error) {
	var out []found
	matched := map[int]bool{}
	for _, got := range d.Credentials {
		at := slices.IndexFunc(r.Wanted, func(w Wanted) bool { return w.Type == got.Type && w.Profile == got.Profile })
		for at >= 0 && matched[at] {
			more := slices.IndexFunc(r.Wanted[at+1:], func(w Wanted) bool { return w.Type == got.Type && w.Profile == got.Profile })
			if more < 0 {
				at = -1
				break
			}
			at += 1 + more
		}
		if got.Profile == "" {
			return nil, errors.New("credential.profile: it is not known, or not what the payload is")
		}
		if at < 0 {
			return nil, fmt.Errorf("credential.unsolicited: %s in the profile %s was not asked for, or not so often", cut(got.Type, 100), got.Profile)
		}
		matched[at] = true
		row, err := s.checked(ctx, local, r.Issuer, got)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.Taken, row.Digest) {
			continue
		}
		row.Request, row.Definition, row.Profile = r.ID, r.Wanted[at].Definition, got.Profile
		r.Taken = append(r.Taken, row.Digest)
		out = append(out, found{row, at})
	}
	if n := len(r.Taken) - maxTaken; n > 0 {
		r.Taken = r.Taken[n:]
	}
	return out, nil
}

// checked verifies a credential as who is shown it would, but for the trust in its issuer: this participant asked for it.
func (s *Service) checked(ctx context.Context, local participant.Participant, issuer participant.DID, got Delivered) (Credential, error) {
	read, err := credential.Read(got.Token, local.DID, s.cfg.Informal)
	if err != nil {
		return Credential{}, err
	}
	if read.Profile != got.Profile {
		return Credential{}, errors.New("credential.profile: it is not in the one that it was delivered as")
	}
	if read.Fact.Issuer != string(issuer) {
		return Credential{}, errors.New("credential.issuer: it is not who delivers")
	}
	if !slices.Contains(read.Types, got.Type) {
		return Credential{}, errors.New("credential.type: it is not of the type that it was delivered as")
	}
	if err := s.proven(ctx, issuer, got.Token); err != nil {
		return Credential{}, err
	}
	now := s.cfg.Now()
	switch {
	case now.Add(identity.Leeway).Before(read.Fact.NotBefore):
		return Credential{}, errors.New("credential.early")
	case !read.Fact.NotAfter.IsZero() && !now.Before(read.Fact.NotAfter):
		return Credential{}, errors.New("credential.expired")
	}
	return s.row(local, read), nil
}

// proven checks a credential's signature with its issuer's key.
func (s *Service) proven(ctx context.Context, issuer participant.DID, token string) error {
	header, _, err := identity.ParseJWT(token, len(token))
	if err != nil {
		return fmt.Errorf("credential.syntax: %w", err)
	}
	if did, ok := identity.DIDOf(header.KeyID); !ok || did != string(issuer) {
		return errors.New("credential.kid: its DID is not the issuer")
	}
	if err := s.cfg.Signatures.Signature(ctx, issuer, header.KeyID, token, identity.AssertionMethod); err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	return nil
}

// take puts a credential into the wallet, in the place of what came before it for the same, or what it was asked for to replace.
func (s *Service) take(ctx context.Context, local participant.Participant, r *Request, f found, c *Change) error {
	w := &r.Wanted[f.wanted]
	same, err := s.old(ctx, local, f.row.ID)
	if err != nil {
		return err
	}
	if same != nil && same.Issuer != r.Issuer {
		return refused(errors.New("credential.id: another issuer's credential has it"))
	}
	for _, id := range []string{w.Held, w.Replaces} {
		if id == "" || id == f.row.ID {
			continue
		}
		gone, err := s.old(ctx, local, id)
		if err != nil {
			return err
		}
		if gone == nil || gone.Issuer != r.Issuer {
			continue
		}
		if gone.Deadline != "" {
			c.Settled = append(c.Settled, gone.Deadline)
		}
		c.Credentials = append(c.Credentials, commit.Swap[Credential]{Old: gone})
	}
	row := f.row
	w.Held, w.Replaces = row.ID, ""
	if slices.ContainsFunc(c.Credentials, func(x commit.Swap[Credential]) bool { return x.New != nil && x.New.ID == row.ID }) {
		return refused(errors.New("credential.id: two of one delivery have it"))
	}
	s.cfg.Log.InfoContext(ctx, "credential taken", slog.String("participant", local.Slug), slog.String("credential", row.ID), slog.String("issuer", string(row.Issuer)))
	return s.replace(c, same, &row)
}
