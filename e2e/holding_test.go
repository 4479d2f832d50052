package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wallet"
)

// authority is an issuer beside the network, with a key, a DID document and a server of its own, whose behaviour a test scripts.
type authority struct {
	t      *testing.T
	did    participant.DID
	key    *ecdsa.PrivateKey
	origin string
	client *http.Client

	mu       sync.Mutex
	requests []request
	life     time.Duration
	deliver  bool // at once, when it is asked
	wallet   string
}

type request struct {
	pid    string
	ids    []string
	claims map[string]any // of the token that it came with
}

const membership = "org.eclipse.tractusx.vc.type:MembershipCredential:read"

// house is Boreal Drives and Aurora Motors on one connector that trusts the authority, and an authority and a stranger beside it.
type house struct {
	*network.Company
	aurora              participant.Participant
	authority, stranger *authority
	base                string // of the credential service of Boreal Drives
}

func hold(t *testing.T, change func(*settings.Settings)) *house {
	t.Helper()
	h := &house{authority: newAuthority(t, "issuer"), stranger: newAuthority(t, "dusk")}
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now, Members: members[1:2], Peers: []string{h.authority.origin, h.stranger.origin},
		Log: func(slug string) *slog.Logger {
			return slog.New(slog.NewTextHandler(t.Output(), nil)).With(slog.String("company", slug))
		},
		Change: func(_ string, cfg *connector.Config) {
			cfg.Settings.Profiles[0].Trust = append(cfg.Settings.Profiles[0].Trust, settings.Trust{Issuer: string(h.authority.did), Credentials: []string{"MembershipCredential", "SensitiveDataCredential"}})
			if change != nil {
				change(&cfg.Settings)
			}
		}})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	h.Company = n.Companies["boreal"]
	h.aurora, err = h.CreateParticipant(t.Context(), "aurora", "Aurora Motors", "", "test")
	check(t, err)
	leaf, err := n.CA.Leaf("localhost", "127.0.0.1")
	check(t, err)
	for _, a := range []*authority{h.authority, h.stranger} {
		a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.CA.Pool(), MinVersion: tls.VersionTLS12}}}
		t.Cleanup(a.client.CloseIdleConnections)
		a.serve(leaf)
	}
	h.base = baseOf(h.Local.DID) + "/dcp"
	h.authority.wallet = h.base
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// baseOf is where a company of the network is found.
func baseOf(did participant.DID) string {
	rest := strings.TrimPrefix(string(did), "did:web:")
	host, slug, _ := strings.Cut(rest, ":")
	host, _ = url.PathUnescape(host)
	return "https://" + host + "/" + slug
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	check(t, err)
	a := &authority{t: t, key: key, origin: "https://localhost:" + port, did: participant.DID("did:web:localhost%3A" + port + ":" + name), life: 24 * time.Hour}
	server := httptest.NewUnstartedServer(a)
	_ = server.Listener.Close()
	server.Listener = l
	t.Cleanup(server.Close)
	authorities.Store(a, server)
	return a
}

// authorities are the servers that wait for their certificates.
var authorities sync.Map

func (a *authority) serve(leaf tls.Certificate) {
	server, _ := authorities.LoadAndDelete(a)
	s := server.(*httptest.Server)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
}

