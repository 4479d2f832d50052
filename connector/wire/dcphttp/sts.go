package dcphttp

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// Delegates judges who may have tokens made in a participant's name.
type Delegates interface {
	Delegate(ctx context.Context, local participant.Participant, d wallet.Demand) (audience participant.DID, err error)
}

// TokenService makes self-issued tokens for clients of a hosted participant: OAuth 2.0 client credentials, as the base protocol has it (section 1.2
// of our reference). A participant without clients has none.
type TokenService struct {
	agent *Agent
	who   Delegates
}

// NewTokenService returns one whose tokens the agent makes.
func NewTokenService(a *Agent, d Delegates) *TokenService { return &TokenService{a, d} }

// Mount registers it.
func (s *TokenService) Mount(mux Mux) {
	mux.Handle("POST /{slug}/sts/token", http.HandlerFunc(s.token))
}

// maxForm bounds the form; it may hold a token.
const maxForm = 32 << 10

// formFields are those that count, each at most once; others are ignored.
var formFields = []string{"grant_type", "client_id", "client_secret", "audience", "bearer_access_scope", "token"}

// The errors of RFC 6749, section 5.2.
const (
	invalidRequest = "invalid_request"
	invalidClient  = "invalid_client"
	invalidScope   = "invalid_scope"
	unsupported    = "unsupported_grant_type"
)

func (s *TokenService) token(w http.ResponseWriter, r *http.Request) {
	form, reason := readForm(w, r)
	if reason != "" {
		s.refuse(w, http.StatusBadRequest, invalidRequest, reason)
		return
	}
	if form["grant_type"] != "client_credentials" {
		s.refuse(w, http.StatusBadRequest, unsupported, "want client_credentials")
		return
	}
	local, err := s.agent.cfg.Participants.Participant(r.Context(), r.PathValue("slug"))
	if err != nil {
		s.absent(w, r)
		return
	}
	d := wallet.Demand{Client: form["client_id"], Secret: form["client_secret"], Audience: form["audience"], Scopes: strings.Fields(form["bearer_access_scope"]), Token: form["token"]}
	audience, err := s.who.Delegate(r.Context(), local, d)
	if err != nil {
		s.agent.cfg.Log.InfoContext(r.Context(), "no token was made", slog.String("participant", local.Slug), slog.Any("error", err))
		switch _, reason, _ := problem.Public(err); fault.KindOf(err) {
		case fault.NotFound:
			s.absent(w, r)
		case fault.Unauthenticated:
			s.refuse(w, http.StatusUnauthorized, invalidClient, reason)
		case fault.Malformed:
			s.refuse(w, http.StatusBadRequest, invalidRequest, reason)
		case fault.Refused:
			s.refuse(w, http.StatusBadRequest, invalidScope, reason)
		default:
			problem.Write(w, r, err)
		}
		return
	}
	access := d.Token
	if len(d.Scopes) > 0 {
		if access, err = s.agent.cfg.Holder.Grant(local, audience, d.Scopes); err != nil {
			problem.Write(w, r, err)
			return
		}
	}
	bearer, err := s.agent.bearer(r.Context(), local, audience, access)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	s.answer(w, http.StatusOK, map[string]any{"access_token": strings.TrimPrefix(bearer, "Bearer "), "token_type": "Bearer", "expires_in": int(identity.TokenLife / time.Second)})
}

// readForm reads the form from the body alone; reason is "" when it is right.
func readForm(w http.ResponseWriter, r *http.Request) (fields map[string]string, reason string) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" || r.Header.Get("Content-Encoding") != "" {
		return nil, "send application/x-www-form-urlencoded without content encoding"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return nil, "want a form of at most 32 KiB"
	}
	if strings.Count(string(body), "&") > 64 {
		return nil, "want at most 64 fields"
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, "want a form"
	}
	fields = map[string]string{}
	for _, name := range formFields {
		switch all := values[name]; len(all) {
		case 0:
		case 1:
			fields[name] = all[0]
		default:
			return nil, name + ": want it once"
		}
	}
	for _, name := range []string{"client_id", "client_secret", "audience"} {
		if fields[name] == "" {
			return nil, name + ": it is required"
		}
	}
	if len(fields["token"]) > identity.MaxToken/2 {
		return nil, "token: it is too long"
	}
	return fields, ""
}

func (s *TokenService) absent(w http.ResponseWriter, r *http.Request) {
	problem.Write(w, r, fault.New("dcphttp.token", fault.NotFound, "there is no such thing here"))
}

func (s *TokenService) refuse(w http.ResponseWriter, status int, code, description string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	s.answer(w, status, map[string]any{"error": code, "error_description": description})
}

func (s *TokenService) answer(w http.ResponseWriter, status int, members map[string]any) {
	body, err := json.Marshal(members)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
