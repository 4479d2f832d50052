// Package storetest is the contract that every store keeps. A fault found in one becomes a case for all.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Opened is a store under test and the way to open the same data again.
type Opened struct {
	Store  store.Store
	Reopen func(t *testing.T) store.Store          // after Close
	Empty  func(t *testing.T) Restorer             // a new, empty store of the same kind
	Look   func(t *testing.T) (store.Store, error) // at the same data, besides the store
}

// Restorer is a store that can be filled from a backup.
type Restorer interface {
	store.Store
	Restore(ctx context.Context, r io.Reader, now time.Time) error
}

var now = time.Date(2026, 11, 24, 9, 0, 0, 123456000, time.UTC)

type bench struct {
	store.Store
	opened Opened
	a, b   participant.Participant
}

// Run runs the contract; open gives a fresh store each time.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	for name, test := range map[string]func(*testing.T, bench){
		"what is absent is not found":                       absent,
		"an id exists once":                                 duplicate,
		"a stale replace changes nothing":                   stale,
		"of parallel replaces one wins":                     parallel,
		"effects commit with the state or not at all":       effects,
		"a peer names only what is its own":                 peerScope,
		"participants never see each other":                 tenants,
		"events have no gaps under concurrency":             events,
		"due work is shared without overlap":                claim,
		"a token id is fresh once":                          replay,
		"a key commits with what its call changes":          once,
		"what comes with a used token commits once":         used,
		"lists page in order to the last row":               paging,
		"times come back in UTC to the microsecond":         times,
		"a cancelled caller changes nothing":                cancelled,
		"what was acknowledged is there after reopening":    reopen,
		"who looks sees what is committed and writes none":  look,
		"the log has no gaps with two sequencers":           sequencing,
		"offers follow assets and rules":                    offers,
		"a dataset is whole on one page":                    datasets,
		"records are indexed in the order of their commits": commitOrder,
		"what is archived is found by its digest":           archived,
		"an agreement is retired once":                      retire,
		"a backup restores into an empty store":             backup,
		"a restore is declared and gives nobody access":     restored,
		"writers that wait together do not hurt each other": groups,
		"subscribers are told after the commit":             notify,
		"what an issuer knows comes back, and is its own":   issuerRows,
		"an issuer's step is all or nothing":                issuerSteps,
		"a place of a status list is given out once":        issuerPlaces,
		"a holder's same request is open once":              issuerRepeats,
		"many holders are looked up together":               issuerMany,
		"a restored status list gives out no more places":   issuerRestored,
		"a wallet changes whole or not at all":              walletWhole,
		"a stale change of a wallet changes nothing":        walletStale,
		"wallets belong to their participants":              walletTenants,
		"an issuer's same offer is open once":               walletOffers,
		"requests and offers page in order":                 walletPages,
		"a wallet is in the backup, its clients are not":    walletBackup,
		"keys change one version at a time":                 keys,
		"tokens have a role that there is":                  tokens,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			f := bench{Store: o.Store, opened: o}
			f.a = must(o.Store.CreateParticipant(t.Context(), participant.Participant{Slug: "aurora", DID: "did:web:aurora.example", Name: "Aurora Motors", Created: now}))(t)
			f.b = must(o.Store.CreateParticipant(t.Context(), participant.Participant{Slug: "boreal", DID: "did:web:boreal.example", Name: "Boreal Drives", Created: now}))(t)
			test(t, f)
		})
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("got %v, want a fault of kind %q", err, kind)
	}
}

const peer participant.DID = "did:web:cobalt.example"

func (f bench) negotiation(id string) negotiation.Negotiation {
	return negotiation.Negotiation{Participant: f.a.ID, ID: id, Version: 1, Role: negotiation.Provider, Peer: peer, PeerPID: "peer-" + id,
		State: negotiation.Requested, Offer: negotiation.Offer{ID: "o", Target: "asset ä", Policy: odrl.Policy{Permission: []odrl.Rule{{Action: "use"}}}},
		Created: now, Updated: now, Reasons: []string{"größer", "小"}}
}

func entry(n int) decisionlog.Entry {
	sum := sha256.Sum256([]byte(fmt.Sprint(n)))
	return decisionlog.Entry{ID: hex.EncodeToString(sum[:16]), Kind: "decision", Time: now.Add(time.Duration(n) * time.Millisecond), Bytes: []byte(fmt.Sprintf(`{"n":%d}`, n))}
}

func (f bench) owed(process string, due time.Time) *commit.Owed {
	return &commit.Owed{ID: "owed-" + process, Participant: f.a.ID, Process: commit.Negotiation, ProcessID: process, Peer: peer, Body: []byte{0, 255}, Due: due, Created: now}
}

func absent(t *testing.T, f bench) {
	_, err := f.Negotiation(t.Context(), f.a.ID, "", "none")
	wantKind(t, err, fault.NotFound)
	_, err = f.Transfer(t.Context(), f.a.ID, "", "none")
	wantKind(t, err, fault.NotFound)
	_, err = f.NegotiationByPeerPID(t.Context(), f.a.ID, peer, "")
	wantKind(t, err, fault.NotFound)
	_, err = f.TransferByToken(t.Context(), f.a.ID, "")
	wantKind(t, err, fault.NotFound)
	_, err = f.Agreement(t.Context(), f.a.ID, "none")
	wantKind(t, err, fault.NotFound)
	_, err = f.Offer(t.Context(), f.a.ID, "none")
	wantKind(t, err, fault.NotFound)
	_, err = f.Participant(t.Context(), "none")
	wantKind(t, err, fault.NotFound)
	_, err = f.Token(t.Context(), "none")
	wantKind(t, err, fault.NotFound)
	list, err := f.Negotiations(t.Context(), f.a.ID, negotiation.Filter{}, page.Request{})
	if err != nil || len(list.Items) != 0 || list.Next.ID != "" {
		t.Fatalf("empty list: %+v, %v", list, err)
	}
}

