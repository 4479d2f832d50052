package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
)

const (
	// CacheLife is how long what a peer has proven is remembered at most.
	CacheLife = 5 * time.Minute

	maxCached      = 10000
	maxPresented   = 10
	maxCredentials = 50 // in all

	// patience is how long a peer's credential service may take, its DID document included; deadline is for the whole verification.
	patience = 10 * time.Second
	deadline = 15 * time.Second
	// maxCalls bounds the outbound calls of one verification. Those for the token that came before it are two at most, which makes 20.
	maxCalls = 18
	// failureLife is how long a failure is remembered: its service, or whoever it names as such, is not asked again meanwhile.
	failureLife = 10 * time.Second
)

// Querier asks a peer's credential service, once per access token.
type Querier interface {
	Query(ctx context.Context, local participant.Participant, peer participant.Peer, scopes []string) (presentations []string, err error)
}

// Claim is where a business partner number is proven.
type Claim struct{ Credential, Claim string }

// VerifierConfig carries what a Verifier is made of. All fields are required but where the comment says otherwise.
type VerifierConfig struct {
	Querier  Querier
	Tokens   *identity.Verifier // finds keys, checks signatures, remembers ids
	Trust    Trust
	Lists    *Lists // of one Verifier
	Schemas  *Schemas
	Calls    *Calls
	Scopes   func() []string // what every caller is asked for, read anew each time
	Aliases  Aliases         // that scopes are written with
	Required []string        // scopes of which every caller must show a credential, or be a stranger; may be empty: then policies judge what is missing
	BPN      []Claim
	Wallet   Wallet
	// Envelope opens presentations of version 2.0 that come in a second envelope, and then does without an audience and an end where neither
	// layer names one: they are believed because they were fetched from the caller's own credential service just now.
	Envelope bool
	// Informal are holders and issuers who may leave out what the data models want and nothing rests on: contexts, the type that every
	// credential has, and a subject of the token that is a DID. May be nil.
	Informal map[participant.DID]bool
	// Remember is how long what a peer has proven is remembered at most, 0 to CacheLife. 0: not at all, and nor is a failure; for a kit that
	// plays many parts under one name.
	Remember time.Duration
	// Refused is told of each peer that was refused although an issuer that is trusted had signed what it showed, once for each verification; nil:
	// nobody is. What strangers show is not told: they could fill any book.
	Refused func(ctx context.Context, local participant.Participant, peer participant.DID, code string)
	Now     func() time.Time
	Log     *slog.Logger
}

// Verifier establishes what peers have proven. It is safe for concurrent use.
type Verifier struct {
	cfg      VerifierConfig
	required []Scope
	group    singleflight.Group

	mu    sync.Mutex
	cache map[pair]cached
	era   int // grows when everything is forgotten: what was begun before is not remembered
}

// cached is what a peer has proven, to whoever signs with the same key: one that was replaced does not keep claims alive.
type cached struct {
	key     string
	proven  proven
	err     error // of the query, whoever signed
	expires time.Time
	era     int // in which it was begun
}

// proven is what a verification came to.
type proven struct {
	party  policy.Party
	places []place   // where the status of what it rests on is found
	end    time.Time // of the shortest life in it
}

// NewVerifier returns a Verifier.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	v := &Verifier{cfg: cfg, cache: map[pair]cached{}}
	for _, s := range cfg.Required {
		scope, err := cfg.Aliases.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		v.required = append(v.required, scope)
	}
	cfg.Lists.hooks.Lock()
	defer cfg.Lists.hooks.Unlock()
	cfg.Lists.forgoing, cfg.Lists.changed = v.drop, v.pardon
	return v, nil
}

// Claims returns what the peer has proven to the hosted participant: from the cache while everything in it is valid and nothing of it is known
// to be revoked, else by a query of its credential service, for which every token must carry an access token. A peer that shows nothing has
// proven nothing but its DID; unless a scope is required, what that means is up to the policy. A presentation with anything invalid in it is
// refused whole.
func (v *Verifier) Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error) {
	party, err := v.claims(ctx, local, peer)
	if err != nil {
		v.cfg.Log.WarnContext(ctx, "presentation refused", slog.String("participant", string(local.DID)), slog.String("peer", string(peer.DID)),
			slog.String("code", CodeOf(err)), slog.Any("error", err))
		// No Wrap: what was found at an address that the peer chose is for the operator alone (T-04).
		return policy.Party{}, &fault.Error{Op: "credential.Claims", Kind: fault.Unauthenticated, Reason: "the caller is not known", Err: err}
	}
	return party, nil
}

