package issuer_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

const (
	boreal participant.DID = "did:web:boreal.example:boreal"
	dusk   participant.DID = "did:web:dusk.example:dusk"
)

// bench is Meridian, an issuer with three definitions, over a real store; what it owes waits in a line.
type bench struct {
	*issuer.Service
	t     *testing.T
	store *sqlstore.Store
	local participant.Participant
	keys  identity.Keys
	vault identity.Vault
	now   time.Time
	made  func(change func(*issuer.Config)) *issuer.Service

	mu       sync.Mutex
	line     []commit.Owed
	shows    policy.Party // what holders show when they are asked
	asked    int
	recorder *decisionlog.Recorder
	actions  []decisionlog.Action // that were put on record
	failing  error                // of the decision log
}

func (b *bench) Send(o commit.Owed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.line = append(b.line, o)
}

func (b *bench) Claims(_ context.Context, _ participant.Participant, peer participant.Peer) (policy.Party, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	if peer.AccessToken != "access" {
		return policy.Party{}, errors.New("asked without the holder's token")
	}
	return b.shows, nil
}

func (b *bench) Record(_ context.Context, a decisionlog.Action) (decisionlog.Entry, error) {
	if b.failing != nil {
		return decisionlog.Entry{}, b.failing
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.actions = append(b.actions, a)
	return b.recorder.Action(a)
}

func (b *bench) ByID(context.Context, participant.ID) (participant.Participant, error) {
	return b.local, nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func definition(id, profile string, rules ...issuer.Rule) issuer.Definition {
	return issuer.Definition{ID: id, Type: id, Profile: profile, Life: 30 * 24 * time.Hour, Contexts: []string{"https://w3id.org/catenax/credentials/v1.0.0"},
		Purposes: []string{statuslist.Revocation, statuslist.Suspension}, Subject: []issuer.Member{{Name: "holderIdentifier", From: issuer.OfHolder, Key: "bpn"}}, Rules: rules}
}

// byClaim is a credential for those who show a membership of Meridian, with what that says.
func byClaim() issuer.Definition {
	d := definition("Dismantler", credential.Profile11, issuer.Rule{Kind: issuer.ByClaim, Credential: "Membership", Claim: "memberOf", Values: []string{"Meridian"}})
	d.Subject = []issuer.Member{{Name: "holderIdentifier", From: issuer.OfEvidence, Credential: "Membership", Key: "holderIdentifier"},
		{Name: "activityType", From: issuer.Constant, Values: []string{"vehicleDismantle"}},
		{Name: "allowedVehicleBrands", From: issuer.OfHolder, Key: "brands", Many: true, Optional: true}}
	d.Open = true
	return d
}

func setup(t *testing.T) *bench {
	t.Helper()
	store, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	t.Cleanup(func() { _ = store.Close() })
	keys, err := keyring.Draw("company", rand.Reader, time.Now)
	check(t, err)
	b := &bench{t: t, store: store, keys: keys, now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	b.vault = identity.Vault{Keys: func(participant.Participant) (identity.Keys, error) { return keys, nil }, Rand: rand.Reader}
	b.recorder, err = decisionlog.NewRecorder("meridian", "test", decisionlog.Engine{}, "q", decisionlog.Domain{ID: "d", Key: make([]byte, 32)}, rand.Reader)
	check(t, err)
	b.local, err = store.CreateParticipant(t.Context(), participant.Participant{Slug: "meridian", DID: "did:web:meridian.example:meridian", Name: "Meridian", Created: b.now})
	check(t, err)
	b.made = func(change func(*issuer.Config)) *issuer.Service {
		cfg := issuer.Config{Store: store, Decider: b, Claims: b, Codec: dcp.IssuerCodec{}, Hosted: b, Seals: b.vault, Keys: b.vault.Keys, Outbox: b,
			StatusURL: func(p participant.Participant, list string) string {
				return "https://meridian.example/" + p.Slug + "/issuer/status/" + list
			},
			Templates: func(participant.Participant) []issuer.Definition {
				return []issuer.Definition{definition("Membership", credential.Profile11, issuer.Rule{Kind: issuer.ByList}),
					definition("Framework", credential.Profile20, issuer.Rule{Kind: issuer.ByList}, issuer.Rule{Kind: issuer.ByApproval}), byClaim()}
			},
			Now: func() time.Time { return b.now }, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), PerHour: 20, Patience: 72 * time.Hour}
		if change != nil {
			change(&cfg)
		}
		s := issuer.New(cfg)
		check(t, s.Load(t.Context(), b.local.ID))
		check(t, s.Enable(t.Context(), b.local, "operator"))
		return s
	}
	b.Service = b.made(nil)
	b.know(issuer.Holder{DID: boreal, Name: "Boreal Drives", Grants: []string{"Membership", "Framework"}, Values: map[string][]string{"bpn": {"BPNL00000000BOR1"}}})
	return b
}

func (b *bench) know(h issuer.Holder) {
	b.t.Helper()
	if _, err := b.PutHolders(b.t.Context(), b.local, []issuer.Holder{h}, "operator"); err != nil {
		b.t.Fatal(err)
	}
}

// ask makes a request for credentials, as it arrives after its sender was authenticated.
func (b *bench) ask(holder participant.DID, ids ...string) (issuer.Received, error) {
	got, err := b.Receive(b.t.Context(), b.local, participant.Peer{DID: holder, AccessToken: "access"}, issuer.Wanted{HolderPID: "pid of " + string(holder), Credentials: ids})
	if err == nil {
		got.Flushed()
	}
	return got, err
}

func (b *bench) mustAsk(holder participant.DID, ids ...string) string {
	b.t.Helper()
	got, err := b.ask(holder, ids...)
	if err != nil {
		b.t.Fatal(err)
	}
	return got.ID
}

// next takes what is owed next.
func (b *bench) next() commit.Owed {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.line) == 0 {
		b.t.Fatal("nothing is owed")
	}
	o := b.line[0]
	b.line = b.line[1:]
	return o
}

func (b *bench) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.line) == 0
}

