package transfer_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Kinds of messages on the wire, as the outbox names them.
const (
	request     = string(transfer.Request)
	start       = string(transfer.Start)
	suspension  = string(transfer.Suspension)
	completion  = string(transfer.Completion)
	termination = string(transfer.Termination)
)

// bench is a provider and a consumer with an agreement.
type bench struct {
	*pair.Network
	cobalt, boreal *pair.Side
	agreement      string
}

func setup(t *testing.T) bench {
	t.Helper()
	return under(t, pair.Footprints())
}

func under(t *testing.T, usage odrl.Policy) bench {
	t.Helper()
	n := pair.New(t, "cobalt", "boreal", "dusk")
	b := bench{Network: n, cobalt: n.Side("cobalt"), boreal: n.Side("boreal")}
	b.boreal.Begin(b.cobalt, pair.Ask(b.cobalt.Publish(pair.Members(), usage)))
	b.Run()
	if got := b.boreal.Negotiation(""); got.State != negotiation.Finalized {
		t.Fatalf("no agreement: %s %s %v", got.State, got.Code, got.Reasons)
	}
	b.agreement = b.boreal.Agreements()[0].ID
	return b
}

func (b bench) begin(t *testing.T) transfer.Transfer {
	t.Helper()
	got, err := b.boreal.Transfers.Begin(t.Context(), b.boreal.Local, transfer.BeginRequest{Agreement: b.agreement, Format: transfer.Pull, Actor: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// started is a bench with a running transfer.
func started(t *testing.T) bench {
	t.Helper()
	b := setup(t)
	b.begin(t)
	b.Run()
	b.want(t, transfer.Started)
	return b
}

func (b bench) want(t *testing.T, want transfer.State) {
	t.Helper()
	for _, s := range []*pair.Side{b.cobalt, b.boreal} {
		if got := s.Transfer(""); got.State != want || got.Pending.Kind != "" {
			t.Errorf("%s is %s (%s %v) with %q pending, want %s", s.Local.Slug, got.State, got.Code, got.Reasons, got.Pending.Kind, want)
		}
	}
}

// opens reports whether the token opens a transfer of the provider, as the data plane asks.
func (b bench) opens(t *testing.T) bool {
	t.Helper()
	handed, err := b.cobalt.Store.Transfers(t.Context(), b.cobalt.Local.ID, transfer.Filter{}, page.Request{})
	if err != nil || len(handed.Items) != 1 {
		t.Fatalf("%d transfers (%v), want 1", len(handed.Items), err)
	}
	token, err := b.cobalt.Token(handed.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.cobalt.Store.TransferByToken(t.Context(), b.cobalt.Local.ID, process.Digest([]byte(token)))
	if err != nil && !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	return err == nil
}

type operation func(*transfer.Service, *testing.T, *pair.Side) error

func terminate(s *transfer.Service, t *testing.T, side *pair.Side) error {
	_, err := s.Terminate(t.Context(), side.Local, side.Transfer("").ID, commit.Order{Actor: "operator", Reason: "enough"})
	return err
}

func suspend(s *transfer.Service, t *testing.T, side *pair.Side) error {
	seen := side.Transfer("")
	var stale *fault.Error
	if _, err := s.Suspend(t.Context(), side.Local, seen.ID, commit.Order{Actor: "operator", Version: seen.Version + 1}); !errors.As(err, &stale) || stale.Code != "version.stale" {
		t.Errorf("an order about another version: %v", err)
	}
	_, err := s.Suspend(t.Context(), side.Local, side.Transfer("").ID, commit.Order{Actor: "operator", Reason: "pause"})
	return err
}

func resume(s *transfer.Service, t *testing.T, side *pair.Side) error {
	_, err := s.Resume(t.Context(), side.Local, side.Transfer("").ID, commit.Order{Actor: "operator"})
	return err
}

func complete(s *transfer.Service, t *testing.T, side *pair.Side) error {
	_, err := s.Complete(t.Context(), side.Local, side.Transfer("").ID, commit.Order{Actor: "operator"})
	return err
}

func (b bench) do(t *testing.T, side *pair.Side, op operation) {
	t.Helper()
	if err := op(side.Transfers, t, side); err != nil {
		t.Fatal(err)
	}
}

func TestATransferStartsWithAnAddressForItsConsumerAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	mine := b.begin(t)
	if got, want := b.Run(), []string{request, start}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	b.want(t, transfer.Started)
	a, err := b.boreal.Transfers.Address(t.Context(), b.boreal.Local, mine.ID)
	if err != nil {
		t.Fatal(err)
	}
	token := a.Properties[transfer.PropertyToken]
	if token == "" || a.Properties[transfer.PropertyAuthType] != "bearer" || a.Properties[transfer.PropertyExpires] != "300" ||
		a.Properties[transfer.PropertyEndpoint] != "https://dataspace.example/cobalt/data" {
		t.Errorf("address %+v", a)
	}
	if stored := b.boreal.Transfer(""); strings.Contains(string(stored.Address), token) {
		t.Error("the token is readable at rest")
	}
	var doors []string
	for _, r := range b.cobalt.Records(b.cobalt.Transfer("").ID) {
		doors = append(doors, r.Door)
	}
	slices.Sort(doors)
	if want := []string{string(policy.DoorIssue), string(policy.DoorTransfer)}; !slices.Equal(doors, want) {
		t.Errorf("decided at %v, want %v", doors, want)
	}
}

func TestARepeatedRequestGetsTheSameTransfer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t)
	o := b.boreal.Take(request)
	answers := make([]outbox.Answer, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = b.Hand(o, b.boreal) })
	}
	all.Wait()
	for _, a := range answers {
		if a.Status != 201 || a.ProviderPID != b.cobalt.Transfer("").ID {
			t.Errorf("answer %+v, want the one transfer", a)
		}
	}
	b.Tell(o, b.boreal, answers[0])
	b.Run()
	b.want(t, transfer.Started)
}

