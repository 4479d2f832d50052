package participant

import (
	"fmt"
	"strings"
	"time"
)

// ID is the integer surrogate under which the store scopes everything of one hosted participant.
type ID int64

// DID is a decentralized identifier of the method did:web, syntactically checked by ParseDID in package identity
// before it becomes a DID here.
type DID string

// Participant is a company hosted by this process. Slug, DID and profile never change.
type Participant struct {
	ID      ID
	Slug    string // [a-z0-9-]{1,63}, the path element of all its addresses
	DID     DID
	Name    string // for people
	Profile string // id of its ecosystem's profile
	Created time.Time
}

// Peer is the counter-party of one request, after its self-issued token was verified (DCP 1.0, section 1.3).
type Peer struct {
	DID         DID
	Key         string   // digest of the key that signed its token
	AccessToken string   // claim "token" of its self-issued token, opaque, for one presentation query; may be empty
	Origins     []string // addresses of the DataService entries of its DID document: callbacks must share the origin of one; empty: it has none
}

// ValidSlug reports whether s can name a hosted participant.
func ValidSlug(s string) error {
	if len(s) < 1 || len(s) > 63 {
		return fmt.Errorf("slug has %d characters, want 1 to 63", len(s))
	}
	if i := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
	}); i >= 0 {
		return fmt.Errorf("slug %q has %q at position %d, want a-z, 0-9 or '-'", s, s[i], i+1)
	}
	return nil
}
