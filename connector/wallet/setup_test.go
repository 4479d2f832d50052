package wallet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

const (
	meridian participant.DID = "did:web:meridian.example:meridian" // the authority
	dusk     participant.DID = "did:web:dusk.example:dusk"         // issues too; nobody trusts it
	base                     = "https://meridian.example/issuer"
	vc11                     = "vc11-sl2021/jwt"
)

// authority is an issuer with a real key and a document that shows it.
type authority struct {
	did participant.DID
	kid string
	key *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, did participant.DID, kid string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return &authority{did, string(did) + "#" + kid, key}
}

// document shows the keys of these.
func document(did participant.DID, all ...*authority) []byte {
	var methods, ids []string
	for _, a := range all {
		point, _ := a.key.PublicKey.Bytes()
		methods = append(methods, fmt.Sprintf(`{"id":%q,"type":"JsonWebKey2020","controller":%q,"publicKeyJwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}`,
			a.kid, did, b64(point[1:33]), b64(point[33:65])))
		ids = append(ids, fmt.Sprintf("%q", a.kid))
	}
	return fmt.Appendf(nil, `{"@context":["https://www.w3.org/ns/did/v1"],"id":%q,"verificationMethod":[%s],"assertionMethod":[%s]}`, did, strings.Join(methods, ","), strings.Join(ids, ","))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign makes a JWT of any header and claims.
func (a *authority) sign(header, claims map[string]any) string {
	h := map[string]any{"alg": "ES256", "typ": "JWT", "kid": a.kid}
	maps.Copy(h, header)
	head, _ := json.Marshal(h)
	body, _ := json.Marshal(claims)
	input := b64(head) + "." + b64(body)
	sum := sha256.Sum256([]byte(input))
	r, s, _ := ecdsa.Sign(rand.Reader, a.key, sum[:])
	return input + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// made says how a credential differs from what it should be.
type made struct {
	id      string
	issuer  participant.DID
	subject participant.DID
	types   []string
	from    time.Duration
	life    time.Duration
	header  map[string]any
	bare    bool // without contexts, and with a token whose subject is no DID
}

// issue makes a credential of the type for the holder.
func (a *authority) issue(holder participant.DID, kind string, m made) string {
	if m.id == "" {
		m.id = "urn:uuid:" + rand.Text()
	}
	if m.issuer == "" {
		m.issuer = a.did
	}
	if m.subject == "" {
		m.subject = holder
	}
	if m.types == nil {
		m.types = []string{"VerifiableCredential", kind}
	}
	if m.life == 0 {
		m.life = 30 * 24 * time.Hour
	}
	from := time.Now().Add(m.from)
	claims := map[string]any{"iss": m.issuer, "sub": m.subject, "jti": m.id, "nbf": from.Unix(), "iat": from.Unix(), "exp": from.Add(m.life).Unix(), "vc": map[string]any{
		"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "id": m.id, "type": m.types, "issuer": m.issuer, "issuanceDate": from.UTC().Format(time.RFC3339),
		"expirationDate": from.Add(m.life).UTC().Format(time.RFC3339), "credentialSubject": map[string]any{"id": m.subject, "memberOf": "Meridian"}}}
	if m.bare {
		claims["sub"] = rand.Text()
		delete(claims["vc"].(map[string]any), "@context")
	}
	return a.sign(m.header, claims)
}

// bench is a connector's wallets with two hosted companies, and issuers whose network the test scripts.
type bench struct {
	*wallet.Service
	t              *testing.T
	store          *sqlstore.Store
	box            *outbox.Outbox
	stop           func()
	local, other   participant.Participant
	authority      *authority
	recorders      map[string]*decisionlog.Recorder
	config         wallet.Config
	trust          map[participant.DID][]string
	standing, seen map[string]wallet.Standing // by credential; "?" cannot be asked
	log            strings.Builder
	mu             sync.Mutex
	documents      map[string][]byte
	issued         map[participant.DID][]wallet.Object
	metadataFails  bool
	sent           []commit.Owed
	send           func(ctx context.Context, o commit.Owed) (outbox.Answer, error)
	status         func(address string) (string, error)
	looks          []time.Time
	asked          []string // addresses of looks, and issuers whose metadata was read
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// story runs a test in a bubble of time, in which what waits waits in no time.
func story(t *testing.T, tell func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { tell(t, setup(t)) })
}

func setup(t *testing.T) *bench {
	b := &bench{t: t, recorders: map[string]*decisionlog.Recorder{}, trust: map[participant.DID][]string{meridian: {"MembershipCredential", "BpnCredential"}},
		documents: map[string][]byte{}, issued: map[participant.DID][]wallet.Object{}, standing: map[string]wallet.Standing{}, seen: map[string]wallet.Standing{}}
	var err error
	b.store, err = embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader})
	check(t, err)
	t.Cleanup(func() { _ = b.store.Close() })
	for slug, p := range map[string]*participant.Participant{"boreal": &b.local, "aurora": &b.other} {
		*p, err = b.store.CreateParticipant(t.Context(), participant.Participant{Slug: slug, DID: participant.DID("did:web:" + slug + ".example:" + slug), Created: time.Now()})
		check(t, err)
		b.recorders[slug], err = decisionlog.NewRecorder(slug, "test", decisionlog.Engine{}, "q", decisionlog.Domain{ID: "d", Key: make([]byte, 32)}, rand.Reader)
		check(t, err)
	}
	b.authority = newAuthority(t, meridian, "1")
	b.publish(meridian, document(meridian, b.authority))
	b.issued[meridian] = []wallet.Object{{ID: "membership", Type: "MembershipCredential", Profile: vc11, Alias: vc11}, {ID: "bpn", Type: "BpnCredential", Profile: vc11, Alias: vc11},
		{ID: "governance", Type: "DataExchangeGovernanceCredential", Profile: vc11, Alias: vc11}, {ID: "linked", Type: "LinkedCredential", Alias: "vc11-sl2021/ldp"}}
	b.issued[dusk] = []wallet.Object{{ID: "membership", Type: "MembershipCredential", Profile: vc11, Alias: vc11}}
	b.send = func(context.Context, commit.Owed) (outbox.Answer, error) {
		return outbox.Answer{Status: 201, Location: base + "/requests/r1"}, nil
	}
	b.status = func(string) (string, error) { return "RECEIVED", nil }
	resolver := identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if doc, ok := b.documents[url]; ok {
			return doc, nil
		}
		return nil, errors.New("nothing there")
	}, time.Now)
	b.config = wallet.Config{Store: b.store, Recorder: b, Issuers: issuers{b}, Signatures: identity.NewVerifier(resolver, nil, time.Now), Documents: resolver, Statuses: statuses{b}, Trust: b, Codec: b,
		Hosted: b, Aliases: func(participant.Participant) credential.Aliases {
			return credential.Aliases{"org.eclipse.tractusx.vc.type"}
		}, Outbox: b, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(b, nil)), Renew: 0.5, Look: 10 * time.Minute, GiveUp: 7 * 24 * time.Hour, Watch: time.Hour}
	b.start()
	return b
}

