package dsp_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// shape is a message as another implementation writes it.
func shape(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/shapes/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func member(of ...odrl.Constraint) []odrl.Rule {
	return []odrl.Rule{{Action: "use", Constraint: append([]odrl.Constraint{}, of...)}}
}

var active = odrl.Constraint{LeftOperand: "Membership", Operator: "eq", RightOperand: []string{"active"}}

func TestNegotiationMessagesOfOtherImplementationsMeanTheSame(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]negotiation.Message{
		"edc-offer": {Kind: negotiation.OfferMessage, Offer: &negotiation.Offer{ID: "urn:offer:7a", Target: "urn:asset:7",
			Policy: odrl.Policy{ID: "urn:offer:7a", Permission: member(active)}}},
		"edc-agreement": {Kind: negotiation.Agreement, Callback: "https://p.example/dsp/2025-1", Contract: &negotiation.Contract{ID: "urn:uuid:agreement", Target: "urn:asset:7",
			Assigner: "did:web:p.example", Assignee: "did:web:c.example", Signed: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
			Policy: odrl.Policy{ID: "urn:uuid:agreement", Permission: member(active)}}},
		"edc-termination": {Kind: negotiation.Termination, Code: "409", Reasons: []string{"the policy is not fulfilled"}},
		"edc-event":       {Kind: negotiation.Finalization},
	} {
		want.ConsumerPID, want.ProviderPID, want.Raw = "urn:uuid:c", "urn:uuid:p", shape(t, name)
		if bytes.Contains(want.Raw, []byte(`"urn:uuid:message"`)) {
			want.ID = "urn:uuid:message"
		}
		got, err := dsp.ParseNegotiation(want.Kind, false, want.Raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v, %v, want\n%+v", name, got, err, want)
		}
		if !bytes.Equal(got.Raw, shape(t, name)) {
			t.Errorf("%s: what is kept is not what was received", name)
		}
	}
}

func TestTransferStartsOfOtherImplementationsMeanTheSame(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"edc-start", "edc-start-direct"} {
		body := shape(t, name)
		got, err := dsp.ParseTransfer(transfer.Start, body)
		if err != nil || got.Address == nil {
			t.Errorf("%s: %+v, %v, want a start with an address", name, got, err)
			continue
		}
		if got.ConsumerPID != "urn:uuid:c" || got.ProviderPID != "urn:uuid:p" || string(got.Raw) != string(body) {
			t.Errorf("%s: %s and %s, want both pids and the bytes as they came", name, got.ConsumerPID, got.ProviderPID)
		}
		if a := got.Address; a.EndpointType != "https://w3id.org/idsa/v4.1/HTTP" || a.Endpoint != "https://p.example/public" || a.Properties[transfer.PropertyToken] != "secret" {
			t.Errorf("%s: address %+v, want where to pull from and the token", name, a)
		}
	}
}

func TestThePlainNameOfTheTokenIsReadAsWell(t *testing.T) {
	t.Parallel()
	body := []byte(`{"@context":["https://w3id.org/dspace/2025/1/context.jsonld"],"@type":"TransferStartMessage","consumerPid":"urn:uuid:c","providerPid":"urn:uuid:p",` +
		`"dataAddress":{"@type":"DataAddress","endpointType":"https://w3id.org/idsa/v4.1/HTTP","endpoint":"https://p.example/public",` +
		`"endpointProperties":[{"@type":"EndpointProperty","name":"authorization","value":"secret"}]}}`)
	got, err := dsp.ParseTransfer(transfer.Start, body)
	if err != nil || got.Address == nil || got.Address.Properties[transfer.PropertyToken] != "secret" {
		t.Errorf("%+v, %v, want the token", got.Address, err)
	}
}

