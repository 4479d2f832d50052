package dataplane_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/dataplane"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

const mebibyte = 1 << 20

// store is the real one with two places to step in: after an asset was read, and before a record is committed.
type store struct {
	*pair.Store
	read   func(context.Context) error
	record func() error
}

func (s *store) Asset(ctx context.Context, p participant.ID, id string) (catalog.Asset, error) {
	a, err := s.Store.Asset(ctx, p, id)
	if s.read != nil {
		err = errors.Join(err, s.read(ctx))
	}
	return a, err
}

func (s *store) Record(ctx context.Context, p participant.ID, e commit.Effects) error {
	if s.record != nil {
		if err := s.record(); err != nil {
			return err
		}
	}
	return s.Store.Record(ctx, p, e)
}

// door is a provider's data plane with the token of a started transfer.
type door struct {
	*pair.Network
	t      *testing.T
	cobalt *pair.Side
	boreal *pair.Side
	store  *store
	plane  *dataplane.Plane
	token  string
	id     string // of the transfer, on the provider's side
	wire   *wire
}

// wire is the network to the peer: it counts, and blocks when nobody reads.
type wire struct {
	mu      sync.Mutex
	bytes   int
	limit   time.Duration // of the last patience
	hurried chan struct{}
	once    sync.Once
}

func (w *wire) patience(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limit = d; d <= 0 {
		w.once.Do(func() { close(w.hurried) })
	}
}

func (w *wire) send(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += len(b)
	return len(b), nil
}

func (w *wire) sent() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

func open(t *testing.T, usage odrl.Policy) *door {
	t.Helper()
	n := pair.New(t, "cobalt", "boreal")
	d := &door{Network: n, t: t, cobalt: n.Side("cobalt"), boreal: n.Side("boreal"), wire: &wire{hurried: make(chan struct{})}}
	d.boreal.Begin(d.cobalt, pair.Ask(d.cobalt.Publish(pair.Members(), usage)))
	n.Run()
	d.store = &store{Store: d.cobalt.Store}
	d.plane = d.planeOf(64)
	d.token, d.id = d.transfer()
	return d
}

func (d *door) planeOf(streams int) *dataplane.Plane {
	return dataplane.New(dataplane.Config{Store: d.store, Decider: d.cobalt.Ledger, Standing: d.cobalt.Standing, Now: d.Now, Rand: rand.Reader,
		Log: slog.New(slog.NewTextHandler(d.t.Output(), nil)), Streams: streams})
}

