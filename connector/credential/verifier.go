package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

const (
	cacheLife      = 5 * time.Minute
	maxCached      = 10000
	maxPresented   = 10
	maxCredentials = 50
)

// Querier asks a peer's credential service, once per access token.
type Querier interface {
	Query(ctx context.Context, local participant.Participant, peer participant.Peer, scopes []string) (presentations []string, err error)
}

// Claim is where a business partner number is proven.
type Claim struct{ Credential, Claim string }

// VerifierConfig carries what a Verifier is made of. All fields are required.
type VerifierConfig struct {
	Querier Querier
	Tokens  *identity.Verifier // finds keys, checks signatures, remembers ids
	Trust   Trust
	Scopes  []string // what every caller is asked for
	BPN     []Claim
	Wallet  Wallet
	Now     func() time.Time
	Log     *slog.Logger
}

// Verifier establishes what peers have proven. It is safe for concurrent use.
type Verifier struct {
	cfg   VerifierConfig
	group singleflight.Group

	mu    sync.Mutex
	cache map[cacheKey]cached
}

const (
	// patience is how long a peer's credential service may take, its DID document included.
	patience = 10 * time.Second
	// failureLife is how long a failure is remembered: its service, or whoever it names as such, is not asked again meanwhile.
	failureLife = 10 * time.Second
)

type cacheKey struct{ own, peer participant.DID }

// cached is what a peer has proven, to whoever signs with the same key: one that was replaced does not keep claims alive.
type cached struct {
	key     string
	party   policy.Party
	err     error // of the query, whoever signed
	expires time.Time
}

// NewVerifier returns a Verifier.
func NewVerifier(cfg VerifierConfig) *Verifier {
	return &Verifier{cfg: cfg, cache: map[cacheKey]cached{}}
}

// Claims returns what the peer has proven to the hosted participant: from the cache while every credential in it is valid, else by a
// query of its credential service, for which every token must carry an access token. A peer that shows nothing valid has proven nothing but its
// DID; what that means is up to the policy. A presentation with anything invalid in it is refused whole.
func (v *Verifier) Claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error) {
	party, err := v.claims(ctx, local, peer)
	if err != nil {
		v.cfg.Log.WarnContext(ctx, "presentation refused", slog.String("peer", string(peer.DID)), slog.Any("error", err))
		// No Wrap: what was found at an address that the peer chose is for the operator alone (T-04).
		return policy.Party{}, &fault.Error{Op: "credential.Claims", Kind: fault.Unauthenticated, Reason: "the caller is not known", Err: err}
	}
	return party, nil
}

func (v *Verifier) claims(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, error) {
	if peer.AccessToken == "" {
		return policy.Party{}, errors.New("token.access: the token carries no access token")
	}
	key := cacheKey{local.DID, peer.DID}
	if c, ok := v.cached(key, peer.Key); ok {
		return c.party, c.err
	}
	result, err, _ := v.group.Do(string(key.own)+" "+string(key.peer)+" "+peer.Key, func() (any, error) {
		if c, ok := v.cached(key, peer.Key); ok {
			return c.party, c.err
		}
		// What is asked serves everybody who waits: it hangs neither on one caller's token nor on its patience.
		ctx, cancel := context.WithTimeout(commit.WithUsed(context.WithoutCancel(ctx), nil), patience)
		defer cancel()
		c := cached{key: peer.Key}
		if c.party, c.expires, c.err = v.ask(ctx, local, peer); c.err != nil {
			c.expires = v.cfg.Now().Add(failureLife)
		}
		v.keep(key, c)
		return c.party, c.err
	})
	if err != nil {
		return policy.Party{}, err
	}
	return result.(policy.Party), nil
}

func (v *Verifier) cached(key cacheKey, signer string) (cached, bool) {
	now := v.cfg.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.cache[key]
	return c, ok && now.Before(c.expires) && (c.err != nil || c.key == signer)
}

func (v *Verifier) keep(key cacheKey, c cached) {
	now := v.cfg.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.cache) >= maxCached {
		for k, old := range v.cache {
			if !now.Before(old.expires) || len(v.cache) >= maxCached {
				delete(v.cache, k)
			}
		}
	}
	v.cache[key] = c
}

