package hostile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/negotiation"
)

// misbehaviour is one entry of the catalogue. What comes of it is the status of our refusal, or, where the peer misbehaves in its answers,
// what became of our own process.
type misbehaviour struct {
	name  string
	at    stage
	does  func(f *flow) string
	want  string
	moves bool // a process of our own is begun, and moves
}

// stages by our role and the protocol.
func sells(state string) stage { return stage{negotiation.Provider, commit.Negotiation, state} }
func buys(state string) stage  { return stage{negotiation.Consumer, commit.Negotiation, state} }
func gives(state string) stage { return stage{negotiation.Provider, commit.Transfer, state} }
func takes(state string) stage { return stage{negotiation.Consumer, commit.Transfer, state} }

// edit turns a faultless message into another.
type edit func(f *flow, m *message)

// say sends the message with the edits and returns the status of the refusal.
func say(kind string, edits ...edit) func(f *flow) string {
	return func(f *flow) string {
		m := f.message(kind)
		for _, e := range edits {
			e(f, &m)
		}
		got := f.send(m)
		f.judge(m, got)
		return strconv.Itoa(got.status)
	}
}

// set gives the member at the path another value.
func set(path string, value any) edit {
	return func(_ *flow, m *message) {
		at, last := within(m.body, path)
		at[last] = value
	}
}

func drop(path string) edit {
	return func(_ *flow, m *message) {
		at, last := within(m.body, path)
		delete(at, last)
	}
}

func within(m map[string]any, path string) (map[string]any, string) {
	for {
		first, rest, more := strings.Cut(path, ">")
		if !more {
			return m, first
		}
		m, path = m[first].(map[string]any), rest
	}
}

func header(name, value string) edit { return func(_ *flow, m *message) { m.header.Set(name, value) } }

func by(did string) edit { return header("Authorization", "Bearer "+did) }

// at sends it elsewhere.
func at(path string) edit { return func(_ *flow, m *message) { m.path = path } }

func below(suffix string) edit { return func(_ *flow, m *message) { m.path += suffix } }

func method(name string) edit { return func(_ *flow, m *message) { m.method = name } }

// text replaces the body by what f makes of its bytes.
func text(with func(body string) string) edit {
	return func(f *flow, m *message) {
		b, err := json.Marshal(m.body)
		check(f.t, err)
		m.raw = strings.NewReader(with(string(b)))
	}
}

// first puts members before all others.
func first(members string) edit {
	return text(func(body string) string { return "{" + members + "," + body[1:] })
}

func become(body string) edit { return text(func(string) string { return body }) }

const unknown = "urn:uuid:00000000-0000-4000-8000-00000000dead"

