package dcp_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
)

// compact is an unsigned JWT of the payload, which is all that the form of a container is judged by.
func compact(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

const (
	payloadV1 = `{"vc":{"@context":["https://www.w3.org/2018/credentials/v1"]}}`
	payloadV2 = `{"@context":["https://www.w3.org/ns/credentials/v2"]}`
)

var whole = dcp.CredentialObject{ID: "urn:x:membership", CredentialType: "MembershipCredential", Schema: "https://w3id.org/catenax/schemas/v1.0.0/membership.json",
	BindingMethods: []string{"did:web"}, Profile: credential.Profile11, Policy: json.RawMessage(`{"id":"p"}`), Reason: credential.ReasonReissue}

// again writes a message and reads it back.
func again[T any](t *testing.T, m T, encode func(T) ([]byte, error), parse func([]byte) (T, error)) {
	t.Helper()
	body, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := parse(body)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if diff := cmp.Diff(m, back); diff != "" {
		t.Errorf("%s (-written +read):\n%s", body, diff)
	}
}

func TestTheMessagesOfIssuanceReadBackTheSame(t *testing.T) {
	t.Parallel()
	again(t, dcp.CredentialRequest{HolderPID: "urn:uuid:1", Credentials: []string{"a", "b"}}, dcp.EncodeCredentialRequest, dcp.ParseCredentialRequest)
	again(t, dcp.CredentialMessage{IssuerPID: "i", HolderPID: "h", Status: dcp.StatusIssued,
		Credentials: []dcp.Container{{CredentialType: "A", Payload: "a.b.c", Format: credential.Profile20}}}, dcp.EncodeCredentialMessage, dcp.ParseCredentialMessage)
	again(t, dcp.CredentialMessage{IssuerPID: "i", HolderPID: "h", Status: dcp.StatusRejected, Reason: "not a member"}, dcp.EncodeCredentialMessage, dcp.ParseCredentialMessage)
	again(t, dcp.CredentialOffer{Issuer: "did:web:meridian.example", Credentials: []dcp.CredentialObject{whole}}, dcp.EncodeCredentialOffer, dcp.ParseCredentialOffer)
	again(t, dcp.IssuerMetadata{Issuer: "did:web:meridian.example", Credentials: []dcp.CredentialObject{whole}}, dcp.EncodeIssuerMetadata, dcp.ParseIssuerMetadata)
	again(t, dcp.IssuerMetadata{Issuer: "did:web:meridian.example"}, dcp.EncodeIssuerMetadata, dcp.ParseIssuerMetadata)
	for _, status := range []string{dcp.StatusReceived, dcp.StatusIssued, dcp.StatusRejected} {
		again(t, dcp.CredentialStatus{IssuerPID: "i", HolderPID: "h", Status: status}, dcp.EncodeCredentialStatus, dcp.ParseCredentialStatus)
	}
}

// The schema of the message declares its constant under another name, and knows no null.
func TestADeliveryIsSentAsTextAndSchemaAllowIt(t *testing.T) {
	t.Parallel()
	body, err := dcp.EncodeCredentialMessage(dcp.CredentialMessage{IssuerPID: "i", HolderPID: "h", Status: dcp.StatusRejected})
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		t.Fatal(err)
	}
	if string(top["type"]) != `"CredentialMessage"` || top["credentialType"] != nil || top["rejectionReason"] != nil || string(top["credentials"]) != "[]" {
		t.Errorf("sent: %s", body)
	}
}

func TestMetadataAndOffersAreSentWithAllMembers(t *testing.T) {
	t.Parallel()
	sparse := []dcp.CredentialObject{{ID: "x", CredentialType: "A", Profile: credential.Profile11}}
	offer, err := dcp.EncodeCredentialOffer(dcp.CredentialOffer{Issuer: "did:web:i.example", Credentials: sparse})
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := dcp.EncodeIssuerMetadata(dcp.IssuerMetadata{Issuer: "did:web:i.example", Credentials: sparse})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{offer, metadata} {
		for _, member := range []string{`"id":"x"`, `"type":"CredentialObject"`, `"credentialType":"A"`, `"credentialSchema":`, `"bindingMethods":["did:web"]`, `"profile":"vc11-sl2021/jwt"`,
			`"issuancePolicy":{}`, `"offerReason":"issuance"`} {
			if !strings.Contains(string(body), member) {
				t.Errorf("%s: want %s", body, member)
			}
		}
	}
}