func (b *bench) request(id string) issuer.Request {
	b.t.Helper()
	r, err := b.Request(b.t.Context(), b.local, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// delivery reads a message to a holder.
func delivery(t *testing.T, o commit.Owed) dcp.CredentialMessage {
	t.Helper()
	m, err := dcp.ParseCredentialMessage(o.Body)
	check(t, err)
	return m
}

// payload opens a token of ours after its signature was checked with the key that its header names.
func (b *bench) payload(token string) (identity.Header, map[string]any) {
	b.t.Helper()
	header, raw, err := identity.ParseJWT(token, 1<<20)
	check(b.t, err)
	public := b.keys.Public(identity.UseIssue)[0]
	if header.KeyID != string(b.local.DID)+"#"+public.ID {
		b.t.Errorf("kid %q is not the signing key's", header.KeyID)
	}
	check(b.t, identity.Verify(token, public.Key))
	var out map[string]any
	check(b.t, json.Unmarshal(raw, &out))
	return header, out
}

func (b *bench) credential(id string) issuer.Credential {
	b.t.Helper()
	c, err := b.Credential(b.t.Context(), b.local, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// set reports whether the credential's entry is set in the list that is served now.
func (b *bench) set(c issuer.Credential, purpose string) bool {
	b.t.Helper()
	p := c.Places[slices.IndexFunc(c.Places, func(p issuer.Place) bool { return p.Purpose == purpose })]
	got, err := b.StatusList(b.t.Context(), b.local, p.List)
	check(b.t, err)
	_, claims := b.payload(got.Token)
	kind, body := statuslist.Bitstring, claims
	if inner, ok := claims["vc"].(map[string]any); ok {
		kind, body = statuslist.List2021, inner
	}
	raw, err := json.Marshal(body["credentialSubject"])
	check(b.t, err)
	subject, err := statuslist.ParseSubject(kind, raw)
	check(b.t, err)
	if !slices.Equal(subject.Purposes, []string{purpose}) || subject.Bits.Len() < 131072 {
		b.t.Errorf("a list of %v with %d entries", subject.Purposes, subject.Bits.Len())
	}
	set, err := subject.Bits.Get(p.Index)
	check(b.t, err)
	return set
}

func wantKind(t *testing.T, err error, kind fault.Kind) *fault.Error {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("got %v, want a fault of kind %q", err, kind)
	}
	return e
}

func TestWhoIsOnTheListGetsItsCredential(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Membership")
	if r := b.request(id); r.State != issuer.Approved || len(r.Credentials) != 1 || r.HolderPID != "pid of "+string(boreal) {
		t.Errorf("%+v", r)
	}
	o := b.next()
	m := delivery(t, o)
	if m.Status != dcp.StatusIssued || m.IssuerPID != id || m.HolderPID != "pid of "+string(boreal) || len(m.Credentials) != 1 || m.Credentials[0].Format != credential.Profile11 ||
		o.Peer != boreal || o.URL != string(boreal)+"?service=CredentialService" {
		t.Errorf("%+v to %s", m, o.URL)
	}
	header, claims := b.payload(m.Credentials[0].Payload)
	vc := claims["vc"].(map[string]any)
	subject := vc["credentialSubject"].(map[string]any)
	if header.Type != "JWT" || claims["iss"] != string(b.local.DID) || vc["issuer"] != string(b.local.DID) || claims["sub"] != string(boreal) || subject["id"] != string(boreal) ||
		subject["holderIdentifier"] != "BPNL00000000BOR1" || claims["jti"] != vc["id"] || vc["issuanceDate"] != "2026-11-24T09:00:00Z" || vc["expirationDate"] != "2026-12-24T09:00:00Z" ||
		fmt.Sprint(vc["type"]) != "[VerifiableCredential Membership]" || fmt.Sprint(vc["@context"]) != "[https://www.w3.org/2018/credentials/v1 https://w3id.org/catenax/credentials/v1.0.0]" {
		t.Errorf("%+v", claims)
	}
	raw, err := json.Marshal(vc["credentialStatus"])
	check(t, err)
	entries, err := statuslist.ParseEntries(raw)
	check(t, err)
	if len(entries) != 2 || entries[0].Kind != statuslist.List2021 || entries[0].Purpose != statuslist.Revocation || entries[1].Purpose != statuslist.Suspension ||
		!strings.HasPrefix(entries[0].List, "https://meridian.example/meridian/issuer/status/") || entries[0].List == entries[1].List {
		t.Errorf("%+v", entries)
	}
	check(t, b.Delivered(t.Context(), o, outbox.Answer{Status: 200}))
	check(t, b.Delivered(t.Context(), o, outbox.Answer{Status: 200})) // once more after a crash
	if r := b.request(id); r.State != issuer.Delivered || r.Owed != "" {
		t.Errorf("%+v", r)
	}
	shown, err := b.Status(t.Context(), b.local, participant.Peer{DID: boreal}, id)
	if err != nil || shown.Status != "ISSUED" || shown.IssuerPID != id {
		t.Errorf("%+v, %v", shown, err)
	}
	log, err := b.store.LogByProcess(t.Context(), "meridian", id, 10)
	if err != nil || len(log) != 1 {
		t.Errorf("%d records, %v; want the grant", len(log), err)
	}
}

// same is a holder's message that comes byte for byte as it came before.
func (b *bench) same(digest string, ids ...string) (string, error) {
	got, err := b.Receive(b.t.Context(), b.local, participant.Peer{DID: boreal}, issuer.Wanted{HolderPID: "p", Credentials: ids, Digest: digest})
	if err == nil {
		got.Flushed()
	}
	return got.ID, err
}

func TestTheSameMessageIsOneRequestUntilThatIsOver(t *testing.T) {
	t.Parallel()
	for _, definition := range []string{"Membership", "Framework"} { // by rule, and by an operator
		b := setup(t)
		first, err := b.same("a", definition)
		check(t, err)
		if again, err := b.same("a", definition); again != first || err != nil {
			t.Errorf("%s again: %s, %v; want %s", definition, again, err, first)
		}
		if again := b.line[len(b.line)-1]; definition == "Membership" && (len(b.line) != 2 || again.ID != b.line[0].ID || string(again.Body) != string(b.line[0].Body)) {
			t.Errorf("who asks again is there, and is not brought what it waits for: %+v", b.line)
		}
		if other, err := b.same("b", definition); other == first || err != nil {
			t.Errorf("another message of the same pid: %s, %v", other, err)
		}
		b.know(issuer.Holder{DID: dusk, Grants: []string{definition}, Values: map[string][]string{"bpn": {"BPNL00000000DUS1"}}})
		if theirs, err := b.Receive(t.Context(), b.local, participant.Peer{DID: dusk}, issuer.Wanted{HolderPID: "p", Credentials: []string{definition}, Digest: "a"}); theirs.ID == first || err != nil {
			t.Errorf("another holder's: %s, %v", theirs.ID, err)
		}
		o := b.next()
		if definition == "Framework" {
			check(t, b.Expired(t.Context(), o))
		} else {
			check(t, b.Delivered(t.Context(), o, outbox.Answer{Status: 200}))
		}
		if anew, err := b.same("a", definition); anew == first || err != nil {
			t.Errorf("%s when the first is over: %s, %v", definition, anew, err)
		}
	}
}

func TestAHolderHurriesADeliverySoOftenAndNoMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, err := b.same("a", "Membership")
	check(t, err)
	owed := b.line[0]
	for range 20 { // as often as its address did not answer
		check(t, b.store.Postpone(t.Context(), owed.ID, b.now.Add(time.Hour), "the holder answered 500"))
	}
	sent := len(b.line)
	if again, err := b.same("a", "Membership"); again != first || err != nil {
		t.Errorf("again: %s, %v; want %s", again, err, first)
	}
	if len(b.line) != sent {
		t.Error("whoever asks makes us call an address of its choice as often as it likes")
	}
}

func TestTheSameMessageManyTimesAtOnceIsOneRequest(t *testing.T) {
	t.Parallel()
	for _, definition := range []string{"Membership", "Framework"} {
		b := setup(t)
		ids, errs := make([]string, 8), make([]error, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() { ids[i], errs[i] = b.same("a", definition) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil || len(slices.Compact(ids)) != 1 {
			t.Errorf("%s: answered %v, %v", definition, slices.Compact(ids), err)
		}
		all, err := b.Requests(t.Context(), b.local, issuer.Filter{}, page.Request{})
		check(t, err)
		issued, err := b.Credentials(t.Context(), b.local, issuer.Filter{}, page.Request{})
		check(t, err)
		if len(all.Items) != 1 || len(issued.Items) != map[string]int{"Membership": 1}[definition] {
			t.Errorf("%s: %d requests, %d credentials", definition, len(all.Items), len(issued.Items))
		}
	}
}

// torn is a store that fails to look holders up.
type torn struct {
	issuer.Store
	err error
}

func (s *torn) IssuerHolder(ctx context.Context, p participant.ID, did participant.DID) (issuer.Holder, error) {
	if s.err != nil {
		return issuer.Holder{}, s.err
	}
	return s.Store.IssuerHolder(ctx, p, did)
}

func TestAStoreThatFailsDeniesNobodyAnything(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Framework")
	failing := &torn{Store: b.store, err: fault.New("test", fault.Unavailable, "the disk is gone")}
	b.Service = b.made(func(cfg *issuer.Config) { cfg.Store = failing })
	_, err := b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator"})
	wantKind(t, err, fault.Unavailable)
	failing.err = nil
	r, err := b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator"})
	if err != nil || r.State != issuer.Approved {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestARecordNamesEveryCredentialThatWasShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.shows = member("Meridian", b.now.Add(time.Hour))
	second := b.shows.Credentials[0]
	second.Digest = "d2"
	b.shows.Credentials = append(b.shows.Credentials, second)
	b.mustAsk(dusk, "Dismantler")
	if last := b.actions[len(b.actions)-1]; last.Code != "issuance.grant" || last.Details["evidence/Membership"] != "d1 d2" || last.Details["wanted"] != "Dismantler" {
		t.Errorf("%+v", last)
	}
}

func TestACredentialOfDataModel2IsTheTokenItself(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, token, err := b.Issue(t.Context(), b.local, issuer.Issuing{Holder: boreal, Definition: "Framework", Actor: "operator"})
	check(t, err)
	header, claims := b.payload(token)
	status := claims["credentialStatus"].([]any)[0].(map[string]any)
	if _, nested := claims["vc"]; nested || header.Type != "vc+jwt" || header.Content != "vc" || claims["issuer"] != string(b.local.DID) || claims["validFrom"] != "2026-11-24T09:00:00Z" ||
		status["type"] != "BitstringStatusListEntry" || claims["id"] != c.ID || claims["credentialSubject"].(map[string]any)["id"] != string(boreal) {
		t.Errorf("%+v %+v", header, claims)
	}
	list, err := b.StatusList(t.Context(), b.local, c.Places[0].List)
	check(t, err)
	header, claims = b.payload(list.Token)
	if list.Profile != credential.Profile20 || header.Type != "vc+jwt" || fmt.Sprint(claims["type"]) != "[VerifiableCredential BitstringStatusListCredential]" ||
		claims["id"] != "https://meridian.example/meridian/issuer/status/"+c.Places[0].List {
		t.Errorf("%+v %+v", header, claims)
	}
}

func TestEveryAttemptDeliversTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Membership")
	first := b.next()
	kept, err := b.store.Claim(t.Context(), b.now.Add(time.Hour), time.Minute, 10)
	check(t, err)
	if len(kept) != 1 || string(kept[0].Body) != string(first.Body) || kept[0].ID != first.ID {
		t.Fatalf("what is owed after a crash is not what was sent: %+v", kept)
	}
	check(t, b.Rejected(t.Context(), first, outbox.Answer{Status: 403}))
	if r := b.request(id); r.State != issuer.Errored || r.Code != "holder.refused" {
		t.Errorf("%+v", r)
	}
	if owes, err := b.store.Owes(t.Context(), first.ID); owes || err != nil {
		t.Errorf("still owed: %t, %v", owes, err)
	}
	id = b.mustAsk(boreal, "Membership")
	o := b.next()
	o.LastError = "the holder's credential service answered 503"
	check(t, b.Rejected(t.Context(), o, outbox.Answer{}))
	if r := b.request(id); r.State != issuer.Errored || r.Code != "holder.unreachable" || !strings.Contains(r.Reasons[0], "503") {
		t.Errorf("%+v", r)
	}
}

func TestAHolderThatIsNotOnboardedIsAStranger(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, ids := range [][]string{{"Membership"}, {"Nothing"}, {"Membership", "Dismantler"}} {
		_, err := b.ask(dusk, ids...)
		if e := wantKind(t, err, fault.Unauthenticated); e.Code != "" || e.Reason != "the caller is not known" {
			t.Errorf("%v: a stranger is told %q %q", ids, e.Code, e.Reason)
		}
	}
	all, err := b.Requests(t.Context(), b.local, issuer.Filter{}, page.Request{})
	if err != nil || len(all.Items) != 0 || b.asked != 0 {
		t.Errorf("a stranger left %d requests and made us ask %d times, %v", len(all.Items), b.asked, err)
	}
}

func TestWhoIsNotOnTheListIsRefusedAndTheOperatorSeesWhy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.know(issuer.Holder{DID: dusk, Grants: []string{"Framework"}, Values: map[string][]string{"bpn": {"BPNL00000000DUS1"}}})
	_, err := b.ask(dusk, "Membership")
	if e := wantKind(t, err, fault.Refused); strings.Contains(e.Reason, "list") || len(e.Reasons) > 0 {
		t.Errorf("the holder is told %q", e.Reason)
	}
	all, err := b.Requests(t.Context(), b.local, issuer.Filter{Holder: dusk, State: "REJECTED"}, page.Request{})
	if err != nil || len(all.Items) != 1 || all.Items[0].Code != "rule.list" || !strings.Contains(all.Items[0].Reasons[0], "list") {
		t.Errorf("%+v, %v", all.Items, err)
	}
	log, err := b.store.LogByProcess(t.Context(), "meridian", all.Items[0].ID, 10)
	if err != nil || len(log) != 1 || !b.idle() {
		t.Errorf("%d records, %v", len(log), err)
	}
}

func TestOneCredentialThatIsNotGrantedRefusesTheWholeRequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.know(issuer.Holder{DID: dusk, Grants: []string{"Membership"}, Values: map[string][]string{"bpn": {"BPNL00000000DUS1"}}})
	_, err := b.ask(dusk, "Membership", "Framework")
	wantKind(t, err, fault.Refused)
	issued, err := b.Credentials(t.Context(), b.local, issuer.Filter{}, page.Request{})
	if err != nil || len(issued.Items) != 0 {
		t.Errorf("%d were issued, %v", len(issued.Items), err)
	}
}

func TestAMissingValueIssuesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, values := range map[string]map[string][]string{"none": nil, "several where one is meant": {"bpn": {"a", "b"}}} {
		b.know(issuer.Holder{DID: dusk, Grants: []string{"Membership"}, Values: values})
		if _, err := b.ask(dusk, "Membership"); !fault.Is(err, fault.Refused) {
			t.Errorf("%s: %v", name, err)
		}
		_, _, err := b.Issue(t.Context(), b.local, issuer.Issuing{Holder: dusk, Definition: "Membership"})
		if e := wantKind(t, err, fault.Malformed); e.Code != "subject.value" {
			t.Errorf("%s, by order: %v", name, err)
		}
	}
}

func TestARuleOfAnotherKindGivesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := definition("Strange", credential.Profile11, issuer.Rule{Kind: "moonphase"})
	_, err := b.PutDefinition(t.Context(), b.local, d, "operator")
	wantKind(t, err, fault.Malformed)
	// What another version wrote into the store is refused as well.
	d.Participant, d.Version, d.Created, d.Updated = b.local.ID, 1, b.now, b.now
	none := definition("None", credential.Profile11)
	none.Participant, none.Version, none.Created, none.Updated = b.local.ID, 1, b.now, b.now
	check(t, b.store.CommitIssuer(t.Context(), b.local.ID, issuer.Changes{Definitions: []commit.Swap[issuer.Definition]{{New: &d}, {New: &none}}}, commit.Effects{}))
	for _, id := range []string{"Strange", "None"} {
		if _, err := b.ask(boreal, id); !fault.Is(err, fault.Refused) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestAnUnknownIDIsMalformedForThoseWhoAreKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, ids := range [][]string{{"Nothing"}, {"Membership", "Membership"}, {}} {
		if _, err := b.ask(boreal, ids...); !fault.Is(err, fault.Malformed) {
			t.Errorf("%v: %v", ids, err)
		}
	}
}

func TestARequestWaitsForTheOperator(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Framework")
	r := b.request(id)
	if r.State != issuer.Submitted {
		t.Fatalf("%+v", r)
	}
	if deadline := b.next(); deadline.URL != "" || !deadline.Due.Equal(b.now.Add(72*time.Hour)) {
		t.Errorf("the wait ends at %v", deadline.Due)
	}
	_, err := b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator", Version: 7})
	wantKind(t, err, fault.Conflict)
	r, err = b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator", Version: r.Version, Reason: "seen at the register"})
	if err != nil || r.State != issuer.Approved || r.Actor != "operator" || len(r.Credentials) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	o := b.next()
	if m := delivery(t, o); m.Status != dcp.StatusIssued || m.Credentials[0].Format != credential.Profile20 {
		t.Errorf("%+v", m)
	}
	_, err = b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator"})
	wantKind(t, err, fault.Conflict)
	log, err := b.store.LogByProcess(t.Context(), "meridian", id, 10)
	if err != nil || len(log) != 2 {
		t.Errorf("%d records, %v; want submission and approval", len(log), err)
	}
}

func TestOneOfTwoOperatorsApproves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Framework")
	b.next()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator"})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !fault.Is(err, fault.Conflict) {
			t.Error(err)
		}
	}
	issued, err := b.Credentials(t.Context(), b.local, issuer.Filter{Holder: boreal}, page.Request{})
	if err != nil || won != 1 || len(issued.Items) != 1 {
		t.Errorf("%d approvals, %d credentials, %v", won, len(issued.Items), err)
	}
}

