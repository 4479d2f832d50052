package dcphttp_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
)

const (
	meridian participant.DID = "did:web:meridian.example:meridian" // the authority
	boreal   participant.DID = "did:web:boreal.example:boreal"     // the holder, hosted here
	cobalt   participant.DID = "did:web:cobalt.example:cobalt"     // the verifier
	dusk     participant.DID = "did:web:dusk.example:dusk"         // the rival
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

var scopes = []string{"org.eclipse.tractusx.vc.type:MembershipCredential:read"}

// world is Boreal Drives' agent behind a real server, and keys of those who call it.
type world struct {
	*dcphttp.Agent
	local     participant.Participant
	keys      map[participant.DID]*keyring.Ring
	documents map[string][]byte
	holder    *credential.Holder
	held      []credential.Stored
	address   string
}

// Participant implements dcphttp.Participants.
func (w *world) Participant(_ context.Context, slug string) (participant.Participant, error) {
	if slug != w.local.Slug {
		return participant.Participant{}, fault.New("test", fault.NotFound, "nobody")
	}
	return w.local, nil
}

// Held implements credential.Wallet.
func (w *world) Held(context.Context, participant.Participant) ([]credential.Stored, error) {
	return w.held, nil
}

// Do implements dcphttp.Doer without the rules of the way out: the peers of these tests are on this machine.
func (w *world) Do(r *http.Request, limit int64) (int, http.Header, []byte, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, limit))
	return res.StatusCode, res.Header, body, err
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{local: participant.Participant{ID: 1, Slug: "boreal", DID: boreal}, keys: map[participant.DID]*keyring.Ring{}, documents: map[string][]byte{}}
	for _, did := range []participant.DID{meridian, boreal, cobalt, dusk} {
		k, err := keyring.Draw("company", rand.Reader, time.Now)
		check(t, err)
		w.keys[did] = k
		w.publish(t, did)
	}
	store, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	t.Cleanup(func() { _ = store.Close() })
	clock := func() time.Time { return now }
	resolver := identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) {
		if doc, ok := w.documents[url]; ok {
			return doc, nil
		}
		return nil, errors.New("nothing there")
	}, clock)
	keysOf := func(p participant.Participant) (identity.Keys, error) { return w.keys[p.DID], nil }
	w.holder = &credential.Holder{Wallet: w, Keys: keysOf, Aliases: func(participant.Participant) credential.Aliases {
		return credential.Aliases{"org.eclipse.tractusx.vc.type"}
	}, Replay: store, Now: clock, Rand: rand.Reader}
	w.Agent = dcphttp.New(dcphttp.Config{Participants: w, Keys: keysOf, Tokens: identity.NewVerifier(resolver, store, clock), Holder: w.holder,
		Services: resolver, HTTP: w, Scopes: func(participant.Participant) []string { return scopes }, Now: clock, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Endpoints: func(p participant.Participant) []identity.Service {
			return []identity.Service{{ID: string(p.DID) + "#cs", Type: "CredentialService", Endpoint: "https://boreal.example/boreal/dcp"}}
		}})
	mux := http.NewServeMux()
	w.Mount(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.address = server.URL
	token, err := issuer.Draft{ID: "urn:membership", Profile: credential.Profile11, Types: []string{"MembershipCredential"}, Subject: map[string]string{"id": string(boreal), "memberOf": "Meridian"},
		About: boreal, Begins: now, Ends: now.Add(time.Hour)}.Sign(t.Context(), meridian, w.keys[meridian])
	check(t, err)
	stored, err := credential.Read(token, boreal, nil)
	check(t, err)
	w.held = append(w.held, stored)
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish puts the DID document of a company where it is looked up.
func (w *world) publish(t *testing.T, did participant.DID, services ...identity.Service) {
	t.Helper()
	_, url, err := identity.ParseDID(string(did))
	check(t, err)
	w.documents[url], err = identity.NewDocument(did, w.keys[did], services)
	check(t, err)
}

// access is what Boreal Drives grants the company.
func (w *world) access(t *testing.T, to participant.DID) string {
	t.Helper()
	access, err := w.holder.Grant(w.local, to, scopes)
	check(t, err)
	return access
}

// token is a token of Cobalt Cells for Boreal Drives with a header and claims of the test's own, signed with the keys of a company.
func (w *world) token(t *testing.T, signer participant.DID, header, claims map[string]any) string {
	t.Helper()
	h := map[string]any{"alg": "ES256", "typ": "JWT", "kid": string(cobalt) + "#" + w.keys[cobalt].Public(identity.UseToken)[0].ID}
	c := map[string]any{"iss": cobalt, "sub": cobalt, "aud": boreal, "jti": rand.Text(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 60, "token": w.access(t, cobalt)}
	maps.Copy(h, header)
	maps.Copy(c, claims)
	var parts []string
	for _, m := range []map[string]any{h, c} {
		b, err := json.Marshal(m)
		check(t, err)
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	signature, err := sign(t, w.keys[signer], []byte(strings.Join(parts, ".")))
	check(t, err)
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a query; headers come in pairs and replace what a query has.
func (w *world) ask(t *testing.T, slug, token string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.address+"/"+slug+"/dcp/presentations/query", body)
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	check(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	check(t, err)
	res.Header.Del("Date")
	return answer{res.StatusCode, res.Header, string(text)}
}

func query(t *testing.T) io.Reader {
	t.Helper()
	body, err := dcp.EncodeQuery(scopes)
	check(t, err)
	return strings.NewReader(string(body))
}

func TestWhoHoldsAnAccessTokenIsShownWhatItOpens(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a := w.ask(t, "boreal", w.token(t, cobalt, nil, nil), query(t))
	shown, err := dcp.ParseResponse([]byte(a.body))
	if a.status != http.StatusOK || err != nil || len(shown) != 1 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s, %v", a.status, a.header, a.body, err)
	}
}

func TestEveryRefusalOfATokenIsTheSameAnswer(t *testing.T) {
	t.Parallel()
	w := setup(t)
	used := w.token(t, cobalt, nil, nil)
	if a := w.ask(t, "boreal", used, query(t)); a.status != http.StatusOK {
		t.Fatalf("the token that the others are made from: %d %s", a.status, a.body)
	}
	twice := w.access(t, cobalt)
	if a := w.ask(t, "boreal", w.token(t, cobalt, nil, map[string]any{"token": twice}), query(t)); a.status != http.StatusOK {
		t.Fatalf("an access token for the first time: %d %s", a.status, a.body)
	}
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	want := w.ask(t, "boreal", "", query(t))
	for name, token := range map[string]string{
		"nonsense":                      "x",
		"four parts":                    w.token(t, cobalt, nil, nil) + ".x",
		"too long":                      w.token(t, cobalt, nil, nil) + strings.Repeat("A", identity.MaxToken),
		"expired":                       w.token(t, cobalt, nil, map[string]any{"iat": at(-5 * time.Minute), "exp": at(-time.Minute)}),
		"from the future":               w.token(t, cobalt, nil, map[string]any{"iat": at(time.Minute), "exp": at(2 * time.Minute)}),
		"for somebody else":             w.token(t, cobalt, nil, map[string]any{"aud": dusk}),
		"for two":                       w.token(t, cobalt, nil, map[string]any{"aud": []any{boreal, dusk}}),
		"unsigned":                      w.token(t, cobalt, map[string]any{"alg": "none"}, nil),
		"signed with a foreign key":     w.token(t, dusk, nil, nil),
		"of an unknown key":             w.token(t, cobalt, map[string]any{"kid": string(cobalt) + "#none"}, nil),
		"of nobody":                     w.token(t, cobalt, map[string]any{"kid": "did:web:nobody.example#x"}, map[string]any{"iss": "did:web:nobody.example", "sub": "did:web:nobody.example"}),
		"a presentation":                w.token(t, cobalt, nil, map[string]any{"vp": map[string]any{}}),
		"used before":                   used,
		"without access token":          w.token(t, cobalt, nil, map[string]any{"token": ""}),
		"with the access of another":    w.token(t, cobalt, nil, map[string]any{"token": w.access(t, dusk)}),
		"with an access that was used":  w.token(t, cobalt, nil, map[string]any{"token": twice}),
		"with an access made elsewhere": w.token(t, cobalt, nil, map[string]any{"token": "sluice-at1.e30.AAAA"}),
	} {
		if got := w.ask(t, "boreal", token, query(t)); got.status != http.StatusUnauthorized || got.body != want.body || !maps.EqualFunc(got.header, want.header, slices.Equal) {
			t.Errorf("%s: %d %v %s\nwant %v %s", name, got.status, got.header, got.body, want.header, want.body)
		}
	}
	if got := w.ask(t, "nobody", w.token(t, cobalt, nil, nil), query(t)); got.status != want.status || got.body != want.body || !maps.EqualFunc(got.header, want.header, slices.Equal) {
		t.Errorf("to a company that is not hosted: %d %s", got.status, got.body)
	}
	if got := w.ask(t, "boreal", "", strings.NewReader(strings.Repeat(" ", dcp.MaxQuery+1))); got.status != want.status || got.body != want.body {
		t.Errorf("a stranger's body is read: %d %s", got.status, got.body)
	}
}

func TestWhatIsNoQueryIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	large := strings.Repeat(" ", dcp.MaxQuery+1)
	definition := fmt.Sprintf(`{"@context":[%q],"type":"PresentationQueryMessage","presentationDefinition":{"id":"x"}}`, dcp.Context)
	for name, tt := range map[string]struct {
		body    io.Reader
		headers []string
		want    int
	}{
		"another media type":                    {query(t), []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
		"no media type":                         {query(t), []string{"Content-Type", ""}, http.StatusUnsupportedMediaType},
		"a compressed body":                     {query(t), []string{"Content-Encoding", "gzip"}, http.StatusUnsupportedMediaType},
		"a body too large":                      {strings.NewReader(large), nil, http.StatusRequestEntityTooLarge},
		"a body too large that did not say so":  {io.MultiReader(strings.NewReader(large)), nil, http.StatusRequestEntityTooLarge},
		"no JSON":                               {strings.NewReader("no"), nil, http.StatusBadRequest},
		"no message":                            {strings.NewReader("{}"), nil, http.StatusBadRequest},
		"a definition instead of scopes":        {strings.NewReader(definition), nil, http.StatusNotImplemented},
		"a query with a charset, nothing wrong": {query(t), []string{"Content-Type", "application/json; charset=utf-8"}, http.StatusOK},
	} {
		if a := w.ask(t, "boreal", w.token(t, cobalt, nil, nil), tt.body, tt.headers...); a.status != tt.want {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, tt.want)
		}
	}
}

func TestADIDDocumentIsServedToEverybody(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for slug, want := range map[string]int{"boreal": http.StatusOK, "nobody": http.StatusNotFound} {
		res, err := http.Get(w.address + "/" + slug + "/did.json")
		check(t, err)
		body, err := io.ReadAll(res.Body)
		check(t, err)
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d", slug, res.StatusCode)
		}
		if want == http.StatusOK {
			d, err := identity.ParseDocument(boreal, body)
			if err != nil || len(d.Services) != 1 || res.Header.Get("Content-Type") != "application/did+json" {
				t.Errorf("%s, %v", body, err)
			}
		}
	}
}

// The other way round: a query that we make carries the peer's access token in a token of ours, and only a whole answer counts.
func TestAQueryIsMadeWithThePeersAccessToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string // of the error, "" for none
	}{
		"presentations": {func(w http.ResponseWriter) {
			body, _ := dcp.EncodeResponse([]string{"a.b.c"})
			_, _ = w.Write(body)
		}, ""},
		"a refusal":    {func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }, "answered 401"},
		"a redirect":   {func(w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(http.StatusFound) }, "answered 302"},
		"nonsense":     {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "no") }, "malformed"},
		"no service":   {nil, "names no CredentialService"},
		"an empty 2xx": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, "malformed"},
	} {
		w := setup(t)
		var authorization string
		peer := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			authorization = r.Header.Get("Authorization")
			if r.Method != http.MethodPost || r.URL.Path != "/cs/presentations/query" {
				rw.WriteHeader(http.StatusNotFound)
				return
			}
			tt.answer(rw)
		}))
		defer peer.Close()
		if tt.answer != nil {
			w.publish(t, cobalt, identity.Service{ID: "#cs", Type: "CredentialService", Endpoint: peer.URL + "/cs/"})
		}
		got, err := w.Query(t.Context(), w.local, participant.Peer{DID: cobalt, AccessToken: "theirs"}, scopes)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			continue
		}
		token, bearerErr := identity.Bearer([]string{authorization})
		check(t, bearerErr)
		_, payload, parseErr := identity.ParseJWT(token, identity.MaxToken)
		check(t, parseErr)
		var claims map[string]any
		check(t, json.Unmarshal(payload, &claims))
		if err != nil || !slices.Equal(got, []string{"a.b.c"}) || claims["token"] != "theirs" || claims["aud"] != string(cobalt) || claims["iss"] != string(boreal) {
			t.Errorf("%s: %v, %v with %v", name, got, err, claims)
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
