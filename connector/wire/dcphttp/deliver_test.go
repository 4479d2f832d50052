package dcphttp_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
)

// Whatever is sent, and to whom, an answer is an answer by one rule, and nobody asks for more than was asked for.
func TestBothSendersKeepToTheRuleOfTheOutbox(t *testing.T) {
	t.Parallel()
	a := issuing(t)
	var status int
	var after, body string
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.Header().Set("Location", "/requests/1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(peer.Close)
	a.publish(t, cobalt, identity.Service{ID: string(cobalt) + "#cs", Type: "CredentialService", Endpoint: peer.URL})
	service := dcphttp.NewIssuerService(dcphttp.IssuerConfig{Agent: a.Agent, Issuer: a.issuer, Hosted: a.world})
	for name, s := range map[string]struct {
		outbox.Sender
		message string
	}{
		"to an issuer": {dcphttp.NewIssuers(a.Agent, a.world), "CredentialRequestMessage"},
		"to a holder":  {service, "CredentialOfferMessage"},
	} {
		for _, tt := range []struct {
			status      int
			attempt     int // the first is 0
			after, body string
			heard       bool
			later       time.Duration
		}{
			{201, 0, "", "", true, 0},
			{400, 0, "", `{"detail":"no","code":"x"}`, true, 0},
			{302, 0, "", "", true, 0},
			{401, 0, "", "", false, 0},
			{401, 4, "", "", false, 0},
			{401, 5, "", "", true, 0},
			{503, 9, "9", "", false, 9 * time.Second},
			{404, 9, "", "<html>", false, 0},
			{200, 9, "", "<html>", false, 0},
		} {
			status, after, body = tt.status, tt.after, tt.body
			got, err := s.Send(t.Context(), commit.Owed{Participant: a.local.ID, Peer: cobalt, Message: s.message, URL: peer.URL, Body: []byte("{}"), Attempt: tt.attempt})
			if (err == nil) != tt.heard || tt.heard && got.Status != tt.status {
				t.Errorf("%s, %d %q: %+v, %v", name, tt.status, tt.body, got, err)
			}
			var later *outbox.Later
			if errors.As(err, &later) != (tt.later > 0) || later != nil && later.After != tt.later {
				t.Errorf("%s, %d: later %v, want %v", name, tt.status, later, tt.later)
			}
			if name == "to an issuer" && tt.status == 400 && (got.Code != "x" || !slices.Equal(got.Reasons, []string{"no"})) {
				t.Errorf("its refusal reads %+v", got)
			}
		}
	}
}
