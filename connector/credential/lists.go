package credential

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

const (
	maxList    = 2 << 20  // of a list credential's token: the largest list that does not shrink fits
	maxHeld    = 64 << 20 // of the bits of all lists that are remembered
	maxRecords = 10000    // lists that anything is remembered of
	maxWatched = 10000    // pairs, before those whose credentials have come to their end are forgotten
	maxFetches = 16       // at once

	listAccept  = "application/vc+jwt, application/jwt, application/vc+ld+json;q=0.1, application/json;q=0.1"
	listLife    = 5 * time.Minute  // for which a list is fresh when nothing else is said
	maxListLife = 15 * time.Minute // for which it is fresh at most
	minListLife = time.Second      // for which it is fresh at least: one exchange takes several looks
	listFailure = 10 * time.Second // for which a list that could not be had is not asked for again

	listPatience = 10 * time.Second // with one fetch, and the look at the key behind it
)

// ListsConfig carries what Lists is made of. All fields are required but where the comment says otherwise.
type ListsConfig struct {
	Fetch  Fetch
	Tokens *identity.Verifier
	Trust  Trust
	Calls  *Calls
	// MinEntries is the least size of a list, asked anew each time; nil: statuslist.MinEntries.
	MinEntries func() int
	// Life is for how long a list is fresh when who serves it says nothing; 0 is five minutes. It never exceeds 15 minutes.
	Life time.Duration
	// Grace is for how long past that a list is relied upon when it cannot be fetched anew, each time with a warning; nil: not at all. A list
	// that was fetched and is not in order gets none, and nor does one whose own end has come.
	Grace func() time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Lists fetches status lists, remembers them no longer than they allow, and knows who depends on which entry: when a version is seen
// in which such an entry is set, it says so at once. It is safe for concurrent use.
type Lists struct {
	cfg    ListsConfig
	places chan struct{} // one is taken by each fetch

	mu      sync.Mutex
	records map[string]*record // by URL
	watched map[string]*dependent
	relief  int           // watched at which to look for those whose credentials have come to their end
	held    int           // bytes of the versions in records
	moved   chan struct{} // holds one when the lists that something depends on may be others

	hooks    sync.RWMutex
	revoked  []func(local, peer participant.DID, reason string)
	changed  func()
	forgoing func(p pair)
}

// pair is a hosted participant and a peer that has shown it credentials.
type pair struct{ own, peer participant.DID }

func (p pair) text() string { return string(p.own) + " " + string(p.peer) }

// dependent is something that rests on credentials of a peer: what is cached of a pair, under its text, or a process, under its id.
type dependent struct {
	pair   pair
	places []place
}

// record is what is known of the list at one URL.
type record struct {
	turn chan struct{} // taken by who fetches

	// The rest under Lists.mu.
	users   int   // who fetch or wait for it
	begun   int64 // fetches begun
	settled int64 // the last of them that came to something
	version *version
	failure error // of the last fetch, nil when it went well
	failed  time.Time
	watch   map[string][]place // by dependent
	hope    time.Time          // until when somebody who was refused by the version at hand may be given back what it lost
}

// version is a list as it was seen last.
type version struct {
	issuer   participant.DID
	kind     statuslist.Kind
	purposes []string
	bits     statuslist.Bits
	issued   time.Time
	end      time.Time     // zero: none
	fresh    time.Time     // until when it need not be looked at again
	ttl      time.Duration // as the list itself says; 0: nothing
	tag      string        // under which its server knows it; "": under none
}

// place is where the status of one credential is found.
type place struct {
	entry  statuslist.Entry
	issuer participant.DID // of the credential
	until  time.Time       // end of the credential
}

// NewLists returns Lists.
func NewLists(cfg ListsConfig) *Lists {
	if cfg.MinEntries == nil {
		cfg.MinEntries = func() int { return statuslist.MinEntries }
	}
	if cfg.Grace == nil {
		cfg.Grace = func() time.Duration { return 0 }
	}
	if cfg.Life == 0 {
		cfg.Life = listLife
	}
	return &Lists{cfg: cfg, places: make(chan struct{}, maxFetches), records: map[string]*record{}, watched: map[string]*dependent{}, relief: maxWatched,
		moved: make(chan struct{}, 1)}
}

// OnRevoked adds a hook: it is called once for each hosted participant and peer whose credential is seen to be revoked or suspended, as soon
// as it is seen, whoever caused the look, and after what was cached of them was dropped. reason is a step's code (credential.status.revoked).
// It is called on the goroutine that looked, under no lock; it must return soon.
func (l *Lists) OnRevoked(hook func(local, peer participant.DID, reason string)) {
	l.hooks.Lock()
	defer l.hooks.Unlock()
	l.revoked = append(l.revoked, hook)
}

// Refresh fetches a list that something depends on, whatever is remembered of it, and tells OnRevoked who lost what. It is for who learned
// that a list has changed: the fetch begins after the call, and callers share it. A list that nothing is known of is left alone, so that
// nobody can make us fetch what we never wanted; then, too, it returns nil. When it fails, the list counts as no longer fresh.
func (l *Lists) Refresh(ctx context.Context, url string) error {
	l.mu.Lock()
	r, ok := l.records[url]
	var issuers []participant.DID
	if ok {
		for _, places := range r.watch {
			for _, p := range places {
				issuers = append(issuers, p.issuer)
			}
		}
		if r.version != nil {
			issuers = append(issuers, r.version.issuer)
		}
	}
	if len(issuers) == 0 {
		l.mu.Unlock()
		return nil
	}
	r.users++
	wanted := r.begun + 1
	l.mu.Unlock()
	defer l.leave(r)
	return l.fetch(ctx, url, r, issuers, func() bool { return r.settled >= wanted })
}

// Known lists the URLs of the lists that something living depends on.
func (l *Lists) Known() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for url, r := range l.records {
		if l.living(r) {
			out = append(out, url)
		}
	}
	return out
}

