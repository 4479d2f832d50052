package negotiation_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Kinds of messages on the wire, as the outbox names them.
const (
	request      = string(negotiation.Request)
	agreed       = string(negotiation.Agreement)
	verification = string(negotiation.Verification)
	finalization = string(negotiation.Finalization)
	termination  = string(negotiation.Termination)
)

// bench is a provider with an offer and a consumer who asked for nothing yet.
type bench struct {
	*pair.Network
	cobalt, boreal *pair.Side
	offer          negotiation.Offer
}

func setup(t *testing.T) bench {
	t.Helper()
	n := pair.New(t, "cobalt", "boreal")
	cobalt := n.Side("cobalt")
	return bench{n, cobalt, n.Side("boreal"), pair.Ask(cobalt.Publish(pair.Members(), pair.Footprints()))}
}

func wantState(t *testing.T, s *pair.Side, want negotiation.State) negotiation.Negotiation {
	t.Helper()
	n := s.Negotiation("")
	if n.State != want {
		t.Errorf("%s is %s (%s %v), want %s", s.Local.Slug, n.State, n.Code, n.Reasons, want)
	}
	return n
}

func TestANegotiationEndsWithTheSameAgreementOnBothSides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	if got, want := b.Run(), []string{request, agreed, verification, finalization}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	ours, theirs := wantState(t, b.cobalt, negotiation.Finalized), wantState(t, b.boreal, negotiation.Finalized)
	if ours.ID != theirs.PeerPID || theirs.ID != ours.PeerPID {
		t.Error("the sides do not know each other's pid")
	}
	p, c := b.cobalt.Agreements(), b.boreal.Agreements()
	if len(p) != 1 || len(c) != 1 || p[0].ID != c[0].ID || p[0].Digest != c[0].Digest || string(p[0].Raw) != string(c[0].Raw) {
		t.Fatalf("agreements differ:\n%+v\n%+v", p, c)
	}
	if p[0].Provider != b.cobalt.Local.DID || p[0].Consumer != b.boreal.Local.DID || p[0].Asset != pair.Dataset || p[0].ID != theirs.AgreementID {
		t.Errorf("the agreement is about something else: %+v", p[0])
	}
	for side, want := range map[*pair.Side][]string{
		b.cobalt: {string(policy.DoorCatalog), string(policy.DoorRequest), string(policy.DoorAgree)},
		b.boreal: {string(policy.DoorManage), string(policy.DoorAgree)},
	} {
		var doors []string
		after := map[string]int{}
		for _, r := range side.Records(side.Negotiation("").ID) {
			doors = append(doors, r.Door)
			after[r.Previous]++
		}
		for previous, n := range after {
			if n != 1 {
				t.Errorf("%s: %d records follow %q, want a chain", side.Local.Slug, n, previous)
			}
		}
		slices.Sort(doors)
		slices.Sort(want)
		if !slices.Equal(doors, want) {
			t.Errorf("%s decided at %v, want %v", side.Local.Slug, doors, want)
		}
	}
}

func TestARefusalByTheUsagePolicyReachesTheOtherSideWithItsReasons(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "dusk")
	cobalt, dusk := n.Side("cobalt"), n.Side("dusk")
	dusk.Begin(cobalt, pair.Ask(cobalt.Publish(pair.Members(), pair.Footprints())))
	if got, want := n.Run(), []string{request, termination}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	for _, side := range []*pair.Side{cobalt, dusk} {
		got := wantState(t, side, negotiation.Terminated)
		if got.Code != "policy.refused" || len(got.Reasons) != 1 || !strings.Contains(got.Reasons[0], "FrameworkAgreement") {
			t.Errorf("%s sees %s %q, want the framework named", side.Local.Slug, got.Code, got.Reasons)
		}
		if len(side.Agreements()) != 0 {
			t.Errorf("%s has an agreement", side.Local.Slug)
		}
	}
	for _, r := range cobalt.Records(cobalt.Negotiation("").ID) {
		if want := map[string]string{string(policy.DoorCatalog): "allow", string(policy.DoorRequest): "deny"}[r.Door]; r.Effect != want {
			t.Errorf("on record: %s at %s, want %s", r.Effect, r.Door, want)
		}
	}
}

func TestWhatThePeerMayNotSeeIsTheSameAsWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hidden := pair.Ask(b.cobalt.Offer(pair.Policy("access", pair.Term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000AUR1")), pair.Footprints()))
	elsewhere := b.offer
	elsewhere.Target = "urn:cobalt:part:other"
	unknown := b.offer
	unknown.ID = "urn:uuid:00000000-0000-4000-8000-000000000000"
	var answers []outbox.Answer
	for _, o := range []negotiation.Offer{unknown, hidden, elsewhere} {
		b.boreal.Begin(b.cobalt, o)
		a := b.Deliver(b.boreal.Take(request), b.boreal)
		answers = append(answers, a)
		if a.Status != 404 || a.Code != answers[0].Code || !slices.Equal(a.Reasons, answers[0].Reasons) {
			t.Errorf("answer %+v, want the same 404 as %+v", a, answers[0])
		}
	}
	if _, more := b.cobalt.Next(); more {
		t.Error("the provider answers what it should not know of")
	}
	denied := 0
	for _, r := range b.cobalt.AllRecords() {
		if r.Door == string(policy.DoorCatalog) && r.Effect == "deny" {
			denied++
		}
	}
	if denied != 1 {
		t.Errorf("%d denials on record, want the one of the hidden offer", denied)
	}
}

func TestARequestForOtherTermsThanOfferedIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := b.offer
	o.Policy = pair.Policy("use", pair.Term("Membership", "eq", "active"))
	b.boreal.Begin(b.cobalt, o)
	b.Run()
	if n := wantState(t, b.boreal, negotiation.Terminated); n.Code != "offer.changed" {
		t.Errorf("code %q, want offer.changed", n.Code)
	}
	wantState(t, b.cobalt, negotiation.Terminated)
}

func TestAnOfferWithTermsThatCannotBeKeptIsNotAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := b.offer
	o.Policy = pair.Policy("use", pair.Term("MoonPhase", "eq", "full"))
	_, err := b.boreal.Negotiations.Begin(t.Context(), b.boreal.Local, negotiation.BeginRequest{Peer: b.cobalt.Local.DID, Offer: o})
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Malformed || len(e.Reasons) == 0 || !strings.Contains(e.Reasons[0], "MoonPhase") {
		t.Errorf("begin: %v, want the term named", err)
	}
}

