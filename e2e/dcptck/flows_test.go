package dcptck_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/dcptck"
	"github.com/sluice-connector/sluice/e2e/kits"
)

// TestTheFlowsOfTheKit plays what the kit's cases are about, over HTTP, against a whole connector on each store. Where the kit takes any
// refusal, it wants the right one.
func TestTheFlowsOfTheKit(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{settings.Embedded, settings.Postgres} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			store := settings.Store{Kind: kind}
			if kind == settings.Postgres {
				var b [4]byte
				_, _ = rand.Read(b[:])
				address, err := kits.Schema(t.Context(), "dcptck_"+hex.EncodeToString(b[:]))
				if err != nil {
					t.Fatal(err)
				}
				store.URL = address.String()
			}
			k := stand(t, store)
			k.discovery()
			for _, d := range k.doors() {
				k.tokens(d)
			}
			k.verifies()
			k.presents()
			k.takes()
			k.issues()
			if log := k.log(); strings.Contains(log, "level=ERROR") {
				t.Error("the connector logged errors")
			}
		})
	}
}

// want compares a status; what is the number that the kit gives the case, and its subject.
func (k *kit) want(what string, got reply, status int) {
	k.t.Helper()
	if got.status != status {
		k.t.Errorf("%s: %s; want %d", what, got, status)
	}
}

// discovery is what the kit looks for in documents.
func (k *kit) discovery() {
	member, authority := k.services(k.company.Member.Slug), k.services(k.company.Authority.Slug)
	for what, got := range map[string]string{"5.2 the credential service": member["CredentialService"], "6.2 the issuer service": authority["IssuerService"]} {
		if !strings.HasPrefix(got, k.company.Root+"/") {
			k.t.Errorf("%s is at %q", what, got)
		}
	}
}

// door is one that tokens of the kit open.
type door struct {
	id     string // the kit's number
	party  string // who comes
	to     participant.DID
	access func() string // a new access token for the claim "token"; nil: none
	call   func(authorization string) reply
	good   int
}

func (k *kit) cs() string { return k.services(k.company.Member.Slug)["CredentialService"] }
func (k *kit) is() string { return k.services(k.company.Authority.Slug)["IssuerService"] }

func (k *kit) doors() []door {
	cs, is, member, authority := k.cs(), k.is(), k.company.Member.DID, k.company.Authority.DID
	request := message("CredentialRequestMessage", k.request())
	known := k.say(http.MethodPost, is+"/credentials", "Bearer "+k.sign("holder", "", k.self("holder", authority)), request)
	k.want("6.4.1 a request", known, http.StatusCreated)
	<-k.delivered
	return []door{
		{"4.3.3 verifier", "holder", member, func() string { return k.grants(k.membership) }, k.trigger, http.StatusOK},
		{"4.3.3 credential service", "verifier", member, func() string { return k.access(scope("MembershipCredential")) }, func(h string) reply {
			return k.say(http.MethodPost, cs+"/presentations/query", h, message("PresentationQueryMessage", members{"scope": []string{scope("MembershipCredential")}}))
		}, http.StatusOK},
		{"6.5.1", "issuer", member, nil, func(h string) reply { return k.say(http.MethodPost, cs+"/credentials", h, k.delivery()) }, http.StatusOK},
		{"6.6.1", "issuer", member, nil, func(h string) reply {
			return k.say(http.MethodPost, cs+"/offers", h, message("CredentialOfferMessage", members{"issuer": k.did("issuer"), "credentials": []members{{"id": rand.Text(), "type": "CredentialObject",
				"credentialType": "MembershipCredential", "offerReason": "reissue", "bindingMethods": []string{"did:web:"}, "profile": credential.Profile11, "issuancePolicy": members{}}}}))
		}, http.StatusOK},
		{"6.4", "holder", authority, nil, func(h string) reply { return k.say(http.MethodPost, is+"/credentials", h, request) }, http.StatusCreated},
		{"6.8", "holder", authority, nil, func(h string) reply { return k.say(http.MethodGet, known.location, h, nil) }, http.StatusOK},
	}
}

