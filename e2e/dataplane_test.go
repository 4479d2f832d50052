package e2e_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// plane is a supplier with an upstream of its own, and a consumer that holds a token for it.
type plane struct {
	cobalt, boreal *network.Company
	client         *http.Client
	address        transfer.Address
	transfer       string

	sent sync.Map // by the supplier: address to *atomic.Int64

	mu   sync.Mutex
	seen []*http.Request // what the upstream was asked
}

func openPlane(t *testing.T, upstream http.HandlerFunc) *plane {
	t.Helper()
	p := &plane{}
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen = append(p.seen, r.Clone(context.Background()))
		p.mu.Unlock()
		upstream(w, r)
	}))
	t.Cleanup(source.Close)
	secret := filepath.Join(t.TempDir(), "erp.secret")
	if err := os.WriteFile(secret, []byte("Bearer of-the-house\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now, Members: []network.Member{members[1], members[2]},
		Change: func(slug string, cfg *connector.Config) {
			if slug == "cobalt" {
				cfg.Public = counted{cfg.Public, &p.sent}
				cfg.Settings.Egress.Upstreams = []settings.Upstream{{Origin: source.URL}}
				cfg.Settings.Egress.Secrets = []settings.Secret{
					{Name: "erp", Origins: []string{source.URL}, Header: "Authorization", File: secret},
					{Name: "elsewhere", Origins: []string{"https://erp.example:443"}, Header: "Authorization", File: secret},
				}
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	p.cobalt, p.boreal = n.Companies["cobalt"], n.Companies["boreal"]
	publish(t, p.cobalt)
	id := "urn:sluice:test:api"
	err = p.cobalt.PublishAsset(t.Context(), p.cobalt.Local, catalog.Asset{ID: id, Title: "An API", Type: "https://w3id.org/catenax/taxonomy#Submodel", APIVersion: "3.0",
		Properties: map[string]string{catalog.PropertyTerms: "pcf"}, Address: catalog.Address{BaseURL: source.URL + "/base"}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	result, err := p.boreal.Pull(t.Context(), p.boreal.Local, exchange.Errand{Peer: p.cobalt.Local.DID, Asset: id, Path: "ok", Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_ = result.Body.Close()
	p.transfer = result.Transfer
	if p.address, err = p.boreal.Address(t.Context(), p.boreal.Local, result.Transfer); err != nil {
		t.Fatal(err)
	}
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.CA.Pool()}}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func (p *plane) get(t *testing.T, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.address.Endpoint+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", p.address.Properties[transfer.PropertyToken])
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res, string(body)
}

func answerAll(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "secret-backend/1.0")
	w.Header().Set("Set-Cookie", "session=1")
	switch r.URL.Path {
	case "/base/ok", "/base/a/b":
		http.ServeContent(w, r, "x.txt", time.Unix(1, 0), strings.NewReader("0123456789"))
	case "/base/missing":
		http.Error(w, "internal host db7 has no such row", http.StatusNotFound)
	case "/base/broken":
		http.Error(w, "stack trace", http.StatusInternalServerError)
	case "/base/unauthorized":
		w.WriteHeader(http.StatusUnauthorized)
	case "/base/busy":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/base/elsewhere":
		http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
	case "/base/cut":
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	default:
		w.WriteHeader(http.StatusTeapot)
	}
}

func TestTheDataPlanePassesOnWhatIsAskedAndNothingElse(t *testing.T) {
	t.Parallel()
	p := openPlane(t, answerAll)
	for _, tt := range []struct {
		name, path string
		header     []string
		status     int
		body       string
	}{
		{"an answer", "/ok", nil, 200, "0123456789"},
		{"a path below", "/a/b", nil, 200, "0123456789"},
		{"a range", "/ok", []string{"Range", "bytes=2-4"}, 206, "234"},
		{"a range behind the end", "/ok", []string{"Range", "bytes=50-60"}, 416, ""},
		{"what is not there", "/missing", nil, 404, ""},
		{"a failure of the source", "/broken", nil, 502, ""},
		{"a refusal of our credential", "/unauthorized", nil, 502, ""},
		{"a busy source", "/busy", nil, 503, ""},
		{"a redirect", "/elsewhere", nil, 502, ""},
		{"a dot segment", "/a/../ok", nil, 400, ""},
		{"an encoded dot segment", "/a/%2e%2e/ok", nil, 400, ""},
		{"an encoded slash", "/a%2fb", nil, 400, ""},
		{"a double encoding", "/a%252fb", nil, 400, ""},
		{"a backslash", "/a%5cb", nil, 400, ""},
		{"a NUL", "/a%00b", nil, 400, ""},
		{"a parameter in the path", "/a;x=1", nil, 400, ""},
		{"an empty segment", "/a//b", nil, 400, ""},
	} {
		res, body := p.get(t, tt.path, tt.header...)
		if res.StatusCode != tt.status {
			// The multiplexer itself redirects unclean paths, which serves nothing either.
			if tt.status == 400 && (res.StatusCode == http.StatusMovedPermanently || res.StatusCode == http.StatusTemporaryRedirect || res.StatusCode == http.StatusPermanentRedirect) {
				continue
			}
			t.Errorf("%s: status %d, want %d (%s)", tt.name, res.StatusCode, tt.status, body)
		}
		if tt.body != "" && body != tt.body {
			t.Errorf("%s: body %q, want %q", tt.name, body, tt.body)
		}
		for _, secret := range []string{"secret-backend", "session=", "db7", "stack trace", "169.254"} {
			if strings.Contains(body+res.Header.Get("Server")+res.Header.Get("Set-Cookie")+res.Header.Get("Location"), secret) {
				t.Errorf("%s: leaks %q", tt.name, secret)
			}
		}
	}
}

func TestABodyThatBreaksOffIsNeverMistakenForAWholeOne(t *testing.T) {
	t.Parallel()
	p := openPlane(t, answerAll)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.address.Endpoint+"/cut", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", p.address.Properties[transfer.PropertyToken])
	res, err := p.client.Do(r)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	if err == nil && res.StatusCode == http.StatusOK {
		t.Error("half a body was answered as a whole one")
	}
}

func TestThePeersHeadersStayHereAndItsNameGoesOn(t *testing.T) {
	t.Parallel()
	p := openPlane(t, answerAll)
	p.get(t, "/ok", "Cookie", "a=b", "X-Forwarded-For", "1.2.3.4", "Edc-Bpn", "BPNL00000000DUS1", "X-Secret", "x", "Connection", "Edc-Did, Accept", "Accept", "text/plain")
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.seen[len(p.seen)-1]
	for _, name := range []string{"Authorization", "Cookie", "X-Forwarded-For", "X-Secret", "Forwarded"} {
		if v := last.Header.Get(name); v != "" {
			t.Errorf("the source got %s: %q", name, v)
		}
	}
	if last.Header.Get("Edc-Bpn") != "BPNL00000000BOR1" || last.Header.Get("Edc-Did") != string(p.boreal.Local.DID) || last.Header.Get("Edc-Contract-Agreement-Id") == "" {
		t.Errorf("the source was told %v", last.Header)
	}
}

func TestACredentialGoesToItsOwnOriginOnly(t *testing.T) {
	t.Parallel()
	p := openPlane(t, answerAll)
	asset := catalog.Asset{ID: "urn:sluice:test:api", Title: "An API", Type: "https://w3id.org/catenax/taxonomy#Submodel", APIVersion: "3.0"}
	stored, err := p.cobalt.Store().Asset(t.Context(), p.cobalt.Local.ID, asset.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		secret string
		status int
		got    string
	}{{"erp", 200, "Bearer of-the-house"}, {"elsewhere", 502, ""}, {"unknown", 502, ""}} {
		stored.Address.SecretRef = tt.secret
		published := p.cobalt.PublishAsset(t.Context(), p.cobalt.Local, stored, "test")
		if tt.status != http.StatusOK {
			if !fault.Is(published, fault.Malformed) {
				t.Errorf("%s: published with a credential that does not go there: %v", tt.secret, published)
			}
			// What is served is looked at again: the settings may have changed since the asset was published.
			published = p.cobalt.Store().PutAssets(t.Context(), p.cobalt.Local.ID, catalog.Lot{Assets: []catalog.Asset{stored}}, commit.Effects{})
		}
		if published != nil {
			t.Fatal(published)
		}
		stored.Version++
		p.cobalt.ForgetLeases()
		before := len(p.seen)
		res, _ := p.get(t, "/ok")
		if res.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", tt.secret, res.StatusCode, tt.status)
		}
		asked := p.seen[before:]
		if want := map[bool]int{true: 1}[tt.status == http.StatusOK]; len(asked) != want {
			t.Errorf("%s: the source was asked %d times, want %d", tt.secret, len(asked), want)
		}
		for _, r := range asked {
			if got := r.Header.Get("Authorization"); got != tt.got {
				t.Errorf("%s: the source got %q, want %q", tt.secret, got, tt.got)
			}
		}
	}
}

func TestATokenOpensItsOwnTransferOnly(t *testing.T) {
	t.Parallel()
	p := openPlane(t, answerAll)
	token := p.address.Properties[transfer.PropertyToken]
	changed := map[bool]string{true: "y", false: "x"}[token[0] == 'x'] + token[1:]
	for name, value := range map[string]string{"none": "", "another": strings.Repeat("A", 43), "a changed one": changed, "a longer one": token + "A", "very long": strings.Repeat("x", 20<<10)} {
		if res, body := p.get(t, "/ok", "Authorization", value); res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "TRACE", "OPTIONS"} {
		r, err := http.NewRequestWithContext(t.Context(), method, p.address.Endpoint+"/ok", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", token)
		res, err := p.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, allow %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
	if _, err := p.cobalt.Suspend(t.Context(), p.cobalt.Local, p.providerTransfer(t), commit.Order{Actor: "test", Reason: "pause"}); err != nil {
		t.Fatal(err)
	}
	if res, _ := p.get(t, "/ok"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("while suspended: %d", res.StatusCode)
	}
}

// providerTransfer is the supplier's own id of the transfer.
func (p *plane) providerTransfer(t *testing.T) string {
	t.Helper()
	mine, err := p.boreal.Store().Transfer(t.Context(), p.boreal.Local.ID, "", p.transfer)
	if err != nil {
		t.Fatal(err)
	}
	return mine.PeerPID
}

// counted is the supplier's way to the network: it counts what is sent to each address.
type counted struct {
	net.Listener
	sent *sync.Map // address to *atomic.Int64
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := new(atomic.Int64)
	l.sent.Store(conn.RemoteAddr().String(), n)
	return countedConn{conn, n}, nil
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

// alert is room for the message with which TLS says goodbye.
const alert = 64

func TestARetirementCutsAStreamAndNothingFollows(t *testing.T) {
	t.Parallel()
	for name, reads := range map[string]bool{"while it is read": true, "when nobody reads": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPlane(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/base/ok" {
					return
				}
				block := make([]byte, 64<<10)
				for r.Context().Err() == nil {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
			})
			endpoint := strings.TrimPrefix(p.address.Endpoint, "https://")
			host, path, _ := strings.Cut(endpoint, "/")
			raw, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			config := p.client.Transport.(*http.Transport).TLSClientConfig.Clone()
			config.ServerName = "localhost"
			conn := tls.Client(raw, config)
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(conn, "GET /"+path+"/endless HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: "+p.address.Properties[transfer.PropertyToken]+"\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 32<<10)); err != nil {
				t.Fatal(err)
			}
			readOn := make(chan string, 1)
			read := func() {
				rest, _ := io.ReadAll(conn)
				readOn <- string(rest[max(0, len(rest)-8):])
			}
			if reads {
				go read()
			}
			mine, err := p.boreal.Store().Transfer(t.Context(), p.boreal.Local.ID, "", p.transfer)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.cobalt.Retire(t.Context(), p.cobalt.Local, mine.AgreementID, "test", "over"); err != nil {
				t.Fatal(err)
			}
			count, ok := p.sent.Load(raw.LocalAddr().String())
			if !ok {
				t.Fatal("the connection is not known")
			}
			then := count.(*atomic.Int64).Load()
			if !reads {
				go read()
			}
			if end := <-readOn; strings.HasSuffix(end, "0\r\n\r\n") {
				t.Error("the stream was ended in good order: the peer takes it for the whole")
			}
			for p.cobalt.Flows() != 0 { // until the handler has ended, or the test's time is over
				runtime.Gosched()
			}
			if now := count.(*atomic.Int64).Load(); now > then+alert {
				t.Errorf("%d bytes left after the retirement had returned", now-then)
			}
		})
	}
}