// start makes the service anew, as a process that begins does.
func (b *bench) start() {
	b.Service = wallet.New(b.config)
	owners := map[commit.ProcessKind]outbox.Owner{}
	for _, kind := range []commit.ProcessKind{commit.WalletRequest, commit.WalletCredential, commit.WalletOffer} {
		owners[kind] = b.Service
	}
	b.box = outbox.New(outbox.Config{Store: b.store, Sender: b.network(), Owners: owners, Now: time.Now, Rand: rand.Reader, Log: b.config.Log, Workers: 4})
	ctx, cancel := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.box.Run(ctx) })
	b.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	b.t.Cleanup(b.stop)
	synctest.Wait()
}

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (b *bench) publish(did participant.DID, doc []byte) {
	_, url, err := identity.ParseDID(string(did))
	check(b.t, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.documents[url] = doc
}

// Write is the operator's log.
func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = b.t.Output().Write(p)
	return b.log.Write(p)
}

func (b *bench) logged(words string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.log.String(), words)
}

// Record is the decision log.
func (b *bench) Record(_ context.Context, a decisionlog.Action) (decisionlog.Entry, error) {
	return b.recorders[a.Log].Action(a)
}

// Send hands over what is owed.
func (b *bench) Send(o commit.Owed) { b.box.Send(o) }

// ByID finds a hosted company.
func (b *bench) ByID(_ context.Context, id participant.ID) (participant.Participant, error) {
	for _, p := range []participant.Participant{b.local, b.other} {
		if p.ID == id {
			return p, nil
		}
	}
	return participant.Participant{}, fault.New("test", fault.NotFound, "nobody")
}

// Types is the trust.
func (b *bench) Types(_ participant.Participant, issuer participant.DID) []string {
	return b.trust[issuer]
}

// EncodeRequest is the codec.
func (b *bench) EncodeRequest(id string, definitions []string) ([]byte, error) {
	return []byte(id + " " + strings.Join(definitions, " ")), nil
}

// Metadata and Status are issuers that are asked.
func (b *bench) Metadata(_ context.Context, _ participant.Participant, issuer participant.DID) (string, []wallet.Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, string(issuer))
	if b.metadataFails {
		return "", nil, fault.New("test", fault.Unavailable, "nothing there")
	}
	return base, slices.Clone(b.issued[issuer]), nil
}