func TestApprovingCannotGiveWhatTheRulesDeny(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Framework")
	b.know(issuer.Holder{DID: boreal, Grants: []string{"Membership"}, Values: map[string][]string{"bpn": {"BPNL00000000BOR1"}}})
	_, err := b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator"})
	if e := wantKind(t, err, fault.Refused); e.Code != "rule.list" {
		t.Error(err)
	}
	if r := b.request(id); r.State != issuer.Submitted {
		t.Errorf("a denial moved it to %s", r.State)
	}
	check(t, b.DeleteHolder(t.Context(), b.local, boreal, commit.Order{Actor: "operator"}))
	_, err = b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator"})
	wantKind(t, err, fault.Refused)
}

func TestTheOperatorGivesValuesThatTheRowLacks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.know(issuer.Holder{DID: dusk, Grants: []string{"Framework"}})
	id := b.mustAsk(dusk, "Framework")
	b.next()
	_, err := b.Approve(t.Context(), b.local, id, nil, commit.Order{Actor: "operator"})
	if e := wantKind(t, err, fault.Refused); e.Code != "subject.value" {
		t.Error(err)
	}
	_, err = b.Approve(t.Context(), b.local, id, map[string][]string{"bpn": {"BPNL00000000DUS1"}}, commit.Order{Actor: "operator"})
	check(t, err)
	_, claims := b.payload(delivery(t, b.next()).Credentials[0].Payload)
	if got := claims["credentialSubject"].(map[string]any)["holderIdentifier"]; got != "BPNL00000000DUS1" {
		t.Errorf("holderIdentifier %v", got)
	}
}

