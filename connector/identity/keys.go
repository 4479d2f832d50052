package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// Use is what a key signs; keys are separate per use where the standards allow it.
type Use string

// The uses.
const (
	UseToken Use = "token" // self-issued tokens and presentations: capabilityInvocation and authentication
	UseIssue Use = "issue" // credentials, by an issuer: assertionMethod
)

// Secret names a symmetric key of a participant.
type Secret string

// The secrets, 32 bytes each.
const (
	SecretAccess Secret = "access" // data plane tokens
	SecretHolder Secret = "holder" // presentation access tokens
	SecretRest   Secret = "rest"   // what is encrypted in the store
	SecretLog    Secret = "log"    // commitments of the decision log
	SecretCursor Secret = "cursor" // page tokens
)

// Keys signs and seals for one hosted participant. What keeps them may be elsewhere: no private byte of a signing key leaves it. Keys are
// rotated while they are used, so each call sees those of its moment.
type Keys interface {
	// Public lists the keys of the use that the DID document shows: the one that signs now first, then the others, newest first. Among them
	// are those that will sign soon, and those that no longer do and whose signatures are still good.
	Public(use Use) []PublicKey
	// Signer returns the key that signs for the use now. Who holds it may finish signing with it whatever happens to the key meanwhile.
	Signer(use Use) (Signer, error)
	// Generation changes whenever what Public lists does.
	Generation() uint64
	// LogKey is the Ed25519 key of the decision log's checkpoints.
	LogKey() ed25519.PublicKey
	// SignLog signs a checkpoint.
	SignLog(msg []byte) ([]byte, error)
	// Secret returns the symmetric key that seals now.
	Secret(name Secret) ([]byte, error)
	// Secrets lists those that still open what they sealed, the one that seals now first.
	Secrets(name Secret) ([][]byte, error)
}

// Signer is one key that signs.
type Signer interface {
	Public() PublicKey
	// Sign returns a JWS signature over the input, in the algorithm of the key. until is when what is signed is no longer good: the DID
	// document lists the key at least so long, unless it is revoked.
	Sign(ctx context.Context, input []byte, until time.Time) ([]byte, error)
}

// PublicKey is a key as a DID document shows it.
type PublicKey struct {
	ID  string // fragment, without '#'
	Key any    // *ecdsa.PublicKey on P-256, or ed25519.PublicKey
}

// algorithmOf is fixed by the key; a token cannot choose (security rule T-12).
func algorithmOf(key any) (jwa.SignatureAlgorithm, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve.Params().Name == "P-256" {
			return jwa.ES256, nil
		}
	case ed25519.PublicKey:
		return jwa.EdDSA, nil
	}
	return "", fmt.Errorf("keys of type %T are not allowed here", key)
}

// publicJWK returns the members of a key for a DID document; private members are impossible by type.
func publicJWK(key any) (map[string]any, error) {
	if _, err := algorithmOf(key); err != nil {
		return nil, err
	}
	k, err := jwk.FromRaw(key)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"kty": k.KeyType().String()}
	for _, name := range []string{"crv", "x", "y"} {
		if v, ok := k.Get(name); ok {
			out[name] = v
		}
	}
	return out, nil
}

// parseJWK reads a public key of an allowed kind that may verify signatures.
func parseJWK(raw []byte) (any, error) {
	k, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, err
	}
	if _, said := k.Get(jwk.KeyUsageKey); said && k.KeyUsage() != jwk.ForSignature.String() {
		return nil, fmt.Errorf("the key is for use %q", k.KeyUsage())
	}
	if _, said := k.Get(jwk.KeyOpsKey); said && !slices.Contains(k.KeyOps(), jwk.KeyOpVerify) {
		return nil, fmt.Errorf("the key is for %v", k.KeyOps())
	}
	var key any
	if err := k.Raw(&key); err != nil {
		return nil, err
	}
	switch v := key.(type) {
	case ecdsa.PublicKey:
		key = &v
	case *ecdsa.PrivateKey, ed25519.PrivateKey:
		return nil, fmt.Errorf("the key is private")
	}
	if _, err := algorithmOf(key); err != nil {
		return nil, err
	}
	if ec, ok := key.(*ecdsa.PublicKey); ok {
		if _, err := ec.ECDH(); err != nil {
			return nil, fmt.Errorf("the key is not on its curve: %w", err)
		}
	}
	return key, nil
}

// digestOf names a public key by what it is, whatever a document calls it.
func digestOf(key any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), err
}

// verifySignature checks a compact JWS with one key and the algorithm of that key.
func verifySignature(token string, key any) error {
	alg, err := algorithmOf(key)
	if err != nil {
		return err
	}
	header, _, err := ParseJWT(token, len(token))
	if err != nil {
		return err
	}
	if header.Algorithm != alg.String() {
		return fmt.Errorf("the header names %s, the key signs %s", header.Algorithm, alg)
	}
	_, err = jws.Verify([]byte(token), jws.WithKey(alg, key))
	return err
}
