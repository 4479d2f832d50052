package credential_test

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
)

// holds makes the caller show a credential whose status is at index 7 of the authority's list, in which nothing is set.
func (w *world) holds(t *testing.T, kind statuslist.Kind) (url string) {
	t.Helper()
	url = w.publish(t, listPath, listSubject(t, kind, statuslist.Revocation))
	w.presents(t, w.vc(t, inner("credentialStatus", entry(kind, url, 7, statuslist.Revocation))))
	return url
}

func (w *world) losses() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.revoked)
}

func TestACredentialIsBelievedWhileItsListSaysNothingOfIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		kind statuslist.Kind
		vc2  bool
	}{
		{"a list of 2021 for version 1.1", statuslist.List2021, false},
		{"a bitstring for version 1.1", statuslist.Bitstring, false},
		{"a bitstring for version 2.0", statuslist.Bitstring, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			url := w.publish(t, listPath, listSubject(t, tt.kind, statuslist.Revocation, 6, 8))
			if tt.vc2 {
				w.shows(w.vp2(t, w.vc2(t, with(goodVC2(), "credentialStatus", entry(tt.kind, url, 7, statuslist.Revocation)))))
			} else {
				w.presents(t, w.vc(t, inner("credentialStatus", entry(tt.kind, url, 7, statuslist.Revocation))))
			}
			if _, types, err := w.claims(t); err != nil || len(types) != 1 {
				t.Errorf("proven %v, %v", types, err)
			}
		})
	}
}

func TestAStatusThatOnlyInformsIsNotLookedAt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.presents(t, w.vc(t, inner("credentialStatus", []any{entry(statuslist.Bitstring, w.origin+"/nowhere", 7, statuslist.Refresh), entry(statuslist.Bitstring, w.origin+"/nowhere", 8, statuslist.Message)})))
	if _, types, err := w.claims(t); err != nil || len(types) != 1 || w.visits("/nowhere") > 0 {
		t.Errorf("proven %v, %v after %d looks", types, err, w.visits("/nowhere"))
	}
}

func TestAListOfAnotherIssuerIsBelievedWhereThatWasDelegated(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.trust.Delegated = map[participant.DID][]participant.DID{meridian: {dusk}}
	url := w.origin + listPath
	w.serve(listPath, says(w.sign(t, dusk, identity.UseIssue, "vc+jwt", with(w.list(url, listSubject(t, statuslist.Bitstring, statuslist.Revocation)), "issuer", dusk))))
	w.presents(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Errorf("proven %v, %v", types, err)
	}
}

func TestSmallerListsAreReadWhereTheOperatorSaysSo(t *testing.T) {
	t.Parallel()
	w := setupWith(t, change{lists: func(c *credential.ListsConfig) { c.MinEntries = func() int { return 16384 } }})
	for bytes, want := range map[int]string{2048: "", 2047: "credential.status.size"} {
		w.verifier.ForgetAll()
		w.shows(listed(statuslist.Bitstring, subject("encodedList", packed(make([]byte, bytes))))(t, w)...)
		if _, _, err := w.claims(t); credential.CodeOf(err) != want {
			t.Errorf("%d entries: %v", bytes*8, err)
		}
	}
}