func TestWhatTheOperatorRefusesIsToldToTheHolder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Framework")
	b.next()
	_, err := b.Refuse(t.Context(), b.local, id, commit.Order{Actor: "operator"})
	wantKind(t, err, fault.Malformed)
	r, err := b.Refuse(t.Context(), b.local, id, commit.Order{Actor: "operator", Reason: "the contract is not signed"})
	if err != nil || r.State != issuer.Rejected || r.Actor != "operator" {
		t.Fatalf("%+v, %v", r, err)
	}
	o := b.next()
	if m := delivery(t, o); m.Status != dcp.StatusRejected || m.Reason != "the contract is not signed" || len(m.Credentials) != 0 {
		t.Errorf("%+v", m)
	}
	// That news is a courtesy: whether it arrives changes nothing.
	check(t, b.Rejected(t.Context(), o, outbox.Answer{Status: 404}))
	if r := b.request(id); r.State != issuer.Rejected || r.Code != "operator.refused" || r.Owed != "" {
		t.Errorf("%+v", r)
	}
	shown, err := b.Status(t.Context(), b.local, participant.Peer{DID: boreal}, id)
	if err != nil || shown.Status != "REJECTED" {
		t.Errorf("%+v, %v", shown, err)
	}
}

func TestARequestThatNobodyDecidesIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.mustAsk(boreal, "Framework")
	deadline := b.next()
	b.now = deadline.Due
	check(t, b.Expired(t.Context(), deadline))
	if r := b.request(id); r.State != issuer.Rejected || r.Code != "approval.late" {
		t.Errorf("%+v", r)
	}
	if m := delivery(t, b.next()); m.Status != dcp.StatusRejected {
		t.Errorf("%+v", m)
	}
	check(t, b.Expired(t.Context(), deadline)) // once more after a crash
	if !b.idle() {
		t.Error("the holder is told twice")
	}
}

