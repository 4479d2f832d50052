package wallet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wallet"
)

func TestWhatIsAskedForIsDeliveredAndHeld(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.wantState(b.ask("MembershipCredential", "BpnCredential").ID, wallet.Requested)
		if len(b.sent) != 1 || b.sent[0].URL != base+"/credentials" || string(b.sent[0].Body) != r.ID+" membership bpn" || b.sent[0].Peer != meridian {
			t.Fatalf("sent %+v", b.sent)
		}
		bpn := wallet.Delivered{Type: "BpnCredential", Profile: vc11, Token: b.authority.issue(b.local.DID, "BpnCredential", made{id: "urn:b"})}
		check(t, b.bring(r, b.membership(made{id: "urn:m"}), bpn))
		r = b.wantState(r.ID, wallet.Issued)
		if got := b.held(); !slices.Equal(got, []string{"urn:b", "urn:m"}) && !slices.Equal(got, []string{"urn:m", "urn:b"}) {
			t.Errorf("held: %v", got)
		}
		if r.Owed != "" || r.IssuerPID != "r1" || r.Wanted[0].Held != "urn:m" || b.records(r.ID) != 2 {
			t.Errorf("%+v with %d records", r, b.records(r.ID))
		}
		if got := strings.Join(b.events(), " "); got != "credential.requested credential.accepted credential.issued" {
			t.Errorf("events: %s", got)
		}
	})
}

// What was committed is sent after a crash, byte for byte.
func TestARequestOfADeadProcessIsSentByTheNext(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.send = func(ctx context.Context, _ commit.Owed) (outbox.Answer, error) {
			<-ctx.Done() // the process dies while it waits
			return outbox.Answer{}, ctx.Err()
		}
		r := b.ask("MembershipCredential")
		b.wantState(r.ID, wallet.Requesting)
		b.stop()
		b.send = func(context.Context, commit.Owed) (outbox.Answer, error) { return outbox.Answer{Status: 201}, nil }
		b.start()
		pass(time.Minute)
		b.wantState(r.ID, wallet.Requested)
		if len(b.sent) != 2 || string(b.sent[0].Body) != string(b.sent[1].Body) || b.sent[0].ID != b.sent[1].ID {
			t.Errorf("sent %+v", b.sent)
		}
	})
}

func TestADeliveryMayOvertakeTheAnswerToItsRequest(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.send = func(_ context.Context, o commit.Owed) (outbox.Answer, error) {
			err := b.Deliver(context.Background(), b.local, peer(meridian), wallet.Delivery{IssuerPID: "r1", HolderPID: o.ProcessID, Credentials: []wallet.Delivered{b.membership(made{id: "urn:m"})}})
			return outbox.Answer{Status: 201, Location: base + "/requests/r1"}, err
		}
		r := b.ask("MembershipCredential")
		b.wantState(r.ID, wallet.Issued)
		pass(48 * time.Hour)
		b.wantState(r.ID, wallet.Issued)
		if len(b.sent) != 1 || b.looked() != 0 || b.logged("level=ERROR") {
			t.Errorf("sent %d times, looked %d times", len(b.sent), b.looked())
		}
	})
}

