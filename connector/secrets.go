package connector

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// secrets gives upstreams their credentials: read from its file at each use, so that it can be changed, and never for another origin than
// those that it is bound to.
type secrets []settings.Secret

// maxSecret bounds a credential in bytes.
const maxSecret = 8 << 10

// Header implements pull.Secrets.
func (s secrets) Header(ref string, target *url.URL) (name, value string, err error) {
	i := slices.IndexFunc(s, func(c settings.Secret) bool { return c.Name == ref })
	if i < 0 {
		return "", "", fmt.Errorf("there is no secret %q", ref)
	}
	asked, err := egress.Origin(target.Scheme + "://" + target.Host)
	if err != nil {
		return "", "", err
	}
	for _, raw := range s[i].Origins {
		if bound, err := egress.Origin(raw); err == nil && bound == asked {
			return s.read(s[i])
		}
	}
	return "", "", fmt.Errorf("secret %q is not bound to %s", ref, asked)
}

func (s secrets) read(c settings.Secret) (name, value string, err error) {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return "", "", fmt.Errorf("secret %q: %w", c.Name, err)
	}
	value = strings.TrimSpace(string(text))
	if value == "" || len(value) > maxSecret || strings.ContainsAny(value, "\r\n\x00") {
		return "", "", fmt.Errorf("secret %q: want one line of 1 to %d bytes", c.Name, maxSecret)
	}
	return c.Header, value, nil
}
