package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	keys "github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
)

// What is played about who proves what to whom. The order counts: what was issued is presented, and then ends.
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
		{"IdentityHub rotates its key", (*realm).theyRotate},
	}
	presented = []scenario[*realm]{
		{"we read EDC's catalog", (*realm).weShow},
		{"we rotate our keys", (*realm).weRotate},
		{"our issuer rotates its keys", (*realm).theIssuerRotates},
	}
	ending = []scenario[*realm]{
		{"Cobalt's membership is suspended: refused by us, until it is reinstated", (*realm).theyAreSuspended},
		{"Cobalt's membership is revoked: refused by us", (*realm).theyAreRevoked},
		{"our membership is suspended: refused by EDC, until it is reinstated", (*realm).weAreSuspended},
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
	made, err := r.Issuer().Offer(ctx, r.meridian, r.cobalt.did, []string{membership}, issuer.ReasonReissue, order.Actor)
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

// catalog asks for our catalog with a token, and returns what is answered.
func (r *realm) catalog(ctx context.Context, token string) (int, error) {
	body := `{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"CatalogRequestMessage"}`
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.public+"/boreal/dsp/2025-1/catalog/request", bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil || res.StatusCode != http.StatusOK {
		return res.StatusCode, err
	}
	c, err := dsp.ParseCatalog(text.Bytes())
	if err != nil {
		return 0, err
	}
	return res.StatusCode, want("datasets", len(c.Datasets), len(policies))
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
	return r.visit(ctx, token, why)
}

func (r *realm) visit(ctx context.Context, token, why string) error {
	status, err := r.catalog(ctx, token)
	if err != nil {
		return err
	}
	if why == "" {
		if status != http.StatusOK {
			return fmt.Errorf("refused with %d: %s", status, r.heard.why())
		}
		return nil
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
	err = r.edc.call(ctx, http.MethodPost, "/catalog/request", object{"@context": vocab, "@type": "CatalogRequest", "counterPartyAddress": "http://" + r.public + "/boreal/dsp/2025-1",
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
	if err := r.visit(ctx, token, ""); err != nil {
		return err
	}
	return r.visit(ctx, token, "token.replayed")
}

func (r *realm) theyMisaddress(ctx context.Context) error {
	token, err := r.cobalt.token(ctx, r.meridian.DID, scopeOf(membership))
	if err != nil {
		return err
	}
	return r.visit(ctx, token, "token.aud")
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

// stand changes the standing of each membership of a holder, and tells our connector so: its lists are good for five minutes otherwise.
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

// shut reports whether EDC's connector lets us in no more.
func (r *realm) shut(ctx context.Context) error {
	err := r.weShow(ctx)
	if err == nil {
		return fmt.Errorf("EDC showed us its catalog")
	}
	if !strings.Contains(err.Error(), "401") {
		return fmt.Errorf("refused otherwise than wanted: %w", err)
	}
	return nil
}

func (r *realm) weAreSuspended(ctx context.Context) error {
	if err := r.suspend(ctx, r.boreal.DID); err != nil {
		return err
	}
	if err := r.shut(ctx); err != nil {
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
	return r.shut(ctx)
}
