package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	keys "github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
)

// What is played about who proves what to whom. The order counts: what was issued is presented, and then ends. Ours is suspended before our connector
// has looked at a status list: later our wallet would know, and show nothing that EDC had to refuse.
var (
	issuing = []scenario[*realm]{
		{"IdentityHub requests, we deliver", (*realm).weIssue},
		{"who is not on the list gets nothing", (*realm).weIssueNothing},
		{"we offer, IdentityHub takes the offer, and forgets of what", (*realm).weOffer},
	}
	presenting = []scenario[*realm]{
		{"a token of its token service opens our catalog", (*realm).theyShow},
		{"EDC's connector reads our catalog with it", (*realm).theyAsk},
		{"the same token a second time: refused", (*realm).theyRepeat},
		{"a token for somebody else: refused", (*realm).theyMisaddress},
		{"a token that gives no access: refused", (*realm).theyWithhold},
		{"access to another credential than wanted: refused", (*realm).theyShowAnother},
		{"no membership: refused", (*realm).theyAreNoMember},
		{"a credential of data model 2.0, in two envelopes", (*realm).theyShowTheNewModel},
		{"IdentityHub rotates its key", (*realm).theyRotate},
	}
	presented = []scenario[*realm]{
		{"we read EDC's catalog", (*realm).weShow},
		{"our membership is suspended: refused by EDC, until it is reinstated", (*realm).weAreSuspended},
		{"our token a second time: refused", (*realm).weRepeat},
		{"our token for somebody else: refused", (*realm).weMisaddress},
		{"we rotate our keys", (*realm).weRotate},
		{"our issuer rotates its keys", (*realm).theIssuerRotates},
	}
	ending = []scenario[*realm]{
		{"Cobalt's membership is suspended: refused by us, until it is reinstated", (*realm).theyAreSuspended},
		{"Cobalt's membership is revoked: refused by us", (*realm).theyAreRevoked},
		{"our membership is revoked: refused by EDC", (*realm).weAreRevoked},
	}
)

func (r *realm) weIssue(ctx context.Context) error {
	state, err := r.cobalt.request(ctx, r.meridian.DID, membership, number)
	if err != nil {
		return err
	}
	if err := want("its request", state, "ISSUED"); err != nil {
		return err
	}
	var held []struct {
		VerifiableCredential struct {
			Credential struct {
				Type []string `json:"type"`
			} `json:"credential"`
		} `json:"verifiableCredential"`
	}
	if err := r.cobalt.own(ctx, http.MethodGet, "/credentials?type="+membership, nil, &held); err != nil {
		return err
	}
	return want("credentials that it holds of the type", len(held), 1)
}

func (r *realm) weIssueNothing(ctx context.Context) error {
	state, err := r.dusk.request(ctx, r.meridian.DID, membership)
	if err != nil {
		return err
	}
	n, err := r.issued(ctx, r.dusk)
	if err != nil {
		return err
	}
	if err := want("its request", state, "ERROR"); err != nil {
		return err
	}
	return want("credentials that were issued to it", n, 0)
}

// weOffer ends with a refusal: of what it was offered IdentityHub forgets the ids, and then asks for a credential without one.
func (r *realm) weOffer(ctx context.Context) error {
	before, err := r.issued(ctx, r.cobalt)
	if err != nil {
		return err
	}
	made, err := r.Issuer().Offer(ctx, r.meridian, r.cobalt.did, []string{membership}, credential.ReasonReissue, order.Actor)
	if err != nil {
		return err
	}
	err = eventually(ctx, "the offer is taken, and a request without an id is refused", func() (bool, error) {
		all, err := r.Issuer().Offers(ctx, r.meridian, issuer.Filter{Holder: r.cobalt.did, State: string(issuer.OfferDelivered)}, page.Request{})
		taken := slices.ContainsFunc(all.Items, func(o issuer.Offer) bool { return o.ID == made.ID })
		return taken && strings.Contains(r.heard.why(), "credentials/id"), err
	})
	after, late := r.issued(ctx, r.cobalt)
	if err := errors.Join(err, late); err != nil {
		return fmt.Errorf("the last cause is %q: %w", r.heard.why(), err)
	}
	return want("memberships that were delivered", after, before)
}

