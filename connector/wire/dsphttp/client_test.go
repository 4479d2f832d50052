package dsphttp_test

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// caller is the client of Boreal Drives, and a peer that answers whatever the test says.
type caller struct {
	*dsphttp.Client
	local  participant.Participant
	peer   participant.DID
	origin string // of the peer
	log    *strings.Builder

	mu      sync.Mutex
	now     time.Time
	asked   []string // method and path of what the peer was asked, its DID document aside
	answers map[string]http.HandlerFunc
}

// ByID implements dsphttp.Hosted.
func (c *caller) ByID(context.Context, participant.ID) (participant.Participant, error) {
	return c.local, nil
}

func (c *caller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, r.Method+" "+r.URL.EscapedPath())
	h, ok := c.answers[r.URL.Path]
	c.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	h(w, r)
}

// requests says what the peer was asked since the last time.
func (c *caller) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.asked
	c.asked = nil
	return out
}

func newCaller(t *testing.T, callbacks ...string) *caller {
	t.Helper()
	c := &caller{local: participant.Participant{ID: 1, Slug: "boreal", DID: "did:web:boreal.example:boreal"}, log: &strings.Builder{},
		now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	server := httptest.NewTLSServer(c)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	check(t, err)
	// The name that the certificate of test servers is for.
	c.origin, c.peer = "https://example.com:"+port, participant.DID("did:web:example.com%3A"+port+":aurora")
	keys, err := keyring.Draw("company", rand.Reader, time.Now)
	check(t, err)
	document, err := identity.NewDocument(c.peer, keys, []identity.Service{{ID: "#dsp", Type: "DataService", Endpoint: c.origin + "/aurora/.well-known/dspace-version"}})
	check(t, err)
	c.answers = map[string]http.HandlerFunc{
		"/aurora/did.json":                   says(http.StatusOK, string(document)),
		"/aurora/.well-known/dspace-version": says(http.StatusOK, `{"protocolVersions":[{"version":"2025-1","path":"/dsp/2025-1","binding":"HTTPS"}]}`),
	}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), c.log), nil))
	clock := func() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
	way := egress.New(egress.Config{Dial: (&net.Dialer{}).DialContext, Allow: []string{c.origin}, Public: true, Log: log,
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		TLS: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}})
	t.Cleanup(way.Close)
	keysOf := func(participant.Participant) (identity.Keys, error) { return keys, nil }
	agent := dcphttp.New(dcphttp.Config{Keys: keysOf, Scopes: func(participant.Participant) []string { return nil }, Holder: &credential.Holder{Keys: keysOf, Now: clock, Rand: rand.Reader}, Now: clock, Rand: rand.Reader, Log: log})
	c.Client = dsphttp.NewClient(dsphttp.ClientConfig{HTTP: way, Authorizer: agent, Services: identity.NewResolver(way.Fetch, clock), Hosted: c,
		Base:      func(p participant.Participant) string { return "https://boreal.example/" + p.Slug + "/dsp/2025-1" },
		Callbacks: callbacks, Now: clock, Log: log})
	return c
}

