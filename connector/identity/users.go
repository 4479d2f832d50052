package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"golang.org/x/sync/singleflight"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

const (
	// MaxUserTokenLife is how long the token of a user may be valid.
	MaxUserTokenLife = 24 * time.Hour

	maxKeySet     = 256 << 10
	maxUserKeys   = 64
	maxClaimed    = 256              // values of one claim
	maxSubject    = 255              // bytes of a subject, as OpenID Connect has it
	userKeysLife  = 10 * time.Minute // a key that was taken out of the set is refused after this time at the latest
	userKeysAgain = 10 * time.Second // between two fetches of one set, whatever comes in
	fetchPatience = 10 * time.Second
)

// UserAlgorithms are those that an identity provider may sign with.
func UserAlgorithms() []string { return []string{"ES256", "EdDSA", "RS256", "PS256", "ES384"} }

// userForm is what tokens of identity providers may look like. The thumbprint x5t is no key: some providers always send it.
var userForm = form{refused: []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"}, algorithms: UserAlgorithms()}

// Mapping reads what a token says about its user at one place, and what that means here.
type Mapping struct {
	Claim  string            // the name of a claim, or a JSON pointer (RFC 6901) when it begins with a slash
	Values map[string]string // value there -> meaning; what has no row means nothing
}

// Provider is an identity provider whose access tokens open the management API.
type Provider struct {
	Issuer       string   // exactly as tokens name it
	Audience     string   // who we are for it; every token must be for us
	Beside       []string // audiences that may stand beside ours
	Keys         string   // URL of its key set; empty: its discovery document says it
	Algorithms   []string // empty: UserAlgorithms
	Roles        Mapping  // to roles
	Participants Mapping  // to slugs, or Everywhere; without Values the claim holds slugs
	Everyone     []string // slugs that each of its users may act for
}

// Everywhere is the meaning of a value that lets its user act for the whole process.
const Everywhere = "*"

// User is who stands behind a verified token.
type User struct {
	ID           string   // digest of issuer and subject: the same user has the same one in each token
	Actor        string   // "oidc:", the issuer without its scheme, "#", the subject
	Roles        []string // at least one
	Participants []string // slugs
	Whole        bool     // may act for the whole process
	Expires      time.Time
}

// Users verifies the access tokens of configured identity providers. It is safe for concurrent use.
type Users struct {
	fetch     Fetch
	now       func() time.Time
	providers map[string]*provider
}

type provider struct {
	Provider
	group singleflight.Group

	mu    sync.Mutex
	keys  map[string]userKey
	good  time.Time // when the keys were fetched
	tried time.Time
}

type userKey struct {
	key        any
	algorithms []string // that it may verify
}

// NewUsers returns Users. fetch reaches the origins of the providers and nothing else.
func NewUsers(fetch Fetch, now func() time.Time, providers []Provider) *Users {
	u := &Users{fetch: fetch, now: now, providers: map[string]*provider{}}
	for _, p := range providers {
		if len(p.Algorithms) == 0 {
			p.Algorithms = UserAlgorithms()
		}
		u.providers[p.Issuer] = &provider{Provider: p}
	}
	return u
}

// userClaims are those that decide; roles and participants are read from the payload by their mappings.
type userClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience any    `json:"aud"`
	Window
}

// otherClasses are claims of tokens that are made for something else: ID tokens, security events, presentations and credentials do not open
// an API (security rule T-11).
var otherClasses = []string{"at_hash", "c_hash", "events", "vp", "vc", "sub_jwk"}

// userTypes are the types that an access token may call itself, in lower case.
var userTypes = []string{"", "jwt", "at+jwt", "application/at+jwt"}

