package outbox_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
)

// bench is a store with a hosted participant, a peer's network that the test scripts, and a service that notes what it is told.
type bench struct {
	t     *testing.T
	store *sqlstore.Store
	local participant.Participant

	mu       sync.Mutex
	attempts []attempt
	told     []told
	send     func(ctx context.Context, o commit.Owed, n int) (outbox.Answer, error)
	look     func(o commit.Owed) (outbox.Answer, error)
	settle   func(n int) error // fails the n-th settling
}

type attempt struct {
	id string
	at time.Time
}

type told struct {
	id        string
	delivered bool
	answer    outbox.Answer
	lastError string
	expired   time.Time // when a deadline was told; zero for a message
}

var accepted = outbox.Answer{Status: 200, ProviderPID: "urn:uuid:theirs"}

// setup runs inside a bubble of synctest: what waits, waits in no time.
func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, send: func(context.Context, commit.Owed, int) (outbox.Answer, error) { return accepted, nil },
		look: func(commit.Owed) (outbox.Answer, error) { return outbox.Answer{}, errors.New("nothing to look at") }, settle: func(int) error { return nil }}
	var err error
	if b.store, err = embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	b.local, err = b.store.CreateParticipant(t.Context(), participant.Participant{Slug: "boreal", DID: "did:web:dataspace.example:boreal", Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// owe commits a process that owes a message to the peer, as the services do.
func (b *bench) owe(id string, peer participant.DID) commit.Owed {
	b.t.Helper()
	o := b.owed(id, peer)
	b.commit(o)
	return o
}

func (b *bench) owed(id string, peer participant.DID) commit.Owed {
	now := time.Now()
	return commit.Owed{ID: "owed-" + id, Participant: b.local.ID, Process: commit.Negotiation, ProcessID: "process-" + id, Peer: peer, Message: "ContractRequestMessage",
		URL: "https://dataspace.example/" + id, Body: []byte(`{}`), Due: now.Add(outbox.Hold), Created: now}
}

func (b *bench) commit(o commit.Owed) {
	b.t.Helper()
	n := negotiation.Negotiation{Participant: b.local.ID, ID: o.ProcessID, Role: negotiation.Consumer, Peer: o.Peer, State: negotiation.Initial, Created: o.Created,
		Updated: o.Created, Pending: negotiation.Pending{Kind: negotiation.Request, To: negotiation.Requested, Owed: o.ID}}
	if err := b.store.CreateNegotiation(b.t.Context(), n, commit.Effects{Owed: &o}); err != nil {
		b.t.Fatal(err)
	}
}

// Send and Look are the network.
func (b *bench) Send(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	b.mu.Lock()
	b.attempts = append(b.attempts, attempt{o.ID, time.Now()})
	n := len(b.attempts)
	b.mu.Unlock()
	return b.send(ctx, o, n)
}

func (b *bench) Look(_ context.Context, o commit.Owed) (outbox.Answer, error) { return b.look(o) }

// Delivered and Rejected are the service: the process goes on, and the message is settled in the same commit.
func (b *bench) Expired(ctx context.Context, o commit.Owed) error {
	return b.finish(ctx, o, told{id: o.ID, expired: time.Now()})
}

func (b *bench) Delivered(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return b.finish(ctx, o, told{id: o.ID, delivered: true, answer: a, lastError: o.LastError})
}

func (b *bench) Rejected(ctx context.Context, o commit.Owed, a outbox.Answer) error {
	return b.finish(ctx, o, told{id: o.ID, delivered: false, answer: a, lastError: o.LastError})
}

func (b *bench) finish(ctx context.Context, o commit.Owed, what told) error {
	b.mu.Lock()
	b.told = append(b.told, what)
	err := b.settle(len(b.told))
	b.mu.Unlock()
	if err != nil {
		return err
	}
	n, err := b.store.Negotiation(ctx, o.Participant, "", o.ProcessID)
	if err != nil || n.Pending.Owed != o.ID {
		return err
	}
	next := n
	next.State, next.Pending = negotiation.Terminated, negotiation.Pending{}
	return b.store.ReplaceNegotiation(ctx, n, next, commit.Effects{Settled: o.ID})
}

// run starts an outbox over the store; it stops when the returned function is called, which waits for it.
func (b *bench) run(deadline time.Duration) (*outbox.Outbox, func()) {
	b.t.Helper()
	box := outbox.New(outbox.Config{Store: b.store, Sender: b, Owners: map[commit.ProcessKind]outbox.Owner{commit.Negotiation: b}, Now: time.Now, Rand: rand.Reader,
		Log: slog.New(slog.NewTextHandler(b.t.Output(), nil)), Workers: 32, Deadline: deadline})
	ctx, cancel := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	running.Go(func() { box.Run(ctx) })
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	b.t.Cleanup(stop)
	return box, stop
}

func (b *bench) wantNothingOwed() {
	b.t.Helper()
	if due, owed, err := b.store.NextDue(b.t.Context()); err != nil || owed {
		b.t.Errorf("something is owed at %v (%v)", due, err)
	}
}

func TestTheFirstAttemptIsMadeAtOnceAndItIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		box, _ := b.run(0)
		synctest.Wait()
		begin := time.Now()
		box.Send(b.owe("1", "did:web:cobalt"))
		synctest.Wait()
		if len(b.attempts) != 1 || !b.attempts[0].at.Equal(begin) {
			t.Fatalf("attempts %v, want one right away", b.attempts)
		}
		pass(48 * time.Hour)
		if len(b.attempts) != 1 || len(b.told) != 1 || !b.told[0].delivered || b.told[0].answer.ProviderPID != accepted.ProviderPID {
			t.Errorf("attempts %v, told %v, want one delivery", b.attempts, b.told)
		}
		b.wantNothingOwed()
	})
}

