package dsphttp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// house knows everybody, and its catalog is broken.
type house struct{}

func (house) Participant(_ context.Context, slug string) (participant.Participant, error) {
	return participant.Participant{ID: 1, Slug: slug}, nil
}

func (house) Authenticate(*http.Request, participant.Participant) (participant.Peer, *commit.Used, error) {
	return participant.Peer{DID: "did:web:peer.example"}, nil, nil
}

func (house) Settle(context.Context, *commit.Used) error { return nil }

func (house) Request(context.Context, participant.Participant, participant.Peer, []byte, page.Request) (page.Of[catalog.Shown], error) {
	return page.Of[catalog.Shown]{}, nil
}

func (house) Dataset(context.Context, participant.Participant, participant.Peer, string) (catalog.Shown, error) {
	return catalog.Shown{}, fault.Wrap("test", fault.Internal, errors.New("the secret cause"))
}

func TestAPeerIsToldTheIncidentOfAFaultOfOursAndNotItsCause(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger, mux := slog.New(slog.NewTextHandler(&log, nil)), http.NewServeMux()
	dsphttp.New(dsphttp.Config{Participants: house{}, Authenticator: house{}, Catalogs: house{}, Log: logger}).Mount(mux)
	w := httptest.NewRecorder()
	problem.WithIncidents(mux, logger, rand.Reader).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/cobalt/dsp/2025-1/catalog/datasets/x", nil))
	told := regexp.MustCompile(`incident ([0-9a-f]{16})`).FindStringSubmatch(w.Body.String())
	if w.Code != 500 || told == nil || strings.Contains(w.Body.String(), "secret") || !strings.Contains(log.String(), "incident="+told[1]) {
		t.Errorf("got %d %s and the log\n%s; want an incident that the log has, and no cause", w.Code, w.Body, &log)
	}
}

func TestAMessageOfAnotherMediaTypeIsNoIncident(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger, mux := slog.New(slog.NewTextHandler(&log, nil)), http.NewServeMux()
	dsphttp.New(dsphttp.Config{Participants: house{}, Authenticator: house{}, Log: logger}).Mount(mux)
	w := httptest.NewRecorder()
	problem.WithIncidents(mux, logger, rand.Reader).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/cobalt/dsp/2025-1/catalog/request", nil))
	if w.Code != http.StatusUnsupportedMediaType || strings.Contains(w.Body.String()+log.String(), "incident") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("got %d %s and the log\n%s; want a refusal that calls for nobody here", w.Code, w.Body, &log)
	}
}