func TestARepeatedMessageGetsTheSameAnswerAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	for _, kind := range []string{request, agreed, verification} {
		from, to := b.boreal, b.cobalt
		if kind == agreed {
			from, to = to, from
		}
		o := from.Take(kind)
		first := b.Hand(o, from)
		before := to.Negotiation("")
		for range 3 {
			if again := b.Hand(o, from); again.Status != first.Status || again.State != first.State || again.ProviderPID != first.ProviderPID {
				t.Errorf("repeated %s: %+v, want %+v", kind, again, first)
			}
		}
		if after := to.Negotiation(""); after.Version != before.Version {
			t.Errorf("a repeated %s changed the negotiation", kind)
		}
		b.Tell(o, from, first)
	}
	final := b.cobalt.Take(finalization)
	b.Deliver(final, b.cobalt)
	if again := b.Hand(final, b.cobalt); again.Status != 400 {
		t.Errorf("a message in a final state: %d, want 400", again.Status)
	}
	// The provider whose memory of the answer was lost looks, and sees that it is done.
	wantState(t, b.cobalt, negotiation.Finalized)
	wantState(t, b.boreal, negotiation.Finalized)
}

func TestALostAnswerIsMadeGoodByALook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	b.Deliver(b.boreal.Take(request), b.boreal)
	b.Deliver(b.cobalt.Take(agreed), b.cobalt)
	b.Deliver(b.boreal.Take(verification), b.boreal)
	o := b.cobalt.Take(finalization)
	b.Hand(o, b.cobalt) // taken; the process that sent it dies before it hears so
	b.Deliver(o, b.cobalt)
	wantState(t, b.cobalt, negotiation.Finalized)
}

func TestAMessageThatIsLegalOnlyAfterOursProvesThatOursArrived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	asked := b.boreal.Take(request)
	first := b.Hand(asked, b.boreal)
	contract := b.cobalt.Take(agreed)
	second := b.Hand(contract, b.cobalt) // before the consumer heard that its request was taken
	wantState(t, b.boreal, negotiation.Agreed)
	verified := b.boreal.Take(verification)
	third := b.Hand(verified, b.boreal) // before the provider heard that its agreement was taken
	wantState(t, b.cobalt, negotiation.Verified)
	b.Tell(verified, b.boreal, third)
	b.Tell(contract, b.cobalt, second)
	b.Tell(asked, b.boreal, first)
	b.Run()
	wantState(t, b.cobalt, negotiation.Finalized)
	wantState(t, b.boreal, negotiation.Finalized)
}

func TestMessagesOutOfOrderAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := b.boreal.Begin(b.cobalt, b.offer)
	o := b.boreal.Take(request)
	b.Deliver(o, b.boreal)
	ours := b.cobalt.Negotiation("")
	for _, m := range []negotiation.Message{
		{Kind: negotiation.Acceptance},
		{Kind: negotiation.Verification, ConsumerPID: "urn:uuid:of-somebody-else"},
		{Kind: negotiation.Finalization},
		{Kind: negotiation.Request, Offer: &b.offer},
	} {
		if m.ConsumerPID == "" {
			m.ConsumerPID = n.ID
		}
		m.ProviderPID = ours.ID
		_, body, err := dsp.Codec{}.EncodeNegotiation(m)
		if err != nil {
			t.Fatal(err)
		}
		path := map[negotiation.Kind]string{negotiation.Acceptance: "events", negotiation.Finalization: "events",
			negotiation.Verification: "agreement/verification", negotiation.Request: "request"}[m.Kind]
		url := "https://dataspace.example/cobalt/dsp/2025-1/negotiations/" + ours.ID + "/" + path
		if a := b.Call(b.boreal.Local.DID, "POST", url, body); a.Status != 400 {
			t.Errorf("%s in %s: %d, want 400", m.Kind, ours.State, a.Status)
		}
		if got := b.cobalt.Negotiation(""); got.Version != ours.Version {
			t.Errorf("%s changed the negotiation", m.Kind)
		}
	}
}

func TestAStrangerFindsNothing(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "boreal", "dusk")
	cobalt, boreal, dusk := n.Side("cobalt"), n.Side("boreal"), n.Side("dusk")
	boreal.Begin(cobalt, pair.Ask(cobalt.Publish(pair.Members(), pair.Footprints())))
	n.Deliver(boreal.Take(request), boreal)
	n.Deliver(cobalt.Take(agreed), cobalt)
	o := boreal.Take(verification)
	url := "https://dataspace.example/cobalt/dsp/2025-1/negotiations/" + cobalt.Negotiation("").ID
	nowhere := n.Call(dusk.Local.DID, "GET", "https://dataspace.example/cobalt/dsp/2025-1/negotiations/urn:uuid:nothing", nil)
	if a := n.Call(dusk.Local.DID, "GET", url, nil); a.Status != 404 || a.Code != nowhere.Code || !slices.Equal(a.Reasons, nowhere.Reasons) {
		t.Errorf("a stranger's look: %+v, want %+v", a, nowhere)
	}
	if a := n.Call(dusk.Local.DID, "POST", o.URL, o.Body); a.Status != 404 {
		t.Errorf("a stranger's message: %d, want 404", a.Status)
	}
	wantState(t, cobalt, negotiation.Agreed)
}

func TestOneOfManyAtOnceWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	o := b.boreal.Take(request)
	answers := make([]outbox.Answer, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = b.Hand(o, b.boreal) })
	}
	all.Wait()
	for _, a := range answers {
		if a.Status != 201 || a.ProviderPID != answers[0].ProviderPID {
			t.Errorf("answer %+v, want 201 and %s", a, answers[0].ProviderPID)
		}
	}
	if got := len(b.cobalt.Agreements()); got != 1 {
		t.Errorf("%d agreements, want 1", got)
	}
}

func TestAStaleWriteIsTriedAgainOnWhatIsThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	b.Deliver(b.boreal.Take(request), b.boreal)
	contract := b.cobalt.Take(agreed)
	answer := b.Hand(contract, b.cobalt)
	verified := b.boreal.Take(verification)
	// Between the provider's reading and writing, the answer to its agreement is stored.
	b.cobalt.Store.Before(func() { b.Tell(contract, b.cobalt, answer) })
	b.Deliver(verified, b.boreal)
	b.Run()
	wantState(t, b.cobalt, negotiation.Finalized)
	wantState(t, b.boreal, negotiation.Finalized)
}

func TestATerminationThatOvertakesAStepWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	b.Deliver(b.boreal.Take(request), b.boreal)
	b.Deliver(b.cobalt.Take(agreed), b.cobalt)
	o := b.boreal.Take(verification)
	b.cobalt.Store.Before(func() {
		if _, err := b.cobalt.Negotiations.Terminate(t.Context(), b.cobalt.Local, b.cobalt.Negotiation("").ID, commit.Order{Actor: "operator", Reason: "recall"}); err != nil {
			t.Error(err)
		}
	})
	if a := b.Deliver(o, b.boreal); a.Status != 400 {
		t.Errorf("verification of a terminated negotiation: %d, want 400", a.Status)
	}
	b.Run()
	wantState(t, b.cobalt, negotiation.Terminated)
	wantState(t, b.boreal, negotiation.Terminated)
}

func TestEitherOperatorEndsItAtAnyTime(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"cobalt", "boreal"} {
		for delivered := range 4 {
			if who == "cobalt" && delivered == 0 {
				continue // it does not know of it yet
			}
			t.Run(fmt.Sprintf("%s after %d messages", who, delivered), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.boreal.Begin(b.cobalt, b.offer)
				sender := b.boreal
				for range delivered {
					o, _ := sender.Next()
					b.Deliver(o, sender)
					if sender == b.boreal {
						sender = b.cobalt
					} else {
						sender = b.boreal
					}
				}
				side := b.Side(who)
				n := side.Negotiation("")
				if who == "cobalt" && delivered == 3 { // its finalization is on the way
					if _, err := side.Negotiations.Terminate(t.Context(), side.Local, n.ID, commit.Order{Actor: "operator", Reason: "too late"}); !fault.Is(err, fault.Conflict) {
						t.Errorf("ending what is being finalized: %v, want a conflict", err)
					}
					return
				}
				seen := commit.Order{Actor: "operator", Reason: "as it was", Version: n.Version + 1}
				if _, err := side.Negotiations.Terminate(t.Context(), side.Local, n.ID, seen); codeOf(err) != "version.stale" {
					t.Errorf("an order about another version: %v", err)
				}
				if _, err := side.Negotiations.Terminate(t.Context(), side.Local, n.ID, commit.Order{Actor: "operator", Reason: "changed our mind", Version: n.Version}); err != nil {
					t.Fatal(err)
				}
				if got := side.Negotiation(""); got.State != negotiation.Terminated || got.Reasons[0] != "changed our mind" {
					t.Errorf("%s %v right after the operator ended it", got.State, got.Reasons)
				}
				b.Run()
				for _, s := range []*pair.Side{b.cobalt, b.boreal} {
					all, err := s.Negotiations.List(t.Context(), s.Local, negotiation.Filter{}, page.Request{})
					if err != nil {
						t.Fatal(err)
					}
					for _, n := range all.Items {
						if n.State != negotiation.Terminated || n.Pending.Kind != "" {
							t.Errorf("%s is %s with %q pending", s.Local.Slug, n.State, n.Pending.Kind)
						}
					}
				}
				if _, err := side.Negotiations.Terminate(t.Context(), side.Local, n.ID, commit.Order{Actor: "operator", Reason: "again"}); !fault.Is(err, fault.Conflict) {
					t.Errorf("ending it twice: %v, want a conflict", err)
				}
			})
		}
	}
}