func TestAListIsFreshForAsLongAsItAllows(t *testing.T) {
	t.Parallel()
	aged := func(age string) func(http.HandlerFunc) http.HandlerFunc {
		return func(page http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", age)
				w.Header().Set("Age", "10")
				page(w, r)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		life   time.Duration // of the settings
		serve  func(http.HandlerFunc) http.HandlerFunc
		change func(w *world, claims members) members
		fresh  time.Duration
	}{
		{"five minutes when nothing is said", 0, nil, nil, 5 * time.Minute},
		{"as the operator says", time.Minute, nil, nil, time.Minute},
		{"as its server says, less its age", 0, aged("private, max-age=70"), nil, time.Minute},
		{"a second when nothing may be kept", 0, aged("no-store"), nil, time.Second},
		{"no longer than the operator says", time.Minute, aged("max-age=3600"), nil, time.Minute},
		{"as its ttl says", 0, nil, subject("ttl", 20000), 20 * time.Second},
		{"until its end", 0, nil, func(_ *world, claims members) members {
			return with(claims, "validUntil", now.Add(30*time.Second).Format(time.RFC3339))
		}, 30 * time.Second},
		{"until the end of its token", 0, nil, func(_ *world, claims members) members { return with(claims, "exp", now.Add(30*time.Second).Unix()) }, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := setupWith(t, change{lists: func(c *credential.ListsConfig) { c.Life = tt.life }})
			url := w.origin + listPath
			claims := w.list(url, listSubject(t, statuslist.Bitstring, statuslist.Revocation))
			if tt.change != nil {
				claims = tt.change(w, claims)
			}
			page := says(w.sign(t, meridian, identity.UseIssue, "vc+jwt", claims))
			if tt.serve != nil {
				page = tt.serve(page)
			}
			w.serve(listPath, page)
			w.presents(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
			for _, step := range []struct {
				wait   time.Duration
				visits int
			}{{0, 1}, {tt.fresh - time.Microsecond, 1}, {time.Microsecond, 2}} {
				w.wait(step.wait)
				_, _, _ = w.claims(t)
				if got := w.visits(listPath); got != step.visits {
					t.Fatalf("after %v more: %d looks, want %d", step.wait, got, step.visits)
				}
			}
		})
	}
}

// 8.9: what cannot be looked at does not pass; how long it passes all the same is the operator's word, and each time is a warning.
func TestAListThatIsAwayRefusesOnceItsGraceIsOver(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, 30 * time.Second} {
		w := setupWith(t, change{lists: func(c *credential.ListsConfig) { c.Life, c.Grace = time.Minute, func() time.Duration { return grace } }})
		w.holds(t, statuslist.Bitstring)
		if _, _, err := w.claims(t); err != nil {
			t.Fatal(err)
		}
		w.serve(listPath, http.NotFound)
		w.wait(time.Minute)
		for _, step := range []struct {
			wait time.Duration
			ok   bool
		}{{0, grace > 0}, {grace - time.Microsecond, grace > 0}, {time.Microsecond, false}} {
			w.wait(max(0, step.wait))
			before := strings.Count(w.log(), "relied upon in its grace")
			_, _, err := w.claims(t)
			if (err == nil) != step.ok || err != nil && credential.CodeOf(err) != "credential.status.unavailable" {
				t.Errorf("grace %v, after %v more: %v", grace, step.wait, err)
			}
			if warned := strings.Count(w.log(), "relied upon in its grace") > before; warned != step.ok {
				t.Errorf("grace %v, after %v more: warned %v, want %v", grace, step.wait, warned, step.ok)
			}
		}
		w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation))
		w.wait(10 * time.Second)
		if _, types, err := w.claims(t); err != nil || len(types) != 1 || w.queries.Load() != 1 {
			t.Errorf("grace %v, once it is back: %v, %v after %d queries", grace, types, err, w.queries.Load())
		}
		if got := w.losses(); got != nil {
			t.Errorf("a list that is away is told as a loss: %v", got)
		}
	}
}

func TestGraceIsForListsThatAreAwayAlone(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]func(w *world) http.HandlerFunc{
		"credential.status.syntax": func(*world) http.HandlerFunc { return says("junk") },
		"credential.status.validity": func(w *world) http.HandlerFunc {
			return says(w.sign(t, meridian, identity.UseIssue, "vc+jwt", with(w.list(w.origin+listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation)), "validUntil", now.Format(time.RFC3339))))
		},
	} {
		w := setupWith(t, change{lists: func(c *credential.ListsConfig) {
			c.Life, c.Grace = time.Minute, func() time.Duration { return time.Minute }
		}})
		w.holds(t, statuslist.Bitstring)
		if _, _, err := w.claims(t); err != nil {
			t.Fatal(err)
		}
		w.wait(time.Minute)
		w.serve(listPath, page(w))
		if _, _, err := w.claims(t); credential.CodeOf(err) != name {
			t.Errorf("want %s: %v", name, err)
		}
	}
	// Nor does a list outlive its own end.
	w := setupWith(t, change{lists: func(c *credential.ListsConfig) { c.Grace = func() time.Duration { return time.Minute } }})
	url := w.origin + listPath
	w.serve(listPath, says(w.sign(t, meridian, identity.UseIssue, "vc+jwt", with(w.list(url, listSubject(t, statuslist.Bitstring, statuslist.Revocation)), "validUntil", now.Add(20*time.Second).Format(time.RFC3339)))))
	w.presents(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.serve(listPath, http.NotFound)
	w.wait(20 * time.Second)
	w.refused(t, "a list past its end", "credential.status.unavailable")
}

