// Package problem is the one place where a fault becomes a response: HTTP status, gRPC code, problem type, and the body of RFC 9457.
// The peer sees code and reason, never a cause. A fault of ours is told as an incident id, under which the log has the cause: in the answers of
// handlers that WithIncidents wraps, whether Write or the protocol's own form of an error carries them.
package problem

import (
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/sluice-connector/sluice/connector/fault"
)

// Row is what a kind of fault looks like from outside.
type Row struct {
	Status int
	Code   codes.Code
	Type   string // last path element of the problem type
	Title  string
}

var rows = map[fault.Kind]Row{
	fault.Internal:        {http.StatusInternalServerError, codes.Internal, "internal", "Something went wrong here"},
	fault.NotFound:        {http.StatusNotFound, codes.NotFound, "not-found", "There is no such thing here"},
	fault.Conflict:        {http.StatusConflict, codes.Aborted, "conflict", "This does not fit the present state"},
	fault.Refused:         {http.StatusForbidden, codes.PermissionDenied, "refused", "A policy does not allow this"},
	fault.Malformed:       {http.StatusBadRequest, codes.InvalidArgument, "malformed", "The request must be changed"},
	fault.Unauthenticated: {http.StatusUnauthorized, codes.Unauthenticated, "unauthenticated", "The caller is not known"},
	fault.Forbidden:       {http.StatusForbidden, codes.PermissionDenied, "forbidden", "The caller may not do this"},
	fault.Unavailable:     {http.StatusServiceUnavailable, codes.Unavailable, "unavailable", "Not possible at the moment"},
	fault.TooLarge:        {http.StatusRequestEntityTooLarge, codes.ResourceExhausted, "too-large", "The request is too large"},
	fault.Exhausted:       {http.StatusTooManyRequests, codes.ResourceExhausted, "exhausted", "Too many requests"},
}

// Of returns the row of a kind.
func Of(k fault.Kind) Row {
	if row, ok := rows[k]; ok {
		return row
	}
	return rows[fault.Internal]
}

// Known reports whether the kind has a row of its own.
func Known(k fault.Kind) bool { _, ok := rows[k]; return ok }

// body is a problem detail (RFC 9457).
type body struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Code     string   `json:"code,omitempty"`
	Reasons  []string `json:"reasons,omitempty"`
	Incident string   `json:"incident,omitempty"`
}

// Public returns what of an error may be told: code, one sentence, reasons.
func Public(err error) (code, reason string, reasons []string) {
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind == fault.Internal {
		return "internal", "something went wrong here", nil
	}
	return e.Code, e.Reason, e.Reasons
}

// Write answers with the problem that err is. r may be nil: then nothing is logged, and no incident told.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	row := Of(fault.KindOf(err))
	code, reason, reasons := Public(err)
	if row.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if (row.Status == http.StatusTooManyRequests || row.Status == http.StatusServiceUnavailable) && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
	incident := ""
	if r != nil {
		incident = Incident(r.Context(), r.Method+" "+r.URL.Path, err)
	}
	write(w, body{Type: "urn:sluice:problem:" + row.Type, Title: row.Title, Status: row.Status, Detail: reason, Code: code, Reasons: reasons, Incident: incident})
}

// Status answers with a status that no kind of fault has.
func Status(w http.ResponseWriter, _ *http.Request, status int, detail string) {
	write(w, body{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail})
}

func write(w http.ResponseWriter, b body) {
	text, err := json.Marshal(b)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(b.Status)
	_, _ = w.Write(text)
}
