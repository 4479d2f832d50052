package dcphttp_test

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
)

// watch is an issuer whose server speaks over pipes, so that a bubble of fake time holds all of it.
type watch struct {
	*world
	issuer  *issuer.Service
	service *dcphttp.IssuerService
	client  *http.Client
	path    string
	given   issuer.Credential
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// drop takes what is owed; nobody delivers it here.
type drop struct{}

func (drop) Send(commit.Owed) {}

// arrival is in how much time a request must have come, as for every peer.
const arrival = 10 * time.Second

func watching(t *testing.T, change func(*dcphttp.IssuerConfig)) *watch {
	t.Helper()
	w := &watch{world: &world{local: participant.Participant{ID: 1, Slug: "boreal", DID: boreal}}}
	own, err := keyring.Draw("company", rand.Reader, time.Now)
	check(t, err)
	keys := func(participant.Participant) (identity.Keys, error) { return own, nil }
	w.issuer, _ = authorityOf(t, w.local, keys, w.world, drop{}, "http://pipe/boreal/issuer", time.Now)
	cfg := dcphttp.IssuerConfig{Agent: dcphttp.New(dcphttp.Config{Participants: w.world}), Issuer: w.issuer, Hosted: w.world, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	w.service = dcphttp.NewIssuerService(cfg)
	mux := http.NewServeMux()
	w.service.Mount(mux)
	server := &http.Server{Handler: mux, ReadTimeout: arrival}
	l := pipes{make(chan net.Conn), make(chan struct{})}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		l.conns <- theirs
		return ours, nil
	}}
	w.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	w.given, _, err = w.issuer.Issue(t.Context(), w.local, issuer.Issuing{Holder: cobalt, Definition: "MembershipCredential"})
	check(t, err)
	w.path = "http://pipe/boreal/issuer/status/" + w.given.Places[0].List
	return w
}

// look asks for the list; headers come in pairs.
func (w *watch) look(ctx context.Context, t *testing.T, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", w.path, nil)
	check(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.client.Do(r)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	check(t, err)
	return answer{res.StatusCode, res.Header, string(text)}
}

// hold asks for a change and returns where the answer comes.
func (w *watch) hold(ctx context.Context, t *testing.T, tag string) <-chan answer {
	t.Helper()
	out := make(chan answer, 1)
	go func() { out <- w.look(ctx, t, "If-None-Match", tag, "Prefer", "wait=30") }()
	synctest.Wait()
	return out
}

func TestWhoHasTheListIsToldSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, nil)
		first := w.look(t.Context(), t)
		tag := first.header.Get("ETag")
		if first.status != 200 || strings.Count(first.body, ".") != 2 || first.header.Get("Content-Type") != "application/jwt" || first.header.Get("Cache-Control") != "max-age=300" || tag == "" {
			t.Fatalf("%d %v %s", first.status, first.header, first.body)
		}
		for _, have := range []string{tag, strings.TrimPrefix(tag, "W/"), `"other", ` + tag, "*"} {
			if got := w.look(t.Context(), t, "If-None-Match", have); got.status != 304 || got.body != "" || got.header.Get("ETag") != tag {
				t.Errorf("with %s: %d %s", have, got.status, got.body)
			}
		}
		_, err := w.issuer.Revoke(t.Context(), w.local, w.given.ID, commit.Order{})
		check(t, err)
		if got := w.look(t.Context(), t, "If-None-Match", tag); got.status != 200 || got.header.Get("ETag") == tag {
			t.Errorf("after a change: %d with %s", got.status, got.header.Get("ETag"))
		}
	})
}

