package e2e_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// endless is a supplier whose stream never ends by itself, with customers, all of them members.
type endless struct {
	*network.Network
	cobalt *network.Company
	file   *file // of its settings
	client *http.Client
	asset  string
}

func openEndless(t *testing.T) *endless {
	t.Helper()
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4<<10)); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select { // no more than is read with ease
			case <-r.Context().Done():
			case <-time.After(time.Millisecond):
			}
		}
	}))
	t.Cleanup(source.Close)
	f := &file{}
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now, Members: members[:3],
		Log: func(slug string) *slog.Logger {
			return slog.New(slog.NewTextHandler(t.Output(), nil)).With(slog.String("company", slug))
		},
		Change: func(slug string, cfg *connector.Config) {
			if slug == "cobalt" {
				cfg.Settings.Egress.Upstreams = []settings.Upstream{{Origin: source.URL}}
				f.text, cfg.Reload = cfg.Settings, f.read
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
	e := &endless{Network: n, cobalt: n.Companies["cobalt"], file: f, asset: "urn:sluice:test:endless"}
	publish(t, e.cobalt)
	err = e.cobalt.PublishAsset(t.Context(), e.cobalt.Local, catalog.Asset{ID: e.asset, Title: "A stream", Type: "https://w3id.org/catenax/taxonomy#Submodel", APIVersion: "3.0",
		Properties: map[string]string{catalog.PropertyTerms: "pcf"}, Address: catalog.Address{BaseURL: source.URL}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	e.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.CA.Pool()}}}
	t.Cleanup(e.client.CloseIdleConnections)
	return e
}

// pulls is a customer with a stream under way.
type pulls struct {
	*endless
	who      *network.Company
	transfer string
	address  transfer.Address
	stream   io.ReadCloser
}