func TestAnAgreementAboutSomethingElseIsRefusedAndBothSidesEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*negotiation.Contract)
	}{
		{"another dataset", func(c *negotiation.Contract) { c.Target = "urn:cobalt:part:other" }},
		{"another provider", func(c *negotiation.Contract) { c.Assigner = "did:web:dataspace.example:dusk" }},
		{"another consumer", func(c *negotiation.Contract) { c.Assignee = "did:web:dataspace.example:dusk" }},
		{"stricter terms", func(c *negotiation.Contract) {
			c.Policy = pair.Policy("use", pair.Term("DataUsageEndDurationDays", "eq", "1"))
		}},
		{"no moment of signing", func(c *negotiation.Contract) { c.Signed = time.Time{} }},
		{"signed before it was asked for", func(c *negotiation.Contract) { c.Signed = c.Signed.Add(-time.Hour) }},
		{"signed in the future", func(c *negotiation.Contract) { c.Signed = c.Signed.Add(time.Hour) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.boreal.Begin(b.cobalt, b.offer)
			b.Deliver(b.boreal.Take(request), b.boreal)
			o := b.cobalt.Take(agreed)
			m, err := dsp.ParseNegotiation(negotiation.Agreement, false, o.Body)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(m.Contract)
			if _, o.Body, err = (dsp.Codec{}).EncodeNegotiation(m); err != nil {
				t.Fatal(err)
			}
			if a := b.Deliver(o, b.cobalt); a.Status != 400 || a.Code != "agreement.differs" && tt.name != "no moment of signing" {
				t.Errorf("answer %+v, want 400 agreement.differs", a)
			}
			if len(b.boreal.Agreements()) != 0 {
				t.Error("the consumer has an agreement")
			}
			b.Run()
			wantState(t, b.cobalt, negotiation.Terminated)
			wantState(t, b.boreal, negotiation.Terminated)
		})
	}
}

func TestAnAgreementThatWasLongOnItsWayIsStillOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	b.Deliver(b.boreal.Take(request), b.boreal)
	b.Advance(23 * time.Hour)
	b.Run()
	wantState(t, b.cobalt, negotiation.Finalized)
	wantState(t, b.boreal, negotiation.Finalized)
}

func TestAPeerMayHaveOnlySoManyOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range pair.MaxOpen + 1 {
		b.boreal.Begin(b.cobalt, b.offer)
		o := b.boreal.Take(request)
		a := b.Hand(o, b.boreal)
		if want := i < pair.MaxOpen; a.OK() != want {
			t.Errorf("request %d: %d", i+1, a.Status)
		}
	}
}

func TestACallbackAddressMustBeThePeersOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, body, err := dsp.Codec{}.EncodeNegotiation(negotiation.Message{Kind: negotiation.Request, ConsumerPID: "urn:uuid:1",
		Callback: "https://dataspace.example/dusk/dsp/2025-1", Offer: &b.offer})
	if err != nil {
		t.Fatal(err)
	}
	if a := b.Call(b.boreal.Local.DID, "POST", "https://dataspace.example/cobalt/dsp/2025-1/negotiations/request", body); a.Status != 400 {
		t.Errorf("answer %+v, want 400", a)
	}
	if _, more := b.cobalt.Next(); more {
		t.Error("a message leaves for the foreign address")
	}
}

func TestAnUnreachablePeerEndsItInTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	o := b.boreal.Take(request)
	o.LastError = "no route"
	if err := b.boreal.Negotiations.Rejected(t.Context(), o, outbox.Answer{}); err != nil {
		t.Fatal(err)
	}
	n := wantState(t, b.boreal, negotiation.Terminated)
	if n.Code != "peer.unreachable" || !strings.Contains(n.Error, "no route") {
		t.Errorf("%s %q, want the cause for the operator", n.Code, n.Error)
	}
	if due, owed, err := b.boreal.Store.NextDue(t.Context()); err != nil || owed {
		t.Errorf("something is still owed at %v (%v)", due, err)
	}
}

func TestAnInitialOfferWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	for _, accept := range []bool{true, false} {
		t.Run(map[bool]string{true: "who accepts", false: "who declines"}[accept], func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			_, body, err := dsp.Codec{}.EncodeNegotiation(negotiation.Message{Kind: negotiation.OfferMessage, ProviderPID: "urn:uuid:of-the-provider",
				Callback: "https://dataspace.example/cobalt/dsp/2025-1", Offer: &b.offer, ToConsumer: true})
			if err != nil {
				t.Fatal(err)
			}
			post := func() outbox.Answer {
				return b.Call(b.cobalt.Local.DID, "POST", "https://dataspace.example/boreal/dsp/2025-1/negotiations/offers", body)
			}
			if a := post(); a.Status != 201 || a.State != "OFFERED" {
				t.Fatalf("answer %+v, want 201 OFFERED", a)
			}
			if a := post(); a.Status != 201 || a.ConsumerPID != b.boreal.Negotiation("").ID {
				t.Errorf("repeated: %+v, want the same negotiation", a)
			}
			n := wantState(t, b.boreal, negotiation.Offered)
			want := string(negotiation.Acceptance)
			if accept {
				_, err = b.boreal.Negotiations.Approve(t.Context(), b.boreal.Local, n.ID, commit.Order{Actor: "operator"})
			} else {
				want = termination
				_, err = b.boreal.Negotiations.Terminate(t.Context(), b.boreal.Local, n.ID, commit.Order{Actor: "operator", Reason: "no need"})
			}
			if err != nil {
				t.Fatal(err)
			}
			b.boreal.Take(want)
			if _, err := b.boreal.Negotiations.Approve(t.Context(), b.boreal.Local, n.ID, commit.Order{Actor: "operator"}); !fault.Is(err, fault.Conflict) {
				t.Errorf("accepting it twice: %v, want a conflict", err)
			}
		})
	}
}

func TestAnOfferThatNobodyAskedForIsTakenOnlyWhereTheOperatorSaysSo(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "dusk")
	cobalt, dusk := n.Side("cobalt"), n.Side("dusk")
	offer := cobalt.Publish(pair.Members(), pair.Footprints())
	if _, err := cobalt.Negotiations.BeginOffer(t.Context(), cobalt.Local, dusk.Local.DID, offer.Offer.ID, "operator"); err != nil {
		t.Fatal(err)
	}
	n.Run()
	got := wantState(t, cobalt, negotiation.Terminated)
	if got.Code != "offer.uninvited" {
		t.Errorf("the provider hears %q %q, want that offers are not taken", got.Code, got.Reasons)
	}
	if all, err := dusk.Negotiations.List(t.Context(), dusk.Local, negotiation.Filter{}, page.Request{}); err != nil || len(all.Items) != 0 {
		t.Errorf("dusk keeps %d negotiations (%v)", len(all.Items), err)
	}
}