func TestAListThatCannotBeHadIsLeftAloneForTenSeconds(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.origin + listPath
	w.presents(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
	for _, step := range []struct {
		wait   time.Duration
		visits int
	}{{0, 1}, {10*time.Second - 1, 1}, {1, 2}} {
		w.wait(step.wait)
		w.verifier.ForgetAll() // only what the lists remember counts here
		w.refused(t, "a list that is not there", "credential.status.unavailable")
		if got := w.visits(listPath); got != step.visits {
			t.Errorf("after %v more: %d looks, want %d", step.wait, got, step.visits)
		}
	}
}

// 8.18: what was revoked is refused the moment it is known, whoever learned it.
func TestWhatIsRevokedIsDroppedTheMomentItIsKnown(t *testing.T) {
	t.Parallel()
	want := []string{string(cobalt) + " " + string(boreal) + " credential.status.revoked"}
	for name, learn := range map[string]func(t *testing.T, w *world, url string){
		"by somebody's word": func(t *testing.T, w *world, url string) { check(t, w.lists.Refresh(t.Context(), url)) },
		"by a look of its own": func(t *testing.T, w *world, _ string) {
			w.wait(5 * time.Minute / 2)
			_, _, err := w.claims(t)
			if credential.CodeOf(err) != "credential.status.revoked" {
				t.Errorf("the look that found it: %v", err)
			}
		},
		"by another's presentation": func(t *testing.T, w *world, url string) {
			w.wait(5 * time.Minute / 2)
			w.answer = func() ([]string, error) {
				claims := w.goodVP(w.vc(t, with(with(goodVC(), "sub", dusk), "vc", with(with(goodInner(), "credentialSubject", members{"id": dusk}), "credentialStatus", entry(statuslist.Bitstring, url, 9, statuslist.Revocation)))))
				inner := with(claims["vp"].(members), "holder", dusk)
				return []string{w.sign(t, dusk, identity.UseToken, "JWT", with(with(with(claims, "iss", dusk), "sub", dusk), "vp", inner))}, nil
			}
			if _, types, err := w.claimsOf(t, participant.Peer{DID: dusk, Key: "d", AccessToken: "y"}); err != nil || len(types) != 1 {
				t.Errorf("the other one: %v, %v", types, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupWith(t, change{lists: func(c *credential.ListsConfig) { c.Life = 2 * time.Minute }})
			url := w.holds(t, statuslist.Bitstring)
			if _, _, err := w.claims(t); err != nil {
				t.Fatal(err)
			}
			shows := w.answer
			w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation, 7))
			learn(t, w, url)
			if diff := cmp.Diff(want, w.losses()); diff != "" {
				t.Errorf("who lost what (-want +got):\n%s", diff)
			}
			before := w.queries.Load()
			w.answer = shows
			w.refused(t, "the next exchange", "credential.status.revoked")
			if asked := w.queries.Load() - before; asked > 1 {
				t.Errorf("the next exchange asked %d times", asked)
			}
			check(t, w.lists.Refresh(t.Context(), url))
			if got := w.losses(); len(got) != 1 {
				t.Errorf("one loss is told %d times", len(got))
			}
		})
	}
}

func TestWhoIsNotOnTheListLosesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.holds(t, statuslist.Bitstring)
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation, 6, 8))
	check(t, w.lists.Refresh(t.Context(), url))
	if _, _, err := w.claims(t); err != nil || w.queries.Load() != 1 || w.losses() != nil {
		t.Errorf("after another's revocation: %v, %d queries, losses %v", err, w.queries.Load(), w.losses())
	}
}

func TestASuspensionEndsWhenTheListSaysSo(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Suspension))
	w.presents(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Suspension))))
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Suspension, 7))
	check(t, w.lists.Refresh(t.Context(), url))
	w.refused(t, "while it is suspended", "credential.status.suspended")
	w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Suspension))
	check(t, w.lists.Refresh(t.Context(), url))
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Errorf("once it is reinstated: %v, %v", types, err)
	}
}

// The hook must find the caller forgotten, or what it does would be undone by the next request.
func TestALossIsToldAfterWhatWasCachedIsGone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.holds(t, statuslist.Bitstring)
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	var within error
	w.lists.OnRevoked(func(participant.DID, participant.DID, string) { _, _, within = w.claims(t) })
	w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation, 7))
	check(t, w.lists.Refresh(t.Context(), url))
	if credential.CodeOf(within) != "credential.status.revoked" {
		t.Errorf("asked within the hook: %v", within)
	}
}