// Verify verifies an access token: what needs no network first, the signature before anything that the token says is believed. The error
// names the step that failed, for the operator; the caller is to be told none of it.
func (u *Users) Verify(ctx context.Context, token string) (User, error) {
	h, payload, err := parseJWT(token, MaxToken, userForm)
	if err != nil {
		return User{}, err
	}
	if !slices.Contains(userTypes, strings.ToLower(h.Type)) {
		return User{}, fmt.Errorf("oidc.type: %q is no access token", short(h.Type))
	}
	var all map[string]json.RawMessage
	var c userClaims
	if err := errors.Join(ijson.Bind(payload, &all), ijson.Bind(payload, &c)); err != nil {
		return User{}, fmt.Errorf("oidc.claims: %w", err)
	}
	for _, name := range otherClasses {
		if _, ok := all[name]; ok {
			return User{}, fmt.Errorf("oidc.class: a token with the claim %s is for something else", name)
		}
	}
	p, ok := u.providers[c.Issuer]
	if !ok {
		return User{}, fmt.Errorf("oidc.issuer: %q is no provider of ours", short(c.Issuer))
	}
	if err := p.allows(h, c, u.now()); err != nil {
		return User{}, err
	}
	key, err := u.key(ctx, p, h.KeyID)
	if err != nil {
		return User{}, err
	}
	if !slices.Contains(key.algorithms, h.Algorithm) || !slices.Contains(p.Algorithms, h.Algorithm) {
		return User{}, fmt.Errorf("oidc.algorithm: the header names %s, the key is for %v", h.Algorithm, key.algorithms)
	}
	if _, err := jws.Verify([]byte(token), jws.WithKey(jwa.SignatureAlgorithm(h.Algorithm), key.key)); err != nil {
		return User{}, fmt.Errorf("oidc.signature: %w", err)
	}
	return p.user(c, payload)
}

// allows checks what needs neither network nor key.
func (p *provider) allows(h Header, c userClaims, now time.Time) error {
	switch {
	case h.KeyID == "" || len(h.KeyID) > 256:
		return errors.New("oidc.kid: want the id of a key")
	case c.Subject == "" || len(c.Subject) > maxSubject || strings.ContainsFunc(c.Subject, func(r rune) bool { return r <= 0x20 || r > 0x7e }):
		return errors.New("oidc.subject: want 1 to 255 printable ASCII characters")
	}
	var audiences []string
	switch aud := c.Audience.(type) {
	case string:
		audiences = []string{aud}
	case []any:
		for _, one := range aud {
			text, _ := one.(string)
			audiences = append(audiences, text)
		}
	}
	if !slices.Contains(audiences, p.Audience) {
		return errors.New("oidc.audience: the token is not for us")
	}
	for _, one := range audiences {
		if one != p.Audience && !slices.Contains(p.Beside, one) {
			return fmt.Errorf("oidc.audience: the token is for %q too, and that is not listed beside us", short(one))
		}
	}
	if err := c.Window.Check(now, MaxUserTokenLife); err != nil {
		return fmt.Errorf("oidc.time: %w", err)
	}
	return nil
}

// user reads what the verified token says of its user.
func (p *provider) user(c userClaims, payload []byte) (User, error) {
	sum := sha256.Sum256([]byte(c.Issuer + "\x00" + c.Subject))
	_, name, _ := strings.Cut(c.Issuer, "://")
	out := User{ID: hex.EncodeToString(sum[:]), Actor: ActorPrefix + strings.TrimRight(name, "/") + "#" + c.Subject,
		Participants: slices.Clone(p.Everyone), Expires: time.Unix(c.Expires, 0).Add(Leeway)}
	said, err := claimed(payload, p.Roles.Claim)
	if err != nil {
		return User{}, fmt.Errorf("oidc.role: %w", err)
	}
	for _, value := range said {
		if role, ok := p.Roles.Values[value]; ok && !slices.Contains(out.Roles, role) {
			out.Roles = append(out.Roles, role)
		}
	}
	if len(out.Roles) == 0 {
		return User{}, fmt.Errorf("oidc.role: none of the %d values of %q means a role here", len(said), p.Roles.Claim)
	}
	if p.Participants.Claim == "" {
		return out, nil
	}
	if said, err = claimed(payload, p.Participants.Claim); err != nil {
		return User{}, fmt.Errorf("oidc.participants: %w", err)
	}
	for _, value := range said {
		slug, ok := p.Participants.Values[value]
		switch {
		case ok && slug == Everywhere:
			out.Whole = true
		case ok:
			out.Participants = append(out.Participants, slug)
		case len(p.Participants.Values) == 0:
			out.Participants = append(out.Participants, value)
		}
	}
	return out, nil
}