// transfer starts one and returns its token and the provider's id.
func (d *door) transfer() (token, id string) {
	d.t.Helper()
	mine, err := d.boreal.Transfers.Begin(d.t.Context(), d.boreal.Local, transfer.BeginRequest{Agreement: d.boreal.Agreements()[0].ID, Format: transfer.Pull, Actor: "operator"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.Run()
	a, err := d.boreal.Transfers.Address(d.t.Context(), d.boreal.Local, mine.ID)
	if err != nil {
		d.t.Fatal(err)
	}
	return a.Properties[transfer.PropertyToken], d.boreal.Transfer(mine.ID).PeerPID
}

var get = policy.Request{Method: "GET"}

// try comes again when the decision took too long, which it may on a busy machine.
func (d *door) try(r policy.Request) (*dataplane.Flow, error) {
	for {
		f, err := d.plane.Open(d.t.Context(), d.cobalt.Local, d.token, r, d.wire.patience)
		if err == nil || !strings.Contains(err.Error(), "took too long") {
			return f, err
		}
	}
}

func (d *door) open(r policy.Request) *dataplane.Flow {
	d.t.Helper()
	f, err := d.try(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return f
}

// serves returns the serve records in the order of what they grant.
func (d *door) serves() (kinds []string, granted int) {
	d.t.Helper()
	for _, r := range d.cobalt.Records(d.id) {
		if r.Serve == nil {
			continue
		}
		kinds = append(kinds, r.Kind)
		n, err := strconv.Atoi(r.Serve.Granted)
		if err != nil {
			d.t.Fatal(err)
		}
		granted = max(granted, n)
	}
	return kinds, granted
}

// decisions counts the answers at the data door, without those that were cut off.
func (d *door) decisions(effect policy.Effect) int {
	d.t.Helper()
	n := 0
	for _, r := range d.cobalt.Records(d.id) {
		if r.Door == string(policy.DoorData) && r.Effect == string(effect) && len(r.Reasons) > 0 {
			n++
		}
	}
	return n
}

func (d *door) end(f *dataplane.Flow) {
	d.t.Helper()
	f.End()
	if n := d.plane.Running(); n != 0 {
		d.t.Errorf("%d flows are left", n)
	}
}

func until(t time.Time) odrl.Policy {
	return pair.Policy("use", pair.Term("Membership", "eq", "active"), pair.Term("DataUsageEndDate", "eq", t.Format(time.RFC3339)))
}

// began is when the time of a pair.Network stands still.
var began = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func TestNoByteLeavesWhenTheLogCannotBeWritten(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	t.Run("not the decision", func(t *testing.T) {
		t.Parallel()
		d := open(t, pair.Footprints())
		d.store.record = func() error { return full }
		if _, err := d.try(get); !fault.Is(err, fault.Unavailable) {
			t.Errorf("opened with %v, want unavailable", err)
		}
	})
	t.Run("not the opening", func(t *testing.T) {
		t.Parallel()
		d := open(t, pair.Footprints())
		f := d.open(get)
		d.store.record = func() error { return full }
		if err := f.Begin(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("begun with %v, want unavailable", err)
		}
		if err := d.open(get).BeginWhole([]byte("body")); !fault.Is(err, fault.Unavailable) {
			t.Errorf("begun whole with %v, want unavailable", err)
		}
	})
	t.Run("not the next budget", func(t *testing.T) {
		t.Parallel()
		d := open(t, pair.Footprints())
		f := d.open(get)
		if err := f.Begin(); err != nil {
			t.Fatal(err)
		}
		d.store.record = func() error { return full }
		n, err := f.Write(make([]byte, 9*mebibyte), d.wire.send)
		if n != dataplane.ByteBudget || d.wire.sent() != dataplane.ByteBudget || !fault.Is(err, fault.Unavailable) {
			t.Errorf("%d bytes went, %d say so, error %v; want one budget and unavailable", d.wire.sent(), n, err)
		}
		d.store.record = nil
		d.end(f)
	})
}

func TestANinthMebibyteNeedsASecondRecord(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	f := d.open(get)
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		_, err := f.Write(make([]byte, mebibyte), func(b []byte) (int, error) {
			if _, granted := d.serves(); d.wire.sent()+len(b) > granted {
				t.Errorf("mebibyte %d: %d bytes on the wire, %d granted by committed records", i+1, d.wire.sent()+len(b), granted)
			}
			return d.wire.send(b)
		})
		if err != nil {
			t.Fatal(err)
		}
		kinds, _ := d.serves()
		if want := map[bool]int{true: 1, false: 2}[i < 8]; len(kinds) != want {
			t.Errorf("after mebibyte %d: records %v, want %d", i+1, kinds, want)
		}
	}
	d.end(f)
	kinds, _ := d.serves()
	slices.Sort(kinds)
	if want := []string{decisionlog.KindChunk, decisionlog.KindClose, decisionlog.KindOpen}; !slices.Equal(kinds, want) {
		t.Errorf("records %v, want %v", kinds, want)
	}
}

func TestASecondNeedsASecondRecord(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	f := d.open(get)
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	d.Advance(dataplane.TimeBudget)
	if _, err := f.Write([]byte("more"), d.wire.send); err != nil {
		t.Fatal(err)
	}
	if kinds, _ := d.serves(); len(kinds) != 2 || d.decisions(policy.Allow) != 2 {
		t.Errorf("records %v, %d decisions; want two of each", kinds, d.decisions(policy.Allow))
	}
	d.end(f)
}

func TestAPolicyThatEndsInMidStreamEndsTheStream(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]time.Duration{"between two looks": 400 * time.Millisecond, "after many": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The end is a whole second: what comes first is part of one.
			d := open(t, until(began.Add(time.Minute)))
			d.Advance(time.Minute - at)
			f := d.open(get)
			if err := f.Begin(); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write([]byte("before"), d.wire.send); err != nil {
				t.Fatal(err)
			}
			d.Advance(at)
			if n, err := f.Write([]byte("after"), d.wire.send); n != 0 || !fault.Is(err, fault.Refused) {
				t.Errorf("%d bytes went after the end of use, error %v; want none and refused", n, err)
			}
			if d.decisions(policy.Deny) != 1 {
				t.Errorf("%d denials on record, want 1", d.decisions(policy.Deny))
			}
			d.end(f)
		})
	}
}

