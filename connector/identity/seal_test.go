package identity_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/sluice-connector/sluice/connector/identity"
)

func TestWhatIsEncryptedOpensForItsKeyAndPlaceAlone(t *testing.T) {
	t.Parallel()
	key, other := make([]byte, 32), bytes.Repeat([]byte{1}, 32)
	sealed, err := identity.Encrypt(rand.Reader, key, []byte("secret"), []byte("here"))
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if plain, err := identity.Decrypt(key, sealed, []byte("here")); err != nil || string(plain) != "secret" {
		t.Errorf("%q, %v", plain, err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, try := range map[string]struct{ key, sealed, bind []byte }{
		"another key":    {other, sealed, []byte("here")},
		"another place":  {key, sealed, []byte("there")},
		"a changed byte": {key, changed, []byte("here")},
		"a few bytes":    {key, sealed[:8], []byte("here")},
		"nothing":        {key, nil, []byte("here")},
	} {
		if plain, err := identity.Decrypt(try.key, try.sealed, try.bind); !errors.Is(err, identity.ErrSealed) || plain != nil {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
	if _, err := identity.Encrypt(rand.Reader, key[:5], nil, nil); err == nil {
		t.Error("a key of five bytes was taken")
	}
}
