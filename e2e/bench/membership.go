package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// losses is how many streams are cut by the customer's issuer for the figure; LOSSES overrides it.
const losses = 1000

// wire is the supplier's way to the network: it remembers when the last bytes of a stream left.
type wire struct {
	mu   sync.Mutex
	last time.Time
}

// noise is what a connection sends besides a stream: answers without a body, and its own end.
const noise = 1 << 10

type wiredListener struct {
	net.Listener
	wire *wire
}

type wiredConn struct {
	net.Conn
	wire *wire
}

func (l wiredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wiredConn{c, l.wire}, nil
}

func (c wiredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > noise {
		c.wire.mu.Lock()
		c.wire.last = time.Now()
		c.wire.mu.Unlock()
	}
	return n, err
}

func (w *wire) left() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// hearing is the supplier's log: it hears when a loss becomes known, which is said before anything is done about it.
type hearing struct {
	slog.Handler
	known chan time.Time
}

func (h hearing) Enabled(context.Context, slog.Level) bool { return true }

func (h hearing) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "a credential that was relied upon is no longer valid" {
		select {
		case h.known <- time.Now():
		default:
		}
		return nil
	}
	if r.Level < slog.LevelError { // this story is full of what is worth a warning elsewhere
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h hearing) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h hearing) WithGroup(string) slog.Handler      { return h }

// membership measures how long after an issuer published that a membership is suspended the last byte of the member's stream left the supplier, and how
// long after the supplier knew. A suspension goes the way of a revocation, in the list beside it, and can be taken back for the next run; every tenth
// run is of a credential that is revoked for good, and issued anew.
func membership(ctx context.Context, dir string) ([]row, error) {
	runs := losses
	if text := os.Getenv("LOSSES"); text != "" {
		var err error
		if runs, err = strconv.Atoi(text); err != nil {
			return nil, err
		}
	}
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 16<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer source.Close()
	out, known := &wire{}, make(chan time.Time, 1)
	n, err := pair(ctx, dir, settings.Embedded, func(slug string, cfg *connector.Config) {
		cfg.Settings.Limits.AddressRate, cfg.Settings.Limits.AddressBurst = 100_000, 100_000 // all are at one address
		if slug == "cobalt" {
			cfg.Settings.Egress.Upstreams = []settings.Upstream{{Origin: source.URL}}
			cfg.Public = wiredListener{cfg.Public, out}
			cfg.Log = slog.New(hearing{cfg.Log.Handler(), known})
		}
	})
	if err != nil {
		return nil, err
	}
	l := &lossy{Network: n, client: trusting(n), wire: out, known: known, url: source.URL}
	published, after, err := l.all(ctx, runs)
	if err := errors.Join(err, n.Close()); err != nil {
		return nil, err
	}
	describe := func(times []time.Duration) string {
		return ms(quantile(times, 0.5)) + " / " + ms(quantile(times, 0.99)) + " / " + ms(quantile(times, 1))
	}
	of := fmt.Sprintf(", p50 / p99 / most of %d", runs)
	return []row{
		{"membership suspended or revoked by its issuer → last byte of the member's stream" + of, "most ≤ 1 s", describe(published), met(quantile(published, 1) <= time.Second)},
		{"that known to the supplier → last byte" + of, "most ≤ 250 ms", describe(after), met(quantile(after, 1) <= 250*time.Millisecond)},
	}, nil
}

// lossy is a supplier and a customer that loses its membership again and again.
type lossy struct {
	*network.Network
	client *http.Client
	wire   *wire
	known  chan time.Time
	url    string
}

func (l *lossy) all(ctx context.Context, runs int) (published, known []time.Duration, err error) {
	held, err := l.membership(ctx)
	if err != nil {
		return nil, nil, err
	}
	address, id, err := l.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range runs {
		res, err := l.stream(ctx, address)
		if err != nil {
			return nil, nil, fmt.Errorf("run %d: %w", i, err)
		}
		a, b, err := l.lose(ctx, res, held, i%10 == 9)
		if err != nil {
			return nil, nil, fmt.Errorf("run %d: %w", i, err)
		}
		published, known = append(published, a), append(known, b)
		if i == runs-1 {
			break
		}
		if i%10 == 9 {
			if held, err = l.renew(ctx); err == nil {
				address, id, err = l.begin(ctx)
			}
		} else {
			address, err = l.goOn(ctx, id, held)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("after run %d: %w", i, err)
		}
	}
	return published, known, nil
}

// membership is the id of the customer's membership, at the authority.
func (l *lossy) membership(ctx context.Context) (string, error) {
	all, err := l.Authority.Issuer().Credentials(ctx, l.Authority.Local, issuer.Filter{Holder: l.Companies["boreal"].Local.DID, Definition: "MembershipCredential", State: string(issuer.Good)},
		page.Request{Limit: page.MaxLimit})
	if err == nil && len(all.Items) != 1 {
		err = fmt.Errorf("%d memberships", len(all.Items))
	}
	if err != nil {
		return "", err
	}
	return all.Items[0].ID, nil
}

