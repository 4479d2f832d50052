package doctor

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
)

// kept is how long a copy of a document may be kept on the way: it says max-age=300.
const kept = 5 * time.Minute

// documents checks that the DID of each participant is reached, and that what is served there is what the store says.
func (x *examination) documents(ctx context.Context) {
	for _, p := range x.locals() {
		check, v := "DID of "+p.Slug, x.visits[p.DID]
		switch {
		case v.err != nil && !x.serving:
			x.add(check, Warning, "not looked at: the connector does not run", x.serve())
		case v.err != nil:
			u := x.explain(v)
			x.add(check, Fault, u.why+": no peer can tell who "+p.Slug+" is", u.ours)
		default:
			x.add(check, OK, string(p.DID), "")
			x.document(ctx, p, v)
		}
	}
}

// purposes are what the document lists the keys of a use for.
var purposes = map[string][]identity.Relationship{
	string(identity.UseToken): {identity.CapabilityInvocation, identity.Authentication},
	string(identity.UseIssue): {identity.AssertionMethod},
}

// document holds a document that is served against the keys and services that the store knows.
func (x *examination) document(ctx context.Context, p participant.Participant, v *visit) {
	if x.store == nil {
		return
	}
	check := "document of " + p.Slug
	ring, err := x.store.Keyring(ctx, p.Slug)
	switch {
	case fault.Is(err, fault.NotFound):
		return // said already
	case err != nil:
		x.add(check, Fault, err.Error(), "sluice keys list -p "+p.Slug)
		return
	}
	before := len(x.findings)
	x.published(check, p, v, ring.Keys)
	x.served(ctx, check, p, v)
	if len(x.findings) == before {
		x.add(check, OK, "its keys and services are those of the store", "")
	}
}

// published compares keys.
func (x *examination) published(check string, p participant.Participant, v *visit, keys []store.Key) {
	mend := fmt.Sprintf("let %s lead to this connector, and empty what keeps copies on the way; compare: curl -s %s, sluice keys list -p %s", v.url, v.url, p.Slug)
	own := map[string]store.Key{}
	for _, k := range keys {
		id := string(p.DID) + "#" + k.ID
		if len(purposes[k.Use]) == 0 {
			continue
		}
		own[id] = k
		if !keyring.Published(k) {
			continue
		}
		switch why := differs(v.document, id, k); {
		case why == "":
		case k.State == store.KeyCreated && x.cfg.Now().Sub(k.Created) < kept:
			x.add(check, Warning, fmt.Sprintf("the new key %s is not there yet: copies on the way may be %s old", k.ID, kept), mend)
		default:
			x.add(check, Fault, fmt.Sprintf("the %s key %s %s: peers refuse what it signs", k.State, k.ID, why), mend)
		}
	}
	for _, id := range v.document.KeyIDs() {
		switch k, known := own[id]; {
		case !known:
			x.add(check, Fault, fmt.Sprintf("it lists %s, a key that is not ours: whoever holds it can speak in our name", id), mend)
		case k.State == store.KeyRevoked:
			x.add(check, Fault, fmt.Sprintf("it still lists the revoked key %s: peers go on believing whoever has it", k.ID), mend)
		case k.State == store.KeyRetired:
			x.add(check, Warning, fmt.Sprintf("it still lists the retired key %s", k.ID), mend)
		}
	}
}

// differs says how a document has a key otherwise than the store does; "" when it does not.
func differs(d *identity.Document, id string, k store.Key) string {
	if !slices.Contains(d.KeyIDs(), id) {
		return "is missing"
	}
	want, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return "cannot be read in the store"
	}
	for _, purpose := range purposes[k.Use] {
		have, err := d.Key(id, purpose)
		if err != nil {
			return "is not listed under " + string(purpose)
		}
		if same, ok := want.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(have) {
			return "stands there with other bytes"
		}
	}
	return ""
}

// served compares services: each must be there, once, at public.host.
func (x *examination) served(ctx context.Context, check string, p participant.Participant, v *visit) {
	_, err := x.store.Authority(ctx, p.ID)
	mend := fmt.Sprintf("settings key public.host, or what changes the document on the way; compare: curl -s %s", v.url)
	for _, want := range connector.Services(p, x.origin()+"/"+p.Slug, err == nil) {
		var there []string
		for _, s := range v.document.Services {
			if s.Type == want.Type {
				there = append(there, s.Endpoint)
			}
		}
		switch {
		case len(there) == 0:
			x.add(check, Fault, fmt.Sprintf("it lists no %s: peers do not find it", want.Type), mend)
		case !slices.Contains(there, want.Endpoint):
			x.add(check, Fault, fmt.Sprintf("its %s is at %s, and should be at %s", want.Type, sentence(there), want.Endpoint), mend)
		case want.Type == "CredentialService" && len(there) > 1:
			x.add(check, Fault, fmt.Sprintf("it lists %d credential services: peers ask the one or the other", len(there)), mend)
		}
	}
}