type network struct{ b *bench }

func (b *bench) network() network { return network{b} }

// Send is the way to the issuer.
func (n network) Send(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	n.b.mu.Lock()
	n.b.sent = append(n.b.sent, o)
	n.b.mu.Unlock()
	return n.b.send(ctx, o)
}

// Look finds nothing: a request has no address before it is answered.
func (network) Look(context.Context, commit.Owed) (outbox.Answer, error) {
	return outbox.Answer{}, outbox.ErrNowhere
}

// peer is an issuer that proved who it is.
func peer(did participant.DID) participant.Peer { return participant.Peer{DID: did} }

// ask asks the authority for memberships, and whatever else.
func (b *bench) ask(types ...string) wallet.Request {
	b.t.Helper()
	r, err := b.Ask(b.t.Context(), b.local, wallet.Ask{Issuer: meridian, Types: types, Actor: "operator"})
	check(b.t, err)
	synctest.Wait()
	return b.request(r.ID)
}

func (b *bench) request(id string) wallet.Request {
	b.t.Helper()
	r, err := b.Request(b.t.Context(), b.local, id)
	check(b.t, err)
	return r
}

func (b *bench) wantState(id string, want wallet.State) wallet.Request {
	b.t.Helper()
	r := b.request(id)
	if r.State != want {
		b.t.Fatalf("the request is %s (%s), want %s", r.State, r.Reason, want)
	}
	return r
}

// bring delivers credentials for a request.
func (b *bench) bring(r wallet.Request, all ...wallet.Delivered) error {
	b.t.Helper()
	err := b.Deliver(b.t.Context(), b.local, peer(meridian), wallet.Delivery{IssuerPID: "r1", HolderPID: r.ID, Credentials: all})
	synctest.Wait()
	return err
}

func (b *bench) membership(m made) wallet.Delivered {
	return wallet.Delivered{Type: "MembershipCredential", Profile: vc11, Token: b.authority.issue(b.local.DID, "MembershipCredential", m)}
}

// held are the ids of what may be shown.
func (b *bench) held() []string {
	b.t.Helper()
	all, err := b.Held(b.t.Context(), b.local)
	check(b.t, err)
	var ids []string
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	return ids
}

// kept are all ids of the wallet.
func (b *bench) kept() []string {
	b.t.Helper()
	all, err := b.Credentials(b.t.Context(), b.local)
	check(b.t, err)
	var ids []string
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	return ids
}

// events are the types of what happened, in order.
func (b *bench) events() []string {
	b.t.Helper()
	all, err := b.store.EventsSince(b.t.Context(), b.local.ID, 0, 1000)
	check(b.t, err)
	var types []string
	for _, e := range all {
		types = append(types, e.Type)
	}
	return types
}

func (b *bench) count(event string) int {
	n := 0
	for _, e := range b.events() {
		if e == event {
			n++
		}
	}
	return n
}

func (b *bench) requests() []wallet.Request {
	b.t.Helper()
	list, err := b.Requests(b.t.Context(), b.local, wallet.Filter{}, page.Request{})
	check(b.t, err)
	return list.Items
}

// records counts the entries of the decision log about a request.
func (b *bench) records(request string) int {
	b.t.Helper()
	all, err := b.store.LogByProcess(b.t.Context(), b.local.Slug, request, 100)
	check(b.t, err)
	return len(all)
}

func (b *bench) looked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.looks)
}

var _ credential.Wallet = (*wallet.Service)(nil)

// issuers and statuses give the two ports that are called Status their own.
type issuers struct{ *bench }

func (i issuers) Status(_ context.Context, _ participant.Participant, _ participant.DID, address string) (string, error) {
	i.mu.Lock()
	i.looks, i.asked = append(i.looks, time.Now()), append(i.asked, address)
	i.mu.Unlock()
	return i.status(address)
}

type statuses struct{ *bench }

// Revocable: what the test gives a standing.
func (s statuses) Revocable(c credential.Stored) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.standing[c.ID]
	return ok
}

// AtHand is what was seen last.
func (s statuses) AtHand(_ participant.Participant, c credential.Stored) (wallet.Standing, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	standing, ok := s.seen[c.ID]
	return standing, ok
}

func (s statuses) Status(_ context.Context, _ participant.Participant, c credential.Stored) (wallet.Standing, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.standing[c.ID] == "?" {
		return "", time.Time{}, errors.New("nothing there")
	}
	s.seen[c.ID] = s.standing[c.ID]
	return s.standing[c.ID], time.Now().Add(time.Minute), nil
}