func TestAProfileIsKnownByItsAliases(t *testing.T) {
	t.Parallel()
	for alias, want := range map[string]string{"vc11-sl2021/jwt": credential.Profile11, "vc10-sl2021/jwt": credential.Profile11, "vc20-bssl/jwt": credential.Profile20, "jwt": "", "json-ld": "", "": "",
		"VC11-SL2021/JWT": "", "vc11-sl2021": ""} {
		if got, ok := dcp.Profile(alias); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %t; want %q", alias, got, ok, want)
		}
	}
}

func TestAFormatOfOneDataModelIsItsProfileInAContainerAlone(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"VC1_0_JWT": credential.Profile11, "VC2_0_JOSE": credential.Profile20, "VC1_0_LD": "", "vc1_0_jwt": "", "VC1_0_JWT ": "", "": ""} {
		if got, ok := (dcp.Container{Format: format, Payload: "a.b.c"}).Profile(); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v; want %q", format, got, ok, want)
		}
		if got, ok := dcp.Profile(format); ok {
			t.Errorf("%q is taken for the profile %q", format, got)
		}
	}
}

func TestAFormatIsCalledAsItsHolderKnowsIt(t *testing.T) {
	t.Parallel()
	codec := dcp.IssuerCodec{Informal: map[participant.DID]bool{"did:web:old.example": true}}
	for holder, want := range map[participant.DID][]string{"did:web:old.example": {"VC1_0_JWT", "VC2_0_JOSE"}, "did:web:new.example": {credential.Profile11, credential.Profile20}, "": {credential.Profile11, credential.Profile20}} {
		body, err := codec.EncodeDelivery(issuer.Delivery{Holder: holder, IssuerPID: "i", HolderPID: "h", Signed: []issuer.Signed{{Type: "A", Profile: credential.Profile11, Token: "a.b.c"}, {Type: "B", Profile: credential.Profile20, Token: "a.b.c"}}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := dcp.ParseCredentialMessage(body)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range m.Credentials {
			if profile, ok := c.Profile(); c.Format != want[i] || !ok || profile != []string{credential.Profile11, credential.Profile20}[i] {
				t.Errorf("%q: the format is %q, the profile %q; want %q", holder, c.Format, profile, want[i])
			}
		}
	}
}

func TestTheFormatJwtIsTakenWhenThePayloadLeavesNoDoubt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ format, payload, want string }{
		"a credential of data model 1.1":      {"jwt", compact(payloadV1), credential.Profile11},
		"a credential of data model 2.0":      {"jwt", compact(payloadV2), credential.Profile20},
		"both at once":                        {"jwt", compact(`{"@context":["https://www.w3.org/ns/credentials/v2"],"vc":{"@context":["https://www.w3.org/2018/credentials/v1"]}}`), ""},
		"neither":                             {"jwt", compact(`{"sub":"x"}`), ""},
		"a context that is not the first":     {"jwt", compact(`{"@context":["https://x.example","https://www.w3.org/ns/credentials/v2"]}`), ""},
		"a member twice":                      {"jwt", compact(`{"@context":["https://www.w3.org/ns/credentials/v2"],"@context":[]}`), ""},
		"a payload that is none":              {"jwt", "e30.?.c2ln", ""},
		"no token":                            {"jwt", "jwt", ""},
		"a format that says it":               {credential.Profile20, "not read", credential.Profile20},
		"the format of the examples":          {"vc10-sl2021/jwt", "not read", credential.Profile11},
		"linked data, whatever it looks like": {"json-ld", compact(payloadV1), ""},
	} {
		if got, ok := (dcp.Container{Format: tt.format, Payload: tt.payload}).Profile(); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %t; want %q", name, got, ok, tt.want)
		}
	}
}

type form struct {
	body string
	want string // what the refusal names; "" when it is taken
}

func judge(t *testing.T, forms map[string]form, parse func([]byte) error) {
	t.Helper()
	for name, f := range forms {
		err := parse([]byte(f.body))
		if f.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !fault.Is(err, fault.Malformed) || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: %v; want it to name %q", name, err, f.want)
		}
	}
}

