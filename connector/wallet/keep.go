package wallet

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Held implements credential.Wallet: what may be shown now. What has expired, begins later, or was taken back as far as is known is not among it: one
// invalid credential makes a presentation worthless. Nor is what would not be taken by the settings of now. Nobody is asked for that: it is on the
// way of every exchange.
func (s *Service) Held(ctx context.Context, local participant.Participant) ([]credential.Stored, error) {
	const op = "wallet.Held"
	all, err := s.cfg.Store.Credentials(ctx, local.ID)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	now := s.cfg.Now()
	var out []credential.Stored
	for _, c := range all {
		if c.Standing == Revoked || c.Standing == Withdrawn || now.Before(c.NotBefore) || !now.Before(c.NotAfter) {
			continue
		}
		read, err := credential.Read(string(c.Raw), local.DID, s.cfg.Informal)
		if err != nil { // it was taken by rules that are no longer those of the settings
			s.cfg.Log.WarnContext(ctx, "a credential is not shown: it would not be taken now", slog.String("participant", local.Slug), slog.String("credential", c.ID), attr(err))
			continue
		}
		standing := c.Standing
		if at, ok := s.cfg.Statuses.AtHand(local, read); ok && at != standing {
			standing = at
			s.noted(ctx, local, c, at)
		}
		if standing == Good {
			out = append(out, read)
		}
	}
	return out, nil
}

// asked asks how the issuer stands by a credential, and puts on record what is new. An issuer that cannot be asked changes nothing.
func (s *Service) asked(ctx context.Context, local participant.Participant, c Credential) {
	read, err := credential.Read(string(c.Raw), local.DID, s.cfg.Informal)
	if err == nil {
		var standing Standing
		if standing, _, err = s.cfg.Statuses.Status(ctx, local, read); err == nil && standing != c.Standing {
			s.noted(ctx, local, c, standing)
		}
	}
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "the status of a credential is not known", slog.String("credential", c.ID), attr(err))
	}
}

func (s *Service) noted(ctx context.Context, local participant.Participant, c Credential, standing Standing) {
	if err := s.note(context.WithoutCancel(ctx), local, c, standing); err != nil {
		s.cfg.Log.ErrorContext(ctx, "the standing of a credential was not noted", slog.String("credential", c.ID), attr(err))
	}
}

var standings = map[Standing]string{Good: "credential.reinstated", Suspended: "credential.suspended", Revoked: "credential.revoked", Withdrawn: "credential.withdrawn"}

// note puts on record how an issuer stands by a credential from now on.
func (s *Service) note(ctx context.Context, local participant.Participant, c Credential, standing Standing) error {
	// Not on the strength of the token of whoever happens to ask.
	ctx = commit.WithOnce(commit.WithUsed(ctx, nil), commit.Once{})
	return process.Retry(func() (Credential, error) { return s.cfg.Store.Credential(ctx, local.ID, c.ID) }, func(now Credential) error {
		if now.Digest != c.Digest || now.Standing == standing || now.Standing == Revoked {
			return nil
		}
		entry, err := s.record(ctx, local, standings[standing], string(now.Issuer), now.ID, now.Request, "", nil)
		if err != nil {
			return err
		}
		next := now
		next.Standing = standing
		s.cfg.Log.WarnContext(ctx, "an issuer changed how it stands by a credential", slog.String("participant", local.Slug), slog.String("credential", c.ID),
			slog.String("issuer", string(c.Issuer)), slog.String("event", standings[standing]))
		return s.cfg.Store.CommitWallet(ctx, local.ID, Change{Credentials: []commit.Swap[Credential]{{Old: &now, New: &next}}}, commit.Effects{Decisions: []decisionlog.Entry{entry},
			Events: []commit.Event{s.event(standings[standing], now.ID, "", about(now))}})
	})
}

func about(c Credential) map[string]string {
	return map[string]string{"issuer": string(c.Issuer), "types": strings.Join(c.Types, " ")}
}

// Credentials lists all that is held, expired ones included.
func (s *Service) Credentials(ctx context.Context, local participant.Participant) ([]Credential, error) {
	all, err := s.cfg.Store.Credentials(ctx, local.ID)
	return all, fault.Wrap("wallet.Credentials", fault.Internal, err)
}

// row makes the row of a credential that was read.
func (s *Service) row(local participant.Participant, read credential.Stored) Credential {
	c := Credential{Participant: local.ID, ID: read.ID, Types: read.Types, Issuer: participant.DID(read.Fact.Issuer), Raw: []byte(read.Token), Digest: process.Digest([]byte(read.Token)),
		NotBefore: read.Fact.NotBefore, NotAfter: read.Fact.NotAfter, Created: s.cfg.Now(), Revocable: s.cfg.Statuses.Revocable(read)}
	if c.ID == "" { // the standards let it out
		c.ID = "urn:sha256:" + c.Digest
	}
	return c
}