// tokens tries at a door every token that the kit tries somewhere.
func (k *kit) tokens(d door) {
	claims := func() members {
		c := k.self(d.party, d.to)
		if d.access != nil {
			c["token"] = d.access()
		}
		return c
	}
	bearer := func(c members) string { return "Bearer " + k.sign(d.party, "", c) }
	k.want(d.id+" a good token", d.call(bearer(claims())), d.good)
	now := time.Now().Unix()
	for what, bad := range map[string]string{
		"no header":             "",
		"no Bearer":             k.sign(d.party, "", claims()),
		"another key":           "Bearer " + k.sign(d.party, "nobody", claims()),
		"expired":               bearer(with(claims(), "exp", now-60)),
		"issued in the future":  bearer(with(claims(), "iat", now+60)),
		"not valid yet":         bearer(with(claims(), "nbf", now+60)),
		"for somebody else":     bearer(with(claims(), "aud", k.did("thirdparty"))),
		"another's subject":     bearer(with(claims(), "sub", k.did("thirdparty"))),
		"another's issuer":      bearer(with(claims(), "iss", k.did("thirdparty"))),
		"of a stranger, for us": "Bearer " + k.sign("nobody", "", with(with(claims(), "iss", k.did("nobody")), "sub", k.did("nobody"))),
	} {
		k.want(d.id+" a token: "+what, d.call(bad), http.StatusUnauthorized)
	}
	once := claims()
	k.want(d.id+" a token the first time", d.call(bearer(once)), d.good)
	k.want(d.id+" a token the second time", d.call(bearer(once)), http.StatusUnauthorized)
	if d.access != nil {
		once["token"] = d.access()
		k.want(d.id+" another token of the same id", d.call(bearer(once)), http.StatusUnauthorized)
		k.want(d.id+" a token without access token", d.call(bearer(with(claims(), "token", nil))), http.StatusUnauthorized)
		k.want(d.id+" an access token that is none", d.call(bearer(with(claims(), "token", "faketoken"))), http.StatusUnauthorized)
		third := k.self("thirdparty", d.to)
		third["token"] = d.access()
		if d.party == "verifier" { // the holder's own access tokens are bound to whom they were made for
			k.want(d.id+" somebody else's access token", d.call("Bearer "+k.sign("thirdparty", "", third)), http.StatusUnauthorized)
		}
	}
}

// membership is a presentation of the holder's membership.
func (k *kit) membership() []string {
	return []string{k.shown(k.issued(k.credential("MembershipCredential", k.did("holder"))))}
}

// request asks for what the authority issues, by its metadata.
func (k *kit) request() members {
	var m struct {
		Issuer    string
		Supported []struct{ ID, Profile string } `json:"credentialsSupported"`
	}
	got := k.say(http.MethodGet, k.is()+"/metadata", "", nil)
	k.must(json.Unmarshal(got.body, &m))
	if got.status != http.StatusOK || m.Issuer != string(k.company.Authority.DID) || len(m.Supported) == 0 {
		k.t.Errorf("6.7 metadata: %s", got)
	}
	var wanted []members
	for _, s := range m.Supported {
		wanted = append(wanted, members{"id": s.ID})
	}
	return members{"holderPid": rand.Text(), "credentials": wanted}
}

// delivery is what the kit's issuer brings.
func (k *kit) delivery() []byte { return message("CredentialMessage", k.brought()) }

func (k *kit) brought() members {
	var all []members
	for _, kind := range []string{"MembershipCredential", "SensitiveDataCredential"} {
		all = append(all, members{"credentialType": kind, "format": "VC1_0_JWT", "payload": k.issued(k.credential(kind, k.company.Member.DID))})
	}
	return members{"issuerPid": rand.Text(), "holderPid": dcptck.Request, "status": dcp.StatusIssued, "credentials": all}
}