// hope lets a list be watched for as long as it would be relied upon, although nothing depends on it: a place in it is set, and what was suspended may
// be reinstated.
func (l *Lists) hope(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.records[p.entry.List]; ok {
		l.hoped(r)
	}
}

// hoped is hope of a record; the caller holds mu.
func (l *Lists) hoped(r *record) {
	if !l.living(r) {
		l.move()
	}
	r.hope = l.cfg.Now().Add(min(l.cfg.Life, maxListLife))
}

// living reports whether something that has not come to its end depends on the record; the caller holds mu.
func (l *Lists) living(r *record) bool {
	now := l.cfg.Now()
	if now.Before(r.hope) {
		return true
	}
	for _, places := range r.watch {
		if slices.ContainsFunc(places, func(at place) bool { return now.Before(at.until) }) {
			return true
		}
	}
	return false
}

// fresh reports whether the lists of all places need not be looked at again yet.
func (l *Lists) fresh(places []place) bool {
	if len(places) == 0 {
		return true
	}
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(places, func(p place) bool {
		r, ok := l.records[p.entry.List]
		return !ok || r.version == nil || !now.Before(r.version.fresh)
	})
}

// check judges the places by lists that may be relied upon now, and returns when the first of them comes to its own end (zero: none does).
func (l *Lists) check(ctx context.Context, places []place) (end time.Time, err error) {
	for _, p := range places {
		v, err := l.get(ctx, p)
		if err != nil {
			return end, err
		}
		if code, err := l.judge(v, p); code != "" {
			l.hope(p)
			return end, &Refusal{Code: code, Err: err}
		}
		end = sooner(end, v.end)
	}
	return end, nil
}

// sooner is the earlier of two times of which a zero one says nothing.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// judge asks one version about one place; the code is "" when the credential stands.
func (l *Lists) judge(v version, p place) (code string, err error) {
	if v.issuer != p.issuer && !l.cfg.Trust.Delegates(p.issuer, v.issuer) {
		return codeStatusIssuer, fmt.Errorf("the list is of %s, the credential of %s", v.issuer, p.issuer)
	}
	if v.kind != p.entry.Kind {
		return codeStatusSyntax, fmt.Errorf("the list is a %s, the credential wants a %s", v.kind, p.entry.Kind)
	}
	if !slices.Contains(v.purposes, p.entry.Purpose) {
		return codeStatusPurpose, fmt.Errorf("want %q, have %q", p.entry.Purpose, v.purposes)
	}
	if n, least := v.bits.Len()/max(p.entry.Size, 1), l.cfg.MinEntries(); n < least {
		return codeStatusSize, fmt.Errorf("%d entries, want at least %d", n, least)
	}
	set, err := p.entry.Set(v.bits)
	switch {
	case err != nil:
		return codeStatusRange, fmt.Errorf("index %d of %d: %w", p.entry.Index, v.bits.Len(), err)
	case !set:
		return "", nil
	case p.entry.Purpose == statuslist.Revocation:
		return codeRevoked, nil
	case p.entry.Purpose == statuslist.Suspension:
		return codeSuspended, nil
	}
	return codeStatusSet, fmt.Errorf("purpose %q", p.entry.Purpose)
}