func (v *Verifier) claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error) {
	if peer.AccessToken == "" {
		return policy.Party{}, &Refusal{Code: codeAccess}
	}
	key := pair{local.DID, peer.DID}
	if c, ok := v.cached(key, peer.Key); ok && v.current(c) {
		return c.proven.party, c.err
	}
	result, err, _ := v.group.Do(string(key.own)+" "+string(key.peer)+" "+peer.Key, func() (any, error) {
		// What is asked serves everybody who waits: it hangs neither on one caller's token nor on its patience.
		ctx, cancel := context.WithTimeout(withBudget(commit.WithUsed(context.WithoutCancel(ctx), nil), maxCalls), deadline)
		defer cancel()
		if c, ok := v.cached(key, peer.Key); ok {
			return v.again(ctx, key, local, c)
		}
		return v.anew(ctx, key, local, peer)
	})
	if err != nil {
		return policy.Party{}, err
	}
	return result.(policy.Party), nil
}

// current reports whether there is nothing to look at again.
func (v *Verifier) current(c cached) bool {
	return c.err != nil || v.cfg.Lists.fresh(c.proven.places)
}

// again looks at the status of what is remembered, when its lists are no longer fresh. A list that cannot be had refuses the caller and leaves
// what it has proven: its access token is not spent on that.
func (v *Verifier) again(ctx context.Context, key pair, local participant.Participant, c cached) (policy.Party, error) {
	if v.current(c) {
		return c.proven.party, c.err
	}
	end, err := v.cfg.Lists.check(ctx, c.proven.places)
	if err != nil {
		switch CodeOf(err) {
		case codeStatusFetch, codeBudget:
		default:
			v.drop(key)
			v.tell(ctx, local, key.peer, err)
		}
		return policy.Party{}, err
	}
	c.expires = sooner(c.expires, end)
	return v.settle(key, c)
}

// anew asks the peer.
func (v *Verifier) anew(ctx context.Context, key pair, local participant.Participant, peer participant.Peer) (policy.Party, error) {
	c := cached{key: peer.Key, era: v.now()}
	c.proven, c.err = v.ask(ctx, local, peer)
	if c.err != nil {
		c.expires = v.cfg.Now().Add(failureLife)
		v.keep(key, c)
		return policy.Party{}, c.err
	}
	c.expires = sooner(c.proven.end, v.cfg.Now().Add(min(v.cfg.Remember, CacheLife)))
	return v.settle(key, c)
}

// tell tells of a refusal that rests on what a trusted issuer signed.
func (v *Verifier) tell(ctx context.Context, local participant.Participant, peer participant.DID, err error) {
	if code := CodeOf(err); code != "" && v.cfg.Refused != nil {
		v.cfg.Refused(ctx, local, peer, code)
	}
}

// settle remembers what was proven and makes it depend on its status. A list that changed since it was looked at is not missed: either it finds
// the pair among those who depend on it, or the pair finds what it says.
func (v *Verifier) settle(key pair, c cached) (policy.Party, error) {
	v.keep(key, c)
	if code := v.cfg.Lists.watch(key.text(), key, upTo(c.expires, c.proven.places)); code != "" {
		v.drop(key)
		return policy.Party{}, &Refusal{Code: code, Err: errors.New("while it was verified")}
	}
	return c.proven.party, nil
}

func (v *Verifier) cached(key pair, signer string) (cached, bool) {
	now := v.cfg.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.cache[key]
	return c, ok && now.Before(c.expires) && (c.err != nil || c.key == signer)
}

func (v *Verifier) now() (era int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.era
}