func duplicate(t *testing.T, f bench) {
	n := f.negotiation("n1")
	check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{}))
	wantKind(t, f.CreateNegotiation(t.Context(), n, commit.Effects{}), fault.Conflict)
	n.ID = "n2" // the same pid of the same peer
	wantKind(t, f.CreateNegotiation(t.Context(), n, commit.Effects{}), fault.Conflict)
	_, err := f.CreateParticipant(t.Context(), participant.Participant{Slug: "aurora", DID: "did:web:other.example", Created: now})
	wantKind(t, err, fault.Conflict)
}

func stale(t *testing.T, f bench) {
	n := f.negotiation("n1")
	check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{}))
	next := n
	next.State = negotiation.Agreed
	check(t, f.ReplaceNegotiation(t.Context(), n, next, commit.Effects{}))
	next.State = negotiation.Terminated
	wantKind(t, f.ReplaceNegotiation(t.Context(), n, next, commit.Effects{Decisions: []decisionlog.Entry{entry(1)}}), fault.Conflict)
	got := must(f.Negotiation(t.Context(), f.a.ID, peer, "n1"))(t)
	if got.State != negotiation.Agreed || got.Version != 2 {
		t.Errorf("state %s version %d, want AGREED 2", got.State, got.Version)
	}
	if tail := must(f.LogTail(t.Context(), "aurora"))(t); tail != 0 {
		t.Errorf("the refused replace left %d records", tail)
	}
}

func parallel(t *testing.T, f bench) {
	n := f.negotiation("n1")
	check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{}))
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			next := n
			next.State = negotiation.Agreed
			err := f.ReplaceNegotiation(t.Context(), n, next, commit.Effects{Decisions: []decisionlog.Entry{entry(i)}})
			if err == nil {
				won.Add(1)
			} else if !fault.Is(err, fault.Conflict) {
				t.Errorf("loser got %v", err)
			}
		})
	}
	wg.Wait()
	if tail := must(f.LogTail(t.Context(), "aurora"))(t); won.Load() != 1 || tail != 1 {
		t.Errorf("%d won, %d records; want 1 and 1", won.Load(), tail)
	}
}

func effects(t *testing.T, f bench) {
	n := f.negotiation("n1")
	a := &agreement.Agreement{Participant: f.a.ID, ID: "urn:a", Negotiation: "n1", Role: "provider", Provider: f.a.DID, Consumer: peer, Asset: "x",
		Digest: strings.Repeat("ab", 32), Raw: []byte("raw"), Signed: now, Created: now}
	e := commit.Effects{Decisions: []decisionlog.Entry{entry(1)}, Owed: f.owed("n1", now), Agreement: a, Events: []commit.Event{{Type: "negotiation.agreed", Time: now}}}
	check(t, f.CreateNegotiation(t.Context(), n, e))
	// The second one fails at its last effect: the record's id is taken.
	m := f.negotiation("n2")
	bad := commit.Effects{Events: []commit.Event{{Type: "x"}}, Owed: f.owed("n2", now), Decisions: []decisionlog.Entry{entry(1)}}
	wantKind(t, f.CreateNegotiation(t.Context(), m, bad), fault.Conflict)
	_, err := f.Negotiation(t.Context(), f.a.ID, "", "n2")
	wantKind(t, err, fault.NotFound)
	due := must(f.Claim(t.Context(), now, time.Minute, 10))(t)
	if len(due) != 1 || due[0].ProcessID != "n1" || !bytes.Equal(due[0].Body, []byte{0, 255}) {
		t.Errorf("owed: %+v, want n1's only", due)
	}
	if events := must(f.EventsSince(t.Context(), f.a.ID, 0, 10))(t); len(events) != 1 || events[0].Seq != 1 {
		t.Errorf("events: %+v, want one", events)
	}
	got := must(f.Agreement(t.Context(), f.a.ID, "urn:a"))(t)
	if string(got.Raw) != "raw" || !got.Signed.Equal(now) || got.Retired != nil {
		t.Errorf("agreement: %+v", got)
	}
	// A process owes one message at most; settling one and owing the next is one step.
	old := must(f.Negotiation(t.Context(), f.a.ID, "", "n1"))(t)
	second := f.owed("n1", now)
	second.ID = "owed-second"
	wantKind(t, f.ReplaceNegotiation(t.Context(), old, old, commit.Effects{Owed: second}), fault.Conflict)
	check(t, f.ReplaceNegotiation(t.Context(), old, old, commit.Effects{Settled: "owed-n1", Owed: second}))
}

