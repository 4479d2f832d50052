package hostile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wire/problem"
	"github.com/sluice-connector/sluice/e2e/tck"
)

// The parties beside the company that is attacked.
const (
	mallory = tck.Peer                 // is a partner, and hostile
	eve     = "did:web:eve.example"    // is a member too; nothing here is hers
	dataset = "CAT0101"                // published to everybody
	other   = "CAT0102"                // so is this one
	inside  = "https://inside.example" // a name whose address is not public
)

// house is a company under attack, whose callers say who they are: identity is not the point here.
type house struct {
	*tck.Company
	dir     string
	peer    *peer
	ids     atomic.Int64
	lookups chan struct{} // of the name that leads inside

	mu     sync.Mutex
	dialed []string
}

// named takes callers by their word. Addresses are left to the rules of egress, so that what those let out is seen.
type named struct{ connector.Identity }

func (named) Authenticate(r *http.Request, _ participant.Participant) (participant.Peer, *commit.Used, error) {
	who, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return participant.Peer{}, nil, fault.New("hostile", fault.Unauthenticated, "the caller is not known")
	}
	return participant.Peer{DID: participant.DID(who)}, nil, nil
}

func start(t *testing.T) *house {
	t.Helper()
	h := &house{dir: t.TempDir(), peer: listen(t), lookups: make(chan struct{}, 64)}
	var err error
	h.Company, err = tck.Start(t.Context(), tck.Config{Dir: h.dir, Store: settings.Store{Kind: settings.Embedded}, Peer: h.peer.url,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Change: func(cfg *connector.Config) {
			cfg.Identity = named{cfg.Identity}
			cfg.Settings.Limits.PeerBurst = 1_000_000 // the catalogue is played in one go
			cfg.Dial = h.dial
			cfg.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
				if host == "inside.example" {
					h.lookups <- struct{}{}
					return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
				}
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
		}})
	check(t, err)
	t.Cleanup(func() { check(t, h.Close()) })
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial remembers where a connection was opened to.
func (h *house) dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.mu.Lock()
	h.dialed = append(h.dialed, address)
	h.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// astray are the addresses other than the peer's that were dialled.
func (h *house) astray() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.dialed), func(a string) bool { return "http://"+a == h.peer.url })
}

// peer is Mallory's connector. It acknowledges what it is sent, unless a misbehaviour answers instead.
type peer struct {
	url string

	mu      sync.Mutex
	instead http.HandlerFunc
	asked   atomic.Int64
}

func listen(t *testing.T) *peer {
	t.Helper()
	p := &peer{}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

func (p *peer) answers(with http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instead = with
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	p.mu.Lock()
	instead := p.instead
	p.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	acknowledge(w, r, "urn:uuid:mallory-", "REQUESTED")
}

// acknowledge answers a first message with a pid of the peer's own, others with nothing.
func acknowledge(w http.ResponseWriter, r *http.Request, prefix, state string) {
	var m map[string]any
	_ = json.NewDecoder(r.Body).Decode(&m)
	kind := map[string]string{"/negotiations/request": "ContractNegotiation", "/transfers/request": "TransferProcess"}[r.URL.Path]
	if kind == "" {
		return
	}
	consumer, _ := m["consumerPid"].(string)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"@context": []string{context2025}, "@type": kind, "consumerPid": consumer,
		"providerPid": prefix + consumer[len(consumer)-8:], "state": state})
}

const context2025 = "https://w3id.org/dspace/2025/1/context.jsonld"

// stage is where a process stands when the peer misbehaves: our role in it, its protocol and its state; "" before it begins.
type stage struct {
	role  negotiation.Role
	kind  commit.ProcessKind
	state string
}

func (s stage) String() string {
	state := s.state
	if state == "" {
		state = "nothing begun"
	}
	return fmt.Sprintf("%s, %s, %s", s.role, s.kind, state)
}

// flow is a process under way.
type flow struct {
	t *testing.T
	h *house
	stage
	base             string
	consumer         string
	provider         string
	agreement, offer string
}

// ours is the pid of the company, which the paths name.
func (f *flow) ours() string {
	if f.role == negotiation.Provider {
		return f.provider
	}
	return f.consumer
}

func (f *flow) collection() string {
	if f.kind == commit.Transfer {
		return "/transfers"
	}
	return "/negotiations"
}

// order is what an operator of the company says with each deed.
var order = commit.Order{Actor: "operator", Reason: "enough"}