func TestABodyThatIsKnownWholeStaysHereAfterTheEndOfUse(t *testing.T) {
	t.Parallel()
	d := open(t, until(began.Add(time.Minute)))
	d.Advance(59*time.Second + 500*time.Millisecond)
	f, g := d.open(get), d.open(get)
	if err := f.BeginWhole([]byte("body")); err != nil {
		t.Fatal(err)
	}
	d.Advance(500 * time.Millisecond)
	if n, err := f.Write([]byte("body"), d.wire.send); n != 0 || !errors.Is(err, dataplane.ErrStopped) {
		t.Errorf("%d bytes went, error %v", n, err)
	}
	if err := g.BeginWhole([]byte("body")); !fault.Is(err, fault.Refused) {
		t.Errorf("begun after the end of use: %v", err)
	}
	f.End()
	d.end(g)
}

func TestAPeerMayNotTakeABlockedWriteBeyondTheEndOfUse(t *testing.T) {
	t.Parallel()
	d := open(t, until(began.Add(time.Minute)))
	d.Advance(50 * time.Second)
	f := d.open(get)
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x"), d.wire.send); err != nil || d.wire.limit != 10*time.Second {
		t.Errorf("a write may block for %s (%v), want what is left of the use: 10s", d.wire.limit, err)
	}
	d.end(f)
	g := open(t, pair.Footprints())
	f = g.open(get)
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x"), g.wire.send); err != nil || g.wire.limit != dataplane.WriteLimit {
		t.Errorf("a write may block for %s (%v), want %s", g.wire.limit, err, dataplane.WriteLimit)
	}
	g.end(f)
}

func TestATokenThatGrewOldOpensNothingMoreAndWhatItOpenedGoesOn(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	f := d.open(get)
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		d.Advance(transfer.TokenLife / 3)
		if n, err := f.Write([]byte("body"), d.wire.send); n != 4 || err != nil {
			t.Fatalf("the stream broke off: %v", err)
		}
	}
	// The stream's own lease is live; it must not open the door to another request.
	if _, err := d.try(get); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("an old token opened: %v", err)
	}
	d.suspend()
	d.Advance(dataplane.TimeBudget)
	if n, err := f.Write([]byte("body"), d.wire.send); n != 0 || !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("%d bytes went after the suspension, error %v", n, err)
	}
	d.end(f)
}

// suspend pauses the transfer in the store; the data plane under test is not told.
func (d *door) suspend() {
	d.t.Helper()
	if _, err := d.cobalt.Transfers.Suspend(d.t.Context(), d.cobalt.Local, d.id, commit.Order{Actor: "operator"}); err != nil {
		d.t.Fatal(err)
	}
}

func TestADenialAtTheDataDoorSaysWhyAndIsOnRecord(t *testing.T) {
	t.Parallel()
	d := open(t, until(began.Add(time.Minute)))
	d.Advance(time.Minute)
	// The token ends with the use: only a policy engine that is asked can say why. So it is given some more time here.
	ours := d.cobalt.Transfer(d.id)
	later := ours
	later.Grant.Expires = d.Now().Add(time.Minute)
	if err := d.cobalt.Store.ReplaceTransfer(t.Context(), ours, later, commit.Effects{}); err != nil {
		t.Fatal(err)
	}
	_, err := d.try(get)
	var refused *fault.Error
	if !errors.As(err, &refused) || refused.Kind != fault.Refused || refused.Code != "policy.refused" || !strings.Contains(strings.Join(refused.Reasons, " "), "usage-end.passed") {
		t.Errorf("got %+v, want a refusal that names usage-end.passed", err)
	}
	if d.decisions(policy.Deny) != 1 || d.plane.Running() != 0 {
		t.Errorf("%d denials on record, %d flows; want 1 and none", d.decisions(policy.Deny), d.plane.Running())
	}
}

