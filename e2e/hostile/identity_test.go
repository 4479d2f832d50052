package hostile_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
)

// street is where identity is the point: Boreal Drives is attacked, Cobalt Cells is honest, and Mallory serves DID documents of her own making,
// one for each of her names.
type street struct {
	boreal, cobalt *network.Company
	authority      *network.Company
	keys           *keyring.Ring
	origin         string // of Mallory
	transport      *http.Transport

	mu     sync.Mutex
	pages  map[string]http.HandlerFunc // by path
	heard  string                      // the last Authorization that came to Mallory
	dialed []string
}

// stroll opens the street; change may alter what holds at Boreal.
func stroll(t *testing.T, change ...func(*settings.Limits)) *street {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := &street{pages: map[string]http.HandlerFunc{}}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.origin = "https://localhost:" + port
	n, err := network.Start(t.Context(), network.Config{Dir: dir, Now: time.Now, Peers: []string{s.origin}, Members: []network.Member{
		{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true}, {Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true},
	}, Log: func(slug string) *slog.Logger {
		return slog.New(slog.NewTextHandler(t.Output(), nil)).With(slog.String("company", slug))
	}, Change: func(slug string, cfg *connector.Config) {
		cfg.Settings.Limits.PeerBurst = 1_000_000 // the catalogue is played in one go
		for _, alter := range change {
			if slug == "boreal" {
				alter(&cfg.Settings.Limits)
			}
		}
		cfg.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			if host == "localhost" {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
		}
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			s.mu.Lock()
			s.dialed = append(s.dialed, address)
			s.mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}})
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	s.boreal, s.cobalt, s.authority = n.Companies["boreal"], n.Companies["cobalt"], n.Authority
	s.keys, err = keyring.Draw("mallory", rand.Reader, time.Now)
	check(t, err)
	leaf, err := n.CA.Leaf("localhost")
	check(t, err)
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() {
		_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}))
	}()
	s.transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.CA.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(func() { s.transport.CloseIdleConnections(); _ = server.Close() })
	s.name(t, "mallory", s.origin+"/mallory/.well-known/dspace-version")
	s.name(t, "nowhere")
	return s
}

func (s *street) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	page := s.pages[r.URL.Path]
	s.heard = r.Header.Get("Authorization")
	s.mu.Unlock()
	if page == nil {
		http.NotFound(w, r)
		return
	}
	page(w, r)
}

func (s *street) page(path string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = h
}

func (s *street) did(slug string) participant.DID {
	return participant.DID("did:web:" + strings.Replace(strings.TrimPrefix(s.origin, "https://"), ":", "%3A", 1) + ":" + slug)
}

// name gives Mallory a name with the DataService entries, and returns its DID.
func (s *street) name(t *testing.T, slug string, services ...string) participant.DID {
	t.Helper()
	var entries []identity.Service
	for i, endpoint := range services {
		entries = append(entries, identity.Service{ID: fmt.Sprintf("%s#s%d", s.did(slug), i), Type: "DataService", Endpoint: endpoint})
	}
	document, err := identity.NewDocument(s.did(slug), s.keys, entries)
	check(t, err)
	s.page("/"+slug+"/did.json", says(200, string(document)))
	return s.did(slug)
}

// token is one of Mallory's for Boreal, with changes to header and claims; nil takes a member away.
func (s *street) token(t *testing.T, slug string, head, claims map[string]any) string {
	t.Helper()
	own, now := string(s.did(slug)), time.Now().Unix()
	h := map[string]any{"alg": "ES256", "typ": "JWT", "kid": own + "#" + s.keys.Public(identity.UseToken)[0].ID}
	c := map[string]any{"iss": own, "sub": own, "aud": string(s.boreal.Local.DID), "jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 60}
	var parts []string
	for _, m := range []struct{ of, with map[string]any }{{h, head}, {c, claims}} {
		maps.Copy(m.of, m.with)
		maps.DeleteFunc(m.of, func(_ string, v any) bool { return v == nil })
		b, err := json.Marshal(m.of)
		check(t, err)
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	signature, err := sign(t, s.keys, []byte(strings.Join(parts, ".")))
	check(t, err)
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), ".")
}

