package e2e_test

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/schemas"
)

var members = []network.Member{
	{Slug: "aurora", Name: "Aurora Motors", BPN: "BPNL00000000AUR1", Framework: true},
	{Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true},
	{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true},
	{Slug: "dusk", Name: "Dusk Trading", BPN: "BPNL00000000DUS1"},
}

func start(t *testing.T, m ...network.Member) *network.Network {
	t.Helper()
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now, Members: m, Log: func(slug string) *slog.Logger {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.String("company", slug))
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func publish(t *testing.T, c *network.Company) publishing.Outcome {
	t.Helper()
	f, err := os.Open("../cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := c.Publish(t.Context(), c.Local, publishing.File{Format: "csv", Template: "pcf", Actor: "test"}, f, nil)
	if err != nil || got.Total > 0 {
		t.Fatalf("publish: %+v, %v", got.Faults, err)
	}
	return got
}

func TestAFootprintTravelsAndARivalIsRefused(t *testing.T) {
	t.Parallel()
	n := start(t, members...)
	cobalt, boreal, dusk := n.Companies["cobalt"], n.Companies["boreal"], n.Companies["dusk"]
	asset := publish(t, cobalt).Assets[0]

	result, err := boreal.Pull(t.Context(), boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: asset, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(result.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = result.Body.Close()
	if faults, err := boreal.Models().Check(schemas.PCF, body); err != nil || len(faults) > 0 {
		t.Errorf("what arrived is no footprint: %v %v", faults, err)
	}

	_, err = dusk.Pull(t.Context(), dusk.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: asset, Actor: "test"})
	var refused *fault.Error
	if !errors.As(err, &refused) || refused.Kind != fault.Refused || refused.Code != "policy.refused" ||
		!strings.Contains(strings.Join(refused.Reasons, " "), "FrameworkAgreement") {
		t.Errorf("the rival got %+v, want a refusal that names FrameworkAgreement", err)
	}

	theirs, err := cobalt.Store().Agreement(t.Context(), cobalt.Local.ID, result.Agreement)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := boreal.Store().Agreement(t.Context(), boreal.Local.ID, result.Agreement)
	if err != nil || ours.Digest != theirs.Digest {
		t.Errorf("the two sides hold %q and %q (%v), want one digest", theirs.Digest, ours.Digest, err)
	}

	for _, c := range []*network.Company{cobalt, boreal, dusk} {
		dir := filepath.Join(t.TempDir(), c.Local.Slug)
		if err := c.Export(t.Context(), c.Local, dir); err != nil {
			t.Fatal(err)
		}
		key, err := c.VerifierKey(t.Context(), c.Local)
		if err != nil {
			t.Fatal(err)
		}
		report, err := decisionlog.Verify(dir, key)
		if err != nil || !report.Pinned || report.Waiting != 0 {
			t.Errorf("%s: log %+v, %v", c.Local.Slug, report, err)
		}
	}
}

func TestRetiringTheAgreementStopsThePull(t *testing.T) {
	t.Parallel()
	n := start(t, members[1], members[2])
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	asset := publish(t, cobalt).Assets[0]
	errand := exchange.Errand{Peer: cobalt.Local.DID, Asset: asset, Actor: "test"}
	result, err := boreal.Pull(t.Context(), boreal.Local, errand)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Body.Close()
	if err := cobalt.Retire(t.Context(), cobalt.Local, result.Agreement, "test", "the programme ended"); err != nil {
		t.Fatal(err)
	}
	// What was granted whole before is on the wire; a stream that is longer is looked at with the data plane.
	if body, err := io.ReadAll(result.Body); err == nil && int64(len(body)) != result.Body.Length {
		t.Errorf("%d of %d bytes were taken for the whole", len(body), result.Body.Length)
	}
	_, err = boreal.Pull(t.Context(), boreal.Local, errand)
	var refused *fault.Error
	if !errors.As(err, &refused) || refused.Code != "agreement.retired" {
		t.Errorf("after the retirement: %v, want agreement.retired", err)
	}
	if cobalt.Flows() != 0 {
		t.Errorf("%d flows still run", cobalt.Flows())
	}
}
