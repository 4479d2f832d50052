package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// What EDC sent in a run of this program, read without EDC: a message that stops being understood is seen here.
func TestEveryMessageThatEDCSentIsUnderstood(t *testing.T) {
	t.Parallel()
	negotiate := func(kind negotiation.Kind, initial bool) func([]byte) error {
		return func(body []byte) error { _, err := dsp.ParseNegotiation(kind, initial, body); return err }
	}
	move := func(kind transfer.Kind) func([]byte) error {
		return func(body []byte) error { _, err := dsp.ParseTransfer(kind, body); return err }
	}
	readers := map[string]func([]byte) error{
		"Versions":                                 func(body []byte) error { _, err := dsp.ParseVersions(body); return err },
		"Catalog":                                  func(body []byte) error { _, err := dsp.ParseCatalog(body); return err },
		"Dataset":                                  func(body []byte) error { _, err := dsp.ParseDataset(body); return err },
		"CatalogRequestMessage":                    dsp.ParseCatalogRequest,
		"ContractRequestMessage":                   negotiate(negotiation.Request, true),
		"ContractAgreementMessage":                 negotiate(negotiation.Agreement, false),
		"ContractAgreementVerificationMessage":     negotiate(negotiation.Verification, false),
		"ContractNegotiationEventMessageFINALIZED": negotiate(negotiation.Finalization, false),
		"ContractNegotiationTerminationMessage":    negotiate(negotiation.Termination, false),
		"TransferRequestMessage":                   move(transfer.Request),
		"TransferStartMessage":                     move(transfer.Start),
		"TransferSuspensionMessage":                move(transfer.Suspension),
		"TransferTerminationMessage":               move(transfer.Termination),
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(readers) {
		t.Fatalf("%d recorded messages, %v; want %d", len(files), err, len(readers))
	}
	for name, read := range readers {
		body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := read(body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheOffersOfEDCAreReadWithTheirTerms(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/Catalog.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dsp.ParseCatalog(body)
	if err != nil || c.Participant != edcID || len(c.Datasets) != len(policies) {
		t.Fatalf("got %+v, %v", c, err)
	}
	for _, d := range c.Datasets {
		permission := d.Offers[0].Policy.Permission
		if len(permission) != 1 || permission[0].Action != "use" || len(permission[0].Constraint) != len(policies[d.ID]) {
			t.Errorf("%s: %+v", d.ID, permission)
			continue
		}
		for i, term := range policies[d.ID] {
			if got := permission[0].Constraint[i]; got.LeftOperand != term[0] || got.RightOperand[0] != term[1] {
				t.Errorf("%s: %+v, want %v", d.ID, got, term)
			}
		}
	}
}
