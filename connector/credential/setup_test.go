package credential_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
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

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/connector/wire/egress"
	"github.com/sluice-connector/sluice/policy"
)

var now = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

const (
	meridian participant.DID = "did:web:meridian.example:meridian" // the authority
	boreal   participant.DID = "did:web:boreal.example:boreal"     // the holder
	cobalt   participant.DID = "did:web:cobalt.example:cobalt"     // the verifier
	dusk     participant.DID = "did:web:dusk.example:dusk"         // the rival
	// lookalike is the authority to who takes its DID for a pattern.
	lookalike participant.DID = "did:web:meridian-example:meridian"
)

// aliases are those of the tests' ecosystem.
var aliases = credential.Aliases{"org.eclipse.tractusx.vc.type"}

var scopes = []string{"org.eclipse.tractusx.vc.type:MembershipCredential:read", "org.eclipse.tractusx.vc.type:BpnCredential:read"}

// world is companies that know each other's documents; the verifier is told what the credential service answers, and finds status lists and
// schemas on a server, through the guarded client.
type world struct {
	keys      map[participant.DID]*keyring.Ring
	documents map[string][]byte
	wallet    []credential.Stored
	holder    *credential.Holder
	verifier  *credential.Verifier
	lists     *credential.Lists
	calls     *credential.Calls
	trust     *trustList
	answer    func() ([]string, error)
	queries   atomic.Int32
	bounded   atomic.Bool // the last query had a deadline
	origin    string      // of the server

	mu      sync.Mutex
	now     time.Time
	pages   map[string]http.HandlerFunc
	asked   map[string]int // by path
	logged  strings.Builder
	revoked []string
	serial  int
}

func (w *world) Held(context.Context, participant.Participant) ([]credential.Stored, error) {
	return w.wallet, nil
}

func (w *world) Query(ctx context.Context, _ participant.Participant, _ participant.Peer, _ []string) ([]string, error) {
	_, bounded := ctx.Deadline()
	w.bounded.Store(bounded && ctx.Err() == nil)
	w.queries.Add(1)
	return w.answer()
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Write makes world the end of the log, which is read by cases and shown when a test fails.
func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logged.Write(p)
}

func (w *world) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logged.String()
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asked[r.URL.Path]++
	page := w.pages[r.URL.Path]
	w.mu.Unlock()
	if page == nil {
		http.NotFound(rw, r)
		return
	}
	page(rw, r)
}

func (w *world) serve(path string, page http.HandlerFunc) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[path] = page
	return w.origin + path
}

