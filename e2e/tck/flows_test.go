package tck_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/kits"
	"github.com/sluice-connector/sluice/e2e/tck"
)

// TestTheFlowsOfTheKit plays the kit's part in each of its cases, over HTTP, against a whole connector on each store.
func TestTheFlowsOfTheKit(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{settings.Embedded, settings.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			peer := listen(t)
			company := start(t, kind, peer.url)
			t.Run("cases", func(t *testing.T) {
				for _, tc := range tck.Cases {
					t.Run(tc.ID, func(t *testing.T) {
						t.Parallel()
						play(t, company, peer, tc)
					})
				}
				t.Run("MET:01-01", func(t *testing.T) { versions(t, company) })
				t.Run("CAT:01-01", func(t *testing.T) { wholeCatalog(t, company) })
				t.Run("CAT:01-02", func(t *testing.T) { oneDataset(t, company) })
				t.Run("CAT:01-03", func(t *testing.T) { unknownDataset(t, company) })
			})
		})
	}
}

func start(t *testing.T, kind, peer string) *tck.Company {
	t.Helper()
	store := settings.Store{Kind: kind}
	if kind == settings.Postgres {
		store.URL = schema(t)
	}
	c, err := tck.Start(t.Context(), tck.Config{Dir: t.TempDir(), Store: store, Peer: peer, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// schema makes a schema of its own on the server that the test run brings; without one the test fails.
func schema(t *testing.T) string {
	t.Helper()
	var b [4]byte
	_, _ = rand.Read(b[:])
	url, err := kits.Schema(t.Context(), "tck_"+hex.EncodeToString(b[:]))
	if err != nil {
		t.Fatal(err)
	}
	return url.String()
}

// counterparty is the other side: it answers as the kit does, with 200 and without a content type, and keeps what it was sent for the case
// that waits for it.
type counterparty struct {
	url string
	ids atomic.Int64 // no two messages are the same

	mu    sync.Mutex
	boxes map[string]chan message // by our pid, and for what begins a process by dataset or agreement
}

type message map[string]any

func (m message) text(name string) string {
	s, _ := m[name].(string)
	return s
}

func (m message) within(name string) message {
	inner, _ := m[name].(map[string]any)
	return inner
}

func listen(t *testing.T) *counterparty {
	t.Helper()
	p := &counterparty{boxes: map[string]chan message{}}
	server := httptest.NewServer(http.HandlerFunc(p.receive))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *counterparty) next() int64 { return p.ids.Add(1) }

func (p *counterparty) box(key string) chan message {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.boxes[key] == nil {
		p.boxes[key] = make(chan message, 8)
	}
	return p.boxes[key]
}

func (p *counterparty) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var m message
	if err != nil || json.Unmarshal(body, &m) != nil {
		http.Error(w, "no message", http.StatusBadRequest)
		return
	}
	m["path"] = strings.TrimSuffix(r.URL.Path, "/")
	key, answer := theirPID(r.URL.Path), ""
	switch {
	case strings.HasSuffix(r.URL.Path, "/negotiations/request"):
		key = m.within("offer").text("target")
		answer = status("ContractNegotiation", m.text("consumerPid"), "urn:uuid:kit-"+key, "REQUESTED")
	case strings.HasSuffix(r.URL.Path, "/transfers/request"):
		key = m.text("agreementId")
		answer = status("TransferProcess", m.text("consumerPid"), "urn:uuid:kit-"+key, "REQUESTED")
	}
	w.Header()["Content-Type"] = nil
	_, _ = io.WriteString(w, answer)
	p.box(key) <- m
}

// theirPID is the counter-party's pid, which the path names.
func theirPID(path string) string {
	parts := strings.Split(path, "/")
	if len(parts) < 3 {
		return ""
	}
	return parts[2]
}

const context2025 = `"@context":["https://w3id.org/dspace/2025/1/context.jsonld"]`

func status(kind, consumer, provider, state string) string {
	return fmt.Sprintf(`{%s,"@type":%q,"consumerPid":%q,"providerPid":%q,"state":%q}`, context2025, kind, consumer, provider, state)
}

// flow is one case under way, seen by the counter-party.
type flow struct {
	t        *testing.T
	c        *tck.Company
	p        *counterparty
	tc       tck.Case
	base     string // of the company
	ours     string // the counter-party's pid
	theirs   string // the company's pid
	consumer string
	provider string
	offer    string
	policy   json.RawMessage
}

func play(t *testing.T, c *tck.Company, p *counterparty, tc tck.Case) {
	f := &flow{t: t, c: c, p: p, tc: tc, base: c.Root + "/dsp/2025-1", ours: "urn:uuid:kit-" + tc.Key()}
	f.begin()
	for step := range strings.FieldsSeq(tc.Steps) {
		switch step[0] {
		case '<':
			f.expect(step[1:])
		case '?':
			f.look(step[1:])
		default:
			f.send(strings.TrimSuffix(step[1:], "!"), strings.HasSuffix(step, "!"))
		}
		if t.Failed() {
			t.Fatalf("at %s of %s", step, tc.Steps)
		}
	}
}

func (f *flow) collection() string {
	if f.tc.Transfer() {
		return "/transfers/"
	}
	return "/negotiations/"
}

// begin brings the process to REQUESTED.
func (f *flow) begin() {
	f.t.Helper()
	key := f.tc.Key()
	var err error
	switch {
	case f.tc.Consumer() && f.tc.Transfer():
		err = f.c.Fetch(f.t.Context(), key)
	case f.tc.Consumer():
		err = f.c.Ask(f.t.Context(), "offer"+key, key)
	default:
		f.request(key)
		return
	}
	if err != nil {
		f.t.Fatal(err)
	}
	m := f.wait(key)
	f.consumer, f.provider, f.theirs = m.text("consumerPid"), f.ours, m.text("consumerPid")
	f.offer = m.within("offer").text("@id")
	if cb := strings.TrimSuffix(m.text("callbackAddress"), "/"); cb != f.base {
		f.t.Fatalf("the callback address is %q, want %q", cb, f.base)
	}
}

// request is the counter-party's first message as consumer.
func (f *flow) request(key string) {
	f.t.Helper()
	f.offer = f.c.Offers[key]
	body := fmt.Sprintf(`{%s,"@id":"urn:uuid:some-%d","@type":"ContractRequestMessage","consumerPid":%q,"callbackAddress":%q,"offer":%s}`,
		context2025, f.p.next(), f.ours, f.p.url, f.offered())
	if f.tc.Transfer() {
		body = fmt.Sprintf(`{%s,"@id":"urn:uuid:some-%d","@type":"TransferRequestMessage","consumerPid":%q,"agreementId":%q,"format":"HttpData-PULL","callbackAddress":%q}`,
			context2025, f.p.next(), f.ours, key, f.p.url)
	}
	code, answer := f.post(strings.TrimSuffix(f.collection(), "/")+"/request", body)
	if code != http.StatusCreated || answer.text("state") != "REQUESTED" || answer.text("consumerPid") != f.ours {
		f.t.Fatalf("the request got %d %v, want 201 REQUESTED", code, answer)
	}
	f.consumer, f.provider, f.theirs = f.ours, answer.text("providerPid"), answer.text("providerPid")
}

func (f *flow) offered() string {
	return fmt.Sprintf(`{"@id":%q,"@type":"Offer","target":%q,"assigner":"a","assignee":"b","permission":[{"action":"use"}]}`, f.offer, f.tc.Key())
}

// send makes one message; refused says that it must be.
func (f *flow) send(what string, refused bool) {
	f.t.Helper()
	pids := fmt.Sprintf(`%s,"@id":"urn:uuid:some-%d","consumerPid":%q,"providerPid":%q`, context2025, f.p.next(), f.consumer, f.provider)
	signed := time.Now().UTC().Format(time.RFC3339Nano)
	parties := fmt.Sprintf(`"assigner":%q,"assignee":%q`, tck.Peer, string(f.c.Local.DID))
	suffix, body := "", ""
	switch {
	case f.tc.Transfer():
		kinds := map[string]string{"start": "TransferStartMessage", "completion": "TransferCompletionMessage", "suspension": "TransferSuspensionMessage", "termination": "TransferTerminationMessage"}
		extra := ""
		if what == "start" && f.tc.Consumer() {
			extra = `,"dataAddress":{"@type":"DataAddress","endpointType":"https://w3id.org/idsa/v4.1/HTTP","endpoint":"http://example.com"}`
		}
		suffix, body = "/"+what, fmt.Sprintf(`{%s,"@type":%q%s}`, pids, kinds[what], extra)
	case what == "offer":
		suffix, body = "/offers", fmt.Sprintf(`{%s,"@type":"ContractOfferMessage","offer":%s}`, pids, f.offered())
	case what == "counter":
		suffix, body = "/request", fmt.Sprintf(`{%s,"@type":"ContractRequestMessage","offer":{"@id":"urn:uuid:of-the-kit","@type":"Offer","target":%q,"permission":[{"action":"use"}]}}`, pids, f.tc.Key())
	case what == "accepted", what == "finalized":
		suffix, body = "/events", fmt.Sprintf(`{%s,"@type":"ContractNegotiationEventMessage","eventType":%q}`, pids, strings.ToUpper(what))
	case what == "agreement":
		suffix, body = "/agreement", fmt.Sprintf(`{%s,"@type":"ContractAgreementMessage","agreement":{"@id":"urn:uuid:agreed-%s","@type":"Agreement","target":%q,%s,"timestamp":%q,"permission":[{"action":"use"}]}}`,
			pids, f.tc.Key(), f.tc.Key(), parties, signed)
	case what == "verification":
		suffix, body = "/agreement/verification", fmt.Sprintf(`{%s,"@type":"ContractAgreementVerificationMessage"}`, pids)
	case what == "termination":
		suffix, body = "/termination", fmt.Sprintf(`{%s,"@type":"ContractNegotiationTerminationMessage","code":"1"}`, pids)
	default:
		f.t.Fatalf("no message is called %q", what)
	}
	code, answer := f.post(f.collection()+f.theirs+suffix, body)
	switch {
	case refused && (code < 400 || code >= 500 || code == http.StatusNotFound):
		f.t.Errorf("%s got %d %v, want a refusal that is no 404", what, code, answer)
	case !refused && code/100 != 2:
		f.t.Errorf("%s got %d %v, want 2xx", what, code, answer)
	}
}

func (f *flow) post(path, body string) (int, message) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.base+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("Authorization", "Bearer tck")
	return f.do(r)
}

func (f *flow) do(r *http.Request) (int, message) {
	f.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	var m message
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &m); err != nil {
			f.t.Fatalf("answer %q: %v", body, err)
		}
	}
	return res.StatusCode, m
}