func TestAttemptsComeAfterDoublingPausesUntilTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.send = func(context.Context, commit.Owed, int) (outbox.Answer, error) {
			return outbox.Answer{}, errors.New("no route to the peer")
		}
		box, _ := b.run(time.Hour)
		box.Send(b.owe("1", "did:web:cobalt"))
		pass(2 * time.Hour)
		full := 100 * time.Millisecond
		for i := 1; i < len(b.attempts); i++ {
			pause := b.attempts[i].at.Sub(b.attempts[i-1].at)
			// The store keeps microseconds.
			if pause > full+time.Microsecond || pause < full*3/4-time.Microsecond {
				t.Fatalf("pause %d is %v, want %v less up to a quarter", i, pause, full)
			}
			full = min(2*full, time.Minute)
		}
		if n := len(b.attempts); n < 60 || n > 95 {
			t.Errorf("%d attempts within an hour", n)
		}
		if len(b.told) != 1 || b.told[0].delivered || b.told[0].answer.Status != 0 || b.told[0].lastError != "no route to the peer" {
			t.Errorf("told %+v, want that the peer could not be reached", b.told)
		}
		b.wantNothingOwed()
	})
}

func TestAPeerThatWantsToBeAskedLaterIsAskedThen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ says, want time.Duration }{
		{10 * time.Second, 10 * time.Second},
		{0, 100 * time.Millisecond},             // never sooner than without its word
		{365 * 24 * time.Hour, 5 * time.Minute}, // nor put off for ever
	} {
		t.Run(tt.says.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				b.send = func(_ context.Context, _ commit.Owed, n int) (outbox.Answer, error) {
					if n == 1 {
						return outbox.Answer{}, &outbox.Later{After: tt.says, Err: errors.New("the peer answered 429")}
					}
					return accepted, nil
				}
				box, _ := b.run(0)
				box.Send(b.owe("1", "did:web:cobalt"))
				pass(time.Hour)
				if len(b.attempts) != 2 {
					t.Fatalf("attempts %v, want two", b.attempts)
				}
				// The store keeps microseconds; what is not asked for has its jitter.
				if pause := b.attempts[1].at.Sub(b.attempts[0].at); pause > tt.want+time.Microsecond || pause < tt.want*3/4-time.Microsecond {
					t.Errorf("asked again after %v, want %v", pause, tt.want)
				}
				if len(b.told) != 1 || !b.told[0].delivered {
					t.Errorf("told %+v, want one delivery", b.told)
				}
			})
		})
	}
}

func TestWhatADeadProcessOwedIsSentByTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.owe("1", "did:web:cobalt") // and the process dies before the first attempt
		pass(time.Second)
		begin := time.Now()
		b.run(0)
		pass(time.Minute)
		if len(b.attempts) != 1 || !b.attempts[0].at.Equal(begin) {
			t.Fatalf("attempts %v, want one as soon as the next process runs", b.attempts)
		}
		b.wantNothingOwed()
	})
}

func TestWhatADeadProcessWasSendingIsSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.owe("1", "did:web:cobalt")
		b.send = func(ctx context.Context, _ commit.Owed, n int) (outbox.Answer, error) {
			if n == 1 {
				<-ctx.Done()
				return outbox.Answer{}, ctx.Err()
			}
			return accepted, nil
		}
		pass(time.Second)
		_, stop := b.run(0)
		pass(time.Second)
		stop() // in the middle of the attempt
		if len(b.told) != 0 {
			t.Fatalf("told %v although nothing was answered", b.told)
		}
		b.run(0)
		pass(time.Minute)
		if len(b.attempts) != 2 || len(b.told) != 1 {
			t.Errorf("attempts %v, told %v, want a second attempt that is told", b.attempts, b.told)
		}
		b.wantNothingOwed()
	})
}

func TestWhatNobodyHandedOverIsFoundByTheTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		box, _ := b.run(0)
		synctest.Wait()
		begin := time.Now()
		lost := b.owe("lost", "did:web:cobalt") // its hand-over found a full queue
		box.Send(b.owe("1", "did:web:cobalt"))
		pass(time.Minute)
		if len(b.attempts) != 2 || b.attempts[1].id != lost.ID || b.attempts[1].at.Sub(begin) != outbox.Hold {
			t.Fatalf("attempts %v, want the lost one after %v", b.attempts, outbox.Hold)
		}
		b.wantNothingOwed()
	})
}

func TestAPeerThatHangsStarvesNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		const hanging = participant.DID("did:web:dusk")
		b.send = func(ctx context.Context, o commit.Owed, _ int) (outbox.Answer, error) {
			if o.Peer == hanging {
				<-ctx.Done()
				return outbox.Answer{}, ctx.Err()
			}
			return accepted, nil
		}
		box, _ := b.run(0)
		for i := range 100 {
			box.Send(b.owe(fmt.Sprintf("hangs-%d", i), hanging))
		}
		synctest.Wait()
		begin := time.Now()
		box.Send(b.owe("1", "did:web:cobalt"))
		synctest.Wait()
		if len(b.told) != 1 || time.Since(begin) != 0 {
			t.Errorf("told %v after %v, want the other peer's message delivered at once", b.told, time.Since(begin))
		}
		pass(10 * time.Minute)
		tried := map[string]bool{}
		for _, a := range b.attempts {
			tried[a.id] = true
		}
		if len(tried) != 101 {
			t.Errorf("%d messages were tried, want each of 101", len(tried))
		}
	})
}

func TestNoMessageIsUnderWayTwiceInOneProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		var mu sync.Mutex
		under := map[string]int{}
		b.send = func(ctx context.Context, o commit.Owed, n int) (outbox.Answer, error) {
			mu.Lock()
			if under[o.ID]++; under[o.ID] > 1 {
				t.Errorf("%s is sent twice at once", o.ID)
			}
			mu.Unlock()
			time.Sleep(7 * time.Second) // longer than it is held back: the timer finds it meanwhile
			mu.Lock()
			under[o.ID]--
			mu.Unlock()
			if n%3 == 0 {
				return outbox.Answer{}, errors.New("busy")
			}
			return accepted, nil
		}
		box, _ := b.run(0)
		for i := range 60 {
			box.Send(b.owe(fmt.Sprint(i), "did:web:cobalt"))
		}
		pass(time.Hour)
		if len(b.told) < 60 {
			t.Errorf("%d messages were delivered, want 60", len(b.told))
		}
		b.wantNothingOwed()
	})
}