func TestEveryRequestHasADecisionAboutItself(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	requests := []policy.Request{get, {Method: "HEAD"}, {Method: "GET", Path: "a"}, {Method: "GET", Path: "a", Query: "b=1"}, {Method: "GET", Query: "b=1"}}
	for range 2 {
		for _, r := range requests {
			d.open(r).End()
		}
	}
	if got := d.decisions(policy.Allow); got != len(requests) {
		t.Errorf("%d decisions, want one for each of %d requests", got, len(requests))
	}
	d.Advance(dataplane.LeaseLife)
	d.open(get).End()
	if got := d.decisions(policy.Allow); got != len(requests)+1 {
		t.Errorf("%d decisions, want a new one when the lease has run out", got)
	}
}

func TestStoppingBreaksABlockedWriteAndLeavesNothing(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	f := d.open(get)
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	blocked := make(chan struct{})
	written := make(chan error, 1)
	go func() {
		_, err := f.Write([]byte("nobody reads"), func([]byte) (int, error) {
			close(blocked)
			<-d.wire.hurried
			return 0, errors.New("i/o timeout")
		})
		written <- err
	}()
	<-blocked
	d.plane.Stop(d.cobalt.Local.ID, d.id)
	if err := <-written; !errors.Is(err, dataplane.ErrStopped) {
		t.Errorf("the blocked write returned %v", err)
	}
	if n, err := f.Write([]byte("more"), d.wire.send); n != 0 || err == nil {
		t.Errorf("%d bytes went after the stop, error %v", n, err)
	}
	d.end(f)
}

func TestAPeerThatLostACredentialIsCutAndOthersAreNot(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	f, g := d.open(get), d.open(policy.Request{Method: "GET", Path: "a"})
	for _, flow := range []*dataplane.Flow{f, g} {
		if err := flow.Begin(); err != nil {
			t.Fatal(err)
		}
	}
	d.plane.StopPeer(d.cobalt.Local.ID, "did:web:dataspace.example:dusk")
	if n, err := f.Write([]byte("body"), d.wire.send); n != 4 || err != nil {
		t.Errorf("another's loss cut the stream: %v", err)
	}
	d.cobalt.Standing.Lose("MembershipCredential", "credential.status.revoked")
	d.plane.StopPeer(d.cobalt.Local.ID, string(d.boreal.Local.DID))
	for _, flow := range []*dataplane.Flow{f, g} {
		if n, err := flow.Write([]byte("body"), d.wire.send); n != 0 || !errors.Is(err, dataplane.ErrStopped) {
			t.Errorf("%d bytes went after the loss, error %v", n, err)
		}
		flow.End()
	}
	if _, err := d.try(get); !fault.Is(err, fault.Refused) || d.decisions(policy.Deny) != 1 {
		t.Errorf("a lease outlived what it rested on: %v, %d denials on record", err, d.decisions(policy.Deny))
	}
	if n := d.plane.Running(); n != 0 {
		t.Errorf("%d flows are left", n)
	}
}

func TestAFlowThatALossOvertakesAtItsOpeningIsNotOpened(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	// What the peer has proven stands when the request comes, and is lost before the flow has its place.
	d.cobalt.Standing.After(func() {
		d.cobalt.Standing.Lose("MembershipCredential", "credential.status.revoked")
		d.plane.StopPeer(d.cobalt.Local.ID, string(d.boreal.Local.DID))
	})
	if _, err := d.try(get); !fault.Is(err, fault.Refused) {
		t.Errorf("opened: %v", err)
	}
	if n := d.plane.Running(); n != 0 {
		t.Errorf("%d flows are left", n)
	}
}

func TestAStreamEndsWithTheEvidenceThatItRestsOn(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	f := d.open(get)
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	d.cobalt.Standing.Away(fault.New("test", fault.Unavailable, "the list cannot be had"))
	d.Advance(dataplane.LeaseLife)
	if n, err := f.Write([]byte("body"), d.wire.send); n != 0 || !fault.Is(err, fault.Unavailable) {
		t.Errorf("%d bytes went, error %v", n, err)
	}
	d.end(f)
	if _, err := d.try(get); !fault.Is(err, fault.Unavailable) {
		t.Errorf("opened: %v", err)
	}
}

func TestAStoppedFlowIsHurriedAlsoWhenNothingBlocks(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	f := d.open(get)
	d.plane.Stop(d.cobalt.Local.ID, d.id)
	select {
	case <-d.wire.hurried:
	default:
		t.Error("what the server holds in its buffers may still leave")
	}
	d.end(f)
}

