package wallet_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wallet"
)

// offer brings an offer of an issuer that speaks for itself.
func (b *bench) offer(from participant.DID, objects ...wallet.Object) error {
	b.t.Helper()
	err := b.Offered(b.t.Context(), b.local, peer(from), string(from), objects, digestOf(objects))
	synctest.Wait()
	return err
}

func digestOf(objects []wallet.Object) string {
	return fmt.Sprintf("%064x", fmt.Sprint(objects))[:64]
}

func (b *bench) offers() []wallet.Offer {
	b.t.Helper()
	list, err := b.Offers(b.t.Context(), b.local, wallet.Filter{}, page.Request{})
	check(b.t, err)
	return list.Items
}

// TestAnOfferMakesNobodyCallAnybody: trap 8.17. What no setting asks for is kept for an operator, and whoever may not offer is a stranger.
func TestAnOfferMakesNobodyCallAnybody(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.config.Renew = 0
		b.stop()
		b.start()
		check(t, b.offer(meridian, wallet.Object{ID: "membership"}, wallet.Object{ID: "bpn", Reason: credential.ReasonReissue}))
		check(t, b.offer(meridian, wallet.Object{ID: "membership"}, wallet.Object{ID: "bpn", Reason: credential.ReasonReissue})) // the same again
		for name, err := range map[string]error{
			"an issuer that nobody trusts": b.offer(dusk, wallet.Object{ID: "membership"}),
			"in somebody else's name":      b.Offered(t.Context(), b.local, peer(dusk), string(meridian), []wallet.Object{{ID: "x"}}, digestOf(nil)),
			"of somebody else":             b.Offered(t.Context(), b.local, peer(meridian), string(dusk), []wallet.Object{{ID: "x"}}, digestOf(nil)),
		} {
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Unauthenticated || f.Reason != "the caller is not known" {
				t.Errorf("%s: %v", name, err)
			}
		}
		pass(48 * time.Hour)
		all := b.offers()
		if len(all) != 1 || all[0].State != wallet.Received || all[0].Owed != "" || len(all[0].Objects) != 2 || all[0].Issuer != meridian {
			t.Errorf("offers: %+v", all)
		}
		if len(b.asked)+len(b.sent)+len(b.requests()) != 0 {
			t.Errorf("asked %v, sent %v", b.asked, b.sent)
		}
	})
}

func TestAnIssuerHasOnlySoManyOffersOpen(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.config.Renew = 0
		b.stop()
		b.start()
		for i := range wallet.MaxOffers {
			check(t, b.offer(meridian, wallet.Object{ID: fmt.Sprint(i)}))
		}
		if err := b.offer(meridian, wallet.Object{ID: "more"}); !fault.Is(err, fault.Exhausted) {
			t.Errorf("one more: %v", err)
		}
		_, err := b.Decline(t.Context(), b.local, b.offers()[0].ID, "operator")
		check(t, err)
		check(t, b.offer(meridian, wallet.Object{ID: "more"}))
	})
}

func TestAnOperatorDecidesAnOfferOnce(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		check(t, b.offer(meridian, wallet.Object{ID: "membership"}))
		check(t, b.offer(meridian, wallet.Object{ID: "bpn"}))
		id := map[string]string{}
		for _, o := range b.offers() {
			id[o.Objects[0].ID] = o.ID
		}
		o, err := b.Accept(t.Context(), b.local, id["membership"], "operator")
		check(t, err)
		synctest.Wait()
		r := b.wantState(o.Request, wallet.Requested)
		if o.State != wallet.Accepted || o.Actor != "operator" || r.Actor != "operator" || r.Wanted[0].Type != "MembershipCredential" {
			t.Errorf("%+v, %+v", o, r)
		}
		if o, err = b.Decline(t.Context(), b.local, id["bpn"], "operator"); err != nil || o.State != wallet.Declined {
			t.Errorf("%+v, %v", o, err)
		}
		for _, id := range id {
			_, accepted := b.Accept(t.Context(), b.local, id, "operator")
			_, declined := b.Decline(t.Context(), b.local, id, "operator")
			if !fault.Is(accepted, fault.Conflict) || !fault.Is(declined, fault.Conflict) {
				t.Errorf("a second time: %v, %v", accepted, declined)
			}
		}
		if _, err := b.Accept(t.Context(), b.other, id["bpn"], "operator"); !fault.Is(err, fault.NotFound) {
			t.Errorf("by another tenant: %v", err)
		}
	})
}