// shapes are the messages that are none, at whatever door they come.
var shapes = []struct {
	name string
	edit edit
	want string
}{
	{"with nothing in it", become(""), "400"},
	{"that is null", become("null"), "400"},
	{"that is a list", become("[]"), "400"},
	{"that is a number", become("7"), "400"},
	{"that is junk", become("\x00\x01\x02\x03 hello"), "400"},
	{"that is cut in the middle", text(func(b string) string { return b[:len(b)/2] }), "400"},
	{"with something after its end", text(func(b string) string { return b + `{}` }), "400"},
	{"behind a byte order mark", text(func(b string) string { return "\ufeff" + b }), "400"},
	{"in UTF-16", text(func(b string) string { return "\xff\xfe" + strings.Join(strings.Split(b, ""), "\x00") }), "400"},
	{"with bytes that are not UTF-8", first("\"x\":\"\xff\xfe\""), "400"},
	{"with half a surrogate", first(`"x":"\ud800"`), "400"},
	{"with a control character in a string", first("\"x\":\"a\nb\""), "400"},
	{"with two types", first(`"@type":"CatalogRequestMessage"`), "400"},
	{"with a member twice in an object of no concern", first(`"x":{"a":1,"a":2}`), "400"},
	{"with its type in capitals", first(`"@TYPE":"CatalogRequestMessage"`), "400"},
	{"with its pids in another case", first(`"consumerPID":"urn:uuid:x"`), "400"},
	{"with a number beyond doubles", first(`"x":1e400`), "400"},
	{"with an integer that a double cannot hold", first(`"x":9007199254740993`), "400"},
	{"with a number that is none", first(`"x":NaN`), "400"},
	{"with a leading zero", first(`"x":007`), "400"},
	{"with a comment", text(func(b string) string { return "/* */" + b }), "400"},
	{"with a comma too many", text(func(b string) string { return b[:len(b)-1] + ",}" }), "400"},
	{"in single quotes", text(func(b string) string { return strings.ReplaceAll(b, `"`, "'") }), "400"},
	{"as deep as a thousand lists", first(`"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), "400"},
	{"as deep as a hundred thousand objects", first(`"x":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)), "400"},
	{"that opens half a million lists and closes none", become(strings.Repeat("[", 500_000)), "400"},
	{"with five thousand members", text(func(b string) string { return "{" + many(5000) + b[1:] }), "400"},
	{"with a list of twenty thousand", first(`"x":[` + strings.Repeat("1,", 20_000) + "1]"), "400"},
	{"with a string of a hundred thousand bytes", first(`"x":"` + strings.Repeat("a", 100_000) + `"`), "413"},
	{"of more than a mebibyte", text(func(b string) string { return b + strings.Repeat(" ", 1<<20) }), "413"},
	{"that never ends", endless, "413"},
	{"of another type", set("@type", "CatalogRequestMessage"), "400"},
	{"of a type that is a list", set("@type", []any{"ContractRequestMessage", "Offer"}), "400"},
	{"of no type", drop("@type"), "400"},
	{"of a type of another vocabulary", func(_ *flow, m *message) { m.body["@type"] = "https://mallory.example/" + fmt.Sprint(m.body["@type"]) }, "400"},
	{"without a context", drop("@context"), "400"},
	{"with a context of nowhere", set("@context", []any{"https://attacker.example/context.jsonld"}), "400"},
	{"with a context that leads inside", set("@context", []any{"http://169.254.169.254/latest/meta-data"}), "400"},
	{"with a context that is written out in it", set("@context", []any{context2025, map[string]any{"consumerPid": "https://attacker.example/x"}}), "400"},
	{"with a context that nests ten thousand times", text(func(b string) string {
		return strings.Replace(b, `"`+context2025+`"`, strings.Repeat(`{"@context":[`, 10_000)+`"x"`+strings.Repeat(`]}`, 10_000), 1)
	}), "400"},
	{"with ten thousand and one contexts", text(func(b string) string {
		return strings.Replace(b, `"`+context2025+`"`, strings.Repeat(`"https://attacker.example/c",`, 10_000)+`"`+context2025+`"`, 1)
	}), "400"},
	{"with a consumer that is a number", set("consumerPid", 7), "400"},
	{"with a provider that is an object", set("providerPid", map[string]any{"name": "urn:uuid:x"}), "400"},
	{"with a pid of ten thousand bytes", set("consumerPid", "urn:uuid:"+strings.Repeat("a", 10_000)), "400"},
	{"as text", header("Content-Type", "text/plain"), "415"},
	{"as a form", header("Content-Type", "application/x-www-form-urlencoded"), "415"},
	{"as something without a name", header("Content-Type", ""), "415"},
	{"as XML with an entity", func(f *flow, m *message) {
		become(`<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`)(f, m)
		m.header.Set("Content-Type", "application/xml")
	}, "415"},
	{"packed with gzip", header("Content-Encoding", "gzip"), "415"},
	{"packed with brotli", header("Content-Encoding", "br"), "415"},
	{"packed twice", header("Content-Encoding", "gzip, gzip"), "415"},
	{"of nobody", header("Authorization", ""), "401"},
	{"of a caller with a password", header("Authorization", "Basic bWFsbG9yeTp4"), "401"},
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":0,`, i)
	}
	return b.String()
}

// endless is a body that is all blanks; how much of it was taken is in the message.
func endless(_ *flow, m *message) { m.raw = &blanks{} }

type blanks struct{ taken int64 }

func (b *blanks) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte(" "), len(p)))
	b.taken += int64(len(p))
	return len(p), nil
}

// doors are where the shapes come in: one for each role, protocol and way of saying.
var doors = []struct {
	kind string
	at   stage
}{
	{"request", sells("")}, {"verification", sells("AGREED")}, {"agreement", buys("REQUESTED")}, {"finalized", buys("VERIFIED")},
	{"request", gives("")}, {"start", takes("REQUESTED")},
}