func TestAPausedTransferIsResumedAndPausedAgain(t *testing.T) {
	t.Parallel()
	b := started(t)
	first := b.cobalt.Transfer("").Grant.Hash
	for round := range 3 {
		for _, by := range []struct{ pauses, resumes *pair.Side }{{b.boreal, b.boreal}, {b.boreal, b.cobalt}, {b.cobalt, b.boreal}, {b.cobalt, b.cobalt}} {
			b.do(t, by.pauses, suspend)
			b.Run()
			b.want(t, transfer.Suspended)
			if b.opens(t) {
				t.Fatalf("round %d: the token opens a suspended transfer", round)
			}
			b.do(t, by.resumes, resume)
			b.Run()
			b.want(t, transfer.Started)
			if hash := b.cobalt.Transfer("").Grant.Hash; hash == "" || hash == first {
				t.Fatalf("round %d: a resumed transfer has a token of its own, got %q", round, hash)
			}
			if _, err := b.boreal.Transfers.Address(t.Context(), b.boreal.Local, b.boreal.Transfer("").ID); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
}

func TestWhatEndsOrPausesCutsTheFlowsBeforeTheAnswerLeaves(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]operation{"suspension": suspend, "termination": terminate, "completion": complete} {
		t.Run(name+" by the provider", func(t *testing.T) {
			t.Parallel()
			b := started(t)
			id := b.cobalt.Transfer("").ID
			before := b.cobalt.Flows.Stopped(id)
			b.do(t, b.cobalt, op)
			if b.cobalt.Flows.Stopped(id) == before || b.opens(t) {
				t.Error("data flows on while the consumer is being told")
			}
		})
		t.Run(name+" by the consumer", func(t *testing.T) {
			t.Parallel()
			b := started(t)
			id := b.cobalt.Transfer("").ID
			before := b.cobalt.Flows.Stopped(id)
			b.do(t, b.boreal, op)
			o, _ := b.boreal.Next()
			if a := b.Hand(o, b.boreal); a.Status != 200 {
				t.Fatalf("answer %+v", a)
			}
			if b.cobalt.Flows.Stopped(id) == before || b.opens(t) {
				t.Error("data flows on after the answer")
			}
			if _, err := b.boreal.Transfers.Address(t.Context(), b.boreal.Local, b.boreal.Transfer("").ID); !fault.Is(err, fault.Conflict) {
				t.Errorf("the consumer still has an address: %v", err)
			}
		})
	}
}

func TestEitherSideEndsItInAnyState(t *testing.T) {
	t.Parallel()
	for name, reach := range map[string]func(t *testing.T, b bench){
		"as soon as it is asked for": func(*testing.T, bench) {},
		"before the start arrived": func(_ *testing.T, b bench) {
			b.Deliver(b.boreal.Take(request), b.boreal)
		},
		"while it runs": func(_ *testing.T, b bench) { b.Run() },
		"while it pauses": func(t *testing.T, b bench) {
			b.Run()
			b.do(t, b.boreal, suspend)
			b.Run()
		},
	} {
		for _, who := range []string{"boreal", "cobalt"} {
			if who == "cobalt" && name == "as soon as it is asked for" {
				continue // it does not know of it yet
			}
			t.Run(who+" "+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.begin(t)
				reach(t, b)
				side := b.Side(who)
				b.do(t, side, terminate)
				if got := side.Transfer(""); got.State != transfer.Terminated {
					t.Errorf("%s right after the operator ended it", got.State)
				}
				b.Run()
				if name == "as soon as it is asked for" { // the request was withdrawn before it left
					all, err := b.cobalt.Transfers.List(t.Context(), b.cobalt.Local, transfer.Filter{}, page.Request{})
					if err != nil || len(all.Items) != 0 {
						t.Errorf("the provider has %d transfers (%v), want none", len(all.Items), err)
					}
					return
				}
				b.want(t, transfer.Terminated)
				if err := terminate(side.Transfers, t, side); !fault.Is(err, fault.Conflict) {
					t.Errorf("ending it twice: %v, want a conflict", err)
				}
				if b.opens(t) {
					t.Error("the token still opens it")
				}
			})
		}
	}
}