// TestOnlyWhatWasAskedForIsTaken: trap 8.16. Each delivery is refused whole: nothing is stored, and the request waits as before.
func TestOnlyWhatWasAskedForIsTaken(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential", "BpnCredential")
		rival := newAuthority(t, dusk, "1")
		b.publish(dusk, document(dusk, rival))
		forger := &authority{meridian, b.authority.kid, rival.key}
		as := func(kind, profile, token string) wallet.Delivered {
			return wallet.Delivered{Type: kind, Profile: profile, Token: token}
		}
		good := b.membership(made{})
		for name, tt := range map[string]struct {
			deliver []wallet.Delivered
			want    string // in the operator's eyes
		}{
			"a type that was not asked for": {[]wallet.Delivered{as("DismantlerCredential", vc11, b.authority.issue(b.local.DID, "DismantlerCredential", made{}))}, "credential.unsolicited"},
			"one more than was asked for":   {[]wallet.Delivered{good, b.membership(made{})}, "credential.unsolicited"},
			"another profile":               {[]wallet.Delivered{as("MembershipCredential", "vc20-bssl/jwt", good.Token)}, "credential.unsolicited"},
			"a profile that nobody knows":   {[]wallet.Delivered{as("MembershipCredential", "", good.Token)}, "credential.profile"},
			"a type that is not its own":    {[]wallet.Delivered{as("MembershipCredential", vc11, b.authority.issue(b.local.DID, "BpnCredential", made{}))}, "credential.type"},
			"part of its type":              {[]wallet.Delivered{b.membership(made{types: []string{"VerifiableCredential", "XMembershipCredential"}})}, "credential.type"},
			"about somebody else":           {[]wallet.Delivered{b.membership(made{subject: b.other.DID})}, "credential.subject"},
			"of another issuer":             {[]wallet.Delivered{as("MembershipCredential", vc11, rival.issue(b.local.DID, "MembershipCredential", made{}))}, "credential.issuer"},
			"in another issuer's name":      {[]wallet.Delivered{as("MembershipCredential", vc11, rival.issue(b.local.DID, "MembershipCredential", made{issuer: meridian}))}, "credential.kid"},
			"signed by somebody else":       {[]wallet.Delivered{as("MembershipCredential", vc11, forger.issue(b.local.DID, "MembershipCredential", made{}))}, "credential: token.signature"},
			"signed with a key of nobody":   {[]wallet.Delivered{b.membership(made{header: map[string]any{"kid": string(meridian) + "#none"}})}, "token.key-unknown"},
			"unsigned":                      {[]wallet.Delivered{b.membership(made{header: map[string]any{"alg": "none"}})}, "token.syntax"},
			"expired":                       {[]wallet.Delivered{b.membership(made{from: -2 * time.Hour, life: time.Hour})}, "credential.expired"},
			"from the future":               {[]wallet.Delivered{b.membership(made{from: time.Hour})}, "credential.early"},
			"no credential":                 {[]wallet.Delivered{as("MembershipCredential", vc11, "a.b.c")}, "credential.syntax"},
			"one good, one bad":             {[]wallet.Delivered{good, as("BpnCredential", vc11, rival.issue(b.local.DID, "BpnCredential", made{}))}, "credential.issuer"},
			"two of one id": {[]wallet.Delivered{b.membership(made{id: "urn:same"}), as("BpnCredential", vc11, b.authority.issue(b.local.DID, "BpnCredential", made{id: "urn:same"}))},
				"credential.id"},
		} {
			err := b.bring(r, tt.deliver...)
			if !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want the operator to read %q", name, err, tt.want)
			}
			// Trap 8.23: to the issuer each looks alike.
			var f *fault.Error
			if !errors.As(err, &f) || f.Reason != "the credentials are not accepted" || f.Code != "credential.refused" {
				t.Errorf("%s: told as %+v", name, f)
			}
			if len(b.kept()) != 0 {
				t.Fatalf("%s: %v is in the wallet", name, b.kept())
			}
			b.wantState(r.ID, wallet.Requested)
		}
		check(t, b.bring(r, good, as("BpnCredential", vc11, b.authority.issue(b.local.DID, "BpnCredential", made{}))))
	})
}

// The data model of a credential is what it is, not what it is called.
func TestACredentialInAnotherModelThanItsNameIsRefused(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.issued[meridian] = []wallet.Object{{ID: "membership-20", Type: "MembershipCredential", Profile: credential.Profile20}}
		r := b.ask("MembershipCredential")
		as20 := b.membership(made{})
		as20.Profile = credential.Profile20
		if err := b.bring(r, as20); !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "credential.profile") || len(b.kept()) != 0 {
			t.Errorf("%v, kept %v", err, b.kept())
		}
	})
}

