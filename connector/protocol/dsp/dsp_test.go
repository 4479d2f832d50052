package dsp_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy/odrl"
)

const context = `"@context":["https://w3id.org/dspace/2025/1/context.jsonld"]`

var offered = odrl.Policy{ID: "urn:offer", Permission: []odrl.Rule{{Action: "use", Constraint: []odrl.Constraint{{And: []odrl.Constraint{
	{LeftOperand: "Membership", Operator: "eq", RightOperand: []string{"active"}}, {LeftOperand: "UsagePurpose", Operator: "isAnyOf", RightOperand: []string{"cx.pcf.base:1"}, List: true}}}}}}}

func TestWhatIsWrittenReadsBackTheSame(t *testing.T) {
	t.Parallel()
	offer := &negotiation.Offer{ID: "urn:offer", Target: "urn:asset", Policy: offered}
	contract := &negotiation.Contract{ID: "urn:agreement", Target: "urn:asset", Assigner: "did:web:p.example", Assignee: "did:web:c.example",
		Signed: time.Date(2026, 11, 24, 9, 0, 0, 123000000, time.UTC), Policy: offered}
	contract.Policy.ID = "urn:agreement"
	for _, tt := range []struct {
		m       negotiation.Message
		initial bool
		path    string
	}{
		{negotiation.Message{Kind: negotiation.Request, ConsumerPID: "urn:c", Callback: "https://c.example/dsp", Offer: offer}, true, "/negotiations/request"},
		{negotiation.Message{Kind: negotiation.Request, ConsumerPID: "urn:c", ProviderPID: "urn:p", Offer: offer}, false, "/negotiations/urn:p/request"},
		{negotiation.Message{Kind: negotiation.OfferMessage, ProviderPID: "urn:p", Callback: "https://p.example/dsp", Offer: offer}, true, "/negotiations/offers"},
		{negotiation.Message{Kind: negotiation.OfferMessage, ConsumerPID: "urn:c", ProviderPID: "urn:p", Offer: offer}, false, "/negotiations/urn:c/offers"},
		{negotiation.Message{Kind: negotiation.Agreement, ConsumerPID: "urn:c", ProviderPID: "urn:p", Contract: contract}, false, "/negotiations/urn:c/agreement"},
		{negotiation.Message{Kind: negotiation.Verification, ConsumerPID: "urn:c", ProviderPID: "urn:p"}, false, "/negotiations/urn:p/agreement/verification"},
		{negotiation.Message{Kind: negotiation.Acceptance, ConsumerPID: "urn:c", ProviderPID: "urn:p"}, false, "/negotiations/urn:p/events"},
		{negotiation.Message{Kind: negotiation.Finalization, ConsumerPID: "urn:c", ProviderPID: "urn:p"}, false, "/negotiations/urn:c/events"},
		{negotiation.Message{Kind: negotiation.Termination, ConsumerPID: "urn:c", ProviderPID: "urn:p", Code: "x", Reasons: []string{"größer"}}, false, "/negotiations/urn:p/termination"},
	} {
		path, body, err := dsp.Codec{}.EncodeNegotiation(tt.m)
		if err != nil || path != tt.path {
			t.Errorf("%s: path %q, %v; want %q", tt.m.Kind, path, err, tt.path)
		}
		for _, empty := range []string{":[]", ":null", `:""`} {
			if strings.Contains(string(body), empty) {
				t.Errorf("%s holds an empty member: %s", tt.m.Kind, body)
			}
		}
		got, err := dsp.ParseNegotiation(tt.m.Kind, tt.initial, body)
		if err != nil {
			t.Errorf("%s: %v", tt.m.Kind, err)
			continue
		}
		got.Raw = nil
		if !reflect.DeepEqual(got, tt.m) {
			t.Errorf("%s came back as\n%+v, want\n%+v", tt.m.Kind, got, tt.m)
		}
	}
	address := &transfer.Address{EndpointType: "https://w3id.org/idsa/v4.1/HTTP", Endpoint: "https://p.example/data", Properties: map[string]string{transfer.PropertyToken: "x", transfer.PropertyAuthType: "bearer"}}
	for _, m := range []transfer.Message{
		{Kind: transfer.Request, ConsumerPID: "urn:c", AgreementID: "urn:a", Format: "HttpData-PULL", Callback: "https://c.example/dsp"},
		{Kind: transfer.Start, ConsumerPID: "urn:c", ProviderPID: "urn:p", Address: address},
		{Kind: transfer.Suspension, ConsumerPID: "urn:c", ProviderPID: "urn:p", Code: "x", Reasons: []string{"y"}},
		{Kind: transfer.Completion, ConsumerPID: "urn:c", ProviderPID: "urn:p"},
		{Kind: transfer.Termination, ConsumerPID: "urn:c", ProviderPID: "urn:p"},
	} {
		_, body, err := dsp.Codec{}.EncodeTransfer(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dsp.ParseTransfer(m.Kind, body)
		got.Raw = nil
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s came back as %+v, %v", m.Kind, got, err)
		}
	}
}