// get returns the list of a place, fresh or, where it cannot be had, in its grace.
func (l *Lists) get(ctx context.Context, p place) (version, error) {
	url := p.entry.List
	l.mu.Lock()
	r := l.record(url)
	// settled: there is an answer already, good or bad.
	settled := func() bool {
		now := l.cfg.Now()
		return r.version != nil && now.Before(r.version.fresh) || r.failure != nil && now.Before(r.failed.Add(listFailure))
	}
	if settled() {
		defer l.mu.Unlock()
		return l.usable(ctx, url, r)
	}
	r.users++
	l.mu.Unlock()
	defer l.leave(r)
	err := l.fetch(ctx, url, r, []participant.DID{p.issuer}, settled)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && err != r.failure { // it says nothing of the list
		return version{}, err
	}
	return l.usable(ctx, url, r)
}

// record returns the record of the list, which it makes when there is none; the caller holds mu.
func (l *Lists) record(url string) *record {
	r, ok := l.records[url]
	if !ok {
		if len(l.records) >= maxRecords {
			l.room()
		}
		r = &record{turn: make(chan struct{}, 1), watch: map[string][]place{}}
		l.records[url] = r
	}
	return r
}

// usable is the version that may be relied upon now; the caller holds mu.
func (l *Lists) usable(ctx context.Context, url string, r *record) (version, error) {
	now, v := l.cfg.Now(), r.version
	if v != nil && !v.end.IsZero() && !now.Before(v.end) {
		v = nil
	}
	switch {
	case v != nil && now.Before(v.fresh):
		return *v, nil
	case v != nil && CodeOf(r.failure) == codeStatusFetch && now.Before(v.fresh.Add(l.cfg.Grace())):
		l.cfg.Log.WarnContext(ctx, "a status list is relied upon in its grace", slog.String("list", url), slog.Time("fresh_until", v.fresh),
			slog.Time("grace_until", v.fresh.Add(l.cfg.Grace())), slog.Any("error", r.failure))
		return *v, nil
	case r.failure != nil:
		return version{}, r.failure
	}
	return version{}, refuse(codeStatusFetch, "%s: it is no longer fresh", url)
}

func (l *Lists) leave(r *record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.users--
}

// fetch gets the list at the URL, one caller at a time; who waited and finds that it is settled meanwhile, under mu, returns what came of it.
// issuers are those of credentials that depend on the list. What was begun is brought to its end whatever becomes of the caller: it serves everybody
// who waits, and that a server takes too long is to be known.
func (l *Lists) fetch(ctx context.Context, url string, r *record, issuers []participant.DID, settled func() bool) error {
	for _, turns := range []chan struct{}{r.turn, l.places} {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		case <-ctx.Done():
			return refuse(codeStatusFetch, "%w", context.Cause(ctx))
		}
	}
	l.mu.Lock()
	if settled() {
		defer l.mu.Unlock()
		return r.failure
	}
	r.begun++
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listPatience)
	defer cancel()
	v, err := l.load(ctx, url, issuers)
	// The caller has no calls left, or came with a credential of somebody whose list this is not: nobody else is to suffer from that.
	if err != nil && (CodeOf(err) == codeBudget || CodeOf(err) == codeStatusIssuer) {
		return err
	}
	return l.keep(ctx, url, r, v, err)
}

// load fetches and verifies one list. Its issuer must be one that the credentials' issuers vouch for before anything is asked of it.
func (l *Lists) load(ctx context.Context, url string, issuers []participant.DID) (version, error) {
	if strings.Contains(url, "#") {
		return version{}, refuse(codeStatusEntry, "the list's address has a fragment")
	}
	if err := l.cfg.Calls.spend(ctx, CallList); err != nil {
		return version{}, err
	}
	got, err := l.cfg.Fetch(ctx, url, listAccept, maxList)
	if err != nil {
		return version{}, refuse(codeStatusFetch, "%s: %w", url, err)
	}
	return l.read(ctx, url, issuers, got)
}