// Traps 8.7 and 8.16: a request is its issuer's and its tenant's, and to everybody else it is not there.
func TestARequestIsThereForItsIssuerAndItsTenantOnly(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		rival := newAuthority(t, dusk, "1")
		b.publish(dusk, document(dusk, rival))
		r := b.ask("MembershipCredential")
		prepared := b.ask("BpnCredential")
		deliver := func(local participant.Participant, from participant.DID, pid string, rejected bool, token string) error {
			d := wallet.Delivery{IssuerPID: "r1", HolderPID: pid, Rejected: rejected}
			if !rejected {
				d.Credentials = []wallet.Delivered{{Type: "MembershipCredential", Profile: vc11, Token: token}}
			}
			return b.Deliver(t.Context(), local, peer(from), d)
		}
		theirs := b.authority.issue(b.other.DID, "MembershipCredential", made{})
		for name, err := range map[string]error{
			"a request that does not exist":      deliver(b.local, meridian, "urn:uuid:none", false, b.membership(made{}).Token),
			"a foreign sender":                   deliver(b.local, dusk, r.ID, false, rival.issue(b.local.DID, "MembershipCredential", made{})),
			"a foreign sender that rejects":      deliver(b.local, dusk, r.ID, true, ""),
			"another tenant's request":           deliver(b.other, meridian, r.ID, false, theirs),
			"another tenant's request, rejected": deliver(b.other, meridian, r.ID, true, ""),
		} {
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.NotFound || f.Reason != "there is no such request" || f.Code != "" {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.wantState(r.ID, wallet.Requested)
		b.wantState(prepared.ID, wallet.Requested)
		if mine, theirs := b.kept(), must(b.Credentials(t.Context(), b.other))(t); len(mine)+len(theirs) > 0 {
			t.Errorf("kept %v and %v", mine, theirs)
		}
	})
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func TestARepeatedDeliveryIsTakenAndChangesNothing(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential")
		first := b.membership(made{id: "urn:1"})
		check(t, b.bring(r, first))
		version := b.request(r.ID).Version
		check(t, b.bring(r, first))
		if now := b.request(r.ID); now.Version != version || b.count("credential.issued") != 1 {
			t.Errorf("version %d became %d, %d deliveries told", version, now.Version, b.count("credential.issued"))
		}
		// A new one for the same takes its place, and the one before does not come back.
		check(t, b.bring(r, b.membership(made{id: "urn:2"})))
		check(t, b.bring(r, first))
		if got := b.kept(); !slices.Equal(got, []string{"urn:2"}) {
			t.Errorf("kept: %v", got)
		}
		b.wantState(r.ID, wallet.Issued)
	})
}

func TestWhatComesInPartsIsCompleteAtTheEnd(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential", "BpnCredential")
		check(t, b.bring(r, b.membership(made{id: "urn:m"})))
		b.wantState(r.ID, wallet.Requested)
		check(t, b.bring(r, wallet.Delivered{Type: "BpnCredential", Profile: vc11, Token: b.authority.issue(b.local.DID, "BpnCredential", made{id: "urn:b"})}))
		b.wantState(r.ID, wallet.Issued)
		if len(b.held()) != 2 {
			t.Errorf("held: %v", b.held())
		}
	})
}

func TestARejectionEndsARequestOnce(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential")
		reject := func() error {
			return b.Deliver(t.Context(), b.local, peer(meridian), wallet.Delivery{IssuerPID: "r1", HolderPID: r.ID, Rejected: true, Reason: "not a member"})
		}
		check(t, reject())
		if got := b.wantState(r.ID, wallet.Rejected); got.Reason != "not a member" || got.Owed != "" {
			t.Errorf("%+v", got)
		}
		check(t, reject())
		if b.count("credential.rejected") != 1 {
			t.Errorf("events: %v", b.events())
		}
		// Trap 8.16: what was rejected is not delivered after all.
		if err := b.bring(r, b.membership(made{})); !fault.Is(err, fault.NotFound) || len(b.kept()) != 0 {
			t.Errorf("%v, kept %v", err, b.kept())
		}
		done := b.ask("MembershipCredential")
		check(t, b.bring(done, b.membership(made{})))
		if err := b.Deliver(t.Context(), b.local, peer(meridian), wallet.Delivery{IssuerPID: "r1", HolderPID: done.ID, Rejected: true}); !fault.Is(err, fault.NotFound) {
			t.Errorf("what was issued is rejected: %v", err)
		}
		b.wantState(done.ID, wallet.Issued)
	})
}