// ActorPrefix begins the names of users in events and logs.
const ActorPrefix = "oidc:"

// claimed returns the values at a place of the payload: the elements of an array, or the words of a string. A place that is not there has none;
// anything else there is an error.
func claimed(payload []byte, place string) ([]string, error) {
	path := []string{place}
	if rest, ok := strings.CutPrefix(place, "/"); ok {
		path = strings.Split(rest, "/")
		for i, name := range path {
			path[i] = strings.ReplaceAll(strings.ReplaceAll(name, "~1", "/"), "~0", "~")
		}
	}
	at := json.RawMessage(payload)
	for _, name := range path {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(at, &members); err != nil {
			return nil, fmt.Errorf("%q leads through something that is no object", place)
		}
		var ok bool
		if at, ok = members[name]; !ok {
			return nil, nil
		}
	}
	var text string
	if json.Unmarshal(at, &text) == nil {
		return strings.Fields(text), nil
	}
	var list []string
	if err := json.Unmarshal(at, &list); err != nil || len(list) > maxClaimed {
		return nil, fmt.Errorf("%q is neither a string nor an array of at most %d strings", place, maxClaimed)
	}
	return list, nil
}

// key finds the provider's key of the id. An id that is not known asks for the set anew, yet not more often than every ten seconds: ids cost
// a stranger nothing.
func (u *Users) key(ctx context.Context, p *provider, kid string) (userKey, error) {
	if key, fetch, err := p.known(kid, u.now()); !fetch {
		return key, err
	}
	// What is fetched serves everybody who waits: it does not hang on one caller's patience.
	result := p.group.DoChan("", func() (any, error) {
		if _, fetch, _ := p.known(kid, u.now()); fetch {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchPatience)
			defer cancel()
			return nil, u.load(ctx, p)
		}
		return nil, nil
	})
	select {
	case <-ctx.Done():
		return userKey{}, ctx.Err()
	case got := <-result:
		if got.Err != nil {
			return userKey{}, got.Err
		}
	}
	key, fetch, err := p.known(kid, u.now())
	if fetch {
		err = errUnreached
	}
	return key, err
}

var errUnreached = errors.New("oidc.keys: the provider's keys could not be fetched a moment ago")

// known looks a key up among those that were fetched, and says whether the set should be fetched first.
func (p *provider) known(kid string, now time.Time) (key userKey, fetch bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, ok := p.keys[kid]
	fresh := p.keys != nil && now.Sub(p.good) < userKeysLife
	switch {
	case ok && fresh:
		return key, false, nil
	case p.tried.IsZero() || now.Sub(p.tried) >= userKeysAgain:
		return userKey{}, true, nil
	case !fresh:
		return userKey{}, false, errUnreached
	}
	return userKey{}, false, fmt.Errorf("oidc.kid: %w", ErrUnknownKey)
}

// load fetches the key set. Keys that were fetched before stay as long as they would have.
func (u *Users) load(ctx context.Context, p *provider) error {
	keys, err := u.fetchKeys(ctx, p)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried = u.now()
	if err != nil {
		return fmt.Errorf("oidc.keys: %w", err)
	}
	p.keys, p.good = keys, p.tried
	return nil
}

