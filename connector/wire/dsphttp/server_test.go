package dsphttp_test

import (
	"bufio"
	"compress/gzip"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// world is Cobalt Cells, which offers something, and two companies whose messages the test writes by hand.
type world struct {
	cobalt *network.Company
	client *http.Client
	locals map[string]participant.Participant
	keys   map[string]identity.Keys
	base   string
}

func setup(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	n, err := network.Start(t.Context(), network.Config{Dir: dir, Now: time.Now, Members: []network.Member{
		{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true},
		{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true},
		{Slug: "dusk", Name: "Dusk Trading", BPN: "BPNL00000000DUS1", Framework: true},
	}, Log: func(slug string) *slog.Logger {
		return slog.New(slog.NewTextHandler(t.Output(), nil)).With(slog.String("company", slug))
	}})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	w := &world{cobalt: n.Companies["cobalt"], locals: map[string]participant.Participant{}, keys: map[string]identity.Keys{}}
	for _, slug := range []string{"boreal", "cobalt", "dusk"} {
		w.locals[slug] = n.Companies[slug].Local
		w.keys[slug], err = n.Companies[slug].Keys(n.Companies[slug].Local)
		check(t, err)
	}
	w.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.CA.Pool()}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(w.client.CloseIdleConnections)
	_, document, err := identity.ParseDID(string(w.cobalt.Local.DID))
	check(t, err)
	w.base = strings.TrimSuffix(document, "/did.json") + "/dsp/2025-1"
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish offers so many parts to all members, made from the first one of the demo, and returns their assets.
func (w *world) publish(t *testing.T, parts int) []string {
	t.Helper()
	file, err := os.ReadFile("../../../cmd/sluice/demodata/battery-parts.csv")
	check(t, err)
	lines := strings.Split(string(file), "\n")
	_, first, _ := strings.Cut(lines[1], ",")
	text := lines[0]
	for i := range parts {
		text += fmt.Sprintf("\npart-%03d,%s", i, first)
	}
	got, err := w.cobalt.Publish(t.Context(), w.cobalt.Local, publishing.File{Format: "csv", Template: "pcf", Actor: "test"}, strings.NewReader(text), nil)
	if err != nil || len(got.Assets) != parts {
		t.Fatalf("published %+v, %v", got, err)
	}
	return got.Assets
}

// token is a fresh identity token of the company for Cobalt Cells.
func (w *world) token(t *testing.T, slug string) string {
	t.Helper()
	keys := w.keys[slug]
	holder := credential.Holder{Keys: func(participant.Participant) (identity.Keys, error) { return keys, nil }, Now: time.Now, Rand: rand.Reader}
	access, err := holder.Grant(w.locals[slug], w.cobalt.Local.DID, []string{"org.eclipse.tractusx.vc.type:MembershipCredential:read",
		"org.eclipse.tractusx.vc.type:DataExchangeGovernanceCredential:read"})
	check(t, err)
	token, err := identity.IssueToken(t.Context(), w.locals[slug].DID, w.cobalt.Local.DID, keys, access, time.Now(), rand.Reader)
	check(t, err)
	return token
}

type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a message of the company; headers come in pairs and replace what a message has, an empty value takes it away.
func (w *world) ask(t *testing.T, method, address, token, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.client.Do(r)
	check(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	check(t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

const catalogRequest = `{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"CatalogRequestMessage"}`

// request is a contract request of the company for what it sees in the catalog.
func (w *world) request(t *testing.T, slug, pid string) string {
	t.Helper()
	a := w.ask(t, http.MethodPost, w.base+"/catalog/request", w.token(t, slug), catalogRequest)
	remote, err := dsp.ParseCatalog([]byte(a.body))
	if err != nil || len(remote.Datasets) == 0 {
		t.Fatalf("catalog: %d %s, %v", a.status, a.body, err)
	}
	d := remote.Datasets[0]
	_, body, err := dsp.Codec{}.EncodeNegotiation(negotiation.Message{Kind: negotiation.Request, ConsumerPID: pid, Callback: w.callback(slug),
		Offer: &negotiation.Offer{ID: d.Offers[0].ID, Target: d.ID, Policy: d.Offers[0].Policy}})
	check(t, err)
	return string(body)
}

func (w *world) callback(slug string) string {
	_, document, _ := identity.ParseDID(string(w.locals[slug].DID))
	return strings.TrimSuffix(document, "/did.json") + "/dsp/2025-1"
}

// forged is a token of Boreal Drives with a header and claims of the test's own, signed with the keys.
func (w *world) forged(t *testing.T, keys identity.Keys, header, claims map[string]any) string {
	t.Helper()
	own, now := w.locals["boreal"].DID, time.Now()
	h := map[string]any{"alg": "ES256", "typ": "JWT", "kid": string(own) + "#" + w.keys["boreal"].Public(identity.UseToken)[0].ID}
	c := map[string]any{"iss": own, "sub": own, "aud": w.cobalt.Local.DID, "jti": rand.Text(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 60}
	maps.Copy(h, header)
	maps.Copy(c, claims)
	var parts []string
	for _, m := range []map[string]any{h, c} {
		b, err := json.Marshal(m)
		check(t, err)
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	signature, err := sign(t, keys, []byte(strings.Join(parts, ".")))
	check(t, err)
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

func TestWhoProvesNothingLearnsNothingAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.publish(t, 1)
	body := w.request(t, "boreal", "urn:c")
	own := w.keys["boreal"]
	if a := w.ask(t, http.MethodPost, w.base+"/catalog/request", w.forged(t, own, nil, map[string]any{"jti": "used"}), catalogRequest); a.status != http.StatusUnauthorized {
		t.Fatalf("a token without access token saw the catalog: %d", a.status)
	}
	minute := func(n int64) int64 { return time.Now().Unix() + 60*n }
	tokens := map[string]string{
		"none":                 "",
		"nonsense":             "x",
		"four parts":           w.token(t, "boreal") + ".x",
		"too long":             w.token(t, "boreal") + strings.Repeat("A", identity.MaxToken),
		"unsigned":             w.forged(t, own, map[string]any{"alg": "none"}, nil),
		"a foreign key":        w.forged(t, w.keys["dusk"], nil, nil),
		"an unknown key":       w.forged(t, own, map[string]any{"kid": string(w.locals["boreal"].DID) + "#none"}, nil),
		"expired":              w.forged(t, own, nil, map[string]any{"iat": minute(-5), "exp": minute(-1)}),
		"from the future":      w.forged(t, own, nil, map[string]any{"iat": minute(2), "exp": minute(3)}),
		"for somebody else":    w.forged(t, own, nil, map[string]any{"aud": w.locals["dusk"].DID}),
		"a presentation":       w.forged(t, own, nil, map[string]any{"vp": map[string]any{}}),
		"without id":           w.forged(t, own, nil, map[string]any{"jti": ""}),
		"used":                 w.forged(t, own, nil, map[string]any{"jti": "used"}),
		"of nobody":            w.forged(t, own, map[string]any{"kid": "did:web:localhost%3A1:x#y"}, map[string]any{"iss": "did:web:localhost%3A1:x", "sub": "did:web:localhost%3A1:x"}),
		"without access token": w.forged(t, own, nil, nil),
	}
	var first answer
	for name, token := range tokens {
		a := w.ask(t, http.MethodPost, w.base+"/negotiations/request", token, body)
		if first.status == 0 {
			first = a
		}
		if a.status != http.StatusUnauthorized || a.body != first.body || !sameHeaders(a.header, first.header) {
			t.Errorf("%s: %d %v %s\nwant %v %s", name, a.status, a.header, a.body, first.header, first.body)
		}
	}
	for name, a := range map[string]answer{
		"an unknown company": w.ask(t, http.MethodPost, strings.Replace(w.base, "/cobalt/", "/nobody/", 1)+"/negotiations/request", w.token(t, "boreal"), body),
		"another scheme":     w.ask(t, http.MethodPost, w.base+"/negotiations/request", "", body, "Authorization", "Basic eDp5"),
		"half of a message":  w.ask(t, http.MethodPost, w.base+"/negotiations/request", "x", body[:10]),
		"no JSON":            w.ask(t, http.MethodPost, w.base+"/negotiations/request", "x", "no"),
		"an unknown process": w.ask(t, http.MethodPost, w.base+"/negotiations/urn:none/events", "x", body),
	} {
		if a.status != http.StatusUnauthorized || a.body != first.body || !sameHeaders(a.header, first.header) {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
	}
	if n, err := w.cobalt.Store().OpenNegotiations(t.Context(), w.cobalt.Local.ID, w.locals["boreal"].DID); err != nil || n != 0 {
		t.Errorf("%d negotiations were opened, %v", n, err)
	}
	token := w.token(t, "boreal")
	if a := w.ask(t, http.MethodPost, w.base+"/negotiations/request", token, body); a.status != http.StatusCreated {
		t.Errorf("the message itself, well signed: %d %s", a.status, a.body)
	}
	if a := w.ask(t, http.MethodPost, w.base+"/negotiations/request", token, body); a.status != http.StatusUnauthorized || a.body != first.body {
		t.Errorf("the token again: %d %s", a.status, a.body)
	}
}

// sameHeaders compares what a caller could tell answers apart by.
func sameHeaders(a, b http.Header) bool {
	a, b = a.Clone(), b.Clone()
	a.Del("Date")
	b.Del("Date")
	return maps.EqualFunc(a, b, slices.Equal)
}

// errorTypes are the protocol's error objects by the path that was asked.
var errorTypes = map[string]string{"/catalog/request": "CatalogError", "/negotiations/request": "ContractNegotiationError", "/transfers/request": "TransferError"}

func (a answer) is(t *testing.T, name string, status int, errType string) {
	t.Helper()
	var body struct {
		Context []string `json:"@context"`
		Type    string   `json:"@type"`
		Reason  []string `json:"reason"`
	}
	err := json.Unmarshal([]byte(a.body), &body)
	if a.status != status || err != nil || body.Type != errType || len(body.Reason) == 0 || !slices.Contains(body.Context, dsp.Context) ||
		a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %d %v %s, want %d and a %s", name, a.status, a.header, a.body, status, errType)
	}
}

func TestWhatIsNoMessageIsRefusedInTheProtocolsWords(t *testing.T) {
	t.Parallel()
	w := setup(t)
	large := strings.Repeat(" ", 1<<20+1)
	for path, errType := range errorTypes {
		for name, tt := range map[string]struct {
			body    string
			headers []string
			want    int
		}{
			"another media type":  {"{}", []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
			"no media type":       {"{}", []string{"Content-Type", ""}, http.StatusUnsupportedMediaType},
			"two media types":     {"{}", []string{"Content-Type", "application/json, text/plain"}, http.StatusUnsupportedMediaType},
			"a compressed body":   {"{}", []string{"Content-Encoding", "gzip"}, http.StatusUnsupportedMediaType},
			"a body too large":    {large, nil, http.StatusRequestEntityTooLarge},
			"no JSON":             {"no", nil, http.StatusBadRequest},
			"no message":          {"{}", nil, http.StatusBadRequest},
			"no message, charset": {"{}", []string{"Content-Type", "application/json; charset=utf-8"}, http.StatusBadRequest},
			"no message, as LD":   {"{}", []string{"Content-Type", "application/ld+json"}, http.StatusBadRequest},
			"plainly encoded":     {"{}", []string{"Content-Encoding", "identity"}, http.StatusBadRequest},
		} {
			w.ask(t, http.MethodPost, w.base+path, w.token(t, "boreal"), tt.body, tt.headers...).is(t, path+": "+name, tt.want, errType)
		}
		w.ask(t, http.MethodPost, w.base+path, "", large).is(t, path+": a body too large, from nobody", http.StatusRequestEntityTooLarge, errType)
		w.send(t, path, w.token(t, "boreal"), "Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(large), large)).
			is(t, path+": a body too large that did not say so", http.StatusRequestEntityTooLarge, errType)
		w.send(t, path, "x", "Content-Length: 100", "{").is(t, path+": half of a body, from nobody, unread", http.StatusUnauthorized, errType)
		token := w.token(t, "boreal")
		w.send(t, path, token, "Content-Length: 100", "{").is(t, path+": half of a body", http.StatusBadRequest, errType)
		w.ask(t, http.MethodPost, w.base+path, token, "{}").is(t, path+": the token of half a body, again", http.StatusUnauthorized, errType)
	}
}

// send writes a request by hand and closes its end.
func (w *world) send(t *testing.T, path, token, header, body string) answer {
	t.Helper()
	u, err := url.Parse(w.base + path)
	check(t, err)
	conn, err := tls.Dial("tcp", u.Host, w.client.Transport.(*http.Transport).TLSClientConfig)
	check(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n%s", u.Path, u.Host, token, header, body)
	check(t, err)
	check(t, conn.CloseWrite())
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	check(t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

func TestWhatIsNotThereIsSaidInTheProtocolsWords(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "", "CatalogError"},
		{"GET", "/", "CatalogError"},
		{"GET", "/nothing", "CatalogError"},
		{"GET", "/catalog/request", "CatalogError"},
		{"POST", "/catalog/datasets/x", "CatalogError"},
		{"DELETE", "/negotiations/urn:p", "ContractNegotiationError"},
		{"POST", "/negotiations", "ContractNegotiationError"},
		{"POST", "/negotiations/urn:p", "ContractNegotiationError"},
		{"POST", "/negotiations/urn:p/nothing", "ContractNegotiationError"},
		{"PUT", "/negotiations/urn:p/events/", "ContractNegotiationError"},
		{"GET", "/transfers", "TransferError"},
		{"GET", "/transfers/urn:p/start", "TransferError"},
		{"POST", "/transfers/urn:p/start/now", "TransferError"},
	} {
		w.ask(t, tt.method, w.base+tt.path, w.token(t, "boreal"), "{}").is(t, tt.method+" "+tt.path, http.StatusNotFound, tt.want)
	}
	for path, errType := range errorTypes { // with a slash at the end it is the same path
		w.ask(t, http.MethodPost, w.base+path+"/", w.token(t, "boreal"), "{}").is(t, path+"/", http.StatusBadRequest, errType)
	}
}

// A pid is one segment of a path, whatever characters it is made of: the message is read, and only then there is no such process.
func TestAPidOfAnyCharactersIsOneSegment(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, pid := range []string{"urn:uuid:1", "a/b", "..", ".", "a?b", "a#b", "a%2Fb", "a;b", "//", "grün", "a b"} {
		for _, codec := range []func() (string, error){
			func() (string, error) {
				path, _, err := dsp.Codec{}.EncodeNegotiation(negotiation.Message{Kind: negotiation.Termination, ConsumerPID: "urn:c", ProviderPID: pid})
				return path, err
			},
			func() (string, error) {
				path, _, err := dsp.Codec{}.EncodeTransfer(transfer.Message{Kind: transfer.Termination, ConsumerPID: "urn:c", ProviderPID: pid})
				return path, err
			},
		} {
			path, err := codec()
			check(t, err)
			if a := w.ask(t, http.MethodPost, w.base+path, w.token(t, "boreal"), "{}"); a.status != http.StatusBadRequest {
				t.Errorf("%q at %s: %d %s", pid, path, a.status, a.body)
			}
		}
	}
}

func TestAProcessThatIsNotYoursIsOneThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.publish(t, 1)
	opened := w.ask(t, http.MethodPost, w.base+"/negotiations/request", w.token(t, "boreal"), w.request(t, "boreal", "urn:c"))
	pid := dsp.ParseAnswer([]byte(opened.body)).ProviderPID
	if opened.status != http.StatusCreated || pid == "" {
		t.Fatalf("opened: %d %s", opened.status, opened.body)
	}
	for _, path := range []string{"/negotiations/%s/request", "/negotiations/%s/events", "/negotiations/%s/agreement/verification", "/negotiations/%s/termination",
		"/transfers/%s/start", "/transfers/%s/completion", "/transfers/%s/suspension", "/transfers/%s/termination"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			path := path
			if method == http.MethodGet {
				path = path[:strings.Index(path, "%s")+2]
			}
			ask := func(slug, pid string) answer {
				return w.ask(t, method, w.base+fmt.Sprintf(path, pid), w.token(t, slug), messageFor(path, pid))
			}
			unknown := ask("boreal", "urn:uuid:00000000-0000-4000-8000-000000000000")
			foreign := ask("dusk", pid)
			if unknown.status != http.StatusNotFound || foreign.status != unknown.status || foreign.body != unknown.body || !sameHeaders(foreign.header, unknown.header) {
				t.Errorf("%s %s: another's %d %v %s\nnobody's %d %v %s", method, path, foreign.status, foreign.header, foreign.body, unknown.status, unknown.header, unknown.body)
			}
		}
	}
}

// messageFor is a message that fits the path.
func messageFor(path, pid string) string {
	kinds := map[string]string{"request": "ContractRequestMessage", "events": "ContractNegotiationEventMessage", "verification": "ContractAgreementVerificationMessage",
		"start": "TransferStartMessage", "completion": "TransferCompletionMessage", "suspension": "TransferSuspensionMessage", "termination": "ContractNegotiationTerminationMessage"}
	kind := kinds[path[strings.LastIndex(path, "/")+1:]]
	if strings.HasPrefix(path, "/transfers/") && kind == "ContractNegotiationTerminationMessage" {
		kind = "TransferTerminationMessage"
	}
	return `{"@context":["` + dsp.Context + `"],"@type":"` + kind + `","consumerPid":"urn:c","providerPid":"` + pid + `","eventType":"ACCEPTED",
		"offer":{"@type":"Offer","@id":"urn:o","target":"urn:t","permission":[{"action":"use"}]}}`
}

// link is where the answer leads to, "" when nowhere.
func (a answer) link(rel string) string {
	for _, link := range a.header.Values("Link") {
		if m := regexp.MustCompile(`^<(https://[^>]+)>; rel="` + rel + `"$`).FindStringSubmatch(link); m != nil {
			return m[1]
		}
	}
	return ""
}

func TestACatalogIsCompressedForWhoAsksForIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.publish(t, 3)
	plain := w.ask(t, http.MethodPost, w.base+"/catalog/request", w.token(t, "boreal"), catalogRequest, "Accept-Encoding", "identity")
	for accept, want := range map[string]string{"gzip": "gzip", "br, GZIP;q=0.5": "gzip", "gzip; q=0": "", "gzip;q=0.000": "", "identity": "", "x-gzip": "", "*": ""} {
		a := w.ask(t, http.MethodPost, w.base+"/catalog/request", w.token(t, "boreal"), catalogRequest, "Accept-Encoding", accept)
		got := a.body
		if want == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(a.body))
			check(t, err)
			text, err := io.ReadAll(z)
			check(t, err)
			got = string(text)
		}
		if a.header.Get("Content-Encoding") != want || got != plain.body || a.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %v, %d bytes", accept, a.header, len(got))
		}
	}
}

func TestACatalogIsReadPageByPage(t *testing.T) {
	t.Parallel()
	w := setup(t)
	offered := w.publish(t, 120)
	seen := map[string]int{}
	next, pages := w.base+"/catalog/request", 0
	var second, before string
	for ; next != ""; pages++ {
		a := w.ask(t, http.MethodPost, next, w.token(t, "boreal"), catalogRequest)
		remote, err := dsp.ParseCatalog([]byte(a.body))
		if a.status != http.StatusOK || err != nil || len(remote.Datasets) > 100 {
			t.Fatalf("page %d: %d, %d datasets, %v", pages, a.status, len(remote.Datasets), err)
		}
		for _, d := range remote.Datasets {
			seen[d.ID]++
		}
		back := a.link("previous")
		if back != a.link("prev") || (back == "") != (pages == 0) {
			t.Errorf("page %d leads back to %q and %q", pages, back, a.link("prev"))
		}
		if pages > 0 {
			again := w.ask(t, http.MethodPost, back, w.token(t, "boreal"), catalogRequest)
			if again.body != before || again.link("prev") != "" || again.link("next") == "" {
				t.Errorf("the way back leads to another page: %d %v", again.status, again.header["Link"])
			}
		}
		before = a.body
		if next = a.link("next"); next != "" {
			second = next
		}
	}
	for _, id := range offered {
		if seen[id] != 1 {
			t.Errorf("%s was shown %d times", id, seen[id])
		}
	}
	if pages != 2 {
		t.Errorf("%d pages, want 2", pages)
	}
	w.ask(t, http.MethodPost, second, w.token(t, "dusk"), catalogRequest).is(t, "another's link", http.StatusBadRequest, "CatalogError")
	w.ask(t, http.MethodPost, second[:len(second)-2]+"AA", w.token(t, "boreal"), catalogRequest).is(t, "a changed link", http.StatusBadRequest, "CatalogError")
}

func TestWhatIsServedIsFoundFromTheDID(t *testing.T) {
	t.Parallel()
	w := setup(t)
	root := strings.TrimSuffix(w.base, "/dsp/2025-1")
	var document struct {
		Context []string `json:"@context"`
		Service []identity.Service
	}
	check(t, json.Unmarshal([]byte(w.ask(t, http.MethodGet, root+"/did.json", "", "").body), &document))
	for _, want := range []string{"https://www.w3.org/ns/did/v1", dsp.Context} {
		if !slices.Contains(document.Context, want) {
			t.Errorf("the DID document has the contexts %v, without %s", document.Context, want)
		}
	}
	for kind, want := range map[string]string{"DataService": root + "/.well-known/dspace-version", "CatalogService": w.base + "/catalog"} {
		if !slices.ContainsFunc(document.Service, func(s identity.Service) bool { return s.Type == kind && s.Endpoint == want && s.ID != "" }) {
			t.Errorf("the DID document has no %s at %s: %+v", kind, want, document.Service)
		}
	}
	for _, end := range []string{"", "/"} {
		a := w.ask(t, http.MethodGet, root+"/.well-known/dspace-version"+end, "", "")
		if path, err := dsp.ParseVersions([]byte(a.body)); a.status != http.StatusOK || err != nil || root+path != w.base || !strings.Contains(a.body, `"binding":"HTTPS"`) {
			t.Errorf("the version document is %d %s, which leads to %q, %v", a.status, a.body, path, err)
		}
	}
}

// routes are all paths of the protocol, of both roles.
var routes = []string{"POST /catalog/request", "GET /catalog/datasets/x", "GET /negotiations/x", "POST /negotiations/request", "POST /negotiations/x/request",
	"POST /negotiations/offers", "POST /negotiations/x/offers", "POST /negotiations/x/events", "POST /negotiations/x/agreement",
	"POST /negotiations/x/agreement/verification", "POST /negotiations/x/termination", "GET /transfers/x", "POST /transfers/request",
	"POST /transfers/x/start", "POST /transfers/x/completion", "POST /transfers/x/suspension", "POST /transfers/x/termination"}

func TestEveryPathIsTheSameWithASlashAtItsEnd(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		plain := w.ask(t, method, w.base+path, w.token(t, "boreal"), "{}")
		slashed := w.ask(t, method, w.base+path+"/", w.token(t, "boreal"), "{}")
		if slashed.status != plain.status || slashed.body != plain.body {
			t.Errorf("%s: %d %s, with a slash %d %s", route, plain.status, plain.body, slashed.status, slashed.body)
		}
		for _, end := range []string{"", "/"} { // a path that is there asks who calls
			if a := w.ask(t, method, w.base+path+end, "", "{}"); a.status != http.StatusUnauthorized {
				t.Errorf("%s%s, from nobody: %d", route, end, a.status)
			}
		}
	}
}

func TestAProcessIsShownToItsPartiesInBothRoles(t *testing.T) {
	t.Parallel()
	w := setup(t)
	store, local, peer := w.cobalt.Store(), w.locals["cobalt"].ID, w.locals["boreal"].DID
	for _, role := range []string{"provider", "consumer"} {
		check(t, store.CreateNegotiation(t.Context(), negotiation.Negotiation{Participant: local, ID: "urn:n:" + role, Version: 1, Role: negotiation.Role(role), Peer: peer,
			PeerPID: "urn:peer", State: negotiation.Agreed, Created: time.Now(), Updated: time.Now()}, commit.Effects{}))
		check(t, store.CreateTransfer(t.Context(), transfer.Transfer{Participant: local, ID: "urn:t:" + role, Version: 1, Role: transfer.Role(role), Peer: peer,
			PeerPID: "urn:peer", AgreementID: "urn:a", State: transfer.Started, Created: time.Now(), Updated: time.Now()}, commit.Effects{}))
		for path, state := range map[string]string{"/negotiations/urn:n:" + role: "AGREED", "/transfers/urn:t:" + role: "STARTED"} {
			own := path[strings.Index(path, "urn:"):]
			want := dsp.Answer{ConsumerPID: "urn:peer", ProviderPID: own, State: state}
			if role == "consumer" {
				want.ConsumerPID, want.ProviderPID = own, "urn:peer"
			}
			for _, end := range []string{"", "/"} {
				a := w.ask(t, http.MethodGet, w.base+path+end, w.token(t, "boreal"), "")
				if got := dsp.ParseAnswer([]byte(a.body)); a.status != http.StatusOK || !reflect.DeepEqual(got, want) {
					t.Errorf("%s%s: %d %s", path, end, a.status, a.body)
				}
				if a := w.ask(t, http.MethodGet, w.base+path+end, w.token(t, "dusk"), ""); a.status != http.StatusNotFound || strings.Contains(a.body, own) {
					t.Errorf("%s%s, to another: %d %s", path, end, a.status, a.body)
				}
			}
		}
	}
}

// sign signs with the key that signs tokens now.
func sign(t testing.TB, keys identity.Keys, input []byte) ([]byte, error) {
	t.Helper()
	signer, err := keys.Signer(identity.UseToken)
	if err != nil {
		return nil, err
	}
	return signer.Sign(t.Context(), input, time.Time{})
}