func says(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestACallbackAddressIsThePeersOwnOrOnTheOperatorsList(t *testing.T) {
	t.Parallel()
	own := []string{"https://aurora.example/aurora/.well-known/dspace-version"}
	for name, tt := range map[string]struct {
		address   string
		origins   []string
		ok, noted bool
	}{
		"its own origin":                    {"https://aurora.example/dsp", own, true, false},
		"its own origin, port named":        {"https://aurora.example:443/dsp", own, true, false},
		"its own origin, in capitals":       {"https://AURORA.example/dsp", own, true, false},
		"another origin":                    {"https://dusk.example/dsp", own, false, false},
		"an origin that begins like its":    {"https://aurora.example.dusk.example/dsp", own, false, false},
		"its own name before another":       {"https://aurora.example@dusk.example/dsp", own, false, false},
		"a part of its own name":            {"https://www.aurora.example/dsp", own, false, false},
		"another port":                      {"https://aurora.example:8443/dsp", own, false, false},
		"without TLS":                       {"http://aurora.example/dsp", own, false, false},
		"an address":                        {"https://127.0.0.1/dsp", []string{"https://127.0.0.1"}, false, false},
		"a name without a domain":           {"https://localhost/dsp", []string{"https://localhost"}, false, false},
		"with a query":                      {"https://aurora.example/dsp?x=1", own, false, false},
		"with a fragment":                   {"https://aurora.example/dsp#x", own, false, false},
		"no URL":                            {"https://aurora.example/%zz", own, false, false},
		"nothing":                           {"", own, false, false},
		"too long":                          {"https://aurora.example/" + strings.Repeat("x", 2048), own, false, false},
		"an origin on the list":             {"https://gateway.example/x", own, true, false},
		"on the list, of one without entry": {"https://gateway.example/x", nil, true, false},
		"any, of one without entry":         {"https://elsewhere.example/x", nil, true, true},
		"forbidden, of one without entry":   {"https://169.254.169.254/", nil, false, false},
	} {
		c := newCaller(t, "https://gateway.example:443")
		err := c.Callback(t.Context(), participant.Peer{DID: c.peer, Origins: tt.origins}, tt.address)
		if (err == nil) != tt.ok || err != nil && !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
		if noted := strings.Contains(c.log.String(), "egress rules alone"); noted != tt.noted {
			t.Errorf("%s: noted %t, want %t", name, noted, tt.noted)
		}
	}
}

func TestOnePeersOriginsAreNotKeptForTheNext(t *testing.T) {
	t.Parallel()
	list := make([]string, 1, 4)
	list[0] = "https://gateway.example:443"
	c := newCaller(t, list...)
	check(t, c.Callback(t.Context(), participant.Peer{DID: c.peer, Origins: []string{"https://aurora.example"}}, "https://aurora.example/dsp"))
	if list[:2][1] != "" {
		t.Errorf("the operator's list goes on with %q", list[:2][1])
	}
}

func TestALookIsAtTheProcessThatTheMessageWentTo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		process commit.ProcessKind
		path    string
		want    string // "" when there is nothing to look at
	}{
		{commit.Negotiation, "/aurora/dsp/negotiations/urn:p/events", "/aurora/dsp/negotiations/urn:p"},
		{commit.Negotiation, "/aurora/dsp/negotiations/urn:p/agreement/verification", "/aurora/dsp/negotiations/urn:p"},
		{commit.Negotiation, "/aurora/dsp/negotiations/a%2Fb/request", "/aurora/dsp/negotiations/a%2Fb"},
		{commit.Negotiation, "/negotiations/x/negotiations/urn:p/offers", "/negotiations/x/negotiations/urn:p"},
		{commit.Negotiation, "/transfers/x/negotiations/urn:p/offers", "/transfers/x/negotiations/urn:p"},
		{commit.Negotiation, "/dsp/negotiations/transfers/offers", "/dsp/negotiations/transfers"},
		{commit.Transfer, "/negotiations/x/transfers/urn:p/start", "/negotiations/x/transfers/urn:p"},
		{commit.Transfer, "/dsp/transfers/negotiations/termination", "/dsp/transfers/negotiations"},
		{commit.Negotiation, "/aurora/dsp/negotiations/request", ""},
		{commit.Negotiation, "/negotiations/x/negotiations/offers", ""},
		{commit.Negotiation, "/negotiations/negotiations/request", ""},
		{commit.Transfer, "/aurora/dsp/transfers/request", ""},
		{commit.Transfer, "/aurora/dsp/negotiations/urn:p/events", ""},
		{commit.Negotiation, "/aurora/dsp/negotiations//events", ""},
		{commit.Negotiation, "/elsewhere", ""},
		{commit.Negotiation, "", ""},
		{"else", "/aurora/dsp/negotiations/urn:p/events", ""},
	} {
		c := newCaller(t)
		path, err := url.PathUnescape(tt.want)
		check(t, err)
		c.answers[path] = says(http.StatusOK, `{"providerPid":"urn:p","consumerPid":"urn:c","state":"AGREED"}`)
		got, err := c.Look(t.Context(), commit.Owed{Process: tt.process, Peer: c.peer, URL: c.origin + tt.path})
		if tt.want == "" {
			if asked := c.requests(); !errors.Is(err, outbox.ErrNowhere) || len(asked) > 0 {
				t.Errorf("%s: %v, asked %v; want ErrNowhere", tt.path, err, asked)
			}
			continue
		}
		if asked := c.requests(); err != nil || got.Status != http.StatusOK || got.State != "AGREED" || !slices.Equal(asked, []string{"GET " + tt.want}) {
			t.Errorf("%s: %+v, %v, asked %v; want %s", tt.path, got, err, asked, tt.want)
		}
	}
}