// An issuer cannot reach a credential of another issuer by giving one of its own the same id.
func TestACredentialOfAnotherIssuerIsNotReplaced(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential")
		check(t, b.bring(r, b.membership(made{id: "urn:m"})))
		rival := newAuthority(t, dusk, "1")
		b.publish(dusk, document(dusk, rival))
		theirs, err := b.Ask(t.Context(), b.local, wallet.Ask{Issuer: dusk, Types: []string{"MembershipCredential"}})
		check(t, err)
		synctest.Wait()
		token := rival.issue(b.local.DID, "MembershipCredential", made{id: "urn:m"})
		err = b.Deliver(t.Context(), b.local, peer(dusk), wallet.Delivery{IssuerPID: "x", HolderPID: theirs.ID, Credentials: []wallet.Delivered{{Type: "MembershipCredential", Profile: vc11, Token: token}}})
		if !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), "credential.id") {
			t.Errorf("taken: %v", err)
		}
		if _, err := b.Put(t.Context(), b.local, []byte(token), "operator"); !fault.Is(err, fault.Conflict) {
			t.Errorf("put: %v", err)
		}
		if all := must(b.Credentials(t.Context(), b.local))(t); len(all) != 1 || all[0].Issuer != meridian {
			t.Errorf("kept: %+v", all)
		}
	})
}

// An issuer that took a request is asked how it stands, ever more rarely, and only at its own address.
func TestAnIssuerIsAskedWhenItHadItsTime(t *testing.T) {
	for name, tt := range map[string]struct {
		status func(n int) (string, error)
		want   wallet.State
		looks  int
		reason string
	}{
		"it rejected":                        {func(int) (string, error) { return "REJECTED", nil }, wallet.Rejected, 1, "rejected"},
		"it forgot":                          {func(int) (string, error) { return "", fault.New("test", fault.NotFound, "none") }, wallet.Failed, 1, "does not know"},
		"it says that it delivered":          {func(int) (string, error) { return "ISSUED", nil }, wallet.Failed, 2, "did not"},
		"it takes its time, and is too late": {func(int) (string, error) { return "RECEIVED", nil }, wallet.Failed, 14, "in time"},
		"it cannot be reached":               {func(int) (string, error) { return "", errors.New("no route") }, wallet.Failed, 14, "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bench) {
				b.status = func(string) (string, error) { return tt.status(b.looked()) }
				r := b.ask("MembershipCredential")
				begin := time.Now()
				pass(9 * time.Minute)
				if b.looked() != 0 {
					t.Error("it was asked before its time was over")
				}
				pass(9 * 24 * time.Hour)
				got := b.wantState(r.ID, tt.want)
				if b.looked() != tt.looks || !strings.Contains(got.Reason, tt.reason) || got.Owed != "" {
					t.Errorf("%d looks, %+v", b.looked(), got)
				}
				if first := b.looks[0].Sub(begin); first != b.config.Look {
					t.Errorf("the first look came after %v", first)
				}
				for _, at := range b.asked[1:] {
					if at != base+"/requests/r1" {
						t.Errorf("asked %s", at)
					}
				}
			})
		})
	}
}

// What an answer names as its address is looked at only below the issuer's own.
func TestAnAnswersLocationIsBelowTheIssuer(t *testing.T) {
	for location, want := range map[string]string{
		base + "/requests/r1":                 base + "/requests/r1",
		"requests/r1":                         base + "/requests/r1",
		"/issuer/requests/r1":                 base + "/requests/r1",
		"./requests/../requests/r1":           base + "/requests/r1",
		"":                                    "",
		"/requests/r1":                        "",
		"../requests/r1":                      "",
		"//inside.example/issuer/requests/r1": "",
		"https://inside.example/issuer/requests/r1": "",
		"http://meridian.example/issuer/requests/1": "",
		"https://x@meridian.example/issuer/r1":      "",
		base + "/requests/r1?next=x":                "",
		base + "/requests/r1#x":                     "",
		base:                                        "",
		base + "/":                                  "",
		base + "er/requests/r1":                     "",
		"https://meridian.example:444/issuer/r1":    "",
		"file:///etc/passwd":                        "",
		"%zz":                                       "",
		base + strings.Repeat("/x", 2000):           "",
	} {
		t.Run(fmt.Sprintf("%.60q", location), func(t *testing.T) {
			story(t, func(t *testing.T, b *bench) {
				b.send = func(context.Context, commit.Owed) (outbox.Answer, error) {
					return outbox.Answer{Status: 201, Location: location}, nil
				}
				r := b.wantState(b.ask("MembershipCredential").ID, wallet.Requested)
				pass(8 * 24 * time.Hour)
				if r.Status != want || (want == "") != (b.looked() == 0) {
					t.Errorf("%q leads to %q, with %d looks", location, r.Status, b.looked())
				}
			})
		})
	}
}