func TestAProviderOffersAndTheConsumerApproves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.cobalt.Negotiations.BeginOffer(t.Context(), b.cobalt.Local, b.boreal.Local.DID, b.offer.ID, "operator"); err != nil {
		t.Fatal(err)
	}
	if got, want := b.Run(), []string{string(negotiation.OfferMessage)}; !slices.Equal(got, want) {
		t.Fatalf("messages %v, want %v", got, want)
	}
	n := wantState(t, b.boreal, negotiation.Offered)
	if n.Held.Message != negotiation.Acceptance {
		t.Errorf("%q waits for the operator, want the acceptance", n.Held.Message)
	}
	approve(t, b.boreal, n.ID)
	if got, want := b.Run(), []string{string(negotiation.Acceptance), agreed, verification, finalization}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	wantState(t, b.cobalt, negotiation.Finalized)
	wantState(t, b.boreal, negotiation.Finalized)
	wantSameAgreement(t, b)
}

func TestBothSidesMayProposeOtherTerms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := pair.Ask(b.cobalt.Offer(pair.Members(), pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("UsagePurpose", "isAnyOf", "cx.pcf.base:1"))))
	b.cobalt.Hold = func(_ negotiation.Negotiation, m negotiation.Kind) bool { return m != negotiation.Finalization }
	b.boreal.Begin(b.cobalt, b.offer)
	b.Run()
	if n := wantState(t, b.cobalt, negotiation.Requested); n.Held.Message != negotiation.Agreement {
		t.Fatalf("%q waits at the provider, want the agreement", n.Held.Message)
	}
	propose(t, b.cobalt, negotiation.Offer{ID: other.ID})
	b.Run()
	n := wantState(t, b.boreal, negotiation.Offered)
	if n.Offer.ID != other.ID || n.Held.Message != negotiation.Acceptance {
		t.Fatalf("on the table is %s with %q waiting, want the provider's offer, which nobody asked for", n.Offer.ID, n.Held.Message)
	}
	propose(t, b.boreal, b.offer)
	b.Run()
	if n := wantState(t, b.cobalt, negotiation.Requested); n.Offer.ID != b.offer.ID {
		t.Fatalf("on the table is %s, want the consumer's counter-offer", n.Offer.ID)
	}
	approve(t, b.cobalt, "")
	b.Run()
	wantState(t, b.cobalt, negotiation.Finalized)
	wantState(t, b.boreal, negotiation.Finalized)
	wantSameAgreement(t, b)
	doors := map[string]int{}
	for _, r := range b.cobalt.Records(b.cobalt.Negotiation("").ID) {
		if r.Kind == decisionlog.KindDecision && r.Effect == "allow" {
			doors[r.Door]++
		}
	}
	// Seen twice, asked at two requests, once for its own offer and once more at the approval, signed once.
	if want := map[string]int{string(policy.DoorCatalog): 2, string(policy.DoorRequest): 4, string(policy.DoorAgree): 1}; !maps.Equal(doors, want) {
		t.Errorf("decisions on record %v, want %v", doors, want)
	}
}

func TestARequestForOtherTermsIsRefusedOnRecordUnlessAnOperatorWantsToSeeIt(t *testing.T) {
	t.Parallel()
	lax := pair.Policy("use", pair.Term("Membership", "eq", "active"))
	for _, hold := range []bool{false, true} {
		t.Run(map[bool]string{false: "refused", true: "held"}[hold], func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if hold {
				b.cobalt.Hold = func(negotiation.Negotiation, negotiation.Kind) bool { return true }
			}
			b.boreal.Begin(b.cobalt, negotiation.Offer{ID: b.offer.ID, Target: b.offer.Target, Policy: lax})
			b.Run()
			if hold {
				if n := wantState(t, b.cobalt, negotiation.Requested); n.Held.Message != negotiation.Termination {
					t.Errorf("%q waits, want the refusal", n.Held.Message)
				}
			} else if n := wantState(t, b.boreal, negotiation.Terminated); n.Code != "offer.changed" {
				t.Errorf("the consumer hears %q, want offer.changed", n.Code)
			}
			wantDenied(t, b.cobalt, policy.DoorRequest, "offer.changed")
		})
	}
}

func TestWhatAPolicyDeniesCannotBeHeldOrApproved(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "dusk")
	cobalt, dusk := n.Side("cobalt"), n.Side("dusk")
	strict, lax := cobalt.Publish(pair.Members(), pair.Footprints()), cobalt.Offer(pair.Members(), pair.Policy("use", pair.Term("Membership", "eq", "active")))
	cobalt.Hold = func(negotiation.Negotiation, negotiation.Kind) bool { return true }
	dusk.Begin(cobalt, pair.Ask(strict))
	n.Run()
	wantState(t, cobalt, negotiation.Terminated)
	held := dusk.Begin(cobalt, pair.Ask(lax))
	n.Run()
	waiting := dusk.Negotiation(held.ID).PeerPID
	if _, err := cobalt.Negotiations.Propose(t.Context(), cobalt.Local, waiting, negotiation.Offer{ID: strict.Offer.ID}, commit.Order{Actor: "operator"}); !fault.Is(err, fault.Refused) {
		t.Errorf("offering what the policy denies: %v, want a refusal", err)
	}
	if got := cobalt.Negotiation(waiting); got.State != negotiation.Requested || got.Held.Message != negotiation.Agreement {
		t.Errorf("the negotiation is %s with %q waiting, want it as it was", got.State, got.Held.Message)
	}
	n.Advance(20 * 365 * 24 * time.Hour) // every credential has ended
	if _, err := cobalt.Negotiations.Approve(t.Context(), cobalt.Local, waiting, commit.Order{Actor: "operator"}); !fault.Is(err, fault.Refused) {
		t.Errorf("approving after the membership ended: %v, want a refusal", err)
	}
	if len(cobalt.Agreements()) != 0 {
		t.Error("there is an agreement")
	}
}