func TestAnAnswerIsFinalOrTriedAgain(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	for status, final := range map[int]bool{200: true, 201: true, 204: true, 400: true, 403: true, 404: true, 409: true, 415: true,
		307: true, 401: false, 408: false, 425: false, 429: false, 500: false, 502: false, 503: false} {
		c.answers["/dsp/negotiations/request"] = says(status, "")
		got, err := c.Send(t.Context(), commit.Owed{Process: commit.Negotiation, Peer: c.peer, URL: c.origin + "/dsp/negotiations/request", Body: []byte("{}")})
		if (err == nil) != final || final && got.Status != status {
			t.Errorf("%d: %+v, %v", status, got, err)
		}
	}
}

// A server whose client was slow answers before the protocol has seen the message: that is no refusal, and no proof that a process is not there.
// Nor is it a proof that the message came to where it should: a page with status 200 is from a gateway that wants somebody to log in.
func TestWhatIsNotTheProtocolCannotAnswerAMessage(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	for _, tt := range []struct {
		status int
		body   string
		final  bool
	}{
		{400, "400 Bad Request", false},
		{400, "<html>Bad Request</html>", false},
		{400, `{"code":"message.malformed"}`, true},
		{400, `[]`, true},
		{400, "", true},
		{403, "blocked by the proxy", false},
		{404, "404 page not found", false},
		{404, `{"code":"not.found"}`, true},
		{404, "", true},
		{200, "\n <!doctype html><title>Log in</title>", false},
		{200, "OK", true},
		{200, "", true},
	} {
		answer := says(tt.status, tt.body)
		c.answers["/dsp/negotiations/urn:p/agreement"], c.answers["/dsp/negotiations/urn:p"] = answer, answer
		o := commit.Owed{Process: commit.Negotiation, Peer: c.peer, URL: c.origin + "/dsp/negotiations/urn:p/agreement", Body: []byte("{}")}
		_, sent := c.Send(t.Context(), o)
		_, looked := c.Look(t.Context(), o)
		if (sent == nil) != tt.final || (looked == nil) != tt.final {
			t.Errorf("%d %q: sent %v, looked %v", tt.status, tt.body, sent, looked)
		}
	}
}

func TestAPeerSaysWhenItWantsToBeAskedAgain(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	for _, tt := range []struct {
		status int
		says   string
		after  time.Duration
		said   bool
	}{
		{429, "7", 7 * time.Second, true},
		{503, "Tue, 24 Nov 2026 09:00:30 GMT", 30 * time.Second, true},
		{503, "Tue, 24 Nov 2026 08:00:00 GMT", 0, true},
		{429, "-1", 0, true},
		{429, "99999999999999999999", 0, true},
		{429, "soon", 0, true},
		{429, "", 0, false},
		{500, "7", 0, false},
	} {
		c.answers["/dsp/negotiations/request"] = says(tt.status, "", "Retry-After", tt.says)
		_, err := c.Send(t.Context(), commit.Owed{Process: commit.Negotiation, Peer: c.peer, URL: c.origin + "/dsp/negotiations/request", Body: []byte("{}")})
		var later *outbox.Later
		if said := errors.As(err, &later); said != tt.said || said && later.After != tt.after {
			t.Errorf("%d with %q: %v, after %v; want %v", tt.status, tt.says, err, later, tt.after)
		}
	}
}

// catalog lets the peer answer with a catalog of the company, or with an error.
func (c *caller) catalog(of participant.DID, status int, headers ...string) {
	body := fmt.Sprintf(`{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"Catalog","@id":"urn:c","participantId":%q}`, of)
	if status != http.StatusOK {
		body = `{"@type":"CatalogError","code":"some.code","reason":["because"]}`
	}
	c.answers["/aurora/dsp/2025-1/catalog/request"] = says(status, body, headers...)
}

func TestAPeersRefusalKeepsItsCodeAndReasons(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	for status, kind := range map[int]fault.Kind{400: fault.Unavailable, 401: fault.Refused, 403: fault.Refused, 404: fault.NotFound, 500: fault.Unavailable} {
		c.catalog(c.peer, status)
		_, err := c.Catalog(t.Context(), c.local, c.peer, "")
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != kind || f.Code != "some.code" || !slices.Equal(f.Reasons, []string{"because"}) {
			t.Errorf("%d: %v, want %s with the peer's code and reasons", status, err, kind)
		}
	}
}