func member(of string, until time.Time) policy.Party {
	return policy.Party{DID: string(dusk), Credentials: []policy.Credential{{Type: "Membership", Issuer: "did:web:meridian.example:meridian", Digest: "d1", NotAfter: until,
		Subject: map[string]string{"id": string(dusk), "memberOf": of, "holderIdentifier": "BPNL00000000DUS1"}}}}
}

func TestACredentialThatIsShownAttestsAnother(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.shows = member("Meridian", b.now.Add(time.Hour))
	id := b.mustAsk(dusk, "Dismantler") // open: no row is needed
	_, claims := b.payload(delivery(t, b.next()).Credentials[0].Payload)
	subject := claims["vc"].(map[string]any)["credentialSubject"].(map[string]any)
	if subject["holderIdentifier"] != "BPNL00000000DUS1" || subject["activityType"] != "vehicleDismantle" || subject["allowedVehicleBrands"] != nil {
		t.Errorf("%+v", subject)
	}
	if r := b.request(id); r.Evidence["Membership"][0].Digest != "d1" {
		t.Errorf("%+v", r.Evidence)
	}
	b.know(issuer.Holder{DID: dusk, Values: map[string][]string{"brands": {"Aurora"}}})
	b.mustAsk(dusk, "Dismantler")
	_, claims = b.payload(delivery(t, b.next()).Credentials[0].Payload)
	if got := fmt.Sprint(claims["vc"].(map[string]any)["credentialSubject"].(map[string]any)["allowedVehicleBrands"]); got != "[Aurora]" {
		t.Errorf("allowedVehicleBrands %s, want an array of one", got)
	}
}

func TestTheWrongCredentialAttestsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := member("Meridian", b.now.Add(time.Hour))
	other.Credentials[0].Type = "MembershipX"
	silent := member("Meridian", b.now.Add(time.Hour))
	delete(silent.Credentials[0].Subject, "memberOf")
	for name, shows := range map[string]policy.Party{
		"of another dataspace":             member("Elsewhere", b.now.Add(time.Hour)),
		"with the value as a part":         member("Meridian2", b.now.Add(time.Hour)),
		"that has ended":                   member("Meridian", b.now),
		"of a type that begins like it":    other,
		"that does not say it":             silent,
		"that was not shown":               {},
		"whose claim has another spelling": member("meridian", b.now.Add(time.Hour)),
	} {
		b.shows = shows
		if _, err := b.ask(dusk, "Dismantler"); !fault.Is(err, fault.Refused) {
			t.Errorf("a membership %s: %v", name, err)
		}
	}
	// Who gives no token shows nothing, and is not asked.
	before := b.asked
	_, err := b.Receive(t.Context(), b.local, participant.Peer{DID: dusk}, issuer.Wanted{HolderPID: "p", Credentials: []string{"Dismantler"}})
	if wantKind(t, err, fault.Refused); b.asked != before {
		t.Error("asked without a token")
	}
}

