package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/turn"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

const (
	// TokenLife is how long the self-issued tokens that we make are valid.
	TokenLife = 5 * time.Minute
	// MaxTokenLife is how long a peer's may be.
	MaxTokenLife = 10 * time.Minute
	// MaxToken bounds a token in bytes.
	MaxToken = 16 << 10
)

type tokenClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience any    `json:"aud"`
	ID       string `json:"jti"`
	Window
	Token string `json:"token,omitempty"`
	// PreAuthorized is a code of an issuer that was given outside of the protocol (section 1.1). No issuer here takes one, so it opens nothing.
	PreAuthorized string `json:"pre-authorized_code,omitempty"`
}

// IssueToken makes a self-issued token (DCP 1.0, section 1.1) of did for the audience. access, when set, is the presentation access
// token that it carries.
func IssueToken(ctx context.Context, did, audience participant.DID, keys Keys, access string, now time.Time, rand io.Reader) (string, error) {
	id, err := uuid.NewRandomFromReader(rand)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	n, until := now.Unix(), now.Add(TokenLife)
	return SignJWT(ctx, string(did), keys, UseToken, "JWT", tokenClaims{Issuer: string(did), Subject: string(did), Audience: string(audience), ID: id.String(),
		Window: Window{IssuedAt: n, NotBefore: n, Expires: until.Unix()}, Token: access}, until)
}

// Replay remembers token ids, durably and in one step.
type Replay interface {
	// Remember reports whether (issuer, jti) is new; it is then remembered until until.
	Remember(ctx context.Context, issuer, jti string, until, now time.Time) (fresh bool, err error)
}

// Documents resolves DIDs.
type Documents interface {
	// Resolve returns the document; fresh asks for one that is not from the cache, at most every ten seconds.
	Resolve(ctx context.Context, did participant.DID, fresh bool) (*Document, error)
}

// Verifier verifies the self-issued tokens of peers. It is safe for concurrent use.
type Verifier struct {
	documents Documents
	replay    Replay
	now       func() time.Time

	recent recent
	checks *turn.Queue // of signatures, which are the dearest thing that a stranger can ask for
}

// checkLine is how many checks of signatures may wait for one caller.
const checkLine = 256

// NewVerifier returns a Verifier.
func NewVerifier(documents Documents, replay Replay, now func() time.Time) *Verifier {
	cores := runtime.GOMAXPROCS(0)
	return &Verifier{documents: documents, replay: replay, now: now, checks: turn.New(cores, cores, checkLine)}
}

// recent spares work: a token that this process saw lately is refused before anything is decided for it. Whether a token is new is decided
// by the store alone. It is two generations of ids, each at most maxRecent.
type recent struct {
	mu       sync.Mutex
	now, old map[[sha256.Size]byte]struct{}
	began    time.Time // of the newer generation
}

const maxRecent = 1 << 16