func TestTheNextPageIsFollowedOnThePeersOwnOriginOnly(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		"": "",
		`</aurora/dsp/2025-1/catalog/request?page=2>; rel="next"`: "/aurora/dsp/2025-1/catalog/request?page=2",
		`</p>; rel="prev", </n>; rel="next"`:                      "/n",
		`</n>;rel = "next"; title="x"`:                            "/n",
		`</p>; rel="prev"`:                                        "",
		`</n>; rel="nextish"`:                                     "",
		`</n>; rel=next`:                                          "/n",
		`</n>; REL="last Next"`:                                   "/n",
		`</n?a=1,2;3>; title="a, b; c"; rel="next"`:               "/n?a=1,2;3",
		`</p>; rel="previous",</n>;rel="next"`:                    "/n",
		`</p>; title="; rel=next"; rel="prev"`:                    "",
		`</p>; rel="prev"; rel="next"`:                            "",
		`<https://dusk.example/n>; rel="next"`:                    "",
		`<//dusk.example/n>; rel="next"`:                          "",
		`<http://example.com/n>; rel="next"`:                      "",
		`<https://example.com/n>; rel="next"`:                     "", // another port
		`<%zz>; rel="next"`:                                       "",
		`no link`:                                                 "",
	} {
		c := newCaller(t)
		c.catalog(c.peer, http.StatusOK, "Link", link)
		remote, err := c.Catalog(t.Context(), c.local, c.peer, "")
		if want != "" {
			want = c.origin + want
		}
		if err != nil || remote.Next != want {
			t.Errorf("%s leads to %q, %v; want %q", link, remote.Next, err, want)
		}
	}
	for _, headers := range [][]string{{"Link", `</p>; rel="prev"`, "Link", `</n>; rel="next"`}, {"Link", `</n>; rel="next"`, "Link", `</p>; rel="previous"`}} {
		c := newCaller(t)
		c.catalog(c.peer, http.StatusOK, headers...)
		if remote, err := c.Catalog(t.Context(), c.local, c.peer, ""); err != nil || remote.Next != c.origin+"/n" {
			t.Errorf("%v lead to %q, %v", headers, remote.Next, err)
		}
	}
	c := newCaller(t)
	c.catalog(c.peer, http.StatusOK)
	c.answers["/n"] = c.answers["/aurora/dsp/2025-1/catalog/request"]
	if _, err := c.Catalog(t.Context(), c.local, c.peer, c.origin+"/n"); err != nil {
		t.Error(err)
	}
	c.requests()
	for _, next := range []string{"https://dusk.example/n", "http://example.com/n", "//dusk.example/n", "%zz"} {
		if _, err := c.Catalog(t.Context(), c.local, c.peer, next); !fault.Is(err, fault.Malformed) || len(c.requests()) > 0 {
			t.Errorf("%s: %v", next, err)
		}
	}
}

