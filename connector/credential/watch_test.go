package credential_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
)

// office is an issuer's server of status lists, and a verifier that watches it; all of it fits into a bubble of fake time.
type office struct {
	t       *testing.T
	keys    map[participant.DID]*keyring.Ring
	lists   *credential.Lists
	watcher *credential.Watcher

	mu      sync.Mutex
	version int
	body    string
	changed chan struct{}
	plain   bool          // it answers at once
	empty   bool          // and says that it waited
	away    error         // it answers nothing
	life    time.Duration // of max-age; negative: not said
	held    []time.Time   // when a held answer was asked for
	fetched int
	lost    []string
}

const officeURL = "https://meridian.example/status/1"

var (
	cobaltHosted = participant.Participant{ID: 1, Slug: "cobalt", DID: cobalt}
	forever      = 24 * time.Hour
)

func newOffice(t *testing.T, change func(*credential.ListsConfig, *credential.WatcherConfig)) *office {
	t.Helper()
	o := &office{t: t, keys: map[participant.DID]*keyring.Ring{}, changed: make(chan struct{}), life: -1}
	documents := map[string][]byte{}
	for _, did := range []participant.DID{meridian, dusk} {
		k, err := keyring.Draw("company", rand.Reader, time.Now)
		check(t, err)
		o.keys[did] = k
		_, url, err := identity.ParseDID(string(did))
		check(t, err)
		documents[url], err = identity.NewDocument(did, k, []identity.Service{})
		check(t, err)
	}
	resolver := identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) { return documents[url], nil }, time.Now)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	lists := credential.ListsConfig{Fetch: o.fetch, Tokens: identity.NewVerifier(resolver, nil, time.Now), Calls: &credential.Calls{}, Now: time.Now, Log: log,
		Trust: &trustList{Issuers: map[string][]participant.DID{"MembershipCredential": {meridian}}}}
	watcher := credential.WatcherConfig{Hold: o.hold, Rand: rand.Reader, Log: log}
	if change != nil {
		change(&lists, &watcher)
	}
	o.lists = credential.NewLists(lists)
	watcher.Lists = o.lists
	o.watcher = credential.NewWatcher(watcher)
	o.lists.OnRevoked(func(_, peer participant.DID, reason string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.lost = append(o.lost, string(peer)+" "+reason)
	})
	o.publish()
	return o
}

// list is a list credential as its author makes it now.
func (o *office) list(by participant.DID, at time.Time, set ...int) string {
	o.t.Helper()
	s := listSubject(o.t, statuslist.Bitstring, statuslist.Revocation, set...)
	token, err := identity.SignJWT(o.t.Context(), string(by), o.keys[by], identity.UseIssue, "vc+jwt", members{"@context": s.Kind.Contexts(), "id": officeURL,
		"type": []string{"VerifiableCredential", s.Kind.CredentialType()}, "issuer": by, "validFrom": at.Format(time.RFC3339), "credentialSubject": s}, time.Time{})
	check(o.t, err)
	return token
}

// publish serves a new version, in which those are set.
func (o *office) publish(set ...int) { o.serve(o.list(meridian, time.Now(), set...)) }

func (o *office) serve(body string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.version++
	o.body = body
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *office) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

func (o *office) answer(tag string) (credential.Fetched, <-chan struct{}, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	own := fmt.Sprintf(`"%d"`, o.version)
	out := credential.Fetched{MaxAge: o.life, Tag: own, Held: o.empty}
	if out.Same = tag == own; !out.Same {
		out.Body = []byte(o.body)
	}
	return out, o.changed, o.away
}

func (o *office) fetch(context.Context, string, string, int64) (credential.Fetched, error) {
	o.set(func() { o.fetched++ })
	out, _, err := o.answer("")
	out.Held = false
	return out, err
}

