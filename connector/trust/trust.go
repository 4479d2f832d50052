package trust

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Bounds of what terms may say.
const (
	maxIssuers = 1000
	maxGrace   = time.Minute // that a status list may be relied on past its freshness
	minEntries = 8
	maxEntries = 8 << 20 // of 1 MiB
)

// Issuer is somebody who is believed.
type Issuer struct {
	DID         participant.DID   `json:"did"`
	Credentials []string          `json:"credentials"` // types that it may issue, each whole
	Status      []participant.DID `json:"status"`      // who may publish its status lists besides itself
}

// Terms is what is believed in one ecosystem.
type Terms struct {
	Issuers  []Issuer      `json:"issuers"`
	Scopes   []string      `json:"scopes"`   // that every caller is asked for
	Profiles []string      `json:"profiles"` // forms of credentials that are accepted: credential.Profiles
	Leeway   time.Duration `json:"leeway"`   // how far a peer's clock may differ
	Entries  int           `json:"entries"`  // least size of a status list
	Grace    time.Duration `json:"grace"`    // for which a status list that cannot be had anew is relied on
}

// Normal returns the terms in the one way to write them: sorted, without repetitions, an issuer once. The error names everything that is wrong.
func (t Terms) Normal() (Terms, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	merged := map[participant.DID]*Issuer{}
	for _, i := range t.Issuers {
		if _, _, err := identity.ParseDID(string(i.DID)); err != nil {
			fault("issuer %q: %w", i.DID, err)
			continue
		}
		if len(i.Credentials) == 0 || slices.ContainsFunc(i.Credentials, func(kind string) bool { return !plain(kind) || kind == "VerifiableCredential" }) {
			fault("issuer %s: want the types of credential that it may issue, each as credentials name it, not %q", i.DID, strings.Join(i.Credentials, ", "))
		}
		for _, lister := range i.Status {
			if _, _, err := identity.ParseDID(string(lister)); err != nil {
				fault("issuer %s: status %q: %w", i.DID, lister, err)
			}
		}
		if merged[i.DID] == nil {
			merged[i.DID] = &Issuer{DID: i.DID}
		}
		merged[i.DID].Credentials = append(merged[i.DID].Credentials, i.Credentials...)
		merged[i.DID].Status = append(merged[i.DID].Status, i.Status...)
	}
	if len(merged) > maxIssuers {
		fault("%d issuers: at most %d", len(merged), maxIssuers)
	}
	out := Terms{Issuers: []Issuer{}, Scopes: set(t.Scopes), Profiles: set(t.Profiles), Leeway: t.Leeway, Entries: t.Entries, Grace: t.Grace}
	for _, did := range slices.Sorted(maps.Keys(merged)) {
		i := merged[did]
		out.Issuers = append(out.Issuers, Issuer{DID: did, Credentials: set(i.Credentials), Status: set(i.Status)})
	}
	if len(t.Scopes) > 20 || slices.ContainsFunc(t.Scopes, func(s string) bool { return !strings.Contains(s, ":") || len(s) > 512 }) {
		fault("scopes: want at most 20, each like alias:Type:read")
	}
	if len(t.Profiles) == 0 || slices.ContainsFunc(t.Profiles, func(p string) bool { return !slices.Contains(credential.Profiles(), p) }) {
		fault("profiles of credentials: %q: want some of %s", strings.Join(t.Profiles, ", "), strings.Join(credential.Profiles(), ", "))
	}
	if t.Leeway < 0 || t.Leeway > identity.Leeway {
		fault("leeway: %s: want 0s to %s", t.Leeway, identity.Leeway)
	}
	if t.Entries < minEntries || t.Entries > maxEntries {
		fault("least size of a status list: %d: want %d to %d entries", t.Entries, minEntries, maxEntries)
	}
	if t.Grace < 0 || t.Grace > maxGrace {
		fault("grace of a status list: %s: want 0s to %s", t.Grace, maxGrace)
	}
	return out, errors.Join(faults...)
}

func plain(kind string) bool {
	return kind != "" && len(kind) <= 256 && !strings.ContainsFunc(kind, func(r rune) bool { return r <= 0x20 || r == 0x7f })
}

// set sorts and leaves out what is there twice; it is never nil.
func set[S ~string](list []S) []S {
	out := slices.Clone(list)
	slices.Sort(out)
	return append([]S{}, slices.Compact(out)...)
}

// Document is the canonical form of normal terms, which their digest is taken of.
func (t Terms) Document() ([]byte, error) { return ijson.Marshal(t) }

// Digest names normal terms.
func (t Terms) Digest() (string, error) {
	doc, err := t.Document()
	return ijson.Digest("trust", doc), err
}

// lines tells the terms one thing a line: what is compared, shown and put on record.
func (t Terms) lines() []string {
	out := []string{"leeway " + t.Leeway.String(), "status lists of at least " + strconv.Itoa(t.Entries) + " entries", "status lists in grace for " + t.Grace.String()}
	for _, i := range t.Issuers {
		for _, kind := range i.Credentials {
			out = append(out, string(i.DID)+" issues "+kind)
		}
		for _, lister := range i.Status {
			out = append(out, string(lister)+" publishes the status of "+string(i.DID))
		}
	}
	for _, s := range t.Scopes {
		out = append(out, "asks for "+s)
	}
	for _, p := range t.Profiles {
		out = append(out, "accepts "+p)
	}
	slices.Sort(out)
	return out
}

