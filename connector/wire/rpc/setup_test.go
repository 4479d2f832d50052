package rpc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/trust"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/profile"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// bench is one running API over a real store.
type bench struct {
	answers *forgetful
	log     *written
	store   store.Store
	server  *rpc.Server
	http    *httptest.Server
	conn    *grpc.ClientConn
	// Bearer tokens.
	process, operator, reader, auditor, foreign, expired string
	parts                                                *parts
}

// parts stands in for what lives outside this process or belongs to the assembly: peers, their data, keys and files.
type parts struct {
	recorder *decisionlog.Recorder
	store    store.Store
	body     func() (io.ReadCloser, int64) // of a pull
	refuse   error                         // of a pull
	next     string                        // page of a peer's catalog
	issuer   *issuer.Service
}

func (p *parts) EnableIssuer(ctx context.Context, local participant.Participant, actor string) error {
	return p.issuer.Enable(ctx, local, actor)
}

func (p *parts) IssuerURL(local participant.Participant) string {
	return "https://localhost/" + local.Slug + "/issuer"
}

// Send takes what is owed; nobody delivers it.
func (p *parts) Send(commit.Owed) {}

func (p *parts) Decide(context.Context, policy.Question) (policy.Decision, decisionlog.Entry, error) {
	return policy.Decision{}, decisionlog.Entry{}, errors.New("nobody asks here")
}

func (p *parts) Record(_ context.Context, a decisionlog.Action) (decisionlog.Entry, error) {
	return p.recorder.Action(a)
}

func (p *parts) Catalog(_ context.Context, _ participant.Participant, peer participant.DID, next string) (catalog.Remote, error) {
	if next == "" {
		return catalog.Remote{Next: p.next}, nil
	}
	return catalog.Remote{Datasets: []catalog.RemoteDataset{{ID: "cell", Title: string(peer) + " " + next}}}, nil
}

func (p *parts) Dataset(context.Context, participant.Participant, participant.DID, string) (catalog.RemoteDataset, error) {
	return catalog.RemoteDataset{}, fault.New("test", fault.NotFound, "no such dataset")
}

// done commits that something was done, as the real parts do.
func (p *parts) done(ctx context.Context, local participant.Participant, what string) error {
	return p.store.Record(ctx, local.ID, commit.Effects{Events: []commit.Event{{Type: what, Time: clock()}}})
}

func (p *parts) Pull(ctx context.Context, local participant.Participant, e exchange.Errand) (exchange.Result, error) {
	if err := p.done(ctx, local, "pulled"); err != nil {
		return exchange.Result{}, err
	}
	if p.refuse != nil {
		return exchange.Result{}, p.refuse
	}
	e.Reached(exchange.Discover, "")
	e.Reached(exchange.Fetch, "urn:uuid:1")
	body, length := p.body()
	return exchange.Result{Body: exchange.Body{ReadCloser: body, MediaType: "application/json", Length: length}, Agreement: "agreement", Transfer: "transfer"}, nil
}

func (p *parts) Publish(ctx context.Context, local participant.Participant, f publishing.File, r io.Reader, progress func(done, total int)) (publishing.Outcome, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return publishing.Outcome{}, err
	}
	out := publishing.Outcome{}
	for i, line := range strings.Fields(string(b)) {
		progress(i+1, 0)
		out.Rows++
		if line == "bad" {
			out.Total++
			out.Faults = append(out.Faults, sheet.Fault{Row: i + 1, Column: "name (A)", Value: line, Problem: "is bad", Want: f.Template})
			continue
		}
		out.Assets = append(out.Assets, line)
	}
	return out, p.done(ctx, local, "published")
}

func (p *parts) CreateParticipant(ctx context.Context, slug, name, _, _ string) (participant.Participant, error) {
	return p.store.CreateParticipant(ctx, participant.Participant{Slug: slug, Name: name, DID: participant.DID("did:web:localhost:" + slug), Created: clock()})
}

func (p *parts) Trust(context.Context, participant.Participant) (trust.Terms, error) {
	return trust.Terms{}, nil
}

func (p *parts) ReloadTrust(context.Context, string) ([]trust.Change, error) {
	return nil, fault.New("test", fault.Conflict, "there is no file")
}