// read verifies what came from the URL.
func (l *Lists) read(ctx context.Context, url string, issuers []participant.DID, got Fetched) (version, error) {
	var v version
	token := strings.TrimSpace(string(got.Body))
	c, err := parse(token, maxList)
	if err == nil {
		err = c.formal(false)
	}
	if err != nil {
		return v, refuse(codeStatusSyntax, "%w", err)
	}
	vouched := false
	for _, issuer := range issuers {
		vouched = vouched || issuer == c.issuer || l.cfg.Trust.Delegates(issuer, c.issuer)
	}
	switch {
	case !c.kid():
		return v, refuse(codeStatusKid, "%q is not of %s", c.header.KeyID, c.issuer)
	case !vouched:
		return v, refuse(codeStatusIssuer, "the list is of %s, the credential of %s", c.issuer, issuers[0])
	case c.members.ID != "" && c.members.ID != url:
		return v, refuse(codeStatusID, "%s says it is %s", url, c.members.ID)
	}
	if err := l.cfg.Tokens.Signature(ctx, c.issuer, c.header.KeyID, token, identity.AssertionMethod); err != nil {
		return v, unsigned(codeStatusSigned, codeStatusFetch, err)
	}
	if v, err = subjectOf(c); err != nil {
		return v, err
	}
	now, leeway := l.cfg.Now(), leewayOf(l.cfg.Trust)
	v.tag = got.Tag
	if now.Add(leeway).Before(v.issued) || !v.end.IsZero() && !now.Before(v.end) {
		return v, refuse(codeStatusValidity, "valid from %s to %s", v.issued, v.end)
	}
	v.fresh = l.until(v, got.MaxAge)
	return v, nil
}

// until is when a version that is right now need be looked at again, whose server said how long it may be kept.
func (l *Lists) until(v version, maxAge time.Duration) time.Time {
	life := min(l.cfg.Life, maxListLife)
	if maxAge >= 0 {
		life = min(life, maxAge)
	}
	if v.ttl > 0 {
		life = min(life, v.ttl)
	}
	return sooner(l.cfg.Now().Add(max(life, minListLife)), v.end)
}

// subjectOf reads what a list credential says.
func subjectOf(c read) (version, error) {
	v := version{issuer: c.issuer, issued: c.notBefore, end: c.notAfter}
	for _, kind := range []statuslist.Kind{statuslist.Bitstring, statuslist.List2021} {
		if slices.Contains(c.types, kind.CredentialType()) {
			v.kind = kind
		}
	}
	if v.kind == "" || len(c.subjects) != 1 {
		return v, refuse(codeStatusSyntax, "want a status list credential of one subject, have %q", c.types)
	}
	if v.kind == statuslist.List2021 && c.profile != Profile11 {
		return v, refuse(codeStatusSyntax, "a %s in a credential of version 2.0", v.kind)
	}
	s, err := statuslist.ParseSubject(v.kind, c.subjects[0])
	if err != nil {
		return v, refuse(codeStatusSyntax, "%w", err)
	}
	v.purposes, v.bits, v.ttl = s.Purposes, s.Bits, s.TTL
	return v, nil
}

// loss is a pair that loses what it has proven, and why.
type loss struct {
	pair   pair
	reason string
}

// keep remembers what a fetch came to, and tells who lost what by it.
func (l *Lists) keep(ctx context.Context, url string, r *record, v version, failure error) error {
	now := l.cfg.Now()
	l.mu.Lock()
	if failure == nil {
		failure = r.older(url, v)
	}
	r.failure, r.failed, r.settled = failure, now, r.begun
	if failure != nil {
		if r.version != nil && now.Before(r.version.fresh) {
			r.version.fresh = now // who asked for another look had a reason
		}
		l.mu.Unlock()
		l.cfg.Log.WarnContext(ctx, "status list not had", slog.String("list", url), slog.Any("error", failure))
		return failure
	}
	differs := r.version != nil && string(r.version.bits.Bytes()) != string(v.bits.Bytes())
	l.weigh(r, &v)
	var lost []loss
	for name, places := range r.watch {
		for _, at := range places {
			if code, _ := l.judge(v, at); code != "" {
				p := l.watched[name].pair
				if !slices.ContainsFunc(lost, func(it loss) bool { return it.pair == p }) {
					lost = append(lost, loss{p, code})
				}
				l.hoped(r)
				l.unwatch(name)
				break
			}
		}
	}
	l.mu.Unlock()
	if differs {
		l.cfg.Log.InfoContext(ctx, "status list changed", slog.String("list", url), slog.Time("issued", v.issued))
	}
	l.tell(ctx, url, lost, differs)
	return nil
}