func (v *Verifier) keep(key pair, c cached) {
	now := v.cfg.Now()
	if v.cfg.Remember == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.era != v.era {
		return
	}
	if len(v.cache) >= maxCached {
		for k, old := range v.cache {
			if !now.Before(old.expires) || len(v.cache) >= maxCached {
				delete(v.cache, k)
			}
		}
	}
	v.cache[key] = c
}

// drop forgets what a peer has proven to one hosted participant.
func (v *Verifier) drop(key pair) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.cache, key)
}

// pardon forgets failures: a list has changed, and who was refused by it may come again.
func (v *Verifier) pardon() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for k, c := range v.cache {
		if c.err != nil {
			delete(v.cache, k)
		}
	}
}

// ForgetAll drops everything that is cached, and what is being verified at the moment: whom we trust has changed.
func (v *Verifier) ForgetAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.era++
	clear(v.cache)
}

// Own returns our own credentials as facts.
func (v *Verifier) Own(ctx context.Context, local participant.Participant) (policy.Party, error) {
	held, err := v.cfg.Wallet.Held(ctx, local)
	if err != nil {
		return policy.Party{}, err
	}
	party := policy.Party{DID: string(local.DID)}
	for _, c := range held {
		party.Credentials = append(party.Credentials, c.Fact)
	}
	return party, v.number(party.Credentials)
}

