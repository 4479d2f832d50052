package dcphttp

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
)

// Fetcher gets status lists and schemas through the guarded dialer. Only status 200 is an answer; there are no redirects.
func Fetcher(client Doer) credential.Fetch {
	return func(ctx context.Context, url, accept string, limit int64) (credential.Fetched, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return credential.Fetched{}, err
		}
		r.Header.Set("Accept", accept)
		status, header, body, err := client.Do(r, limit)
		if err != nil {
			return credential.Fetched{}, err
		}
		if status != http.StatusOK {
			return credential.Fetched{}, fmt.Errorf("status %d", status)
		}
		return credential.Fetched{Body: body, MaxAge: maxAge(header)}, nil
	}
}

// maxAge is for how long an answer may be kept (RFC 9111, sections 4.2.1 and 5.2.2), less what it has spent in caches on its way; negative
// when nothing is said. What cannot be read says nothing, unless it says that nothing may be kept.
func maxAge(header http.Header) time.Duration {
	age := time.Duration(-1)
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil && age < 0 {
				age = time.Duration(n) * time.Second
			}
		}
	}
	if spent, err := strconv.ParseUint(header.Get("Age"), 10, 31); err == nil && age > 0 {
		age = max(0, age-time.Duration(spent)*time.Second)
	}
	return age
}