// verifies are the cases of a verifier beyond tokens, and the step at which each is refused.
func (k *kit) verifies() {
	good := func() members { return k.credential("MembershipCredential", k.did("holder")) }
	one := func(body members) func() []string {
		return func() []string { return []string{k.shown(k.issued(body))} }
	}
	schema := k.put("/schema/membership.json", `{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","required":["foo"]}`)
	kept := members{"id": schema, "type": "JsonSchemaValidator2018"}
	unsigned := k.put("/statuslist/unsigned", `{"type":["VerifiableCredential","BitstringStatusListCredential"]}`)
	signed := k.put("/statuslist/signed", "")
	k.put("/statuslist/signed", k.list(signed, 1))
	status := func(list, index string) members {
		return members{"id": rand.Text(), "type": "BitstringStatusListEntry", "statusPurpose": "revocation", "statusListIndex": index, "statusListCredential": list}
	}
	for _, tt := range []struct {
		what, code string // "": accepted
		show       func() []string
	}{
		{"5.1 a valid presentation", "", one(good())},
		{"5.4.2.2 more than was asked for", "", func() []string {
			return []string{k.shown(k.issued(good()), k.issued(k.credential("SensitiveDataCredential", k.did("holder"))))}
		}},
		{"5.4.2.1 something else than was asked for", "scope.unsatisfied", one(k.credential("SensitiveDataCredential", k.did("holder")))},
		{"5.4.2.1 a query that is refused", "presentation.query", nil},
		{"5.4.2.3 no presentation", "scope.unsatisfied", func() []string { return []string{} }},
		{"5.4.2.4 a presentation of nothing", "scope.unsatisfied", func() []string { return []string{k.shown()} }},
		{"5.4.3 a credential about somebody else", "credential.holder", one(with(good(), "credentialSubject", members{"id": k.did("thirdparty"), "foo": "bar"}))},
		{"5.4.3.7 a credential that has expired", "credential.expired", one(with(good(), "expirationDate", time.Now().UTC().Add(-100*time.Second).Format(time.RFC3339)))},
		{"5.4.3.6 a credential that is not valid yet", "credential.early", one(with(good(), "issuanceDate", time.Now().UTC().Add(time.Hour).Format(time.RFC3339)))},
		{"5.4.3.6 a list that nobody signed", "credential.status.syntax", one(with(good(), "credentialStatus", status(unsigned, "1")))},
		{"5.4.3.6 a credential that was revoked", "credential.status.revoked", one(with(good(), "credentialStatus", status(signed, "1")))},
		{"a credential that its list says nothing of", "", one(with(good(), "credentialStatus", status(signed, "2")))},
		{"X.X a credential that does not keep to its schema", "credential.schema.violated", one(with(with(good(), "credentialSubject", members{"id": k.did("holder"), "baz": "quazz"}), "credentialSchema", kept))},
		{"a credential that keeps to its schema", "", one(with(good(), "credentialSchema", kept))},
		{"an issuer that nobody trusts", "credential.untrusted", func() []string {
			now := time.Now().Unix()
			return []string{k.shown(k.sign("thirdparty", "", members{"iss": k.did("thirdparty"), "iat": now, "exp": now + 300, "vc": with(good(), "issuer", k.did("thirdparty"))}))}
		}},
	} {
		k.log()
		claims := k.self("holder", k.company.Member.DID)
		claims["token"] = rand.Text()
		if tt.show != nil {
			claims["token"] = k.grants(tt.show)
		}
		status := http.StatusOK
		if tt.code != "" {
			status = http.StatusUnauthorized
		}
		k.want(tt.what, k.trigger("Bearer "+k.sign("holder", "", claims)), status)
		if log := k.log(); tt.code != "" && !strings.Contains(log, "code="+tt.code) {
			k.t.Errorf("%s: the operator's log does not say %s", tt.what, tt.code)
		}
	}
}

// list is a status list of the issuer's with one index set.
func (k *kit) list(address string, set int) string {
	bits, err := statuslist.New(statuslist.MinEntries)
	k.must(err)
	k.must(bits.Set(set, true))
	subject := statuslist.Subject{Kind: statuslist.Bitstring, Purposes: []string{statuslist.Revocation}, Bits: bits}
	now := time.Now()
	return k.sign("issuer", "", members{"iss": k.did("issuer"), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "vc": members{"@context": []string{"https://www.w3.org/2018/credentials/v1"}, "id": address,
		"type": []string{"VerifiableCredential", subject.Kind.CredentialType()}, "issuer": k.did("issuer"), "issuanceDate": now.UTC().Format(time.RFC3339), "credentialSubject": subject}})
}

// presents are the cases of a credential service that is asked for presentations, beyond tokens.
func (k *kit) presents() {
	membership, sensitive := scope("MembershipCredential"), scope("SensitiveDataCredential")
	definition := members{"id": rand.Text(), "input_descriptors": []members{}}
	for _, tt := range []struct {
		what    string
		granted []string
		query   members
		status  int
		types   []string
	}{
		{"5.4.1.2 the scope that was granted", []string{membership}, members{"scope": []string{membership}}, http.StatusOK, []string{"MembershipCredential"}},
		{"5.4.1.2 less than was granted", []string{membership, sensitive}, members{"scope": []string{sensitive}}, http.StatusOK, []string{"SensitiveDataCredential"}},
		{"5.4.1.2 more than was granted", []string{membership}, members{"scope": []string{membership, sensitive}}, http.StatusUnauthorized, nil},
		{"5.4.1.2 a scope and a definition", []string{membership}, members{"scope": []string{membership}, "presentationDefinition": definition}, http.StatusBadRequest, nil},
		{"5.4.1.1 an empty definition", []string{membership}, members{"presentationDefinition": members{}}, http.StatusBadRequest, nil},
		{"5.4.1.1 no definition", []string{membership}, members{"presentationDefinition": nil}, http.StatusBadRequest, nil},
		{"5.4.1.2 no scopes", []string{membership}, members{"scope": []string{}}, http.StatusBadRequest, nil},
		{"5.4.1.2 neither", []string{membership}, members{}, http.StatusBadRequest, nil},
	} {
		claims := k.self("verifier", k.company.Member.DID)
		claims["token"] = k.access(tt.granted...)
		got := k.say(http.MethodPost, k.cs()+"/presentations/query", "Bearer "+k.sign("verifier", "", claims), message("PresentationQueryMessage", tt.query))
		k.want(tt.what, got, tt.status)
		if tt.status != http.StatusOK {
			continue
		}
		all, err := dcp.ParseResponse(got.body)
		k.must(err)
		var types []string
		for _, token := range all {
			vp := claimsOf(k.t, token)
			if vp["aud"] != string(k.did("verifier")) || vp["iss"] != string(k.company.Member.DID) {
				k.t.Errorf("%s: a presentation of %v for %v", tt.what, vp["iss"], vp["aud"])
			}
			inside, _ := vp["vp"].(members)["verifiableCredential"].([]any)
			for _, c := range inside {
				for _, kind := range claimsOf(k.t, c.(string))["vc"].(members)["type"].([]any) {
					types = append(types, kind.(string))
				}
			}
		}
		if !slices.Equal(types, tt.types) {
			k.t.Errorf("%s: shown %v, want %v", tt.what, types, tt.types)
		}
	}
}

