package pull_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-connector/sluice/connector/dataplane/pull"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// opener lets requests out without asking where to.
type opener struct{}

func (opener) Open(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r)
}

const text = "0123456789abcdefghij"

// breaking serves text, and breaks off after a few bytes each of the first times.
func breaking(times int, change func(w http.ResponseWriter, r *http.Request, asked int)) (http.HandlerFunc, *atomic.Int32) {
	asked := new(atomic.Int32)
	return func(w http.ResponseWriter, r *http.Request) {
		n := int(asked.Add(1))
		w.Header().Set("Etag", `"one"`)
		if change != nil {
			change(w, r, n)
		}
		from := 0
		if start, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && r.Header.Get("If-Range") == w.Header().Get("Etag") {
			from, _ = strconv.Atoi(strings.TrimSuffix(start, "-"))
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-19/20")
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(text)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		if n <= times {
			_, _ = io.WriteString(w, text[from:from+5])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, text[from:])
	}, asked
}

func fetch(t *testing.T, h http.Handler) (string, error) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	body, err := pull.Fetcher{HTTP: opener{}}.Fetch(t.Context(), transfer.Address{Endpoint: s.URL, Properties: map[string]string{transfer.PropertyToken: "token"}}, "a/b")
	if err != nil {
		return "", err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	return string(got), err
}

func TestABodyThatBreaksOffGoesOnWhereItEnded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		times  int
		change func(w http.ResponseWriter, r *http.Request, asked int)
		want   string
		asked  int
		whole  bool
	}{
		{"never", 0, nil, text, 1, true},
		{"once", 1, nil, text, 2, true},
		{"twice", 2, nil, text, 3, true},
		{"again and again", 9, nil, text[:15], 3, false},
		{"from a peer that knows no ranges", 1, func(_ http.ResponseWriter, r *http.Request, _ int) { r.Header.Del("Range") }, text[:5], 2, false},
		{"and is another document by then", 1, func(w http.ResponseWriter, _ *http.Request, asked int) {
			w.Header().Set("Etag", `"`+strconv.Itoa(asked)+`"`)
		}, text[:5], 2, false},
		{"and has no version", 1, func(w http.ResponseWriter, _ *http.Request, _ int) { w.Header().Del("Etag") }, text[:5], 1, false},
		{"and has a weak version only", 1, func(w http.ResponseWriter, _ *http.Request, _ int) { w.Header().Set("Etag", `W/"one"`) }, text[:5], 1, false},
	} {
		h, asked := breaking(tt.times, tt.change)
		got, err := fetch(t, h)
		if got != tt.want || (err == nil) != tt.whole || int(asked.Load()) != tt.asked {
			t.Errorf("%s: got %q, %v after asking %d times; want %q after %d", tt.name, got, err, asked.Load(), tt.want, tt.asked)
		}
	}
}

func TestWhatIsNotTheRestIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	h, _ := breaking(1, func(w http.ResponseWriter, r *http.Request, asked int) {
		if asked > 1 { // says 206, begins elsewhere
			r.Header.Set("Range", "bytes=7-")
		}
	})
	if got, err := fetch(t, h); got != text[:5] || err == nil {
		t.Errorf("got %q, %v; want what came first and an error", got, err)
	}
}

func TestARefusalAtTheDataDoorIsOne(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]fault.Kind{401: fault.Refused, 403: fault.Refused, 404: fault.Unavailable, 503: fault.Unavailable, 206: fault.Unavailable} {
		if _, err := fetch(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })); !fault.Is(err, want) {
			t.Errorf("%d: %v, want %s", status, err, want)
		}
	}
}