// wait is for the next message in a box. Nothing is measured: a message that never comes ends with the test run.
func (f *flow) wait(key string) message {
	f.t.Helper()
	select {
	case m := <-f.p.box(key):
		return m
	case <-f.t.Context().Done():
		f.t.Fatal("no message came")
		return nil
	}
}

// expect is the next message that the company must send.
func (f *flow) expect(what string) {
	f.t.Helper()
	m := f.wait(f.ours)
	want := map[string]string{"offer": "/offers", "counter": "/request", "accepted": "/events", "agreement": "/agreement", "verification": "/agreement/verification",
		"finalized": "/events", "termination": "/termination", "start": "/start", "completion": "/completion", "suspension": "/suspension"}[what]
	if path := f.collection() + f.ours + want; m.text("path") != path {
		f.t.Errorf("%s came at %s, want %s at %s", m.text("@type"), m.text("path"), what, path)
	}
	if m.text("consumerPid") != f.consumer || m.text("providerPid") != f.provider {
		f.t.Errorf("%s is about %s and %s, want %s and %s", what, m.text("consumerPid"), m.text("providerPid"), f.consumer, f.provider)
	}
	if event := m.text("eventType"); (what == "accepted" || what == "finalized") && event != strings.ToUpper(what) {
		f.t.Errorf("the event is %s, want %s", event, what)
	}
	if _, has := m["callbackAddress"]; has {
		f.t.Errorf("%s repeats the callback address", what)
	}
	if what == "start" && !f.tc.Consumer() && m.within("dataAddress").text("@type") != "DataAddress" {
		f.t.Errorf("the start carries no data address: %v", m)
	}
}