// add reports whether the token was not there yet.
func (r *recent) add(issuer, id string, now time.Time) bool {
	key := recentKey(issuer, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= maxRecent || now.Sub(r.began) > MaxTokenLife+2*Leeway {
		r.now, r.old, r.began = map[[sha256.Size]byte]struct{}{}, r.now, now
	}
	_, known := r.now[key]
	_, before := r.old[key]
	r.now[key] = struct{}{}
	return !known && !before
}

// has reports whether the token is there, whoever says that it is his.
func (r *recent) has(issuer, id string) bool {
	key := recentKey(issuer, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.now[key]
	_, before := r.old[key]
	return known || before
}

func recentKey(issuer, id string) [sha256.Size]byte {
	return sha256.Sum256([]byte(issuer + "\x00" + id))
}

// Verify checks a token that was sent to own, in the order of DCP 1.0 section 1.3, and returns who sent it, and the token's id, which must be
// new: it is remembered with the first thing committed under commit.WithUsed, or by Settle, before anything is answered. The error says which
// step failed, for the operator; the peer is to be told none of it.
func (v *Verifier) Verify(ctx context.Context, token string, own participant.DID) (participant.Peer, *commit.Used, error) {
	header, payload, err := ParseJWT(token, MaxToken)
	if err != nil {
		return participant.Peer{}, nil, err
	}
	claims, err := readClaims(payload)
	if err != nil {
		return participant.Peer{}, nil, err
	}
	did, err := v.claims(header, claims, own)
	if err != nil {
		return participant.Peer{}, nil, err
	}
	if v.recent.has(claims.Issuer, claims.ID) {
		return participant.Peer{}, nil, errors.New("token.replayed")
	}
	doc, key, err := v.signature(ctx, did, header.KeyID, token, CapabilityInvocation)
	if err != nil {
		return participant.Peer{}, nil, err
	}
	digest, err := digestOf(key)
	if err != nil {
		return participant.Peer{}, nil, err
	}
	peer := participant.Peer{DID: did, Key: digest, AccessToken: claims.Token}
	for _, s := range doc.Services {
		if s.Type == "DataService" {
			peer.Origins = append(peer.Origins, s.Endpoint)
		}
	}
	// Last, so that unsigned junk cannot burn somebody's id.
	now := v.now()
	if !v.recent.add(claims.Issuer, claims.ID, now) {
		return participant.Peer{}, nil, errors.New("token.replayed")
	}
	return peer, &commit.Used{Issuer: claims.Issuer, ID: claims.ID, Until: time.Unix(claims.Expires, 0).Add(Leeway), Now: now}, nil
}

// Settle remembers a token that nothing was committed for; ctx may be the one that carries it. A token that was used before is an error.
func (v *Verifier) Settle(ctx context.Context, u *commit.Used) error {
	if u.Kept() {
		return nil
	}
	fresh, err := v.replay.Remember(commit.WithUsed(ctx, nil), u.Issuer, u.ID, u.Until, u.Now)
	if err != nil {
		return fmt.Errorf("token.replay: %w", err)
	}
	if !fresh {
		return errors.New("token.replayed")
	}
	u.Keep()
	return nil
}

// Remember remembers another id than a token's, such as a presentation's, and reports whether it is new.
func (v *Verifier) Remember(ctx context.Context, issuer, id string, until time.Time) (fresh bool, err error) {
	return v.replay.Remember(ctx, issuer, id, until, v.now())
}

// refusedClaims make a token something else than a self-issued token: a presentation or a credential does not authenticate (security rule
// T-11), and keys come from the DID document alone.
var refusedClaims = []string{"sub_jwk", "vp", "vc", "verifiableCredential", "credentialSubject"}

func readClaims(payload []byte) (tokenClaims, error) {
	var c tokenClaims
	var all map[string]json.RawMessage
	if err := json.Unmarshal(payload, &all); err != nil {
		return c, fmt.Errorf("%w: payload", ErrSyntax)
	}
	for _, name := range refusedClaims {
		if _, ok := all[name]; ok {
			return c, fmt.Errorf("%w: claim %s is not allowed", ErrSyntax, name)
		}
	}
	if err := ijson.Unmarshal(payload, ijson.DefaultLimits(), &c); err != nil {
		return c, fmt.Errorf("%w: payload: %w", ErrSyntax, err)
	}
	if list, ok := c.Audience.([]any); ok && len(list) == 1 {
		c.Audience = list[0]
	}
	return c, nil
}

// claims checks everything that needs neither network nor store.
func (v *Verifier) claims(h Header, c tokenClaims, own participant.DID) (participant.DID, error) {
	kidDID, ok := DIDOf(h.KeyID)
	switch {
	case h.Type != "" && !strings.EqualFold(h.Type, "JWT"):
		return "", errors.New("token.typ: it is of another kind") // what signs presentations and credentials may be the same key
	case !ok:
		return "", errors.New("token.kid: want an absolute DID URL")
	case kidDID != c.Issuer:
		return "", errors.New("token.kid: its DID is not the issuer")
	case c.Issuer != c.Subject:
		return "", errors.New("token.subject: issuer and subject differ")
	case c.Audience != string(own):
		return "", errors.New("token.audience")
	case c.ID == "" || len(c.ID) > 255:
		return "", errors.New("token.jti: want 1 to 255 characters")
	}
	did, _, err := ParseDID(c.Issuer)
	if err != nil {
		return "", fmt.Errorf("token.issuer: %w", err)
	}
	if did == own {
		return "", errors.New("token.issuer: it is our own")
	}
	return did, c.Window.Check(v.now(), MaxTokenLife)
}

// signature finds the key through the DID, checks the signature and returns both. A key that the cached document does not have, or that does not fit, gives
// one look at a fresh document: keys rotate. When that cannot be had, the error is ErrUnchecked; a DID that has no document any more signs nothing.
func (v *Verifier) signature(ctx context.Context, did participant.DID, kid, token string, r Relationship) (*Document, any, error) {
	var last error
	var tried *Document
	for _, fresh := range []bool{false, true} {
		doc, err := v.documents.Resolve(ctx, did, fresh)
		switch {
		case errors.Is(err, ErrGone):
			return nil, nil, errors.Join(fmt.Errorf("did.resolve: %w", err), last)
		case err != nil:
			return nil, nil, errors.Join(fmt.Errorf("%w: did.resolve: %w", ErrUnchecked, err), last)
		}
		if doc == tried { // looked at a moment ago: a forgery costs one check, not two
			return nil, nil, last
		}
		tried = doc
		key, err := doc.Key(kid, r)
		if err == nil {
			err = v.check(ctx, token, key)
		}
		if err == nil {
			return doc, key, nil
		}
		if errors.Is(err, ErrUnchecked) {
			return nil, nil, err
		}
		last = fmt.Errorf("token.signature: %w", err)
	}
	return nil, nil, last
}

// check checks a signature when it is the caller's turn.
func (v *Verifier) check(ctx context.Context, token string, key any) error {
	leave, err := v.checks.Enter(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnchecked, err)
	}
	defer leave()
	return Verify(token, key)
}

// Signature checks a token's signature against its sender's DID document; see Verify for the rest of a self-issued token.
func (v *Verifier) Signature(ctx context.Context, did participant.DID, kid, token string, r Relationship) error {
	_, _, err := v.signature(ctx, did, kid, token, r)
	return err
}

// Bearer takes the token out of an Authorization header.
func Bearer(values []string) (string, error) {
	if len(values) != 1 || len(values[0]) > MaxToken+7 || len(values[0]) < 8 || !strings.EqualFold(values[0][:7], "bearer ") {
		return "", errors.New("authorization: want one header with a bearer token")
	}
	return values[0][7:], nil
}