// base is the address of a company's protocol.
func base(t *testing.T, c *network.Company) string {
	t.Helper()
	_, document, err := identity.ParseDID(string(c.Local.DID))
	check(t, err)
	return strings.TrimSuffix(document, "/did.json") + "/dsp/2025-1"
}

func (s *street) ask(t *testing.T, path, token string, body map[string]any) answer {
	t.Helper()
	return trip(t, s.transport, base(t, s.boreal), message{method: http.MethodPost, path: path, body: body,
		header: http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}})
}

// forgeries are tokens that prove nothing to Boreal.
var forgeries = map[string]func(t *testing.T, s *street) string{
	"no token at all":                          func(*testing.T, *street) string { return "" },
	"junk":                                     func(*testing.T, *street) string { return "junk" },
	"a token of dots":                          func(*testing.T, *street) string { return strings.Repeat(".", 10_000) },
	"a token of a megabyte's beginning":        func(*testing.T, *street) string { return strings.Repeat("a", 20_000) + ".a.a" },
	"a token that was used":                    func(t *testing.T, s *street) string { return s.used(t) },
	"a token that an honest partner gave away": func(t *testing.T, s *street) string { return s.caught(t) },
	"a token for another audience":             with(nil, map[string]any{"aud": "did:web:cobalt.example"}),
	"a token for several audiences": func(t *testing.T, s *street) string {
		return s.token(t, "mallory", nil, map[string]any{"aud": []string{string(s.boreal.Local.DID), "did:web:cobalt.example"}})
	},
	"a token for no audience": with(nil, map[string]any{"aud": nil}),
	"a token in the name of a partner": func(t *testing.T, s *street) string {
		return s.token(t, "mallory", nil, map[string]any{"iss": s.cobalt.Local.DID, "sub": s.cobalt.Local.DID})
	},
	"a token with the key of a partner": func(t *testing.T, s *street) string {
		return s.token(t, "mallory", map[string]any{"kid": string(s.cobalt.Local.DID) + "#key"}, map[string]any{"iss": s.cobalt.Local.DID, "sub": s.cobalt.Local.DID})
	},
	"a token in our own name": func(t *testing.T, s *street) string {
		return s.token(t, "mallory", map[string]any{"kid": string(s.boreal.Local.DID) + "#key"}, map[string]any{"iss": s.boreal.Local.DID, "sub": s.boreal.Local.DID})
	},
	"a token about somebody else": func(t *testing.T, s *street) string {
		return s.token(t, "mallory", nil, map[string]any{"sub": s.cobalt.Local.DID})
	},
	"a token that has expired":               with(nil, map[string]any{"iat": 1, "nbf": 1, "exp": 60}),
	"a token for a year":                     with(nil, map[string]any{"exp": time.Now().AddDate(1, 0, 0).Unix()}),
	"a token of tomorrow":                    with(nil, map[string]any{"nbf": time.Now().Add(24 * time.Hour).Unix(), "exp": time.Now().Add(25 * time.Hour).Unix()}),
	"a token without end":                    with(nil, map[string]any{"exp": nil}),
	"a token without an id":                  with(nil, map[string]any{"jti": nil}),
	"a token with an id of a thousand bytes": with(nil, map[string]any{"jti": strings.Repeat("a", 1000)}),
	"a token that is a presentation":         with(nil, map[string]any{"vp": map[string]any{}}),
	"a token that brings its key":            with(map[string]any{"jwk": map[string]any{"kty": "EC"}}, nil),
	"a token whose key lies inside":          with(map[string]any{"jku": "http://169.254.169.254/"}, nil),
	"a token whose key is a file":            with(map[string]any{"kid": "../../../../etc/passwd"}, nil),
	"a token with a key that is not there": func(t *testing.T, s *street) string {
		return s.token(t, "mallory", map[string]any{"kid": string(s.did("mallory")) + "#none"}, nil)
	},
	"a token of no algorithm":             with(map[string]any{"alg": "none"}, nil),
	"a token of a shared secret":          with(map[string]any{"alg": "HS256"}, nil),
	"a token of another algorithm":        with(map[string]any{"alg": "EdDSA"}, nil),
	"a token with demands":                with(map[string]any{"crit": []string{"exp"}}, nil),
	"a token of a name that is not there": func(t *testing.T, s *street) string { return s.token(t, "ghost", nil, nil) },
	"a token of a name inside":            from("did:web:inside.example:x"),
	"a token of an address":               from("did:web:169.254.169.254"),
	"a token of this machine":             from("did:web:127.0.0.1%3A22"),
	"a token of a name with a way up":     from("did:web:localhost:..:..:x"),
	"a token of another method":           from("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"),
	"a token whose document is of another": func(t *testing.T, s *street) string {
		document, err := identity.NewDocument(s.did("mallory"), s.keys, nil)
		check(t, err)
		s.page("/borrowed/did.json", says(200, string(document)))
		return s.token(t, "borrowed", nil, nil)
	},
	"a token whose document never ends": func(t *testing.T, s *street) string {
		s.page("/endless/did.json", floods)
		return s.token(t, "endless", nil, nil)
	},
	"a token whose document is elsewhere": func(t *testing.T, s *street) string {
		s.page("/moved/did.json", sendsTo(302, "/mallory/did.json"))
		return s.token(t, "moved", nil, nil)
	},
	"a token with its last part changed": func(t *testing.T, s *street) string {
		token := s.token(t, "mallory", nil, nil)
		at := strings.LastIndex(token, ".") + 9
		return token[:at] + map[bool]string{true: "B", false: "A"}[token[at] == 'A'] + token[at+1:]
	},
}