func peerScope(t *testing.T, f bench) {
	check(t, f.CreateNegotiation(t.Context(), f.negotiation("n1"), commit.Effects{}))
	_, err := f.Negotiation(t.Context(), f.a.ID, "did:web:dusk.example", "n1")
	wantKind(t, err, fault.NotFound)
	other := f.negotiation("n2")
	other.Peer, other.PeerPID = "did:web:dusk.example", "peer-n1" // two peers may choose the same pid
	check(t, f.CreateNegotiation(t.Context(), other, commit.Effects{}))
	got := must(f.NegotiationByPeerPID(t.Context(), f.a.ID, peer, "peer-n1"))(t)
	if got.ID != "n1" {
		t.Errorf("got %s, want n1", got.ID)
	}
	if n := must(f.OpenNegotiations(t.Context(), f.a.ID, peer))(t); n != 1 {
		t.Errorf("%d open, want 1", n)
	}
}

func tenants(t *testing.T, f bench) {
	n := f.negotiation("same")
	check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{Decisions: []decisionlog.Entry{entry(1)}, Events: []commit.Event{{Type: "a"}}}))
	_, err := f.Negotiation(t.Context(), f.b.ID, "", "same")
	wantKind(t, err, fault.NotFound)
	n.Participant = f.b.ID
	check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{Decisions: []decisionlog.Entry{entry(2)}, Events: []commit.Event{{Type: "b"}}}))
	for _, p := range []participant.Participant{f.a, f.b} {
		if list := must(f.Negotiations(t.Context(), p.ID, negotiation.Filter{}, page.Request{}))(t); len(list.Items) != 1 {
			t.Errorf("%s sees %d negotiations", p.Slug, len(list.Items))
		}
		if events := must(f.EventsSince(t.Context(), p.ID, 0, 10))(t); len(events) != 1 || events[0].Seq != 1 {
			t.Errorf("%s sees events %+v", p.Slug, events)
		}
		if entries := must(f.Unsequenced(t.Context(), p.Slug, 10))(t); len(entries) != 1 {
			t.Errorf("%s sees %d records", p.Slug, len(entries))
		}
	}
}

