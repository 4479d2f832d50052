package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Decider asks the policy engine and seals answers and actions as log entries.
type Decider interface {
	Decide(ctx context.Context, q policy.Question) (policy.Decision, decisionlog.Entry, error)
	Record(ctx context.Context, a decisionlog.Action) (decisionlog.Entry, error)
}

// Evidence gives what a peer has proven by credential.
type Evidence interface {
	Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error)
}

// Validator says whether the terms of a policy can be enforced here.
type Validator interface {
	Validate(p odrl.Policy, access bool) []odrl.Fault
}

// Sources says whether bytes of a participant may come from an address. An error says what is wrong with it and may be shown.
type Sources interface {
	Check(local participant.Participant, a Address) error
}

// Config carries what a Service is made of. All fields are required.
type Config struct {
	Store    Store
	Decider  Decider
	Evidence Evidence
	Sources  Sources
	Profile  func(participant.Participant) Validator
	Now      func() time.Time
	Rand     io.Reader
}

// Service shows peers what they may see, and lets operators say what that is.
type Service struct{ cfg Config }

// New returns a Service.
func New(cfg Config) *Service { return &Service{cfg} }

// Shown is a dataset as it is shown: the asset with the offers that the peer may see, by creation.
type Shown struct {
	Asset  Asset
	Offers []Entry
}

// Key is its place among the datasets: that of its first offer.
func (s Shown) Key() page.Key { return s.Offers[0].Key() }

// Request answers a catalog request: the offers whose access policy lets the peer see them, asset by asset, a page of assets at a time. Each distinct access
// policy is asked once, and each answer is on record before anything is shown.
func (s *Service) Request(ctx context.Context, local participant.Participant, peer participant.Peer, raw []byte, r page.Request) (page.Of[Shown], error) {
	allowed, err := s.visible(ctx, local, peer, raw)
	if err != nil {
		return page.Of[Shown]{}, err
	}
	return s.cfg.Store.Datasets(ctx, local.ID, allowed, r)
}

// Dataset answers a request for one dataset: hidden and unknown are the same NotFound.
func (s *Service) Dataset(ctx context.Context, local participant.Participant, peer participant.Peer, id string) (Shown, error) {
	allowed, err := s.visible(ctx, local, peer, nil)
	if err != nil {
		return Shown{}, err
	}
	entries, err := s.cfg.Store.Entries(ctx, local.ID, allowed, id, page.Request{Limit: page.MaxLimit})
	if err != nil {
		return Shown{}, err
	}
	if len(entries.Items) == 0 {
		return Shown{}, fault.New("catalog.Dataset", fault.NotFound, "there is no such dataset")
	}
	return Shown{Asset: entries.Items[0].Asset, Offers: entries.Items}, nil
}

// visible asks every distinct access policy and returns the digests of those that allow.
func (s *Service) visible(ctx context.Context, local participant.Participant, peer participant.Peer, raw []byte) ([]string, error) {
	const op = "catalog.visible"
	policies, err := s.cfg.Store.AccessPolicies(ctx, local.ID)
	if err != nil {
		return nil, err
	}
	claims, err := s.cfg.Evidence.Claims(ctx, local, peer)
	if err != nil {
		return nil, err
	}
	message := ""
	if raw != nil {
		sum := sha256.Sum256(raw)
		message = hex.EncodeToString(sum[:])
	}
	var allowed []string
	var e commit.Effects
	late := false
	for _, p := range policies {
		id, err := decisionlog.NewID(s.cfg.Rand)
		if err != nil {
			return nil, fault.Wrap(op, fault.Unavailable, err)
		}
		d, entry, err := s.cfg.Decider.Decide(ctx, policy.Question{ID: id, Log: local.Slug, Door: policy.DoorCatalog, Now: s.cfg.Now(), Action: "access",
			Profile: local.Profile, Own: policy.Party{DID: string(local.DID)}, Peer: claims, Role: "provider", Policies: []odrl.Policy{p.Policy},
			Process: policy.Process{MessageDigest: message}})
		if err != nil {
			return nil, fault.Wrap(op, fault.Unavailable, err)
		}
		e.Decisions = append(e.Decisions, entry)
		if d.Allowed() {
			allowed = append(allowed, p.Digest)
		}
		late = late || d.CutOff(ctx)
	}
	if len(e.Decisions) == 0 {
		return nil, nil
	}
	if err := s.cfg.Store.Record(context.WithoutCancel(ctx), local.ID, e); err != nil {
		return nil, err
	}
	if late { // part of a catalog would look like the whole
		return nil, fault.New(op, fault.Unavailable, "the decision took too long; try again")
	}
	return allowed, nil
}

