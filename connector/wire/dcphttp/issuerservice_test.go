package dcphttp_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// authority is Boreal Drives as an issuer that is reached over HTTP, and Cobalt Cells as a holder whose wallet notes what it is sent.
type authority struct {
	*world
	issuer  *issuer.Service
	store   *sqlstore.Store
	address string

	mu     sync.Mutex
	status int // of the wallet's answers
	taken  []taken
	came   chan struct{} // one for each message that the wallet got
}

type taken struct {
	path, sender, access string
	body                 []byte
}

// ledger seals records; nothing else.
type ledger struct{ *decisionlog.Recorder }

func (l ledger) Record(_ context.Context, a decisionlog.Action) (decisionlog.Entry, error) {
	return l.Action(a)
}

// nobody shows nothing.
type nobody struct{}

func (nobody) Claims(context.Context, participant.Participant, participant.Peer) (policy.Party, error) {
	return policy.Party{}, errors.New("nothing to ask")
}

// ByID implements issuer.Hosted.
func (w *world) ByID(context.Context, participant.ID) (participant.Participant, error) {
	return w.local, nil
}

// authorityOf makes the issuer side over a store, with what it sends left to the caller.
func authorityOf(t *testing.T, local participant.Participant, keys issuer.Keys, hosted issuer.Hosted, out issuer.Outbox, base string, now func() time.Time) (*issuer.Service, *sqlstore.Store) {
	t.Helper()
	store, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	t.Cleanup(func() { _ = store.Close() })
	local, err = store.CreateParticipant(t.Context(), local)
	check(t, err)
	recorder, err := decisionlog.NewRecorder(local.Slug, "test", decisionlog.Engine{}, "q", decisionlog.Domain{ID: "d", Key: make([]byte, 32)}, rand.Reader)
	check(t, err)
	def := func(id string) issuer.Definition {
		return issuer.Definition{ID: id, Type: id, Profile: credential.Profile11, Life: time.Hour, Purposes: []string{"revocation"}, Rules: []issuer.Rule{{Kind: issuer.ByList}}}
	}
	s := issuer.New(issuer.Config{Store: store, Decider: ledger{recorder}, Claims: nobody{}, Codec: dcp.IssuerCodec{}, Hosted: hosted, Seals: identity.Vault{Keys: keys, Rand: rand.Reader},
		Keys: keys, Outbox: out, StatusURL: func(_ participant.Participant, list string) string { return base + "/status/" + list },
		Templates: func(participant.Participant) []issuer.Definition {
			return []issuer.Definition{def("MembershipCredential"), def("SensitiveDataCredential")}
		}, Now: now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), PerHour: 100, Patience: time.Hour})
	check(t, s.Enable(t.Context(), local, "operator"))
	return s, store
}

