package dcphttp_test

import (
	"crypto/rand"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
)

// CX-0049, DCP 1.0 section 2.2: a document without its one credential service, or with services that cannot be told apart, is not published.
func TestADocumentIsPublishedWithOneCredentialServiceAndServicesOfItsOwn(t *testing.T) {
	t.Parallel()
	keys, err := keyring.Draw("boreal", rand.Reader, time.Now)
	check(t, err)
	wallet := identity.Service{ID: string(boreal) + "#cs", Type: "CredentialService", Endpoint: "https://boreal.example/boreal/dcp"}
	dsp := identity.Service{ID: string(boreal) + "#dsp", Type: "DataService", Endpoint: "https://boreal.example/boreal/.well-known/dspace-version"}
	changed := func(s identity.Service, change func(*identity.Service)) identity.Service {
		change(&s)
		return s
	}
	for name, tt := range map[string]struct {
		services []identity.Service
		want     string
	}{
		"with what it needs":           {[]identity.Service{wallet, dsp}, ""},
		"without a credential service": {[]identity.Service{dsp}, "it would have 0 credential services"},
		"with two":                     {[]identity.Service{wallet, changed(wallet, func(s *identity.Service) { s.ID += "2" })}, "it would have 2 credential services"},
		"with an id twice":             {[]identity.Service{wallet, changed(dsp, func(s *identity.Service) { s.ID = wallet.ID })}, "want an id of this DID"},
		"with an id of another DID":    {[]identity.Service{changed(wallet, func(s *identity.Service) { s.ID = string(cobalt) + "#cs" })}, "want an id of this DID"},
		"with a relative id":           {[]identity.Service{changed(wallet, func(s *identity.Service) { s.ID = "#cs" })}, "want an id of this DID"},
		"with a service of no type":    {[]identity.Service{wallet, changed(dsp, func(s *identity.Service) { s.Type = "" })}, "want an id of this DID"},
		"with a service nowhere":       {[]identity.Service{wallet, changed(dsp, func(s *identity.Service) { s.Endpoint = "" })}, "want an id of this DID"},
	} {
		a := dcphttp.New(dcphttp.Config{Keys: func(participant.Participant) (identity.Keys, error) { return keys, nil }, Log: slog.New(slog.DiscardHandler),
			Endpoints: func(participant.Participant) []identity.Service { return tt.services }})
		_, err := a.Document(participant.Participant{ID: 1, Slug: "boreal", DID: boreal})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a document %s: %v, want %q", name, err, tt.want)
		}
	}
}