// look reads the state until it is the wanted one: the company may not have read our last answer yet.
func (f *flow) look(state string) {
	f.t.Helper()
	var last string
	for range 1000 {
		r, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.base+f.collection()+f.theirs, nil)
		if err != nil {
			f.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer tck")
		code, m := f.do(r)
		if code == http.StatusNotFound { // it has not read our answer, which names our side
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if code != http.StatusOK || m.text("consumerPid") != f.consumer || m.text("providerPid") != f.provider {
			f.t.Fatalf("looking got %d %v", code, m)
		}
		if last = m.text("state"); last == state {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Errorf("it is %s, want %s", last, state)
}

func get(t *testing.T, c *tck.Company, method, url, body string) (int, message) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer tck")
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	return (&flow{t: t, c: c}).do(r)
}

func versions(t *testing.T, c *tck.Company) {
	code, m := get(t, c, http.MethodGet, c.Root+"/.well-known/dspace-version", "")
	list, _ := m["protocolVersions"].([]any)
	for _, v := range list {
		version, _ := v.(map[string]any)
		if version["version"] == "2025-1" && version["path"] == "/dsp/2025-1" && version["binding"] == "HTTPS" {
			return
		}
	}
	t.Errorf("%d %v, want version 2025-1 with path and binding", code, m)
}

func wholeCatalog(t *testing.T, c *tck.Company) {
	code, m := get(t, c, http.MethodPost, c.Root+"/dsp/2025-1/catalog/request", `{`+context2025+`,"@type":"CatalogRequestMessage"}`)
	if code != http.StatusOK || m.text("@type") != "Catalog" || m.text("participantId") != string(c.Local.DID) {
		t.Fatalf("%d %v, want the catalog", code, m)
	}
	list, _ := m["dataset"].([]any)
	for _, d := range list {
		if dataset, _ := d.(map[string]any); dataset["@id"] == tck.Datasets[0] {
			return
		}
	}
	t.Errorf("%s is not on the first page", tck.Datasets[0])
}

func oneDataset(t *testing.T, c *tck.Company) {
	code, m := get(t, c, http.MethodGet, c.Root+"/dsp/2025-1/catalog/datasets/"+tck.Datasets[1], "")
	if code != http.StatusOK || m.text("@type") != "Dataset" || m.text("@id") != tck.Datasets[1] {
		t.Errorf("%d %v, want the dataset", code, m)
	}
}

func unknownDataset(t *testing.T, c *tck.Company) {
	code, m := get(t, c, http.MethodGet, c.Root+"/dsp/2025-1/catalog/datasets/CAT0103", "")
	if code != http.StatusNotFound || m.text("@type") != "CatalogError" || m["@context"] == nil {
		t.Errorf("%d %v, want a CatalogError", code, m)
	}
}
