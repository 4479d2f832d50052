package problem

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"

	"github.com/sluice-connector/sluice/connector/fault"
)

// desk takes incidents.
type desk struct {
	log  *slog.Logger
	rand io.Reader
}

type deskKey struct{}

// WithIncidents makes the faults of ours that happen under next's requests incidents.
func WithIncidents(next http.Handler, log *slog.Logger, rand io.Reader) http.Handler {
	d := &desk{log, rand}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), deskKey{}, d)))
	})
}

// Incident logs a fault of ours and returns the random id to tell. The id is "" when the error is
// the caller's, when the caller has gone, and outside of WithIncidents. call names what was called. Call it once for each error.
func Incident(ctx context.Context, call string, err error) string {
	d, _ := ctx.Value(deskKey{}).(*desk)
	kind := fault.KindOf(err)
	if d == nil || err == nil || kind != fault.Internal && kind != fault.Unavailable || ctx.Err() != nil {
		return ""
	}
	b := make([]byte, 8)
	if _, err := io.ReadFull(d.rand, b); err != nil {
		return ""
	}
	id := hex.EncodeToString(b)
	level := slog.LevelError
	if kind == fault.Unavailable { // a peer that is away needs nobody here to act
		level = slog.LevelWarn
	}
	d.log.LogAttrs(ctx, level, "call failed", slog.String("call", call), slog.String("incident", id), slog.Any("error", err))
	return id
}