// ServeHTTP is its DID document and its issuer service.
func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, name, _ := strings.Cut(strings.TrimPrefix(string(a.did), "did:web:"), ":")
	switch path := r.Method + " " + r.URL.Path; {
	case path == "GET /"+name+"/did.json":
		point, _ := a.key.PublicKey.Bytes()
		kid := string(a.did) + "#1"
		fmt.Fprintf(w, `{"@context":["https://www.w3.org/ns/did/v1"],"id":%q,"verificationMethod":[{"id":%q,"type":"JsonWebKey2020","controller":%q,"publicKeyJwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}],
			"authentication":[%q],"assertionMethod":[%q],"capabilityInvocation":[%q],"service":[{"id":"#i","type":"IssuerService","serviceEndpoint":%q}]}`,
			a.did, kid, a.did, b64(point[1:33]), b64(point[33:]), kid, kid, kid, a.origin+"/"+name+"/is")
	case path == "GET /"+name+"/is/metadata":
		body, err := dcp.EncodeIssuerMetadata(dcp.IssuerMetadata{Issuer: string(a.did), Credentials: []dcp.CredentialObject{
			{ID: "membership", CredentialType: "MembershipCredential", Profile: credential.Profile11}, {ID: "sensitive", CredentialType: "SensitiveDataCredential", Profile: credential.Profile11}}})
		a.must(err)
		_, _ = w.Write(body)
	case path == "POST /"+name+"/is/credentials":
		a.requested(w, r, "/"+name+"/is/requests/r1")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (a *authority) must(err error) {
	if err != nil {
		a.t.Error(err)
	}
}

func (a *authority) requested(w http.ResponseWriter, r *http.Request, location string) {
	body, err := io.ReadAll(r.Body)
	a.must(err)
	m, err := dcp.ParseCredentialRequest(body)
	a.must(err)
	got := request{pid: m.HolderPID, ids: m.Credentials}
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) == 3 {
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		a.must(err)
		a.must(json.Unmarshal(payload, &got.claims))
	}
	a.mu.Lock()
	a.requests = append(a.requests, got)
	deliver := a.deliver
	a.mu.Unlock()
	if deliver {
		if answer := a.bring(participant.DID(got.claims["iss"].(string)), got, "MembershipCredential"); answer.status != http.StatusOK {
			a.t.Errorf("brought: %d %s", answer.status, answer.body)
		}
	}
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusCreated)
}

// bring delivers credentials of the types for a request.
func (a *authority) bring(holder participant.DID, r request, types ...string) reply {
	m := dcp.CredentialMessage{IssuerPID: "r1", HolderPID: r.pid, Status: dcp.StatusIssued}
	for _, kind := range types {
		m.Credentials = append(m.Credentials, dcp.Container{CredentialType: kind, Payload: a.credential(holder, kind), Format: credential.Profile11})
	}
	body, err := dcp.EncodeCredentialMessage(m)
	a.must(err)
	claims := map[string]any{}
	if access, ok := r.claims["token"]; ok {
		claims["token"] = access
	}
	return a.post(a.wallet+"/credentials", a.token(holder, claims), body)
}

func (a *authority) credential(holder participant.DID, kind string) string {
	from := time.Now()
	id := "urn:uuid:" + rand.Text()
	return a.sign(nil, map[string]any{"iss": a.did, "sub": holder, "jti": rand.Text(), "nbf": from.Unix(), "iat": from.Unix(), "exp": from.Add(a.life).Unix(), "vc": map[string]any{
		"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "id": id, "type": []string{"VerifiableCredential", kind}, "issuer": a.did,
		"issuanceDate": from.UTC().Format(time.RFC3339), "expirationDate": from.Add(a.life).UTC().Format(time.RFC3339), "credentialSubject": map[string]any{"id": holder, "memberOf": "Meridian"}}})
}