func with(head, claims map[string]any) func(t *testing.T, s *street) string {
	return func(t *testing.T, s *street) string { return s.token(t, "mallory", head, claims) }
}

func from(did string) func(t *testing.T, s *street) string {
	return with(map[string]any{"kid": did + "#key"}, map[string]any{"iss": did, "sub": did})
}

// used is a token that Boreal took once.
func (s *street) used(t *testing.T) string {
	t.Helper()
	token := s.token(t, "mallory", nil, nil)
	if got := s.ask(t, "/negotiations/"+unknown+"/termination", token, map[string]any{}); got.status == http.StatusUnauthorized {
		t.Fatalf("Mallory is not known: %s", got.body)
	}
	return token
}

// caught is a token that Cobalt sent to Mallory when it asked her for a dataset.
func (s *street) caught(t *testing.T) string {
	t.Helper()
	s.page("/mallory/.well-known/dspace-version", says(200, `{"protocolVersions":[{"version":"2025-1","path":"/dsp","binding":"HTTPS"}]}`))
	_, _ = s.cobalt.Dataset(t.Context(), s.cobalt.Local, s.did("mallory"), "x")
	s.mu.Lock()
	defer s.mu.Unlock()
	token, ok := strings.CutPrefix(s.heard, "Bearer ")
	if !ok {
		t.Fatal("Cobalt sent no token")
	}
	return token
}

// callbacks are addresses at which Mallory may not be called back, when her DID document names an origin and when it names none.
var callbacks = []string{"http://localhost:8080/dsp", "https://localhost/dsp", "https://127.0.0.1/dsp", "https://127.1/dsp", "https://2130706433/dsp", "https://0x7f000001/dsp",
	"https://0177.0.0.1/dsp", "https://[::1]/dsp", "https://[::ffff:127.0.0.1]/dsp", "https://[::ffff:7f00:1]/dsp", "https://[fe80::1%25eth0]/dsp", "https://[64:ff9b::a00:1]/dsp",
	"https://0.0.0.0/dsp", "https://10.1.2.3/dsp", "https://172.16.0.1/dsp", "https://192.168.1.1/dsp", "https://100.64.0.1/dsp", "https://169.254.169.254/latest/meta-data",
	"http://169.254.169.254/latest/meta-data", "https://metadata/dsp", "https://attacker.example./dsp", "https://attacker.example:8443/dsp", "https://user:secret@attacker.example/dsp",
	"https://attacker.example@127.0.0.1/dsp", "https://attacker.example/dsp?to=x", "https://attacker.example/dsp#x", "https://аttacker.example/dsp", "https://attacker.example%00.localhost/dsp",
	"https:attacker.example", "//attacker.example/dsp", "/dsp", "file:///etc/passwd", "gopher://attacker.example/", "ftp://attacker.example/", "javascript:alert(1)", "data:,x",
	"https://attacker.example\\@127.0.0.1/dsp", "https://" + strings.Repeat("a", 3000) + ".example/dsp"}

