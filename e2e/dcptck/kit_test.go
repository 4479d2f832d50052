package dcptck_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/dcptck"
)

type members = map[string]any

// kit is the kit's own parties behind one address, as they are: documents without relationships, presentations without contexts, credentials
// whose tokens name no DID as their subject.
type kit struct {
	t       *testing.T
	company *dcptck.Company
	server  *httptest.Server
	keys    map[string]*ecdsa.PrivateKey // by party

	mu        sync.Mutex
	shows     map[string]func() []string // by access token, each good for one query
	pages     map[string]string          // schemas and status lists, by path
	delivered chan dcp.CredentialMessage
	logged    strings.Builder
}

// stand starts the kit's parties, and the company that they test.
func stand(t *testing.T, store settings.Store) *kit {
	t.Helper()
	k := &kit{t: t, keys: map[string]*ecdsa.PrivateKey{}, shows: map[string]func() []string{}, pages: map[string]string{}, delivered: make(chan dcp.CredentialMessage, 64)}
	for _, party := range []string{"holder", "issuer", "verifier", "thirdparty", "nobody"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		k.must(err)
		k.keys[party] = key
	}
	k.server = httptest.NewServer(k)
	t.Cleanup(k.server.Close)
	var err error
	k.company, err = dcptck.Start(t.Context(), dcptck.Config{Dir: t.TempDir(), Store: store, Kit: k.server.Listener.Addr().String(),
		Log: slog.New(slog.NewTextHandler(io.MultiWriter(k, t.Output()), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.must(k.company.Close()) })
	return k
}

func (k *kit) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Error(err)
	}
}

// Write is the company's log.
func (k *kit) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.logged.Write(p)
}

// log is what was logged since it was read last.
func (k *kit) log() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.logged.Reset()
	return k.logged.String()
}

func (k *kit) did(party string) participant.DID {
	return dcptck.KitDID(k.server.Listener.Addr().String(), party)
}

// origin is where the parties say they are.
func (k *kit) origin() string { return strings.Replace(k.server.URL, "127.0.0.1", "localhost", 1) }

// ServeHTTP is the documents, the holder's credential service, and pages.
func (k *kit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	page, there := k.pages[r.URL.Path]
	k.mu.Unlock()
	party, isDocument := strings.CutSuffix(strings.Trim(r.URL.Path, "/"), "/did.json")
	switch {
	case there:
		_, _ = io.WriteString(w, page)
	case isDocument && party != "nobody" && k.keys[party] != nil:
		k.document(w, party)
	case r.URL.Path == "/presentations/query":
		k.query(w, r)
	case r.URL.Path == "/credentials":
		body, err := io.ReadAll(r.Body)
		k.must(err)
		m, err := dcp.ParseCredentialMessage(body)
		k.must(err)
		k.delivered <- m
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (k *kit) document(w http.ResponseWriter, party string) {
	point, err := k.keys[party].PublicKey.Bytes()
	k.must(err)
	did := string(k.did(party))
	k.must(json.NewEncoder(w).Encode(members{"@context": []string{"https://www.w3.org/ns/did/v1"}, "id": did,
		"verificationMethod": []members{{"id": did + "#" + party, "type": "JsonWebKey2020", "controller": did,
			"publicKeyJwk": members{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}}},
		"service": []members{{"id": did + "#cs", "type": "CredentialService", "serviceEndpoint": k.origin()}}}))
}

// query is the holder's credential service: it answers whoever brings an access token, once.
func (k *kit) query(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	k.must(err)
	scopes, ok, err := dcp.ParseQuery(body)
	if err != nil || !ok || len(scopes) != 1 || scopes[0] != scope("MembershipCredential") {
		k.t.Errorf("the verifier asks for %v (%v)", scopes, err)
	}
	access, _ := claimsOf(k.t, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))["token"].(string)
	k.mu.Lock()
	show := k.shows[access]
	delete(k.shows, access)
	k.mu.Unlock()
	if show == nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer, err := dcp.EncodeResponse(show())
	k.must(err)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer)
}

// grants makes an access token for which the holder shows this.
func (k *kit) grants(show func() []string) string {
	access := rand.Text()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.shows[access] = show
	return access
}

// put serves a page and returns its address.
func (k *kit) put(path, page string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pages[path] = page
	return k.origin() + path
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func scope(kind string) string { return "org.eclipse.dspace.dcp.vc.type:" + kind + ":read" }

// with is the members with one of them changed, or taken away by nil.
func with(m members, name string, value any) members {
	out := maps.Clone(m)
	if out[name] = value; value == nil {
		delete(out, name)
	}
	return out
}

// claimsOf are those of a token, unverified.
func claimsOf(t *testing.T, token string) members {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Errorf("%q is no token", token)
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Error(err)
	}
	var claims members
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Error(err)
	}
	return claims
}