func (l *Lists) tell(ctx context.Context, url string, lost []loss, differs bool) {
	l.hooks.RLock()
	revoked, changed, forgo := l.revoked, l.changed, l.forgoing
	l.hooks.RUnlock()
	if differs && changed != nil {
		changed()
	}
	for _, it := range lost {
		if forgo != nil {
			forgo(it.pair)
		}
		l.cfg.Log.WarnContext(ctx, "a credential that was relied upon is no longer valid", slog.String("participant", string(it.pair.own)),
			slog.String("peer", string(it.pair.peer)), slog.String("list", url), slog.String("reason", it.reason))
		for _, hook := range revoked {
			hook(it.pair.own, it.pair.peer, it.reason)
		}
	}
}

// weigh puts a version into its record and makes room for its bits; the caller holds mu.
func (l *Lists) weigh(r *record, v *version) {
	if r.version != nil {
		l.held -= len(r.version.bits.Bytes())
	}
	r.version = v
	l.held += len(v.bits.Bytes())
	for url, other := range l.records {
		if l.held <= maxHeld {
			return
		}
		if other != r && other.version != nil {
			l.held -= len(other.version.bits.Bytes())
			other.version = nil
			if len(other.watch) == 0 && other.users == 0 {
				delete(l.records, url)
			}
		}
	}
}

// room drops records that nobody depends on; the caller holds mu.
func (l *Lists) room() {
	for url, r := range l.records {
		if len(r.watch) > 0 || r.users > 0 {
			continue
		}
		if r.version != nil {
			l.held -= len(r.version.bits.Bytes())
		}
		delete(l.records, url)
		if len(l.records) < maxRecords {
			return
		}
	}
}

// older refuses a version that was issued before the one at hand; the caller holds Lists.mu.
func (r *record) older(url string, v version) error {
	if old := r.version; old != nil && old.issuer == v.issuer && v.issued.Before(old.issued) {
		return refuse(codeStatusOld, "%s of %s, after one of %s", url, v.issued, old.issued)
	}
	return nil
}

// watch makes what has the name depend on the places, and on nothing that it depended on before. It returns the code of the first place that is lost
// in the version at hand: one that was seen since the places were checked must not be missed.
func (l *Lists) watch(name string, p pair, places []place) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range places {
		if r, ok := l.records[at.entry.List]; ok && r.version != nil {
			if code, _ := l.judge(*r.version, at); code != "" {
				l.unwatch(name)
				return code
			}
		}
	}
	if before := l.watched[name]; before != nil && slices.Equal(before.places, places) {
		return ""
	}
	l.unwatch(name)
	if len(places) == 0 {
		return ""
	}
	if len(l.watched) >= l.relief {
		l.relieve()
		l.relief = max(maxWatched, 2*len(l.watched))
	}
	l.watched[name] = &dependent{p, places}
	for _, at := range places {
		r := l.record(at.entry.List)
		if !l.living(r) {
			l.move()
		}
		r.watch[name] = append(r.watch[name], at)
	}
	return ""
}

// unwatch ends what has the name depends on; the caller holds mu.
func (l *Lists) unwatch(name string) {
	d, ok := l.watched[name]
	if !ok {
		return
	}
	for _, at := range d.places {
		if r, ok := l.records[at.entry.List]; ok {
			delete(r.watch, name)
			if !l.living(r) {
				l.move()
			}
		}
	}
	delete(l.watched, name)
}

// move tells that the lists that something depends on may be others.
func (l *Lists) move() {
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// relieve forgets those whose credentials have come to their end, which nobody revokes any more; the caller holds mu.
func (l *Lists) relieve() {
	now := l.cfg.Now()
	for name, d := range l.watched {
		if !slices.ContainsFunc(d.places, func(at place) bool { return now.Before(at.until) }) {
			l.unwatch(name)
		}
	}
}