// Forget drops what is cached of a peer: its key or a credential was revoked.
func (v *Verifier) Forget(peer participant.DID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for k := range v.cache {
		if k.peer == peer {
			delete(v.cache, k)
		}
	}
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

func (v *Verifier) ask(ctx context.Context, local participant.Participant, peer participant.Peer) (policy.Party, time.Time, error) {
	presentations, err := v.cfg.Querier.Query(ctx, local, peer, v.cfg.Scopes)
	if err != nil {
		return policy.Party{}, time.Time{}, fmt.Errorf("presentation.query: %w", err)
	}
	if len(presentations) > maxPresented {
		return policy.Party{}, time.Time{}, errors.New("presentation.count")
	}
	now := v.cfg.Now()
	party := policy.Party{DID: string(peer.DID)}
	expires := now.Add(cacheLife)
	for _, p := range presentations {
		credentials, err := v.presentation(ctx, local, peer, p)
		if err != nil {
			return policy.Party{}, time.Time{}, err
		}
		for _, c := range credentials {
			party.Credentials = append(party.Credentials, c)
			if c.NotAfter.Before(expires) {
				expires = c.NotAfter
			}
		}
	}
	if err := v.number(party.Credentials); err != nil {
		return policy.Party{}, time.Time{}, err
	}
	slices.SortFunc(party.Credentials, func(a, b policy.Credential) int { return strings.Compare(a.Type+a.Digest, b.Type+b.Digest) })
	return party, expires, nil
}

// presentation checks one presentation in the order of DCP 1.0 section 3.4 and returns its credentials as facts.
func (v *Verifier) presentation(ctx context.Context, local participant.Participant, peer participant.Peer, token string) ([]policy.Credential, error) {
	header, payload, err := identity.ParseJWT(token, maxPresentation)
	if err != nil {
		return nil, fmt.Errorf("presentation.syntax: %w", err)
	}
	var c vpClaims
	if err := ijson.Bind(payload, &c); err != nil {
		return nil, fmt.Errorf("presentation.syntax: %w", err)
	}
	inner, err := oneVP(c.VP)
	if err != nil {
		return nil, err
	}
	did, ok := identity.DIDOf(header.KeyID)
	switch {
	case !ok || did != c.Issuer:
		return nil, errors.New("presentation.kid: its DID is not the issuer")
	case c.Issuer != string(peer.DID):
		return nil, errors.New("presentation.issuer: it is not the caller")
	case c.Subject != "" && c.Subject != c.Issuer, inner.Holder != "" && inner.Holder != c.Issuer:
		return nil, errors.New("presentation.holder: it is not the issuer")
	case audience(c.Audience) != string(local.DID):
		return nil, errors.New("presentation.audience")
	case c.ID == "" || len(c.ID) > 255:
		return nil, errors.New("presentation.jti")
	case len(inner.Credentials) > maxCredentials:
		return nil, errors.New("presentation.count")
	}
	if err := c.Window.Check(v.cfg.Now(), identity.MaxTokenLife); err != nil {
		return nil, fmt.Errorf("presentation: %w", err)
	}
	if err := v.cfg.Tokens.Signature(ctx, peer.DID, header.KeyID, token, identity.Authentication); err != nil {
		return nil, fmt.Errorf("presentation: %w", err)
	}
	fresh, err := v.cfg.Tokens.Remember(ctx, "vp|"+c.Issuer, c.ID, time.Unix(c.Expires, 0).Add(identity.Leeway))
	if err != nil || !fresh {
		return nil, errors.Join(errors.New("presentation.replayed"), err)
	}
	out := make([]policy.Credential, 0, len(inner.Credentials))
	for _, raw := range inner.Credentials {
		fact, err := v.credential(ctx, peer.DID, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, fact)
	}
	return out, nil
}

func audience(aud any) string {
	if list, ok := aud.([]any); ok && len(list) == 1 {
		aud = list[0]
	}
	s, _ := aud.(string)
	return s
}

// oneVP reads the presentation: an object, or a list of exactly one.
func oneVP(raw json.RawMessage) (vp, error) {
	var list []vp
	var one vp
	switch {
	case ijson.Bind(raw, &one) == nil:
	case ijson.Bind(raw, &list) == nil && len(list) == 1:
		one = list[0]
	default:
		return vp{}, errors.New("presentation.syntax: want one presentation")
	}
	types, _ := one.Type.([]any)
	if one.Type != "VerifiablePresentation" && !slices.Contains(types, any("VerifiablePresentation")) {
		return vp{}, errors.New("presentation.type")
	}
	return one, nil
}

// credential checks one credential. Its issuer must be trusted for its type before anything is fetched on its account.
func (v *Verifier) credential(ctx context.Context, holder participant.DID, token string) (policy.Credential, error) {
	r, err := parse(token)
	if err != nil {
		return policy.Credential{}, err
	}
	did, ok := identity.DIDOf(r.header.KeyID)
	if !ok || did != r.issuer {
		return policy.Credential{}, errors.New("credential.kid: its DID is not the issuer")
	}
	if !v.cfg.Trust.Trusts(r.issuer, r.fact.Type) {
		return policy.Credential{}, fmt.Errorf("credential.untrusted: %s may not issue %s", r.issuer, r.fact.Type)
	}
	issuer, _, err := identity.ParseDID(r.issuer)
	if err != nil {
		return policy.Credential{}, fmt.Errorf("credential.issuer: %w", err)
	}
	if err := v.cfg.Tokens.Signature(ctx, issuer, r.header.KeyID, token, identity.AssertionMethod); err != nil {
		return policy.Credential{}, fmt.Errorf("credential: %w", err)
	}
	now := v.cfg.Now()
	switch {
	case now.Add(identity.Leeway).Before(r.fact.NotBefore):
		return policy.Credential{}, errors.New("credential.early")
	case !now.Before(r.fact.NotAfter):
		return policy.Credential{}, errors.New("credential.expired")
	case r.claims.Subject != string(holder):
		return policy.Credential{}, errors.New("credential.holder: it was issued to somebody else")
	case present(r.claims.VC.Status):
		// Without a reader for status lists a credential that can be revoked cannot be believed.
		return policy.Credential{}, errors.New("credential.status: it cannot be checked here")
	case present(r.claims.VC.Schema):
		return policy.Credential{}, errors.New("credential.schema: it cannot be checked here")
	}
	return r.fact, nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

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
				return errors.New("credential.bpn: the credentials name different business partner numbers")
			}
			found, credentials[i].BPN = n, n
		}
	}
	return nil
}