// sign makes a token under the key id of the party, with the key of another when one is named.
func (k *kit) sign(party, key string, claims members) string {
	k.t.Helper()
	if key == "" {
		key = party
	}
	var parts []string
	for _, part := range []any{members{"alg": "ES256", "typ": "JWT", "kid": string(k.did(party)) + "#" + party}, claims} {
		text, err := json.Marshal(part)
		k.must(err)
		parts = append(parts, b64(text))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, ".")))
	r, s, err := ecdsa.Sign(rand.Reader, k.keys[key], sum[:])
	k.must(err)
	return strings.Join(append(parts, b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))), ".")
}

// self are the claims of a self-issued token of the party for the company.
func (k *kit) self(party string, to participant.DID) members {
	now := time.Now().Unix()
	return members{"iss": k.did(party), "sub": k.did(party), "aud": to, "jti": rand.Text(), "iat": now, "exp": now + 600}
}

// credential is the body of one of the issuer's for the subject.
func (k *kit) credential(kind string, subject participant.DID) members {
	now := time.Now().UTC()
	return members{"id": rand.Text(), "type": []string{kind}, "issuer": k.did("issuer"), "issuanceDate": now.Format(time.RFC3339),
		"expirationDate": now.Add(10 * time.Minute).Format(time.RFC3339), "credentialSubject": members{"id": subject, "foo": "bar"},
		"@context": []string{"https://w3id.org/dspace-dcp/v1.0/dcp.jsonld", "https://www.w3.org/2018/credentials/v1"}}
}

// issued signs the body of a credential.
func (k *kit) issued(body members) string {
	now := time.Now().Unix()
	return k.sign("issuer", "", members{"iss": k.did("issuer"), "sub": rand.Text(), "jti": rand.Text(), "nbf": now, "iat": now, "exp": now + 300, "vc": body})
}

// shown is a presentation of the holder's for the verifier.
func (k *kit) shown(credentials ...string) string {
	claims := k.self("holder", k.company.Member.DID)
	claims["vp"] = members{"type": []string{"VerifiablePresentation"}, "holder": k.did("holder"), "verifiableCredential": credentials}
	return k.sign("holder", "", claims)
}

// message is one of the protocol.
func message(kind string, more members) []byte {
	m := members{"@context": []string{dcp.Context}, "type": kind}
	maps.Copy(m, more)
	body, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}

type reply struct {
	status   int
	location string
	body     []byte
}

// say calls the company; authorization is the whole header, "" for none.
func (k *kit) say(method, address, authorization string, body []byte) reply {
	k.t.Helper()
	r, err := http.NewRequestWithContext(k.t.Context(), method, address, bytes.NewReader(body))
	k.must(err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		k.t.Error(err)
		return reply{}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	k.must(err)
	return reply{answer.StatusCode, answer.Header.Get("Location"), text}
}

// trigger has a presentation verified.
func (k *kit) trigger(authorization string) reply {
	r := httptest.NewRequestWithContext(k.t.Context(), http.MethodPost, "/", strings.NewReader(`{"@type":"https://w3id.org/dspace/2025/1/CatalogRequestMessage"}`))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	k.company.Trigger().ServeHTTP(w, r)
	return reply{status: w.Code, body: w.Body.Bytes()}
}

// access has the member's token service make an access token for the kit's verifier.
func (k *kit) access(scopes ...string) string {
	k.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {k.company.Client}, "client_secret": {k.company.Secret}, "audience": {string(k.did("verifier"))},
		"bearer_access_scope": {strings.Join(scopes, " ")}}
	answer, err := http.PostForm(k.company.Root+"/"+k.company.Member.Slug+"/sts/token", form)
	k.must(err)
	defer answer.Body.Close()
	var m struct {
		Token string `json:"access_token"`
	}
	k.must(json.NewDecoder(answer.Body).Decode(&m))
	access, _ := claimsOf(k.t, m.Token)["token"].(string)
	if access == "" {
		k.t.Errorf("the token service answers %d without an access token", answer.StatusCode)
	}
	return access
}

// services are the endpoints in a document of the company.
func (k *kit) services(slug string) map[string]string {
	var d struct {
		Service []struct{ Type, ServiceEndpoint string }
	}
	k.must(json.Unmarshal(k.say(http.MethodGet, k.company.Root+"/"+slug+"/did.json", "", nil).body, &d))
	out := map[string]string{}
	for _, s := range d.Service {
		out[s.Type] = s.ServiceEndpoint
	}
	return out
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.status, r.body) }