func (e *endless) pull(t *testing.T, slug string) *pulls {
	t.Helper()
	p := &pulls{endless: e, who: e.Companies[slug]}
	result, err := p.who.Pull(t.Context(), p.who.Local, exchange.Errand{Peer: e.cobalt.Local.DID, Asset: e.asset, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_ = result.Body.Close()
	p.transfer = result.Transfer
	p.open(t)
	return p
}

// open opens a stream with the token at hand.
func (p *pulls) open(t *testing.T) {
	t.Helper()
	var err error
	if p.address, err = p.who.Address(t.Context(), p.who.Local, p.transfer); err != nil {
		t.Fatal(err)
	}
	res := p.ask(t)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	p.stream = res.Body
	t.Cleanup(func() { _ = p.stream.Close() })
	p.flows(t)
}

// ask makes one request; the caller closes the body.
func (p *pulls) ask(t *testing.T) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.address.Endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", p.address.Properties[transfer.PropertyToken])
	res, err := p.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// flows reads some more of the stream.
func (p *pulls) flows(t *testing.T) {
	t.Helper()
	if _, err := io.ReadFull(p.stream, make([]byte, 64<<10)); err != nil {
		t.Fatalf("%s: the stream broke off: %v", p.who.Local.Slug, err)
	}
}

// ends reads the stream until it breaks off.
func (p *pulls) ends(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, p.stream); err == nil {
		t.Error("the stream was ended as if it were whole")
	}
}

// await waits for the company's store to say that something has changed, until what is awaited is there.
func await(t *testing.T, c *network.Company, there func(ctx context.Context) bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told := c.Store().Notify(ctx, c.Local.ID)
	for !there(ctx) {
		select {
		case <-told:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// becomes waits until the company's own side of the transfer is in the state.
func becomes(t *testing.T, c *network.Company, id string, want transfer.State) (got transfer.Transfer) {
	t.Helper()
	if !await(t, c, func(ctx context.Context) bool {
		var err error
		if got, err = c.Store().Transfer(ctx, c.Local.ID, "", id); err != nil {
			t.Fatal(err)
		}
		return got.State == want && got.Pending.Kind == ""
	}) {
		t.Fatalf("%s: the transfer is %s, want %s", c.Local.Slug, got.State, want)
	}
	return got
}

func (p *pulls) theirs(t *testing.T) string {
	t.Helper()
	mine, err := p.who.Store().Transfer(t.Context(), p.who.Local.ID, "", p.transfer)
	if err != nil {
		t.Fatal(err)
	}
	return mine.PeerPID
}

// membership is the authority's row of the customer's membership.
func (p *pulls) membership(t *testing.T) issuer.Credential {
	t.Helper()
	all, err := p.Authority.Issuer().Credentials(t.Context(), p.Authority.Local, issuer.Filter{Holder: p.who.Local.DID, Definition: "MembershipCredential"}, page.Request{Limit: page.MaxLimit})
	if err != nil || len(all.Items) != 1 {
		t.Fatalf("%d memberships: %v", len(all.Items), err)
	}
	return all.Items[0]
}

// reasons are what the supplier's log says of the transfer: door, effect and reasons of each decision.
func (e *endless) reasons(t *testing.T, id string) []string {
	t.Helper()
	records, err := e.cobalt.Store().LogByProcess(t.Context(), e.cobalt.Local.Slug, id, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, entry := range records {
		r, err := decisionlog.ParseRecord(entry.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range r.Reasons {
			out = append(out, r.Door+" "+r.Effect+" "+reason.Code)
		}
	}
	return out
}

func TestAStreamEndsWhenTheMembershipIsRevoked(t *testing.T) {
	t.Parallel()
	e := openEndless(t)
	boreal, aurora := e.pull(t, "boreal"), e.pull(t, "aurora")
	ours := boreal.theirs(t)
	if _, err := e.Authority.Issuer().Revoke(t.Context(), e.Authority.Local, boreal.membership(t).ID, commit.Order{Actor: "test", Reason: "left"}); err != nil {
		t.Fatal(err)
	}
	boreal.ends(t)
	const code = "credential.status.revoked"
	for name, side := range map[string]transfer.Transfer{"supplier": becomes(t, e.cobalt, ours, transfer.Terminated), "customer": becomes(t, boreal.who, boreal.transfer, transfer.Terminated)} {
		if side.Code != code || !strings.Contains(strings.Join(side.Reasons, " "), "membership.missing") {
			t.Errorf("the %s's side says %q, %q", name, side.Code, side.Reasons)
		}
	}
	said := e.reasons(t, ours)
	for _, want := range []string{string(policy.DoorIdentity) + " deny " + code, string(policy.DoorReeval) + " deny membership.missing"} {
		if !slices.Contains(said, want) {
			t.Errorf("the log says %q, want also %q", said, want)
		}
	}
	res := boreal.ask(t)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a new request is answered %d", res.StatusCode)
	}
	if _, err := boreal.who.Dataset(t.Context(), boreal.who.Local, e.cobalt.Local.DID, e.asset); err == nil {
		t.Error("it is still shown what is offered")
	}
	aurora.flows(t)
	if got := becomes(t, e.cobalt, aurora.theirs(t), transfer.Started); got.Code != "" {
		t.Errorf("another customer's transfer: %+v", got)
	}
}

func TestWhoIsSuspendedAndReinstatedCanPullAgain(t *testing.T) {
	t.Parallel()
	e := openEndless(t)
	boreal := e.pull(t, "boreal")
	ours, id := boreal.theirs(t), boreal.membership(t).ID
	if _, err := e.Authority.Issuer().Suspend(t.Context(), e.Authority.Local, id, commit.Order{Actor: "test", Reason: "unpaid"}); err != nil {
		t.Fatal(err)
	}
	boreal.ends(t)
	for name, side := range map[string]transfer.Transfer{"supplier": becomes(t, e.cobalt, ours, transfer.Suspended), "customer": becomes(t, boreal.who, boreal.transfer, transfer.Suspended)} {
		if side.Code != "credential.status.suspended" {
			t.Errorf("the %s's side says %q, %q", name, side.Code, side.Reasons)
		}
	}
	res := boreal.ask(t)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("while suspended a request is answered %d", res.StatusCode)
	}
	if _, err := e.Authority.Issuer().Reinstate(t.Context(), e.Authority.Local, id, commit.Order{Actor: "test", Reason: "paid"}); err != nil {
		t.Fatal(err)
	}
	if _, err := boreal.who.Transfers().Resume(t.Context(), boreal.who.Local, boreal.transfer, commit.Order{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	becomes(t, boreal.who, boreal.transfer, transfer.Started)
	boreal.open(t)
}

func TestACredentialThatNoPolicyAsksForEndsNothing(t *testing.T) {
	t.Parallel()
	e := openEndless(t)
	boreal := e.pull(t, "boreal")
	ours := boreal.theirs(t)
	all, err := e.Authority.Issuer().Credentials(t.Context(), e.Authority.Local, issuer.Filter{Holder: boreal.who.Local.DID, Definition: "BpnCredential"}, page.Request{Limit: page.MaxLimit})
	if err != nil || len(all.Items) != 1 {
		t.Fatalf("%d credentials: %v", len(all.Items), err)
	}
	if _, err := e.Authority.Issuer().Revoke(t.Context(), e.Authority.Local, all.Items[0].ID, commit.Order{Actor: "test", Reason: "renamed"}); err != nil {
		t.Fatal(err)
	}
	boreal.ends(t)
	wanted := string(policy.DoorReeval) + " allow membership.active"
	if !await(t, e.cobalt, func(context.Context) bool { return slices.Contains(e.reasons(t, ours), wanted) }) {
		t.Fatalf("the log says %q, want also %q", e.reasons(t, ours), wanted)
	}
	boreal.open(t)
	if got := becomes(t, e.cobalt, ours, transfer.Started); len(got.Claims.Credentials) != 2 {
		t.Errorf("the transfer rests on %+v", got.Claims)
	}
}

// doubts makes the supplier believe the authority no more for one type.
func (e *endless) doubts(t *testing.T, kind string) {
	t.Helper()
	e.file.edit(func(s *settings.Settings) {
		believed := e.Trust()
		believed.Credentials = slices.DeleteFunc(slices.Clone(believed.Credentials), func(k string) bool { return k == kind })
		s.Profiles[0].Trust = []settings.Trust{believed}
	})
	if changes, err := e.cobalt.ReloadTrust(t.Context(), "casey"); err != nil || len(changes) != 1 || !changes[0].Shrinks {
		t.Fatalf("%+v, %v", changes, err)
	}
}

func TestAStreamEndsWhenItsIssuerIsBelievedNoMore(t *testing.T) {
	t.Parallel()
	e := openEndless(t)
	boreal, aurora := e.pull(t, "boreal"), e.pull(t, "aurora")
	ours := boreal.theirs(t)
	e.doubts(t, "MembershipCredential")
	boreal.ends(t)
	aurora.ends(t)
	const code = "credential.untrusted"
	for name, side := range map[string]transfer.Transfer{"supplier": becomes(t, e.cobalt, ours, transfer.Terminated), "customer": becomes(t, boreal.who, boreal.transfer, transfer.Terminated)} {
		if side.Code != code || !strings.Contains(strings.Join(side.Reasons, " "), "membership.missing") {
			t.Errorf("the %s's side says %q, %q", name, side.Code, side.Reasons)
		}
	}
	becomes(t, e.cobalt, aurora.theirs(t), transfer.Terminated)
	said := e.reasons(t, ours)
	for _, want := range []string{string(policy.DoorIdentity) + " deny " + code, string(policy.DoorReeval) + " deny membership.missing"} {
		if !slices.Contains(said, want) {
			t.Errorf("the log says %q, want also %q", said, want)
		}
	}
	res := boreal.ask(t)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a new request is answered %d", res.StatusCode)
	}
}

func TestADoubtThatNoPolicyMindsEndsNothing(t *testing.T) {
	t.Parallel()
	e := openEndless(t)
	boreal := e.pull(t, "boreal")
	ours := boreal.theirs(t)
	e.doubts(t, "BpnCredential")
	boreal.ends(t)
	wanted := string(policy.DoorReeval) + " allow membership.active"
	if !await(t, e.cobalt, func(context.Context) bool { return slices.Contains(e.reasons(t, ours), wanted) }) {
		t.Fatalf("the log says %q, want also %q", e.reasons(t, ours), wanted)
	}
	boreal.open(t)
	if got := becomes(t, e.cobalt, ours, transfer.Started); len(got.Claims.Credentials) != 2 {
		t.Errorf("the transfer rests on %+v", got.Claims)
	}
}