func TestACompressedCatalogIsReadAndNoFurtherThanOneThatIsNot(t *testing.T) {
	t.Parallel()
	const path = "/aurora/dsp/2025-1/catalog/request"
	c := newCaller(t)
	body := fmt.Sprintf(`{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"Catalog","@id":"urn:c","participantId":%q}`, c.peer)
	zipped := func(size int) string {
		var out strings.Builder
		z := gzip.NewWriter(&out)
		_, err := io.WriteString(z, body+strings.Repeat(" ", size))
		check(t, errors.Join(err, z.Close()))
		return out.String()
	}
	c.answers[path] = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("a catalog was asked for in %q", r.Header.Get("Accept-Encoding"))
		}
		says(http.StatusOK, zipped(0), "Content-Encoding", "gzip")(w, r)
	}
	if _, err := c.Catalog(t.Context(), c.local, c.peer, ""); err != nil {
		t.Error(err)
	}
	for name, bytes := range map[string]string{"a bomb": zipped(9 << 20), "half of it": zipped(100)[:30], "no gzip": body} {
		c.answers[path] = says(http.StatusOK, bytes, "Content-Encoding", "gzip")
		if _, err := c.Catalog(t.Context(), c.local, c.peer, ""); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACatalogOfSomebodyElseIsNotTaken(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	c.catalog("did:web:dusk.example:dusk", http.StatusOK)
	if _, err := c.Catalog(t.Context(), c.local, c.peer, ""); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestADatasetThatWasNotAskedForIsNotTaken(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	for id, taken := range map[string]bool{"asked": true, "another": false} {
		c.answers["/aurora/dsp/2025-1/catalog/datasets/asked"] = says(http.StatusOK, fmt.Sprintf(`{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],
			"@type":"Dataset","@id":%q,"hasPolicy":[{"@id":"urn:o","@type":"Offer","permission":[{"action":"use"}]}]}`, id))
		d, err := c.Dataset(t.Context(), c.local, c.peer, "asked")
		if taken != (err == nil && d.ID == id) || !taken && !fault.Is(err, fault.Unavailable) {
			t.Errorf("the dataset %q came to %+v, %v", id, d, err)
		}
	}
}

func TestAPeersEndpointIsFoundThroughItsDocumentAndKeptForFiveMinutes(t *testing.T) {
	t.Parallel()
	const versions = "GET /aurora/.well-known/dspace-version"
	c := newCaller(t)
	for _, step := range []struct {
		wait time.Duration
		asks int
	}{{0, 1}, {5*time.Minute - 1, 0}, {1, 1}} {
		c.mu.Lock()
		c.now = c.now.Add(step.wait)
		c.mu.Unlock()
		got, err := c.Endpoint(t.Context(), c.local, c.peer)
		if err != nil || got != c.origin+"/aurora/dsp/2025-1" {
			t.Errorf("found %q, %v", got, err)
		}
		n := 0
		for _, asked := range c.requests() {
			if asked == versions {
				n++
			}
		}
		if n != step.asks {
			t.Errorf("%v later: asked for versions %d times, want %d", step.wait, n, step.asks)
		}
	}
}

func TestOfSeveralServicesTheOneWithAVersionDocumentInCommonCounts(t *testing.T) {
	t.Parallel()
	c := newCaller(t)
	c.document(t, []identity.Service{{ID: "#catalog", Type: "CatalogService", Endpoint: c.origin + "/other/catalog"},
		{ID: "#old", Type: "DataService", Endpoint: c.origin + "/old"}, {ID: "#dsp", Type: "DataService", Endpoint: c.origin + "/x/.well-known/dspace-version/"}})
	c.answers["/x/.well-known/dspace-version/"] = says(http.StatusOK, `{"protocolVersions":[{"version":"v0.8","path":"/"},{"version":"2024/1","path":"/2024/1"},
		{"version":"2025-1","path":"/mqtt","binding":"MQTT"},{"version":"2025/1","path":"/2025/1/"},{"version":"2025-1","path":"/second","binding":"HTTPS"}]}`)
	if got, err := c.Endpoint(t.Context(), c.local, c.peer); err != nil || got != c.origin+"/x/2025/1" {
		t.Errorf("found %q, %v", got, err)
	}
}

func TestAPeerWithoutAnEndpointIsRefusedByKind(t *testing.T) {
	t.Parallel()
	const version = "/aurora/.well-known/dspace-version"
	for name, tt := range map[string]struct {
		change func(t *testing.T, c *caller)
		want   fault.Kind
	}{
		"no document":         {func(_ *testing.T, c *caller) { delete(c.answers, "/aurora/did.json") }, fault.Unavailable},
		"no version document": {func(_ *testing.T, c *caller) { delete(c.answers, version) }, fault.Unavailable},
		"no version of ours": {func(_ *testing.T, c *caller) {
			c.answers[version] = says(http.StatusOK, `{"protocolVersions":[{"version":"2024-1","path":"/x"}]}`)
		}, fault.Unavailable},
		"a redirect": {func(_ *testing.T, c *caller) {
			c.answers[version] = says(http.StatusFound, "", "Location", "/elsewhere")
		}, fault.Unavailable},
		"a version document too large": {func(_ *testing.T, c *caller) {
			c.answers[version] = says(http.StatusOK, strings.Repeat(" ", 2<<20))
		}, fault.Unavailable},
		"no DataService": {func(t *testing.T, c *caller) { c.document(t, nil) }, fault.NotFound},
		"a DataService that is no version document": {func(t *testing.T, c *caller) {
			c.document(t, []identity.Service{{ID: "#dsp", Type: "DataService", Endpoint: c.origin + "/aurora/dsp"}})
		}, fault.Unavailable},
		"a DataService inside": {func(t *testing.T, c *caller) {
			c.document(t, []identity.Service{{ID: "#dsp", Type: "DataService", Endpoint: "https://127.0.0.1/.well-known/dspace-version"}})
		}, fault.Unavailable},
	} {
		c := newCaller(t)
		tt.change(t, c)
		if got, err := c.Endpoint(t.Context(), c.local, c.peer); !fault.Is(err, tt.want) {
			t.Errorf("%s: %q, %v; want %s", name, got, err, tt.want)
		}
	}
}

// document lets the peer publish a DID document with the services.
func (c *caller) document(t *testing.T, services []identity.Service) {
	t.Helper()
	keys, err := keyring.Draw("company", rand.Reader, time.Now)
	check(t, err)
	document, err := identity.NewDocument(c.peer, keys, services)
	check(t, err)
	c.answers["/aurora/did.json"] = says(http.StatusOK, string(document))
}