func TestCompletionEndsItInGoodOrder(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"boreal", "cobalt"} {
		b := started(t)
		b.do(t, b.Side(who), complete)
		b.Run()
		b.want(t, transfer.Completed)
	}
}

func TestTransferMessagesOutOfOrderChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	mine := b.begin(t)
	b.Deliver(b.boreal.Take(request), b.boreal)
	ours := b.cobalt.Transfer("")
	post := func(from *pair.Side, to string, m transfer.Message, path string) outbox.Answer {
		_, body, err := dsp.Codec{}.EncodeTransfer(m)
		if err != nil {
			t.Fatal(err)
		}
		return b.Call(from.Local.DID, "POST", "https://dataspace.example/"+to+"/dsp/2025-1/transfers/"+path, body)
	}
	pids := func(k transfer.Kind) transfer.Message {
		return transfer.Message{Kind: k, ConsumerPID: mine.ID, ProviderPID: ours.ID}
	}
	// The provider's own start is on its way but not acknowledged; REQUESTED admits nothing from the consumer but a termination, and what is
	// legal only after the start proves that it arrived.
	if a := post(b.boreal, "cobalt", pids(transfer.Start), ours.ID+"/start"); a.Status != 400 {
		t.Errorf("a start by the consumer of what is requested: %d, want 400", a.Status)
	}
	foreign := pids(transfer.Termination)
	foreign.ConsumerPID = "urn:uuid:of-somebody-else"
	if a := post(b.boreal, "cobalt", foreign, ours.ID+"/termination"); a.Status != 400 {
		t.Errorf("another pid in the body: %d, want 400", a.Status)
	}
	if a := post(b.Side("dusk"), "cobalt", pids(transfer.Termination), ours.ID+"/termination"); a.Status != 404 {
		t.Errorf("a stranger's termination: %d, want 404", a.Status)
	}
	bare := pids(transfer.Start)
	bare.ToConsumer = true
	if a := post(b.cobalt, "boreal", bare, mine.ID+"/start"); a.Status != 400 {
		t.Errorf("a start without an address: %d, want 400", a.Status)
	}
	if got := b.cobalt.Transfer(""); got.Version != ours.Version {
		t.Error("a refused message changed the transfer")
	}
	b.Run()
	b.want(t, transfer.Started)
}