func TestAHolderAsksOnlySoOften(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Service = b.made(func(cfg *issuer.Config) { cfg.PerHour = 3 })
	for range 3 {
		b.mustAsk(boreal, "Membership")
	}
	_, err := b.ask(boreal, "Membership")
	wantKind(t, err, fault.Exhausted)
	b.shows = member("Meridian", b.now.Add(2*time.Hour))
	b.mustAsk(dusk, "Dismantler") // another one may still
	b.now = b.now.Add(time.Hour + time.Second)
	b.mustAsk(boreal, "Membership")
}

func TestNobodyButItsHolderSeesARequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.know(issuer.Holder{DID: dusk})
	id := b.mustAsk(boreal, "Membership")
	_, hidden := b.Status(t.Context(), b.local, participant.Peer{DID: dusk}, id)
	_, absent := b.Status(t.Context(), b.local, participant.Peer{DID: dusk}, "urn:uuid:none")
	if wantKind(t, hidden, fault.NotFound).Reason != wantKind(t, absent, fault.NotFound).Reason {
		t.Errorf("%v is not %v", hidden, absent)
	}
}

func TestNothingHappensWithoutARecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c, _, err := b.Issue(t.Context(), b.local, issuer.Issuing{Holder: boreal, Definition: "Membership", Actor: "operator"})
	check(t, err)
	id := b.mustAsk(boreal, "Framework")
	b.next()
	b.failing = errors.New("the disk is gone")
	for name, do := range map[string]func() error{
		"request": func() error { _, err := b.ask(boreal, "Membership"); return err },
		"denial":  func() error { _, err := b.ask(boreal, "Dismantler"); return err },
		"approval": func() error {
			_, err := b.Approve(t.Context(), b.local, id, nil, commit.Order{})
			return err
		},
		"refusal": func() error { _, err := b.Refuse(t.Context(), b.local, id, commit.Order{Reason: "x"}); return err },
		"order": func() error {
			_, _, err := b.Issue(t.Context(), b.local, issuer.Issuing{Holder: boreal, Definition: "Membership"})
			return err
		},
		"revocation": func() error { _, err := b.Revoke(t.Context(), b.local, c.ID, commit.Order{}); return err },
		"offer": func() error {
			_, err := b.Offer(t.Context(), b.local, boreal, []string{"Membership"}, "", "")
			return err
		},
		"list": func() error {
			_, err := b.PutHolders(t.Context(), b.local, []issuer.Holder{{DID: dusk}}, "")
			return err
		},
	} {
		if err := do(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	issued, err := b.Credentials(t.Context(), b.local, issuer.Filter{}, page.Request{})
	if err != nil || len(issued.Items) != 1 || b.set(c, statuslist.Revocation) || b.request(id).State != issuer.Submitted || !b.idle() {
		t.Errorf("something happened: %d credentials, %v", len(issued.Items), err)
	}
}

func TestAnOfferIsDeliveredOrNot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, status := range []int{200, 403} {
		made, err := b.Offer(t.Context(), b.local, boreal, []string{"Membership", "Framework"}, credential.ReasonReissue, "operator")
		check(t, err)
		o := b.next()
		m, err := dcp.ParseCredentialOffer(o.Body)
		if err != nil || m.Issuer != string(b.local.DID) || len(m.Credentials) != 2 || m.Credentials[0].Reason != "reissue" {
			t.Errorf("%+v, %v", m, err)
		}
		want := issuer.OfferDelivered
		if status == 200 {
			err = b.Delivered(t.Context(), o, outbox.Answer{Status: status})
		} else {
			want, err = issuer.OfferErrored, b.Rejected(t.Context(), o, outbox.Answer{Status: status})
		}
		check(t, err)
		kept, err := b.store.IssuerOffer(t.Context(), b.local.ID, made.ID)
		if err != nil || kept.State != want || kept.Owed != "" {
			t.Errorf("%+v, %v", kept, err)
		}
	}
}