// written are the misbehaviours that are of one place.
var written = []misbehaviour{
	// Who begins a negotiation with us.
	{name: "a request names an offer that nobody made", at: sells(""), does: say("request", set("offer>@id", unknown)), want: "404"},
	{name: "a request wants the offer of one dataset for another", at: sells(""), does: say("request", set("offer>target", other)), want: "404"},
	{name: "a request wants a dataset that is not there", at: sells(""), does: say("request", set("offer>target", "urn:uuid:nothing")), want: "404"},
	{name: "a request has an offer without an id", at: sells(""), does: say("request", drop("offer>@id")), want: "400"},
	{name: "a request has an offer without a target", at: sells(""), does: say("request", drop("offer>target")), want: "400"},
	{name: "a request has an offer that is only an id", at: sells(""), does: say("request", set("offer", "urn:uuid:x")), want: "400"},
	{name: "a request has a list of offers", at: sells(""), does: say("request", set("offer", []any{})), want: "400"},
	{name: "a request has no offer", at: sells(""), does: say("request", drop("offer")), want: "400"},
	{name: "a request has an agreement for an offer", at: sells(""), does: say("request", set("offer>@type", "Agreement")), want: "400"},
	{name: "a request has a set for an offer", at: sells(""), does: say("request", set("offer>@type", "Set")), want: "400"},
	{name: "a request has an offer without rules", at: sells(""), does: say("request", drop("offer>permission")), want: "400"},
	{name: "a request has an offer with an empty list of rules", at: sells(""), does: say("request", set("offer>permission", []any{})), want: "400"},
	{name: "a request has a constraint without operator", at: sells(""),
		does: say("request", set("offer>permission", []any{map[string]any{"action": "use", "constraint": []any{map[string]any{"leftOperand": "x", "rightOperand": "y"}}}})), want: "400"},
	{name: "a request has constraints as deep as a hundred", at: sells(""), does: say("request", text(func(b string) string {
		return strings.Replace(b, `"action":"use"`, `"action":"use","constraint":[`+strings.Repeat(`{"and":[`, 100)+`{"leftOperand":"a","operator":"eq","rightOperand":"b"}`+strings.Repeat(`]}`, 100)+`]`, 1)
	})), want: "400"},
	{name: "a request has two thousand constraints", at: sells(""), does: say("request", text(func(b string) string {
		one := `{"leftOperand":"a","operator":"eq","rightOperand":"b"}`
		return strings.Replace(b, `"action":"use"`, `"action":"use","constraint":[`+strings.Repeat(one+",", 2000)+one+`]`, 1)
	})), want: "400"},
	{name: "a request has a pid for us already", at: sells(""), does: say("request", set("providerPid", unknown)), want: "400"},
	{name: "a request has no pid", at: sells(""), does: say("request", drop("consumerPid")), want: "400"},
	{name: "a request has a pid with a line break", at: sells(""), does: say("request", set("consumerPid", "urn:uuid:a\nforged log line")), want: "400"},
	{name: "a request has no callback address", at: sells(""), does: say("request", drop("callbackAddress")), want: "400"},
	{name: "a request begins at the path of a counter-offer of nobody", at: sells(""), does: say("request", at("/negotiations/"+unknown+"/request")), want: "400"},
	{name: "an offer comes uninvited", at: buys(""), does: say("offer"), want: "403"},
	{name: "an offer comes uninvited with a pid for us", at: buys(""), does: say("offer", set("consumerPid", unknown)), want: "400"},
	{name: "an offer comes uninvited and calls us back inside", at: buys(""), does: say("offer", set("callbackAddress", "http://169.254.169.254/")), want: "403"},
	{name: "a transfer is finished before it began", at: takes(""), does: say("completion", at("/transfers/"+unknown+"/completion"), set("consumerPid", unknown), set("providerPid", unknown)), want: "404"},
	{name: "a request comes by PUT", at: sells(""), does: say("request", method(http.MethodPut)), want: "404"},
	{name: "a request comes by PATCH", at: sells(""), does: say("request", method(http.MethodPatch)), want: "404"},
	{name: "a request comes to a path that is not there", at: sells(""), does: say("request", below("/more")), want: "404"},

	// Who goes on with what is not its own.
	{name: "a stranger ends a negotiation", at: sells("REQUESTED"), does: say("termination", by(eve)), want: "404"},
	{name: "a stranger accepts our offer", at: sells("OFFERED"), does: say("accepted", by(eve)), want: "404"},
	{name: "a stranger counters our offer", at: sells("OFFERED"), does: say("request", by(eve)), want: "404"},
	{name: "a stranger waits for our agreement", at: sells("ACCEPTED"), does: say("termination", by(eve)), want: "404"},
	{name: "a stranger verifies our agreement", at: sells("AGREED"), does: say("verification", by(eve)), want: "404"},
	{name: "a stranger ends a verified negotiation", at: sells("VERIFIED"), does: say("termination", by(eve)), want: "404"},
	{name: "a stranger reads what was concluded", at: sells("FINALIZED"), does: say("read", by(eve)), want: "404"},
	{name: "a stranger reads what was ended", at: sells("TERMINATED"), does: say("read", by(eve)), want: "404"},
	{name: "a stranger sends us an agreement", at: buys("REQUESTED"), does: say("agreement", by(eve)), want: "404"},
	{name: "a stranger sends us an offer", at: buys("REQUESTED"), does: say("offer", by(eve)), want: "404"},
	{name: "a stranger ends a negotiation with an offer", at: buys("OFFERED"), does: say("termination", by(eve)), want: "404"},
	{name: "a stranger concludes what we accepted", at: buys("ACCEPTED"), does: say("agreement", by(eve)), want: "404"},
	{name: "a stranger takes an agreement back", at: buys("AGREED"), does: say("termination", by(eve)), want: "404"},
	{name: "a stranger finalizes", at: buys("VERIFIED"), does: say("finalized", by(eve)), want: "404"},
	{name: "a stranger ends what is final", at: buys("FINALIZED"), does: say("termination", by(eve)), want: "404"},
	{name: "a stranger reads what we gave up", at: buys("TERMINATED"), does: say("read", by(eve)), want: "404"},
	{name: "a stranger ends a transfer that waits", at: gives("REQUESTED"), does: say("termination", by(eve)), want: "404"},
	{name: "a stranger suspends a transfer", at: gives("STARTED"), does: say("suspension", by(eve)), want: "404"},
	{name: "a stranger resumes a transfer", at: gives("SUSPENDED"), does: say("start", by(eve)), want: "404"},
	{name: "a stranger reads a transfer that is done", at: gives("COMPLETED"), does: say("read", by(eve)), want: "404"},
	{name: "a stranger reads a transfer that was ended", at: gives("TERMINATED"), does: say("read", by(eve)), want: "404"},
	{name: "a stranger starts our transfer with an address of hers", at: takes("REQUESTED"), does: say("start", by(eve)), want: "404"},
	{name: "a stranger completes our transfer", at: takes("STARTED"), does: say("completion", by(eve)), want: "404"},
	{name: "a stranger starts our transfer again", at: takes("SUSPENDED"), does: say("start", by(eve)), want: "404"},
	{name: "a stranger reads our transfer that is done", at: takes("COMPLETED"), does: say("read", by(eve)), want: "404"},
	{name: "a stranger reads our transfer that was ended", at: takes("TERMINATED"), does: say("read", by(eve)), want: "404"},

	// Pids that do not belong together.
	{name: "an acceptance names another provider's pid", at: sells("OFFERED"), does: say("accepted", set("providerPid", unknown)), want: "400"},
	{name: "an acceptance names another consumer's pid", at: sells("OFFERED"), does: say("accepted", set("consumerPid", unknown)), want: "400"},
	{name: "an acceptance has its pids the wrong way round", at: sells("OFFERED"), does: say("accepted", swap), want: "400"},
	{name: "a verification names no pid", at: sells("AGREED"), does: say("verification", drop("consumerPid"), drop("providerPid")), want: "400"},
	{name: "a verification is of a process that is not there", at: sells("AGREED"), does: say("verification", at("/negotiations/"+unknown+"/agreement/verification")), want: "404"},
	{name: "an agreement names another provider's pid", at: buys("REQUESTED"), does: say("agreement", set("providerPid", unknown)), want: "400"},
	{name: "an agreement names another consumer's pid", at: buys("ACCEPTED"), does: say("agreement", set("consumerPid", unknown)), want: "400"},
	{name: "a finalization has its pids the wrong way round", at: buys("VERIFIED"), does: say("finalized", swap), want: "400"},
	{name: "a negotiation is driven by its own pid at the peer", at: sells("OFFERED"), does: say("accepted", func(f *flow, m *message) { m.path = "/negotiations/" + f.consumer + "/events" }), want: "404"},
	{name: "a suspension names another provider's pid", at: gives("STARTED"), does: say("suspension", set("providerPid", unknown)), want: "400"},
	{name: "a completion names another consumer's pid", at: gives("STARTED"), does: say("completion", set("consumerPid", unknown)), want: "400"},
	{name: "a start names another provider's pid", at: takes("REQUESTED"), does: say("start", set("providerPid", unknown)), want: "400"},
	{name: "a start has its pids the wrong way round", at: takes("SUSPENDED"), does: say("start", swap), want: "400"},
	{name: "a transfer is driven as a negotiation", at: gives("STARTED"), does: say("termination", func(f *flow, m *message) {
		m.path, m.body["@type"] = "/negotiations/"+f.provider+"/termination", "ContractNegotiationTerminationMessage"
	}), want: "404"},
	{name: "a negotiation is driven as a transfer", at: buys("AGREED"), does: say("termination", func(f *flow, m *message) {
		m.path, m.body["@type"] = "/transfers/"+f.consumer+"/termination", "TransferTerminationMessage"
	}), want: "404"},
	{name: "a path climbs out of its process", at: sells("OFFERED"), does: say("accepted", at("/negotiations/%2e%2e%2fx/events")), want: "404"},
	{name: "a pid in the path is a database's quote", at: sells("OFFERED"), does: say("accepted", at("/negotiations/'%20OR%20'1'='1/events")), want: "404"},
	{name: "a pid in the path has a zero byte", at: sells("OFFERED"), does: say("accepted", at("/negotiations/a%00b/events")), want: "404"},
	{name: "a pid in the path is not UTF-8", at: sells("OFFERED"), does: say("accepted", at("/negotiations/%ff%fe/events")), want: "404"},
	{name: "a pid that was used begins another negotiation", at: sells("REQUESTED"), does: again("request"), want: "400"},
	{name: "a pid that was used begins another transfer", at: gives("REQUESTED"), does: again("request"), want: "400"},

	// What is said without being what was said before.
	{name: "an event is none of the two", at: sells("OFFERED"), does: say("accepted", set("eventType", "AGREED")), want: "400"},
	{name: "an event is in small letters", at: sells("OFFERED"), does: say("accepted", set("eventType", "accepted")), want: "400"},
	{name: "an event is missing", at: buys("VERIFIED"), does: say("finalized", drop("eventType")), want: "400"},
	{name: "an event is a list of both", at: buys("VERIFIED"), does: say("finalized", set("eventType", []any{"ACCEPTED", "FINALIZED"})), want: "400"},
	{name: "a counter-offer moves the callback address", at: sells("OFFERED"), does: say("request", set("callbackAddress", "https://attacker.example")), want: "400"},
	{name: "a counter-offer wants another dataset", at: sells("OFFERED"), does: say("request", set("offer>target", other)), want: "400"},
	{name: "an offer is of another dataset", at: buys("REQUESTED"), does: say("offer", set("offer>target", other)), want: "400"},
	{name: "an offer moves the callback address", at: buys("REQUESTED"), does: say("offer", set("callbackAddress", "https://attacker.example")), want: "400"},
	{name: "an offer has no rules", at: buys("REQUESTED"), does: say("offer", drop("offer>permission")), want: "400"},
	{name: "an agreement has no id", at: buys("REQUESTED"), does: say("agreement", drop("agreement>@id")), want: "400"},
	{name: "an agreement is an offer", at: buys("REQUESTED"), does: say("agreement", set("agreement>@type", "Offer")), want: "400"},
	{name: "an agreement is of another dataset", at: buys("REQUESTED"), does: say("agreement", set("agreement>target", other)), want: "400"},
	{name: "an agreement is assigned by somebody else", at: buys("REQUESTED"), does: say("agreement", set("agreement>assigner", eve)), want: "400"},
	{name: "an agreement is assigned to somebody else", at: buys("ACCEPTED"), does: say("agreement", set("agreement>assignee", eve)), want: "400"},
	{name: "an agreement binds us to ourselves", at: buys("REQUESTED"), does: say("agreement", func(f *flow, m *message) {
		set("agreement>assigner", string(f.h.Local.DID))(f, m)
	}), want: "400"},
	{name: "an agreement allows something else", at: buys("REQUESTED"), does: say("agreement", set("agreement>permission", []any{map[string]any{"action": "sell"}})), want: "400"},
	{name: "an agreement has a term more", at: buys("ACCEPTED"), does: say("agreement", set("agreement>permission", []any{map[string]any{"action": "use",
		"constraint": []any{map[string]any{"leftOperand": "purpose", "operator": "eq", "rightOperand": "x"}}}})), want: "400"},
	{name: "an agreement has a prohibition more", at: buys("ACCEPTED"), does: say("agreement", set("agreement>prohibition", []any{map[string]any{"action": "use"}})), want: "400"},
	{name: "an agreement has a duty more", at: buys("ACCEPTED"), does: say("agreement", set("agreement>obligation", []any{map[string]any{"action": "pay"}})), want: "400"},
	{name: "an agreement has no rules", at: buys("REQUESTED"), does: say("agreement", drop("agreement>permission")), want: "400"},
	{name: "an agreement was signed ten years ago", at: buys("REQUESTED"), does: say("agreement", set("agreement>timestamp", "2016-01-01T00:00:00Z")), want: "400"},
	{name: "an agreement will be signed in the year 9999", at: buys("REQUESTED"), does: say("agreement", set("agreement>timestamp", "9999-12-31T23:59:59Z")), want: "400"},
	{name: "an agreement was signed at no time", at: buys("REQUESTED"), does: say("agreement", drop("agreement>timestamp")), want: "400"},
	{name: "an agreement was signed at tea time", at: buys("REQUESTED"), does: say("agreement", set("agreement>timestamp", "tea time")), want: "400"},
	{name: "an agreement comes without the agreement", at: buys("ACCEPTED"), does: say("agreement", drop("agreement")), want: "400"},
	{name: "another agreement follows the first", at: buys("AGREED"), does: say("agreement"), want: "400"},
	{name: "the agreement that we verified is replaced", at: buys("VERIFIED"), does: say("agreement"), want: "400"},
	{name: "a finalized negotiation is taken back", at: buys("FINALIZED"), does: say("termination"), want: "400"},
	{name: "a reason is a number of a code", at: sells("REQUESTED"), does: say("termination", set("code", 7)), want: "400"},
	{name: "the code of a termination is a list", at: buys("REQUESTED"), does: say("termination", set("code", []any{"1", "2"})), want: "400"},

	// Transfers.
	{name: "a transfer wants data under an agreement that is not there", at: gives(""), does: say("request", set("agreementId", unknown)), want: "404"},
	{name: "a transfer wants data under the agreement of somebody else", at: gives(""), does: say("request", by(eve)), want: "404"},
	{name: "a transfer wants data under an agreement in which we are the consumer", at: gives(""), does: say("request", set("agreementId", "ATPC0101")), want: "404"},
	{name: "a transfer names two agreements", at: gives(""), does: say("request", set("agreementId", []any{"ATP0205", "ATP0206"})), want: "400"},
	{name: "a transfer names no agreement", at: gives(""), does: say("request", drop("agreementId")), want: "400"},
	{name: "a transfer wants a format that nobody knows", at: gives(""), does: say("request", set("format", "Pigeon-POST")), want: "400"},
	{name: "a transfer wants us to push to an address inside", at: gives(""), does: say("request", set("format", "HttpData-PUSH"),
		set("dataAddress", map[string]any{"@type": "DataAddress", "endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": "http://169.254.169.254/"})), want: "400"},
	{name: "a transfer names a secret of ours in its address", at: gives(""), does: say("request", set("format", "HttpData-PUSH"),
		set("dataAddress", map[string]any{"@type": "DataAddress", "endpointType": "HttpData", "endpointProperties": []any{
			map[string]any{"@type": "EndpointProperty", "name": "oauth2:clientSecretKey", "value": "vault-key"},
			map[string]any{"@type": "EndpointProperty", "name": "oauth2:tokenUrl", "value": "https://attacker.example/token"}}})), want: "400"},
	{name: "a transfer has an address that is no object", at: gives(""), does: say("request", set("dataAddress", "https://attacker.example")), want: "400"},
	{name: "a transfer has no callback address", at: gives(""), does: say("request", drop("callbackAddress")), want: "400"},
	{name: "a transfer has no pid", at: gives(""), does: say("request", drop("consumerPid")), want: "400"},
	{name: "a start has no address", at: takes("REQUESTED"), does: say("start", drop("dataAddress")), want: "400"},
	{name: "a start has an address without an endpoint", at: takes("REQUESTED"), does: say("start", drop("dataAddress>endpoint")), want: "400"},
	{name: "a start has an address of another type", at: takes("REQUESTED"), does: say("start", set("dataAddress>@type", "Address")), want: "400"},
	{name: "a start has an address without a kind", at: takes("SUSPENDED"), does: say("start", drop("dataAddress>endpointType")), want: "400"},
	{name: "a start has an address with a property twice", at: takes("REQUESTED"), does: say("start", set("dataAddress>endpointProperties", []any{property("a"), property("a")})), want: "400"},
	{name: "a start has an address with a hundred properties", at: takes("REQUESTED"), does: say("start", properties(100)), want: "400"},
	{name: "a start has an address with a property that is a number", at: takes("REQUESTED"), does: say("start",
		set("dataAddress>endpointProperties", []any{map[string]any{"@type": "EndpointProperty", "name": "a", "value": 7}})), want: "400"},
	{name: "a consumer starts its own transfer", at: gives("REQUESTED"), does: say("start"), want: "400"},

	// Answers to what we say.
	{name: "a request of ours is acknowledged without a pid", at: buys(""), does: answered(says(201, `{"@type":"ContractNegotiation","state":"REQUESTED"}`)), want: "TERMINATED answer.pid", moves: true},
	{name: "a request of ours is acknowledged with garbage", at: buys(""), does: answered(says(200, "welcome")), want: "TERMINATED answer.pid", moves: true},
	{name: "a request of ours is acknowledged with a pid that is a number", at: buys(""), does: answered(says(201, `{"providerPid":7,"state":"REQUESTED"}`)), want: "TERMINATED answer.pid", moves: true},
	{name: "a request of ours is acknowledged twice over in one answer", at: buys(""), does: answered(says(201, `{"providerPid":"urn:uuid:a","providerPid":"urn:uuid:b"}`)), want: "TERMINATED answer.pid", moves: true},
	{name: "a request of ours is acknowledged as deep as a hundred thousand", at: buys(""), does: answered(says(201, strings.Repeat("[", 100_000))), want: "TERMINATED answer.pid", moves: true},
	{name: "a request of ours is acknowledged with a page", at: buys(""), does: pending(says(200, "<html>welcome</html>")), want: "owed", moves: true},
	{name: "a request of ours is refused with a page", at: buys(""), does: pending(says(400, "<script>alert(1)</script>")), want: "owed", moves: true},
	{name: "a request of ours is refused with a problem", at: buys(""), does: answered(says(400, `{"code":"<script>alert(1)</script>"}`)), want: "TERMINATED <script>alert(1)</script>", moves: true},
	{name: "a request of ours is sent on to an address inside", at: buys(""), does: answered(sendsTo(307, inside+"/")), want: "TERMINATED peer.refused", moves: true},
	{name: "a request of ours is sent on to the metadata of the cloud", at: buys(""), does: answered(sendsTo(308, "http://169.254.169.254/latest/")), want: "TERMINATED peer.refused", moves: true},
	{name: "a request of ours is sent round in circles", at: buys(""), does: answered(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	}), want: "TERMINATED peer.refused", moves: true},
	{name: "a request of ours fails for ever", at: buys(""), does: pending(says(500, "boom")), want: "owed", moves: true},
	{name: "a request of ours gets an answer that never ends", at: buys(""), does: pending(floods), want: "owed", moves: true},
	{name: "a request of ours gets headers without end", at: buys(""), does: pending(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("a", 64<<10))
	}), want: "owed", moves: true},
	{name: "a request of ours is cut off", at: buys(""), does: pending(hangsUp), want: "owed", moves: true},
	{name: "a request of ours is not taken for ours", at: buys(""), does: pending(says(401, "")), want: "owed", moves: true},
	{name: "a transfer of ours is acknowledged without a pid", at: takes(""), does: answered(says(201, `{}`)), want: "TERMINATED answer.pid", moves: true},
	{name: "a transfer of ours is acknowledged with garbage", at: takes(""), does: answered(says(200, "\x00\xff")), want: "TERMINATED answer.pid", moves: true},
	{name: "a transfer of ours is sent on to an address inside", at: takes(""), does: answered(sendsTo(307, inside+"/")), want: "TERMINATED peer.refused", moves: true},
	{name: "a transfer of ours fails for ever", at: takes(""), does: pending(says(503, "later")), want: "owed", moves: true},
	{name: "a transfer of ours gets an answer that never ends", at: takes(""), does: pending(floods), want: "owed", moves: true},
	{name: "a transfer of ours is refused, and shown in a state that it has not", at: takes(""), does: answered(says(409, `{"state":"COMPLETED","code":"x"}`)), want: "TERMINATED x", moves: true},
	{name: "a peer speaks of our request in another process's words", at: buys(""), does: answered(func(w http.ResponseWriter, r *http.Request) {
		acknowledge(w, r, "urn:uuid:mallory-", "FINALIZED")
	}), want: "REQUESTED ", moves: true},
	{name: "an acknowledgement names another process than ours", at: buys(""), does: answered(says(201, `{"@type":"ContractNegotiation","consumerPid":"`+unknown+`","providerPid":"urn:uuid:b","state":"REQUESTED"}`)), want: "TERMINATED answer.pid", moves: true},

	// Addresses that lead inside.
	{name: "the data of a transfer lies at a name that leads inside", at: takes(""), does: pulls(inside + "/data"), want: "unavailable", moves: true},
	{name: "the data of a transfer lies in the metadata of the cloud", at: takes(""), does: pulls("http://169.254.169.254/latest/meta-data"), want: "unavailable", moves: true},
	{name: "the data of a transfer lies on this machine", at: takes(""), does: pulls("https://127.0.0.1/"), want: "unavailable", moves: true},
	{name: "the data of a transfer lies in a file", at: takes(""), does: pulls("file:///etc/passwd"), want: "unavailable", moves: true},
	{name: "the data of a transfer lies at no address at all", at: takes(""), does: pulls("://"), want: "unavailable", moves: true},
	{name: "the data of a transfer is sent on to an address inside", at: takes(""), does: pulls(""), want: "unavailable", moves: true},
	{name: "the answer to a negotiation goes to a name that leads inside", at: sells(""), does: callsBack("request"), want: "owed", moves: true},
}