func TestWhatAProcessOwesNextWaitsForTheAttemptBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		first := b.owe("1", "did:web:cobalt")
		b.send = func(_ context.Context, o commit.Owed, _ int) (outbox.Answer, error) {
			if o.ID == first.ID {
				time.Sleep(10 * time.Second) // slow on the way
			}
			return accepted, nil
		}
		box, _ := b.run(0)
		box.Send(first)
		synctest.Wait()
		begin := time.Now()
		n, err := b.store.Negotiation(t.Context(), b.local.ID, "", first.ProcessID)
		if err != nil {
			t.Fatal(err)
		}
		second := first // an operator ends the process meanwhile: the first message is withdrawn, another one is owed
		second.ID, second.Message = "owed-2", "ContractNegotiationTerminationMessage"
		next := n
		next.Pending.Owed = second.ID
		if err := b.store.ReplaceNegotiation(t.Context(), n, next, commit.Effects{Settled: first.ID, Owed: &second}); err != nil {
			t.Fatal(err)
		}
		box.Send(second)
		pass(time.Minute)
		if len(b.attempts) != 2 || b.attempts[1].id != second.ID || b.attempts[1].at.Sub(begin) != 10*time.Second {
			t.Errorf("attempts %v, want the second when the first has ended", b.attempts)
		}
		b.wantNothingOwed()
	})
}

func TestWhatWasWithdrawnWhileItWaitedIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		o := b.owe("1", "did:web:cobalt")
		if err := b.finish(t.Context(), o, told{}); err != nil {
			t.Fatal(err)
		}
		box, _ := b.run(0)
		box.Send(o)
		pass(time.Hour)
		if len(b.attempts) != 0 {
			t.Errorf("attempts %v, want none", b.attempts)
		}
	})
}

func TestSeveralReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		for i := range 200 {
			b.owe(fmt.Sprint(i), participant.DID(fmt.Sprintf("did:web:peer-%d", i%10)))
		}
		pass(time.Second)
		b.run(0)
		b.run(0)
		pass(outbox.Hold + 10*time.Second)
		tries := map[string]int{}
		for _, a := range b.attempts {
			tries[a.id]++
		}
		if len(tries) != 200 || len(b.attempts) != 200 {
			t.Errorf("%d messages in %d attempts, want each of 200 once", len(tries), len(b.attempts))
		}
		b.wantNothingOwed()
	})
}

func TestARefusalIsBelievedOnlyAfterALook(t *testing.T) {
	t.Parallel()
	refused := outbox.Answer{Status: 400, Code: "illegal", Reasons: []string{"not now"}}
	for _, tt := range []struct {
		name string
		look func(commit.Owed) (outbox.Answer, error)
		want outbox.Answer
	}{
		{"the peer's state comes with its reasons", func(commit.Owed) (outbox.Answer, error) {
			return outbox.Answer{Status: 200, State: "VERIFIED"}, nil
		}, outbox.Answer{Status: 200, State: "VERIFIED", Code: "illegal", Reasons: []string{"not now"}}},
		{"what has no address yet leaves the refusal", func(commit.Owed) (outbox.Answer, error) { return outbox.Answer{}, outbox.ErrNowhere }, refused},
		{"what the peer does not know leaves the refusal", func(commit.Owed) (outbox.Answer, error) { return outbox.Answer{Status: 404}, nil }, refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				b.send = func(context.Context, commit.Owed, int) (outbox.Answer, error) { return refused, nil }
				b.look = tt.look
				box, _ := b.run(0)
				box.Send(b.owe("1", "did:web:cobalt"))
				pass(time.Hour)
				if len(b.attempts) != 1 || len(b.told) != 1 || b.told[0].delivered {
					t.Fatalf("attempts %v, told %v, want one refusal", b.attempts, b.told)
				}
				got := b.told[0].answer
				if got.Status != tt.want.Status || got.State != tt.want.State || got.Code != tt.want.Code || len(got.Reasons) != len(tt.want.Reasons) {
					t.Errorf("told %+v, want %+v", got, tt.want)
				}
				b.wantNothingOwed()
			})
		})
	}
}

func TestALookThatFailsProvesNothingAndTheMessageStaysOwed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.send = func(context.Context, commit.Owed, int) (outbox.Answer, error) { return outbox.Answer{Status: 400}, nil }
		looks := 0
		b.look = func(commit.Owed) (outbox.Answer, error) {
			if looks++; looks < 4 {
				return outbox.Answer{}, errors.New("no answer")
			}
			return outbox.Answer{Status: 200, State: "FINALIZED"}, nil
		}
		box, _ := b.run(0)
		box.Send(b.owe("1", "did:web:cobalt"))
		pass(time.Hour)
		if len(b.attempts) != 4 || len(b.told) != 1 || b.told[0].answer.State != "FINALIZED" {
			t.Errorf("attempts %v, told %v, want the state that the fourth look showed", b.attempts, b.told)
		}
		b.wantNothingOwed()
	})
}

