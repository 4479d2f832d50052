package dcphttp

import (
	"context"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// Authority is what the service asks of issuer.Service.
type Authority interface {
	Enabled(p participant.ID) bool
	Metadata(ctx context.Context, local participant.Participant) (issuer.Metadata, error)
	Receive(ctx context.Context, local participant.Participant, peer participant.Peer, w issuer.Wanted) (issuer.Received, error)
	Status(ctx context.Context, local participant.Participant, peer participant.Peer, id string) (issuer.Shown, error)
	StatusList(ctx context.Context, local participant.Participant, id string) (issuer.Published, error)
	Changed(local participant.Participant, id string) <-chan struct{}
	Grant(ctx context.Context, local participant.Participant, o commit.Owed) (string, error)
}

// IssuerConfig carries what an IssuerService is made of. All fields are required unless said otherwise.
type IssuerConfig struct {
	Agent   *Agent
	Issuer  Authority
	Hosted  Hosted
	Base    func(participant.Participant) string // of the issuer service of a hosted participant
	Log     *slog.Logger
	Waiters int // requests that may wait for a status list to change; 0: 4096
	PerHost int // of one address; 0: 64
}

// IssuerService is the issuer service of DCP 1.0 (section 4 of our reference) and its status lists (section 5), and carries what an issuer sends to
// holders. It is safe for concurrent use.
type IssuerService struct {
	cfg      IssuerConfig
	released chan struct{} // closed when nobody is to wait any more
	once     sync.Once

	mu      sync.Mutex
	waiting map[netip.Addr]int
	total   int
}

var _ outbox.Sender = (*IssuerService)(nil)

const (
	// maxWait is how long a request may wait for a status list to change.
	maxWait = 60 * time.Second
	// listFresh is how long a cache may answer for a status list.
	listFresh = 5 * time.Minute
)

// NewIssuerService returns an IssuerService.
func NewIssuerService(cfg IssuerConfig) *IssuerService {
	if cfg.Waiters == 0 {
		cfg.Waiters = 4096
	}
	if cfg.PerHost == 0 {
		cfg.PerHost = 64
	}
	return &IssuerService{cfg: cfg, released: make(chan struct{}), waiting: map[netip.Addr]int{}}
}

// Mount registers metadata, requests and status lists.
func (s *IssuerService) Mount(mux Mux) {
	mux.Handle("GET /{slug}/issuer/metadata", http.HandlerFunc(s.metadata))
	mux.Handle("POST /{slug}/issuer/credentials", s.cfg.Agent.enter(entrance{dcp.MaxCredentialRequest, s.open, s.request}))
	mux.Handle("GET /{slug}/issuer/requests/{id}", s.cfg.Agent.enter(entrance{0, s.open, s.status}))
	mux.Handle("GET /{slug}/issuer/status/{list}", http.HandlerFunc(s.list))
}

// Release answers everybody who waits for a status list to change, and lets nobody wait from then on: a server that stops need not wait for them.
func (s *IssuerService) Release() { s.once.Do(func() { close(s.released) }) }

// open finds a hosted participant that is an issuer; every other is as absent as one that does not exist.
func (s *IssuerService) open(r *http.Request) (participant.Participant, error) {
	local, err := s.cfg.Agent.addressed(r)
	if err != nil || !s.cfg.Issuer.Enabled(local.ID) {
		return local, errAbsent
	}
	return local, nil
}

// errAbsent is all that anybody is told of what is not there, or not for it.
var errAbsent = fault.New("dcphttp.issuer", fault.NotFound, "there is no such thing here")

// refusal is what a caller may know of a fault, and when it may come again; the log has the rest.
func refusal(err error) (reply, error) {
	switch {
	case fault.Is(err, fault.NotFound):
		return reply{}, &fault.Error{Op: errAbsent.Op, Kind: errAbsent.Kind, Reason: errAbsent.Reason, Err: err}
	case fault.Is(err, fault.Exhausted):
		return reply{header: map[string]string{"Retry-After": "60"}}, err
	}
	return reply{}, err
}

func (s *IssuerService) metadata(w http.ResponseWriter, r *http.Request) {
	gate.Anyone(r.Context())
	local, err := s.open(r)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	m, err := s.cfg.Issuer.Metadata(r.Context(), local)
	var body []byte
	if err == nil {
		body, err = dcp.EncodeMetadataOf(m)
	}
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = w.Write(body)
}

func (s *IssuerService) request(ctx context.Context, c call) (reply, error) {
	m, err := dcp.ParseCredentialRequest(c.body)
	if err != nil {
		return reply{}, err
	}
	got, err := s.cfg.Issuer.Receive(ctx, c.local, c.peer, issuer.Wanted{HolderPID: m.HolderPID, Credentials: m.Credentials, Digest: process.Digest(c.body)})
	if err != nil {
		return refusal(err)
	}
	return reply{status: http.StatusCreated, header: map[string]string{"Location": s.cfg.Base(c.local) + "/requests/" + got.ID}, flushed: got.Flushed}, nil
}

func (s *IssuerService) status(ctx context.Context, c call) (reply, error) {
	got, err := s.cfg.Issuer.Status(ctx, c.local, c.peer, c.id)
	if err != nil {
		return refusal(err)
	}
	body, err := dcp.EncodeCredentialStatus(dcp.CredentialStatus{IssuerPID: got.IssuerPID, HolderPID: got.HolderPID, Status: got.Status})
	return reply{status: http.StatusOK, body: body}, err
}

// list serves a status list to anyone. Who has the version that is served and prefers to wait (RFC 7240) is answered when there is another, or
// when the wait is over; the preference is ignored while too many wait.
func (s *IssuerService) list(w http.ResponseWriter, r *http.Request) {
	gate.Anyone(r.Context())
	local, err := s.open(r)
	var got issuer.Published
	if err == nil {
		got, err = s.cfg.Issuer.StatusList(r.Context(), local, r.PathValue("list"))
	}
	plain := unsigned(r.Header.Values("Accept"))
	if err == nil && !plain {
		if wait := waitOf(r.Header.Values("Prefer")); wait > 0 && matches(r.Header.Values("If-None-Match"), got.Tag) {
			got, err = s.await(w, r, local, got, wait)
		}
	}
	body := []byte(got.Token)
	if err == nil && plain {
		got.Tag += "-plain"
		body, err = got.Plain()
	}
	if err != nil {
		s.cfg.Log.InfoContext(r.Context(), "status list not served", slog.String("path", r.URL.Path), slog.Any("error", err))
		out, err := refusal(err)
		out.write(w, r, err)
		return
	}
	h := w.Header()
	h.Set("ETag", `W/"`+got.Tag+`"`)
	h.Set("Cache-Control", fmt.Sprintf("max-age=%d", int(listFresh/time.Second)))
	h.Set("Vary", "Accept, Prefer")
	if matches(r.Header.Values("If-None-Match"), got.Tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	switch {
	case plain:
		h.Set("Content-Type", "application/json")
	case got.Profile == credential.Profile20:
		h.Set("Content-Type", "application/vc+jwt")
	default:
		h.Set("Content-Type", "application/jwt")
	}
	_, _ = w.Write(body)
}

// unsigned reports whether the caller takes a status list as JSON alone, as EDC up to 0.15 has to: it cannot read a signed one, and would take no
// credential of ours at all. Whoever takes a signed list gets one.
func unsigned(accept []string) bool {
	plain := false
	for one := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, _, err := mime.ParseMediaType(one)
		switch {
		case err != nil:
		case media == "application/json", media == "application/ld+json", media == "application/vc+ld+json", media == "application/vc":
			plain = true
		default:
			return false
		}
	}
	return plain
}

// await holds the answer on the goroutine of the request alone.
func (s *IssuerService) await(w http.ResponseWriter, r *http.Request, local participant.Participant, have issuer.Published, wait time.Duration) (issuer.Published, error) {
	leave, ok := s.enter(r.RemoteAddr)
	if !ok {
		return have, nil
	}
	defer leave()
	w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		changed := s.cfg.Issuer.Changed(local, r.PathValue("list"))
		got, err := s.cfg.Issuer.StatusList(r.Context(), local, r.PathValue("list")) // what changed before we waited
		if err != nil || got.Version != have.Version {
			return got, err
		}
		select {
		case <-changed:
		case <-timer.C:
			return got, nil
		case <-s.released:
			return got, nil
		case <-r.Context().Done():
			return got, nil
		}
	}
}