func (p *parts) DID(_ context.Context, local participant.Participant, number string) (participant.DID, error) {
	if number != "BPNL00000000BOR1" {
		return "", fault.New("test", fault.NotFound, "the directory does not know this number")
	}
	return "did:web:boreal.example", nil
}

func (p *parts) Number(context.Context, participant.Participant, participant.DID) (string, error) {
	return "", fault.New("test", fault.NotFound, "the directory does not know this DID")
}

func (p *parts) VerifierKey(_ context.Context, local participant.Participant) (string, error) {
	return "key of " + local.Slug, nil
}

func (p *parts) Export(_ context.Context, local participant.Participant, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "tile"), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "checkpoint"), []byte("log of "+local.Slug), 0o644),
		os.WriteFile(filepath.Join(dir, "tile", "0"), bytes.Repeat([]byte{7}, 200_000), 0o644))
}

// completer is the transfers of a test: those that were completed.
type completer struct {
	*transfer.Service
	completed []string
}

func (c *completer) Complete(_ context.Context, _ participant.Participant, id string, _ commit.Order) (transfer.Transfer, error) {
	c.completed = append(c.completed, id)
	return transfer.Transfer{}, nil
}

// forgetful is a store that can lose answers as a crash behind the effect does.
type forgetful struct {
	rpc.Store
	loses bool
}

func (f *forgetful) Keep(ctx context.Context, p participant.ID, key, digest string, answer []byte, now time.Time) error {
	if f.loses {
		return fault.New("test", fault.Unavailable, "the disk is gone")
	}
	return f.Store.Keep(ctx, p, key, digest, answer, now)
}

// written is what was logged.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func clock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func cursors(t testing.TB) identity.Cursors {
	t.Helper()
	keys, err := keyring.Draw("company", rand.Reader, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Cursors{Vault: identity.Vault{Keys: func(participant.Participant) (identity.Keys, error) { return keys, nil }, Rand: rand.Reader}}
}

func setup(t testing.TB) *bench {
	t.Helper()
	ctx := t.Context()
	st, err := embedded.Open(ctx, embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	p := &parts{store: st, body: func() (io.ReadCloser, int64) { return io.NopCloser(strings.NewReader(`{"pcf":"4.2"}`)), 13 }}
	if p.recorder, err = decisionlog.NewRecorder("aurora", "test", decisionlog.Engine{}, "q", decisionlog.Domain{ID: "d", Key: make([]byte, 32)}, rand.Reader); err != nil {
		t.Fatal(err)
	}
	b := &bench{store: st, parts: p, answers: &forgetful{Store: st}, log: &written{}}
	secret, err := keyring.DrawMaster(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	master, err := keyring.ParseMaster(secret, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keeper := keyring.NewKeeper(keyring.Config{Store: st, Master: master, Recorder: p, Now: clock, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Changed: func(participant.Participant, bool) {}})
	var ids []participant.ID
	for _, slug := range []string{"aurora", "boreal"} {
		made, err := p.CreateParticipant(ctx, slug, slug, "", "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, made.ID)
		ring, err := keeper.Create(ctx, slug)
		if err != nil {
			t.Fatal(err)
		}
		keeper.Host(ring, made)
	}
	token := func(id participant.ID, role string, expires time.Time) string { return b.token(t, id, role, expires) }
	b.process, b.operator, b.reader = token(0, rpc.Operator, time.Time{}), token(ids[0], rpc.Operator, time.Time{}), token(ids[0], rpc.Reader, time.Time{})
	b.auditor, b.foreign = token(ids[0], rpc.Auditor, clock().Add(time.Hour)), token(ids[1], rpc.Operator, time.Time{})
	b.expired = token(ids[0], rpc.Operator, clock())
	ecosystem, err := profile.Default()
	if err != nil {
		t.Fatal(err)
	}
	keys := cursors(t).Keys
	p.issuer = issuer.New(issuer.Config{Store: st, Decider: p, Codec: dcp.IssuerCodec{}, Keys: keys, Outbox: p, StatusURL: func(l participant.Participant, list string) string { return p.IssuerURL(l) + "/status/" + list },
		Templates: func(participant.Participant) []issuer.Definition {
			return []issuer.Definition{{ID: "Membership", Type: "Membership", Profile: credential.Profile11, Life: time.Hour, Purposes: []string{"revocation", "suspension"},
				Subject: []issuer.Member{{Name: "holderIdentifier", From: issuer.OfHolder, Key: "bpn"}}, Rules: []issuer.Rule{{Kind: issuer.ByList}}}}
		},
		Now: clock, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), PerHour: 10, Patience: time.Hour})
	b.server, err = rpc.New(rpc.Config{Users: identity.NewUsers(nil, clock, nil), Trust: p, Directory: p, Cursors: cursors(t), Issuer: p.issuer, Enabling: p, Store: b.answers, Recorder: p, Peers: p, Puller: p, Publisher: p, Hosting: p, Keeper: keeper, Logs: p,
		Wallet:       wallet.New(wallet.Config{Store: st, Recorder: p, Aliases: func(participant.Participant) credential.Aliases { return ecosystem.Aliases }, Now: clock, Rand: rand.Reader}),
		Catalog:      catalog.New(catalog.Config{Store: st, Decider: p, Profile: func(participant.Participant) catalog.Validator { return ecosystem }, Now: clock, Rand: rand.Reader}),
		Negotiations: negotiation.New(negotiation.Config{Store: st, Now: clock, Rand: rand.Reader}),
		Transfers:    &completer{Service: transfer.New(transfer.Config{Store: st, Agreements: st, Assets: st, Now: clock, Rand: rand.Reader})},
		Retire:       func(context.Context, participant.Participant, string, string, string) error { return nil },
		Metrics:      http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("calls_total 1\n")) }),
		Hosts:        []string{"console.example"}, Temp: t.TempDir(), Now: clock, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), b.log), nil))})
	if err != nil {
		t.Fatal(err)
	}
	b.http = httptest.NewUnstartedServer(b.server)
	b.http.Config.Protocols = rpc.Protocols()
	b.http.Start()
	t.Cleanup(b.http.Close)
	u, err := url.Parse(b.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	if b.conn, err = grpc.NewClient(u.Host, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.conn.Close() })
	return b
}