func (o *office) hold(ctx context.Context, _, _, tag string, wait time.Duration, _ int64) (credential.Fetched, error) {
	o.set(func() { o.held = append(o.held, time.Now()) })
	out, changed, err := o.answer(tag)
	if err != nil || !out.Same || o.plain || o.empty {
		return out, err
	}
	select {
	case <-changed:
	case <-time.After(wait):
	case <-ctx.Done():
		return out, ctx.Err()
	}
	out, _, err = o.answer(tag)
	out.Held = true
	return out, err
}

func (o *office) asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.held)
}

func (o *office) losses() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lost)
}

// watch runs the watcher until the returned function is called.
func (o *office) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { o.watcher.Run(ctx) })
	synctest.Wait()
	return func() {
		cancel()
		running.Wait()
	}
}

// member is a party with credentials at these places of the list.
func member(peer participant.DID, life time.Duration, indices ...int) policy.Party {
	p := policy.Party{DID: string(peer)}
	for _, i := range indices {
		p.Credentials = append(p.Credentials, policy.Credential{Type: "MembershipCredential", Issuer: string(meridian), ID: fmt.Sprint("urn:", i), NotAfter: time.Now().Add(life),
			Status: []policy.Status{{Kind: string(statuslist.Bitstring), Purpose: statuslist.Revocation, List: officeURL, Index: i}}})
	}
	return p
}

func bubble(t *testing.T, change func(*credential.ListsConfig, *credential.WatcherConfig), story func(t *testing.T, o *office)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, change)
		stop := o.watch()
		defer stop()
		story(t, o)
	})
}

func (o *office) stands(name string, party policy.Party) int {
	o.t.Helper()
	got, err := o.lists.Stand(o.t.Context(), cobaltHosted, name, party)
	if err != nil {
		if !fault.Is(err, fault.Unavailable) {
			o.t.Errorf("%v, want unavailable", err)
		}
		return -1
	}
	return len(got.Credentials)
}

func TestALossIsKnownWhenItIsPublished(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		if o.stands("a", member(boreal, forever, 7)) != 1 || o.stands("b", member(dusk, forever, 8)) != 1 {
			t.Fatal("they do not stand to begin with")
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if n := o.asked(); n > 3600/30+3 || o.fetched != 1 {
			t.Errorf("in an hour without a change the list was asked for %d times and fetched %d times, want one held answer after the other", n, o.fetched)
		}
		begin := time.Now()
		o.publish(7)
		synctest.Wait()
		if got := o.losses(); !slices.Equal(got, []string{string(boreal) + " credential.status.revoked"}) || time.Since(begin) != 0 {
			t.Errorf("after %s known: %v", time.Since(begin), got)
		}
		if o.stands("a", member(boreal, forever, 7, 9)) != 1 || o.stands("b", member(dusk, forever, 8)) != 1 || o.fetched != 1 {
			t.Error("what was not revoked does not stand, or was asked for again")
		}
	})
}

func TestWhatIsGivenBackStandsWhenThatIsPublished(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		party := member(boreal, forever, 7)
		if o.stands("a", party) != 1 {
			t.Fatal("it does not stand to begin with")
		}
		synctest.Wait()
		o.publish(7)
		synctest.Wait()
		if o.stands("a", party) != 0 {
			t.Error("it stands although it is revoked")
		}
		time.Sleep(time.Minute)
		o.publish()
		synctest.Wait()
		if o.stands("a", party) != 1 || o.fetched != 1 {
			t.Errorf("it does not stand again; the list was fetched %d times", o.fetched)
		}
		o.lists.Leave("a")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := o.watcher.Watching(); n != 0 {
			t.Errorf("%d lists are watched for nobody", n)
		}
	})
}

func TestWhatWasRevokedWhileNobodyWatchedIsSeenByTheFirstLook(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		o.publish(7)
		if code := o.lists.Rely(cobaltHosted, "a", member(boreal, forever, 7)); code != "" {
			t.Errorf("known already: %s", code)
		}
		synctest.Wait()
		if got := o.losses(); !slices.Equal(got, []string{string(boreal) + " credential.status.revoked"}) {
			t.Errorf("known: %v", got)
		}
		if code := o.lists.Rely(cobaltHosted, "a", member(boreal, forever, 7)); code != "credential.status.revoked" {
			t.Errorf("what is known to be lost is relied upon: %q", code)
		}
	})
}

