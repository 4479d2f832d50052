package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

func (f bench) held(id string) wallet.Credential {
	return wallet.Credential{Participant: f.a.ID, ID: id, Version: 1, Types: []string{"VerifiableCredential", "MembershipCredential"}, Issuer: peer, Raw: []byte{0, 255},
		Digest: strings.Repeat("a", 64), NotBefore: now, NotAfter: now.Add(time.Hour), Created: now, Deadline: "due-" + id}
}

func (f bench) wish(id string, at time.Time) wallet.Request {
	return wallet.Request{Participant: f.a.ID, ID: id, Version: 1, Issuer: peer, State: wallet.Requested, Wanted: []wallet.Wanted{{Definition: "d", Type: "MembershipCredential", Profile: "p"}},
		Taken: []string{"x"}, Created: at, Updated: at}
}

func (f bench) offered(id, digest string) wallet.Offer {
	return wallet.Offer{Participant: f.a.ID, ID: id, Version: 1, Issuer: peer, State: wallet.Received, Objects: []wallet.Object{{ID: "d", Reason: "größer"}},
		Digest: fmt.Sprintf("%064s", digest), Created: now, Updated: now}
}

func (f bench) moment(kind commit.ProcessKind, id string) commit.Owed {
	return commit.Owed{ID: "due-" + id, Participant: f.a.ID, Process: kind, ProcessID: id, Peer: peer, Message: "deadline", Due: now.Add(time.Hour), Created: now}
}

func added[T any](v T) commit.Swap[T]       { return commit.Swap[T]{New: &v} }
func swapped[T any](a, b T) commit.Swap[T]  { return commit.Swap[T]{Old: &a, New: &b} }
func taken[T any](v T) commit.Swap[T]       { return commit.Swap[T]{Old: &v} }
func same(t *testing.T, want, got any)      { t.Helper(); diff(t, cmp.Diff(want, got)) }
func diff(t *testing.T, differences string) { t.Helper(); fail(t, differences != "", differences) }
func fail(t *testing.T, is bool, why string) {
	t.Helper()
	if is {
		t.Fatal(why)
	}
}

func walletWhole(t *testing.T, f bench) {
	ctx := t.Context()
	_, err := f.Credential(ctx, f.a.ID, "c1")
	wantKind(t, err, fault.NotFound)
	_, err = f.CredentialRequest(ctx, f.a.ID, "", "r1")
	wantKind(t, err, fault.NotFound)
	_, err = f.CredentialOffer(ctx, f.a.ID, "o1")
	wantKind(t, err, fault.NotFound)

	c1, c2, r, o := f.held("c1"), f.held("c2"), f.wish("r1", now), f.offered("o1", "1")
	client := wallet.Client{Participant: f.a.ID, ID: "s1", Label: "kit", Hash: "h", Scopes: []string{"s"}, Created: now}
	message := f.moment(commit.WalletRequest, "r1")
	check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Credentials: []commit.Swap[wallet.Credential]{added(c1), added(c2)}, Requests: []commit.Swap[wallet.Request]{added(r)},
		Offers: []commit.Swap[wallet.Offer]{added(o)}, Clients: []commit.Swap[wallet.Client]{added(client)},
		Owed: []commit.Owed{f.moment(commit.WalletCredential, "c1"), f.moment(commit.WalletCredential, "c2"), f.moment(commit.WalletOffer, "o1")}},
		commit.Effects{Decisions: []decisionlog.Entry{entry(1)}, Owed: &message, Events: []commit.Event{{Type: "credential.issued", Subject: "r1", Time: now}}}))
	same(t, c1, must(f.Credential(ctx, f.a.ID, "c1"))(t))
	same(t, []wallet.Credential{c1, c2}, must(f.Credentials(ctx, f.a.ID))(t))
	same(t, r, must(f.CredentialRequest(ctx, f.a.ID, peer, "r1"))(t))
	same(t, o, must(f.CredentialOffer(ctx, f.a.ID, "o1"))(t))
	same(t, []wallet.Client{client}, must(f.TokenClients(ctx, f.a.ID))(t))
	for _, id := range []string{"due-c1", "due-c2", "due-o1", "due-r1"} {
		fail(t, !must(f.Owes(ctx, id))(t), id+" is not owed")
	}

	// One goes, one comes in its place, with the deadlines of both; the request has its credential.
	c3, next := f.held("c3"), r
	next.State, next.Wanted = wallet.Issued, []wallet.Wanted{{Definition: "d", Type: "MembershipCredential", Profile: "p", Held: "c3"}}
	check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Settled: []string{"due-c1"}, Credentials: []commit.Swap[wallet.Credential]{taken(c1), added(c3)},
		Requests: []commit.Swap[wallet.Request]{swapped(r, next)}, Owed: []commit.Owed{f.moment(commit.WalletCredential, "c3")}}, commit.Effects{Settled: "due-r1"}))
	next.Version = 2
	same(t, []wallet.Credential{c2, c3}, must(f.Credentials(ctx, f.a.ID))(t))
	same(t, next, must(f.CredentialRequest(ctx, f.a.ID, "", "r1"))(t))
	for id, want := range map[string]bool{"due-c1": false, "due-c2": true, "due-c3": true, "due-r1": false} {
		fail(t, must(f.Owes(ctx, id))(t) != want, fmt.Sprintf("%s is owed: %t", id, !want))
	}
	check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Clients: []commit.Swap[wallet.Client]{taken(client)}}, commit.Effects{}))
	fail(t, len(must(f.TokenClients(ctx, f.a.ID))(t)) != 0, "a client is still there")
}

