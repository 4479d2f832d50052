package hostile_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Mallory shows the membership of Cobalt Cells: signed by the authority, valid, and not hers.
func TestAnothersCredentialMakesAStrangerAndIsOnRecord(t *testing.T) {
	t.Parallel()
	s := stroll(t)
	_, stolen, err := s.authority.Issuer().Issue(t.Context(), s.authority.Local, issuer.Issuing{Holder: s.cobalt.Local.DID, Definition: "MembershipCredential", Actor: "operator"})
	check(t, err)
	document, err := identity.NewDocument(s.did("thief"), s.keys, []identity.Service{{ID: "#cs", Type: "CredentialService", Endpoint: s.origin + "/thief/dcp"}})
	check(t, err)
	s.page("/thief/did.json", says(200, string(document)))
	s.page("/thief/dcp/presentations/query", func(w http.ResponseWriter, r *http.Request) {
		shown := s.token(t, "thief", nil, map[string]any{"vp": map[string]any{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "type": "VerifiablePresentation",
			"verifiableCredential": []string{stolen}}})
		says(200, `{"@context":["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"],"type":"PresentationResponseMessage","presentation":["`+shown+`"]}`)(w, r)
	})
	catalog := map[string]any{"@context": []any{context2025}, "@type": "CatalogRequestMessage"}
	stranger := s.ask(t, "/catalog/request", "junk", catalog)
	got := s.ask(t, "/catalog/request", s.token(t, "thief", nil, map[string]any{"token": "x"}), catalog)
	if got.status != http.StatusUnauthorized || got.body != stranger.body {
		t.Errorf("it came to %d %s, and a stranger's to %d %s", got.status, got.body, stranger.status, stranger.body)
	}
	dir := filepath.Join(t.TempDir(), "log")
	check(t, s.boreal.Export(t.Context(), s.boreal.Local, dir))
	var codes []string
	for rec, err := range decisionlog.Records(dir) {
		check(t, err)
		if rec.Door == "identity" && rec.Effect == "deny" {
			for _, reason := range rec.Reasons {
				codes = append(codes, reason.Code)
			}
		}
	}
	if strings.Join(codes, " ") != "credential.holder" {
		t.Errorf("on record: %v, want credential.holder", codes)
	}
	told, err := s.boreal.Store().EventsSince(t.Context(), s.boreal.Local.ID, 0, 100)
	check(t, err)
	last := told[len(told)-1]
	if last.Type != "peer.refused" || last.Subject != string(s.did("thief")) || last.Data["reason"] != "credential.holder" {
		t.Errorf("the operator is told %+v", last)
	}
}
