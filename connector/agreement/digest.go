package agreement

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// normalised is what both sides digest: the terms, the parties and the moment, without transport.
type normalised struct {
	ID        string          `json:"id"`
	Target    string          `json:"target"`
	Provider  string          `json:"provider"`
	Consumer  string          `json:"consumer"`
	Timestamp string          `json:"timestamp"`
	Policy    json.RawMessage `json:"policy"`
}

// DigestOf returns the digest of the agreement: equal on both sides of one contract, whoever computes it.
func DigestOf(a Agreement) (string, error) {
	b, err := ijson.Marshal(normalised{a.ID, a.Asset, string(a.Provider), string(a.Consumer), a.Signed.UTC().Format(time.RFC3339Nano), odrl.Canonical(a.Policy)})
	if err != nil {
		return "", fmt.Errorf("digest of agreement %s: %w", a.ID, err)
	}
	return ijson.Digest("agreement", b), nil
}