func (u *Users) fetchKeys(ctx context.Context, p *provider) (map[string]userKey, error) {
	address := p.Keys
	if address == "" {
		raw, err := u.fetch(ctx, strings.TrimRight(p.Issuer, "/")+"/.well-known/openid-configuration", MaxDocument)
		if err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
		var found struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := ijson.Unmarshal(raw, ijson.DefaultLimits(), &found); err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
		if found.Issuer != p.Issuer {
			return nil, fmt.Errorf("discovery: the document is that of the issuer %q", short(found.Issuer))
		}
		if !sameOrigin(found.Keys, p.Issuer) {
			return nil, fmt.Errorf("discovery: the keys are at %q, which is another origin than the issuer's: name their URL in the settings if that is right", short(found.Keys))
		}
		address = found.Keys
	}
	raw, err := u.fetch(ctx, address, maxKeySet)
	if err != nil {
		return nil, err
	}
	return parseKeySet(raw)
}

func sameOrigin(a, b string) bool {
	one, err1 := url.Parse(a)
	other, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && one.User == nil && one.Scheme == other.Scheme && strings.EqualFold(one.Host, other.Host)
}

// parseKeySet reads a set (RFC 7517). Keys that cannot verify what we accept are left out, as the standard wants: a set may hold others.
// Two usable keys of one id make the id useless.
func parseKeySet(raw []byte) (map[string]userKey, error) {
	lim := ijson.DefaultLimits()
	lim.MaxBytes = maxKeySet
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := ijson.Unmarshal(raw, lim, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if len(set.Keys) == 0 || len(set.Keys) > maxUserKeys {
		return nil, fmt.Errorf("key set: %d keys, want 1 to %d", len(set.Keys), maxUserKeys)
	}
	out, twice := map[string]userKey{}, []string{}
	for _, one := range set.Keys {
		id, key, err := parseUserKey(one)
		if err != nil {
			continue
		}
		if _, there := out[id]; there {
			twice = append(twice, id)
		}
		out[id] = key
	}
	for _, id := range twice {
		delete(out, id)
	}
	return out, nil
}

// parseUserKey reads a public key and fixes what it may verify: an elliptic key one algorithm, an RSA key the two of its kind or the one that
// the set says.
func parseUserKey(raw []byte) (id string, key userKey, err error) {
	k, err := jwk.ParseKey(raw)
	if err != nil {
		return "", key, err
	}
	if _, said := k.Get(jwk.KeyUsageKey); said && k.KeyUsage() != jwk.ForSignature.String() {
		return "", key, fmt.Errorf("the key is for use %q", k.KeyUsage())
	}
	if _, said := k.Get(jwk.KeyOpsKey); said && !slices.Contains(k.KeyOps(), jwk.KeyOpVerify) {
		return "", key, fmt.Errorf("the key is for %v", k.KeyOps())
	}
	var material any
	if err := k.Raw(&material); err != nil {
		return "", key, err
	}
	switch v := material.(type) { // values or pointers, by the kind of key
	case ecdsa.PublicKey:
		material = &v
	case rsa.PublicKey:
		material = &v
	}
	switch v := material.(type) {
	case *ecdsa.PublicKey:
		alg := map[string]string{"P-256": "ES256", "P-384": "ES384"}[v.Curve.Params().Name]
		key = userKey{v, []string{alg}}
	case ed25519.PublicKey:
		key = userKey{v, []string{"EdDSA"}}
	case *rsa.PublicKey:
		if n := v.N.BitLen(); n < 2048 || n > 8192 || v.E < 3 || v.E%2 == 0 {
			return "", key, fmt.Errorf("an RSA key of %d bits with the exponent %d", n, v.E)
		}
		key = userKey{v, []string{"RS256", "PS256"}}
	default:
		return "", key, fmt.Errorf("keys of type %T are not allowed here", material)
	}
	if alg := k.Algorithm().String(); alg != "" {
		key.algorithms = slices.DeleteFunc(key.algorithms, func(a string) bool { return a != alg })
	}
	if k.KeyID() == "" || len(key.algorithms) == 0 || key.algorithms[0] == "" {
		return "", key, errors.New("the key has no id, or no algorithm that is allowed here")
	}
	return k.KeyID(), key, nil
}