func TestAnOfferOnApprovalWaitsForTheOperatorWithReasons(t *testing.T) {
	t.Parallel()
	for _, approve := range []bool{true, false} {
		t.Run(map[bool]string{true: "who approves", false: "who refuses"}[approve], func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			offer := pair.Ask(b.cobalt.OfferOnApproval(pair.Members(), pair.Footprints()))
			b.boreal.Begin(b.cobalt, offer)
			b.Run()
			n := wantState(t, b.cobalt, negotiation.Requested)
			if n.Held.Message != negotiation.Agreement || len(n.Held.Reasons) != 1 || !strings.HasPrefix(n.Held.Reasons[0], "approval.awaited") {
				t.Fatalf("waiting: %+v, want the agreement, for the operator's approval alone", n.Held)
			}
			if want := b.Now().Add(pair.Patience); !n.Held.Until.Equal(want) {
				t.Errorf("it waits until %v, want %v", n.Held.Until, want)
			}
			wantDenied(t, b.cobalt, policy.DoorRequest, "")
			order := commit.Order{Actor: "operator", Reason: "we do not know you yet"}
			var err error
			if approve {
				_, err = b.cobalt.Negotiations.Approve(t.Context(), b.cobalt.Local, n.ID, order)
			} else {
				_, err = b.cobalt.Negotiations.Terminate(t.Context(), b.cobalt.Local, n.ID, order)
			}
			if err != nil {
				t.Fatal(err)
			}
			b.Run()
			if !approve {
				if got := wantState(t, b.boreal, negotiation.Terminated); !slices.Contains(got.Reasons, order.Reason) {
					t.Errorf("the consumer hears %v, want the operator's words", got.Reasons)
				}
				return
			}
			wantState(t, b.boreal, negotiation.Finalized)
			wantSameAgreement(t, b)
			for _, r := range b.cobalt.Records(n.ID) {
				if r.Door == string(policy.DoorAgree) && (r.Effect != "allow" || !slices.ContainsFunc(r.Reasons, func(r decisionlog.Reason) bool { return r.Code == "approval.given" })) {
					t.Errorf("signed on record as %s for %v, want the approval among the reasons", r.Effect, r.Reasons)
				}
			}
			if due, owed, err := b.cobalt.Store.NextDue(t.Context()); err != nil || owed {
				t.Errorf("something is still due at %v (%v)", due, err)
			}
		})
	}
}

func TestWhatNobodyApprovesInTimeIsRefusedByItself(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, pair.Ask(b.cobalt.OfferOnApproval(pair.Members(), pair.Footprints())))
	b.Run()
	wantState(t, b.cobalt, negotiation.Requested)
	b.Advance(pair.Patience)
	b.Settle()
	for _, side := range []*pair.Side{b.cobalt, b.boreal} {
		if n := wantState(t, side, negotiation.Terminated); n.Code != "approval.late" {
			t.Errorf("%s sees %s %v, want that nobody approved in time", side.Local.Slug, n.Code, n.Reasons)
		}
	}
	wantDenied(t, b.cobalt, policy.DoorRequest, "approval.late")
	if _, err := b.cobalt.Negotiations.Approve(t.Context(), b.cobalt.Local, b.cobalt.Negotiation("").ID, commit.Order{Actor: "operator"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("approving it afterwards: %v, want a conflict", err)
	}
}

func TestAnApprovalDoesNotLiftADenial(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "dusk")
	cobalt, dusk := n.Side("cobalt"), n.Side("dusk")
	cobalt.Publish(pair.Members(), pair.Footprints())
	dusk.Begin(cobalt, pair.Ask(cobalt.OfferOnApproval(pair.Members(), pair.Footprints())))
	n.Run()
	if got := wantState(t, cobalt, negotiation.Terminated); got.Code != "policy.refused" {
		t.Errorf("%s %v, want the policy's refusal without asking anybody", got.Code, got.Reasons)
	}
}

func TestTheSameProposalMayComeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := pair.Ask(b.cobalt.Offer(pair.Members(), pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("UsagePurpose", "isAnyOf", "cx.pcf.base:1"))))
	b.cobalt.Hold = func(negotiation.Negotiation, negotiation.Kind) bool { return true }
	b.boreal.Begin(b.cobalt, b.offer)
	b.Run()
	for range 2 {
		propose(t, b.cobalt, negotiation.Offer{ID: other.ID})
		b.Run()
		if n := wantState(t, b.boreal, negotiation.Offered); n.Offer.ID != other.ID || n.Held.Message != negotiation.Acceptance {
			t.Fatalf("on the table is %s with %q waiting, want the provider's offer, once more", n.Offer.ID, n.Held.Message)
		}
		wantState(t, b.cobalt, negotiation.Offered)
		propose(t, b.boreal, b.offer)
		b.Run()
		wantState(t, b.cobalt, negotiation.Requested)
	}
}