func TestAMessageThatIsNotWhatItsPathSaysIsRefusedByName(t *testing.T) {
	t.Parallel()
	const offer = `"offer":{"@type":"Offer","@id":"urn:o","target":"urn:t","permission":[{"action":"use"}]}`
	good := `{` + context + `,"@type":"ContractRequestMessage","consumerPid":"urn:c","callbackAddress":"https://c.example",` + offer + `}`
	if _, err := dsp.ParseNegotiation(negotiation.Request, true, []byte(good)); err != nil {
		t.Fatalf("the message that the others are made from: %v", err)
	}
	swap := func(old, new string) string {
		t.Helper()
		out := strings.Replace(good, old, new, 1)
		if out == good {
			t.Fatalf("%q is not there to be replaced", old)
		}
		return out
	}
	for name, tt := range map[string]struct{ text, want string }{
		"another type":                   {swap("ContractRequestMessage", "ContractOfferMessage"), "@type"},
		"a type with a foreign prefix":   {swap("ContractRequestMessage", "x:ContractRequestMessage"), "@type"},
		"no context":                     {swap(context, `"x":1`), "@context"},
		"a context that is a number":     {swap(`["https://w3id.org/dspace/2025/1/context.jsonld"]`, `7`), "@context"},
		"a context with a term":          {swap(`.jsonld"]`, `.jsonld",{"offer":"https://evil.example/"}]`), "@context"},
		"a context that is not known":    {swap(`.jsonld"]`, `.jsonld","https://evil.example/c"],"surprise":7`), "known context"},
		"another context":                {swap("2025/1/context", "2024/1/context"), "@context"},
		"no consumerPid":                 {swap(`"consumerPid":"urn:c",`, ``), "consumerPid"},
		"a consumerPid that is a number": {swap(`"urn:c"`, `7`), "consumerPid"},
		"no callback address":            {swap(`"callbackAddress":"https://c.example",`, ``), "callbackAddress"},
		"both pid and callback address":  {swap(`"callbackAddress"`, `"providerPid":"urn:p","callbackAddress"`), "providerPid"},
		"no offer":                       {swap(offer, `"x":1`), "offer"},
		"an offer that is an id":         {swap(offer, `"offer":"urn:o"`), "offer"},
		"an offer without type":          {swap(`"@type":"Offer",`, ``), "offer/@type"},
		"a set instead of an offer":      {swap(`"@type":"Offer"`, `"@type":"Set"`), "offer/@type"},
		"an offer without target":        {swap(`"target":"urn:t",`, ``), "offer/target"},
		"an offer without rules":         {swap(`"permission":[{"action":"use"}]`, `"obligation":[{"action":"use"}]`), "permission"},
		"a member twice":                 {swap(`"@type"`, `"consumerPid":"urn:x","@type"`), "duplicate"},
		"a member in another case twice": {swap(`"@type"`, `"CONSUMERPID":"urn:x","@type"`), "duplicate"},
		"a member in another case":       {swap(`"consumerPid"`, `"CONSUMERPID"`), "exactly this spelling"},
		"a member with a Kelvin sign":    {swap(`"callbackAddress"`, `"callbac\u212aAddress"`), "exactly this spelling"},
		"control characters":             {swap(`urn:c`, `urn:\u0007c`), "consumerPid"},
		"a pid that is too long":         {swap(`urn:c`, strings.Repeat("x", 3000)), "consumerPid"},
		"bytes behind it":                {good + "{}", "nothing after"},
		"half of it":                     {good[:len(good)/2], "byte"},
		"too deep":                       {swap(`"action":"use"`, `"action":"use","x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)), "levels"},
		"too large":                      {good + strings.Repeat(" ", 2<<20), "bytes"},
	} {
		_, err := dsp.ParseNegotiation(negotiation.Request, true, []byte(tt.text))
		if !fault.Is(err, fault.Malformed) && !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to name %q", name, err, tt.want)
		}
	}
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	t.Parallel()
	text := `{` + context + `,"@id":"urn:random","@type":"ContractAgreementVerificationMessage","consumerPid":"urn:c","providerPid":"urn:p","more":{"a":[1]}}`
	if _, err := dsp.ParseNegotiation(negotiation.Verification, false, []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestAPeersAnswerIsReadWhateverItLooksLike(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]dsp.Answer{
		``:     {},
		`nope`: {},
		`{"providerPid":"urn:p","consumerPid":"urn:c","state":"REQUESTED"}`: {ProviderPID: "urn:p", ConsumerPID: "urn:c", State: "REQUESTED"},
		`{"code":404,"reason":"a text"}`:                                    {Reasons: []string{"a text"}},
		`{"code":"x","reason":["a",{"@value":"b","@language":"en"},7]}`:     {Code: "x", Reasons: []string{"a", "b", "7"}},
		"{\"reason\":[\"\\u001b[2Jclear\"]}":                                {Reasons: []string{"\uFFFD[2Jclear"}},
	} {
		if got := dsp.ParseAnswer([]byte(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestAFilterThatLeavesSomethingOutIsRefused(t *testing.T) {
	t.Parallel()
	const all = `{"@type":"QuerySpec","limit":50,"offset":0,"sortOrder":"ASC","filterExpression":[]}`
	for filter, legal := range map[string]bool{
		"":                 true,
		all:                true,
		all + "," + all:    true,
		`{}`:               false,
		`"name = 'x'"`:     false,
		`{"@type":"Else"}`: false,
		strings.Replace(all, `"offset":0`, `"offset":50`, 1):                                      false,
		strings.Replace(all, `[]`, `[{"operandLeft":"id","operator":"=","operandRight":"x"}]`, 1): false,
		strings.Replace(all, `[]`, `{"operandLeft":"id","operator":"=","operandRight":"x"}`, 1):   false,
		strings.Replace(all, `"limit"`, `"sortField":"id","limit"`, 1):                            false,
		all + `,{"@type":"QuerySpec","filterExpression":[{"operandLeft":"id"}]}`:                  false,
	} {
		err := dsp.ParseCatalogRequest([]byte(`{` + context + `,"@type":"CatalogRequestMessage","filter":[` + filter + `]}`))
		if (err == nil) != legal || err != nil && !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %v, want legal %t", filter, err, legal)
		}
	}
}

func TestVersionsAreReadInBothSpellings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"protocolVersions":[{"version":"0.8","path":"/"},{"version":"2025-1","path":"/dsp/2025-1","binding":"HTTPS"}]}`: "/dsp/2025-1",
		`{"protocolVersions":[{"version":"2025/1","path":"/x"}]}`:                                                         "/x",
		`{"protocolVersions":[{"version":"2024-1","path":"/x"}]}`:                                                         "",
		`{"protocolVersions":[{"version":"2025-1","path":"x"}]}`:                                                          "",
		`{"protocolVersions":[{"version":"2025-1","path":"/x","binding":"MQTT"},{"version":"2025-1","path":"/y","binding":"HTTPS"},{"version":"2025-1","path":"/z","binding":"HTTPS"}]}`: "/y",
		`{"protocolVersions":[{"version":"2025-1","path":"x"},{"version":"2025-1","path":"/y","auth":{"protocol":"DCP","version":"1.0","profile":"x"}}]}`:                                "/y",
		`{"protocolVersions":[{"version":"2025-1","path":"/x","binding":"MQTT"}]}`:                                                                                                       "",
		`{"@context":{"dspace":"https://w3id.org/dspace/2024/1/"},"dspace:protocolVersions":{"dspace:version":"2025/1","dspace:path":"/x"}}`:                                             "/x",
		`{"@context":"https://evil.example/c","x:protocolVersions":[{"x:version":"2025-1","x:path":"/x"}]}`:                                                                              "",
		`{"protocolVersions":[{"version":"2025-1","path":"/../x"}]}`:                                                                                                                     "",
		`{}`: "",
	} {
		if got, err := dsp.ParseVersions([]byte(text)); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
}

// negotiations and transfers are all kinds of messages; a fuzzer picks one by its number.
var (
	negotiations = []negotiation.Kind{negotiation.Request, negotiation.OfferMessage, negotiation.Agreement, negotiation.Verification, negotiation.Acceptance,
		negotiation.Finalization, negotiation.Termination}
	transfers = []transfer.Kind{transfer.Request, transfer.Start, transfer.Completion, transfer.Suspension, transfer.Termination}
)

// policyless takes out what is compared by its meaning.
func policyless(m negotiation.Message) (negotiation.Message, odrl.Policy) {
	var p odrl.Policy
	m.Raw = nil
	if m.Offer != nil {
		o := *m.Offer
		p, o.Policy, m.Offer = o.Policy, odrl.Policy{}, &o
	}
	if m.Contract != nil {
		c := *m.Contract
		p, c.Policy, m.Contract = c.Policy, odrl.Policy{}, &c
	}
	return m, p
}

func FuzzParseNegotiation(f *testing.F) {
	const terms = `"@id":"urn:o","target":"urn:t","permission":[{"action":"use","constraint":[{"leftOperand":"a","operator":"eq","rightOperand":["x"]}]}]}`
	const pids = `"consumerPid":"urn:c","providerPid":"urn:p"`
	for i, body := range []string{
		`"@type":"ContractRequestMessage",` + pids + `,"offer":{"@type":"Offer",` + terms,
		`"@type":"ContractOfferMessage",` + pids + `,"offer":{"@type":"Offer",` + terms,
		`"@type":"ContractAgreementMessage",` + pids + `,"agreement":{"@type":"Agreement","assigner":"did:web:p","assignee":"did:web:c","timestamp":"2026-11-24T09:00:00Z",` + terms,
		`"@type":"ContractAgreementVerificationMessage",` + pids,
		`"@type":"ContractNegotiationEventMessage","eventType":"ACCEPTED",` + pids,
		`"@type":"ContractNegotiationEventMessage","eventType":"FINALIZED",` + pids,
		`"@type":"ContractNegotiationTerminationMessage","code":"x","reason":["y",{"@value":"z"}],` + pids,
	} {
		f.Add(uint8(i), false, []byte(`{`+context+`,`+body+`}`))
		if _, err := dsp.ParseNegotiation(negotiations[i], false, []byte(`{`+context+`,`+body+`}`)); err != nil {
			f.Fatalf("%s: %v", negotiations[i], err)
		}
	}
	f.Add(uint8(0), true, []byte(`{`+context+`,"@type":"ContractRequestMessage","consumerPid":"urn:c","callbackAddress":"https://c.example","offer":{"@type":"Offer",`+terms+`}`))
	f.Add(uint8(1), true, []byte(`{`+context+`,"@type":"ContractOfferMessage","providerPid":"urn:p","callbackAddress":"https://p.example","offer":{"@type":"Offer",`+terms+`}`))
	f.Fuzz(func(t *testing.T, kind uint8, initial bool, body []byte) {
		initial = initial && kind%uint8(len(negotiations)) < 2 // the two that may begin a process
		m, err := dsp.ParseNegotiation(negotiations[int(kind)%len(negotiations)], initial, body)
		if err != nil {
			return
		}
		if !initial {
			m.Callback = "" // read and not meant
		}
		path, again, err := dsp.Codec{}.EncodeNegotiation(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := dsp.ParseNegotiation(m.Kind, initial, again)
		want, policy := policyless(m)
		got, same := policyless(back)
		if err != nil || !reflect.DeepEqual(got, want) || !odrl.Equal(same, policy) {
			t.Fatalf("%s was accepted as\n%+v and reads back as\n%+v, %v", body, m, back, err)
		}
		if n := strings.Count(path, "/"); n > 4 || n < 2 {
			t.Errorf("%q goes to %s", body, path)
		}
	})
}

func FuzzParseTransfer(f *testing.F) {
	const pids = `"consumerPid":"urn:c","providerPid":"urn:p"`
	for i, body := range []string{
		`"@type":"TransferRequestMessage","consumerPid":"urn:c","agreementId":"urn:a","format":"HttpData-PULL","callbackAddress":"https://c.example"`,
		`"@type":"TransferStartMessage","dataAddress":{"@type":"DataAddress","endpointType":"x","endpointProperties":[{"@type":"EndpointProperty","name":"a","value":"b"}]},` + pids,
		`"@type":"TransferCompletionMessage",` + pids,
		`"@type":"TransferSuspensionMessage","code":"x","reason":["y"],` + pids,
		`"@type":"TransferTerminationMessage","code":"x","reason":[7],` + pids,
	} {
		f.Add(uint8(i), []byte(`{`+context+`,`+body+`}`))
		if _, err := dsp.ParseTransfer(transfers[i], []byte(`{`+context+`,`+body+`}`)); err != nil {
			f.Fatalf("%s: %v", transfers[i], err)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		m, err := dsp.ParseTransfer(transfers[int(kind)%len(transfers)], body)
		if err != nil {
			return
		}
		_, again, err := dsp.Codec{}.EncodeTransfer(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := dsp.ParseTransfer(m.Kind, again)
		m.Raw, back.Raw = nil, nil
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%s was accepted as\n%+v and reads back as\n%+v, %v", body, m, back, err)
		}
	})
}

func FuzzParseCatalog(f *testing.F) {
	f.Add([]byte(`{` + context + `,"@id":"c","@type":"Catalog","participantId":"did:web:p","dataset":[{"@id":"d","hasPolicy":[{"@id":"o","@type":"Offer","permission":[{"action":"use"}]}],"distribution":[{"format":"HttpData-PULL"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := dsp.ParseCatalog(body)
		for _, d := range c.Datasets {
			if err == nil && (d.ID == "" || len(d.Offers) == 0) {
				t.Errorf("a dataset without id or offer from %s", body)
			}
		}
	})
}

func BenchmarkParseRequest(b *testing.B) {
	_, body, err := dsp.Codec{}.EncodeNegotiation(negotiation.Message{Kind: negotiation.Request, ConsumerPID: "urn:c", Callback: "https://c.example/dsp",
		Offer: &negotiation.Offer{ID: "urn:offer", Target: "urn:asset", Policy: offered}})
	if err != nil {
		b.Fatal(err)
	}
	if !json.Valid(body) {
		b.Fatal("not JSON")
	}
	for b.Loop() {
		if _, err := dsp.ParseNegotiation(negotiation.Request, true, body); err != nil {
			b.Fatal(err)
		}
	}
}
