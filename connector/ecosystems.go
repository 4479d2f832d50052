package connector

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/trust"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/profile"
)

// ecosystem is a profile and our place in it.
type ecosystem struct {
	*profile.Profile
	ours     settings.Profile
	lists    *credential.Lists
	watcher  *credential.Watcher
	verifier *credential.Verifier
}

// ecosystems are those of the settings. Each hosted participant belongs to one, for ever.
type ecosystems struct {
	all    []*ecosystem // the first is that of who names none
	book   *trust.Book
	groups directory.Store
	now    func() time.Time
}

// readEcosystems reads the profiles of the settings, and what is to be believed in each.
func readEcosystems(s settings.Settings) ([]*ecosystem, map[string]trust.Terms, error) {
	var all []*ecosystem
	terms := map[string]trust.Terms{}
	for i, ours := range s.Profiles {
		p, err := readProfile(ours)
		if err != nil {
			return nil, nil, fmt.Errorf("profiles[%d]: %w", i, err)
		}
		asked := p.Scopes
		if p.Directory != "" {
			asked = append(slices.Clone(asked), p.Directory)
		}
		if err := credential.Aliases(p.Aliases).Validate(asked...); err != nil {
			return nil, nil, fmt.Errorf("profiles[%d]: the profile %s: scopes: %w", i, p.ID, err)
		}
		if _, twice := terms[p.ID]; twice {
			return nil, nil, fmt.Errorf("profiles[%d]: the profile %s is there twice", i, p.ID)
		}
		all = append(all, &ecosystem{Profile: p, ours: ours})
		terms[p.ID] = termsOf(p, ours)
	}
	return all, terms, nil
}

// Ecosystems are the profiles of the settings, in their order, and whom is believed in each. The first is that of participants that name none.
func Ecosystems(s settings.Settings) ([]*profile.Profile, *trust.Book, error) {
	e, err := newEcosystems(s, nil)
	if err != nil {
		return nil, nil, err
	}
	var all []*profile.Profile
	for _, one := range e.all {
		all = append(all, one.Profile)
	}
	return all, e.book, nil
}

func readProfile(p settings.Profile) (*profile.Profile, error) {
	switch file := p.File(); {
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("profile: %w", err)
		}
		return profile.Parse(text)
	case p.Use != "":
		return profile.Builtin(p.Use)
	}
	return profile.Default()
}

// termsOf joins what the ecosystem says of credentials with whom the operator believes.
func termsOf(p *profile.Profile, ours settings.Profile) trust.Terms {
	t := trust.Terms{Scopes: p.Scopes, Profiles: p.Credentials.Profiles, Leeway: p.Credentials.Leeway, Entries: cmp.Or(ours.ListEntries, settings.ListEntries), Grace: ours.ListGrace}
	for _, i := range ours.Trust {
		issuer := trust.Issuer{DID: participant.DID(i.Issuer), Credentials: i.Credentials}
		for _, lister := range i.Status {
			issuer.Status = append(issuer.Status, participant.DID(lister))
		}
		t.Issuers = append(t.Issuers, issuer)
	}
	return t
}

func newEcosystems(s settings.Settings, now func() time.Time) (*ecosystems, error) {
	all, terms, err := readEcosystems(s)
	if err != nil {
		return nil, err
	}
	book, err := trust.NewBook(terms)
	return &ecosystems{all: all, book: book, now: now}, err
}

func (e *ecosystems) byID(id string) (*ecosystem, bool) {
	for _, one := range e.all {
		if one.ID == id {
			return one, true
		}
	}
	return nil, false
}

// named finds the profile that a participant is to have; "" is the first.
func (e *ecosystems) named(id string) (string, error) {
	if id == "" {
		return e.all[0].ID, nil
	}
	if _, ok := e.byID(id); !ok {
		return "", fault.New("connector.profile", fault.Malformed, "there is no profile %q in the settings", id)
	}
	return id, nil
}

// of is the ecosystem of a participant. One whose profile is not there was not let in; if it ever were, it would be in one where nothing can be
// said and nobody is believed.
func (e *ecosystems) of(p participant.Participant) *ecosystem {
	if one, ok := e.byID(p.Profile); ok {
		return one
	}
	return &ecosystem{Profile: &profile.Profile{}}
}

func (e *ecosystems) profile(p participant.Participant) *profile.Profile { return e.of(p).Profile }

// scopes are those that the participant grants and asks for.
func (e *ecosystems) scopes(p participant.Participant) []string {
	return e.book.Of(p.Profile).Scopes()
}

// aliases are those that scopes of the participant's ecosystem are written with.
func (e *ecosystems) aliases(p participant.Participant) credential.Aliases { return e.of(p).Aliases }

// Claims implements the services' Evidence: each ecosystem has a verifier of its own, which believes nobody of another. In which groups a peer is,
// is looked up each time: an operator's change of them is felt at once.
func (e *ecosystems) Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error) {
	v := e.of(local).verifier
	if v == nil {
		return policy.Party{}, fault.New("connector.Claims", fault.Unauthenticated, "the caller is not known")
	}
	party, err := v.Claims(ctx, local, peer)
	if err != nil {
		return party, err
	}
	err = e.grouped(ctx, local, &party)
	return party, err
}

// Own are a participant's own credentials as facts.
func (e *ecosystems) Own(ctx context.Context, local participant.Participant) (policy.Party, error) {
	v := e.of(local).verifier
	if v == nil {
		return policy.Party{DID: string(local.DID)}, nil
	}
	return v.Own(ctx, local)
}