func walletStale(t *testing.T, f bench) {
	ctx := t.Context()
	c, r, o := f.held("c1"), f.wish("r1", now), f.offered("o1", "1")
	check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Credentials: []commit.Swap[wallet.Credential]{added(c)}, Requests: []commit.Swap[wallet.Request]{added(r)},
		Offers: []commit.Swap[wallet.Offer]{added(o)}}, commit.Effects{}))
	oldC, oldR, oldO := c, r, o
	oldC.Version, oldR.Version, oldO.Version = 7, 7, 7
	fresh := f.held("c9")
	for name, change := range map[string]wallet.Change{
		"a credential that is there":     {Credentials: []commit.Swap[wallet.Credential]{added(fresh), added(c)}},
		"a stale credential":             {Credentials: []commit.Swap[wallet.Credential]{added(fresh), swapped(oldC, c)}},
		"a stale credential that goes":   {Credentials: []commit.Swap[wallet.Credential]{added(fresh), taken(oldC)}},
		"a credential that is not there": {Credentials: []commit.Swap[wallet.Credential]{added(fresh), taken(f.held("c8"))}},
		"a request that is there":        {Credentials: []commit.Swap[wallet.Credential]{added(fresh)}, Requests: []commit.Swap[wallet.Request]{added(r)}},
		"a stale request":                {Credentials: []commit.Swap[wallet.Credential]{added(fresh)}, Requests: []commit.Swap[wallet.Request]{swapped(oldR, r)}},
		"a stale offer":                  {Credentials: []commit.Swap[wallet.Credential]{added(fresh)}, Offers: []commit.Swap[wallet.Offer]{swapped(oldO, o)}},
		"a client that is not there":     {Credentials: []commit.Swap[wallet.Credential]{added(fresh)}, Clients: []commit.Swap[wallet.Client]{taken(wallet.Client{ID: "s"})}},
		"a second deadline of a process": {Credentials: []commit.Swap[wallet.Credential]{added(fresh)}, Owed: []commit.Owed{f.moment(commit.WalletOffer, "o1"), f.moment(commit.WalletOffer, "o1")}},
	} {
		err := f.CommitWallet(ctx, f.a.ID, change, commit.Effects{Decisions: []decisionlog.Entry{entry(3)}, Events: []commit.Event{{Type: "x", Time: now}}})
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
		if all := must(f.Credentials(ctx, f.a.ID))(t); len(all) != 1 {
			t.Errorf("%s: %d credentials", name, len(all))
		}
	}
	if events := must(f.EventsSince(ctx, f.a.ID, 0, 10))(t); len(events) != 0 {
		t.Errorf("events: %v", events)
	}
}

func walletTenants(t *testing.T, f bench) {
	ctx := t.Context()
	c, r, o := f.held("c1"), f.wish("r1", now), f.offered("o1", "1")
	client := wallet.Client{Participant: f.a.ID, ID: "s1", Created: now}
	check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Credentials: []commit.Swap[wallet.Credential]{added(c)}, Requests: []commit.Swap[wallet.Request]{added(r)},
		Offers: []commit.Swap[wallet.Offer]{added(o)}, Clients: []commit.Swap[wallet.Client]{added(client)}}, commit.Effects{}))
	const stranger participant.DID = "did:web:dusk.example"
	_, err := f.CredentialRequest(ctx, f.a.ID, stranger, "r1")
	wantKind(t, err, fault.NotFound)
	_, err = f.CredentialRequest(ctx, f.b.ID, peer, "r1")
	wantKind(t, err, fault.NotFound)
	_, err = f.Credential(ctx, f.b.ID, "c1")
	wantKind(t, err, fault.NotFound)
	_, err = f.CredentialOffer(ctx, f.b.ID, "o1")
	wantKind(t, err, fault.NotFound)
	n := len(must(f.Credentials(ctx, f.b.ID))(t)) + len(must(f.TokenClients(ctx, f.b.ID))(t)) + len(must(f.OpenCredentialRequests(ctx, f.b.ID, peer, 9))(t)) +
		len(must(f.OpenCredentialOffers(ctx, f.b.ID, peer, 9))(t)) + len(must(f.OpenCredentialRequests(ctx, f.a.ID, stranger, 9))(t)) + len(must(f.OpenCredentialOffers(ctx, f.a.ID, stranger, 9))(t))
	fail(t, n != 0, "another sees what is not its own")
	for name, change := range map[string]wallet.Change{"credential": {Credentials: []commit.Swap[wallet.Credential]{taken(c)}}, "request": {Requests: []commit.Swap[wallet.Request]{swapped(r, r)}},
		"offer": {Offers: []commit.Swap[wallet.Offer]{swapped(o, o)}}, "client": {Clients: []commit.Swap[wallet.Client]{taken(client)}}} {
		if err := f.CommitWallet(ctx, f.b.ID, change, commit.Effects{}); !fault.Is(err, fault.Conflict) {
			t.Errorf("another's %s: %v", name, err)
		}
	}
}