// issued counts the memberships that were delivered to a holder.
func (r *realm) issued(ctx context.Context, p *holder) (n int, err error) {
	all, err := r.Issuer().Requests(ctx, r.meridian, issuer.Filter{Holder: p.did, State: string(issuer.Delivered)}, page.Request{})
	for _, q := range all.Items {
		if slices.Contains(q.Wanted, membership) {
			n++
		}
	}
	return n, err
}

// asked is a request for a catalog of ours, or of EDC's, with a token, and its answer.
func asked(ctx context.Context, base, token string) (status int, body []byte, err error) {
	message := `{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"CatalogRequestMessage"}`
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/catalog/request", strings.NewReader(message))
	if err != nil {
		return 0, nil, err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// base is where a company of ours is traded with.
func (r *realm) base(p participant.Participant) string {
	return "http://" + r.public + "/" + p.Slug + "/dsp/2025-1"
}

// comes is a visit of the holder with a new token that gives access by the scopes. why is the cause that is wanted; "" when it is to be served.
func (r *realm) comes(ctx context.Context, p *holder, why string, kinds ...string) error {
	var scopes []string
	for _, kind := range kinds {
		scopes = append(scopes, scopeOf(kind))
	}
	token, err := p.token(ctx, r.boreal.DID, strings.Join(scopes, " "))
	if err != nil {
		return err
	}
	return r.visit(ctx, r.boreal, token, why)
}

func (r *realm) visit(ctx context.Context, us participant.Participant, token, why string) error {
	status, body, err := asked(ctx, r.base(us), token)
	if err != nil {
		return err
	}
	if why == "" {
		if status != http.StatusOK {
			return fmt.Errorf("refused with %d: %s", status, r.heard.why())
		}
		_, err := dsp.ParseCatalog(body)
		return err
	}
	if err := want("the answer", status, http.StatusUnauthorized); err != nil {
		return err
	}
	if got := r.heard.why(); !strings.Contains(got, why) {
		return fmt.Errorf("the cause is %q, want %q", got, why)
	}
	return nil
}

func (r *realm) theyShow(ctx context.Context) error {
	return r.comes(ctx, r.cobalt, "", membership, number)
}

// theirs is our catalog as EDC's connector got it.
func (r *realm) theirs(ctx context.Context) (n int, err error) {
	var c struct {
		Dataset []dataset `json:"dataset"`
	}
	err = r.edc.call(ctx, http.MethodPost, "/catalog/request", object{"@context": vocab, "@type": "CatalogRequest", "counterPartyAddress": r.base(r.boreal),
		"counterPartyId": r.boreal.DID, "protocol": protocol}, &c)
	return len(c.Dataset), err
}

func (r *realm) theyAsk(ctx context.Context) error {
	n, err := r.theirs(ctx)
	if err != nil {
		return err
	}
	return want("datasets", n, len(policies))
}

func (r *realm) theyRepeat(ctx context.Context) error {
	token, err := r.cobalt.token(ctx, r.boreal.DID, scopeOf(membership)+" "+scopeOf(number))
	if err != nil {
		return err
	}
	if err := r.visit(ctx, r.boreal, token, ""); err != nil {
		return err
	}
	return r.visit(ctx, r.boreal, token, "token.replayed")
}

func (r *realm) theyMisaddress(ctx context.Context) error {
	token, err := r.cobalt.token(ctx, r.meridian.DID, scopeOf(membership))
	if err != nil {
		return err
	}
	return r.visit(ctx, r.boreal, token, "token.aud")
}

func (r *realm) theyWithhold(ctx context.Context) error {
	return r.comes(ctx, r.cobalt, "token.access")
}

func (r *realm) theyShowAnother(ctx context.Context) error {
	return r.comes(ctx, r.cobalt, "presentation.query", number)
}

func (r *realm) theyAreNoMember(ctx context.Context) error {
	return r.comes(ctx, r.dusk, "scope.unsatisfied", membership, number)
}

func (r *realm) theyShowTheNewModel(ctx context.Context) error {
	state, err := r.cobalt.request(ctx, r.meridian.DID, partner)
	if err != nil {
		return err
	}
	if err := want("its request", state, "ISSUED"); err != nil {
		return err
	}
	token, err := r.cobalt.token(ctx, r.aurora.DID, scopeOf(partner))
	if err != nil {
		return err
	}
	return r.visit(ctx, r.aurora, token, "")
}

func (r *realm) theyRotate(ctx context.Context) error {
	if err := r.cobalt.own(ctx, http.MethodPost, "/keypairs/cobalt-1/rotate?duration=0", r.cobalt.keyOf(2), nil); err != nil {
		return err
	}
	return r.comesAgain(ctx)
}

func (r *realm) weShow(ctx context.Context) error {
	_, err := r.Dataset(ctx, r.boreal, r.cobalt.did, "open")
	return err
}

func (r *realm) weRotate(ctx context.Context) error { return r.rotate(ctx, r.boreal, keys.UseToken) }

func (r *realm) theIssuerRotates(ctx context.Context) error {
	return r.rotate(ctx, r.meridian, keys.UseIssue)
}

// rotate gives a company of ours new keys while it trades: EDC reads its catalog to us all the time, and goes on when the new key signs. The keys are
// published for a little longer than EDC is told to keep a document; by default both are some minutes.
func (r *realm) rotate(ctx context.Context, who participant.Participant, use keys.Use) error {
	signer := func() (string, error) {
		ring, err := r.Keys(who)
		if err != nil {
			return "", err
		}
		s, err := ring.Signer(use)
		if err != nil {
			return "", err
		}
		return s.Public().ID, nil
	}
	before, err := signer()
	if err != nil {
		return err
	}
	overlap := 3 * documentLife
	if _, err := r.Keeper().Rotate(ctx, who, keyring.Rotation{Overlap: &overlap, Actor: order.Actor}); err != nil {
		return err
	}
	if err := within(ctx, 30*time.Second, documentLife/4, "the new key signs", func() (bool, error) {
		if err := r.weShow(ctx); err != nil {
			return false, err
		}
		now, err := signer()
		return now != before, err
	}); err != nil {
		return err
	}
	if err := r.weShow(ctx); err != nil {
		return err
	}
	return r.comesAgain(ctx)
}

// documentLife is how long EDC is told to keep DID documents.
const documentLife = time.Second

// comesAgain is a visit of Cobalt's after somebody's keys have changed: a DID document is looked at anew every ten seconds at most, and until
// then a new key is not known.
func (r *realm) comesAgain(ctx context.Context) (err error) {
	late := within(ctx, 30*time.Second, time.Second, "the new key is known", func() (bool, error) {
		err = r.comes(ctx, r.cobalt, "", membership, number)
		return err == nil, nil
	})
	return errors.Join(late, err)
}

// stand changes the standing of each membership of a holder. Of Cobalt's our connector is told: its lists are good for a while otherwise. Of ours it is
// not, so that our wallet does not know either and shows what EDC has to refuse.
func (r *realm) stand(ctx context.Context, did participant.DID, change func(*issuer.Service, string) error) error {
	all, err := r.Issuer().Credentials(ctx, r.meridian, issuer.Filter{Holder: did, Definition: membership}, page.Request{Limit: 10})
	if err != nil {
		return err
	}
	if len(all.Items) == 0 {
		return fmt.Errorf("%s has no membership", did)
	}
	for _, c := range all.Items {
		if err := change(r.Issuer(), c.ID); err != nil {
			return err
		}
		for _, p := range c.Places {
			if did == r.boreal.DID {
				continue
			}
			if err := r.RefreshList(ctx, r.list(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *realm) suspend(ctx context.Context, did participant.DID) error {
	return r.stand(ctx, did, func(s *issuer.Service, id string) error { _, err := s.Suspend(ctx, r.meridian, id, order); return err })
}

func (r *realm) reinstate(ctx context.Context, did participant.DID) error {
	return r.stand(ctx, did, func(s *issuer.Service, id string) error {
		_, err := s.Reinstate(ctx, r.meridian, id, order)
		return err
	})
}

func (r *realm) revoke(ctx context.Context, did participant.DID) error {
	return r.stand(ctx, did, func(s *issuer.Service, id string) error { _, err := s.Revoke(ctx, r.meridian, id, order); return err })
}

func (r *realm) theyAreSuspended(ctx context.Context) error {
	if err := r.suspend(ctx, r.cobalt.did); err != nil {
		return err
	}
	if err := r.comes(ctx, r.cobalt, "credential.status.suspended", membership, number); err != nil {
		return err
	}
	if err := r.reinstate(ctx, r.cobalt.did); err != nil {
		return err
	}
	return r.comes(ctx, r.cobalt, "", membership, number)
}

func (r *realm) theyAreRevoked(ctx context.Context) error {
	if err := r.revoke(ctx, r.cobalt.did); err != nil {
		return err
	}
	if err := r.comes(ctx, r.cobalt, "credential.status.revoked", membership, number); err != nil {
		return err
	}
	if n, err := r.theirs(ctx); err == nil {
		return fmt.Errorf("EDC's connector got %d datasets", n)
	}
	return nil
}

// shut reports whether EDC's connector lets us in no more, and says to its operator why.
func (r *realm) shut(ctx context.Context, why ...string) error {
	err := r.weShow(ctx)
	if err == nil {
		return fmt.Errorf("EDC showed us its catalog")
	}
	if !strings.Contains(err.Error(), "401") {
		return fmt.Errorf("refused otherwise than wanted: %w", err)
	}
	return r.refusedBy(why...)
}

// refusedBy compares the last cause of a refusal in EDC's log.
func (r *realm) refusedBy(why ...string) error {
	text, err := os.ReadFile(filepath.Join(r.edc.dir, "edc.log"))
	if err != nil {
		return err
	}
	const before = "Unauthorized: "
	last := string(text[max(0, bytes.LastIndex(text, []byte(before))):])
	last, _, _ = strings.Cut(last, "\n")
	if !slices.ContainsFunc(why, func(cause string) bool { return strings.Contains(last, cause) }) {
		return fmt.Errorf("EDC's cause is %q, want one of %q", last, why)
	}
	return nil
}

// ours is a token that our token service made for a program of Boreal's.
func (r *realm) ours(ctx context.Context, audience participant.DID) (string, error) {
	client, secret, err := r.Wallet().CreateClient(ctx, r.boreal, "visit", []string{scopeOf(membership), scopeOf(number)}, order.Actor)
	if err != nil {
		return "", err
	}
	return token(ctx, "http://"+r.public+"/boreal/sts/token", client.ID, secret, audience, scopeOf(membership)+" "+scopeOf(number))
}

func (r *realm) weRepeat(ctx context.Context) error {
	token, err := r.ours(ctx, r.cobalt.did)
	if err != nil {
		return err
	}
	for _, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		if status, body, err := asked(ctx, r.edc.protocol()+"/2025-1", token); err != nil || status != want {
			return errors.Join(err, fmt.Errorf("%d %s, want %d", status, body, want))
		}
	}
	return r.refusedBy("was already used")
}

func (r *realm) weMisaddress(ctx context.Context) error {
	token, err := r.ours(ctx, r.dusk.did)
	if err != nil {
		return err
	}
	if status, body, err := asked(ctx, r.edc.protocol()+"/2025-1", token); err != nil || status != http.StatusUnauthorized {
		return errors.Join(err, fmt.Errorf("%d %s", status, body))
	}
	return r.refusedBy("audience")
}

func (r *realm) weAreSuspended(ctx context.Context) error {
	if err := r.suspend(ctx, r.boreal.DID); err != nil {
		return err
	}
	if err := r.shut(ctx, "Credential status is 'suspension'"); err != nil {
		return err
	}
	if err := r.reinstate(ctx, r.boreal.DID); err != nil {
		return err
	}
	return r.weShow(ctx)
}

func (r *realm) weAreRevoked(ctx context.Context) error {
	if err := r.revoke(ctx, r.boreal.DID); err != nil {
		return err
	}
	// Our wallet may know by now, and then does not show it any more.
	return r.shut(ctx, "Credential status is 'revocation'", "Number of requested credentials does not match")
}