// takes are the cases of a credential service that issuers bring something to, beyond tokens.
func (k *kit) takes() {
	for _, tt := range []struct {
		what, path string
		body       []byte
		status     int
	}{
		{"6.5.1 credentials", "/credentials", k.delivery(), http.StatusOK},
		{"6.5.1 credentials once more", "/credentials", k.delivery(), http.StatusOK},
		{"6.5.1 a delivery for no request", "/credentials", message("CredentialMessage", with(k.brought(), "holderPid", nil)), http.StatusBadRequest},
		{"6.5.1 a delivery for a request that is not there", "/credentials", message("CredentialMessage", with(k.brought(), "holderPid", rand.Text())), http.StatusNotFound},
		{"6.5.1 a status that is none", "/credentials", message("CredentialMessage", with(k.brought(), "status", "INVALID_STATUS")), http.StatusBadRequest},
		{"6.6.1 an offer of ids alone", "/offers", message("CredentialOfferMessage", members{"issuer": k.did("issuer"), "credentials": []members{{"id": rand.Text()}, {"id": rand.Text()}}}), http.StatusOK},
		{"6.6.1 an offer of nobody", "/offers", message("CredentialOfferMessage", members{"issuer": nil, "credentials": []members{{"id": rand.Text()}}}), http.StatusBadRequest},
		{"6.6.1 an offer of somebody else", "/offers", message("CredentialOfferMessage", members{"issuer": k.did("thirdparty"), "credentials": []members{{"id": rand.Text()}}}), http.StatusUnauthorized},
	} {
		k.want(tt.what, k.say(http.MethodPost, k.cs()+tt.path, "Bearer "+k.sign("issuer", "", k.self("issuer", k.company.Member.DID)), tt.body), tt.status)
	}
}

// issues are the cases of an issuer service beyond tokens.
func (k *kit) issues() {
	bearer := func(party string) string {
		return "Bearer " + k.sign(party, "", k.self(party, k.company.Authority.DID))
	}
	wanted := k.request()
	got := k.say(http.MethodPost, k.is()+"/credentials", bearer("holder"), message("CredentialRequestMessage", wanted))
	k.want("6.4.1 a request", got, http.StatusCreated)
	brought := <-k.delivered
	for brought.HolderPID != wanted["holderPid"] { // what was asked for at the doors
		brought = <-k.delivered
	}
	if len(brought.Credentials) != 2 || brought.Status != dcp.StatusIssued || !strings.HasSuffix(got.location, "/"+brought.IssuerPID) {
		k.t.Errorf("6.4.1 brought %+v for %s", brought, got.location)
	}
	for _, c := range brought.Credentials {
		if c.Format != "VC1_0_JWT" { // the kit knows no other name of it
			k.t.Errorf("6.4.1 brought a credential in the format %q", c.Format)
		}
	}
	for _, member := range []string{"credentials", "holderPid"} {
		k.want("6.4.4, 6.4.12 a request without "+member, k.say(http.MethodPost, k.is()+"/credentials", bearer("holder"), message("CredentialRequestMessage", with(wanted, member, nil))), http.StatusBadRequest)
	}
	status := k.say(http.MethodGet, got.location, bearer("holder"), nil)
	k.want("6.8.1 a status", status, http.StatusOK)
	said, err := dcp.ParseCredentialStatus(status.body)
	if err != nil || !slices.Contains([]string{"RECEIVED", "ISSUED"}, said.Status) || said.HolderPID != wanted["holderPid"] {
		k.t.Errorf("6.8.1 %s, %v", status, err)
	}
	k.want("6.8.12 the status of no request", k.say(http.MethodGet, k.is()+"/requests/not-exist", bearer("holder"), nil), http.StatusNotFound)
	k.want("6.8 the status of somebody else's request", k.say(http.MethodGet, got.location, bearer("thirdparty"), nil), http.StatusNotFound)
}