func swap(_ *flow, m *message) {
	m.body["consumerPid"], m.body["providerPid"] = m.body["providerPid"], m.body["consumerPid"]
}

func property(name string) map[string]any {
	return map[string]any{"@type": "EndpointProperty", "name": name, "value": "x"}
}

func properties(n int) edit {
	var list []any
	for i := range n {
		list = append(list, property(strconv.Itoa(i)))
	}
	return set("dataAddress>endpointProperties", list)
}

// again begins another process under the pid of this one.
func again(kind string) func(f *flow) string {
	return func(f *flow) string {
		next := &flow{t: f.t, h: f.h, stage: f.stage, base: f.base, agreement: f.agreement, offer: f.offer}
		return say(kind, set("consumerPid", f.consumer))(next)
	}
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func sendsTo(status int, where string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, where, status) }
}

func floods(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusCreated)
	for blank := bytes.Repeat([]byte(" "), 64<<10); r.Context().Err() == nil; {
		if _, err := w.Write(blank); err != nil {
			return
		}
	}
}

func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// answered lets the peer answer our first message so, and returns what became of the process.
func answered(with http.HandlerFunc) func(f *flow) string {
	return func(f *flow) string {
		f.h.peer.answers(with)
		check(f.t, f.ask())
		f.settled()
		state, _, code, _, _ := f.look()
		return state + " " + code
	}
}

