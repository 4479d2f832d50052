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
		return fetched(client, r, limit)
	}
}

// Holder gets status lists when they change, where their server can hold an answer (RFC 7240, section 4.3). The client must have more patience than
// the longest wait.
func Holder(client Doer) credential.Hold {
	return func(ctx context.Context, url, accept, tag string, wait time.Duration, limit int64) (credential.Fetched, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return credential.Fetched{}, err
		}
		r.Header.Set("Accept", accept)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
			r.Header.Set("Prefer", fmt.Sprintf("wait=%d", int(wait/time.Second)))
			r.Header.Set("Cache-Control", "no-cache") // who answers in the server's place does not know when it changes
		}
		return fetched(client, r, limit)
	}
}

func fetched(client Doer, r *http.Request, limit int64) (credential.Fetched, error) {
	status, header, body, err := client.Do(r, limit)
	if err != nil {
		return credential.Fetched{}, err
	}
	out := credential.Fetched{Body: body, MaxAge: maxAge(header), Tag: header.Get("ETag"), Held: held(header.Values("Preference-Applied"))}
	if len(out.Tag) > maxTag {
		out.Tag = ""
	}
	switch {
	case status == http.StatusOK:
	case status == http.StatusNotModified && r.Header.Get("If-None-Match") != "":
		out.Same = true
	default:
		return credential.Fetched{}, fmt.Errorf("status %d", status)
	}
	return out, nil
}

// maxTag bounds an entity tag that we repeat.
const maxTag = 256

// held reports whether a server says that it waited.
func held(applied []string) bool {
	for part := range strings.SplitSeq(strings.Join(applied, ","), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(strings.TrimSpace(name), "wait") {
			return true
		}
	}
	return false
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