func TestWhoProvesNothingOrCallsBackInsideIsRefused(t *testing.T) {
	t.Parallel()
	s := stroll(t)
	request := func(callback string) map[string]any {
		return map[string]any{"@context": []any{context2025}, "@type": "ContractRequestMessage", "consumerPid": "urn:uuid:" + rand.Text(), "callbackAddress": callback,
			"offer": map[string]any{"@id": unknown, "@type": "Offer", "target": "x", "permission": []any{map[string]any{"action": "use"}}}}
	}
	before := rows(t, s.boreal.Store())
	var first string
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			got := s.ask(t, "/negotiations/request", forge(t, s), request(s.origin))
			if got.status != http.StatusUnauthorized {
				t.Errorf("it came to %d %s, want 401", got.status, got.body)
			}
			if first == "" {
				first = got.body
			}
			if got.body != first {
				t.Errorf("it is told apart: %s, and another %s", got.body, first)
			}
		})
	}
	for _, who := range []string{"mallory", "nowhere"} {
		for _, callback := range callbacks {
			t.Run(who+" "+callback[:min(len(callback), 60)], func(t *testing.T) {
				got := s.ask(t, "/negotiations/request", s.token(t, who, nil, nil), request(callback))
				if got.status != http.StatusBadRequest || got.text("@type") != "ContractNegotiationError" {
					t.Errorf("it came to %d %s, want 400", got.status, got.body)
				}
			})
		}
	}
	t.Run("a callback address of a partner", func(t *testing.T) {
		got := s.ask(t, "/negotiations/request", s.token(t, "mallory", nil, nil), request(base(t, s.cobalt)))
		if got.status != http.StatusBadRequest {
			t.Errorf("it came to %d %s, want 400", got.status, got.body)
		}
	})
	if diff := cmp.Diff(before, rows(t, s.boreal.Store())); diff != "" {
		t.Errorf("it changed something (-before +after):\n%s", diff)
	}
	s.onlyHome(t)
}

// onlyHome sees to it that nobody was led elsewhere.
func (s *street) onlyHome(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.dialed {
		if host, port, _ := net.SplitHostPort(a); host != "127.0.0.1" || port == "22" || port == "443" {
			t.Errorf("a connection went to %s", a)
		}
	}
}

const catalogHead = `{"@context":["` + context2025 + `"],"@id":"urn:c","@type":"Catalog",`