// The settings name types; which issuer may have them asked of it the trust says, and where it is its DID.
func TestTheSettingsTakeTypesFromThoseWhoAreTrustedForThem(t *testing.T) {
	for name, tt := range map[string]struct {
		offer []wallet.Object
		held  bool
		want  []string
	}{
		"what they name":                        {[]wallet.Object{{ID: "membership", Type: "MembershipCredential"}}, false, []string{"MembershipCredential"}},
		"what an offer does not name by type":   {[]wallet.Object{{ID: "membership"}, {ID: "bpn"}}, false, []string{"MembershipCredential"}},
		"not what the issuer is untrusted for":  {[]wallet.Object{{ID: "governance", Type: "DataExchangeGovernanceCredential"}}, false, nil},
		"not what only the offer calls so":      {[]wallet.Object{{ID: "bpn", Type: "MembershipCredential"}}, false, nil},
		"not what the issuer does not issue":    {[]wallet.Object{{ID: "none", Type: "MembershipCredential"}}, false, nil},
		"not what is held":                      {[]wallet.Object{{ID: "membership"}}, true, nil},
		"what is held when it is offered anew":  {[]wallet.Object{{ID: "membership", Reason: credential.ReasonReissue}}, true, []string{"MembershipCredential"}},
		"not what was never asked for, renewed": {[]wallet.Object{{ID: "bpn", Reason: credential.ReasonReissue}}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bench) {
				b.config.Auto = []string{"MembershipCredential", "DataExchangeGovernanceCredential"}
				b.stop()
				b.start()
				if tt.held {
					check(t, b.bring(b.ask("MembershipCredential"), b.membership(made{id: "urn:1"})))
				}
				before := b.requests()
				check(t, b.offer(meridian, tt.offer...))
				pass(time.Minute)
				var got []string
				for _, r := range b.requests() {
					if slices.ContainsFunc(before, func(x wallet.Request) bool { return x.ID == r.ID }) {
						continue
					}
					for _, w := range r.Wanted {
						got = append(got, w.Type)
					}
					if r.Actor != "" || r.State != wallet.Requested {
						t.Errorf("%+v", r)
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("asked for %v, want %v", got, tt.want)
				}
				if o := b.offers()[0]; (o.State == wallet.Accepted) != (tt.want != nil) || o.Owed != "" || o.Note == "" {
					t.Errorf("the offer: %+v", o)
				}
			})
		})
	}
}

// A flood of offers makes one request, not many.
func TestWhatIsUnderWayIsNotAskedForTwice(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.config.Auto = []string{"MembershipCredential"}
		b.stop()
		b.start()
		for i := range 10 {
			check(t, b.offer(meridian, wallet.Object{ID: "membership", Schema: fmt.Sprint(i)}))
		}
		pass(time.Minute)
		if len(b.requests()) != 1 {
			t.Errorf("%d requests", len(b.requests()))
		}
	})
}

func TestAnOfferOfASilentIssuerIsLeftInTheEnd(t *testing.T) {
	story(t, func(t *testing.T, b *bench) {
		b.metadataFails = true
		check(t, b.offer(meridian, wallet.Object{ID: "membership"}))
		pass(25 * time.Hour)
		if o := b.offers()[0]; o.State != wallet.Received || o.Owed != "" || !strings.Contains(o.Note, "could not be read") {
			t.Errorf("%+v", o)
		}
		if due, owed, err := b.store.NextDue(t.Context()); err != nil || owed {
			t.Errorf("something is owed at %v, %v", due, err)
		}
	})
}

// A rotated key is reason to renew, a revoked one besides to show no more what it signed; that it is revoked the issuer's document says, not the offer.
func TestARevokedKeyIsLookedForInTheIssuersDocument(t *testing.T) {
	for name, revoked := range map[string]bool{"the key is gone": true, "the key is still there": false} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, b *bench) {
				check(t, b.bring(b.ask("MembershipCredential"), b.membership(made{id: "urn:1"})))
				next := newAuthority(t, meridian, "2")
				if revoked {
					b.publish(meridian, document(meridian, next))
				} else {
					b.publish(meridian, document(meridian, b.authority, next))
				}
				pass(time.Minute)
				check(t, b.offer(meridian, wallet.Object{ID: "membership", Reason: credential.ReasonRevokedKey}))
				pass(time.Minute)
				if shown := len(b.held()) == 1; shown == revoked {
					t.Errorf("shown: %t, withdrawn %d times", shown, b.count("credential.withdrawn"))
				}
				o := b.offers()[0]
				if o.State != wallet.Accepted {
					t.Fatalf("%+v", o)
				}
				b.authority = next
				check(t, b.bring(b.request(o.Request), b.membership(made{id: "urn:2"})))
				if got := b.kept(); !slices.Equal(got, []string{"urn:2"}) || len(b.held()) != 1 {
					t.Errorf("kept %v, shown %v", got, b.held())
				}
			})
		})
	}
}