func TestAServerThatDoesNotHoldAnswersIsAskedAtTheEndOfTheListsLife(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		o.set(func() { o.plain = true })
		o.lists.Rely(cobaltHosted, "a", member(boreal, forever, 7))
		synctest.Wait()
		before := o.asked()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := o.asked() - before; n < 11 || n > 13 {
			t.Errorf("asked %d times in an hour, want once in each five minutes that the list lives", n)
		}
		o.publish(7)
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if got := o.losses(); len(got) != 1 {
			t.Errorf("known at the end of its life: %v", got)
		}
	})
}

func TestAListThatMayNotBeKeptIsNotAskedForAllTheTime(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		o.set(func() { o.plain, o.life = true, 0 })
		o.lists.Rely(cobaltHosted, "a", member(boreal, forever, 7))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := o.asked(); n > 62 {
			t.Errorf("asked %d times in an hour", n)
		}
	})
}

func TestAServerThatOnlySaysThatItHoldsIsLeftAloneForLongerAndLonger(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		o.set(func() { o.empty = true })
		o.lists.Rely(cobaltHosted, "a", member(boreal, forever, 7))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := o.asked(); n > 130 {
			t.Errorf("asked %d times in an hour", n)
		}
		o.publish(7)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if got := o.losses(); len(got) != 1 {
			t.Errorf("known: %v", got)
		}
	})
}

func TestAListThatComesAgainAndAgainAndSaysTheSameIsWatchedAtEase(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		o.lists.Rely(cobaltHosted, "a", member(boreal, forever, 7))
		synctest.Wait()
		before := o.asked()
		for range 600 {
			o.publish()
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n := o.asked() - before; n > 125 {
			t.Errorf("asked %d times in a minute", n)
		}
		begin := time.Now()
		o.publish(7)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if got := o.losses(); len(got) != 1 {
			t.Errorf("after %s known: %v", time.Since(begin), got)
		}
	})
}

func TestWhatIsOfAProfileThatIsNoLongerAcceptedDoesNotStand(t *testing.T) {
	bubble(t, func(c *credential.ListsConfig, _ *credential.WatcherConfig) {
		c.Trust = &trustList{Issuers: map[string][]participant.DID{"MembershipCredential": {meridian}}, Profiles: []string{credential.Profile20}}
	}, func(t *testing.T, o *office) {
		party := member(boreal, forever, 7, 8)
		party.Credentials[0].Profile, party.Credentials[1].Profile = credential.Profile11, credential.Profile20
		if n := o.stands("a", party); n != 1 {
			t.Errorf("%d credentials stand, want the one of the profile that is accepted", n)
		}
	})
}

func TestALyingListChangesNothing(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(o *office) string{
		"of another issuer": func(o *office) string { return o.list(dusk, time.Now(), 7) },
		"an older one":      func(o *office) string { return o.list(meridian, time.Now().Add(-time.Hour), 7) },
		"signed by another": func(o *office) string {
			own, other := o.list(meridian, time.Now(), 7), o.list(meridian, time.Now(), 8)
			return own[:strings.LastIndexByte(own, '.')] + other[strings.LastIndexByte(other, '.'):]
		},
		"junk": func(*office) string { return "junk" },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, o *office) {
				party := member(boreal, forever, 7)
				if o.stands("a", party) != 1 {
					t.Fatal("it does not stand to begin with")
				}
				synctest.Wait()
				o.serve(lie(o))
				time.Sleep(4 * time.Minute)
				synctest.Wait()
				if got := o.losses(); len(got) != 0 || o.stands("a", party) != 1 || o.fetched != 1 {
					t.Errorf("lost %v; looked at %d times", got, o.fetched)
				}
				if n := o.asked(); n > 15 {
					t.Errorf("asked %d times in four minutes", n)
				}
				o.publish(7)
				time.Sleep(time.Minute + time.Second)
				synctest.Wait()
				if got := o.losses(); len(got) != 1 {
					t.Errorf("the true list is not believed any more: %v", got)
				}
			})
		})
	}
}