func TestOnlyTheConsumerOfAnAgreementIsServedUnderIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ask := func(from, agreement, format string) outbox.Answer {
		_, body, err := dsp.Codec{}.EncodeTransfer(transfer.Message{Kind: transfer.Request, ConsumerPID: "urn:uuid:" + from + agreement, AgreementID: agreement,
			Format: format, Callback: "https://dataspace.example/" + from + "/dsp/2025-1"})
		if err != nil {
			t.Fatal(err)
		}
		return b.Call(b.Side(from).Local.DID, "POST", "https://dataspace.example/cobalt/dsp/2025-1/transfers/request", body)
	}
	unknown := ask("dusk", "urn:uuid:nothing", transfer.Pull)
	if got := ask("dusk", b.agreement, transfer.Pull); got.Status != 404 || got.Code != unknown.Code || !slices.Equal(got.Reasons, unknown.Reasons) {
		t.Errorf("somebody else's agreement: %+v, want the same as %+v", got, unknown)
	}
	if got := ask("boreal", b.agreement, "Kafka-PUSH"); got.Status != 400 {
		t.Errorf("a format that is not served: %d, want 400", got.Status)
	}
	if _, err := b.cobalt.Transfers.Begin(t.Context(), b.cobalt.Local, transfer.BeginRequest{Agreement: b.agreement, Format: transfer.Pull}); !fault.Is(err, fault.Conflict) {
		t.Errorf("a provider that wants to consume: %v, want a conflict", err)
	}
}

func TestADenialAtTheStartReachesTheConsumerWithItsReasons(t *testing.T) {
	t.Parallel()
	b := under(t, pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("DataUsageEndDate", "eq", "2026-11-24T10:00:00Z")))
	b.Advance(2 * time.Hour)
	b.begin(t)
	if got, want := b.Run(), []string{request, termination}; !slices.Equal(got, want) {
		t.Errorf("messages %v, want %v", got, want)
	}
	b.want(t, transfer.Terminated)
	if got := b.boreal.Transfer(""); got.Code != "policy.refused" || !strings.Contains(strings.Join(got.Reasons, " "), "DataUsageEndDate") {
		t.Errorf("the consumer sees %s %v, want the end date named", got.Code, got.Reasons)
	}
}

func TestATokenLivesNoLongerThanTheAgreement(t *testing.T) {
	t.Parallel()
	b := under(t, pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("DataUsageEndDate", "eq", "2026-11-24T09:01:00Z")))
	b.begin(t)
	b.Run()
	b.want(t, transfer.Started)
	if got, want := b.cobalt.Transfer("").Grant.Expires, b.Now().Add(time.Minute); !got.Equal(want) {
		t.Errorf("the token expires at %v, want %v", got, want)
	}
}

func TestRetiringAnAgreementEndsWhatRunsUnderIt(t *testing.T) {
	t.Parallel()
	b := started(t)
	id := b.cobalt.Transfer("").ID
	n, err := b.cobalt.Transfers.Retire(t.Context(), b.cobalt.Local, b.cobalt.Store, b.agreement, "operator", "recall")
	if err != nil || n != 1 {
		t.Fatalf("retire: %d, %v", n, err)
	}
	if b.cobalt.Flows.Stopped(id) == 0 || b.opens(t) {
		t.Error("data flows on under a retired agreement")
	}
	b.Run()
	b.want(t, transfer.Terminated)
	if got := b.boreal.Transfer(""); got.Code != "agreement.retired" || !slices.Contains(got.Reasons, "recall") {
		t.Errorf("the consumer sees %s %v, want why", got.Code, got.Reasons)
	}
	if _, err := b.cobalt.Transfers.Retire(t.Context(), b.cobalt.Local, b.cobalt.Store, b.agreement, "operator", "again"); !fault.Is(err, fault.Conflict) {
		t.Errorf("retiring it twice: %v, want a conflict", err)
	}
	// The consumer was not told of the retirement itself; what it asks for now is refused with the reason.
	again, err := b.boreal.Transfers.Begin(t.Context(), b.boreal.Local, transfer.BeginRequest{Agreement: b.agreement, Format: transfer.Pull})
	if err != nil {
		t.Fatal(err)
	}
	b.Run()
	if got := b.boreal.Transfer(again.ID); got.State != transfer.Terminated || got.Code != "agreement.retired" {
		t.Errorf("a new transfer is %s (%s %v), want it refused", got.State, got.Code, got.Reasons)
	}
	for _, r := range b.cobalt.AllRecords() {
		if r.Door == string(policy.DoorTransfer) && r.Effect == "deny" && r.Reasons[0].Code == "agreement.retired" {
			return
		}
	}
	t.Error("the refusal is not on record")
}