func TestACatalogOfAnotherImplementationMeansTheSame(t *testing.T) {
	t.Parallel()
	want := catalog.Remote{ID: "urn:uuid:catalog", Participant: "did:web:p.example", Endpoint: "https://p.example/dsp/2024/1", Datasets: []catalog.RemoteDataset{{
		ID: "urn:asset:7", Title: "Cell 7", Formats: []string{"HttpData-PULL"}, Offers: []catalog.RemoteOffer{{ID: "urn:offer:7a",
			Policy: odrl.Policy{ID: "urn:offer:7a", Permission: member(odrl.Constraint{And: []odrl.Constraint{active,
				{Or: []odrl.Constraint{{LeftOperand: "UsagePurpose", Operator: "isAnyOf", RightOperand: []string{"cx.pcf.base:1"}, List: true}}}}})}}}}}}
	if got, err := dsp.ParseCatalog(shape(t, "edc-catalog")); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, %v, want\n%+v", got, err, want)
	}
}

func TestAnswersOfOtherImplementationsMeanTheSame(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]dsp.Answer{
		"edc-error": {ConsumerPID: "urn:uuid:c", ProviderPID: "urn:uuid:p", Code: "400", Reasons: []string{"no such offer"}},
		"edc-state": {ConsumerPID: "urn:uuid:c", ProviderPID: "urn:uuid:p", State: "AGREED"},
	} {
		if got := dsp.ParseAnswer(shape(t, name)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestATermThatIsNotKnownIsRefusedInAnyClothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"edc-offer", "edc-agreement"} {
		kind := map[string]negotiation.Kind{"edc-offer": negotiation.OfferMessage, "edc-agreement": negotiation.Agreement}[name]
		body := string(shape(t, name))
		for _, term := range []string{"refinement", "odrl:refinement", "http://www.w3.org/ns/odrl/2/refinement", "odrl:Permission", "dct:format", "edc:permission", "x:permission", "@graph",
			"@context", "Constraint"} {
			for _, before := range []string{`"odrl:action":`, `"action":`, `"odrl:leftOperand":`, `"leftOperand":`, `"odrl:target":`, `"target":`} {
				odd := strings.Replace(body, before, `"`+term+`":"x",`+before, 1)
				if odd == body {
					continue
				}
				if _, err := dsp.ParseNegotiation(kind, false, []byte(odd)); !fault.Is(err, fault.Malformed) {
					t.Errorf("%s with %s before %s: %v", name, term, before, err)
				}
			}
		}
	}
}

// dress writes a policy in the JSON-LD of somebody who chooses anew at every place: prefixes, whole IRIs, wrapped values, no lists of one.
func dress(r *rand.Rand, key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, inner := range v {
			inner = dress(r, name, inner)
			if !strings.HasPrefix(name, "@") {
				name = []string{"", "odrl:", "http://www.w3.org/ns/odrl/2/", "o:"}[r.IntN(4)] + name
			}
			out[name] = inner
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			out = append(out, dress(r, key, item))
		}
		switch {
		case len(out) == 1 && key != "rightOperand" && r.IntN(2) == 0:
			return out[0]
		case r.IntN(3) == 0:
			return map[string]any{"@list": out}
		}
		return out
	case string:
		if key == "@type" || key == "@id" {
			return v
		}
		if key == "action" || key == "operator" {
			v = []string{"", "odrl:", "http://www.w3.org/ns/odrl/2/", "o:"}[r.IntN(4)] + v
		}
		switch r.IntN(4) {
		case 0:
			return map[string]any{"@value": v}
		case 1:
			return map[string]any{"@value": v, "@type": "xsd:string"}
		case 2:
			if key != "rightOperand" {
				return map[string]any{"@id": v}
			}
		}
	}
	return v
}

func someConstraints(r *rand.Rand, depth int) []odrl.Constraint {
	var out []odrl.Constraint
	for range 1 + r.IntN(2) {
		c := odrl.Constraint{}
		switch to := []*[]odrl.Constraint{&c.And, &c.Or, &c.Xone, &c.AndSequence, nil, nil, nil}[r.IntN(7)]; {
		case to != nil && depth < 1:
			*to = someConstraints(r, depth+1)
		default:
			c = odrl.Constraint{LeftOperand: []string{"Membership", "UsagePurpose", "urn:x:y"}[r.IntN(3)], Operator: []string{"eq", "isAnyOf", "neq"}[r.IntN(3)],
				RightOperand: []string{"active", "odrl:eq"}[:1+r.IntN(2)], List: true}
			if len(c.RightOperand) == 1 {
				c.List = r.IntN(2) == 0
			}
		}
		out = append(out, c)
	}
	return out
}

