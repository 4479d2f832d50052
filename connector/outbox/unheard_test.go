package outbox_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/outbox"
)

func TestOneRuleSaysWhatIsAnAnswer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	const never = -1
	for _, tt := range []struct {
		name   string
		status int
		after  string
		body   string
		heard  bool
		later  time.Duration // never: the peer did not say
	}{
		{"yes", 200, "", "", true, never},
		{"yes, in words of its own", 200, "", "OK", true, never},
		{"yes, with an address", 201, "", "", true, never},
		{"a redirect, which nobody follows", 307, "", "", true, never},
		{"no", 400, "", `{"code":"message.malformed"}`, true, never},
		{"no, without a word", 404, "", "", true, never},
		{"no, in JSON of another kind", 403, "", "[]", true, never},
		{"later, as it may be asked for at any time", 409, "5", "{}", true, never},
		{"not known", 401, "", `{"code":"unauthenticated"}`, false, never},
		{"too slow", 408, "", "", false, never},
		{"too early", 425, "", "", false, never},
		{"busy", 429, "", "", false, never},
		{"busy for seven seconds", 429, "7", "", false, 7 * time.Second},
		{"busy until it strikes", 503, "Tue, 24 Nov 2026 09:01:00 GMT", "", false, time.Minute},
		{"busy until it struck", 503, "Tue, 24 Nov 2026 08:59:00 GMT", "", false, 0},
		{"busy until an old form strikes", 503, "Tuesday, 24-Nov-26 09:01:00 GMT", "", false, time.Minute},
		{"busy for nobody knows how long", 503, "soon", "", false, 0},
		{"broken, whatever it says of later", 500, "7", "{}", false, never},
		{"away", 502, "", "<html>", false, never},
		{"a server below the protocol", 400, "", "400 Bad Request", false, never},
		{"a proxy before it", 403, "", "blocked", false, never},
		{"a page that wants somebody to log in", 200, "", "\n <!doctype html>", false, never},
		{"a page that leads there", 302, "", "<a href=/login>", false, never},
	} {
		stranger := outbox.Unheard(outbox.Response{Status: tt.status, RetryAfter: tt.after, Body: []byte(tt.body), Stranger: true}, now)
		if (stranger == nil) != (tt.heard || tt.status == 401) {
			t.Errorf("%s, to a stranger: %v", tt.name, stranger)
		}
		err := outbox.Unheard(outbox.Response{Status: tt.status, RetryAfter: tt.after, Body: []byte(tt.body)}, now)
		if (err == nil) != tt.heard {
			t.Errorf("%s: %v, want heard %t", tt.name, err, tt.heard)
		}
		var later *outbox.Later
		said := time.Duration(never)
		if errors.As(err, &later) {
			said = later.After
		}
		if said != tt.later {
			t.Errorf("%s: to be asked again after %v, want %v", tt.name, said, tt.later)
		}
	}
}