func events(t *testing.T, f bench) {
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			err := f.Record(t.Context(), f.a.ID, commit.Effects{Events: []commit.Event{{Type: "x", Subject: fmt.Sprint(i)}, {Type: "y", Subject: fmt.Sprint(i)}}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all := must(f.EventsSince(t.Context(), f.a.ID, 0, 100))(t)
	if len(all) != 80 {
		t.Fatalf("%d events, want 80", len(all))
	}
	for i, e := range all {
		if e.Seq != int64(i+1) || i%2 == 1 && e.Subject != all[i-1].Subject {
			t.Fatalf("event %d has number %d, subject %s", i+1, e.Seq, e.Subject)
		}
	}
}

func claim(t *testing.T, f bench) {
	for i := range 20 {
		id := fmt.Sprintf("n%02d", i)
		due := now.Add(time.Duration(-i) * time.Second)
		check(t, f.CreateNegotiation(t.Context(), f.negotiation(id), commit.Effects{Owed: f.owed(id, due)}))
	}
	check(t, f.CreateNegotiation(t.Context(), f.negotiation("later"), commit.Effects{Owed: f.owed("later", now.Add(time.Microsecond))}))
	next, ok, err := f.NextDue(t.Context())
	if err != nil || !ok || !next.Equal(now.Add(-19*time.Second)) {
		t.Fatalf("next due %v %v %v", next, ok, err)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				got, err := f.Claim(t.Context(), now, time.Minute, 3)
				if err != nil {
					t.Error(err)
					return
				}
				if len(got) == 0 {
					return
				}
				if !slices.IsSortedFunc(got, func(a, b commit.Owed) int { return a.Due.Compare(b.Due) }) {
					t.Error("a claim is not in due order")
				}
				mu.Lock()
				for _, o := range got {
					seen[o.ProcessID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 20 || seen["later"] != 0 {
		t.Errorf("claimed %v, want each of 20 once", seen)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	check(t, f.Postpone(t.Context(), "owed-n00", now.Add(time.Hour), "no route"))
	check(t, f.Postpone(t.Context(), "settled-meanwhile", now, ""))
	for id, want := range map[string]bool{"owed-n00": true, "settled-meanwhile": false} {
		if got := must(f.Owes(t.Context(), id))(t); got != want {
			t.Errorf("%s is owed: %t, want %t", id, got, want)
		}
	}
	got := must(f.Claim(t.Context(), now.Add(2*time.Hour), time.Minute, 100))(t)
	for _, o := range got {
		if o.ProcessID == "n00" && (o.Attempt != 1 || o.LastError != "no route") {
			t.Errorf("postponed: %+v", o)
		}
	}
}

func replay(t *testing.T, f bench) {
	var fresh atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			ok, err := f.Remember(t.Context(), "did:web:x", "jti", now.Add(time.Minute), now)
			if err != nil {
				t.Error(err)
			}
			if ok {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	if fresh.Load() != 1 {
		t.Errorf("fresh %d times, want once", fresh.Load())
	}
	if ok := must(f.Remember(t.Context(), "did:web:y", "jti", now.Add(time.Minute), now))(t); !ok {
		t.Error("another issuer's jti is not fresh")
	}
}

func once(t *testing.T, f bench) {
	o := commit.Once{Participant: f.a.ID, Key: "k", Digest: "d", Time: now}
	ctx := commit.WithOnce(t.Context(), o)
	stale := f.negotiation("none")
	wantKind(t, f.ReplaceNegotiation(ctx, stale, stale, commit.Effects{}), fault.Conflict)
	_, _, err := f.Answered(t.Context(), f.a.ID, "k")
	wantKind(t, err, fault.NotFound)
	for _, id := range []string{"n1", "n2"} { // a call may change several things
		check(t, f.CreateNegotiation(ctx, f.negotiation(id), commit.Effects{}))
		digest, answer, err := f.Answered(t.Context(), f.a.ID, "k")
		if err != nil || digest != "d" || len(answer) != 0 {
			t.Fatalf("after %s: got %q, %q, %v; want the request's digest and no answer", id, digest, answer, err)
		}
	}
	wantKind(t, f.Keep(t.Context(), f.a.ID, "k", "other", []byte("x"), now), fault.Conflict)
	check(t, f.Keep(t.Context(), f.a.ID, "k", "d", []byte("answer"), now))
	wantKind(t, f.Keep(t.Context(), f.a.ID, "k", "d", []byte("x"), now), fault.Conflict)
	if _, answer, err := f.Answered(t.Context(), f.a.ID, "k"); err != nil || string(answer) != "answer" {
		t.Errorf("got %q, %v", answer, err)
	}
	_, _, err = f.Answered(t.Context(), f.b.ID, "k")
	wantKind(t, err, fault.NotFound)
}

func used(t *testing.T, f bench) {
	var done atomic.Int32
	var wg sync.WaitGroup
	for i := range 100 {
		token := &commit.Used{Issuer: "did:web:x", ID: "jti", Until: now.Add(time.Minute), Now: now}
		wg.Go(func() {
			err := f.CreateNegotiation(commit.WithUsed(t.Context(), token), f.negotiation(fmt.Sprint("n", i)), commit.Effects{})
			switch {
			case err == nil && token.Kept():
				done.Add(1)
			case !fault.Is(err, fault.Unauthenticated) || token.Kept():
				t.Errorf("got %v, want Unauthenticated", err)
			}
		})
		wg.Go(func() { // who has nothing to do with it does not suffer
			if err := f.CreateNegotiation(t.Context(), f.negotiation(fmt.Sprint("m", i)), commit.Effects{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all := must(f.Negotiations(t.Context(), f.a.ID, negotiation.Filter{}, page.Request{Limit: page.MaxLimit}))(t)
	if done.Load() != 1 || len(all.Items) != 101 {
		t.Errorf("%d with the token, %d in all; want 1 and 101", done.Load(), len(all.Items))
	}
	token := &commit.Used{Issuer: "did:web:y", ID: "jti", Until: now.Add(time.Minute), Now: now}
	ctx := commit.WithUsed(t.Context(), token)
	check(t, f.Record(ctx, f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{entry(1)}})) // a record alone uses it too
	check(t, f.Record(ctx, f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{entry(2)}})) // and the same call may go on
	if fresh := must(f.Remember(t.Context(), "did:web:y", "jti", now.Add(time.Minute), now))(t); fresh {
		t.Error("the token can be used again")
	}
}

func paging(t *testing.T, f bench) {
	var want []string
	for i := range 25 {
		n := f.negotiation(fmt.Sprintf("n%02d", i))
		n.Created = now.Add(time.Duration(i/5) * time.Second) // five share each time
		check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{}))
		want = append(want, n.ID)
	}
	for _, newest := range []bool{false, true} {
		var got []string
		r := page.Request{Limit: 7, Newest: newest}
		for {
			p := must(f.Negotiations(t.Context(), f.a.ID, negotiation.Filter{Peer: peer}, r))(t)
			for _, n := range p.Items {
				got = append(got, n.ID)
			}
			if p.Next.ID == "" {
				break
			}
			r.After = p.Next
		}
		if newest {
			slices.Reverse(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("newest %v: got %v, want %v", newest, got, want)
		}
	}
}

func times(t *testing.T, f bench) {
	n := f.negotiation("n1")
	n.Created = now.In(time.FixedZone("x", 3600))
	check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{}))
	got := must(f.Negotiation(t.Context(), f.a.ID, "", "n1"))(t)
	if !got.Created.Equal(now) {
		t.Errorf("created %v, want %v", got.Created, now)
	}
	p := must(f.Participant(t.Context(), "aurora"))(t)
	if p.Created != now {
		t.Errorf("created %v, want %v in UTC", p.Created, now)
	}
}

func cancelled(t *testing.T, f bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.CreateNegotiation(ctx, f.negotiation("n1"), commit.Effects{}); err == nil {
		t.Fatal("a cancelled create succeeded")
	}
	_, err := f.Negotiation(t.Context(), f.a.ID, "", "n1")
	wantKind(t, err, fault.NotFound)
}

func reopen(t *testing.T, f bench) {
	check(t, f.CreateNegotiation(t.Context(), f.negotiation("n1"), commit.Effects{Decisions: []decisionlog.Entry{entry(1)}}))
	check(t, f.Close())
	if err := f.CreateNegotiation(t.Context(), f.negotiation("n2"), commit.Effects{}); err == nil {
		t.Error("a closed store accepted a write")
	}
	again := f.opened.Reopen(t)
	got := must(again.Negotiation(t.Context(), f.a.ID, peer, "n1"))(t)
	if got.Reasons[1] != "小" || got.Offer.Target != "asset ä" {
		t.Errorf("came back as %+v", got)
	}
	if tail := must(again.LogTail(t.Context(), "aurora"))(t); tail != 1 {
		t.Errorf("%d records, want 1", tail)
	}
}

func look(t *testing.T, f bench) {
	check(t, f.CreateNegotiation(t.Context(), f.negotiation("n1"), commit.Effects{}))
	for _, end := range []func() error{func() error { return nil }, f.Close} {
		check(t, end()) // it is looked at while it is used, and when it no longer is
		seen, err := f.opened.Look(t)
		check(t, err)
		_ = must(seen.Negotiation(t.Context(), f.a.ID, peer, "n1"))(t)
		_, err = seen.Negotiation(t.Context(), f.a.ID, peer, "n2")
		wantKind(t, err, fault.NotFound)
		wantKind(t, seen.CreateNegotiation(t.Context(), f.negotiation("n2"), commit.Effects{}), fault.Unavailable)
		wantKind(t, seen.Ping(t.Context()), fault.Unavailable)
		check(t, seen.Close())
	}
	_, err := f.opened.Reopen(t).Negotiation(t.Context(), f.a.ID, peer, "n2")
	wantKind(t, err, fault.NotFound)
}

func sequencing(t *testing.T, f bench) {
	for i := range 50 {
		check(t, f.Record(t.Context(), f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{entry(i)}}))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				open, err := f.Unsequenced(t.Context(), "aurora", 7)
				if err != nil {
					t.Error(err)
					return
				}
				if len(open) == 0 {
					return
				}
				head, err := f.LogHead(t.Context(), "aurora")
				if err != nil {
					t.Error(err)
					return
				}
				var leaves [][]byte
				var ids []string
				for _, e := range open {
					leaves, ids = append(leaves, e.Bytes), append(ids, e.ID)
				}
				next, err := head.Append(leaves...)
				if err != nil {
					t.Error(err)
					return
				}
				if err := f.Sequence(t.Context(), "aurora", head, next, ids); err != nil && !fault.Is(err, fault.Conflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	entries := must(f.LogEntries(t.Context(), "aurora", 0, 100))(t)
	head := must(f.LogHead(t.Context(), "aurora"))(t)
	if len(entries) != 50 || head.Size != 50 {
		t.Fatalf("%d entries, size %d; want 50", len(entries), head.Size)
	}
	again := decisionlog.Head{}
	for _, e := range entries {
		again = must(again.Append(e.Bytes))(t)
	}
	if !bytes.Equal(must(again.Root())(t), must(head.Root())(t)) {
		t.Error("the entries in order do not hash to the head")
	}
}

func (f bench) definition(t *testing.T, action string) catalog.Definition {
	p := odrl.Policy{Permission: []odrl.Rule{{Action: action}}}
	d := catalog.Definition{Participant: f.a.ID, Digest: odrl.Digest(p), Access: action == "access", Policy: p, Created: now}
	check(t, f.PutDefinition(t.Context(), d, commit.Effects{}))
	check(t, f.PutDefinition(t.Context(), d, commit.Effects{}))
	return d
}

func offers(t *testing.T, f bench) {
	access, usage := f.definition(t, "access"), f.definition(t, "use")
	asset := func(id, kind string) catalog.Asset { return catalog.Asset{ID: id, Type: kind, Created: now} }
	check(t, f.PutAssets(t.Context(), f.a.ID, catalog.Lot{Assets: []catalog.Asset{asset("a1", "pcf"), asset("a2", "dpp")}, Contents: []catalog.Content{{Digest: strings.Repeat("00", 32), Bytes: []byte("x")}}}, commit.Effects{}))
	rule := catalog.Rule{Participant: f.a.ID, ID: "r", Selector: catalog.Selector{Type: "pcf"}, Access: access.Digest, Usage: usage.Digest, Created: now}
	check(t, f.PutRule(t.Context(), rule, commit.Effects{}))
	check(t, f.PutAssets(t.Context(), f.a.ID, catalog.Lot{Assets: []catalog.Asset{asset("a3", "pcf")}}, commit.Effects{}))
	ids := func(access ...string) (out []string) {
		p := must(f.Entries(t.Context(), f.a.ID, access, "", page.Request{}))(t)
		for _, e := range p.Items {
			out = append(out, e.Asset.ID)
			if e.Access.Digest != rule.Access || e.Usage.Digest != rule.Usage || !strings.HasPrefix(e.Offer.ID, "urn:uuid:") {
				t.Errorf("entry %+v", e)
			}
		}
		slices.Sort(out)
		return out
	}
	if got := ids(access.Digest); !slices.Equal(got, []string{"a1", "a3"}) {
		t.Errorf("offered %v, want a1 and a3", got)
	}
	if got := ids("other"); len(got) != 0 {
		t.Errorf("another access policy shows %v", got)
	}
	wantKind(t, f.PutAssets(t.Context(), f.a.ID, catalog.Lot{Assets: []catalog.Asset{asset("a4", "pcf"), asset("a1", "pcf")}}, commit.Effects{}), fault.Conflict)
	_, err := f.Asset(t.Context(), f.a.ID, "a4")
	wantKind(t, err, fault.NotFound)
	later := asset("a1", "dpp")
	later.Created = now.Add(time.Hour)
	check(t, f.PutAssets(t.Context(), f.a.ID, catalog.Lot{Assets: []catalog.Asset{later}, Upsert: true}, commit.Effects{}))
	if a := must(f.Asset(t.Context(), f.a.ID, "a1"))(t); !a.Created.Equal(now) || a.Version != 2 {
		t.Errorf("replaced, it is created at %v with version %d; want %v and 2", a.Created, a.Version, now)
	}
	if got := ids(access.Digest); !slices.Equal(got, []string{"a3"}) {
		t.Errorf("after a1 changed its type: offered %v, want a3", got)
	}
	if list := must(f.AccessPolicies(t.Context(), f.a.ID))(t); len(list) != 1 || list[0].Digest != access.Digest {
		t.Errorf("access policies %+v", list)
	}
	if d := must(f.Definitions(t.Context(), f.a.ID, page.Request{}))(t); len(d.Items) != 2 {
		t.Errorf("%d definitions, want 2", len(d.Items))
	}
	check(t, f.DeleteRule(t.Context(), f.a.ID, "r", 1, commit.Effects{}))
	if got := ids(access.Digest); len(got) != 0 {
		t.Errorf("without a rule: offered %v", got)
	}
	wantKind(t, f.DeleteAsset(t.Context(), f.a.ID, "a3", 9, commit.Effects{}), fault.Conflict)
	check(t, f.DeleteAsset(t.Context(), f.a.ID, "a3", 1, commit.Effects{}))
}

func datasets(t *testing.T, f bench) {
	access, usage := f.definition(t, "access"), f.definition(t, "use")
	for i, id := range []string{"a1", "a2", "a3"} {
		a := catalog.Asset{ID: id, Type: "pcf", Created: now.Add(time.Duration(i) * time.Second)}
		check(t, f.PutAssets(t.Context(), f.a.ID, catalog.Lot{Assets: []catalog.Asset{a}}, commit.Effects{}))
	}
	for i, id := range []string{"r1", "r2"} { // all the second offers come after all the first
		rule := catalog.Rule{Participant: f.a.ID, ID: id, Selector: catalog.Selector{Type: "pcf"}, Access: access.Digest, Usage: usage.Digest, Created: now.Add(time.Duration(i) * time.Minute)}
		check(t, f.PutRule(t.Context(), rule, commit.Effects{}))
	}
	read := func(r page.Request) (out []string) {
		for {
			p := must(f.Datasets(t.Context(), f.a.ID, []string{"other", access.Digest}, r))(t)
			for _, d := range p.Items {
				out = append(out, d.Asset.ID)
				if len(d.Offers) != 2 || d.Offers[0].Offer.Asset != d.Asset.ID || d.Offers[1].Offer.Asset != d.Asset.ID {
					t.Errorf("%s is shown with %d offers, want its 2", d.Asset.ID, len(d.Offers))
				}
			}
			if p.Next.ID == "" {
				return out
			}
			r.After = p.Next
		}
	}
	whole := read(page.Request{})
	if got := slices.Sorted(slices.Values(whole)); !slices.Equal(got, []string{"a1", "a2", "a3"}) {
		t.Errorf("shown are %v", whole)
	}
	if got := read(page.Request{Limit: 1}); !slices.Equal(got, whole) {
		t.Errorf("page by page: %v, want %v", got, whole)
	}
	back := read(page.Request{Limit: 1, Newest: true})
	slices.Reverse(back)
	if !slices.Equal(back, whole) {
		t.Errorf("from the end: %v, want %v", back, whole)
	}
	for _, access := range [][]string{nil, {"other"}} {
		if p := must(f.Datasets(t.Context(), f.a.ID, access, page.Request{}))(t); len(p.Items) != 0 {
			t.Errorf("%v shows %+v", access, p.Items)
		}
	}
}

func retire(t *testing.T, f bench) {
	a := &agreement.Agreement{Participant: f.a.ID, ID: "urn:a", Negotiation: "n1", Role: "provider", Provider: f.a.DID, Consumer: peer, Asset: "x",
		Digest: strings.Repeat("ab", 32), Signed: now, Created: now}
	n := f.negotiation("n1")
	n.AgreementID = "urn:a"
	check(t, f.CreateNegotiation(t.Context(), n, commit.Effects{Agreement: a}))
	if final := must(f.Finalized(t.Context(), f.a.ID, "urn:a"))(t); final {
		t.Error("final before it is")
	}
	next := n
	next.State = negotiation.Finalized
	check(t, f.ReplaceNegotiation(t.Context(), n, next, commit.Effects{}))
	if final := must(f.Finalized(t.Context(), f.a.ID, "urn:a"))(t); !final {
		t.Error("not final")
	}
	if list := must(f.AgreementsForAsset(t.Context(), f.a.ID, peer, "x"))(t); len(list) != 1 {
		t.Errorf("%d in force, want 1", len(list))
	}
	r := agreement.Retirement{Participant: f.a.ID, Agreement: "urn:a", Reason: "ended", Time: now}
	check(t, f.Retire(t.Context(), r, commit.Effects{Decisions: []decisionlog.Entry{entry(1)}}))
	wantKind(t, f.Retire(t.Context(), r, commit.Effects{}), fault.Conflict)
	r.Agreement = "urn:none"
	wantKind(t, f.Retire(t.Context(), r, commit.Effects{}), fault.NotFound)
	if got := must(f.Agreement(t.Context(), f.a.ID, "urn:a"))(t); got.Retired == nil || got.Retired.Reason != "ended" {
		t.Errorf("retirement: %+v", got.Retired)
	}
	if list := must(f.AgreementsForAsset(t.Context(), f.a.ID, peer, "x"))(t); len(list) != 0 {
		t.Errorf("%d in force, want none", len(list))
	}
}

func backup(t *testing.T, f bench) {
	offers(t, f)
	check(t, f.CreateNegotiation(t.Context(), f.negotiation("n1"), commit.Effects{Decisions: []decisionlog.Entry{entry(1)}, Owed: f.owed("n1", now), Events: []commit.Event{{Type: "x"}}}))
	check(t, f.CreateTransfer(t.Context(), transfer.Transfer{Participant: f.a.ID, ID: "t1", Role: transfer.Provider, Peer: peer, State: transfer.Started,
		Asset: "größer", Created: now}, commit.Effects{}))
	var out bytes.Buffer
	check(t, f.Backup(t.Context(), &out))
	copied := f.opened.Empty(t)
	damaged := bytes.Replace(out.Bytes(), []byte("peer-n1"), []byte("peer-n2"), 1)
	if err := copied.Restore(t.Context(), bytes.NewReader(damaged), now); err == nil {
		t.Fatal("a damaged backup was restored")
	}
	if err := copied.Restore(t.Context(), bytes.NewReader(out.Bytes()[:out.Len()/2]), now); err == nil {
		t.Fatal("half a backup was restored")
	}
	check(t, copied.Restore(t.Context(), bytes.NewReader(out.Bytes()), now))
	if err := copied.Restore(t.Context(), bytes.NewReader(out.Bytes()), now); err == nil {
		t.Error("a store that is not empty was restored over")
	}
	got := must(copied.Negotiation(t.Context(), f.a.ID, peer, "n1"))(t)
	if got.Reasons[0] != "größer" {
		t.Errorf("came back as %+v", got)
	}
	if tr := must(copied.Transfer(t.Context(), f.a.ID, peer, "t1"))(t); tr.Asset != "größer" {
		t.Errorf("transfer came back as %+v", tr)
	}
	if due := must(copied.Claim(t.Context(), now, time.Minute, 10))(t); len(due) != 1 || !bytes.Equal(due[0].Body, []byte{0, 255}) {
		t.Errorf("owed came back as %+v", due)
	}
}

// commitOrder has a clock that steps back between two commits, and ids that sort the other way round.
func commitOrder(t *testing.T, f bench) {
	var want []string
	for i := range 40 {
		e := entry(i)
		e.Time, e.Process = now.Add(-time.Duration(i)*time.Second), "p"
		check(t, f.Record(t.Context(), f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{e}}))
		want = append(want, e.ID)
	}
	many := commit.Effects{}
	for i := range 40 {
		e := entry(100 + i)
		e.Process = "p"
		many.Decisions, want = append(many.Decisions, e), append(want, e.ID)
	}
	check(t, f.Record(t.Context(), f.a.ID, many))
	if got := ids(must(f.Unsequenced(t.Context(), "aurora", 100))(t)); !slices.Equal(got, want) {
		t.Errorf("waiting: got %v, want %v", got, want)
	}
	if got := ids(must(f.LogByProcess(t.Context(), "aurora", "p", 100))(t)); !slices.Equal(got, want) {
		t.Errorf("of the process: got %v, want %v", got, want)
	}
	var out bytes.Buffer
	check(t, f.Backup(t.Context(), &out))
	copied := f.opened.Empty(t)
	check(t, copied.Restore(t.Context(), &out, now))
	if got := ids(must(copied.Unsequenced(t.Context(), "aurora", 100))(t)); !slices.Equal(got, want) {
		t.Errorf("restored: got %v, want %v", got, want)
	}
	late := entry(1000)
	check(t, copied.Record(t.Context(), f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{late}}))
	if got := ids(must(copied.Unsequenced(t.Context(), "aurora", 100))(t)); !slices.Equal(got, append(want, late.ID)) {
		t.Errorf("after the restore: got %v, want %v at the end", got, late.ID)
	}
}

func ids(entries []decisionlog.Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.ID)
	}
	return out
}

func archived(t *testing.T, f bench) {
	wantKind(t, second(f.Activated(t.Context(), "aurora")), fault.NotFound)
	e := entry(1)
	e.Kind, e.Archive = "bundle.activate", []decisionlog.Object{decisionlog.NewObject("bundle", []byte{0, 1}), decisionlog.NewObject("caps", []byte("{}"))}
	check(t, f.Record(t.Context(), f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{e}}))
	later := entry(2)
	later.Kind, later.Time, later.Archive = "bundle.activate", now.Add(-time.Hour), e.Archive
	check(t, f.Record(t.Context(), f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{later, entry(3)}}))
	if got := must(f.Activated(t.Context(), "aurora"))(t); got.ID != later.ID {
		t.Errorf("the newest activation is %s, want %s", got.ID, later.ID)
	}
	for _, want := range e.Archive {
		got := must(f.Archived(t.Context(), "aurora", want.Digest))(t)
		if got.Digest != want.Digest || got.Type != want.Type || !bytes.Equal(got.Bytes, want.Bytes) {
			t.Errorf("archived as %+v, want %+v", got, want)
		}
		wantKind(t, second(f.Archived(t.Context(), "boreal", want.Digest)), fault.NotFound)
	}
	wantKind(t, second(f.Archived(t.Context(), "aurora", strings.Repeat("0", 64))), fault.NotFound)
	wantKind(t, second(f.Activated(t.Context(), "boreal")), fault.NotFound)
}

func second[T any](_ T, err error) error { return err }

func restored(t *testing.T, f bench) {
	check(t, f.PutToken(t.Context(), store.Token{Hash: strings.Repeat("a", 64), Role: "operator", Label: "old", Created: now}))
	for id, tr := range map[string]transfer.Transfer{
		"served": {Role: transfer.Provider, State: transfer.Started, Grant: transfer.Grant{Hash: "h"}, Pending: transfer.Pending{Kind: transfer.Start, Owed: "owed-served"}},
		"ended":  {Role: transfer.Provider, State: transfer.Completed},
		"taken":  {Role: transfer.Consumer, State: transfer.Started, Address: []byte("a")},
	} {
		tr.Participant, tr.ID, tr.Peer, tr.Created = f.a.ID, id, peer, now
		owed := f.owed(id, now)
		owed.Process = commit.Transfer
		check(t, f.CreateTransfer(t.Context(), tr, commit.Effects{Owed: owed}))
	}
	check(t, f.Record(t.Context(), f.a.ID, commit.Effects{Decisions: []decisionlog.Entry{entry(1), entry(2)}}))
	if r := must(f.Restored(t.Context(), "aurora"))(t); r != (decisionlog.Restore{}) {
		t.Errorf("a store that nobody restored says %+v", r)
	}
	var out bytes.Buffer
	check(t, f.Backup(t.Context(), &out))
	copied := f.opened.Empty(t)
	check(t, copied.Restore(t.Context(), &out, now))

	wantKind(t, second(copied.Token(t.Context(), strings.Repeat("a", 64))), fault.NotFound)
	wantKind(t, second(copied.TransferByToken(t.Context(), f.a.ID, "h")), fault.NotFound)
	for id, want := range map[string]transfer.State{"served": transfer.Terminated, "ended": transfer.Completed, "taken": transfer.Started} {
		got := must(copied.Transfer(t.Context(), f.a.ID, peer, id))(t)
		if got.State != want || id == "served" && (got.Grant.Hash != "" || got.Pending.Kind != "" || got.Code != "connector.restored") {
			t.Errorf("%s came back as %+v, want state %s", id, got, want)
		}
	}
	if n := must(copied.OpenTransfers(t.Context(), f.a.ID, peer))(t); n != 1 {
		t.Errorf("%d transfers are open, want the one that we take", n)
	}
	for _, o := range must(copied.Claim(t.Context(), now, time.Minute, 10))(t) {
		if o.ProcessID == "served" {
			t.Error("a message of the terminated transfer is owed")
		}
	}

	// Each log records the restore, once.
	for _, log := range []string{"aurora", "boreal"} {
		if r := must(copied.Restored(t.Context(), log))(t); !r.At.Equal(now) || r.Recorded {
			t.Errorf("%s was restored: %+v, want at %v, not recorded", log, r, now)
		}
	}
	recovered := entry(9)
	recovered.Kind = decisionlog.KindRecovered
	next := must(decisionlog.Head{}.Append(recovered.Bytes))(t)
	wantKind(t, copied.Recover(t.Context(), "aurora", decisionlog.Head{Size: 7, Fence: 1}, decisionlog.Head{Size: 8}, recovered), fault.Conflict)
	check(t, copied.Recover(t.Context(), "aurora", decisionlog.Head{}, next, recovered))
	if r := must(copied.Restored(t.Context(), "aurora"))(t); !r.Recorded || !r.At.Equal(now) {
		t.Errorf("after the record: %+v", r)
	}
	if r := must(copied.Restored(t.Context(), "boreal"))(t); r.Recorded {
		t.Error("one log spoke for another")
	}
	if got := ids(must(copied.LogEntries(t.Context(), "aurora", 0, 10))(t)); !slices.Equal(got, []string{recovered.ID}) {
		t.Errorf("the log has %v, want the record of the restore at 0", got)
	}
	again := entry(10)
	head := must(copied.LogHead(t.Context(), "aurora"))(t)
	wantKind(t, copied.Recover(t.Context(), "aurora", head, must(head.Append(again.Bytes))(t), again), fault.Conflict)
	check(t, copied.Resumed(t.Context(), "boreal")) // not recorded: nothing to end
	check(t, copied.Resumed(t.Context(), "aurora"))
	if r := must(copied.Restored(t.Context(), "aurora"))(t); r != (decisionlog.Restore{}) {
		t.Errorf("an answered restore is still open: %+v", r)
	}
	if r := must(copied.Restored(t.Context(), "boreal"))(t); r.At.IsZero() {
		t.Error("a restore that no record speaks of is forgotten")
	}
}

func groups(t *testing.T, f bench) {
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			err := f.CreateNegotiation(t.Context(), f.negotiation(fmt.Sprint("n", i/2)), commit.Effects{Decisions: []decisionlog.Entry{entry(i)}})
			if err != nil && !fault.Is(err, fault.Conflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list := must(f.Negotiations(t.Context(), f.a.ID, negotiation.Filter{}, page.Request{}))(t)
	if tail := must(f.LogTail(t.Context(), "aurora"))(t); len(list.Items) != 50 || tail != 50 {
		t.Errorf("%d negotiations, %d records; want 50 of each", len(list.Items), tail)
	}
}

func notify(t *testing.T, f bench) {
	ctx, cancel := context.WithCancel(t.Context())
	told := f.Notify(ctx, f.a.ID)
	other := f.Notify(ctx, f.b.ID)
	check(t, f.CreateNegotiation(t.Context(), f.negotiation("n1"), commit.Effects{}))
	<-told
	if _, err := f.Negotiation(t.Context(), f.a.ID, "", "n1"); err != nil {
		t.Errorf("told before the commit: %v", err)
	}
	select {
	case <-other:
		t.Error("another participant was told")
	default:
	}
	cancel()
	for range told {
	}
}