// paths leads to a state by way of what the peer says and the operators do ("!"), after the first message.
var paths = map[string]string{
	"provider negotiation REQUESTED": "", "provider negotiation OFFERED": "!offer", "provider negotiation ACCEPTED": "!offer accepted",
	"provider negotiation AGREED": "!approve", "provider negotiation VERIFIED": "!approve verification",
	"provider negotiation FINALIZED": "!approve verification !approve", "provider negotiation TERMINATED": "termination",

	"consumer negotiation REQUESTED": "", "consumer negotiation OFFERED": "offer", "consumer negotiation ACCEPTED": "offer !approve",
	"consumer negotiation AGREED": "agreement", "consumer negotiation VERIFIED": "agreement !approve",
	"consumer negotiation FINALIZED": "agreement !approve finalized", "consumer negotiation TERMINATED": "termination",

	"provider transfer REQUESTED": "", "provider transfer STARTED": "!approve", "provider transfer SUSPENDED": "!approve suspension",
	"provider transfer COMPLETED": "!approve completion", "provider transfer TERMINATED": "termination",

	"consumer transfer REQUESTED": "", "consumer transfer STARTED": "start", "consumer transfer SUSPENDED": "start suspension",
	"consumer transfer COMPLETED": "start completion", "consumer transfer TERMINATED": "termination",
}

func (s stage) key() string { return fmt.Sprintf("%s %s %s", s.role, s.kind, s.state) }

// reach brings a new process to the stage.
func (h *house) reach(t *testing.T, s stage) *flow {
	t.Helper()
	f := &flow{t: t, h: h, stage: s, base: h.Root + "/dsp/2025-1", agreement: "ATP0205", offer: h.Offers[dataset]}
	if s.role == negotiation.Consumer {
		f.agreement, f.offer = "ATPC0101", "urn:uuid:of-mallory"
	}
	if s.state == "" {
		return f
	}
	path, ok := paths[s.key()]
	if !ok {
		t.Fatalf("no path leads to %s", s)
	}
	f.begin()
	f.settled()
	for step := range strings.FieldsSeq(path) {
		if deed, ok := strings.CutPrefix(step, "!"); ok {
			check(t, f.operate(deed))
		} else if got := f.send(f.message(step)); got.status/100 != 2 {
			t.Fatalf("on the way to %s: %s got %d %s", s, step, got.status, got.body)
		}
		f.settled()
	}
	if got := f.at(); got != s.state {
		t.Fatalf("the way to %s ended in %s", s, got)
	}
	return f
}

// begin brings the process to REQUESTED.
func (f *flow) begin() {
	f.t.Helper()
	if f.role == negotiation.Provider {
		m := f.message("request")
		f.consumer = m.body["consumerPid"].(string)
		got := f.send(m)
		if got.status != http.StatusCreated {
			f.t.Fatalf("the request got %d %s", got.status, got.body)
		}
		f.provider = got.text("providerPid")
		return
	}
	check(f.t, f.ask())
	f.settled()
	f.provider = f.theirs()
}

// ask begins a process of ours with Mallory.
func (f *flow) ask() error {
	ctx := f.t.Context()
	if f.kind == commit.Transfer {
		t, err := f.h.Transfers().Begin(ctx, f.h.Local, transfer.BeginRequest{Agreement: f.agreement, Format: transfer.Pull, Actor: "operator"})
		f.consumer = t.ID
		return err
	}
	offer := negotiation.Offer{ID: f.offer, Target: dataset, Policy: tck.Use("use")}
	n, err := f.h.Negotiations().Begin(ctx, f.h.Local, negotiation.BeginRequest{Peer: mallory, Offer: offer, Actor: "operator"})
	f.consumer = n.ID
	return err
}

func (f *flow) operate(deed string) error {
	ctx, local, id := f.t.Context(), f.h.Local, f.ours()
	var err error
	switch {
	case f.kind == commit.Transfer:
		_, err = f.h.Transfers().Approve(ctx, local, id, order)
	case deed == "offer":
		_, err = f.h.Negotiations().Propose(ctx, local, id, negotiation.Offer{ID: f.offer}, order)
	default:
		_, err = f.h.Negotiations().Approve(ctx, local, id, order)
	}
	return err
}

// look is the process as its row has it.
func (f *flow) look() (state, peerPID, code, problem string, pending bool) {
	ctx := context.WithoutCancel(f.t.Context())
	if f.kind == commit.Transfer {
		t, err := f.h.Transfers().Get(ctx, f.h.Local, f.ours())
		check(f.t, err)
		return string(t.State), t.PeerPID, t.Code, t.Error, t.Pending.Kind != ""
	}
	n, err := f.h.Negotiations().Get(ctx, f.h.Local, f.ours())
	check(f.t, err)
	return string(n.State), n.PeerPID, n.Code, n.Error, n.Pending.Kind != ""
}

func (f *flow) at() string { state, _, _, _, _ := f.look(); return state }

func (f *flow) theirs() string { _, pid, _, _, _ := f.look(); return pid }

// pulling finds the newest transfer of ours under the agreement, with the pid that the peer gave it.
func (h *house) pulling(t *testing.T, agreement string) (id, peerPID string) {
	t.Helper()
	list, err := h.Transfers().List(t.Context(), h.Local, transfer.Filter{Agreement: agreement}, page.Request{Limit: 1})
	check(t, err)
	if len(list.Items) == 0 {
		return "", ""
	}
	return list.Items[0].ID, list.Items[0].PeerPID
}

// until waits for changes of the company until done.
func (f *flow) until(done func() bool) {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	defer stop()
	changed := f.h.Store().Notify(ctx, f.h.Local.ID)
	for !done() {
		if _, ok := <-changed; !ok {
			f.t.Fatalf("%s: it never came", f.stage)
		}
	}
}