func (l *lossy) begin(ctx context.Context) (transfer.Address, string, error) {
	cobalt, boreal := l.Companies["cobalt"], l.Companies["boreal"]
	if _, err := cobalt.Store().Asset(ctx, cobalt.Local.ID, "urn:sluice:bench:endless"); err != nil {
		address, agreement, err := openUnder(ctx, l.Network, l.url, "endless")
		if err != nil {
			return address, "", err
		}
		all, err := boreal.Store().Transfers(ctx, boreal.Local.ID, transfer.Filter{Agreement: agreement}, page.Request{Limit: 1})
		if err != nil || len(all.Items) != 1 {
			return address, "", errors.Join(err, errors.New("the transfer is not there"))
		}
		return address, all.Items[0].ID, nil
	}
	all, err := boreal.Store().Agreements(ctx, boreal.Local.ID, "", page.Request{Limit: 1})
	if err != nil || len(all.Items) != 1 {
		return transfer.Address{}, "", errors.Join(err, errors.New("the agreement is not there"))
	}
	t, err := boreal.Transfers().Begin(ctx, boreal.Local, transfer.BeginRequest{Agreement: all.Items[0].ID, Format: transfer.Pull, Actor: "bench"})
	if err != nil {
		return transfer.Address{}, "", err
	}
	address, err := l.started(ctx, t.ID)
	return address, t.ID, err
}

// started waits until the customer's transfer runs.
func (l *lossy) started(ctx context.Context, id string) (transfer.Address, error) {
	if err := l.until(ctx, l.Companies["boreal"], id, transfer.Started); err != nil {
		return transfer.Address{}, err
	}
	return l.Companies["boreal"].Address(ctx, l.Companies["boreal"].Local, id)
}

func (l *lossy) until(ctx context.Context, c *network.Company, id string, want transfer.State) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	told := c.Store().Notify(ctx, c.Local.ID)
	for {
		t, err := c.Store().Transfer(ctx, c.Local.ID, "", id)
		if err != nil || t.State == want && t.Pending.Kind == "" {
			return err
		}
		select {
		case <-told:
		case <-ctx.Done():
			return fmt.Errorf("%s: the transfer is %s (%s), want %s", c.Local.Slug, t.State, t.Code, want)
		}
	}
}

// stream opens a stream and reads the first mebibyte of it. Who is told to come again, because a decision took too long on a busy machine, does.
func (l *lossy) stream(ctx context.Context, address transfer.Address) (res *http.Response, err error) {
	for range 20 {
		if res, err = l.request(ctx, address); err == nil || !errors.Is(err, errAgain) {
			break
		}
	}
	return res, err
}

var errAgain = errors.New("come again")

func (l *lossy) request(ctx context.Context, address transfer.Address) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.Endpoint, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", address.Properties[transfer.PropertyToken])
	res, err := l.client.Do(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		if res.StatusCode == http.StatusServiceUnavailable {
			return nil, errors.Join(errAgain, fmt.Errorf("%s", said), res.Body.Close())
		}
		return nil, errors.Join(fmt.Errorf("status %d: %s", res.StatusCode, said), res.Body.Close())
	}
	_, err = io.ReadFull(res.Body, make([]byte, 1<<20))
	return res, err
}

// lose takes the membership back while the stream runs, and returns how long after that its last byte left: counted from before the call to the issuer,
// which publishes when it returns at the latest, and from when the supplier knew.
func (l *lossy) lose(ctx context.Context, res *http.Response, id string, forever bool) (published, known time.Duration, err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, res.Body)
	}()
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	take := l.Authority.Issuer().Suspend
	if forever {
		take = l.Authority.Issuer().Revoke
	}
	begin := time.Now()
	if _, err := take(ctx, l.Authority.Local, id, commit.Order{Actor: "bench", Reason: "bench"}); err != nil {
		return 0, 0, err
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		return 0, 0, errors.New("the stream goes on")
	}
	knew, last := <-l.known, l.wire.left()
	return max(last.Sub(begin), 0), max(last.Sub(knew), 0), nil
}

// goOn reinstates the member, which resumes its transfer.
func (l *lossy) goOn(ctx context.Context, id, held string) (transfer.Address, error) {
	boreal := l.Companies["boreal"]
	if err := l.until(ctx, boreal, id, transfer.Suspended); err != nil {
		return transfer.Address{}, err
	}
	if _, err := l.Authority.Issuer().Reinstate(ctx, l.Authority.Local, held, commit.Order{Actor: "bench", Reason: "bench"}); err != nil {
		return transfer.Address{}, err
	}
	if _, err := boreal.Transfers().Resume(ctx, boreal.Local, id, commit.Order{Actor: "bench"}); err != nil {
		return transfer.Address{}, err
	}
	return l.started(ctx, id)
}

// renew gives the customer a new membership in the place of the one that was revoked.
func (l *lossy) renew(ctx context.Context) (string, error) {
	boreal := l.Companies["boreal"]
	held, err := boreal.Wallet().Credentials(ctx, boreal.Local)
	if err != nil {
		return "", err
	}
	for _, c := range held {
		if slices.Contains(c.Types, "MembershipCredential") {
			if err := boreal.Wallet().Delete(ctx, boreal.Local, c.ID, "bench"); err != nil {
				return "", err
			}
		}
	}
	given, token, err := l.Authority.Issuer().Issue(ctx, l.Authority.Local, issuer.Issuing{Holder: boreal.Local.DID, Definition: "MembershipCredential", Actor: "bench"})
	if err != nil {
		return "", err
	}
	_, err = boreal.Wallet().Put(ctx, boreal.Local, []byte(token), "bench")
	return given.ID, err
}
