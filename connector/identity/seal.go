package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

// Vault derives tokens and seals what must not be readable at rest or by those who carry it, with the secrets of each hosted
// participant.
type Vault struct {
	Keys func(participant.Participant) (Keys, error)
	Rand io.Reader
}

// Token returns the access token of a transfer's generation: HMAC(key, transfer ‖ generation). The same arguments give it again, so
// that a lost answer is answered identically; nobody stores it here.
func (v Vault) Token(local participant.Participant, transfer string, generation int64) (string, error) {
	key, err := v.secret(local, SecretAccess)
	if err != nil {
		return "", err
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte("sluice/access/v1\x00" + transfer + "\x00" + strconv.FormatInt(generation, 10)))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)), nil
}

// Seal encrypts for rest.
func (v Vault) Seal(local participant.Participant, plain []byte) ([]byte, error) {
	return v.seal(local, SecretRest, plain, "rest")
}

// Open decrypts what Seal encrypted.
func (v Vault) Open(local participant.Participant, sealed []byte) ([]byte, error) {
	return v.open(local, SecretRest, sealed, "rest")
}

// maxCursor bounds a page token; the address of a peer's next page may be inside.
const maxCursor = 8 << 10

type cursor struct {
	Created int64  `json:"c"`
	ID      string `json:"i"`
}

// Cursors seals places in lists, bound to the caller and the query they were given for.
type Cursors struct{ Vault }

// Seal returns an opaque page token.
func (c Cursors) Seal(local participant.Participant, k page.Key, bind string) (string, error) {
	plain, err := json.Marshal(cursor{k.Created.UnixMicro(), k.ID})
	if err != nil {
		return "", err
	}
	sealed, err := c.seal(local, SecretCursor, plain, bind)
	return base64.RawURLEncoding.EncodeToString(sealed), err
}

// Open reads a page token of Seal with the same bind.
func (c Cursors) Open(local participant.Participant, token, bind string) (page.Key, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(token) > maxCursor {
		return page.Key{}, errors.New("the page token cannot be read")
	}
	plain, err := c.open(local, SecretCursor, sealed, bind)
	if err != nil {
		return page.Key{}, err
	}
	var k cursor
	if err := json.Unmarshal(plain, &k); err != nil {
		return page.Key{}, err
	}
	return page.Key{Created: time.UnixMicro(k.Created).UTC(), ID: k.ID}, nil
}

func (v Vault) secret(local participant.Participant, name Secret) ([]byte, error) {
	keys, err := v.Keys(local)
	if err != nil {
		return nil, err
	}
	return keys.Secret(name)
}

// ErrSealed tells that bytes were not encrypted by this key for this place, or have changed.
var ErrSealed = errors.New("not ours, or changed")

// Encrypt encrypts with a key of 32 bytes and binds: Decrypt gives plain back with the same bind only.
func Encrypt(rand io.Reader, key, plain, bind []byte) ([]byte, error) {
	aead, err := aead(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, bind), nil
}

// Decrypt decrypts what Encrypt encrypted, or returns ErrSealed.
func Decrypt(key, sealed, bind []byte) ([]byte, error) {
	aead, err := aead(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, ErrSealed
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], bind)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (v Vault) seal(local participant.Participant, name Secret, plain []byte, bind string) ([]byte, error) {
	key, err := v.secret(local, name)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	sealed, err := Encrypt(v.Rand, key, plain, bound(local, bind))
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// open tries what seals now first, and then what sealed before it.
func (v Vault) open(local participant.Participant, name Secret, sealed []byte, bind string) ([]byte, error) {
	keys, err := v.Keys(local)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	secrets, err := keys.Secrets(name)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", err)
	}
	for _, key := range secrets {
		plain, err := Decrypt(key, sealed, bound(local, bind))
		if !errors.Is(err, ErrSealed) {
			return plain, err
		}
	}
	return nil, fmt.Errorf("unseal: %w", ErrSealed)
}

func bound(local participant.Participant, bind string) []byte {
	return []byte(local.Slug + "\x00" + bind)
}