// enterTrust puts on record whom the participant believes from now on, when that is not what its record says.
func (c *Connector) enterTrust(ctx context.Context, p participant.Participant, terms trust.Terms, actor string) error {
	const op = "connector.trust"
	before, err := c.store.Trusted(ctx, p.ID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	change, err := trust.Compare(p.Profile, before.Terms, terms)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err)
	}
	if change.After == before.Digest {
		return nil
	}
	doc, err := terms.Document()
	if err != nil {
		return fault.Wrap(op, fault.Internal, err)
	}
	now := c.cfg.Now()
	data := decisionlog.Object{Digest: change.After, Type: "trust", Bytes: doc}
	entry, err := c.ledger.Record(ctx, decisionlog.Action{Log: p.Slug, Code: "trust.change", Actor: actor, Subject: p.Profile, Now: now, Data: &data,
		Details: map[string]string{"before": before.Digest, "after": change.After, "added": strings.Join(change.Added, "\n"), "removed": strings.Join(change.Removed, "\n")}})
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	err = c.store.PutTrusted(ctx, p.ID, before.Digest, trust.Recorded{Profile: p.Profile, Digest: change.After, Terms: terms, Since: now},
		commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{{Type: "trust.changed", Subject: p.Profile, Time: now, Actor: actor,
			Data: map[string]string{"before": before.Digest, "after": change.After, "added": strconv.Itoa(len(change.Added)), "removed": strconv.Itoa(len(change.Removed))}}}})
	if fault.Is(err, fault.Conflict) {
		// Another process of the same store was faster: what stands there is compared again.
		return c.enterTrust(ctx, p, terms, actor)
	}
	return fault.Wrap(op, fault.Unavailable, err)
}

// ReloadTrust reads the settings and the files of the profiles again and believes what they say from now on: all of it, or, when anything in
// them is wrong, nothing. What they say besides trust must be as it was. Each change is on record in the log of every participant that it concerns
// before it is felt; what was verified under what was believed before is forgotten. When it returns, no stream runs on the strength of a credential
// whose issuer may not issue it any more, and the transfers under them are being judged again.
func (c *Connector) ReloadTrust(ctx context.Context, actor string) ([]trust.Change, error) {
	const op = "connector.ReloadTrust"
	if c.cfg.Reload == nil {
		return nil, fault.New(op, fault.Conflict, "this process was not started from a file that could be read again")
	}
	c.reloading.Lock()
	defer c.reloading.Unlock()
	refused := func(err error) ([]trust.Change, error) {
		c.cfg.Log.ErrorContext(ctx, "trust not reloaded", slog.String("actor", actor), slog.Any("error", err))
		return nil, &fault.Error{Op: op, Kind: fault.Malformed, Code: "trust.refused", Reason: "nothing was changed: " + err.Error(), Err: err}
	}
	s, err := c.cfg.Reload()
	if err != nil {
		return refused(err)
	}
	if err := s.Validate(); err != nil {
		return refused(err)
	}
	all, terms, err := readEcosystems(s)
	if err != nil {
		return refused(err)
	}
	if err := c.ecosystems.same(all); err != nil {
		return refused(err)
	}
	plan, err := c.ecosystems.book.Plan(terms)
	if err != nil {
		return refused(err)
	}
	for _, change := range plan.Changes {
		for _, p := range c.hosted.all() {
			if p.Profile != change.Profile {
				continue
			}
			if err := c.enterTrust(ctx, p, change.Terms, actor); err != nil {
				return nil, err
			}
		}
	}
	c.ecosystems.book.Adopt(plan)
	for _, change := range plan.Changes {
		if e, ok := c.ecosystems.byID(change.Profile); ok && e.verifier != nil {
			e.verifier.ForgetAll()
		}
		c.cfg.Log.InfoContext(ctx, "trust reloaded", slog.String("profile", change.Profile), slog.String("actor", actor), slog.String("before", change.Before),
			slog.String("after", change.After), slog.Any("added", change.Added), slog.Any("removed", change.Removed))
	}
	if len(plan.Changes) > 0 {
		c.plane.Forget()
	}
	for _, change := range plan.Changes {
		for _, p := range c.hosted.all() {
			if p.Profile != change.Profile || !change.Shrinks {
				continue
			}
			if err := c.sweep(ctx, p); err != nil {
				c.cfg.Log.WarnContext(ctx, "transfers not looked at again yet", slog.String("participant", p.Slug), slog.Any("error", err))
				c.losses.add(loss{participant: p.ID}) // until it is done each request is judged by what is believed now
			}
		}
	}
	return plan.Changes, nil
}

// same says which profile differs in more than what is believed: that would need everything that was built on it to be built again.
func (e *ecosystems) same(all []*ecosystem) error {
	if len(all) != len(e.all) {
		return errors.New("the number of profiles has changed: that needs a restart")
	}
	for i, now := range e.all {
		before, err1 := rest(now.Profile)
		after, err2 := rest(all[i].Profile)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if !bytes.Equal(before, after) {
			return fmt.Errorf("profile %s: more has changed than whom and what it believes: that needs a restart", now.ID)
		}
	}
	return nil
}

// rest is a profile without what is believed in it.
func rest(p *profile.Profile) ([]byte, error) {
	q := *p
	q.Scopes, q.Credentials = nil, profile.Credentials{}
	return yaml.Marshal(q)
}

// Trust is whom a participant believes at the moment.
func (c *Connector) Trust(_ context.Context, local participant.Participant) (trust.Terms, error) {
	return c.ecosystems.book.Terms(local.Profile), nil
}