func TestAtRestNobodyReadsTheTokenThatIsOwed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t)
	b.Deliver(b.boreal.Take(request), b.boreal)
	o := b.cobalt.Take(start)
	token, err := b.cobalt.Token(b.cobalt.Transfer(""))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(o.Body, []byte(token)) || !o.Sealed {
		t.Error("the token can be read in the message that is owed")
	}
	if !bytes.Contains(b.cobalt.Body(o), []byte(token)) {
		t.Error("the consumer does not get the token")
	}
	b.Deliver(o, b.cobalt)
	b.want(t, transfer.Started)
}

func TestARetirementThatRacesAStartStillEndsIt(t *testing.T) {
	t.Parallel()
	retire := func(t *testing.T, b bench) {
		if _, err := b.cobalt.Transfers.Retire(t.Context(), b.cobalt.Local, b.cobalt.Store, b.agreement, "operator", "recall"); err != nil {
			t.Error(err)
		}
	}
	t.Run("of a new transfer", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.begin(t)
		b.cobalt.Store.Before(func() { retire(t, b) }) // after the agreement was found in force, before the transfer is there
		b.Run()
		b.want(t, transfer.Terminated)
		if b.opens(t) {
			t.Error("the token opens it")
		}
	})
	t.Run("of one that waits for its operator", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.cobalt.HoldStart = func(transfer.Transfer) bool { return true }
		b.begin(t)
		b.cobalt.Store.Before(func() { retire(t, b) })
		b.Run()
		b.want(t, transfer.Terminated)
	})
	t.Run("of one that the consumer begins while it retires the agreement", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.boreal.Store.Before(func() {
			if _, err := b.boreal.Transfers.Retire(t.Context(), b.boreal.Local, b.boreal.Store, b.agreement, "operator", "recall"); err != nil {
				t.Error(err)
			}
		})
		_, err := b.boreal.Transfers.Begin(t.Context(), b.boreal.Local, transfer.BeginRequest{Agreement: b.agreement, Format: transfer.Pull, Actor: "operator"})
		if !fault.Is(err, fault.Refused) {
			t.Errorf("begun under a retired agreement: %v", err)
		}
		if got := b.boreal.Transfer(""); got.State != transfer.Terminated || got.Code != "agreement.retired" {
			t.Errorf("it is %s (%s)", got.State, got.Code)
		}
		if kinds := b.Run(); len(kinds) > 0 {
			t.Errorf("said %v, want nothing", kinds)
		}
	})
	t.Run("of a resumed one", func(t *testing.T) {
		t.Parallel()
		b := started(t)
		b.do(t, b.boreal, suspend)
		b.Run()
		b.do(t, b.boreal, resume)
		b.cobalt.Store.Before(func() { retire(t, b) })
		b.Run()
		b.want(t, transfer.Terminated)
		if b.opens(t) {
			t.Error("the token opens it")
		}
	})
}

func TestWhatACrashLeftUnderARetiredAgreementIsSwept(t *testing.T) {
	t.Parallel()
	b := started(t)
	retired := retirement(b)
	if err := b.cobalt.Store.Retire(t.Context(), retired, commit.Effects{}); err != nil { // and the process dies before it ends the transfer
		t.Fatal(err)
	}
	if n, _, err := b.cobalt.Transfers.Sweep(t.Context(), b.cobalt.Local); err != nil || n != 1 {
		t.Errorf("swept %d, %v, want 1", n, err)
	}
	b.Run()
	b.want(t, transfer.Terminated)
	if n, _, err := b.cobalt.Transfers.Sweep(t.Context(), b.cobalt.Local); err != nil || n != 0 {
		t.Errorf("swept again %d, %v, want 0", n, err)
	}
}