// pending lets the peer answer so, and returns whether the message is still owed when it was asked for the second time.
func pending(with http.HandlerFunc) func(f *flow) string {
	return func(f *flow) string {
		twice := make(chan struct{}, 64)
		f.h.peer.answers(func(w http.ResponseWriter, r *http.Request) {
			select {
			case twice <- struct{}{}:
			default:
			}
			with(w, r)
		})
		check(f.t, f.ask())
		<-twice
		<-twice
		state, _, _, _, owed := f.look()
		if state == string(negotiation.Initial) && owed {
			return "owed"
		}
		return state
	}
}

// pulls starts our transfer with data at the address, "" for one that sends us on to it, and returns how the fetch failed.
func pulls(endpoint string) func(f *flow) string {
	return func(f *flow) string {
		f.h.peer.answers(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				http.Redirect(w, r, inside+"/", http.StatusFound)
				return
			}
			acknowledge(w, r, "urn:uuid:mallory-", "REQUESTED")
		})
		var failed error
		done := make(chan struct{})
		errand := exchange.Errand{Peer: mallory, Asset: f.agreement, Actor: "operator"}
		ctx := f.t.Context()
		go func() {
			defer close(done)
			_, failed = f.h.Pull(ctx, f.h.Local, errand)
		}()
		f.until(func() bool {
			select {
			case <-done:
				return true
			default:
			}
			f.consumer, f.provider = f.h.pulling(f.t, f.agreement)
			return f.provider != ""
		})
		m := f.message("start")
		if endpoint != "" {
			set("dataAddress>endpoint", endpoint)(f, &m)
		}
		if got := f.send(m); got.status != http.StatusOK {
			return strconv.Itoa(got.status)
		}
		<-done
		return kindOf(failed)
	}
}

// callsBack begins a process whose callback address is a name that leads inside, and lets an operator answer.
func callsBack(kind string) func(f *flow) string {
	return func(f *flow) string {
		m := f.message(kind)
		m.body["callbackAddress"] = inside + "/dsp"
		got := f.send(m)
		f.consumer, f.provider = m.body["consumerPid"].(string), got.text("providerPid")
		if got.status != http.StatusCreated {
			return strconv.Itoa(got.status)
		}
		check(f.t, f.operate("offer"))
		<-f.h.lookups
		_, _, _, _, owed := f.look()
		if owed {
			return "owed"
		}
		return f.at()
	}
}