// frame makes the forms that every message refuses alike.
func frame(kind, members string, limit int) map[string]form {
	message := func(kind, members string) string { return `{` + context + `,"type":"` + kind + `"` + members + `}` }
	return map[string]form{
		"as it should be":                {message(kind, members), ""},
		"members that nobody knows":      {message(kind, members+`,"more":{"x":[1]}`), ""},
		"another type":                   {message("PresentationQueryMessage", members), "type"},
		"the type under another name":    {`{` + context + `,"@type":"` + kind + `"` + members + `}`, "type"},
		"no context":                     {`{"type":"` + kind + `"` + members + `}`, "@context"},
		"the context of another version": {`{"@context":["https://w3id.org/dspace-dcp/v0.8/dcp.jsonld"],"type":"` + kind + `"` + members + `}`, "@context"},
		"a context that is a string":     {`{"@context":"` + dcp.Context + `","type":"` + kind + `"` + members + `}`, "context"},
		"a member twice":                 {message(kind, members+`,"type":"`+kind+`"`), "duplicate"},
		"a member in capitals":           {message(kind, members+`,"TYPE":"`+kind+`"`), "duplicate"},
		"something behind it":            {message(kind, members) + "{}", "nothing after"},
		"too deep":                       {message(kind, members+`,"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)), "levels"},
		"too large":                      {message(kind, members+`,"x":"`+strings.Repeat("a", limit)+`"`), "bytes"},
		"a list":                         {`[]`, "shape"},
		"nothing":                        {``, "byte"},
	}
}

func TestEveryMessageOfIssuanceHasItsFrame(t *testing.T) {
	t.Parallel()
	for kind, tt := range map[string]struct {
		members string
		limit   int
		parse   func([]byte) error
	}{
		"CredentialRequestMessage": {`,"holderPid":"h","credentials":[{"id":"a"}]`, dcp.MaxCredentialRequest, func(b []byte) error { _, err := dcp.ParseCredentialRequest(b); return err }},
		"CredentialMessage": {`,"issuerPid":"i","holderPid":"h","status":"REJECTED"`, dcp.MaxCredentialMessage,
			func(b []byte) error { _, err := dcp.ParseCredentialMessage(b); return err }},
		"CredentialOfferMessage": {`,"issuer":"did:web:i.example","credentials":[{"id":"a"}]`, dcp.MaxCredentialOffer,
			func(b []byte) error { _, err := dcp.ParseCredentialOffer(b); return err }},
		"IssuerMetadata": {`,"issuer":"did:web:i.example"`, dcp.MaxIssuerMetadata, func(b []byte) error { _, err := dcp.ParseIssuerMetadata(b); return err }},
		"CredentialStatus": {`,"issuerPid":"i","holderPid":"h","status":"RECEIVED"`, dcp.MaxCredentialStatus,
			func(b []byte) error { _, err := dcp.ParseCredentialStatus(b); return err }},
	} {
		t.Run(kind, func(t *testing.T) { judge(t, frame(kind, tt.members, tt.limit), tt.parse) })
	}
}

func TestARequestNamesItselfAndWhatItWants(t *testing.T) {
	t.Parallel()
	request := func(members string) string {
		return `{` + context + `,"type":"CredentialRequestMessage"` + members + `}`
	}
	many := make([]string, dcp.MaxRequested+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":"%d"}`, i)
	}
	judge(t, map[string]form{
		"several":                      {request(`,"holderPid":"h","credentials":[{"id":"a"},{"id":"b","more":1}]`), ""},
		"as many as may be":            {request(`,"holderPid":"h","credentials":[` + strings.Join(many[1:], ",") + `]`), ""},
		"no holderPid":                 {request(`,"credentials":[{"id":"a"}]`), "holderPid"},
		"a holderPid that is null":     {request(`,"holderPid":null,"credentials":[{"id":"a"}]`), "holderPid"},
		"a holderPid that is long":     {request(`,"holderPid":"` + strings.Repeat("h", 256) + `","credentials":[{"id":"a"}]`), "holderPid"},
		"a holderPid with a line":      {request(`,"holderPid":"h\n","credentials":[{"id":"a"}]`), "holderPid"},
		"a holderPid that is a number": {request(`,"holderPid":1,"credentials":[{"id":"a"}]`), "holderPid"},
		"no credentials":               {request(`,"holderPid":"h"`), "credentials"},
		"an empty list":                {request(`,"holderPid":"h","credentials":[]`), "credentials"},
		"too many":                     {request(`,"holderPid":"h","credentials":[` + strings.Join(many, ",") + `]`), "credentials"},
		"a credential without id":      {request(`,"holderPid":"h","credentials":[{"credentialType":"A"}]`), "id"},
		"a credential that is a text":  {request(`,"holderPid":"h","credentials":["a"]`), "credentials"},
		"the same twice":               {request(`,"holderPid":"h","credentials":[{"id":"a"},{"id":"a"}]`), "once"},
	}, func(b []byte) error { _, err := dcp.ParseCredentialRequest(b); return err })
}

// expanded is a request as EDC's wallet writes it, with another text in one place.
func expanded(replace ...string) string {
	text := `{"@type":"https://w3id.org/dspace-dcp/v1.0/CredentialRequestMessage","https://w3id.org/dspace-dcp/v1.0/credentials":[{"@type":"@json","@value":[{"id":"a"},{"id":"b"}]}],` +
		`"https://w3id.org/dspace-dcp/v1.0/holderPid":{"@id":"h"}}`
	if len(replace) == 2 {
		return strings.Replace(text, replace[0], replace[1], 1)
	}
	return text
}

func TestARequestIsReadInTheExpandedFormThatEDCWritesAndInNoOther(t *testing.T) {
	t.Parallel()
	got, err := dcp.ParseCredentialRequest([]byte(expanded()))
	want := dcp.CredentialRequest{HolderPID: "h", Credentials: []string{"a", "b"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, body := range map[string]string{
		"of another namespace":      expanded("/CredentialRequestMessage", "/CredentialOfferMessage"),
		"of another version":        expanded("v1.0/CredentialRequestMessage", "v0.8/CredentialRequestMessage"),
		"with a context":            expanded("{", `{"@context":{"@vocab":"https://w3id.org/dspace-dcp/v1.0/"},`),
		"without its own id":        expanded(`{"@id":"h"}`, `{}`),
		"with a text for its id":    expanded(`{"@id":"h"}`, `"h"`),
		"with plain credentials":    expanded(`{"@type":"@json","@value":[{"id":"a"},{"id":"b"}]}`, `{"id":"a"}`),
		"of none":                   expanded(`{"id":"a"},{"id":"b"}`, ``),
		"of one twice":              expanded(`{"id":"b"}`, `{"id":"a"}`),
		"with two lists":            expanded(`}]}]`, `}]},{"@type":"@json","@value":[{"id":"c"}]}]`),
		"with the plain names only": `{"@type":"CredentialRequestMessage","holderPid":"h","credentials":[{"id":"a"}]}`,
	} {
		if got, err := dcp.ParseCredentialRequest([]byte(body)); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestADeliveryHasCredentialsOrIsARejection(t *testing.T) {
	t.Parallel()
	delivery := func(members string) string { return `{` + context + `,"type":"CredentialMessage"` + members + `}` }
	one := `{"credentialType":"A","payload":"a.b.c","format":"vc11-sl2021/jwt"}`
	pids := `,"issuerPid":"i","holderPid":"h"`
	judge(t, map[string]form{
		"two":                                {delivery(pids + `,"status":"ISSUED","credentials":[` + one + `,` + one + `]`), ""},
		"a rejection":                        {delivery(pids + `,"status":"REJECTED"`), ""},
		"a rejection with a reason":          {delivery(pids + `,"status":"REJECTED","credentials":[],"rejectionReason":"no"`), ""},
		"a reason that is null":              {delivery(pids + `,"status":"REJECTED","credentials":null,"rejectionReason":null`), ""},
		"the name that the schema misspells": {delivery(pids + `,"status":"REJECTED","credentialType":"Whatever"`), ""},
		"no holderPid":                       {delivery(`,"issuerPid":"i","status":"ISSUED","credentials":[` + one + `]`), "holderPid"},
		"no issuerPid":                       {delivery(`,"holderPid":"h","status":"ISSUED","credentials":[` + one + `]`), "issuerPid"},
		"no status":                          {delivery(pids + `,"credentials":[` + one + `]`), "status"},
		"a status that is none":              {delivery(pids + `,"status":"INVALID_STATUS","credentials":[` + one + `]`), "status"},
		"the status of a request":            {delivery(pids + `,"status":"RECEIVED","credentials":[` + one + `]`), "status"},
		"the status in small letters":        {delivery(pids + `,"status":"issued","credentials":[` + one + `]`), "status"},
		"issued without any":                 {delivery(pids + `,"status":"ISSUED","credentials":[]`), "credentials"},
		"issued without a list":              {delivery(pids + `,"status":"ISSUED"`), "credentials"},
		"too many":                           {delivery(pids + `,"status":"ISSUED","credentials":[` + one + strings.Repeat(","+one, dcp.MaxRequested) + `]`), "credentials"},
		"rejected and delivered":             {delivery(pids + `,"status":"REJECTED","credentials":[` + one + `]`), "credentials"},
		"a container without payload":        {delivery(pids + `,"status":"ISSUED","credentials":[{"credentialType":"A","format":"jwt"}]`), "payload"},
		"a container without type":           {delivery(pids + `,"status":"ISSUED","credentials":[{"payload":"a.b.c","format":"jwt"}]`), "credentialType"},
		"a container without format":         {delivery(pids + `,"status":"ISSUED","credentials":[{"credentialType":"A","payload":"a.b.c"}]`), "format"},
		"a payload that is an object":        {delivery(pids + `,"status":"ISSUED","credentials":[{"credentialType":"A","payload":{},"format":"json-ld"}]`), "payload"},
		"a payload that is large":            {delivery(pids + `,"status":"ISSUED","credentials":[{"credentialType":"A","payload":"` + strings.Repeat("a", dcp.MaxPayload+1) + `","format":"jwt"}]`), "payload"},
		"a reason of a book":                 {delivery(pids + `,"status":"REJECTED","rejectionReason":"` + strings.Repeat("a", 1001) + `"`), "rejectionReason"},
	}, func(b []byte) error { _, err := dcp.ParseCredentialMessage(b); return err })
}

func TestAnOfferMayBeSparseAndMetadataMayNot(t *testing.T) {
	t.Parallel()
	message := func(kind, list, members string) string {
		return `{` + context + `,"type":"` + kind + `","issuer":"did:web:i.example","` + list + `":[` + members + `]}`
	}
	offer := func(members string) string { return message("CredentialOfferMessage", "credentials", members) }
	metadata := func(members string) string { return message("IssuerMetadata", "credentialsSupported", members) }
	many := make([]string, dcp.MaxObjects+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":"%d","credentialType":"A","profile":"vc11-sl2021/jwt"}`, i)
	}
	judge(t, map[string]form{
		"only ids":                       {offer(`{"id":"a"},{"id":"b"}`), ""},
		"what the conformance kit sends": {offer(`{"id":"a","type":"CredentialObject","bindingMethods":["did:web:"],"issuancePolicy":{}}`), ""},
		"a policy that is null":          {offer(`{"id":"a","issuancePolicy":null}`), ""},
		"a reason of its own":            {offer(`{"id":"a","offerReason":"anniversary"}`), ""},
		"a profile of another world":     {offer(`{"id":"a","profile":"vc11-sl2021/ldp"}`), ""},
		"no issuer":                      {`{` + context + `,"type":"CredentialOfferMessage","credentials":[{"id":"a"}]}`, "issuer"},
		"an issuer that is null":         {`{` + context + `,"type":"CredentialOfferMessage","issuer":null,"credentials":[{"id":"a"}]}`, "issuer"},
		"nothing in it":                  {offer(``), "credentials"},
		"no list":                        {`{` + context + `,"type":"CredentialOfferMessage","issuer":"did:web:i.example"}`, "credentials"},
		"too many":                       {offer(strings.Join(many, ",")), "credentials"},
		"an object without id":           {offer(`{"credentialType":"A"}`), "id"},
		"an object of another type":      {offer(`{"id":"a","type":"Coupon"}`), "type"},
		"two of one id":                  {offer(`{"id":"a"},{"id":"a"}`), "once"},
		"a policy that is a text":        {offer(`{"id":"a","issuancePolicy":"any"}`), "issuancePolicy"},
		"types that are a list":          {offer(`{"id":"a","credentialType":["A","B"]}`), "credentialType"},
		"many binding methods":           {offer(`{"id":"a","bindingMethods":["m"` + strings.Repeat(`,"m"`, 20) + `]}`), "bindingMethods"},
		"a binding method that is empty": {offer(`{"id":"a","bindingMethods":[""]}`), "bindingMethods"},
	}, func(b []byte) error { _, err := dcp.ParseCredentialOffer(b); return err })
	judge(t, map[string]form{
		"what is needed to request": {metadata(`{"id":"a","credentialType":"A","profile":"vc11-sl2021/jwt"}`), ""},
		"as many as may be":         {metadata(strings.Join(many[1:], ",")), ""},
		"nothing in it":             {metadata(``), ""},
		"no list":                   {`{` + context + `,"type":"IssuerMetadata","issuer":"did:web:i.example"}`, ""},
		"no issuer":                 {`{` + context + `,"type":"IssuerMetadata","credentialsSupported":[]}`, "issuer"},
		"an object without type":    {metadata(`{"id":"a","profile":"vc11-sl2021/jwt"}`), "credentialType"},
		"an object without profile": {metadata(`{"id":"a","credentialType":"A"}`), "profile"},
		"profiles that are a list":  {metadata(`{"id":"a","credentialType":"A","profile":["vc11-sl2021/jwt"]}`), "profile"},
		"two of one id":             {metadata(many[0] + "," + many[0]), "once"},
		"too many":                  {metadata(strings.Join(many, ",")), "credentials"},
	}, func(b []byte) error { _, err := dcp.ParseIssuerMetadata(b); return err })
}

func TestAStatusHasThreeMembers(t *testing.T) {
	t.Parallel()
	status := func(members string) string { return `{` + context + `,"type":"CredentialStatus"` + members + `}` }
	judge(t, map[string]form{
		"issued":             {status(`,"issuerPid":"i","holderPid":"h","status":"ISSUED"`), ""},
		"no issuerPid":       {status(`,"holderPid":"h","status":"ISSUED"`), "issuerPid"},
		"no holderPid":       {status(`,"issuerPid":"i","status":"ISSUED"`), "holderPid"},
		"no status":          {status(`,"issuerPid":"i","holderPid":"h"`), "status"},
		"a state of its own": {status(`,"issuerPid":"i","holderPid":"h","status":"APPROVED"`), "status"},
	}, func(b []byte) error { _, err := dcp.ParseCredentialStatus(b); return err })
}

// settles checks that what was accepted is written so that it is accepted again, and the same from then on.
func settles[T any](t *testing.T, body []byte, parse func([]byte) (T, error), encode func(T) ([]byte, error)) {
	m, err := parse(body)
	if err != nil {
		if !fault.Is(err, fault.Malformed) {
			t.Errorf("%q: %v", body, err)
		}
		return
	}
	first, err := encode(m)
	if err != nil {
		t.Fatalf("%q was accepted and cannot be written: %v", body, err)
	}
	back, err := parse(first)
	if err != nil {
		t.Fatalf("%q was accepted, and what it is written as is not: %v", body, err)
	}
	if second, err := encode(back); err != nil || !slices.Equal(first, second) {
		t.Errorf("%q is written as %s, then as %s, %v", body, first, second, err)
	}
}

func FuzzParseCredentialRequest(f *testing.F) {
	f.Add([]byte(`{` + context + `,"type":"CredentialRequestMessage","holderPid":"h","credentials":[{"id":"a"}]}`))
	f.Add([]byte(expanded()))
	f.Fuzz(func(t *testing.T, body []byte) {
		settles(t, body, dcp.ParseCredentialRequest, dcp.EncodeCredentialRequest)
	})
}

func FuzzParseCredentialMessage(f *testing.F) {
	f.Add([]byte(`{` + context + `,"type":"CredentialMessage","issuerPid":"i","holderPid":"h","status":"ISSUED","credentials":[{"credentialType":"A","payload":"` +
		compact(payloadV1) + `","format":"jwt"}]}`))
	f.Add([]byte(`{` + context + `,"type":"CredentialMessage","issuerPid":"i","holderPid":"h","status":"REJECTED","rejectionReason":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		settles(t, body, dcp.ParseCredentialMessage, dcp.EncodeCredentialMessage)
		if m, err := dcp.ParseCredentialMessage(body); err == nil {
			for _, c := range m.Credentials {
				if p, ok := c.Profile(); ok && p != credential.Profile11 && p != credential.Profile20 {
					t.Errorf("%q has the profile %q", body, p)
				}
			}
		}
	})
}

func FuzzParseCredentialOffer(f *testing.F) {
	f.Add([]byte(`{` + context + `,"type":"CredentialOfferMessage","issuer":"did:web:i.example","credentials":[{"id":"a","issuancePolicy":{"id":"p"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) { settles(t, body, dcp.ParseCredentialOffer, dcp.EncodeCredentialOffer) })
}

func FuzzParseIssuerMetadata(f *testing.F) {
	f.Add([]byte(`{` + context + `,"type":"IssuerMetadata","issuer":"did:web:i.example","credentialsSupported":[{"id":"a","credentialType":"A","profile":"vc20-bssl/jwt"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) { settles(t, body, dcp.ParseIssuerMetadata, dcp.EncodeIssuerMetadata) })
}

func FuzzParseCredentialStatus(f *testing.F) {
	f.Add([]byte(`{` + context + `,"type":"CredentialStatus","issuerPid":"i","holderPid":"h","status":"RECEIVED"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		settles(t, body, dcp.ParseCredentialStatus, dcp.EncodeCredentialStatus)
	})
}