func TestARevocationDuringTheVerificationIsNotMissed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.holds(t, statuslist.Bitstring)
	schema := w.serve("/schema/slow.json", func(rw http.ResponseWriter, r *http.Request) {
		// The status was looked at; the schema is still to come.
		w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation, 7))
		if err := w.lists.Refresh(r.Context(), url); err != nil {
			t.Error(err)
		}
		says(`{}`)(rw, r)
	})
	// Somebody else depends on the list already, so that it is known.
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.verifier.ForgetAll()
	vc := w.vc(t, with(goodVC(), "vc", with(with(goodInner(), "credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation)), "credentialSchema", members{"id": schema, "type": "JsonSchema"})))
	w.presents(t, vc)
	w.refused(t, "revoked while it was verified", "credential.status.revoked")
	w.refused(t, "and afterwards", "credential.status.revoked")
}

// Replaying an older list would take a revocation back.
func TestAnOlderListDoesNotReplaceANewerOne(t *testing.T) {
	t.Parallel()
	w := setup(t)
	old := w.sign(t, meridian, identity.UseIssue, "vc+jwt", w.list(w.origin+listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation)))
	w.wait(time.Minute)
	url := w.holds(t, statuslist.Bitstring)
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.serve(listPath, says(old))
	if err := w.lists.Refresh(t.Context(), url); credential.CodeOf(err) != "credential.status.outdated" {
		t.Errorf("an older list: %v", err)
	}
	w.refused(t, "after it", "credential.status.outdated")
}

func TestAListThatNobodyDependsOnIsNotFetchedOnSomebodysWord(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation))
	if err := w.lists.Refresh(t.Context(), url); err != nil || w.visits(listPath) != 0 || w.lists.Known() != nil {
		t.Errorf("%v after %d looks, known %v", err, w.visits(listPath), w.lists.Known())
	}
	w.holds(t, statuslist.Bitstring)
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	if got := w.lists.Known(); !slices.Equal(got, []string{url}) {
		t.Errorf("known %v", got)
	}
}

func TestManyWhoAskForOneListCauseOneLook(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.holds(t, statuslist.Bitstring)
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	list := w.sign(t, meridian, identity.UseIssue, "vc+jwt", w.list(url, listSubject(t, statuslist.Bitstring, statuslist.Revocation)))
	w.serve(listPath, func(rw http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
		says(list)(rw, r)
	})
	var all sync.WaitGroup
	refresh := func() {
		all.Go(func() {
			if err := w.lists.Refresh(context.WithoutCancel(t.Context()), url); err != nil {
				t.Error(err)
			}
		})
	}
	refresh()
	<-entered
	before := w.visits(listPath)
	// What these ask for may have changed since the look under way began: they share one more.
	for range 20 {
		refresh()
	}
	for w.lists.Waiting(url) < 21 {
		runtime.Gosched()
	}
	close(leave)
	all.Wait()
	if more := w.visits(listPath) - before; more != 1 {
		t.Errorf("20 more calls caused %d more looks", more)
	}
}

func TestARefreshThatFailsMakesTheNextExchangeLookAgain(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.holds(t, statuslist.Bitstring)
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.serve(listPath, http.NotFound)
	if err := w.lists.Refresh(t.Context(), url); credential.CodeOf(err) != "credential.status.unavailable" {
		t.Errorf("the refresh: %v", err)
	}
	w.refused(t, "the next exchange", "credential.status.unavailable")
	w.publish(t, listPath, listSubject(t, statuslist.Bitstring, statuslist.Revocation, 7))
	w.wait(10 * time.Second)
	if _, _, err := w.claims(t); !fault.Is(err, fault.Unauthenticated) || credential.CodeOf(err) != "credential.status.revoked" {
		t.Errorf("the one after it: %v", err)
	}
}