// shrinks reports whether something that was believed before may not be now.
func (t Terms) shrinks(next Terms) bool {
	if next.Leeway < t.Leeway || next.Grace < t.Grace || next.Entries > t.Entries || !subset(t.Profiles, next.Profiles) {
		return true
	}
	for _, i := range t.Issuers {
		at := slices.IndexFunc(next.Issuers, func(n Issuer) bool { return n.DID == i.DID })
		if at < 0 || !subset(i.Credentials, next.Issuers[at].Credentials) || !subset(i.Status, next.Issuers[at].Status) {
			return true
		}
	}
	return false
}

func subset[S ~string](all, of []S) bool {
	return !slices.ContainsFunc(all, func(s S) bool { return !slices.Contains(of, s) })
}

// Change is what becomes different in one profile.
type Change struct {
	Profile        string
	Before, After  string // digests; Before is "" for a profile that was not there
	Added, Removed []string
	Shrinks        bool // what was verified before must be verified again
	Terms          Terms
}

// Compare tells what becomes different from one set of normal terms to the next. Both may be the zero value: nothing was believed.
func Compare(profile string, before, after Terms) (Change, error) {
	c := Change{Profile: profile, Terms: after, Shrinks: before.shrinks(after)}
	var old []string
	var err error
	if before.Entries != 0 { // there were some
		if c.Before, err = before.Digest(); err != nil {
			return c, err
		}
		old = before.lines()
	}
	if c.After, err = after.Digest(); err != nil {
		return c, err
	}
	now := after.lines()
	for _, line := range now {
		if !slices.Contains(old, line) {
			c.Added = append(c.Added, line)
		}
	}
	for _, line := range old {
		if !slices.Contains(now, line) {
			c.Removed = append(c.Removed, line)
		}
	}
	return c, nil
}

// Plan is a book's next content, and what is different in it.
type Plan struct {
	Changes []Change // of those profiles that do change, by name
	next    map[string]Terms
}

// Book holds the terms of every profile of a process and changes them all at once. It is safe for concurrent use.
type Book struct {
	terms atomic.Pointer[map[string]Terms]
}

// NewBook returns a Book of the profiles.
func NewBook(profiles map[string]Terms) (*Book, error) {
	b := &Book{}
	b.terms.Store(&map[string]Terms{})
	p, err := b.Plan(profiles)
	if err != nil {
		return nil, err
	}
	b.Adopt(p)
	return b, nil
}

// Plan checks what is to be believed from now on and tells what that changes. Anything wrong in any profile refuses it whole.
func (b *Book) Plan(profiles map[string]Terms) (Plan, error) {
	plan := Plan{next: map[string]Terms{}}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		terms, err := profiles[name].Normal()
		if err != nil {
			faults = append(faults, fmt.Errorf("trust of %s: %w", name, err))
			continue
		}
		plan.next[name] = terms
		change, err := Compare(name, (*b.terms.Load())[name], terms)
		if err != nil {
			return Plan{}, err
		}
		if change.Before != change.After {
			plan.Changes = append(plan.Changes, change)
		}
	}
	for name := range *b.terms.Load() {
		if _, there := profiles[name]; !there {
			faults = append(faults, fmt.Errorf("trust of %s: the profile is gone: take it away while the connector does not run", name))
		}
	}
	if len(faults) > 0 {
		return Plan{}, errors.Join(faults...)
	}
	slices.SortFunc(plan.Changes, func(x, y Change) int { return cmp.Compare(x.Profile, y.Profile) })
	return plan, nil
}

// Adopt makes the plan what is believed: every question from now on is answered by it.
func (b *Book) Adopt(p Plan) { b.terms.Store(&p.next) }

// Terms returns those of a profile; those of one that is not there believe nobody.
func (b *Book) Terms(profile string) Terms { return (*b.terms.Load())[profile] }

// Of returns the view of one profile.
func (b *Book) Of(profile string) View { return View{b, profile} }

// View answers for one profile, always by what the book holds at the moment.
type View struct {
	book    *Book
	profile string
}

// Trusts reports whether the issuer may issue credentials of exactly this type.
func (v View) Trusts(issuer participant.DID, kind string) bool {
	i, ok := v.issuer(issuer)
	return ok && slices.Contains(i.Credentials, kind)
}

// Types lists the types that the issuer may issue.
func (v View) Types(issuer participant.DID) []string {
	i, _ := v.issuer(issuer)
	return slices.Clone(i.Credentials)
}

// Accepts reports whether credentials of this form are accepted.
func (v View) Accepts(profile string) bool {
	return slices.Contains(v.book.Terms(v.profile).Profiles, profile)
}

// Delegates reports whether the issuer lets another one publish the status lists of its credentials.
func (v View) Delegates(issuer, lister participant.DID) bool {
	i, ok := v.issuer(issuer)
	return ok && slices.Contains(i.Status, lister)
}

func (v View) issuer(did participant.DID) (Issuer, bool) {
	all := v.book.Terms(v.profile).Issuers
	at, ok := slices.BinarySearchFunc(all, did, func(i Issuer, did participant.DID) int { return cmp.Compare(i.DID, did) })
	if !ok {
		return Issuer{}, false
	}
	return all[at], true
}

// Leeway is how far a peer's clock may differ from ours.
func (v View) Leeway() time.Duration { return v.book.Terms(v.profile).Leeway }

// Entries is the least size of a status list.
func (v View) Entries() int { return v.book.Terms(v.profile).Entries }

// Grace is for how long a status list that cannot be had anew is relied on.
func (v View) Grace() time.Duration { return v.book.Terms(v.profile).Grace }

// Scopes is what every caller is asked for.
func (v View) Scopes() []string { return v.book.Terms(v.profile).Scopes }

// Recorded is the trust that stands in a participant's decision log: the next change is told from it, also when it was made while nothing ran.
type Recorded struct {
	Profile string
	Digest  string
	Terms   Terms
	Since   time.Time
}