func TestAPeerThatIsNotReadyIsAskedAgainForThreeSeconds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		early    int // attempts that come too early
		attempts int
		taken    bool
	}{
		{"until it is ready", 3, 4, true},
		{"and then its refusal is believed", 100, 6, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				b.send = func(_ context.Context, _ commit.Owed, n int) (outbox.Answer, error) {
					if n <= tt.early {
						return outbox.Answer{Status: 409}, nil
					}
					return outbox.Answer{Status: 200}, nil
				}
				b.look = func(commit.Owed) (outbox.Answer, error) { return outbox.Answer{Status: 200, State: "AGREED"}, nil }
				box, _ := b.run(0)
				box.Send(b.owe("1", "did:web:cobalt"))
				pass(4 * time.Second)
				if len(b.attempts) != tt.attempts || len(b.told) != 1 || b.told[0].delivered != tt.taken {
					t.Errorf("attempts %v, told %v, want %d attempts and taken %t", b.attempts, b.told, tt.attempts, tt.taken)
				}
				b.wantNothingOwed()
			})
		})
	}
}

func TestAnOutcomeThatCannotBeStoredIsNotLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.settle = func(n int) error {
			if n < 4 {
				return errors.New("the disk is full")
			}
			return nil
		}
		box, _ := b.run(0)
		box.Send(b.owe("1", "did:web:cobalt"))
		pass(time.Hour)
		if len(b.told) != 4 || len(b.attempts) != 4 {
			t.Errorf("told %d times in %d attempts, want until it was stored", len(b.told), len(b.attempts))
		}
		b.wantNothingOwed()
	})
}

func TestADeadlineIsToldWhenItsTimeHasComeAndNothingIsSent(t *testing.T) {
	t.Parallel()
	for _, crashed := range []bool{false, true} {
		t.Run(map[bool]string{false: "while it runs", true: "after a restart"}[crashed], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t)
				began := time.Now()
				o := b.owed("1", "did:web:cobalt")
				o.URL, o.Due = "", began.Add(time.Hour)
				b.commit(o)
				box, stop := b.run(0)
				box.Send(o)
				pass(59*time.Minute + 45*time.Second)
				if crashed { // within what is claimed as left behind by whoever died
					stop()
					b.run(0)
				}
				pass(10 * time.Second)
				if len(b.told) != 0 {
					t.Fatalf("told %v before the time", b.told)
				}
				pass(time.Minute)
				if len(b.attempts) != 0 || len(b.told) != 1 || b.told[0].expired.Before(began.Add(time.Hour)) {
					t.Errorf("attempts %v, told %v, want the end of the wait alone, and not early", b.attempts, b.told)
				}
				b.wantNothingOwed()
			})
		})
	}
}

func TestAMessageOfNobodyIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		o := b.owe("1", "did:web:cobalt")
		box := outbox.New(outbox.Config{Store: b.store, Sender: b, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { box.Run(ctx) })
		box.Send(o)
		pass(time.Minute)
		cancel()
		running.Wait()
		if _, owed, err := b.store.NextDue(context.WithoutCancel(ctx)); err != nil || !owed || len(b.attempts) != 0 {
			t.Errorf("owed %t (%v) after %d attempts, want it kept and unsent", owed, err, len(b.attempts))
		}
	})
}

func TestAStoppedOutboxLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		b.send = func(ctx context.Context, _ commit.Owed, _ int) (outbox.Answer, error) {
			<-ctx.Done()
			return outbox.Answer{}, ctx.Err()
		}
		box, stop := b.run(0)
		for i := range 50 {
			box.Send(b.owe(fmt.Sprint(i), "did:web:cobalt"))
		}
		synctest.Wait()
		stop() // the bubble fails when a goroutine is left behind
		box.Send(b.owe("after", "did:web:cobalt"))
		if len(b.told) != 0 {
			t.Errorf("told %v although nothing was answered", b.told)
		}
	})
}

// pass lets the bubble's time pass and what happens in it come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
