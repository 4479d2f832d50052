package problem_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

func TestEveryKindOfFaultHasARow(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		if !problem.Known(k) {
			t.Errorf("%q has no row", k)
		}
	}
}

func TestAFaultOfOursIsAnIncidentThatTheLogHasToo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		ours bool
	}{
		{"nobody's", errors.New("secret"), true},
		{"internal", fault.Wrap("op", fault.Internal, errors.New("secret")), true},
		{"unavailable", fault.Wrap("op", fault.Unavailable, errors.New("secret")), true},
		{"the caller's", fault.New("op", fault.Malformed, "wrong"), false},
		{"a refusal", fault.New("op", fault.Refused, "no"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			h := problem.WithIncidents(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { problem.Write(w, r, tt.err) }),
				slog.New(slog.NewTextHandler(&log, nil)), rand.Reader)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/x", nil))
			var told struct{ Incident string }
			if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil {
				t.Fatal(err)
			}
			switch {
			case !tt.ours && (told.Incident != "" || log.Len() > 0):
				t.Errorf("told %q and logged %s, want neither", told.Incident, &log)
			case tt.ours && (told.Incident == "" || !strings.Contains(log.String(), "incident="+told.Incident) || !strings.Contains(log.String(), "secret")):
				t.Errorf("told %q and logged %s, want the same id, and the cause", told.Incident, &log)
			}
		})
	}
}

func TestACauseIsNeverTold(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("secret"), fault.Wrap("op", fault.Unavailable, errors.New("secret")), fault.Wrap("op", fault.Internal, errors.New("secret"))} {
		w := httptest.NewRecorder()
		problem.Write(w, nil, err)
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%v: told %s", err, w.Body)
		}
	}
}

func TestWhoKnowsWhenToComeAgainIsNotOverruled(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{"": "1", "60": "60"} {
		w := httptest.NewRecorder()
		if set != "" {
			w.Header().Set("Retry-After", set)
		}
		problem.Write(w, nil, fault.New("op", fault.Exhausted, "too many"))
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("told to come again after %q, want %q", got, want)
		}
	}
}