// Put takes a credential that an operator has. Its form is checked; its proof is the business of those it is shown to. The same id of the same
// issuer replaces.
func (s *Service) Put(ctx context.Context, local participant.Participant, jwt []byte, actor string) (Credential, error) {
	const op = "wallet.Put"
	read, err := credential.Read(string(jwt), local.DID, s.cfg.Informal)
	if err != nil {
		return Credential{}, fault.New(op, fault.Malformed, "%s", err.Error())
	}
	c := s.row(local, read)
	entry, err := s.record(ctx, local, "credential.put", actor, c.ID, "", "", map[string]string{"digest": c.Digest})
	if err != nil {
		return Credential{}, err
	}
	var change Change
	err = process.Retry(func() (*Credential, error) { return s.old(ctx, local, c.ID) }, func(old *Credential) error {
		if old != nil && old.Issuer != c.Issuer {
			return process.Illegal(fault.New(op, fault.Conflict, "another issuer's credential has this id"))
		}
		change = Change{}
		if err := s.replace(&change, old, &c); err != nil {
			return err
		}
		return s.cfg.Store.CommitWallet(ctx, local.ID, change, commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{s.event("credential.put", c.ID, actor, about(c))}})
	})
	if err != nil {
		return Credential{}, fault.Wrap(op, fault.Internal, err)
	}
	s.tellAll(change)
	return c, nil
}

// old returns the credential of the id, nil when there is none.
func (s *Service) old(ctx context.Context, local participant.Participant, id string) (*Credential, error) {
	c, err := s.cfg.Store.Credential(ctx, local.ID, id)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &c, nil
}

// replace puts a credential where old was, or beside the others, with the deadline that it owes.
func (s *Service) replace(c *Change, old, next *Credential) error {
	if old != nil && old.Deadline != "" {
		c.Settled = append(c.Settled, old.Deadline)
	}
	if err := s.owe(c, next, s.due(*next)); err != nil {
		return err
	}
	c.Credentials = append(c.Credentials, commit.Swap[Credential]{Old: old, New: next})
	return nil
}

// owe gives the credential its next deadline; the zero time is none.
func (s *Service) owe(c *Change, next *Credential, due time.Time) error {
	next.Deadline = ""
	if due.IsZero() {
		return nil
	}
	o, err := s.deadline(next.Participant, commit.WalletCredential, next.ID, next.Issuer, due)
	if err != nil {
		return err
	}
	next.Deadline = o.ID
	c.Owed = append(c.Owed, *o)
	return nil
}

// due is when something is next to be done about a credential: its issuer is asked how it stands by it, it is asked for anew, or its end is reported.
func (s *Service) due(c Credential) time.Time {
	due := c.NotAfter
	if at := s.renewal(c); !at.IsZero() && c.Renewal == "" && renewable(c) && at.Before(due) {
		due = at
	}
	if look := s.cfg.Now().Add(s.cfg.Watch); s.watched(c) && look.Before(due) {
		due = look
	}
	return due
}

// leastRest is how long a credential is left alone after it came, however short it lives: one whose issuer always names the same end would be asked
// for at shorter and shorter intervals without end.
const leastRest = time.Minute

// renewal is when a credential is to be asked for anew; zero: never. Its life counts from when it came: an issuer may say that it was good long before,
// and by that reckoning what has just come may be due already.
func (s *Service) renewal(c Credential) time.Time {
	if s.cfg.Renew <= 0 || c.Request == "" {
		return time.Time{}
	}
	at := c.Created.Add(max(leastRest, time.Duration(s.cfg.Renew*float64(c.NotAfter.Sub(c.Created)))))
	if at.Before(c.Again) {
		at = c.Again
	}
	return at
}

// renewable reports whether the issuer took nothing back but its key.
func renewable(c Credential) bool { return c.Standing == Good || c.Standing == Withdrawn }

// watched reports whether an issuer is asked how it stands by a credential.
func (s *Service) watched(c Credential) bool {
	return s.cfg.Watch > 0 && c.Revocable && (c.Standing == Good || c.Standing == Suspended)
}

func (s *Service) tellAll(c Change) {
	for i := range c.Owed {
		s.cfg.Outbox.Send(c.Owed[i])
	}
}

// Delete removes a credential.
func (s *Service) Delete(ctx context.Context, local participant.Participant, id, actor string) error {
	const op = "wallet.Delete"
	err := process.Retry(func() (Credential, error) { return s.cfg.Store.Credential(ctx, local.ID, id) }, func(c Credential) error {
		entry, err := s.record(ctx, local, "credential.delete", actor, id, c.Request, "", nil)
		if err != nil {
			return err
		}
		change := Change{Credentials: []commit.Swap[Credential]{{Old: &c}}}
		if c.Deadline != "" {
			change.Settled = []string{c.Deadline}
		}
		return s.cfg.Store.CommitWallet(ctx, local.ID, change, commit.Effects{Decisions: []decisionlog.Entry{entry},
			Events: []commit.Event{s.event("credential.deleted", id, actor, about(c))}})
	})
	return fault.Wrap(op, fault.Internal, err)
}