// enter gives a place among those who wait.
func (s *IssuerService) enter(remote string) (leave func(), ok bool) {
	select {
	case <-s.released:
		return nil, false
	default:
	}
	port, _ := netip.ParseAddrPort(remote) // none: all such are one address
	from := port.Addr().Unmap()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.cfg.Waiters || s.waiting[from] >= s.cfg.PerHost {
		return nil, false
	}
	s.total++
	s.waiting[from]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.waiting[from]--; s.waiting[from] == 0 {
			delete(s.waiting, from)
		}
	}, true
}

// Waiting counts those who wait for a status list to change.
func (s *IssuerService) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// waitOf reads the preference "wait" (RFC 7240, section 4.3), bounded; 0: none that can be read. The first one counts.
func waitOf(values []string) time.Duration {
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		preference, _, _ := strings.Cut(part, ";")
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		if err != nil {
			return 0
		}
		return min(time.Duration(n)*time.Second, maxWait)
	}
	return 0
}

// matches compares weakly, as If-None-Match wants (RFC 9110, section 13.1.2).
func matches(values []string, tag string) bool {
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == `"`+tag+`"` {
			return true
		}
	}
	return false
}

// endpoints are where a holder takes messages, below the base of its credential service.
var endpoints = map[string]string{"CredentialMessage": "/credentials", "CredentialOfferMessage": "/offers"}

// early is how many attempts may come too early for a holder: three seconds of backoff.
const early = 5

// Send implements outbox.Sender: one attempt at the credential service that the holder's DID document names now, with a fresh token. 400 and 409 to a
// delivery are not believed at first: EDC's wallet refuses what answers a request until it has noted our acknowledgement of it.
func (s *IssuerService) Send(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	endpoint, ok := endpoints[o.Message]
	if !ok {
		return outbox.Answer{}, fmt.Errorf("a %s has no address at a holder", o.Message)
	}
	local, err := s.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return outbox.Answer{}, err
	}
	base, err := s.cfg.Agent.service(ctx, o.Peer, "CredentialService")
	if err != nil {
		return outbox.Answer{}, err
	}
	access, err := s.cfg.Issuer.Grant(ctx, local, o)
	if err != nil {
		return outbox.Answer{}, err
	}
	a, _, err := s.cfg.Agent.deliver(ctx, local, o, base+endpoint, access)
	if err == nil && o.Message == "CredentialMessage" && o.Attempt < early && (a.Status == http.StatusBadRequest || a.Status == http.StatusConflict) {
		return outbox.Answer{}, fmt.Errorf("the holder's credential service answered %d, and may not have noted yet that its request was taken", a.Status)
	}
	return a, err
}

// Look implements outbox.Sender: a holder has no address at which to ask for what it took.
func (s *IssuerService) Look(context.Context, commit.Owed) (outbox.Answer, error) {
	return outbox.Answer{}, outbox.ErrNowhere
}