func walletOffers(t *testing.T, f bench) {
	ctx := t.Context()
	first, again := f.offered("o1", "1"), f.offered("o2", "1")
	add := func(p participant.ID, o wallet.Offer) error {
		return f.CommitWallet(ctx, p, wallet.Change{Offers: []commit.Swap[wallet.Offer]{added(o)}}, commit.Effects{})
	}
	check(t, add(f.a.ID, first))
	wantKind(t, add(f.a.ID, again), fault.Conflict)
	check(t, add(f.b.ID, again))
	fail(t, len(must(f.OpenCredentialOffers(ctx, f.a.ID, peer, 9))(t)) != 1, "want one open offer")
	declined := first
	declined.State = wallet.Declined
	check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Offers: []commit.Swap[wallet.Offer]{swapped(first, declined)}}, commit.Effects{}))
	fail(t, len(must(f.OpenCredentialOffers(ctx, f.a.ID, peer, 9))(t)) != 0, "want no open offer")
	check(t, add(f.a.ID, again)) // what was decided may be offered anew
}

func walletPages(t *testing.T, f bench) {
	ctx := t.Context()
	var ids []string
	for i := range 7 {
		r, o := f.wish(fmt.Sprintf("r%d", i), now.Add(time.Duration(i/2)*time.Second)), f.offered(fmt.Sprintf("r%d", i), fmt.Sprint(i))
		o.Created = r.Created
		if i == 3 {
			r.State = wallet.Rejected
		}
		ids = append(ids, r.ID)
		check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Requests: []commit.Swap[wallet.Request]{added(r)}, Offers: []commit.Swap[wallet.Offer]{added(o)}}, commit.Effects{}))
	}
	var requests, offers []string
	for after := (page.Key{}); ; {
		list := must(f.CredentialRequests(ctx, f.a.ID, wallet.Filter{Issuer: peer}, page.Request{Limit: 3, After: after}))(t)
		for _, r := range list.Items {
			requests = append(requests, r.ID)
		}
		if after = list.Next; after.ID == "" {
			break
		}
	}
	for after := (page.Key{}); ; {
		list := must(f.CredentialOffers(ctx, f.a.ID, wallet.Filter{State: string(wallet.Received)}, page.Request{Limit: 3, Newest: true, After: after}))(t)
		for _, o := range list.Items {
			offers = append(offers, o.ID)
		}
		if after = list.Next; after.ID == "" {
			break
		}
	}
	same(t, ids, requests)
	slices.Reverse(offers)
	same(t, ids, offers)
	rejected := must(f.CredentialRequests(ctx, f.a.ID, wallet.Filter{State: string(wallet.Rejected)}, page.Request{}))(t)
	fail(t, len(rejected.Items) != 1 || rejected.Items[0].ID != "r3", fmt.Sprint(rejected))
	open := must(f.OpenCredentialRequests(ctx, f.a.ID, peer, 4))(t)
	fail(t, len(open) != 4 || open[3].ID != "r4", fmt.Sprint(open))
}

func walletBackup(t *testing.T, f bench) {
	ctx := t.Context()
	c, r, o := f.held("c1"), f.wish("r1", now), f.offered("o1", "1")
	check(t, f.CommitWallet(ctx, f.a.ID, wallet.Change{Credentials: []commit.Swap[wallet.Credential]{added(c)}, Requests: []commit.Swap[wallet.Request]{added(r)},
		Offers: []commit.Swap[wallet.Offer]{added(o)}, Clients: []commit.Swap[wallet.Client]{added(wallet.Client{Participant: f.a.ID, ID: "s1", Created: now})},
		Owed: []commit.Owed{f.moment(commit.WalletCredential, "c1")}}, commit.Effects{}))
	var b bytes.Buffer
	check(t, f.Backup(ctx, &b))
	other := f.opened.Empty(t)
	check(t, other.Restore(ctx, &b, now))
	same(t, c, must(other.Credential(ctx, f.a.ID, "c1"))(t))
	same(t, r, must(other.CredentialRequest(ctx, f.a.ID, peer, "r1"))(t))
	same(t, o, must(other.CredentialOffer(ctx, f.a.ID, "o1"))(t))
	fail(t, !must(other.Owes(ctx, "due-c1"))(t), "the deadline did not come back")
	fail(t, len(must(other.TokenClients(ctx, f.a.ID))(t)) != 0, "a client came back: it may have been ended since")
}