// An issuer that is trusted for something else must not be able to keep those away whose list it is.
func TestACredentialThatNamesAnothersListHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.holds(t, statuslist.Bitstring)
	good := w.answer
	if _, _, err := w.claims(t); err != nil {
		t.Fatal(err)
	}
	w.presents(t, w.sign(t, dusk, identity.UseIssue, "JWT", with(with(goodVC(), "iss", dusk), "vc", with(with(with(goodInner(), "issuer", dusk), "type", []string{"VerifiableCredential", "DismantlerCredential"}),
		"credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation)))))
	w.verifier.ForgetAll()
	w.refused(t, "a list of another issuer, at hand", "credential.status.issuer")
	w.wait(5 * time.Minute)
	w.refused(t, "a list of another issuer, to be looked at again", "credential.status.issuer")
	w.verifier.ForgetAll()
	w.answer = good
	if _, types, err := w.claims(t); err != nil || len(types) != 1 {
		t.Errorf("whose list it is: %v, %v", types, err)
	}
}

// 8.21: a list that nobody vouches for must not make us look up whomever it names.
func TestTheIssuerOfAListThatNobodyVouchesForIsNotLookedUp(t *testing.T) {
	t.Parallel()
	w := setup(t)
	url := w.origin + listPath
	w.serve(listPath, says(w.sign(t, lookalike, identity.UseIssue, "vc+jwt", with(w.list(url, listSubject(t, statuslist.Bitstring, statuslist.Revocation)), "issuer", lookalike))))
	w.presents(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
	w.refused(t, "a list of a lookalike", "credential.status.issuer")
	if n := w.calls.Counts()[credential.CallDocument]; n != 2 {
		t.Errorf("%d documents were looked up, want the caller's and the authority's", n)
	}
}

// A list whose signature cannot be checked is one that cannot be had: the one before it is good for as long as the grace allows.
func TestAListWhoseKeyCannotBeLookedUpIsAway(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{0, time.Minute} {
		w := setupWith(t, change{lists: func(c *credential.ListsConfig) {
			c.Life, c.Grace = 6*time.Minute, func() time.Duration { return grace }
		}})
		w.trust.Delegated = map[participant.DID][]participant.DID{meridian: {dusk}}
		url := w.origin + listPath
		w.serve(listPath, says(w.sign(t, dusk, identity.UseIssue, "vc+jwt", with(w.list(url, listSubject(t, statuslist.Bitstring, statuslist.Revocation)), "issuer", dusk))))
		w.presents(t, w.vc(t, inner("credentialStatus", entry(statuslist.Bitstring, url, 7, statuslist.Revocation))))
		if _, _, err := w.claims(t); err != nil {
			t.Fatal(err)
		}
		_, document, err := identity.ParseDID(string(dusk))
		check(t, err)
		delete(w.documents, document)
		w.wait(6 * time.Minute)
		if _, _, err := w.claims(t); (err == nil) != (grace > 0) || err != nil && credential.CodeOf(err) != "credential.status.unavailable" {
			t.Errorf("grace %v: %v", grace, err)
		}
	}
}

// slow is an office whose server answers when it is told to, and a party whose credential stands in its list.
func slow(t *testing.T) (o *office, party policy.Party, answer chan struct{}) {
	t.Helper()
	answer = make(chan struct{})
	o = newOffice(t, func(c *credential.ListsConfig, _ *credential.WatcherConfig) {
		c.Fetch = func(ctx context.Context, url, accept string, limit int64) (credential.Fetched, error) {
			select {
			case <-answer:
				return o.fetch(ctx, url, accept, limit)
			case <-ctx.Done():
				o.set(func() { o.fetched++ })
				return credential.Fetched{}, ctx.Err()
			}
		}
	})
	return o, member(boreal, forever, 7), answer
}

func TestWhoGivesUpSpoilsNoListForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, party, answer := slow(t)
		impatient, giveUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = o.lists.Stand(impatient, cobaltHosted, "first", party) })
		synctest.Wait()
		all.Go(func() {
			if _, err := o.lists.Stand(t.Context(), cobaltHosted, "second", party); err != nil {
				t.Errorf("who waited: %v", err)
			}
		})
		synctest.Wait()
		giveUp()
		synctest.Wait()
		close(answer)
		all.Wait()
		if o.fetched != 1 {
			t.Errorf("the list was fetched %d times, want once for both", o.fetched)
		}
	})
}

func TestThatAListTookTooLongIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, party, _ := slow(t)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, ctx := range []context.Context{impatient, t.Context()} {
			if _, err := o.lists.Stand(ctx, cobaltHosted, "first", party); credential.CodeOf(err) != "credential.status.unavailable" {
				t.Errorf("got %v", err)
			}
		}
		if o.fetched != 1 {
			t.Errorf("the list was asked for %d times, want once", o.fetched)
		}
	})
}