func TestWhoPrefersToWaitIsAnsweredByTheChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, nil)
		tag := w.look(t.Context(), t).header.Get("ETag")
		begin := time.Now()
		held := w.hold(t.Context(), t, tag)
		if n := w.service.Waiting(); n != 1 {
			t.Fatalf("%d wait, want 1", n)
		}
		time.Sleep(2 * arrival) // longer than a request may take to come
		synctest.Wait()
		if n := w.service.Waiting(); n != 1 {
			t.Fatalf("after %s %d wait, want 1", time.Since(begin), n)
		}
		_, err := w.issuer.Revoke(t.Context(), w.local, w.given.ID, commit.Order{})
		check(t, err)
		got := <-held
		if got.status != 200 || got.header.Get("ETag") == tag || got.header.Get("Preference-Applied") != "wait=30" || time.Since(begin) != 2*arrival {
			t.Errorf("after %s: %d %v %s", time.Since(begin), got.status, got.header, got.body)
		}
		if n := w.service.Waiting(); n != 0 {
			t.Errorf("%d wait still", n)
		}
	})
}

func TestAWaitEndsWithoutAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, nil)
		tag := w.look(t.Context(), t).header.Get("ETag")
		for prefer, want := range map[string]time.Duration{"wait=30": 30 * time.Second, "respond-async, wait=3": 3 * time.Second, "wait=100000": time.Minute, `wait="2"; x`: 2 * time.Second,
			"wait": 0, "wait=-1": 0, "wait=x": 0, "waits=3": 0, "": 0, "wait=99999999999999999999": 0} {
			begin := time.Now()
			got := w.look(t.Context(), t, "If-None-Match", tag, "Prefer", prefer)
			if waited := time.Since(begin); got.status != 304 || waited != want || (got.header.Get("Preference-Applied") == "") != (want == 0) {
				t.Errorf("%q: %d after %s, want 304 after %s", prefer, got.status, waited, want)
			}
		}
		begin := time.Now()
		if got := w.look(t.Context(), t, "If-None-Match", `"another"`, "Prefer", "wait=30"); got.status != 200 || time.Since(begin) != 0 {
			t.Errorf("who has another version waits: %d", got.status)
		}
	})
}

func TestWhoGoesAwayWaitsNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, nil)
		tag := w.look(t.Context(), t).header.Get("ETag")
		ctx, leave := context.WithCancel(t.Context())
		held := w.hold(ctx, t, tag)
		leave()
		<-held
		synctest.Wait()
		if n := w.service.Waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

func TestOnlySoManyWaitOfOneAddressAndInAll(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*dcphttp.IssuerConfig){
		"of one address": func(cfg *dcphttp.IssuerConfig) { cfg.PerHost = 2 },
		"in all":         func(cfg *dcphttp.IssuerConfig) { cfg.Waiters = 2 },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := watching(t, change)
			tag := w.look(t.Context(), t).header.Get("ETag")
			first, second := w.hold(t.Context(), t, tag), w.hold(t.Context(), t, tag)
			begin := time.Now()
			if got := w.look(t.Context(), t, "If-None-Match", tag, "Prefer", "wait=30"); got.status != 304 || time.Since(begin) != 0 || got.header.Get("Preference-Applied") != "" {
				t.Errorf("%s: the third is answered %d after %s, want 304 at once", name, got.status, time.Since(begin))
			}
			_, err := w.issuer.Revoke(t.Context(), w.local, w.given.ID, commit.Order{})
			check(t, err)
			for _, held := range []<-chan answer{first, second} {
				if got := <-held; got.status != 200 {
					t.Errorf("%s: %d", name, got.status)
				}
			}
		})
	}
}

func TestAServerThatStopsKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watching(t, nil)
		tag := w.look(t.Context(), t).header.Get("ETag")
		begin := time.Now()
		held := w.hold(t.Context(), t, tag)
		w.service.Release()
		if got := <-held; got.status != 304 || time.Since(begin) != 0 {
			t.Errorf("%d after %s", got.status, time.Since(begin))
		}
		if got := w.look(t.Context(), t, "If-None-Match", tag, "Prefer", "wait=30"); got.status != 304 || time.Since(begin) != 0 {
			t.Errorf("afterwards: %d after %s", got.status, time.Since(begin))
		}
	})
}
