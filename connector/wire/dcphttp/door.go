package dcphttp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// call is one authenticated message to a hosted participant.
type call struct {
	local participant.Participant
	peer  participant.Peer
	id    string // of what the path names; "" when it names nothing
	body  []byte
}

// reply is what is answered to a call.
type reply struct {
	status  int
	header  map[string]string // besides what every answer has; also of a refusal
	body    []byte            // JSON; may be empty
	flushed func()            // called when the answer has left; may be nil
}

// entrance is where authenticated messages come in.
type entrance struct {
	limit int64                                                  // of a body; 0: none is read
	local func(r *http.Request) (participant.Participant, error) // who is addressed
	serve func(ctx context.Context, c call) (reply, error)
}

// door lets authenticated messages to any hosted participant in.
func (a *Agent) door(limit int64, serve func(ctx context.Context, c call) (reply, error)) http.Handler {
	return a.enter(entrance{limit, a.addressed, serve})
}

// addressed is the hosted participant that the path names.
func (a *Agent) addressed(r *http.Request) (participant.Participant, error) {
	return a.cfg.Participants.Participant(r.Context(), r.PathValue("slug"))
}

// enter lets authenticated messages in, cheap checks first: media type, who is addressed, who sends, size. An unknown participant is answered like an
// unknown caller, and no byte of a body is read on account of either. The token counts as used with the first thing that is committed for it, and in any
// case before anything is answered.
func (a *Agent) enter(e entrance) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.limit > 0 {
			media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if err != nil || media != "application/json" || r.Header.Get("Content-Encoding") != "" {
				problem.Status(w, r, http.StatusUnsupportedMediaType, "send application/json without content encoding")
				return
			}
		}
		c := call{id: r.PathValue("id")}
		var err error
		if c.local, err = e.local(r); err != nil {
			problem.Write(w, r, fault.New("dcphttp.door", fault.Unauthenticated, "the caller is not known"))
			return
		}
		var used *commit.Used
		if c.peer, used, err = a.Authenticate(r, c.local); err == nil {
			err = gate.Known(r.Context(), string(c.peer.DID))
		}
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		out, err := e.answer(w, r, c, used)
		// Who left meanwhile has used its token all the same; whoever repeats a token learns nothing else.
		if unused := a.Settle(context.WithoutCancel(r.Context()), used); unused != nil {
			out, err = reply{}, unused
		}
		if fault.Is(err, fault.Malformed) || fault.Is(err, fault.TooLarge) {
			gate.Faulty(r.Context())
		}
		if err != nil {
			a.cfg.Log.InfoContext(r.Context(), "message refused", slog.String("path", r.URL.Path), slog.String("peer", string(c.peer.DID)), slog.Any("error", err))
		}
		out.write(w, r, err)
	})
}

// answer reads the body and serves the call.
func (e entrance) answer(w http.ResponseWriter, r *http.Request, c call, used *commit.Used) (reply, error) {
	if e.limit > 0 {
		var err error
		if c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, e.limit)); err != nil {
			return reply{}, errBody(err, e.limit)
		}
	}
	return e.serve(commit.WithUsed(r.Context(), used), c)
}

func (out reply) write(w http.ResponseWriter, r *http.Request, err error) {
	for name, value := range out.header {
		w.Header().Set(name, value)
	}
	switch {
	case errors.Is(err, errUnserved):
		problem.Status(w, r, http.StatusNotImplemented, errUnserved.Reason)
		return
	case err != nil:
		problem.Write(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if len(out.body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(out.body)
	if out.flushed != nil {
		_ = http.NewResponseController(w).Flush()
		out.flushed()
	}
}

// errUnserved is well-formed and not served.
var errUnserved = fault.New("dcphttp.query", fault.Refused, "presentation definitions are not served; ask by scope")

// errBody says why a body could not be read.
func errBody(err error, limit int64) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fault.New("dcphttp.door", fault.TooLarge, "a message has at most %d bytes here", limit)
	}
	return fault.New("dcphttp.door", fault.Malformed, "the body ended early")
}