func (w *world) visits(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[path]
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// change is what a test changes in the parts of a world before they are joined.
type change struct {
	lists    func(*credential.ListsConfig)
	verifier func(*credential.VerifierConfig)
}

func setup(t *testing.T) *world {
	t.Helper()
	return setupWith(t, change{})
}

func setupWith(t *testing.T, c change) *world {
	t.Helper()
	w := &world{now: now, keys: map[participant.DID]*keyring.Ring{}, documents: map[string][]byte{}, pages: map[string]http.HandlerFunc{}, asked: map[string]int{},
		calls: &credential.Calls{}, answer: func() ([]string, error) { return nil, nil }}
	for _, did := range []participant.DID{meridian, boreal, cobalt, dusk, lookalike} {
		k, err := keyring.Draw("company", rand.Reader, time.Now)
		check(t, err)
		w.keys[did] = k
		_, url, err := identity.ParseDID(string(did))
		check(t, err)
		w.documents[url], err = identity.NewDocument(did, k, []identity.Service{})
		check(t, err)
	}
	server := httptest.NewTLSServer(w)
	t.Cleanup(server.Close)
	w.origin = server.URL
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	origin, err := egress.Origin(w.origin)
	check(t, err)
	log := slog.New(slog.NewTextHandler(io.MultiWriter(w, t.Output()), nil))
	client := egress.New(egress.Config{Dial: (&net.Dialer{}).DialContext, Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		a, err := netip.ParseAddr(host)
		return []netip.Addr{a}, err
	}, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Allow: []string{origin}, Public: true, Log: log})
	t.Cleanup(client.Close)
	store, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	t.Cleanup(func() { _ = store.Close() })
	resolver := identity.NewResolver(w.calls.Documents(func(_ context.Context, url string, _ int64) ([]byte, error) {
		doc, ok := w.documents[url]
		if !ok {
			return nil, fmt.Errorf("nothing at %s", url)
		}
		return doc, nil
	}), w.clock)
	w.holder = &credential.Holder{Wallet: w, Keys: func(p participant.Participant) (identity.Keys, error) { return w.keys[p.DID], nil },
		Aliases: func(participant.Participant) credential.Aliases { return aliases }, Replay: store, Now: w.clock, Rand: rand.Reader}
	w.trust = &trustList{Issuers: map[string][]participant.DID{"MembershipCredential": {meridian}, "BpnCredential": {meridian}, "DismantlerCredential": {dusk}}}
	tokens := identity.NewVerifier(resolver, store, w.clock)
	fetch := dcphttp.Fetcher(client)
	lists := credential.ListsConfig{Fetch: fetch, Tokens: tokens, Trust: w.trust, Calls: w.calls, Now: w.clock, Log: log}
	if c.lists != nil {
		c.lists(&lists)
	}
	w.lists = credential.NewLists(lists)
	w.lists.OnRevoked(func(local, peer participant.DID, reason string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.revoked = append(w.revoked, fmt.Sprint(local, " ", peer, " ", reason))
	})
	schemas := credential.NewSchemas(credential.SchemasConfig{Allow: []string{w.origin + "/schema/", w.origin + "/one.json"}, Fetch: fetch, Calls: w.calls, Now: w.clock})
	cfg := credential.VerifierConfig{Querier: w, Tokens: tokens, Trust: w.trust, Lists: w.lists, Schemas: schemas, Calls: w.calls, Scopes: func() []string { return scopes }, Aliases: aliases,
		BPN:    []credential.Claim{{Credential: "BpnCredential", Claim: "bpn"}, {Credential: "MembershipCredential", Claim: "holderIdentifier"}},
		Wallet: w, Remember: credential.CacheLife, Now: w.clock, Log: log}
	if c.verifier != nil {
		c.verifier(&cfg)
	}
	w.verifier, err = credential.NewVerifier(cfg)
	check(t, err)
	return w
}