func TestAPolicyInClothingHasTheDigestOfItsPlainForm(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := odrl.Policy{ID: "urn:offer", Permission: []odrl.Rule{{Action: "use", Constraint: someConstraints(r, 0)}}}
		if r.IntN(2) == 0 {
			p.Prohibition = []odrl.Rule{{Action: "use", Constraint: someConstraints(r, 0)}}
		}
		plain, err := odrl.Marshal(p, odrl.Parties{Kind: "Offer", Target: "urn:asset"})
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(plain, &tree); err != nil {
			t.Fatal(err)
		}
		offer := dress(r, "", tree)
		parse := func(offer any) (negotiation.Message, []byte, error) {
			body, err := json.Marshal(map[string]any{"@context": []any{dsp.Context, map[string]any{"o": "http://www.w3.org/ns/odrl/2/"}}, "@type": "ContractOfferMessage",
				"consumerPid": "urn:c", "providerPid": "urn:p", "offer": offer})
			if err != nil {
				t.Fatal(err)
			}
			m, err := dsp.ParseNegotiation(negotiation.OfferMessage, false, body)
			return m, body, err
		}
		m, body, err := parse(offer)
		if err != nil || odrl.Digest(m.Offer.Policy) != odrl.Digest(p) {
			t.Fatalf("seed %d: %s\nwas read as %+v, %v\nand is %s", seed, body, m.Offer, err, plain)
		}
		if _, body, err := parse(oddly(r, offer)); !fault.Is(err, fault.Malformed) {
			t.Fatalf("seed %d: an unknown term was read: %s, %v", seed, body, err)
		}
	}
}

// oddly adds one unknown member somewhere among the rules.
func oddly(r *rand.Rand, offer any) any {
	var places []map[string]any
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["@value"] == nil && v["@id"] == nil && v["@list"] == nil {
				places = append(places, v)
			}
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(v[name])
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(offer)
	places[r.IntN(len(places))][[]string{"unknown", "odrl:refinement", "o:refinement", "https://x.example/y", "dct:format", "z:permission"}[r.IntN(6)]] = "x"
	return offer
}

func FuzzMessagesInClothing(f *testing.F) {
	for _, name := range []string{"edc-offer", "edc-agreement", "edc-termination", "edc-event"} {
		f.Add(shape(f, name))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range []negotiation.Kind{negotiation.OfferMessage, negotiation.Agreement, negotiation.Termination, negotiation.Finalization} {
			m, err := dsp.ParseNegotiation(kind, false, body)
			if err != nil {
				continue
			}
			m.ToConsumer = true
			_, plain, err := dsp.Codec{}.EncodeNegotiation(m)
			if err != nil {
				t.Fatal(err)
			}
			back, err := dsp.ParseNegotiation(m.Kind, false, plain)
			if err != nil || !json.Valid(plain) {
				t.Fatalf("%s was accepted and reads back as %v", body, err)
			}
			back.Raw, m.Raw, back.Callback, m.Callback, m.ToConsumer = nil, nil, "", "", false
			if !reflect.DeepEqual(back, m) {
				t.Fatalf("%s was accepted as\n%+v and reads back as\n%+v", body, m, back)
			}
		}
	})
}

// The pair of BenchmarkParseRequest: only what is not in the plain form pays for being read twice.
func BenchmarkParseOfferInClothing(b *testing.B) {
	body := shape(b, "edc-offer")
	for b.Loop() {
		if _, err := dsp.ParseNegotiation(negotiation.OfferMessage, false, body); err != nil {
			b.Fatal(err)
		}
	}
}