// token is a self-issued token for the company; claims replace what it has.
func (a *authority) token(to participant.DID, claims map[string]any) string {
	now := time.Now().Unix()
	c := map[string]any{"iss": a.did, "sub": a.did, "aud": to, "jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 300}
	maps.Copy(c, claims)
	return a.sign(nil, c)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (a *authority) sign(header, claims map[string]any) string {
	h := map[string]any{"alg": "ES256", "typ": "JWT", "kid": string(a.did) + "#1"}
	maps.Copy(h, header)
	head, err := json.Marshal(h)
	a.must(err)
	body, err := json.Marshal(claims)
	a.must(err)
	input := b64(head) + "." + b64(body)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, a.key, sum[:])
	a.must(err)
	return input + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

type reply struct {
	status int
	body   string
}

// post sends a message with a token, "" for none, "?x" for x as the whole header.
func (a *authority) post(address, token string, body []byte, header ...string) reply {
	a.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address, bytes.NewReader(body))
	a.must(err)
	r.Header.Set("Content-Type", "application/json")
	if whole, ok := strings.CutPrefix(token, "?"); ok {
		r.Header.Set("Authorization", whole)
	} else if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := a.client.Do(r)
	if err != nil {
		a.t.Error(err)
		return reply{}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	a.must(err)
	return reply{res.StatusCode, string(text)}
}

// ask lets Boreal Drives ask for the types, and returns what the authority got.
func (h *house) ask(t *testing.T, types ...string) (wallet.Request, request) {
	t.Helper()
	r, err := h.Wallet().Ask(t.Context(), h.Local, wallet.Ask{Issuer: h.authority.did, Types: types, Actor: "test"})
	check(t, err)
	h.await(t, func() bool {
		return len(h.authority.got()) > 0 && h.authority.got()[len(h.authority.got())-1].pid == r.ID
	})
	all := h.authority.got()
	return r, all[len(all)-1]
}

func (a *authority) got() []request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// await waits for something to be so, which events tell of.
func (h *house) await(t *testing.T, is func() bool) {
	t.Helper()
	changed := h.Store().Notify(t.Context(), h.Local.ID)
	tick := time.NewTicker(20 * time.Millisecond) // what happens beside the store
	defer tick.Stop()
	for !is() {
		select {
		case <-changed:
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it never comes about")
		}
	}
}

func (h *house) state(t *testing.T, id string) wallet.State {
	t.Helper()
	r, err := h.Wallet().Request(t.Context(), h.Local, id)
	check(t, err)
	return r.State
}

// from are the credentials of the authority in the wallet.
func (h *house) from(t *testing.T) []wallet.Credential {
	t.Helper()
	all, err := h.Wallet().Credentials(t.Context(), h.Local)
	check(t, err)
	return slices.DeleteFunc(all, func(c wallet.Credential) bool { return c.Issuer != h.authority.did })
}

func TestACompanyAsksAnIssuerAndShowsWhatItGot(t *testing.T) {
	t.Parallel()
	h := hold(t, nil)
	r, got := h.ask(t, "MembershipCredential", "SensitiveDataCredential")
	if got.claims["iss"] != string(h.Local.DID) || got.claims["sub"] != string(h.Local.DID) || got.claims["aud"] != string(h.authority.did) || !slices.Equal(got.ids, []string{"membership", "sensitive"}) {
		t.Errorf("asked with %v for %v", got.claims, got.ids)
	}
	h.await(t, func() bool { return h.state(t, r.ID) == wallet.Requested })

	// The token that came with the request lets the issuer look once at what its rules may need.
	query, err := dcp.EncodeQuery([]string{membership})
	check(t, err)
	look := func(by *authority) reply {
		return by.post(h.base+"/presentations/query", by.token(h.Local.DID, map[string]any{"token": got.claims["token"]}), query)
	}
	if a := look(h.stranger); a.status != http.StatusUnauthorized {
		t.Errorf("somebody else's look: %d %s", a.status, a.body)
	}
	if a := look(h.authority); a.status != http.StatusOK {
		t.Errorf("the issuer's look: %d %s", a.status, a.body)
	}
	if a := look(h.authority); a.status != http.StatusUnauthorized {
		t.Errorf("a second look: %d %s", a.status, a.body)
	}
	for range 2 { // each brings new ones
		if a := h.authority.bring(h.Local.DID, got, "MembershipCredential", "SensitiveDataCredential"); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if h.state(t, r.ID) != wallet.Issued || len(h.from(t)) != 2 {
		t.Errorf("%s, %v", h.state(t, r.ID), h.from(t))
	}
}

// TestTwoConnectorsIssueOfferSuspendAndRevoke is the whole life of credentials between the authority's connector and a company's, in both data models.
func TestTwoConnectorsIssueOfferSuspendAndRevoke(t *testing.T) {
	t.Parallel()
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now, Members: members[1:2], Log: func(slug string) *slog.Logger {
		return slog.New(slog.NewTextHandler(t.Output(), nil)).With(slog.String("company", slug))
	}, Change: func(_ string, cfg *connector.Config) {
		cfg.Settings.Wallet.Request, cfg.Settings.Wallet.Watch = []string{"BpnCredential"}, 200*time.Millisecond
		cfg.Settings.Verification.ListLife = time.Second
	}})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	h := &house{Company: n.Companies["boreal"], authority: &authority{did: n.Authority.Local.DID}}
	office, meridian := n.Authority.Issuer(), n.Authority.Local
	check(t, n.Authority.EnableIssuer(t.Context(), meridian, "test"))
	all, err := office.Definitions(t.Context(), meridian)
	check(t, err)
	newer := all[slices.IndexFunc(all, func(d issuer.Definition) bool { return d.Type == "MembershipCredential" })]
	newer.ID, newer.Version, newer.Profile = "membership-20", 0, credential.Profile20
	_, err = office.PutDefinition(t.Context(), meridian, newer, "test")
	check(t, err)
	_, err = office.PutHolders(t.Context(), meridian, []issuer.Holder{{DID: h.Local.DID, Name: "Boreal Drives", Grants: []string{"MembershipCredential", "BpnCredential", "membership-20"},
		Values: map[string][]string{"bpn": {"BPNL00000000BOR1"}, "memberOf": {"Meridian"}}}}, "test")
	check(t, err)
	for _, c := range h.from(t) { // what the network began with
		check(t, h.Wallet().Delete(t.Context(), h.Local, c.ID, "test"))
	}

	r, err := h.Wallet().Ask(t.Context(), h.Local, wallet.Ask{Issuer: meridian.DID, Definitions: []string{"MembershipCredential", "membership-20"}, Actor: "test"})
	check(t, err)
	h.await(t, func() bool { return h.state(t, r.ID) == wallet.Issued })
	held, err := h.Wallet().Held(t.Context(), h.Local)
	check(t, err)
	if profiles := []string{held[0].Profile, held[1].Profile}; len(held) != 2 || profiles[0] == profiles[1] {
		t.Fatalf("held: %+v", held)
	}
	// What we are on no list for is refused, and the operator reads why.
	refused, err := h.Wallet().Ask(t.Context(), h.Local, wallet.Ask{Issuer: meridian.DID, Types: []string{"DismantlerCredential"}, Actor: "test"})
	check(t, err)
	h.await(t, func() bool { return h.state(t, refused.ID) == wallet.Failed })
	if refused, err = h.Wallet().Request(t.Context(), h.Local, refused.ID); err != nil || !strings.Contains(refused.Reason, "it answered 403: ") {
		t.Errorf("%+v, %v", refused, err)
	}

	// An offer of a type that the settings name is taken by itself.
	_, err = office.Offer(t.Context(), meridian, h.Local.DID, []string{"BpnCredential"}, "", "test")
	check(t, err)
	h.await(t, func() bool { return len(h.from(t)) == 3 })

	shown := func() (ids []string) {
		all, err := h.Wallet().Held(t.Context(), h.Local)
		check(t, err)
		for _, c := range all {
			ids = append(ids, c.ID)
		}
		return ids
	}
	if len(shown()) != 3 {
		t.Fatalf("shown: %v", shown())
	}
	id := held[0].ID
	_, err = office.Suspend(t.Context(), meridian, id, commit.Order{Actor: "test", Reason: "an audit"})
	check(t, err)
	h.await(t, func() bool { return !slices.Contains(shown(), id) })
	_, err = office.Reinstate(t.Context(), meridian, id, commit.Order{Actor: "test", Reason: "it went well"})
	check(t, err)
	h.await(t, func() bool { return len(shown()) == 3 })
	_, err = office.Revoke(t.Context(), meridian, id, commit.Order{Actor: "test", Reason: "it left"})
	check(t, err)
	h.await(t, func() bool { return !slices.Contains(shown(), id) && len(shown()) == 2 })
	for _, c := range h.from(t) {
		if (c.ID == id) != (c.Standing == wallet.Revoked) {
			t.Errorf("%s stands %q", c.ID, c.Standing)
		}
	}
}

// TestEveryDoorOfTheCredentialServiceIsGuarded asks each way in with everything that proves nothing.
func TestEveryDoorOfTheCredentialServiceIsGuarded(t *testing.T) {
	t.Parallel()
	h := hold(t, nil)
	_, got := h.ask(t, "MembershipCredential", "SensitiveDataCredential")
	offer, err := dcp.EncodeCredentialOffer(dcp.CredentialOffer{Issuer: string(h.authority.did), Credentials: []dcp.CredentialObject{{ID: "membership"}}})
	check(t, err)
	delivery, err := dcp.EncodeCredentialMessage(dcp.CredentialMessage{IssuerPID: "r1", HolderPID: got.pid, Status: dcp.StatusIssued, Credentials: []dcp.Container{
		{CredentialType: "MembershipCredential", Payload: h.authority.credential(h.Local.DID, "MembershipCredential"), Format: credential.Profile11}}})
	check(t, err)
	for path, body := range map[string][]byte{"/credentials": delivery, "/offers": offer} {
		at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
		token := func(claims map[string]any) string { return h.authority.token(h.Local.DID, claims) }
		used := token(nil)
		if a := h.authority.post(h.base+path, used, body); a.status != http.StatusOK {
			t.Fatalf("%s as it should be: %d %s", path, a.status, a.body)
		}
		forger := &authority{t: t, did: h.authority.did, key: h.stranger.key}
		want := h.authority.post(h.base+path, "", body)
		nothing := map[string]string{
			"without the word Bearer":         "?" + token(nil),
			"signed with another key":         forger.token(h.Local.DID, nil),
			"expired":                         token(map[string]any{"iat": at(-2 * time.Hour), "nbf": at(-2 * time.Hour), "exp": at(-time.Hour)}),
			"issued in the future":            token(map[string]any{"iat": at(time.Hour), "exp": at(65 * time.Minute)}),
			"not valid yet":                   token(map[string]any{"nbf": at(time.Hour), "exp": at(65 * time.Minute)}),
			"for a third party":               token(map[string]any{"aud": h.stranger.did}),
			"for another company hosted here": token(map[string]any{"aud": h.aurora.DID}), // trap 8.7
			"of two minds about who it is":    token(map[string]any{"sub": h.stranger.did}),
			"used before":                     used, // trap 8.11
			"without an id":                   token(map[string]any{"jti": ""}),
		}
		if path == "/credentials" { // what is written may need one; if it is there it must be ours
			nothing["with an access token of its own"] = token(map[string]any{"token": "x"})
		}
		for name, token := range nothing {
			if a := h.authority.post(h.base+path, token, body); a.status != http.StatusUnauthorized || a.body != want.body {
				t.Errorf("%s %s: %d %s, want %s", path, name, a.status, a.body, want.body)
			}
		}
		// Another company hosted here has no such request, and a company that is not hosted is a stranger's answer.
		if a := h.authority.post(baseOf(h.aurora.DID)+"/dcp"+path, h.authority.token(h.aurora.DID, nil), body); path == "/credentials" && a.status != http.StatusNotFound {
			t.Errorf("%s of another tenant: %d %s", path, a.status, a.body)
		}
		if a := h.authority.post(strings.Replace(h.base, "/boreal/", "/nobody/", 1)+path, token(nil), body); a.status != http.StatusUnauthorized || a.body != want.body {
			t.Errorf("%s of nobody: %d %s", path, a.status, a.body)
		}
		for name, tt := range map[string]struct {
			body   []byte
			header []string
			want   int
		}{
			"another media type": {body, []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
			"a compressed body":  {body, []string{"Content-Encoding", "gzip"}, http.StatusUnsupportedMediaType},
			"nothing":            {nil, nil, http.StatusBadRequest},
			"no message":         {[]byte("{}"), nil, http.StatusBadRequest},
			"far too much":       {bytes.Repeat([]byte(" "), dcp.MaxCredentialMessage+1), nil, http.StatusRequestEntityTooLarge},
		} {
			if a := h.authority.post(h.base+path, token(nil), tt.body, tt.header...); a.status != tt.want {
				t.Errorf("%s %s: %d %s, want %d", path, name, a.status, a.body, tt.want)
			}
		}
	}
	if n := len(h.from(t)); n != 1 {
		t.Errorf("%d credentials", n)
	}
}

// Traps 8.16, 8.17 and 8.23 at the door: what was not asked for, whoever brings it, and offers of strangers.
func TestAStrangerBringsNothingIn(t *testing.T) {
	t.Parallel()
	h := hold(t, nil)
	_, got := h.ask(t, "MembershipCredential")
	h.stranger.wallet = h.base
	unknown := h.authority.bring(h.Local.DID, request{pid: "urn:uuid:none"}, "MembershipCredential")
	foreign := h.stranger.bring(h.Local.DID, request{pid: got.pid}, "MembershipCredential")
	if unknown.status != http.StatusNotFound || foreign != unknown {
		t.Errorf("a request that is not there: %v; another's: %v", unknown, foreign)
	}
	unsolicited, wrong := h.authority.bring(h.Local.DID, got, "SensitiveDataCredential"), h.authority.bring(h.Local.DID, got, "MembershipCredential", "MembershipCredential")
	if unsolicited.status != http.StatusBadRequest || wrong != unsolicited || strings.Contains(unsolicited.body, "unsolicited") {
		t.Errorf("not asked for: %v; too much: %v", unsolicited, wrong)
	}
	offer, err := dcp.EncodeCredentialOffer(dcp.CredentialOffer{Issuer: string(h.stranger.did), Credentials: []dcp.CredentialObject{{ID: "membership"}}})
	check(t, err)
	nobody := h.stranger.post(h.base+"/offers", "", offer)
	if a := h.stranger.post(h.base+"/offers", h.stranger.token(h.Local.DID, nil), offer); a != nobody {
		t.Errorf("an offer of somebody whom nobody trusts: %v, want %v", a, nobody)
	}
	list, err := h.Wallet().Offers(t.Context(), h.Local, wallet.Filter{}, page.Request{})
	check(t, err)
	if len(list.Items)+len(h.from(t)) != 0 {
		t.Errorf("offers %v, credentials %v", list.Items, h.from(t))
	}
}

func TestACredentialIsRenewedByItself(t *testing.T) {
	t.Parallel()
	h := hold(t, func(s *settings.Settings) { s.Wallet.Renew = 0.1 })
	h.authority.mu.Lock()
	h.authority.deliver, h.authority.life = true, 20*time.Second
	h.authority.mu.Unlock()
	r, _ := h.ask(t, "MembershipCredential")
	h.await(t, func() bool { return h.state(t, r.ID) == wallet.Issued })
	first := h.from(t)
	h.await(t, func() bool { now := h.from(t); return len(now) == 1 && now[0].ID != first[0].ID })
	if all := h.authority.got(); len(all) < 2 || all[1].pid == r.ID {
		t.Errorf("asked %v", all)
	}
}

func TestAnOfferIsTakenWhenTheSettingsAskForIt(t *testing.T) {
	t.Parallel()
	h := hold(t, func(s *settings.Settings) { s.Wallet.Request = []string{"MembershipCredential"} })
	h.authority.mu.Lock()
	h.authority.deliver = true
	h.authority.mu.Unlock()
	sparse := fmt.Sprintf(`{"@context":[%q],"type":"CredentialOfferMessage","issuer":%q,"credentials":[{"id":"membership","bindingMethods":["did:web:"],"issuancePolicy":{}}]}`, dcp.Context, h.authority.did)
	if a := h.authority.post(h.base+"/offers", h.authority.token(h.Local.DID, nil), []byte(sparse)); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	h.await(t, func() bool { return len(h.from(t)) == 1 })
}

// TestATokenServiceMakesTokensForItsClients goes the whole way: a token is made, its access token is shown, and what it opens is read.
func TestATokenServiceMakesTokensForItsClients(t *testing.T) {
	t.Parallel()
	h := hold(t, nil)
	ask := func(fields url.Values, header ...string) reply {
		return h.authority.post(baseOf(h.Local.DID)+"/sts/token", "", []byte(fields.Encode()), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"x"}, "client_secret": {"y"}, "audience": {string(h.authority.did)}, "bearer_access_scope": {membership}}
	if a := ask(form); a.status != http.StatusNotFound {
		t.Errorf("without clients: %v", a)
	}
	c, secret, err := h.Wallet().CreateClient(t.Context(), h.Local, "kit", []string{membership}, "test")
	check(t, err)
	form.Set("client_id", c.ID)
	form.Set("client_secret", secret)
	with := func(pairs ...string) url.Values {
		out := maps.Clone(form)
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = []string{pairs[i+1]}
		}
		return out
	}
	a := ask(form)
	var made struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
		Life  int    `json:"expires_in"`
	}
	check(t, json.Unmarshal([]byte(a.body), &made))
	if a.status != http.StatusOK || made.Type != "Bearer" || made.Life != 300 {
		t.Fatalf("%v", a)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(made.Token, ".")[1])
	check(t, err)
	var claims map[string]any
	check(t, json.Unmarshal(payload, &claims))
	if claims["iss"] != string(h.Local.DID) || claims["aud"] != string(h.authority.did) || claims["token"] == nil {
		t.Errorf("claims %v", claims)
	}
	query, err := dcp.EncodeQuery([]string{membership, "org.eclipse.tractusx.vc.type:BpnCredential:read"})
	check(t, err)
	shown := h.authority.post(h.base+"/presentations/query", h.authority.token(h.Local.DID, map[string]any{"token": claims["token"]}), query)
	if list, err := dcp.ParseResponse([]byte(shown.body)); shown.status != http.StatusOK || err != nil || len(list) != 1 {
		t.Errorf("shown: %v, %v", shown, err)
	}
	carried := ask(with("bearer_access_scope", "", "token", "theirs"))
	if carried.status != http.StatusOK {
		t.Errorf("a token to carry: %v", carried)
	}
	for name, tt := range map[string]struct {
		form   url.Values
		header []string
		status int
		code   string
	}{
		"a wrong secret":             {with("client_secret", "x"), nil, 401, "invalid_client"},
		"an unknown client":          {with("client_id", "x"), nil, 401, "invalid_client"},
		"another grant":              {with("grant_type", "password"), nil, 400, "unsupported_grant_type"},
		"a scope beyond":             {with("bearer_access_scope", membership+" org.eclipse.tractusx.vc.type:BpnCredential:read"), nil, 400, "invalid_scope"},
		"scope and token":            {with("token", "theirs"), nil, 400, "invalid_request"},
		"no audience":                {with("audience", ""), nil, 400, "invalid_request"},
		"an audience that is no DID": {with("audience", "x"), nil, 400, "invalid_request"},
		"a field twice":              {url.Values{"grant_type": {"client_credentials"}, "client_id": {c.ID, c.ID}, "client_secret": {secret}, "audience": {string(h.authority.did)}}, nil, 400, "invalid_request"},
		"too large":                  {with("token", strings.Repeat("x", 64<<10)), nil, 400, "invalid_request"},
		"another media type":         {form, []string{"Content-Type", "application/json"}, 400, "invalid_request"},
	} {
		if a := ask(tt.form, tt.header...); a.status != tt.status || !strings.Contains(a.body, `"error":"`+tt.code+`"`) {
			t.Errorf("%s: %v, want %d %s", name, a, tt.status, tt.code)
		}
	}
}