// made is how many calls of all kinds were made.
func (w *world) made() (n int64) {
	for _, some := range w.calls.Counts() {
		n += some
	}
	return n
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// give puts a credential of the authority into the holder's wallet.
func (w *world) give(t *testing.T, kind string, subject map[string]string) {
	t.Helper()
	members := map[string]string{"id": string(boreal)}
	maps.Copy(members, subject)
	token, err := issuer.Draft{ID: "urn:" + rand.Text(), Profile: credential.Profile11, Types: []string{kind}, Subject: members, About: boreal, Begins: now, Ends: now.Add(time.Hour)}.
		Sign(t.Context(), meridian, w.keys[meridian])
	check(t, err)
	w.keep(t, token)
}

func (w *world) keep(t *testing.T, token string) {
	t.Helper()
	stored, err := credential.Read(token, boreal, nil)
	check(t, err)
	w.wallet = append(w.wallet, stored)
}

var caller = participant.Peer{DID: boreal, Key: "a", AccessToken: "x"}

func (w *world) claims(t *testing.T) (bpn string, types []string, err error) {
	t.Helper()
	return w.claimsOf(t, caller)
}

func (w *world) claimsOf(t *testing.T, peer participant.Peer) (bpn string, types []string, err error) {
	t.Helper()
	party, err := w.party(t, peer)
	for _, c := range party.Credentials {
		types = append(types, c.Type)
	}
	return party.BPN(now), types, err
}

func (w *world) party(t *testing.T, peer participant.Peer) (policy.Party, error) {
	t.Helper()
	return w.verifier.Claims(t.Context(), participant.Participant{Slug: "cobalt", DID: cobalt}, peer)
}

// refused expects that the peer is a stranger, for the reason of the code, of which it is told nothing.
func (w *world) refused(t *testing.T, name, code string) {
	t.Helper()
	_, types, err := w.claims(t)
	if got := credential.CodeOf(err); got != code || !fault.Is(err, fault.Unauthenticated) || types != nil {
		t.Errorf("%s: proven %v, %v; want %s", name, types, err, code)
		return
	}
	if !strings.Contains(w.log(), "code="+code) {
		t.Errorf("%s: the operator's log does not say %s", name, code)
	}
	var public *fault.Error
	if !errors.As(err, &public) || public.Reason != "the caller is not known" || public.Code != "" || len(public.Reasons) > 0 {
		t.Errorf("%s: the stranger is told %+v", name, public)
	}
}

// Members of good credentials and presentations of both data models, to be changed by the cases.

type members = map[string]any

func goodVC() members {
	return members{"iss": meridian, "sub": boreal, "jti": "urn:x", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "vc": goodInner()}
}

func goodInner() members {
	return members{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "id": "urn:x", "type": []string{"VerifiableCredential", "MembershipCredential"}, "issuer": meridian,
		"issuanceDate": now.Format(time.RFC3339), "expirationDate": now.Add(time.Hour).Format(time.RFC3339), "credentialSubject": members{"id": boreal, "memberOf": "Meridian"}}
}

func goodVC2() members {
	return members{"@context": []string{"https://www.w3.org/ns/credentials/v2"}, "id": "urn:y", "type": []string{"VerifiableCredential", "MembershipCredential"}, "issuer": meridian,
		"validFrom": now.Format(time.RFC3339), "validUntil": now.Add(time.Hour).Format(time.RFC3339), "credentialSubject": members{"id": boreal, "memberOf": "Meridian"},
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
}

func (w *world) goodVP(credentials ...string) members {
	w.serial++
	return members{"iss": boreal, "sub": boreal, "aud": cobalt, "jti": fmt.Sprint("vp-", w.serial), "iat": w.clock().Unix(), "nbf": w.clock().Unix(), "exp": w.clock().Unix() + 300,
		"vp": members{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "type": []string{"VerifiablePresentation"}, "holder": boreal, "verifiableCredential": credentials}}
}

func (w *world) goodVP2(credentials ...string) members {
	w.serial++
	list := []any{}
	for _, token := range credentials {
		list = append(list, members{"@context": "https://www.w3.org/ns/credentials/v2", "type": "EnvelopedVerifiableCredential", "id": "data:application/vc+jwt," + token})
	}
	return members{"iss": boreal, "aud": cobalt, "jti": fmt.Sprint("vp-", w.serial), "iat": w.clock().Unix(), "exp": w.clock().Unix() + 300, "@context": []string{"https://www.w3.org/ns/credentials/v2"},
		"type": []string{"VerifiablePresentation"}, "holder": boreal, "verifiableCredential": list}
}

// with is the members with one of them changed, or taken away by nil.
func with(m members, name string, value any) members {
	out := maps.Clone(m)
	if value == nil {
		delete(out, name)
		return out
	}
	out[name] = value
	return out
}

// inner is a good credential with a member changed inside.
func inner(name string, value any) members {
	return with(goodVC(), "vc", with(goodInner(), name, value))
}

// sign makes a token as its author should.
func (w *world) sign(t testing.TB, did participant.DID, use identity.Use, typ string, claims any) string {
	t.Helper()
	token, err := identity.SignJWT(t.Context(), string(did), w.keys[did], use, typ, claims, time.Time{})
	check(t, err)
	return token
}

// forge makes a token with any header, signed with a key of the DID.
func (w *world) forge(t testing.TB, did participant.DID, use identity.Use, header members, claims any) string {
	t.Helper()
	var parts []string
	for _, part := range []any{header, claims} {
		b, err := json.Marshal(part)
		check(t, err)
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	signer, err := w.keys[did].Signer(use)
	check(t, err)
	signature, err := signer.Sign(t.Context(), []byte(strings.Join(parts, ".")), time.Time{})
	check(t, err)
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

// kid is a key id of the DID.
func (w *world) kid(did participant.DID, use identity.Use) string {
	return string(did) + "#" + w.keys[did].Public(use)[0].ID
}

func (w *world) vc(t testing.TB, claims members) string {
	return w.sign(t, meridian, identity.UseIssue, "JWT", claims)
}

func (w *world) vc2(t testing.TB, claims members) string {
	return w.sign(t, meridian, identity.UseIssue, "vc+jwt", claims)
}

func (w *world) vp(t testing.TB, credentials ...string) string {
	return w.sign(t, boreal, identity.UseToken, "JWT", w.goodVP(credentials...))
}

func (w *world) vp2(t testing.TB, credentials ...string) string {
	return w.sign(t, boreal, identity.UseToken, "vp+jwt", w.goodVP2(credentials...))
}

func (w *world) shows(presentations ...string) {
	w.answer = func() ([]string, error) { return presentations, nil }
}

// shown are presentations that are made when they are asked for, of credentials of version 1.1.
func (w *world) presents(t testing.TB, credentials ...string) {
	w.answer = func() ([]string, error) { return []string{w.vp(t, credentials...)}, nil }
}

// A list on the world's server.

const listPath = "/status/1"

func entry(kind statuslist.Kind, list string, index int, purpose string) statuslist.Entry {
	return statuslist.Entry{Kind: kind, Purpose: purpose, Index: index, List: list}
}

// listSubject is what a list says in which the indices are set.
func listSubject(t testing.TB, kind statuslist.Kind, purpose string, set ...int) statuslist.Subject {
	t.Helper()
	bits, err := statuslist.New(statuslist.MinEntries)
	check(t, err)
	for _, i := range set {
		check(t, bits.Set(i, true))
	}
	return statuslist.Subject{Kind: kind, Purposes: []string{purpose}, Bits: bits}
}

// list is the claims of a list credential of the authority, issued now, in the data model of its kind.
func (w *world) list(url string, s statuslist.Subject) members {
	at := w.clock()
	types := []string{"VerifiableCredential", s.Kind.CredentialType()}
	if s.Kind == statuslist.Bitstring {
		return members{"@context": s.Kind.Contexts(), "id": url, "type": types, "issuer": meridian, "validFrom": at.Format(time.RFC3339), "credentialSubject": s}
	}
	return members{"iss": meridian, "iat": at.Unix(), "vc": members{"@context": s.Kind.Contexts(), "id": url, "type": types, "issuer": meridian, "issuanceDate": at.Format(time.RFC3339), "credentialSubject": s}}
}

// publish serves a list as the authority should.
func (w *world) publish(t testing.TB, path string, s statuslist.Subject) string {
	t.Helper()
	typ := "JWT"
	if s.Kind == statuslist.Bitstring {
		typ = "vc+jwt"
	}
	return w.serve(path, says(w.sign(t, meridian, identity.UseIssue, typ, w.list(w.origin+path, s))))
}

// trustList is trust that a test wrote down.
type trustList struct {
	Issuers   map[string][]participant.DID          // type of credential -> who may issue it
	Profiles  []string                              // that are accepted; none: both
	Delegated map[participant.DID][]participant.DID // issuer -> who may publish its status lists besides itself
	Clock     time.Duration                         // leeway; 0 is identity.Leeway
}

func (t trustList) Trusts(issuer participant.DID, kind string) bool {
	return slices.Contains(t.Issuers[kind], issuer)
}

func (t trustList) Accepts(profile string) bool {
	return len(t.Profiles) == 0 || slices.Contains(t.Profiles, profile)
}

func (t trustList) Delegates(issuer, lister participant.DID) bool {
	return slices.Contains(t.Delegated[issuer], lister)
}

func (t trustList) Leeway() time.Duration {
	if t.Clock == 0 {
		return identity.Leeway
	}
	return t.Clock
}
