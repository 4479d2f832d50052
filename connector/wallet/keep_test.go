package wallet_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wallet"
)

const day = 24 * time.Hour

func TestACredentialIsReplacedBeforeItEnds(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential")
		check(t, b.bring(r, b.membership(made{id: "urn:1", life: 10 * day})))
		pass(5*day - time.Hour)
		if n := len(b.requests()); n != 1 {
			t.Fatalf("%d requests before half of its life is over", n)
		}
		b.issued[meridian][0].ID = "membership-2" // the issuer renamed it meanwhile
		pass(2 * time.Hour)
		all := b.requests()
		if len(all) != 2 || all[0].Actor != "" && all[1].Actor != "" {
			t.Fatalf("requests: %+v", all)
		}
		renewal := all[slices.IndexFunc(all, func(x wallet.Request) bool { return x.ID != r.ID })]
		if renewal.State != wallet.Requested || renewal.Wanted[0].Replaces != "urn:1" || renewal.Wanted[0].Definition != "membership-2" {
			t.Fatalf("%+v", renewal)
		}
		if got := b.held(); !slices.Equal(got, []string{"urn:1"}) {
			t.Errorf("held meanwhile: %v", got)
		}
		check(t, b.bring(renewal, b.membership(made{id: "urn:2", life: 10 * day})))
		if got := b.kept(); !slices.Equal(got, []string{"urn:2"}) {
			t.Errorf("held afterwards: %v", got)
		}
		if pass(6 * day); len(b.requests()) != 3 || b.count("credential.expired") != 0 {
			t.Errorf("%d requests, events %v: want the next renewal in its time", len(b.requests()), b.events())
		}
	})
}

// An issuer may say that a credential was good long before it came, and may always name the same end: neither makes us ask again and again.
func TestACredentialIsAskedForAnewByTheLifeThatItHasHere(t *testing.T) {
	for name, m := range map[string]struct {
		from, life time.Duration // of each that is delivered
		fixed      bool          // they all have one end
		after      time.Duration
		least      int // requests by then
		most       int
	}{
		"it was good long before":  {from: -90 * day, life: 100 * day, after: 26 * day, least: 6, most: 6},
		"all of them have one end": {from: -90 * day, life: 100 * day, fixed: true, after: 11 * day, least: 5, most: 20},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bench) {
				begin := time.Now()
				b.send = func(_ context.Context, o commit.Owed) (outbox.Answer, error) {
					next := made{from: m.from, life: m.life}
					if m.fixed {
						next.life -= time.Since(begin)
					}
					// The issuer delivers before it answers; what has ended nobody takes.
					_ = b.Deliver(context.Background(), b.local, peer(meridian), wallet.Delivery{IssuerPID: "r1", HolderPID: o.ProcessID, Credentials: []wallet.Delivered{b.membership(next)}})
					return outbox.Answer{Status: 201, Location: base + "/requests/r1"}, nil
				}
				b.wantState(b.ask("MembershipCredential").ID, wallet.Issued)
				if pass(time.Hour); len(b.requests()) != 1 {
					t.Fatalf("%d requests in the first hour", len(b.requests()))
				}
				pass(m.after - time.Hour)
				if n := len(b.requests()); n < m.least || n > m.most {
					t.Errorf("%d requests in %v, want %d to %d", n, m.after, m.least, m.most)
				}
			})
		})
	}
}

func TestAnIssuerThatIsAwayIsAskedAgainUntilTheEndIsReported(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential")
		check(t, b.bring(r, b.membership(made{id: "urn:1", life: 20 * day})))
		b.send = func(context.Context, commit.Owed) (outbox.Answer, error) {
			return outbox.Answer{}, errors.New("no route")
		}
		pass(19 * day)
		if n := len(b.requests()); n < 4 {
			t.Errorf("%d requests, want some that failed and another", n)
		}
		if b.count("credential.expired") != 0 || len(b.held()) != 1 {
			t.Errorf("events %v", b.events())
		}
		pass(2 * day)
		all := must(b.Credentials(t.Context(), b.local))(t)
		if b.count("credential.expired") != 1 || len(b.held()) != 0 || len(all) != 1 || !all[0].Expired {
			t.Errorf("events %v, kept %+v", b.events(), all)
		}
		if pass(100 * day); b.count("credential.expired") != 1 {
			t.Errorf("its end is told again: %v", b.events())
		}
	})
}

// A connector that slept when it was time asks when it wakes.
func TestWhatEndedWhileNobodyRanIsAskedForAllTheSame(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential")
		check(t, b.bring(r, b.membership(made{life: 10 * day})))
		b.stop()
		pass(20 * day)
		b.start()
		pass(time.Minute)
		if len(b.requests()) != 2 || b.count("credential.expired") != 1 {
			t.Errorf("%d requests, events %v", len(b.requests()), b.events())
		}
	})
}