// TestAPeerThatLiesAboutItselfIsNotBoughtFrom plays what a peer says of itself: DID document, version document, catalog.
func TestAPeerThatLiesAboutItselfIsNotBoughtFrom(t *testing.T) {
	t.Parallel()
	s := stroll(t)
	versions := func(path string) string {
		return fmt.Sprintf(`{"protocolVersions":[{"version":"2025-1","path":%q,"binding":"HTTPS"}]}`, path)
	}
	before := rows(t, s.boreal.Store())
	one := `"@id":%q,"@type":"Dataset","hasPolicy":[{"@id":"urn:o","@type":"Offer","permission":[{"action":"use"}]}],"distribution":[{"@type":"Distribution","format":"HttpData-PULL","accessService":"s"}]`
	dataset := `"dataset":[{` + fmt.Sprintf(one, "x") + `}]`
	n := 0
	for name, lie := range map[string]struct {
		service string           // "" is Mallory's version document
		version http.HandlerFunc // nil is a true one
		catalog http.HandlerFunc
		dataset http.HandlerFunc // when set, it is asked for instead of an offer of the catalog
		want    string
	}{
		"its service lies inside":                       {service: "https://inside.example/.well-known/dspace-version", want: "unavailable"},
		"its service lies in the metadata of the cloud": {service: "http://169.254.169.254/.well-known/dspace-version", want: "unavailable"},
		"its service is no version document":            {service: s.origin + "/dsp", want: "unavailable"},
		"its versions are junk":                         {version: says(200, "<html>"), want: "unavailable"},
		"its versions never end":                        {version: floods, want: "unavailable"},
		"its versions are elsewhere":                    {version: sendsTo(302, "https://inside.example/"), want: "unavailable"},
		"its versions are none of ours":                 {version: says(200, `{"protocolVersions":[{"version":"0.8","path":"/dsp"}]}`), want: "unavailable"},
		"its versions are not there":                    {version: says(404, ""), want: "unavailable"},
		"its version is at another origin":              {version: says(200, versions("https://inside.example/dsp")), want: "unavailable"},
		"its version changes the host":                  {version: says(200, versions("@inside.example/dsp")), want: "unavailable"},
		"its version climbs":                            {version: says(200, versions("/../../dsp")), want: "unavailable"},
		"its version is said twice":                     {version: says(200, `{"protocolVersions":[],"protocolVersions":[]}`), want: "unavailable"},
		"its catalog names a partner":                   {catalog: says(200, catalogHead+fmt.Sprintf(`"participantId":%q,`, s.cobalt.Local.DID)+dataset+`}`), want: "unavailable"},
		"its catalog names nobody":                      {catalog: says(200, catalogHead+dataset+`}`), want: "unavailable"},
		"its catalog is junk":                           {catalog: says(200, "junk"), want: "unavailable"},
		"its catalog is an error with 200":              {catalog: says(200, `{"@context":["`+context2025+`"],"@type":"CatalogError","code":"x"}`), want: "unavailable"},
		"its catalog never ends":                        {catalog: floods, want: "unavailable"},
		"its catalog is as deep as a hundred thousand":  {catalog: says(200, strings.Repeat("[", 100_000)), want: "unavailable"},
		"its catalog is elsewhere":                      {catalog: sendsTo(307, "https://inside.example/"), want: "unavailable"},
		"its catalog fails":                             {catalog: says(500, "boom"), want: "unavailable"},
		"its dataset is another":                        {dataset: says(200, `{"@context":["`+context2025+`"],`+fmt.Sprintf(one, "y")+`}`), want: "unavailable"},
		"its dataset is a catalog":                      {dataset: says(200, catalogHead+dataset+`}`), want: "unavailable"},
		"its dataset is not offered":                    {dataset: says(200, `{"@context":["`+context2025+`"],"@id":"x","@type":"Dataset","hasPolicy":[]}`), want: "unavailable"},
		"its dataset never ends":                        {dataset: floods, want: "unavailable"},
		"its dataset is kept from us":                   {dataset: says(403, ""), want: "refused"},
		"its dataset is somewhere else":                 {dataset: sendsTo(302, "https://inside.example/"), want: "unavailable"},
		"its catalog goes on at another origin": {catalog: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<https://inside.example/catalog/request?page=2>; rel="next"`)
			slug, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
			_, _ = io.WriteString(w, catalogHead+fmt.Sprintf(`"participantId":%q}`, s.did(slug)))
		}, want: "not-found"},
	} {
		n++
		slug := fmt.Sprintf("liar-%d", n)
		t.Run(name, func(t *testing.T) {
			if lie.service == "" {
				lie.service = s.origin + "/" + slug + "/.well-known/dspace-version"
			}
			if lie.version == nil {
				lie.version = says(200, versions("/dsp"))
			}
			did := s.name(t, slug, lie.service)
			s.page("/"+slug+"/.well-known/dspace-version", lie.version)
			if lie.catalog != nil {
				s.page("/"+slug+"/dsp/catalog/request", lie.catalog)
			}
			errand := exchange.Errand{Peer: did, Offer: "urn:o", Actor: "operator"}
			if lie.dataset != nil {
				s.page("/"+slug+"/dsp/catalog/datasets/x", lie.dataset)
				errand.Asset, errand.Offer = "x", ""
			}
			_, err := s.boreal.Agree(t.Context(), s.boreal.Local, errand)
			if got := kindOf(err); got != lie.want {
				t.Errorf("it came to %s (%v), want %s", got, err, lie.want)
			}
		})
	}
	if diff := cmp.Diff(before, rows(t, s.boreal.Store())); diff != "" {
		t.Errorf("it changed something (-before +after):\n%s", diff)
	}
	s.onlyHome(t)
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