func issuing(t *testing.T) *authority {
	t.Helper()
	a := &authority{world: setup(t), status: http.StatusOK, came: make(chan struct{}, 100)}
	wallet := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, payload, err := identity.ParseJWT(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), identity.MaxToken)
		var claims struct{ Iss, Token string }
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.taken = append(a.taken, taken{r.URL.Path, claims.Iss, claims.Token, body})
		w.WriteHeader(a.status)
		a.came <- struct{}{}
	}))
	t.Cleanup(wallet.Close)
	a.publish(t, cobalt, identity.Service{ID: string(cobalt) + "#cs", Type: "CredentialService", Endpoint: wallet.URL + "/wallet"})
	server := httptest.NewUnstartedServer(nil)
	a.address = "http://" + server.Listener.Addr().String() + "/boreal/issuer"
	keys := func(p participant.Participant) (identity.Keys, error) { return a.keys[p.DID], nil }
	var out sender
	a.issuer, a.store = authorityOf(t, participant.Participant{Slug: "boreal", DID: boreal, Name: "Boreal Drives", Created: now}, keys, a.world, &out, a.address, func() time.Time { return now })
	service := dcphttp.NewIssuerService(dcphttp.IssuerConfig{Agent: a.Agent, Issuer: a.issuer, Hosted: a.world, Base: func(participant.Participant) string { return a.address },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	box := outbox.New(outbox.Config{Store: a.store, Sender: service, Owners: map[commit.ProcessKind]outbox.Owner{commit.IssuerRequest: a.issuer, commit.IssuerOffer: a.issuer},
		Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Deadline: 1 << 62}) // the issuer lives on another day
	out.Outbox = box
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { box.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	mux := http.NewServeMux()
	service.Mount(mux)
	server.Config.Handler = mux
	server.Start()
	t.Cleanup(server.Close)
	_, err := a.issuer.PutHolders(t.Context(), a.local, []issuer.Holder{{DID: cobalt, Grants: []string{"MembershipCredential", "SensitiveDataCredential"}}}, "operator")
	check(t, err)
	return a
}

// sender is an outbox that is made after who sends by it.
type sender struct{ *outbox.Outbox }

// do makes one call of the issuer; header is the whole Authorization header.
func (a *authority) do(t *testing.T, method, path, header, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.address+path, strings.NewReader(body))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	res, err := http.DefaultClient.Do(r)
	check(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	check(t, err)
	res.Header.Del("Date")
	return answer{res.StatusCode, res.Header, string(text)}
}

func (a *authority) bearer(t *testing.T, claims map[string]any) string {
	t.Helper()
	return "Bearer " + a.token(t, cobalt, nil, claims)
}

func request(t *testing.T, ids ...string) string {
	t.Helper()
	body, err := dcp.EncodeCredentialRequest(dcp.CredentialRequest{HolderPID: "the-same-each-time", Credentials: ids})
	check(t, err)
	return string(body)
}

// open makes a request and returns its path below the issuer.
func (a *authority) open(t *testing.T) string {
	t.Helper()
	got := a.do(t, "POST", "/credentials", a.bearer(t, nil), request(t, "MembershipCredential"))
	path, ok := strings.CutPrefix(got.header.Get("Location"), a.address)
	if got.status != http.StatusCreated || !ok || !strings.HasPrefix(path, "/requests/") {
		t.Fatalf("%d %s, Location %q", got.status, got.body, got.header.Get("Location"))
	}
	return path
}

func TestMetadataIsForAnyoneWithATokenOrWithout(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	for name, header := range map[string]string{"without": "", "with": a.bearer(t, nil), "with nonsense for": "nonsense"} {
		got := a.do(t, "GET", "/metadata", header, "")
		m, err := dcp.ParseIssuerMetadata([]byte(got.body))
		if got.status != http.StatusOK || err != nil || m.Issuer != string(boreal) || len(m.Credentials) != 2 || m.Credentials[0].Profile != credential.Profile11 {
			t.Errorf("%s a token: %d %s, %v", name, got.status, got.body, err)
		}
	}
}

func TestTwoCredentialsThatAreAskedForComeAtOnce(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	for _, ids := range [][]string{{"MembershipCredential", "SensitiveDataCredential"}, {"SensitiveDataCredential", "MembershipCredential"}} { // one holderPid, and each message is a process of its own
		got := a.do(t, "POST", "/credentials", a.bearer(t, map[string]any{"token": "write"}), request(t, ids...))
		if got.status != http.StatusCreated || got.header.Get("Location") == "" || got.body != "" {
			t.Fatalf("%d %s", got.status, got.body)
		}
		<-a.came
		a.mu.Lock()
		last := a.taken[len(a.taken)-1]
		a.mu.Unlock()
		m, err := dcp.ParseCredentialMessage(last.body)
		if err != nil || m.Status != dcp.StatusIssued || len(m.Credentials) != 2 || !strings.HasSuffix(got.header.Get("Location"), m.IssuerPID) || last.path != "/wallet/credentials" ||
			last.sender != string(boreal) || last.access != "write" {
			t.Errorf("%+v with %q from %s at %s, %v", m, last.access, last.sender, last.path, err)
		}
	}
	if n := len(a.taken); n != 2 {
		t.Errorf("%d messages, want one for each request", n)
	}
}

func TestARequestWhoseAnswerWasLostIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	a.mu.Lock()
	a.status = http.StatusServiceUnavailable // so that it is not over
	a.mu.Unlock()
	first := a.open(t)
	<-a.came
	if again := a.open(t); again != first {
		t.Errorf("the same message is at %s first, then at %s", first, again)
	}
	<-a.came // long before its next time: who asks again is there
	if got := a.do(t, "POST", "/credentials", a.bearer(t, nil), request(t, "MembershipCredential")+" "); got.header.Get("Location") == a.address+first || got.status != http.StatusCreated {
		t.Errorf("another message: %d at %s", got.status, got.header.Get("Location"))
	}
	all, err := a.issuer.Credentials(t.Context(), a.local, issuer.Filter{}, page.Request{})
	if err != nil || len(all.Items) != 2 {
		t.Errorf("%d credentials, %v; want one for each message", len(all.Items), err)
	}
}

// faulty is every way in which a token, or the header that carries it, is not that of who calls (DCP 1.0; cases 6.4.2 to 6.4.12 and 6.8.2 to 6.8.11
// of its conformance kit).
func (a *authority) faulty(t *testing.T) map[string]string {
	t.Helper()
	n := now.Unix()
	stolen := a.token(t, dusk, nil, nil)
	return map[string]string{
		"no header":                   "",
		"no prefix":                   strings.TrimPrefix(a.bearer(t, nil), "Bearer "),
		"signed with another key":     "Bearer " + stolen,
		"expired":                     a.bearer(t, map[string]any{"iat": n - 360, "nbf": n - 360, "exp": n - 60}),
		"issued in the future":        a.bearer(t, map[string]any{"iat": n + 60}),
		"not valid yet":               a.bearer(t, map[string]any{"nbf": n + 60}),
		"for another audience":        a.bearer(t, map[string]any{"aud": dusk}),
		"whose subject is another":    a.bearer(t, map[string]any{"sub": dusk}),
		"without jti":                 a.bearer(t, map[string]any{"jti": ""}),
		"that lives too long":         a.bearer(t, map[string]any{"exp": n + 3600}),
		"of the issuer itself":        "Bearer " + a.token(t, boreal, map[string]any{"kid": string(boreal) + "#" + a.keys[boreal].Public(identity.UseToken)[0].ID}, map[string]any{"iss": boreal, "sub": boreal}),
		"of a DID that kid is not of": "Bearer " + a.token(t, cobalt, nil, map[string]any{"iss": dusk, "sub": dusk}),
	}
}

func TestARequestOrAQuestionIsOnlyForThoseWhoProveWhoTheyAre(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	path := a.open(t)
	<-a.came
	var first *answer
	for name, header := range a.faulty(t) {
		for _, call := range []struct{ method, path, body string }{{"POST", "/credentials", request(t, "MembershipCredential")}, {"GET", path, ""}} {
			got := a.do(t, call.method, call.path, header, call.body)
			if first == nil {
				first = &got
			}
			if got.status != http.StatusUnauthorized || got.body != first.body {
				t.Errorf("%s %s with a token %s: %d %s, want what every stranger gets: %s", call.method, call.path, name, got.status, got.body, first.body)
			}
		}
	}
	// A holder that is not onboarded, and an issuer that is none, answer in the same bytes.
	a.publish(t, dusk)
	unknown := "Bearer " + a.token(t, dusk, map[string]any{"kid": string(dusk) + "#" + a.keys[dusk].Public(identity.UseToken)[0].ID}, map[string]any{"iss": dusk, "sub": dusk})
	if got := a.do(t, "POST", "/credentials", unknown, request(t, "MembershipCredential")); got.status != first.status || got.body != first.body {
		t.Errorf("a holder that is not onboarded: %d %s", got.status, got.body)
	}
	all, err := a.issuer.Requests(t.Context(), a.local, issuer.Filter{}, page.Request{})
	if err != nil || len(all.Items) != 1 {
		t.Errorf("%d requests, %v; want the one that was good", len(all.Items), err)
	}
}

func TestATokenIsGoodForOneCall(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	id := rand.Text()
	token := a.bearer(t, map[string]any{"jti": id})
	if got := a.do(t, "POST", "/credentials", token, request(t, "MembershipCredential")); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	for name, again := range map[string]string{"the same token": token, "another with its jti": a.bearer(t, map[string]any{"jti": id, "exp": now.Unix() + 90})} {
		for _, call := range []struct{ method, path, body string }{{"POST", "/credentials", request(t, "MembershipCredential")}, {"GET", "/requests/x", ""}} {
			if got := a.do(t, call.method, call.path, again, call.body); got.status != http.StatusUnauthorized {
				t.Errorf("%s, %s: %d %s", call.path, name, got.status, got.body)
			}
		}
	}
}

func TestAMessageThatIsNoRequestIsMalformed(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	const head = `{"@context":["` + dcp.Context + `"],"type":"CredentialRequestMessage"`
	for name, tt := range map[string]struct {
		body   string
		status int
	}{
		"without credentials":    {head + `,"holderPid":"p"}`, 400},
		"with none":              {head + `,"holderPid":"p","credentials":[]}`, 400},
		"without holderPid":      {head + `,"credentials":[{"id":"MembershipCredential"}]}`, 400},
		"with an unknown id":     {request(t, "Nothing"), 400},
		"of another type":        {strings.Replace(request(t, "MembershipCredential"), "RequestMessage", "OfferMessage", 1), 400},
		"of no context":          {strings.Replace(request(t, "MembershipCredential"), "w3id.org", "w3id.example", 1), 400},
		"with a key twice":       {head + `,"holderPid":"p","holderPid":"q","credentials":[{"id":"MembershipCredential"}]}`, 400},
		"that is not JSON":       {"nonsense", 400},
		"that is too large":      {request(t, "MembershipCredential") + strings.Repeat(" ", dcp.MaxCredentialRequest), 413},
		"with too many":          {head + `,"holderPid":"p","credentials":[` + strings.TrimSuffix(strings.Repeat(`{"id":"MembershipCredential"},`, 51), ",") + `]}`, 400},
		"that ends in the midst": {head, 400},
	} {
		if got := a.do(t, "POST", "/credentials", a.bearer(t, nil), tt.body); got.status != tt.status {
			t.Errorf("a message %s: %d %s, want %d", name, got.status, got.body, tt.status)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", a.address+"/credentials", strings.NewReader("x"))
	check(t, err)
	r.Header.Set("Authorization", a.bearer(t, nil))
	res, err := http.DefaultClient.Do(r)
	check(t, err)
	if _ = res.Body.Close(); res.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("another media type: %d", res.StatusCode)
	}
}

func TestARequestIsSeenByItsHolderAlone(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	path := a.open(t)
	<-a.came
	got := a.do(t, "GET", path, a.bearer(t, nil), "")
	s, err := dcp.ParseCredentialStatus([]byte(got.body))
	if got.status != http.StatusOK || err != nil || s.HolderPID != "the-same-each-time" || !strings.HasSuffix(path, s.IssuerPID) {
		t.Errorf("%d %s, %v", got.status, got.body, err)
	}
	a.publish(t, dusk)
	other := func() string {
		return "Bearer " + a.token(t, dusk, map[string]any{"kid": string(dusk) + "#" + a.keys[dusk].Public(identity.UseToken)[0].ID}, map[string]any{"iss": dusk, "sub": dusk})
	}
	hidden, absent := a.do(t, "GET", path, other(), ""), a.do(t, "GET", "/requests/urn:uuid:none", other(), "")
	if hidden.status != http.StatusNotFound || absent.status != http.StatusNotFound || hidden.body != absent.body {
		t.Errorf("hidden: %d %s; absent: %d %s", hidden.status, hidden.body, absent.status, absent.body)
	}
	if got := a.do(t, "GET", "/requests/urn:uuid:none", a.bearer(t, nil), ""); got.status != http.StatusNotFound || got.body != absent.body {
		t.Errorf("absent for its holder: %d %s", got.status, got.body)
	}
}

func TestAHolderThatIsAwayOrNotReadyIsAskedAgainAndOneThatRefusesIsNot(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]issuer.State{503: issuer.Delivered, 429: issuer.Delivered, 408: issuer.Delivered, 401: issuer.Delivered, 400: issuer.Delivered, 409: issuer.Delivered, 404: issuer.Errored} {
		a := issuing(t)
		a.status = status
		told := a.store.Notify(t.Context(), a.local.ID)
		id := strings.TrimPrefix(a.open(t), "/requests/")
		<-a.came
		a.mu.Lock()
		a.status = http.StatusOK
		a.mu.Unlock()
		for r := (issuer.Request{}); !r.State.Final(); <-told {
			var err error
			r, err = a.issuer.Request(t.Context(), a.local, id)
			check(t, err)
			if r.State.Final() {
				if r.State != want {
					t.Errorf("after %d: %s (%s %v), want %s", status, r.State, r.Code, r.Reasons, want)
				}
				break
			}
		}
		a.mu.Lock()
		for _, m := range a.taken[1:] {
			if string(m.body) != string(a.taken[0].body) {
				t.Errorf("after %d another message was sent", status)
			}
		}
		if once := len(a.taken) == 1; once != (want == issuer.Errored) {
			t.Errorf("after %d: %d messages", status, len(a.taken))
		}
		a.mu.Unlock()
	}
}

func TestAStatusListIsServedWithoutItsSignatureToWhoTakesNothingElse(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	a.open(t)
	<-a.came
	all, err := a.issuer.Credentials(t.Context(), a.local, issuer.Filter{}, page.Request{})
	check(t, err)
	get := func(accept, tag string) answer {
		r, err := http.NewRequestWithContext(t.Context(), "GET", a.address+"/status/"+all.Items[0].Places[0].List, nil)
		check(t, err)
		r.Header.Set("Accept", accept)
		r.Header.Set("If-None-Match", tag)
		r.Header.Set("Prefer", "wait=1")
		res, err := http.DefaultClient.Do(r)
		check(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		check(t, err)
		return answer{res.StatusCode, res.Header, string(body)}
	}
	signed := get("application/jwt", "")
	_, payload, err := identity.ParseJWT(signed.body, len(signed.body))
	check(t, err)
	var claims struct {
		VC json.RawMessage `json:"vc"`
	}
	check(t, json.Unmarshal(payload, &claims))
	for accept, plain := range map[string]bool{"": false, "*/*": false, "nonsense": false, "application/jwt, application/json": false, "application/json, */*;q=0.1": false,
		"application/vc+jwt, application/jwt, application/vc+ld+json;q=0.1, application/json;q=0.1": false, "application/json": true, "application/vc+ld+json, application/json;q=0.5": true} {
		want, media := signed.body, "application/jwt"
		if plain {
			want, media = string(claims.VC), "application/json"
		}
		got := get(accept, "")
		if got.status != http.StatusOK || got.body != want || got.header.Get("Content-Type") != media || got.header.Get("Vary") != "Accept, Prefer" {
			t.Errorf("%q: %d %v %.80s", accept, got.status, got.header, got.body)
		}
		if same := got.header.Get("ETag") == signed.header.Get("ETag"); same == plain {
			t.Errorf("%q: the tag %s, signed it is %s", accept, got.header.Get("ETag"), signed.header.Get("ETag"))
		}
		if plain {
			if again := get(accept, got.header.Get("ETag")); again.status != http.StatusNotModified || again.body != "" {
				t.Errorf("%q, known: %d %.80s", accept, again.status, again.body)
			}
		}
	}
}

func TestWhoIsNoIssuerHasNoIssuerService(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	root := strings.TrimSuffix(a.address, "/boreal/issuer")
	for _, path := range []string{"/nobody/issuer/metadata", "/nobody/issuer/status/x", "/boreal/issuer/status/x"} {
		res, err := http.Get(root + path)
		check(t, err)
		if _ = res.Body.Close(); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}