func TestAFlowThatEndedLeavesItsConnectionToOthers(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	// Two flows are stopped; the first to be hurried ends the other, whose connection may carry another request from then on.
	var flows [2]*dataplane.Flow
	hurried := 0
	for i := range flows {
		for flows[i] == nil {
			f, err := d.plane.Open(t.Context(), d.cobalt.Local, d.token, get, func(left time.Duration) {
				if left <= 0 {
					if hurried++; hurried == 1 {
						flows[1-i].End()
					}
				}
			})
			if err != nil && !strings.Contains(err.Error(), "took too long") {
				t.Fatal(err)
			}
			flows[i] = f
		}
	}
	d.plane.Stop(d.cobalt.Local.ID, d.id)
	if hurried != 1 {
		t.Errorf("%d connections were touched, want only that of the flow that still ran", hurried)
	}
}

func TestWhatIsStoppedWhileItIsJudgedIsJudgedAgain(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	var once sync.Once
	d.store.record = func() error {
		once.Do(func() {
			d.suspend()
			d.plane.Stop(d.cobalt.Local.ID, d.id)
		})
		return nil
	}
	if _, err := d.try(get); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("opened with %v although it was stopped meanwhile", err)
	}
	if d.plane.Running() != 0 {
		t.Errorf("%d flows run", d.plane.Running())
	}
}

func TestStoppingOneTransferLeavesTheJudgingOfOthersAlone(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	d.store.record = func() error {
		d.plane.Stop(d.cobalt.Local.ID, "urn:uuid:another")
		d.plane.Stop(d.boreal.Local.ID+1000, d.id) // another participant's transfer of the same id
		return nil
	}
	f := d.open(get)
	if got := d.decisions(policy.Allow); got != 1 {
		t.Errorf("judged %d times, want once", got)
	}
	d.end(f)
}

func TestJudgingThatIsAlwaysOvertakenEnds(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	d.store.record = func() error { d.plane.Forget(); return nil }
	if _, err := d.try(get); !fault.Is(err, fault.Unavailable) {
		t.Errorf("opened with %v, want unavailable", err)
	}
}

func TestWhatIsForgottenIsJudgedAgain(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	d.open(get).End()
	d.plane.Forget()
	d.open(get).End()
	if got := d.decisions(policy.Allow); got != 2 {
		t.Errorf("judged %d times, want twice", got)
	}
}

// elapsing is a context whose time is over when over is closed.
type elapsing struct {
	context.Context
	over chan struct{}
}

func (e elapsing) Done() <-chan struct{} { return e.over }

func (e elapsing) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestADecisionThatIsCutOffIsNoRefusal(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	ctx := elapsing{t.Context(), make(chan struct{})}
	d.store.read = func(inner context.Context) error { close(ctx.over); <-inner.Done(); return nil }
	_, err := d.plane.Open(ctx, d.cobalt.Local, d.token, get, d.wire.patience)
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	if records := d.cobalt.Records(d.id); !slices.ContainsFunc(records, func(r decisionlog.Record) bool { return r.Door == string(policy.DoorData) }) {
		t.Errorf("that it was asked is not on record: %v", err)
	}
}

func TestAnAssetThatCannotBeReadIsNotOneThatIsGone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want fault.Kind
	}{"unreadable": {errors.New("input/output error"), fault.Unavailable}, "gone": {fault.New("store", fault.NotFound, "no such asset"), fault.NotFound}} {
		d := open(t, pair.Footprints())
		d.store.read = func(context.Context) error { return tt.err }
		if _, err := d.try(get); !fault.Is(err, tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

func TestStreamsAreCountedInAllAndForEachPeer(t *testing.T) {
	t.Parallel()
	d := open(t, pair.Footprints())
	d.plane = d.planeOf(3 * dataplane.PeerShare)
	var open []*dataplane.Flow
	for range 3 {
		open = append(open, d.open(get))
	}
	if _, err := d.try(get); !fault.Is(err, fault.Exhausted) {
		t.Errorf("a fourth of one peer: %v, want exhausted", err)
	}
	open[0].End()
	open[0] = d.open(get)
	for _, f := range open {
		f.End()
	}
	d.plane = d.planeOf(0)
	if _, err := d.try(get); !fault.Is(err, fault.Unavailable) {
		t.Errorf("where no more streams are open: %v, want unavailable", err)
	}
	if d.plane.Running() != 0 {
		t.Errorf("%d flows are left", d.plane.Running())
	}
}