// settled waits until nothing is on its way to the peer.
func (f *flow) settled() {
	f.t.Helper()
	f.until(func() bool { _, _, _, _, pending := f.look(); return !pending })
}

// message is one on its way to the company.
type message struct {
	method, path string
	header       http.Header
	body         map[string]any
	raw          io.Reader // instead of body
}

var suffixes = map[string]string{"request": "/request", "offer": "/offers", "agreement": "/agreement", "accepted": "/events", "finalized": "/events",
	"verification": "/agreement/verification", "termination": "/termination", "start": "/start", "completion": "/completion", "suspension": "/suspension"}

var types = map[string]string{"request": "ContractRequestMessage", "offer": "ContractOfferMessage", "agreement": "ContractAgreementMessage",
	"accepted": "ContractNegotiationEventMessage", "finalized": "ContractNegotiationEventMessage", "verification": "ContractAgreementVerificationMessage",
	"termination": "ContractNegotiationTerminationMessage", "start": "TransferStartMessage", "completion": "TransferCompletionMessage",
	"suspension": "TransferSuspensionMessage"}

// message is a faultless one of the kind, about this process; no two are the same.
func (f *flow) message(kind string) message {
	n := f.h.ids.Add(1)
	m := map[string]any{"@context": []any{context2025}, "@id": fmt.Sprintf("urn:uuid:some-%d", n), "@type": types[kind]}
	path := f.collection() + "/" + f.ours() + suffixes[kind]
	initial := f.ours() == "" && (kind == "request" || kind == "offer")
	switch {
	case initial:
		path = f.collection() + suffixes[kind]
		m[map[string]string{"request": "consumerPid", "offer": "providerPid"}[kind]] = fmt.Sprintf("urn:uuid:mallory-%d", n)
		m["callbackAddress"] = f.h.peer.url
	default:
		m["consumerPid"], m["providerPid"] = f.consumer, f.provider
	}
	if kind == "read" {
		return message{method: http.MethodGet, path: path, header: http.Header{"Authorization": {"Bearer " + mallory}}}
	}
	rules := []any{map[string]any{"action": "use"}}
	switch {
	case kind == "request" && f.kind == commit.Transfer:
		m["@type"], m["agreementId"], m["format"] = "TransferRequestMessage", f.agreement, transfer.Pull
	case kind == "request", kind == "offer":
		m["offer"] = map[string]any{"@id": f.offer, "@type": "Offer", "target": dataset, "permission": rules}
	case kind == "agreement":
		m["agreement"] = map[string]any{"@id": fmt.Sprintf("urn:uuid:agreed-%d", n), "@type": "Agreement", "target": dataset, "assigner": mallory,
			"assignee": string(f.h.Local.DID), "timestamp": time.Now().UTC().Format(time.RFC3339), "permission": rules}
	case kind == "accepted", kind == "finalized":
		m["eventType"] = strings.ToUpper(kind)
	case kind == "start" && f.role == negotiation.Consumer:
		m["dataAddress"] = map[string]any{"@type": "DataAddress", "endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": f.h.peer.url + "/data"}
	case kind == "termination" && f.kind == commit.Transfer:
		m["@type"] = "TransferTerminationMessage"
	}
	return message{method: http.MethodPost, path: path, body: m, header: http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + mallory}}}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) text(name string) string {
	var m map[string]any
	_ = json.Unmarshal([]byte(a.body), &m)
	s, _ := m[name].(string)
	return s
}

func (f *flow) send(m message) answer {
	f.t.Helper()
	return trip(f.t, http.DefaultTransport, f.base, m)
}

// trip sends the message and reads the answer. Redirects are not followed.
func trip(t *testing.T, transport http.RoundTripper, base string, m message) answer {
	t.Helper()
	body := m.raw
	if body == nil && m.body != nil {
		text, err := json.Marshal(m.body)
		check(t, err)
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(t.Context(), m.method, base+m.path, body)
	check(t, err)
	r.Header = maps.Clone(m.header)
	res, err := transport.RoundTrip(r)
	check(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	check(t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

// rows are all that the company keeps, table by table, but for what is written about every message: the decision log and the memory of tokens.
func rows(t *testing.T, s store.Store, without ...string) map[string][]string {
	t.Helper()
	var b bytes.Buffer
	check(t, s.Backup(t.Context(), &b))
	all := map[string][]string{}
	for line := range strings.Lines(b.String()) {
		var row struct {
			Table string `json:"t"`
		}
		check(t, json.Unmarshal([]byte(line), &row))
		if row.Table != "" && !slices.Contains(append(without, "log_entries", "log_heads", "archive", "replay"), row.Table) {
			all[row.Table] = append(all[row.Table], line)
		}
	}
	for _, lines := range all {
		slices.Sort(lines)
	}
	return all
}

// kindOf names the fault that a call of ours came to.
func kindOf(err error) string {
	if err == nil {
		return "done"
	}
	return problem.Of(fault.KindOf(err)).Type
}