// token makes a bearer token; participant 0 is the whole process.
func (b *bench) token(t testing.TB, id participant.ID, role string, expires time.Time) string {
	t.Helper()
	secret, kept, err := rpc.NewToken(rand.Reader, store.Token{Participant: id, Role: role, Label: role, Created: clock(), Expires: expires})
	if err == nil {
		err = b.store.PutToken(t.Context(), kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// call makes a REST call; extra are header names and values.
func (b *bench) call(t testing.TB, method, path, token, body string, extra ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.http.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(extra); i += 2 {
		req.Header.Set(extra[i], extra[i+1])
	}
	res, err := b.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Header
}

func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func asset(id string) *pb.Asset {
	return &pb.Asset{Id: id, Title: "Cell", Type: "https://w3id.org/catenax/taxonomy#PcfExchange", ApiVersion: "3.0", SemanticId: "urn:samm:x:9.0.0#Pcf",
		Properties: map[string]string{"part": "C-1"}, Source: &pb.Asset_Content{Content: &pb.StoredContent{MediaType: "application/json", Data: []byte(`{"a":1}`)}}}
}

func (b *bench) put(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := pb.NewAssetServiceClient(b.conn).PutAsset(as(t.Context(), b.operator), &pb.PutAssetRequest{Participant: "aurora", Asset: asset(id)}); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkGetAsset(b *testing.B) {
	x := setup(b)
	if _, err := pb.NewAssetServiceClient(x.conn).PutAsset(as(b.Context(), x.operator), &pb.PutAssetRequest{Participant: "aurora", Asset: asset("a")}); err != nil {
		b.Fatal(err)
	}
	b.Run("gRPC", func(b *testing.B) {
		ctx, client := as(b.Context(), x.operator), pb.NewAssetServiceClient(x.conn)
		for b.Loop() {
			if _, err := client.GetAsset(ctx, &pb.GetAssetRequest{Participant: "aurora", Id: "a"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("REST", func(b *testing.B) {
		for b.Loop() {
			if code, text, _ := x.call(b, "GET", "/v1/participants/aurora/assets/a", x.operator, ""); code != 200 {
				b.Fatal(code, text)
			}
		}
	})
}
