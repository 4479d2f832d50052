package dcphttp

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// document is a DID document as it was written with the keys of one generation.
type document struct {
	generation uint64
	body       []byte
}

func (a *Agent) document(w http.ResponseWriter, r *http.Request) {
	local, err := a.cfg.Participants.Participant(r.Context(), r.PathValue("slug"))
	if err != nil {
		problem.Write(w, r, fault.New("dcphttp.document", fault.NotFound, "there is no such thing here"))
		return
	}
	gate.Anyone(r.Context())
	body, err := a.Document(local)
	if err != nil {
		a.cfg.Log.ErrorContext(r.Context(), "DID document not made", slog.Any("error", err))
		problem.Write(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/did+json")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(body)
}

// Document returns the DID document of a hosted participant, which changes with its keys.
func (a *Agent) Document(local participant.Participant) ([]byte, error) {
	keys, err := a.cfg.Keys(local)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	generation := keys.Generation() // before the keys are read: what changes in between is written once more
	if d, ok := a.documents[local.ID]; ok && d.generation == generation {
		return d.body, nil
	}
	services := a.cfg.Endpoints(local)
	if err := published(local.DID, services); err != nil {
		return nil, err
	}
	body, err := identity.NewDocument(local.DID, keys, services)
	if err == nil {
		a.documents[local.ID] = document{generation, body}
	}
	return body, err
}

// Forget makes the DID document of a hosted participant anew when it is next asked for: its services have changed.
func (a *Agent) Forget(local participant.Participant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.documents, local.ID)
}

// published checks what the standards demand of the services of a document (CX-0049; DCP 1.0, section 2.2): each has an id of its own and an
// address, and one of them, whatever the participant does, is the credential service.
func published(did participant.DID, services []identity.Service) error {
	ids, wallets := map[string]bool{}, 0
	for _, s := range services {
		if !strings.HasPrefix(s.ID, string(did)+"#") || ids[s.ID] || s.Type == "" || !strings.Contains(s.Endpoint, "://") {
			return fmt.Errorf("the DID document of %s: service %q of type %q at %q: want an id of this DID that no other has, a type and a URL", did, s.ID, s.Type, s.Endpoint)
		}
		ids[s.ID] = true
		if s.Type == "CredentialService" {
			wallets++
		}
	}
	if wallets != 1 {
		return fmt.Errorf("the DID document of %s: it would have %d credential services, want 1", did, wallets)
	}
	return nil
}
