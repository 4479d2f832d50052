package exchange_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// shown is what the peer's catalog shows.
type shown struct{ entry catalog.Entry }

func (s shown) Find(context.Context, participant.Participant, participant.DID, string, string) (string, catalog.RemoteOffer, error) {
	return s.entry.Asset.ID, catalog.RemoteOffer{ID: s.entry.Offer.ID, Policy: s.entry.Usage.Policy}, nil
}

// door is the peer's data plane.
type door func() (exchange.Body, error)

func (d door) Fetch(context.Context, transfer.Address, string) (exchange.Body, error) { return d() }

func opens() (exchange.Body, error) {
	return exchange.Body{ReadCloser: io.NopCloser(strings.NewReader("body"))}, nil
}

type errand struct {
	*pair.Network
	t              *testing.T
	boreal, cobalt *pair.Side
	entry          catalog.Entry
}

func setup(t *testing.T, usage odrl.Policy) errand {
	n := pair.New(t, "cobalt", "boreal")
	return errand{n, t, n.Side("boreal"), n.Side("cobalt"), n.Side("cobalt").Publish(pair.Members(), usage)}
}

// pull runs the errand while the network delivers.
func (e errand) pull(ctx context.Context, d door, reached func(exchange.Step, string)) (exchange.Result, error) {
	e.t.Helper()
	return e.run(ctx, d, exchange.Errand{Peer: e.cobalt.Local.DID, Asset: pair.Dataset, Actor: "operator", Reached: reached})
}

func (e errand) run(ctx context.Context, d door, wanted exchange.Errand) (exchange.Result, error) {
	e.t.Helper()
	r := exchange.New(exchange.Config{Offers: shown{e.entry}, Negotiations: e.boreal.Negotiations, Transfers: e.boreal.Transfers, Agreements: e.boreal.Store,
		Events: e.boreal.Store, Fetcher: d, Now: e.Now, Log: slog.New(slog.NewTextHandler(e.t.Output(), nil))})
	type outcome struct {
		result exchange.Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := r.Pull(ctx, e.boreal.Local, wanted)
		done <- outcome{result, err}
	}()
	for {
		select {
		case o := <-done:
			e.Run()
			return o.result, o.err
		default:
			if ctx.Err() == nil {
				e.Run()
			}
			runtime.Gosched()
		}
	}
}

// open counts the transfers of the side that are not final.
func (e errand) open(s *pair.Side) int {
	e.t.Helper()
	all, err := s.Transfers.List(e.t.Context(), s.Local, transfer.Filter{}, page.Request{})
	if err != nil {
		e.t.Fatal(err)
	}
	n := 0
	for _, one := range all.Items {
		if !one.State.Final() {
			n++
		}
	}
	return n
}

func TestATransferThatComesToNothingIsEndedOnBothSides(t *testing.T) {
	t.Parallel()
	e := setup(t, pair.Footprints())
	broken := errors.New("connection refused")
	if _, err := e.pull(t.Context(), func() (exchange.Body, error) { return exchange.Body{}, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	for _, s := range []*pair.Side{e.boreal, e.cobalt} {
		if got := s.Transfer(""); got.State != transfer.Terminated || len(got.Reasons) == 0 {
			t.Errorf("%s: %s %v, want terminated with a reason", s.Local.Slug, got.State, got.Reasons)
		}
	}
}

func TestACallerThatGoesAwayLeavesNoTransferOpen(t *testing.T) {
	t.Parallel()
	e := setup(t, pair.Footprints())
	ctx, leave := context.WithCancel(t.Context())
	if _, err := e.pull(ctx, func() (exchange.Body, error) { leave(); return exchange.Body{}, ctx.Err() }, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if e.open(e.boreal) != 0 || e.open(e.cobalt) != 0 {
		t.Errorf("%d and %d transfers are left open", e.open(e.boreal), e.open(e.cobalt))
	}
}

// A program that may bind nobody takes data under what was agreed by others, as long as that lasts.
func TestAnErrandThatKeepsToWhatIsAgreedConcludesNothing(t *testing.T) {
	t.Parallel()
	e := setup(t, pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("DataUsageEndDurationDays", "eq", "1")))
	standing := exchange.Errand{Peer: e.cobalt.Local.DID, Asset: pair.Dataset, Actor: "agent", Standing: true}
	none := func(when string) {
		t.Helper()
		if _, err := e.run(t.Context(), opens, standing); err == nil {
			t.Errorf("%s: it pulled", when)
		}
	}
	none("before there is an agreement")
	if all, err := e.boreal.Negotiations.List(t.Context(), e.boreal.Local, negotiation.Filter{}, page.Request{}); err != nil || len(all.Items) != 0 {
		t.Errorf("%d negotiations were begun, %v", len(all.Items), err)
	}
	first, err := e.pull(t.Context(), opens, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.run(t.Context(), opens, standing); err != nil || got.Agreement != first.Agreement {
		t.Errorf("under the agreement that is there: %q, %v", got.Agreement, err)
	}
	e.Advance(25 * time.Hour)
	none("after its time has passed")
	if all, err := e.boreal.Negotiations.List(t.Context(), e.boreal.Local, negotiation.Filter{}, page.Request{}); err != nil || len(all.Items) != 1 {
		t.Errorf("%d negotiations, %v; want the first one alone", len(all.Items), err)
	}
}

func TestAnAgreementIsUsedAgainUntilItsTimeHasPassed(t *testing.T) {
	t.Parallel()
	e := setup(t, pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("DataUsageEndDurationDays", "eq", "1")))
	pull := func() string {
		result, err := e.pull(t.Context(), opens, nil)
		if err != nil {
			t.Fatal(err)
		}
		return result.Agreement
	}
	first := pull()
	if again := pull(); again != first {
		t.Error("an agreement in force was not used again")
	}
	e.Advance(25 * time.Hour)
	anew := pull()
	if anew == first {
		t.Error("an agreement whose time has passed was used")
	}
	if again := pull(); again != anew {
		t.Error("the new agreement was not used again")
	}
}
