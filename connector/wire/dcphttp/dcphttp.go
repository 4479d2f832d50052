// Package dcphttp is identity over HTTPS: DID documents and presentation queries served and asked (DCP 1.0), and the two ends of
// proving who calls: a fresh token on what we send, a verified one on what we receive.
package dcphttp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
)

// Participants finds a hosted participant by slug.
type Participants interface {
	Participant(ctx context.Context, slug string) (participant.Participant, error)
}

// Doer makes one request through the guarded dialer and reads a bounded answer.
type Doer interface {
	Do(r *http.Request, limit int64) (status int, header http.Header, body []byte, err error)
}

// Services reads the service entries of a peer's DID document.
type Services interface {
	Services(ctx context.Context, did participant.DID, kind string) ([]string, error)
}

// Config carries what an Agent is made of. All fields are required.
type Config struct {
	Participants Participants
	Keys         func(participant.Participant) (identity.Keys, error)
	Tokens       *identity.Verifier
	Holder       *credential.Holder
	Services     Services
	HTTP         Doer
	Scopes       func(participant.Participant) []string // granted with every message we send
	Endpoints    func(participant.Participant) []identity.Service
	Now          func() time.Time
	Rand         io.Reader
	Log          *slog.Logger
}

// Agent proves and verifies identity over HTTP. It is safe for concurrent use.
type Agent struct {
	cfg Config

	mu        sync.Mutex
	documents map[participant.ID]document
}

// New returns an Agent.
func New(cfg Config) *Agent { return &Agent{cfg: cfg, documents: map[participant.ID]document{}} }

// Mux is what routes are mounted on.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// Mount registers DID documents and the credential service.
func (a *Agent) Mount(mux Mux) {
	mux.Handle("GET /{slug}/did.json", http.HandlerFunc(a.document))
	mux.Handle("POST /{slug}/dcp/presentations/query", a.door(dcp.MaxQuery, a.query))
}

// Authenticate verifies the self-issued token of a request to the hosted participant. Whatever is wrong, the caller is told one thing. The
// token counts as used once something was committed for it, or Settle was called; nothing may be answered before.
func (a *Agent) Authenticate(r *http.Request, local participant.Participant) (participant.Peer, *commit.Used, error) {
	token, err := identity.Bearer(r.Header.Values("Authorization"))
	if err == nil {
		var peer participant.Peer
		var used *commit.Used
		if peer, used, err = a.cfg.Tokens.Verify(r.Context(), token, local.DID); err == nil {
			return peer, used, nil
		}
	}
	return participant.Peer{}, nil, a.stranger(r.Context(), err)
}

// Settle uses a token up that nothing was committed for.
func (a *Agent) Settle(ctx context.Context, used *commit.Used) error {
	if err := a.cfg.Tokens.Settle(ctx, used); err != nil {
		return a.stranger(ctx, err)
	}
	return nil
}

func (a *Agent) stranger(ctx context.Context, why error) error {
	a.cfg.Log.InfoContext(ctx, "caller not authenticated", slog.Any("error", why))
	return fault.New("dcphttp.Authenticate", fault.Unauthenticated, "the caller is not known")
}

// Authorize makes the Authorization header of one request to a peer: a self-issued token with leave to ask for our credentials.
func (a *Agent) Authorize(ctx context.Context, local participant.Participant, peer participant.DID) (string, error) {
	access, err := a.cfg.Holder.Grant(local, peer, a.cfg.Scopes(local))
	if err != nil {
		return "", err
	}
	return a.bearer(ctx, local, peer, access)
}

func (a *Agent) bearer(ctx context.Context, local participant.Participant, peer participant.DID, access string) (string, error) {
	keys, err := a.cfg.Keys(local)
	if err != nil {
		return "", err
	}
	token, err := identity.IssueToken(ctx, local.DID, peer, keys, access, a.cfg.Now(), a.cfg.Rand)
	return "Bearer " + token, err
}

// query answers a verifier that holds an access token of ours.
func (a *Agent) query(ctx context.Context, c call) (reply, error) {
	scopes, served, err := dcp.ParseQuery(c.body)
	switch {
	case err != nil:
		return reply{}, err
	case !served:
		return reply{}, errUnserved
	}
	presentations, err := a.cfg.Holder.Present(ctx, c.local, c.peer, scopes)
	if err != nil {
		return reply{}, err
	}
	answer, err := dcp.EncodeResponse(presentations)
	return reply{status: http.StatusOK, body: answer}, err
}

// service is the address of the peer's service of the kind, as its DID document has it now; NotFound when it has none.
func (a *Agent) service(ctx context.Context, peer participant.DID, kind string) (string, error) {
	services, err := a.cfg.Services.Services(ctx, peer, kind)
	if err != nil {
		return "", err
	}
	if len(services) == 0 {
		return "", &fault.Error{Op: "dcphttp.service", Kind: fault.NotFound, Subject: string(peer), Reason: "the DID document names no " + kind}
	}
	return strings.TrimSuffix(services[0], "/"), nil
}

// ask makes one request of a peer, with a fresh token that carries the access token, if there is one.
func (a *Agent) ask(ctx context.Context, local participant.Participant, peer participant.DID, method, url string, body []byte, access string, limit int64) (int, http.Header, []byte, error) {
	header, err := a.bearer(ctx, local, peer, access)
	if err != nil {
		return 0, nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Authorization", header)
	r.Header.Set("Accept", "application/json")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	return a.cfg.HTTP.Do(r, limit)
}

// maxAnswer bounds what a peer answers to a message.
const maxAnswer = 64 << 10

// doubts is how often a peer may say that it does not know us before that is believed: its copy of our keys may be old, or its clock off. Issuers and
// holders must have heard of each other before.
const doubts = 5

// deliver makes one attempt at a message that is owed to a peer. The body is what it answers.
func (a *Agent) deliver(ctx context.Context, local participant.Participant, o commit.Owed, url, access string) (outbox.Answer, []byte, error) {
	status, header, body, err := a.ask(ctx, local, o.Peer, http.MethodPost, url, o.Body, access, maxAnswer)
	if err == nil {
		err = outbox.Unheard(outbox.Response{Status: status, RetryAfter: header.Get("Retry-After"), Body: body, Stranger: o.Attempt >= doubts}, a.cfg.Now())
	}
	if err != nil {
		return outbox.Answer{}, nil, err
	}
	return outbox.Answer{Status: status, Location: header.Get("Location")}, body, nil
}

// Query implements credential.Querier: one query of the peer's credential service with its access token.
func (a *Agent) Query(ctx context.Context, local participant.Participant, peer participant.Peer, scopes []string) ([]string, error) {
	base, err := a.service(ctx, peer.DID, "CredentialService")
	if err != nil {
		return nil, err
	}
	body, err := dcp.EncodeQuery(scopes)
	if err != nil {
		return nil, err
	}
	status, _, answer, err := a.ask(ctx, local, peer.DID, http.MethodPost, base+"/presentations/query", body, peer.AccessToken, dcp.MaxResponse)
	if err != nil {
		return nil, err
	}
	if status < 200 || status > 299 {
		return nil, fmt.Errorf("the peer's credential service answered %d", status)
	}
	return dcp.ParseResponse(answer)
}