// DigestOf is the digest under which content is kept.
func DigestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Publication is a set of assets to publish, all or nothing.
type Publication struct {
	Assets   []Asset
	Contents []Content
	Terms    *Terms // what they are offered under, besides the rules that match them anyhow; nil: nothing
	Upsert   bool   // replace assets that exist
	Actor    string
}

// Terms are a pair of policies with a name. What is published under them carries the name as a property, and one rule for each name offers
// what carries it: these assets and no others.
type Terms struct {
	Name     string
	Access   Draft
	Usage    Draft
	Approval bool // see Rule
}

// Draft is a policy that may not be stored yet.
type Draft struct {
	Name   string
	Policy odrl.Policy
}

// PropertyTerms is the property of an asset that names the terms it was published under.
const PropertyTerms = "terms"

// Publish stores assets with their contents, and offers them, in one transaction. What an asset lacks is a Malformed fault that names it.
func (s *Service) Publish(ctx context.Context, local participant.Participant, p Publication) error {
	err := s.publish(ctx, local, p)
	if p.Terms != nil && fault.Is(err, fault.Conflict) {
		return s.publish(ctx, local, p) // somebody published under these terms for the first time just now: the rule is there
	}
	return err
}

func (s *Service) publish(ctx context.Context, local participant.Participant, p Publication) error {
	now := s.cfg.Now()
	lot := Lot{Assets: slices.Clone(p.Assets), Contents: p.Contents, Upsert: p.Upsert}
	for i := range lot.Assets {
		a := &lot.Assets[i]
		a.Created, a.Updated, a.Participant = now, now, local.ID
		if p.Terms != nil {
			a.Properties = maps.Clone(a.Properties)
			if a.Properties == nil {
				a.Properties = map[string]string{}
			}
			a.Properties[PropertyTerms] = p.Terms.Name
		}
		if err := checkAsset(*a); err != nil {
			return err
		}
		if a.Address.BaseURL == "" {
			continue
		}
		if err := s.cfg.Sources.Check(local, a.Address); err != nil {
			return fault.New("catalog.Publish", fault.Malformed, "asset %s: %s", a.ID, err)
		}
	}
	e, err := s.offerTerms(ctx, local, p, &lot)
	if err != nil {
		return err
	}
	subject := subjectOf(lot.Assets)
	err = s.note(ctx, local, &e, "asset.published", decisionlog.Action{Code: "asset.put", Actor: p.Actor, Subject: subject, Now: now,
		Details: map[string]string{"digest": assetsDigest(lot.Assets)}})
	if err != nil {
		return err
	}
	return s.cfg.Store.PutAssets(ctx, local.ID, lot, e)
}