// aged is a deadline of a credential: its issuer is asked how it stands by it, it is asked for anew while it is still good, and reported when it is
// over.
func (s *Service) aged(ctx context.Context, o commit.Owed) error {
	local, err := s.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return err
	}
	if c, err := s.old(ctx, local, o.ProcessID); err == nil && c != nil && c.Deadline == o.ID && s.watched(*c) {
		s.asked(ctx, local, *c)
	}
	var change Change
	err = process.Retry(func() (*Credential, error) { return s.old(ctx, local, o.ProcessID) }, func(c *Credential) error {
		change = Change{}
		switch {
		case c == nil || c.Deadline != o.ID:
			return nil // it was replaced, and the row is gone with it
		case !s.cfg.Now().Before(c.NotAfter):
			return s.over(ctx, local, *c, o, &change)
		}
		return s.goOn(ctx, local, *c, o, &change)
	})
	if err == nil {
		s.tellAll(change)
	}
	return fault.Wrap("wallet.aged", fault.Internal, err)
}

// over reports a credential that has ended without another in its place. It is asked for all the same: this connector may have slept when it was time.
func (s *Service) over(ctx context.Context, local participant.Participant, c Credential, o commit.Owed, change *Change) error {
	entry, err := s.record(ctx, local, "credential.expired", "", c.ID, c.Request, "", nil)
	if err != nil {
		return err
	}
	next := c
	next.Deadline, next.Expired = "", true
	e := commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{s.event("credential.expired", c.ID, "", about(c))}}
	change.Settled = []string{o.ID}
	if err := s.anew(ctx, local, &next, change, &e); err != nil {
		return err
	}
	s.cfg.Log.WarnContext(ctx, "a credential has expired", slog.String("participant", local.Slug), slog.String("credential", c.ID), slog.String("issuer", string(c.Issuer)))
	change.Credentials = []commit.Swap[Credential]{{Old: &c, New: &next}}
	return s.cfg.Store.CommitWallet(ctx, local.ID, *change, e)
}

// goOn is a deadline of a credential that is still good for a while: when it is time it is asked for anew.
func (s *Service) goOn(ctx context.Context, local participant.Participant, c Credential, o commit.Owed, change *Change) error {
	next, e := c, commit.Effects{}
	change.Settled = []string{o.ID}
	if at := s.renewal(c); !at.IsZero() && !s.cfg.Now().Before(at) {
		if err := s.anew(ctx, local, &next, change, &e); err != nil {
			return err
		}
		if next.Renewal != "" {
			next.Again = c.NotAfter // unless what is under way fails, see again
		}
	}
	if err := s.owe(change, &next, s.due(next)); err != nil {
		return err
	}
	change.Credentials = []commit.Swap[Credential]{{Old: &c, New: &next}}
	return s.cfg.Store.CommitWallet(ctx, local.ID, *change, e)
}

// anew asks the issuer for the same again, unless that is under way or nobody asked for it in the first place. What an issuer has taken back it is
// not asked for.
func (s *Service) anew(ctx context.Context, local participant.Participant, c *Credential, change *Change, e *commit.Effects) error {
	if c.Request == "" || c.Renewal != "" || s.cfg.Renew <= 0 || !renewable(*c) {
		return nil
	}
	r, owed, entry, err := s.draft(ctx, local, Request{Issuer: c.Issuer, Wanted: []Wanted{{Definition: c.Definition, Type: wantedType(*c), Profile: c.Profile, Replaces: c.ID}}})
	if err != nil {
		return err
	}
	c.Renewal = r.ID
	change.Requests = append(change.Requests, commit.Swap[Request]{New: &r})
	change.Owed = append(change.Owed, *owed)
	e.Decisions = append(e.Decisions, entry)
	e.Events = append(e.Events, s.event("credential.renewing", c.ID, "", about(*c)))
	return nil
}

// wantedType is what the credential is, besides being one.
func wantedType(c Credential) string {
	for _, kind := range c.Types {
		if kind != "VerifiableCredential" {
			return kind
		}
	}
	return ""
}

// again lets a credential whose renewal failed try once more when half of what is left of its life is over, and gives up near its end.
func (s *Service) again(ctx context.Context, local participant.Participant, r Request, c *Change) error {
	for _, w := range r.Wanted {
		if w.Replaces == "" {
			continue
		}
		old, err := s.old(ctx, local, w.Replaces)
		if err != nil {
			return err
		}
		if old == nil || old.Renewal != r.ID || old.Expired {
			continue
		}
		next := *old
		next.Renewal, next.Again = "", old.NotAfter
		if left := old.NotAfter.Sub(s.cfg.Now()); left > 10*time.Minute && r.State == Failed {
			next.Again = s.cfg.Now().Add(left / 2)
		}
		if old.Deadline != "" {
			c.Settled = append(c.Settled, old.Deadline)
		}
		if err := s.owe(c, &next, s.due(next)); err != nil {
			return err
		}
		c.Credentials = append(c.Credentials, commit.Swap[Credential]{Old: old, New: &next})
	}
	return nil
}

// pick returns the credentials that are held of the issuer and of the type.
func pick(all []Credential, issuer participant.DID, o Object) []Credential {
	var out []Credential
	for _, c := range all {
		if c.Issuer == issuer && (c.Definition != "" && c.Definition == o.ID || slices.Contains(c.Types, o.Type)) {
			out = append(out, c)
		}
	}
	return out
}
