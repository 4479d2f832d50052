package connector

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// sources are the operator's own servers and the credentials for them, each for the participants that it belongs to. What is another's
// reads like what is not there (security rules T-06 and T-31).
type sources struct{ settings settings.Settings }

// maxSecret bounds a credential in bytes.
const maxSecret = 8 << 10

// Check implements catalog.Sources.
func (s sources) Check(local participant.Participant, a catalog.Address) error {
	base, err := url.Parse(a.BaseURL)
	if err != nil || base.User != nil || base.Fragment != "" {
		return fmt.Errorf("the upstream address must be a URL without user information and fragment")
	}
	if _, err := url.ParseQuery(base.RawQuery); err != nil {
		return fmt.Errorf("the upstream address has a query that cannot be read: %w", err)
	}
	_, err = s.find(local, a.SecretRef, base)
	return err
}

// Header implements pull.Sources. A credential is read from its file at each use, so that it can be changed.
func (s sources) Header(local participant.Participant, ref string, target *url.URL) (http.Header, error) {
	secret, err := s.find(local, ref, target)
	if err != nil || secret == nil {
		return nil, err
	}
	text, err := os.ReadFile(secret.File)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", ref, err)
	}
	value := strings.TrimSpace(string(text))
	if value == "" || len(value) > maxSecret || strings.ContainsAny(value, "\r\n\x00") {
		return nil, fmt.Errorf("secret %q: want one line of 1 to %d bytes", ref, maxSecret)
	}
	h := http.Header{}
	h.Set(secret.Header, value)
	return h, nil
}

// find says whether the target is on an upstream of the participant, and which secret of the participant goes there; nil for no ref.
func (s sources) find(local participant.Participant, ref string, target *url.URL) (*settings.Secret, error) {
	asked, err := egress.Origin(target.Scheme + "://" + target.Host)
	if err != nil {
		return nil, err
	}
	leads := func(raw string) bool {
		origin, err := egress.Origin(raw)
		return err == nil && origin == asked
	}
	if !slices.ContainsFunc(s.settings.Egress.Upstreams, func(u settings.Upstream) bool {
		return s.settings.Owns(local.Slug, u.Participants) && leads(u.Origin)
	}) {
		return nil, fmt.Errorf("%s is no upstream of %s", asked, local.Slug)
	}
	if ref == "" {
		return nil, nil
	}
	i := slices.IndexFunc(s.settings.Egress.Secrets, func(c settings.Secret) bool {
		return c.Name == ref && s.settings.Owns(local.Slug, c.Participants)
	})
	if i < 0 || !slices.ContainsFunc(s.settings.Egress.Secrets[i].Origins, leads) {
		return nil, fmt.Errorf("%s has no secret %q for %s", local.Slug, ref, asked)
	}
	return &s.settings.Egress.Secrets[i], nil
}