// offerTerms adds to the lot what is not there yet of the publication's terms: policies and rule.
func (s *Service) offerTerms(ctx context.Context, local participant.Participant, p Publication, lot *Lot) (e commit.Effects, err error) {
	if p.Terms == nil {
		return e, nil
	}
	now := s.cfg.Now()
	for _, d := range []struct {
		Draft
		access bool
	}{{p.Terms.Access, true}, {p.Terms.Usage, false}} {
		made, err := s.definition(local, d.Name, d.Policy, d.access)
		if err != nil {
			return e, err
		}
		lot.Policies = append(lot.Policies, made)
		_, err = s.cfg.Store.Definition(ctx, local.ID, made.Digest)
		if fault.Is(err, fault.NotFound) {
			err = s.note(ctx, local, &e, "policy.defined", decisionlog.Action{Code: "policy.put", Actor: p.Actor, Subject: made.Digest, Now: now})
		}
		if err != nil {
			return e, err
		}
	}
	rule := Rule{Participant: local.ID, ID: "terms:" + p.Terms.Name, Selector: Selector{Properties: map[string]string{PropertyTerms: p.Terms.Name}},
		Access: lot.Policies[0].Digest, Usage: lot.Policies[1].Digest, Approval: p.Terms.Approval, Created: now}
	old, err := s.cfg.Store.Rule(ctx, local.ID, rule.ID)
	switch {
	case err == nil && old.Access == rule.Access && old.Usage == rule.Usage && old.Approval == rule.Approval && reflect.DeepEqual(old.Selector, rule.Selector):
		return e, nil
	case err == nil:
		rule.Version = old.Version
	case !fault.Is(err, fault.NotFound):
		return e, err
	}
	lot.Rules = []Rule{rule}
	return e, s.noteRule(ctx, local, &e, rule, p.Actor)
}

// note adds an operator's action to what will be committed: its record and its event.
func (s *Service) note(ctx context.Context, local participant.Participant, e *commit.Effects, event string, a decisionlog.Action) error {
	a.Log = local.Slug
	entry, err := s.cfg.Decider.Record(ctx, a)
	if err != nil {
		return fault.Wrap("catalog.note", fault.Unavailable, err)
	}
	e.Decisions = append(e.Decisions, entry)
	e.Events = append(e.Events, commit.Event{Type: event, Subject: a.Subject, Time: a.Now, Actor: a.Actor})
	return nil
}

func (s *Service) noteRule(ctx context.Context, local participant.Participant, e *commit.Effects, r Rule, actor string) error {
	return s.note(ctx, local, e, "rule.put", decisionlog.Action{Code: "rule.put", Actor: actor, Subject: r.ID, Now: s.cfg.Now(),
		Details: map[string]string{"access": r.Access, "usage": r.Usage}})
}

// Withdraw deletes an asset and its offers; version is the one that is to go. Agreements about it stay.
func (s *Service) Withdraw(ctx context.Context, local participant.Participant, id string, version int64, actor string) error {
	var e commit.Effects
	if err := s.note(ctx, local, &e, "asset.deleted", decisionlog.Action{Code: "asset.delete", Actor: actor, Subject: id, Now: s.cfg.Now()}); err != nil {
		return err
	}
	return s.cfg.Store.DeleteAsset(ctx, local.ID, id, version, e)
}

// WithdrawRule deletes a rule and its offers; version is the one that is to go. Agreements stay.
func (s *Service) WithdrawRule(ctx context.Context, local participant.Participant, id string, version int64, actor string) error {
	var e commit.Effects
	if err := s.note(ctx, local, &e, "rule.deleted", decisionlog.Action{Code: "rule.delete", Actor: actor, Subject: id, Now: s.cfg.Now()}); err != nil {
		return err
	}
	return s.cfg.Store.DeleteRule(ctx, local.ID, id, version, e)
}

func subjectOf(assets []Asset) string {
	if len(assets) == 1 {
		return assets[0].ID
	}
	return ""
}

func assetsDigest(assets []Asset) string {
	h := sha256.New()
	for _, a := range assets {
		_, _ = io.WriteString(h, a.ID+"\x00"+a.Address.Content+"\x00"+a.Address.BaseURL+"\x00")
	}
	return hex.EncodeToString(h.Sum(nil))
}