func TestAResumedTransferIsJudgedAnew(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"boreal", "cobalt"} {
		t.Run("when "+who+" resumes", func(t *testing.T) {
			t.Parallel()
			b := under(t, pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("DataUsageEndDate", "eq", "2026-11-24T10:00:00Z")))
			b.begin(t)
			b.Run()
			b.do(t, b.boreal, suspend)
			b.Run()
			b.Advance(2 * time.Hour)
			b.do(t, b.Side(who), resume)
			b.Run()
			b.want(t, transfer.Terminated)
			if got := b.boreal.Transfer(""); got.Code != "policy.refused" {
				t.Errorf("the consumer sees %s %v", got.Code, got.Reasons)
			}
		})
	}
}

func TestARefusedWishToResumeLeavesItSuspended(t *testing.T) {
	t.Parallel()
	b := started(t)
	b.do(t, b.cobalt, suspend)
	b.Run()
	b.do(t, b.boreal, resume)
	o := b.boreal.Take(start)
	b.Tell(o, b.boreal, outbox.Answer{Status: 400, Code: "not.now", Reasons: []string{"maintenance"}})
	if got := b.boreal.Transfer(""); got.State != transfer.Suspended || got.Code != "not.now" || got.Pending.Kind != "" {
		t.Errorf("%s %s with %q pending, want it suspended with the peer's reason", got.State, got.Code, got.Pending.Kind)
	}
}

func TestAStartThatIsNotTakenEndsItOnBothSides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t)
	b.Deliver(b.boreal.Take(request), b.boreal)
	o := b.cobalt.Take(start)
	b.Tell(o, b.cobalt, outbox.Answer{Status: 400})
	if b.opens(t) {
		t.Error("the token opens what the consumer refused")
	}
	b.Run()
	b.want(t, transfer.Terminated)
}

func TestAStartWhoseAnswerWasLostIsMadeGoodByALook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t)
	b.Deliver(b.boreal.Take(request), b.boreal)
	o := b.cobalt.Take(start)
	first := b.Hand(o, b.cobalt)
	if again := b.Hand(o, b.cobalt); again.Status != first.Status || again.State != first.State {
		t.Errorf("repeated start: %+v, want %+v", again, first)
	}
	if err := b.cobalt.Transfers.Rejected(t.Context(), o, outbox.Answer{Status: 200, State: "STARTED", Code: "conflict"}); err != nil {
		t.Fatal(err)
	}
	b.want(t, transfer.Started)
}

func TestAnUnreachableConsumerEndsItInTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t)
	b.Deliver(b.boreal.Take(request), b.boreal)
	o := b.cobalt.Take(start)
	o.LastError = "no route"
	b2 := b.cobalt.Transfer("")
	if err := b.cobalt.Transfers.Rejected(t.Context(), o, outbox.Answer{}); err != nil {
		t.Fatal(err)
	}
	got := b.cobalt.Transfer("")
	if got.State != transfer.Terminated || got.Code != "peer.unreachable" || b.opens(t) || b.cobalt.Flows.Stopped(b2.ID) == 0 {
		t.Errorf("%s %s, token %t", got.State, got.Code, b.opens(t))
	}
}

func TestAPeerMayHaveOnlySoManyTransfersOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range pair.MaxOpen + 1 {
		b.begin(t)
		if a := b.Hand(b.boreal.Take(request), b.boreal); a.OK() != (i < pair.MaxOpen) {
			t.Errorf("request %d: %d", i+1, a.Status)
		}
	}
}

func TestNoTransferBeginsUnderWhatIsNotAgreed(t *testing.T) {
	t.Parallel()
	n := pair.New(t, "cobalt", "boreal")
	cobalt, boreal := n.Side("cobalt"), n.Side("boreal")
	boreal.Begin(cobalt, pair.Ask(cobalt.Publish(pair.Members(), pair.Footprints())))
	n.Deliver(boreal.Take(string(negotiation.Request)), boreal)
	n.Deliver(cobalt.Take(string(negotiation.Agreement)), cobalt)
	id := boreal.Agreements()[0].ID // agreed, but neither verified nor finalized
	_, err := boreal.Transfers.Begin(t.Context(), boreal.Local, transfer.BeginRequest{Agreement: id, Format: transfer.Pull})
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.NotFound {
		t.Errorf("begin: %v, want not found", err)
	}
	_, body, err := dsp.Codec{}.EncodeTransfer(transfer.Message{Kind: transfer.Request, ConsumerPID: "urn:uuid:1", AgreementID: id, Format: transfer.Pull,
		Callback: "https://dataspace.example/boreal/dsp/2025-1"})
	if err != nil {
		t.Fatal(err)
	}
	if a := n.Call(boreal.Local.DID, "POST", "https://dataspace.example/cobalt/dsp/2025-1/transfers/request", body); a.Status != 404 {
		t.Errorf("the provider answers %d, want 404", a.Status)
	}
}