func TestARefusalThatWaitsCannotBeApprovedIntoAnAgreement(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cobalt.Hold = func(negotiation.Negotiation, negotiation.Kind) bool { return true }
	b.boreal.Begin(b.cobalt, negotiation.Offer{ID: b.offer.ID, Target: b.offer.Target, Policy: pair.Policy("use", pair.Term("Membership", "eq", "active"))})
	b.Run()
	n := wantState(t, b.cobalt, negotiation.Requested)
	if _, err := b.cobalt.Negotiations.Approve(t.Context(), b.cobalt.Local, n.ID, commit.Order{Actor: "operator"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("approving other terms than ours: %v, want a conflict", err)
	}
	if len(b.cobalt.Agreements()) != 0 {
		t.Error("there is an agreement on terms that nobody asked for")
	}
}

func TestACounterOfferTellsNothingOfOffersThatAreHidden(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hidden := b.cobalt.Offer(pair.Policy("access", pair.Term("BusinessPartnerNumber", "isAnyOf", "BPNL00000000AUR1")), pair.Footprints())
	b.cobalt.Hold = func(negotiation.Negotiation, negotiation.Kind) bool { return true }
	for _, id := range []string{hidden.Offer.ID, "urn:uuid:00000000-0000-4000-8000-000000000000"} {
		begun := b.boreal.Begin(b.cobalt, b.offer)
		b.Run()
		theirs := b.boreal.Negotiation(begun.ID).PeerPID
		if _, err := b.cobalt.Negotiations.Propose(t.Context(), b.cobalt.Local, theirs, negotiation.Offer{ID: b.offer.ID}, commit.Order{Actor: "operator"}); err != nil {
			t.Fatal(err)
		}
		b.boreal.Hold = b.cobalt.Hold
		b.Run()
		counter := negotiation.Offer{ID: id, Target: b.offer.Target, Policy: b.offer.Policy}
		if _, err := b.boreal.Negotiations.Propose(t.Context(), b.boreal.Local, begun.ID, counter, commit.Order{Actor: "operator"}); err != nil {
			t.Fatal(err)
		}
		o := b.boreal.Take(request)
		if a := b.Deliver(o, b.boreal); a.Status != 200 || a.State != "REQUESTED" {
			t.Errorf("the offer %s got %+v, want the same answer for hidden and unknown", id, a)
		}
	}
}

func TestEachStepCanWaitForAnOperator(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all := func(negotiation.Negotiation, negotiation.Kind) bool { return true }
	b.cobalt.Hold, b.boreal.Hold = all, all
	b.boreal.Begin(b.cobalt, b.offer)
	for _, step := range []struct {
		who  *pair.Side
		at   negotiation.State
		says string
	}{{b.cobalt, negotiation.Requested, agreed}, {b.boreal, negotiation.Agreed, verification}, {b.cobalt, negotiation.Verified, finalization}} {
		b.Run()
		wantState(t, step.who, step.at)
		if _, more := step.who.Next(); more {
			t.Fatalf("%s speaks before its operator", step.who.Local.Slug)
		}
		approve(t, step.who, "")
		if got := b.Run(); !slices.Equal(got, []string{step.says}) {
			t.Fatalf("messages %v, want %s alone", got, step.says)
		}
	}
	wantState(t, b.cobalt, negotiation.Finalized)
	wantState(t, b.boreal, negotiation.Finalized)
	if _, err := b.cobalt.Negotiations.Approve(t.Context(), b.cobalt.Local, b.cobalt.Negotiation("").ID, commit.Order{Actor: "operator"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("approving what is over: %v, want a conflict", err)
	}
}

func TestAnAgreementAboutSomethingElseIsRefusedOnRecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	b.Deliver(b.boreal.Take(request), b.boreal)
	sent := b.cobalt.Take(agreed)
	sent.Body = []byte(strings.Replace(string(sent.Body), pair.Dataset, "urn:cobalt:part:other", 1))
	if a := b.Hand(sent, b.cobalt); a.Status != 400 || a.Code != "agreement.differs" {
		t.Errorf("answer %+v, want 400 agreement.differs", a)
	}
	wantState(t, b.boreal, negotiation.Requested)
	wantDenied(t, b.boreal, policy.DoorAgree, "agreement.differs")
}

func TestAFinalizationThatNobodyAcknowledgesStands(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.boreal.Begin(b.cobalt, b.offer)
	b.Deliver(b.boreal.Take(request), b.boreal)
	b.Deliver(b.cobalt.Take(agreed), b.cobalt)
	b.Deliver(b.boreal.Take(verification), b.boreal)
	o := b.cobalt.Take(finalization)
	b.Hand(o, b.cobalt) // taken; the answer is lost, and no other comes
	o.LastError = "no route"
	if err := b.cobalt.Negotiations.Rejected(t.Context(), o, outbox.Answer{}); err != nil {
		t.Fatal(err)
	}
	wantState(t, b.boreal, negotiation.Finalized)
	if n := wantState(t, b.cobalt, negotiation.Finalized); !strings.Contains(n.Error, "no route") {
		t.Errorf("the operator reads %q, want the cause", n.Error)
	}
}

// approve lets the negotiation go on; with an empty id the only one there is.
func approve(t *testing.T, s *pair.Side, id string) {
	t.Helper()
	if _, err := s.Negotiations.Approve(t.Context(), s.Local, s.Negotiation(id).ID, commit.Order{Actor: "operator"}); err != nil {
		t.Fatal(err)
	}
}

// propose puts an offer on the table of the only negotiation there is.
func propose(t *testing.T, s *pair.Side, o negotiation.Offer) {
	t.Helper()
	if _, err := s.Negotiations.Propose(t.Context(), s.Local, s.Negotiation("").ID, o, commit.Order{Actor: "operator"}); err != nil {
		t.Fatal(err)
	}
}

func wantSameAgreement(t *testing.T, b bench) {
	t.Helper()
	p, c := b.cobalt.Agreements(), b.boreal.Agreements()
	if len(p) != 1 || len(c) != 1 || p[0].ID != c[0].ID || p[0].Digest != c[0].Digest || string(p[0].Raw) != string(c[0].Raw) || len(p[0].Raw) == 0 {
		t.Errorf("agreements differ:\n%+v\n%+v", p, c)
	}
}

// wantDenied looks for a denial at the door with the code as its reason; "" stands for any.
func wantDenied(t *testing.T, s *pair.Side, door policy.Door, code string) {
	t.Helper()
	for _, r := range s.AllRecords() {
		if r.Door == string(door) && r.Effect == "deny" && (code == "" || len(r.Reasons) > 0 && r.Reasons[0].Code == code) {
			return
		}
	}
	t.Errorf("%s has no denial %s at %s on record", s.Local.Slug, code, door)
}

func TestOurOwnPolicyMayForbidToSign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := pair.Ask(b.cobalt.Offer(pair.Members(), pair.Policy("use", pair.Term("UsagePurpose", "isAnyOf", "cx.quality.base:1"))))
	b.boreal.Begin(b.cobalt, o)
	b.Run()
	wantState(t, b.cobalt, negotiation.Terminated)
	n := wantState(t, b.boreal, negotiation.Terminated)
	if n.Code != "policy.refused" || len(b.boreal.Agreements()) != 0 {
		t.Errorf("%s %v with %d agreements, want our own refusal", n.Code, n.Reasons, len(b.boreal.Agreements()))
	}
}