func TestWhatAnOperatorPutInIsReportedAndNotAskedFor(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		_, err := b.Put(t.Context(), b.local, []byte(b.membership(made{id: "urn:1", life: 10 * day}).Token), "operator")
		check(t, err)
		synctest.Wait()
		pass(11 * day)
		if len(b.requests()) != 0 || b.count("credential.expired") != 1 {
			t.Errorf("%d requests, events %v", len(b.requests()), b.events())
		}
		_, err = b.Put(t.Context(), b.local, []byte(b.membership(made{id: "urn:1"}).Token), "operator") // the same id replaces
		check(t, err)
		if got := b.held(); !slices.Equal(got, []string{"urn:1"}) {
			t.Errorf("held: %v", got)
		}
		check(t, b.Delete(t.Context(), b.local, "urn:1", "operator"))
		if err := b.Delete(t.Context(), b.local, "urn:1", "operator"); !fault.Is(err, fault.NotFound) || len(b.kept()) != 0 {
			t.Errorf("%v, kept %v", err, b.kept())
		}
		if due, owed, err := b.store.NextDue(t.Context()); err != nil || owed {
			t.Errorf("something is owed at %v, %v", due, err)
		}
	})
}

// What is shown leaves out what would spoil the rest. What an issuer took back is known when it was asked, which no exchange waits for.
func TestWhatIsNotGoodNowIsNotShown(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.standing["revoked"], b.standing["suspended"], b.standing["unknown"], b.standing["good"] = wallet.Revoked, wallet.Suspended, "?", wallet.Good
		for _, m := range []made{{id: "good"}, {id: "expired", from: -2 * time.Hour, life: time.Hour}, {id: "early", from: 12 * time.Hour}, {id: "revoked"}, {id: "suspended"}, {id: "unknown"}} {
			_, err := b.Put(t.Context(), b.local, []byte(b.membership(m).Token), "operator")
			check(t, err)
		}
		if got := b.held(); !slices.Equal(got, []string{"good", "revoked", "suspended", "unknown"}) {
			t.Errorf("shown before anybody was asked: %v", got)
		}
		pass(61 * time.Minute)
		if got := b.held(); !slices.Equal(got, []string{"good", "unknown"}) {
			t.Errorf("shown: %v", got)
		}
		// What an issuer takes back for a while comes back; what it revoked does not, whatever is said later.
		b.standing["revoked"], b.standing["suspended"] = wallet.Good, wallet.Good
		pass(time.Hour)
		if got := b.held(); !slices.Equal(got, []string{"good", "suspended", "unknown"}) {
			t.Errorf("shown later: %v", got)
		}
		if b.count("credential.revoked") != 1 || b.count("credential.suspended") != 1 || b.count("credential.reinstated") != 1 {
			t.Errorf("events: %v", b.events())
		}
	})
}

func TestWhatAnIssuerLeavesOutIsTakenAndShownWhileItMay(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		allow := func(may map[participant.DID]bool) {
			b.stop()
			b.config.Informal = may
			b.start()
		}
		r := b.ask("MembershipCredential")
		bare := b.membership(made{id: "bare", bare: true})
		if err := b.bring(r, bare); !fault.Is(err, fault.Malformed) {
			t.Errorf("taken of an issuer that may not: %v", err)
		}
		allow(map[participant.DID]bool{b.local.DID: true, dusk: true})
		if err := b.bring(r, bare); !fault.Is(err, fault.Malformed) {
			t.Errorf("taken of an issuer where others may: %v", err)
		}
		allow(map[participant.DID]bool{meridian: true})
		if err := b.bring(r, wallet.Delivered{Type: bare.Type, Profile: bare.Profile, Token: b.authority.issue(b.other.DID, "MembershipCredential", made{bare: true})}); !fault.Is(err, fault.Malformed) {
			t.Errorf("taken although it is about somebody else: %v", err)
		}
		check(t, b.bring(r, bare))
		b.wantState(r.ID, wallet.Issued)
		_, err := b.Put(t.Context(), b.local, []byte(b.membership(made{id: "whole"}).Token), "operator")
		check(t, err)
		if got := b.held(); !slices.Equal(got, []string{"bare", "whole"}) {
			t.Errorf("shown while the issuer may: %v", got)
		}
		allow(nil)
		if got := b.held(); !slices.Equal(got, []string{"whole"}) || !b.logged("a credential is not shown") || len(b.kept()) != 2 {
			t.Errorf("shown when it may no longer: %v, kept %v", got, b.kept())
		}
	})
}

// What somebody else's look showed meanwhile is known at once.
func TestWhatIsSeenOfAListIsKnownWithoutAsking(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		_, err := b.Put(t.Context(), b.local, []byte(b.membership(made{id: "urn:1"}).Token), "operator")
		check(t, err)
		b.seen["urn:1"] = wallet.Revoked
		if got := b.held(); len(got) != 0 || b.count("credential.revoked") != 1 {
			t.Errorf("shown: %v, events %v", got, b.events())
		}
	})
}

func TestWhatAnIssuerTookBackIsNotAskedForAgain(t *testing.T) {
	for standing, want := range map[wallet.Standing]int{wallet.Revoked: 1, wallet.Suspended: 1, wallet.Good: 2} {
		t.Run(string(standing)+" ", func(t *testing.T) {
			story(t, func(t *testing.T, b *bench) {
				b.standing["urn:1"] = standing
				r := b.ask("MembershipCredential")
				check(t, b.bring(r, b.membership(made{id: "urn:1", life: 10 * day})))
				if pass(9 * day); len(b.requests()) != want {
					t.Errorf("requests: %+v", b.requests())
				}
				if b.standing["urn:1"] = wallet.Good; standing == wallet.Suspended { // what comes back is renewed after all
					if pass(2 * time.Hour); len(b.requests()) != 2 {
						t.Errorf("requests: %+v", b.requests())
					}
				}
			})
		})
	}
}