// ask queries the peer and checks what it shows, in the order of DCP 1.0 section 3.4.
func (v *Verifier) ask(ctx context.Context, local participant.Participant, peer participant.Peer) (proven, error) {
	if err := v.cfg.Calls.spend(ctx, CallPresentation); err != nil {
		return proven{}, err
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	presentations, err := v.cfg.Querier.Query(asking, local, peer, v.cfg.Scopes())
	cancel()
	if err != nil {
		return proven{}, &Refusal{Code: codeQuery, Err: err}
	}
	if len(presentations) > maxPresented {
		return proven{}, refuse(codeCount, "%d presentations", len(presentations))
	}
	out := proven{party: policy.Party{DID: string(peer.DID)}}
	satisfied, total := make([]bool, len(v.required)), 0
	for _, token := range presentations {
		p, end, err := v.presentation(ctx, local, peer, token)
		if err != nil {
			return proven{}, err
		}
		if total += len(p.credentials); total > maxCredentials {
			return proven{}, refuse(codeCount, "%d credentials", total)
		}
		out.end = sooner(out.end, end)
		for _, raw := range p.credentials {
			c, err := v.credential(ctx, local, peer.DID, p.profile, raw)
			if err != nil {
				return proven{}, err
			}
			for i, scope := range v.required {
				satisfied[i] = satisfied[i] || scope.Selects(c.id, c.types, c.contexts)
			}
			out.add(c)
		}
	}
	if i := slices.Index(satisfied, false); i >= 0 {
		return proven{}, refuse(codeScope, "%s", v.cfg.Required[i])
	}
	if err := v.number(out.party.Credentials); err != nil {
		return proven{}, err
	}
	slices.SortFunc(out.party.Credentials, func(a, b policy.Credential) int { return strings.Compare(a.Type+a.Digest, b.Type+b.Digest) })
	return out, nil
}

// add takes over an accepted credential.
func (p *proven) add(c accepted) {
	for _, fact := range c.facts {
		for _, at := range c.places {
			fact.Status = append(fact.Status, policy.Status{Kind: string(at.entry.Kind), Purpose: at.entry.Purpose, List: at.entry.List, Index: at.entry.Index, Size: at.entry.Size})
		}
		p.party.Credentials = append(p.party.Credentials, fact)
	}
	p.places = append(p.places, c.places...)
	p.end = sooner(sooner(p.end, c.end), c.facts[0].NotAfter)
}

// presentation checks one presentation and returns it with its end.
func (v *Verifier) presentation(ctx context.Context, local participant.Participant, peer participant.Peer, token string) (shown, time.Time, error) {
	var around *claimSet // of the second envelope, where there is one
	if inner, claims, header, ok := outer(token); ok {
		if !v.cfg.Envelope {
			return shown{}, time.Time{}, refuse(codeEnvelope, "want the presentation itself")
		}
		if err := v.unwrap(ctx, peer, header, claims, token); err != nil {
			return shown{}, time.Time{}, err
		}
		token, around = inner, &claims
	}
	p, err := parsePresentation(token, around != nil)
	if err == nil && !v.cfg.Informal[peer.DID] {
		err = p.informal
	}
	if err != nil {
		return p, time.Time{}, err
	}
	c := p.claims
	if around != nil {
		c = merge(c, *around, p.holder)
	}
	did, ok := identity.DIDOf(p.header.KeyID)
	aud := audience(c.Audience)
	loose := around != nil && c.Audience == nil && c.Expires == 0
	switch {
	case !v.cfg.Trust.Accepts(p.profile):
		return p, time.Time{}, refuse(codeVPProfile, "%s", p.profile)
	case c.Issuer != string(peer.DID):
		return p, time.Time{}, refuse(codeVPIssuer, "it is %.200q", c.Issuer)
	case !ok || did != c.Issuer:
		return p, time.Time{}, refuse(codeVPKid, "%.200q is not of %s", p.header.KeyID, c.Issuer)
	case c.Subject != "" && c.Subject != c.Issuer, p.holder != "" && p.holder != c.Issuer:
		return p, time.Time{}, refuse(codeVPHolder, "it is not the issuer")
	case aud != string(local.DID) && !loose:
		return p, time.Time{}, refuse(codeAudience, "it is %.200q", aud)
	case (c.ID == "" && around == nil) || len(c.ID) > 255:
		return p, time.Time{}, refuse(codeJTI, "want 1 to 255 characters")
	}
	if !loose {
		if err := v.window(c.Window); err != nil {
			return p, time.Time{}, &Refusal{Code: codeVPTime, Err: err}
		}
	}
	if err := v.cfg.Tokens.Signature(ctx, peer.DID, p.header.KeyID, token, identity.Authentication); err != nil {
		return p, time.Time{}, unsigned(codeVPSigned, codeVPKey, err)
	}
	if loose {
		return p, time.Time{}, nil
	}
	end := time.Unix(c.Expires, 0)
	if c.ID != "" {
		// After the signature, so that nobody burns another's id.
		fresh, err := v.cfg.Tokens.Remember(ctx, "vp|"+c.Issuer, c.ID, end.Add(identity.Leeway))
		if err != nil || !fresh {
			return p, time.Time{}, &Refusal{Code: codeReplayed, Err: err}
		}
	}
	return p, end, nil
}

// unwrap checks the second envelope: it must be of the caller too.
func (v *Verifier) unwrap(ctx context.Context, peer participant.Peer, header identity.Header, claims claimSet, token string) error {
	did, ok := identity.DIDOf(header.KeyID)
	switch {
	case !ok || did != string(peer.DID):
		return refuse(codeVPKid, "the envelope's %.200q is not of the caller", header.KeyID)
	case claims.Issuer != "" && claims.Issuer != did:
		return refuse(codeVPIssuer, "the envelope is of %.200q", claims.Issuer)
	}
	if err := v.cfg.Tokens.Signature(ctx, peer.DID, header.KeyID, token, identity.Authentication); err != nil {
		return unsigned(codeVPSigned, codeVPKey, err)
	}
	return nil
}

// merge lets the envelope say what the presentation inside does not.
func merge(inner, around claimSet, holder string) claimSet {
	if inner.Issuer == "" {
		inner.Issuer = holder
	}
	if inner.Audience == nil {
		inner.Audience = around.Audience
	}
	if inner.ID == "" {
		inner.ID = around.ID
	}
	if inner.Expires == 0 {
		inner.Window = around.Window
	}
	return inner
}

// window judges when a presentation is valid. The house's leeway is the most there is; trust may give less.
func (v *Verifier) window(w identity.Window) error {
	now := v.cfg.Now()
	if err := w.Check(now, identity.MaxTokenLife); err != nil {
		return err
	}
	n, leeway := now.Unix(), int64(leewayOf(v.cfg.Trust)/time.Second)
	if w.Expires <= n-leeway || w.NotBefore > n+leeway || w.IssuedAt > n+leeway {
		return errors.New("token.time: further off than the trust settings allow")
	}
	return nil
}

// accepted is a credential that is believed, for the types that its issuer is trusted for.
type accepted struct {
	id       string
	types    []string // those that it is relied upon for
	contexts []string
	facts    []policy.Credential // one for each of the types
	places   []place
	end      time.Time // of its status lists; zero: none
}

// credential checks one credential. Its issuer must be trusted for what it is relied upon for before anything is fetched on its account; what
// it says of itself beyond that counts for nothing.
func (v *Verifier) credential(ctx context.Context, local participant.Participant, holder participant.DID, profile, token string) (accepted, error) {
	r, err := parse(token, maxCredential)
	if err == nil {
		err = r.formal(v.cfg.Informal[r.issuer])
	}
	if err != nil {
		return accepted{}, err
	}
	out := accepted{id: r.id, contexts: r.contexts}
	for _, kind := range r.types {
		if v.cfg.Trust.Trusts(r.issuer, kind) && !slices.Contains(out.types, kind) {
			out.types = append(out.types, kind)
		}
	}
	switch {
	case r.profile != profile:
		return out, refuse(codeMixed, "%s in a presentation of %s", r.profile, profile)
	case !r.kid():
		return out, refuse(codeKid, "%.200q is not of %s", r.header.KeyID, r.issuer)
	case len(out.types) == 0:
		return out, refuse(codeUntrusted, "%s may not issue %q", r.issuer, r.types)
	}
	if err := v.cfg.Tokens.Signature(ctx, r.issuer, r.header.KeyID, token, identity.AssertionMethod); err != nil {
		return out, unsigned(codeSigned, codeKey, err)
	}
	if err := v.signed(ctx, &out, r, holder); err != nil {
		v.tell(ctx, local, holder, err)
		return out, err
	}
	return out, nil
}

// signed checks what a trusted issuer says.
func (v *Verifier) signed(ctx context.Context, out *accepted, r read, holder participant.DID) (err error) {
	if out.facts, err = r.facts(out.types); err != nil {
		return err
	}
	now := v.cfg.Now()
	switch {
	case now.Add(leewayOf(v.cfg.Trust)).Before(r.notBefore):
		return refuse(codeEarly, "valid from %s", r.notBefore)
	case !now.Before(r.notAfter): // without leeway: policies give none either, and what has ended must not outlive its end
		return refuse(codeExpired, "valid until %s", r.notAfter)
	case out.facts[0].Subject["id"] != string(holder):
		return refuse(codeHolder, "it is of %.200q", out.facts[0].Subject["id"])
	}
	if out.places, err = placesOf(r); err != nil {
		return err
	}
	if out.end, err = v.cfg.Lists.check(ctx, out.places); err != nil {
		return err
	}
	return v.cfg.Schemas.check(ctx, r)
}

// placesOf reads where the status of a credential is found, leaving out what only informs.
func placesOf(r read) ([]place, error) {
	entries, err := statuslist.ParseEntries(r.members.Status)
	switch {
	case errors.Is(err, statuslist.ErrKind):
		return nil, &Refusal{Code: codeStatusType, Err: err}
	case err != nil:
		return nil, &Refusal{Code: codeStatusEntry, Err: err}
	}
	var out []place
	for _, e := range entries {
		if e.Kind == statuslist.List2021 && r.profile != Profile11 {
			return nil, refuse(codeStatusType, "a %s in a credential of version 2.0", e.Kind)
		}
		if e.Blocks() {
			out = append(out, place{entry: e, issuer: r.issuer, until: r.notAfter})
		}
	}
	return out, nil
}

// number marks the credentials that prove a business partner number; two different ones prove none.
func (v *Verifier) number(credentials []policy.Credential) error {
	found := ""
	for i := range credentials {
		for _, claim := range v.cfg.BPN {
			n := credentials[i].Subject[claim.Claim]
			if credentials[i].Type != claim.Credential || n == "" {
				continue
			}
			if found != "" && n != found {
				return refuse(codeBPN, "%s and %s", found, n)
			}
			found, credentials[i].BPN = n, n
		}
	}
	return nil
}