func TestTheHoldersTokenIsCarriedBackWhileItMayBeGood(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mustAsk(boreal, "Membership")
	o := b.next()
	if got, err := b.Grant(t.Context(), b.local, o); got != "access" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	var doc string
	r := b.request(o.ProcessID)
	raw, err := json.Marshal(r)
	check(t, err)
	if doc = string(raw); strings.Contains(doc, "access") || strings.Contains(doc, base64.StdEncoding.EncodeToString([]byte("access"))) {
		t.Error("the token is readable at rest")
	}
	b.now = b.now.Add(5 * time.Minute)
	if got, err := b.Grant(t.Context(), b.local, o); got != "" || err != nil {
		t.Errorf("later: %q, %v", got, err)
	}
}

func TestMetadataTellsWhatMustBeShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m, err := b.Metadata(t.Context(), b.local)
	check(t, err)
	body, err := dcp.EncodeMetadataOf(m)
	check(t, err)
	read, err := dcp.ParseIssuerMetadata(body)
	if err != nil || read.Issuer != string(b.local.DID) || len(read.Credentials) != 3 {
		t.Fatalf("%+v, %v", read, err)
	}
	for _, c := range read.Credentials {
		if asks := strings.Contains(string(c.Policy), `"const":"Membership"`); asks != (c.ID == "Dismantler") {
			t.Errorf("%s: policy %s", c.ID, c.Policy)
		}
	}
	stranger := b.local
	stranger.ID = 99
	_, err = b.Service.Metadata(t.Context(), stranger)
	wantKind(t, err, fault.NotFound)
}