func TestAnIssuerThatIsAwayRefusesAtTheEndOfTheListsLifeAndItsGrace(t *testing.T) {
	for _, grace := range []time.Duration{0, 10 * time.Minute} {
		t.Run(grace.String(), func(t *testing.T) {
			bubble(t, func(c *credential.ListsConfig, _ *credential.WatcherConfig) {
				c.Grace = func() time.Duration { return grace }
			}, func(t *testing.T, o *office) {
				party := member(boreal, forever, 7)
				if o.stands("a", party) != 1 {
					t.Fatal("it does not stand to begin with")
				}
				synctest.Wait()
				o.set(func() { o.away = errors.New("nobody is there") })
				time.Sleep(time.Second)
				for _, step := range []struct {
					wait time.Duration
					want int
				}{{4*time.Minute + 57*time.Second, 1}, {2*time.Second + grace, -1}} {
					// The answer that was held when it went away fails last, half a minute later at most; it says nothing of the list.
					time.Sleep(step.wait)
					if got := o.stands("a", party); got != step.want {
						t.Errorf("after %s more: %d, want %d", step.wait, got, step.want)
					}
				}
				if n := o.asked(); n > 40 {
					t.Errorf("asked %d times while it was away", n)
				}
				o.set(func() { o.away = nil })
				time.Sleep(time.Minute + time.Second)
				synctest.Wait()
				if o.stands("a", party) != 1 || len(o.losses()) != 0 {
					t.Error("it does not stand again")
				}
			})
		})
	}
}

func TestAListIsWatchedWhileSomethingLivingDependsOnIt(t *testing.T) {
	bubble(t, nil, func(t *testing.T, o *office) {
		if o.watcher.Watching() != 0 || o.asked() != 0 {
			t.Error("a list is watched on which nothing depends")
		}
		o.lists.Rely(cobaltHosted, "a", member(boreal, forever, 7))
		o.lists.Rely(cobaltHosted, "b", member(dusk, time.Hour, 8))
		synctest.Wait()
		o.lists.Leave("a")
		synctest.Wait()
		if n := o.watcher.Watching(); n != 1 {
			t.Errorf("%d lists are watched, want the one that another still depends on", n)
		}
		time.Sleep(time.Hour + credential.MaxWait)
		synctest.Wait()
		if n := o.watcher.Watching(); n != 0 {
			t.Errorf("%d lists are watched for a credential that has come to its end", n)
		}
		o.lists.Rely(cobaltHosted, "c", member(boreal, forever, 7))
		synctest.Wait()
		if n := o.watcher.Watching(); n != 1 {
			t.Errorf("%d lists are watched, want one", n)
		}
		o.lists.Leave("c")
		synctest.Wait()
		if n := o.watcher.Watching(); n != 0 {
			t.Errorf("%d lists are watched after the last one left", n)
		}
	})
}

func TestOnlySoManyListsAreWatchedAtOneHostAndInAll(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*credential.WatcherConfig)
		want   int
	}{
		"at one host": {func(c *credential.WatcherConfig) { c.PerHost = 3 }, 6},
		"in all":      {func(c *credential.WatcherConfig) { c.Total = 4 }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(_ *credential.ListsConfig, c *credential.WatcherConfig) { tt.change(c) }, func(t *testing.T, o *office) {
				for i := range 10 {
					party := member(boreal, forever, i)
					party.Credentials[0].Status[0].List = fmt.Sprintf("https://host-%d.example/status/%d", i%2, i)
					o.lists.Rely(cobaltHosted, fmt.Sprint(i), party)
				}
				synctest.Wait()
				if n := o.watcher.Watching(); n != tt.want {
					t.Errorf("%d lists are watched, want %d", n, tt.want)
				}
				for i := range 10 {
					o.lists.Leave(fmt.Sprint(i))
				}
				synctest.Wait()
				if n := o.watcher.Watching(); n != 0 {
					t.Errorf("%d are left", n)
				}
			})
		})
	}
}