func TestWhatAnIssuerAnswersDecidesWhatBecomesOfARequest(t *testing.T) {
	for name, tt := range map[string]struct {
		answer outbox.Answer
		err    error
		want   wallet.State
		reason string
	}{
		"it refuses":                     {outbox.Answer{Status: 403}, nil, wallet.Failed, "it answered 403"},
		"it has the request already":     {outbox.Answer{Status: 409}, nil, wallet.Requested, ""},
		"it cannot be reached for a day": {outbox.Answer{}, errors.New("no route"), wallet.Failed, "could not be reached in time: no route"},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bench) {
				b.send = func(context.Context, commit.Owed) (outbox.Answer, error) { return tt.answer, tt.err }
				r := b.ask("MembershipCredential")
				pass(25 * time.Hour)
				if got := b.wantState(r.ID, tt.want); !strings.Contains(got.Reason, tt.reason) {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestWhatCannotBeAskedForIsSaidAtOnce(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.issued[meridian] = append(b.issued[meridian], wallet.Object{ID: "membership-20", Type: "MembershipCredential", Profile: "vc20-bssl/jwt"})
		for name, tt := range map[string]struct {
			ask  wallet.Ask
			kind fault.Kind
			want string
		}{
			"an issuer that is no DID":       {wallet.Ask{Issuer: "meridian", Types: []string{"BpnCredential"}}, fault.Malformed, "issuer"},
			"oneself":                        {wallet.Ask{Issuer: b.local.DID, Types: []string{"BpnCredential"}}, fault.Malformed, "itself"},
			"nothing":                        {wallet.Ask{Issuer: meridian}, fault.Malformed, "want 1"},
			"a type that is not issued":      {wallet.Ask{Issuer: meridian, Types: []string{"Credential"}}, fault.NotFound, "no credential of this type"},
			"a type that is issued twice":    {wallet.Ask{Issuer: meridian, Types: []string{"MembershipCredential"}}, fault.Malformed, "ask by id"},
			"an id that is not there":        {wallet.Ask{Issuer: meridian, Definitions: []string{"none"}}, fault.NotFound, "no such thing"},
			"a profile that nobody knows":    {wallet.Ask{Issuer: meridian, Definitions: []string{"linked"}}, fault.Refused, "vc11-sl2021/ldp"},
			"the same by id and by type":     {wallet.Ask{Issuer: meridian, Definitions: []string{"bpn"}, Types: []string{"BpnCredential"}}, fault.Malformed, "twice"},
			"something from a silent issuer": {wallet.Ask{Issuer: "did:web:silent.example", Types: []string{"BpnCredential"}}, fault.NotFound, "no credential of this type"},
		} {
			_, err := b.Ask(t.Context(), b.local, tt.ask)
			if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(b.sent)+len(b.requests()) != 0 {
			t.Errorf("sent %v", b.sent)
		}
	})
}

// What cannot be checked may be good: its issuer is to bring it again, and nothing is lost.
func TestWhatCannotBeCheckedIsToBeBroughtAgain(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		r := b.ask("MembershipCredential")
		_, address, err := identity.ParseDID(string(meridian))
		check(t, err)
		document := b.documents[address]
		delete(b.documents, address)
		brought := b.membership(made{id: "urn:m"})
		if err := b.bring(r, brought); !fault.Is(err, fault.Unavailable) {
			t.Errorf("while nobody can look its key up: %v", err)
		}
		b.wantState(r.ID, wallet.Requested)
		b.publish(meridian, document)
		pass(10 * time.Second)
		check(t, b.bring(r, brought))
		b.wantState(r.ID, wallet.Issued)
	})
}
