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
	body  []byte
}

// door lets authenticated messages in, cheap checks first: media type, who is addressed, who sends, size. An unknown participant is answered like an
// unknown caller, and no byte of a body is read on account of either. The token counts as used with the first thing that h commits, and in any case
// before anything is answered. h returns the status and body of its answer.
func (a *Agent) door(limit int64, h func(ctx context.Context, c call) (int, []byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != "application/json" || r.Header.Get("Content-Encoding") != "" {
			problem.Status(w, r, http.StatusUnsupportedMediaType, "send application/json without content encoding")
			return
		}
		c := call{}
		if c.local, err = a.cfg.Participants.Participant(r.Context(), r.PathValue("slug")); err != nil {
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
		var status int
		var answer []byte
		if c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit)); err != nil {
			err = errBody(err, limit)
		} else {
			status, answer, err = h(commit.WithUsed(r.Context(), used), c)
		}
		// Who left meanwhile has used its token all the same; whoever repeats a token learns nothing else.
		if unused := a.Settle(context.WithoutCancel(r.Context()), used); unused != nil {
			err = unused
		}
		if fault.Is(err, fault.Malformed) || fault.Is(err, fault.TooLarge) {
			gate.Faulty(r.Context())
		}
		if err != nil {
			a.cfg.Log.InfoContext(r.Context(), "message refused", slog.String("path", r.URL.Path), slog.String("peer", string(c.peer.DID)), slog.Any("error", err))
			if errors.Is(err, errUnserved) {
				problem.Status(w, r, http.StatusNotImplemented, errUnserved.Reason)
				return
			}
			problem.Write(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		if len(answer) > 0 {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	})
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