func retirement(b bench) agreement.Retirement {
	return agreement.Retirement{Participant: b.cobalt.Local.ID, Agreement: b.agreement, Reason: "recall", Actor: "operator", Time: b.Now()}
}

// The answer to a request was on its way when an operator ended the transfer: the peer must not wait for us.
func TestWhoEndsATransferWhileThePeerAnswersTellsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cobalt.HoldStart = func(transfer.Transfer) bool { return true }
	b.begin(t)
	o := b.boreal.Take(request)
	answer := b.Hand(o, b.boreal)
	if err := terminate(b.boreal.Transfers, t, b.boreal); err != nil {
		t.Fatal(err)
	}
	for range 2 { // told again after a crash, it is no news
		b.Tell(o, b.boreal, answer)
	}
	if kinds := b.Run(); !slices.Equal(kinds, []string{termination}) {
		t.Errorf("said %v, want one termination", kinds)
	}
	b.want(t, transfer.Terminated)
	if got := b.cobalt.Transfer(""); !slices.Equal(got.Reasons, []string{"enough"}) {
		t.Errorf("the provider heard %s %v", got.Code, got.Reasons)
	}
}

// Both want to go on: the start that is on its way is the answer to the wish, even where a new one would wait for an operator.
func TestAWishToResumeThatCrossesTheProvidersStartIsGrantedByIt(t *testing.T) {
	t.Parallel()
	b := started(t)
	b.do(t, b.cobalt, suspend)
	b.Run()
	b.cobalt.HoldStart = func(transfer.Transfer) bool { return true }
	b.do(t, b.cobalt, resume)
	ours := b.cobalt.Take(start)
	b.do(t, b.boreal, resume)
	wish := b.boreal.Take(start)
	for range 2 {
		if a := b.Hand(wish, b.boreal); a.Status != 200 || a.State != "SUSPENDED" {
			t.Errorf("the wish got %+v", a)
		}
	}
	b.Deliver(ours, b.cobalt)
	if kinds := b.Run(); len(kinds) > 0 {
		t.Errorf("said %v besides", kinds)
	}
	b.want(t, transfer.Started)
	if !b.opens(t) {
		t.Error("the token does not open it")
	}
}

func TestASuspensionThatComesAgainAfterTheResumptionUndoesNothing(t *testing.T) {
	t.Parallel()
	b := started(t)
	b.do(t, b.boreal, suspend)
	pause := b.boreal.Take(suspension)
	b.Hand(pause, b.boreal) // the answer is lost
	b.do(t, b.cobalt, resume)
	again := b.cobalt.Take(start)
	if a := b.Hand(pause, b.boreal); a.Status != 200 {
		t.Errorf("the same suspension got %+v", a)
	}
	b.Deliver(again, b.cobalt)
	if a := b.Hand(pause, b.boreal); a.Status != 200 || a.State != "STARTED" {
		t.Errorf("a late copy of it got %+v", a)
	}
	b.Run()
	b.want(t, transfer.Started)
	if !b.opens(t) {
		t.Error("the token does not open it")
	}
	b.do(t, b.boreal, suspend)
	b.Run()
	b.want(t, transfer.Suspended)
}

func TestWhatWaitsForAnOperatorIsApprovedAndNotResumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cobalt.HoldStart = func(transfer.Transfer) bool { return true }
	b.begin(t)
	b.Run()
	if err := resume(b.cobalt.Transfers, t, b.cobalt); !fault.Is(err, fault.Conflict) {
		t.Errorf("resuming what waits: %v, want a conflict", err)
	}
	b.want(t, transfer.Requested)
	if _, err := b.cobalt.Transfers.Approve(t.Context(), b.cobalt.Local, b.cobalt.Transfer("").ID, commit.Order{Actor: "operator"}); err != nil {
		t.Fatal(err)
	}
	b.Run()
	b.want(t, transfer.Started)
}