func TestTheDigestOfAnAgreementIsOfItsTermsAlone(t *testing.T) {
	t.Parallel()
	a := agreement.Agreement{ID: "urn:uuid:1", Asset: "urn:a", Provider: "did:web:p", Consumer: "did:web:c", Policy: pair.Footprints(),
		Signed: time.Date(2026, 11, 24, 10, 0, 0, 0, time.FixedZone("CET", 3600))}
	want, err := agreement.DigestOf(a)
	if err != nil {
		t.Fatal(err)
	}
	same := a
	same.Negotiation, same.Role, same.Raw, same.Policy.ID, same.Signed = "urn:uuid:2", "consumer", []byte("x"), "urn:uuid:1", a.Signed.UTC()
	if got, _ := agreement.DigestOf(same); got != want {
		t.Error("transport and side change the digest")
	}
	for name, change := range map[string]func(*agreement.Agreement){
		"id":       func(a *agreement.Agreement) { a.ID = "urn:uuid:3" },
		"target":   func(a *agreement.Agreement) { a.Asset = "urn:b" },
		"provider": func(a *agreement.Agreement) { a.Provider = "did:web:q" },
		"consumer": func(a *agreement.Agreement) { a.Consumer = "did:web:q" },
		"moment":   func(a *agreement.Agreement) { a.Signed = a.Signed.Add(time.Nanosecond) },
		"policy":   func(a *agreement.Agreement) { a.Policy = pair.Members() },
	} {
		other := a
		change(&other)
		if got, _ := agreement.DigestOf(other); got == want {
			t.Errorf("another %s has the same digest", name)
		}
	}
}

func codeOf(err error) string {
	var f *fault.Error
	errors.As(err, &f)
	if f == nil {
		return ""
	}
	return f.Code
}

// The answer to a request was on its way when an operator ended the negotiation: the peer must not wait for us.
func TestWhoEndsANegotiationWhileThePeerAnswersTellsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cobalt.Hold = func(negotiation.Negotiation, negotiation.Kind) bool { return true }
	begun := b.boreal.Begin(b.cobalt, b.offer)
	o := b.boreal.Take(request)
	answer := b.Hand(o, b.boreal)
	if _, err := b.boreal.Negotiations.Terminate(t.Context(), b.boreal.Local, begun.ID, commit.Order{Actor: "operator", Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	wantState(t, b.boreal, negotiation.Terminated)
	wantState(t, b.cobalt, negotiation.Requested)
	for range 2 { // told again after a crash, it is no news
		b.Tell(o, b.boreal, answer)
	}
	if kinds := b.Run(); !slices.Equal(kinds, []string{termination}) {
		t.Errorf("said %v, want one termination", kinds)
	}
	for _, s := range []*pair.Side{b.boreal, b.cobalt} {
		if got := wantState(t, s, negotiation.Terminated); got.Code != "operator.terminated" || got.Pending.Kind != "" || got.PeerPID == "" {
			t.Errorf("%s: code %s, %q on its way to %q", s.Local.Slug, got.Code, got.Pending.Kind, got.PeerPID)
		}
	}
}

// A peer that names nothing cannot be told.
func TestWhoEndsANegotiationHasNobodyToTellWhenTheAnswerNamesNoPid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun := b.boreal.Begin(b.cobalt, b.offer)
	o := b.boreal.Take(request)
	if _, err := b.boreal.Negotiations.Terminate(t.Context(), b.boreal.Local, begun.ID, commit.Order{Actor: "operator", Reason: "enough"}); err != nil {
		t.Fatal(err)
	}
	before := wantState(t, b.boreal, negotiation.Terminated)
	for _, a := range []outbox.Answer{{Status: 200}, {Status: 200, ConsumerPID: "urn:uuid:another", ProviderPID: "urn:uuid:theirs"}, {Status: 404}} {
		b.Tell(o, b.boreal, a)
	}
	if got := wantState(t, b.boreal, negotiation.Terminated); got.Version != before.Version || len(b.Run()) > 0 {
		t.Errorf("version %d, want %d, and nothing to say", got.Version, before.Version)
	}
}
