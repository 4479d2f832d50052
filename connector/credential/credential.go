package credential

import (
	"errors"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
)

const (
	contextV1 = "https://www.w3.org/2018/credentials/v1"
	baseType  = "VerifiableCredential"

	maxCredential   = 64 << 10
	maxPresentation = 256 << 10
)

// Stored is a credential in a wallet.
type Stored struct {
	ID       string
	Profile  string // Profile11 or Profile20
	Types    []string
	Contexts []string
	Token    string
	Fact     policy.Credential // under its last type
}

// Read takes a credential into a wallet: its form is checked, its signature is the business of those it is shown to.
// Informal issuers may leave out of it what a Verifier tolerates; nil: nobody may.
func Read(token string, holder participant.DID, informal map[participant.DID]bool) (Stored, error) {
	r, err := parse(token, maxCredential)
	if err == nil {
		err = r.formal(informal[r.issuer])
	}
	if err != nil {
		return Stored{}, err
	}
	facts, err := r.facts(r.types)
	if err != nil {
		return Stored{}, err
	}
	fact := facts[len(facts)-1]
	if fact.Subject["id"] != string(holder) {
		return Stored{}, errors.New("credential.subject: it was issued to somebody else")
	}
	return Stored{ID: r.id, Profile: r.profile, Types: append([]string{baseType}, r.types...), Contexts: r.contexts, Token: token, Fact: fact}, nil
}