func checkAsset(a Asset) error {
	const op = "catalog.Publish"
	switch {
	case a.ID == "" || len(a.ID) > 512 || strings.ContainsFunc(a.ID, func(r rune) bool { return r <= 0x20 || r == 0x7f }):
		return fault.New(op, fault.Malformed, "asset id: want 1 to 512 bytes without spaces, have %d bytes", len(a.ID))
	case (a.Address.BaseURL == "") == (a.Address.Content == ""):
		return fault.New(op, fault.Malformed, "asset %s: want either an upstream address or stored content", a.ID)
	case a.Address.BaseURL != "" && !strings.HasPrefix(a.Address.BaseURL, "http://") && !strings.HasPrefix(a.Address.BaseURL, "https://"):
		return fault.New(op, fault.Malformed, "asset %s: the upstream address must be an http or https URL", a.ID)
	case a.Type == "":
		return fault.New(op, fault.Malformed, "asset %s: want the type of the dataset (dct:type), an IRI", a.ID)
	}
	return nil
}

// Define stores a policy. A policy with a term that cannot be enforced here is refused, with every fault in it.
func (s *Service) Define(ctx context.Context, local participant.Participant, name string, p odrl.Policy, access bool, actor string) (Definition, error) {
	d, err := s.definition(local, name, p, access)
	if err != nil {
		return Definition{}, err
	}
	var e commit.Effects
	if err := s.note(ctx, local, &e, "policy.defined", decisionlog.Action{Code: "policy.put", Actor: actor, Subject: d.Digest, Now: d.Created}); err != nil {
		return Definition{}, err
	}
	return d, s.cfg.Store.PutDefinition(ctx, d, e)
}

func (s *Service) definition(local participant.Participant, name string, p odrl.Policy, access bool) (Definition, error) {
	p.ID = ""
	if faults := s.cfg.Profile(local).Validate(p, access); len(faults) > 0 {
		e := &fault.Error{Op: "catalog.Define", Kind: fault.Malformed, Code: "policy.unknown", Reason: "the policy has terms that cannot be enforced here"}
		for _, f := range faults {
			e.Reasons = append(e.Reasons, f.Error())
		}
		return Definition{}, e
	}
	return Definition{Participant: local.ID, Digest: odrl.Digest(p), Name: name, Access: access, Policy: p, Profile: local.Profile, Created: s.cfg.Now()}, nil
}

// Offer stores a rule: the assets it selects are offered under its policies at once. A rule that is replaced keeps its Created.
func (s *Service) Offer(ctx context.Context, local participant.Participant, r Rule, actor string) (Rule, error) {
	const op = "catalog.Offer"
	r.Participant, r.Created = local.ID, s.cfg.Now()
	if r.ID == "" {
		id, err := uuid.NewRandomFromReader(s.cfg.Rand)
		if err != nil {
			return r, fault.Wrap(op, fault.Unavailable, err)
		}
		r.ID = id.URN()
	}
	if err := s.checkPolicies(ctx, local, r); err != nil {
		return r, err
	}
	var e commit.Effects
	if err := s.noteRule(ctx, local, &e, r, actor); err != nil {
		return r, err
	}
	if err := s.cfg.Store.PutRule(ctx, r, e); err != nil {
		return r, err
	}
	return s.cfg.Store.Rule(ctx, local.ID, r.ID)
}

// checkPolicies says whether the rule names an access policy and a usage policy that exist.
func (s *Service) checkPolicies(ctx context.Context, local participant.Participant, r Rule) error {
	const op = "catalog.Offer"
	for _, want := range []struct {
		digest, kind string
		access       bool
	}{{r.Access, "access", true}, {r.Usage, "usage", false}} {
		d, err := s.cfg.Store.Definition(ctx, local.ID, want.digest)
		switch {
		case fault.Is(err, fault.NotFound):
			return fault.New(op, fault.Malformed, "%s policy: there is no policy %q", want.kind, want.digest)
		case err != nil:
			return err
		case d.Access != want.access:
			return fault.New(op, fault.Malformed, "%s policy: policy %s is not of that kind", want.kind, want.digest)
		}
	}
	return nil
}
