package rpc_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"flag"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
	"github.com/sluice-connector/sluice/policy/profile"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

var update = flag.Bool("update", false, "write golden files")

func TestEveryMethodHasARowInTheAccessTable(t *testing.T) {
	t.Parallel()
	all := []string{"GET /metrics"} // which no service has
	protoregistry.GlobalFiles.RangeFilesByPackage("sluice.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	got := rpc.Methods()
	slices.Sort(all)
	slices.Sort(got)
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("methods (-services +table):\n%s", diff)
	}
}

func TestTheAccessTableIsTheReviewedOne(t *testing.T) {
	t.Parallel()
	got := rpc.AccessTable()
	if *update {
		if err := os.WriteFile("testdata/access.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/access.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheGateKnowsWhoMayGoWhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name, token, method, path string
		want                      int
	}{
		{"lets an operator read its own", b.operator, "GET", "/v1/participants/aurora/assets", 200},
		{"lets a reader read", b.reader, "GET", "/v1/participants/aurora/assets", 200},
		{"keeps an auditor from assets", b.auditor, "GET", "/v1/participants/aurora/assets", 403},
		{"lets an auditor see the log", b.auditor, "GET", "/v1/participants/aurora/log", 200},
		{"keeps a reader from changes", b.reader, "DELETE", "/v1/participants/aurora/assets/x?version=1", 403},
		{"lets a token of the process in everywhere", b.process, "GET", "/v1/participants/boreal/assets", 200},
		{"keeps a hosted token from the process", b.operator, "GET", "/v1/tokens", 403},
		{"lets a token of the process see tokens of the process", b.process, "GET", "/v1/tokens", 200},
		{"shows a token of the process what is counted", b.token(t, 0, rpc.Reader, time.Time{}), "GET", "/metrics", 200},
		{"shows an auditor of the process what is counted", b.token(t, 0, rpc.Auditor, time.Time{}), "GET", "/metrics", 200},
		{"keeps an agent from what is counted", b.token(t, 0, rpc.Agent, time.Time{}), "GET", "/metrics", 403},
		{"keeps a hosted token from what all of the process together count", b.operator, "GET", "/metrics", 403},
		{"tells nobody else what is counted", "", "GET", "/metrics", 401},
		{"hides other participants", b.operator, "GET", "/v1/participants/boreal/assets", 404},
		{"hides other participants from streams", b.operator, "GET", "/v1/participants/boreal/log/export", 404},
		{"does not know a participant that is not there", b.operator, "GET", "/v1/participants/nobody/assets", 404},
		{"does not know a slug that cannot be", b.operator, "GET", "/v1/participants/No%20body/assets", 404},
		{"refuses no token", "", "GET", "/v1/participants/aurora/assets", 401},
		{"refuses an unknown token", "slc_x", "GET", "/v1/participants/aurora/assets", 401},
		{"refuses a token that has ended", b.expired, "GET", "/v1/participants/aurora/assets", 401},
		{"refuses streams without a token", "", "POST", "/v1/participants/aurora/pull?peer=p&asset=a", 401},
		{"keeps a reader from pulling", b.reader, "POST", "/v1/participants/aurora/pull?peer=p&asset=a", 403},
		{"does not know other addresses", b.operator, "GET", "/v2/participants", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, body, h := b.call(t, tt.method, tt.path, tt.token, "")
			if got != tt.want {
				t.Errorf("got %d %s, want %d", got, body, tt.want)
			}
			if got >= 400 && h.Get("Content-Type") != "application/problem+json" {
				t.Errorf("a refusal came as %q", h.Get("Content-Type"))
			}
		})
	}
}

func TestWhatIsHiddenAnswersLikeWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/assets", "/negotiations/x", "/log", "/log/export", "/events", "/tokens"} {
		_, hidden, _ := b.call(t, "GET", "/v1/participants/boreal"+path, b.operator, "")
		_, absent, _ := b.call(t, "GET", "/v1/participants/nobody"+path, b.operator, "")
		if hidden != absent {
			t.Errorf("%s: hidden answers %s, absent %s", path, hidden, absent)
		}
	}
	var bodies []string
	for _, token := range []string{"", "slc_x", b.expired} {
		_, body, _ := b.call(t, "GET", "/v1/participants/aurora/assets", token, "")
		bodies = append(bodies, body)
	}
	if bodies[0] != bodies[1] || bodies[1] != bodies[2] {
		t.Errorf("refused tokens differ: %q", bodies)
	}
}

func TestAnAssetGoesRoundUnchangedOverBothWays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"urn:sluice:asset:C-1", "https://aurora.example/parts/1?x=y", "with:retire"} {
		body, err := protojson.Marshal(asset(id))
		if err != nil {
			t.Fatal(err)
		}
		path := "/v1/participants/aurora/assets/" + url.PathEscape(id)
		code, text, _ := b.call(t, "PUT", path, b.operator, string(body))
		if code != 200 {
			t.Fatalf("PUT %s: got %d %s", id, code, text)
		}
		var overREST pb.Asset
		code, text, _ = b.call(t, "GET", path, b.reader, "")
		if err := protojson.Unmarshal([]byte(text), &overREST); code != 200 || err != nil {
			t.Fatalf("GET %s: got %d %s, %v", id, code, text, err)
		}
		overGRPC, err := pb.NewAssetServiceClient(b.conn).GetAsset(as(t.Context(), b.reader), &pb.GetAssetRequest{Participant: "aurora", Id: id})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(overGRPC, &overREST, protocmp.Transform()); diff != "" {
			t.Errorf("%s: (-gRPC +REST):\n%s", id, diff)
		}
		want := asset(id)
		want.Version = 1
		want.GetContent().Data, want.GetContent().Digest = nil, overGRPC.GetContent().GetDigest()
		if diff := cmp.Diff(want, overGRPC, protocmp.Transform(), protocmp.IgnoreFields(want, "created", "updated")); diff != "" {
			t.Errorf("%s: (-put +got):\n%s", id, diff)
		}
	}
}

func TestAPolicyAndARuleMakeAnOffer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := as(t.Context(), b.operator)
	b.put(t, "cell")
	ecosystem, err := profile.Default()
	if err != nil {
		t.Fatal(err)
	}
	digests := map[pb.PolicyKind]string{}
	for name, kind := range map[string]pb.PolicyKind{"members": pb.PolicyKind_POLICY_KIND_ACCESS, "pcf": pb.PolicyKind_POLICY_KIND_USAGE} {
		p, _, _ := ecosystem.Template(name)
		text, err := odrl.Marshal(p, odrl.Parties{Kind: "Set"})
		if err != nil {
			t.Fatal(err)
		}
		var s structpb.Struct
		if err := protojson.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		made, err := pb.NewPolicyServiceClient(b.conn).CreatePolicy(ctx, &pb.CreatePolicyRequest{Participant: "aurora", Name: name, Kind: kind, Odrl: &s})
		if err != nil {
			t.Fatal(err)
		}
		got, err := pb.NewPolicyServiceClient(b.conn).GetPolicy(ctx, &pb.GetPolicyRequest{Participant: "aurora", Digest: made.GetDigest()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(made, got, protocmp.Transform()); diff != "" || made.GetDigest() != odrl.Digest(p) {
			t.Errorf("%s: digest %s, want %s; (-made +got):\n%s", name, made.GetDigest(), odrl.Digest(p), diff)
		}
		digests[kind] = made.GetDigest()
	}
	rule := &pb.Rule{Id: "all", Selector: &pb.Selector{Assets: []string{"cell"}}, Access: digests[pb.PolicyKind_POLICY_KIND_ACCESS], Usage: digests[pb.PolicyKind_POLICY_KIND_USAGE]}
	made, err := pb.NewOfferServiceClient(b.conn).PutRule(ctx, &pb.PutRuleRequest{Participant: "aurora", Rule: rule})
	if err != nil {
		t.Fatal(err)
	}
	rule.Version = 1
	if diff := cmp.Diff(rule, made, protocmp.Transform(), protocmp.IgnoreFields(rule, "created")); diff != "" {
		t.Errorf("(-put +got):\n%s", diff)
	}
	list, err := pb.NewOfferServiceClient(b.conn).ListOffers(ctx, &pb.ListOffersRequest{Participant: "aurora"})
	if err != nil || len(list.GetOffers()) != 1 || list.GetOffers()[0].GetAsset() != "cell" {
		t.Errorf("got offers %v, %v", list, err)
	}
}

func TestAPolicyWithAnUnknownTermIsRefusedWithItsClause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code, body, _ := b.call(t, "POST", "/v1/participants/aurora/policies", b.operator, `{"kind":"POLICY_KIND_USAGE","odrl":{"@type":"Set",
		"permission":[{"action":"use","constraint":[{"leftOperand":"PhaseOfMoon","operator":"eq","rightOperand":"full"}]}]}}`)
	if code != 400 || !strings.Contains(body, "permission/0") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestBadBodiesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"what is no JSON", "{", 400},
		{"an unknown field", `{"slg":"x"}`, 400},
		{"a field that stands there twice", `{"slug":"x","slug":"y"}`, 400},
		{"a wrong type", `{"slug":{}}`, 400},
		{"a slug that cannot be", `{"slug":"X","name":"x"}`, 400},
		{"a body that is too large", `{"name":"` + strings.Repeat("x", rpc.MaxBody) + `"}`, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, body, _ := b.call(t, "POST", "/v1/participants", b.process, tt.body); code != tt.want {
				t.Errorf("got %d %s, want %d", code, body, tt.want)
			}
		})
	}
	all, err := b.store.Participants(t.Context())
	if err != nil || len(all) != 2 {
		t.Errorf("got %d participants, %v; want the 2 that were there", len(all), err)
	}
}

func TestAListIsPagedAndItsTokensAreBound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.put(t, "a", "b", "c", "d", "e")
	client := pb.NewAssetServiceClient(b.conn)
	var got []string
	token, first := "", ""
	for {
		page, err := client.ListAssets(as(t.Context(), b.reader), &pb.ListAssetsRequest{Participant: "aurora", PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.GetAssets() {
			got = append(got, a.GetId())
		}
		if first == "" {
			first = page.GetNextPageToken()
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	flipped := []byte(first)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct {
		name, token string
		call        func(token string) error
	}{
		{"one byte changed", string(flipped), func(token string) error {
			_, err := client.ListAssets(as(t.Context(), b.reader), &pb.ListAssetsRequest{Participant: "aurora", PageToken: token})
			return err
		}},
		{"another caller", first, func(token string) error {
			_, err := client.ListAssets(as(t.Context(), b.operator), &pb.ListAssetsRequest{Participant: "aurora", PageToken: token})
			return err
		}},
		{"another participant", first, func(token string) error {
			_, err := client.ListAssets(as(t.Context(), b.process), &pb.ListAssetsRequest{Participant: "boreal", PageToken: token})
			return err
		}},
		{"another method", first, func(token string) error {
			_, err := pb.NewOfferServiceClient(b.conn).ListRules(as(t.Context(), b.reader), &pb.ListRulesRequest{Participant: "aurora", PageToken: token})
			return err
		}},
		{"what is no token", "hello", func(token string) error {
			_, err := client.ListAssets(as(t.Context(), b.reader), &pb.ListAssetsRequest{Participant: "aurora", PageToken: token})
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(tt.token); status.Code(err) != codes.InvalidArgument {
				t.Errorf("got %v, want InvalidArgument", err)
			}
		})
	}
}

func TestAPageOfAPeersCatalogGoesOnWhereThePeerSaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client, req := pb.NewCatalogServiceClient(b.conn), &pb.RequestCatalogRequest{Participant: "aurora", Peer: "did:web:boreal.example"}
	b.parts.next = "https://boreal.example/catalog?page=" + strings.Repeat("2", 2000) // as long as an address may be
	one, err := client.RequestCatalog(as(t.Context(), b.reader), req)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(one.GetNextPageToken(), "boreal") {
		t.Error("the token shows the peer's address")
	}
	req.PageToken = one.GetNextPageToken()
	two, err := client.RequestCatalog(as(t.Context(), b.reader), req)
	if err != nil || len(two.GetDatasets()) != 1 || two.GetNextPageToken() != "" {
		t.Errorf("got %v, %v", two, err)
	}
	req.Peer = "did:web:dusk.example"
	if _, err := client.RequestCatalog(as(t.Context(), b.reader), req); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a token taken to another peer: got %v, want InvalidArgument", err)
	}
}

func TestACallWhoseAnswerWasLostIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.answers.loses = true
	body, key := `{"role":"ROLE_READER","label":"console"}`, []string{"Idempotency-Key", "k-1"}
	if code, text, _ := b.call(t, "POST", "/v1/participants/aurora/tokens", b.operator, body, key...); code != 200 {
		t.Fatalf("the first time: %d %s", code, text)
	}
	b.answers.loses = false
	if code, text, _ := b.call(t, "POST", "/v1/participants/aurora/tokens", b.operator, body, key...); code != 409 || !strings.Contains(text, "idempotency.answered") {
		t.Errorf("the repeat: got %d %s, want 409 and that it was carried out", code, text)
	}
	all, err := b.store.Tokens(t.Context(), from(t, b, "aurora"))
	made := 0
	for _, token := range all {
		if token.Label == "console" {
			made++
		}
	}
	if err != nil || made != 1 {
		t.Errorf("%d tokens were made, %v; want one", made, err)
	}
}

func TestARepeatUnderAnIdempotencyKeyIsAnsweredAndNotDone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body, key := `{"role":"ROLE_READER","label":"console"}`, []string{"Idempotency-Key", "k-1"}
	_, one, _ := b.call(t, "POST", "/v1/participants/aurora/tokens", b.operator, body, key...)
	code, two, _ := b.call(t, "POST", "/v1/participants/aurora/tokens", b.operator, body, key...)
	var first, second pb.CreateTokenResponse
	if err := errors.Join(protojson.Unmarshal([]byte(one), &first), protojson.Unmarshal([]byte(two), &second)); err != nil || code != 200 {
		t.Fatalf("got %d %s, %v", code, two, err)
	}
	if !strings.HasPrefix(first.GetSecret(), rpc.TokenPrefix) || second.GetSecret() != "" || !proto.Equal(first.GetToken(), second.GetToken()) {
		t.Errorf("got %v, then %v", &first, &second)
	}
	if code, text, _ := b.call(t, "POST", "/v1/participants/aurora/tokens", b.operator, strings.Replace(body, "console", "other", 1), key...); code != 409 {
		t.Errorf("the key with another request: got %d %s, want 409", code, text)
	}
	if code, text, _ := b.call(t, "POST", "/v1/participants/aurora/tokens", b.process, strings.Replace(body, "console", "other", 1), key...); code != 200 {
		t.Errorf("the key of another caller: got %d %s, want 200", code, text)
	}
	if code, _, _ := b.call(t, "POST", "/v1/participants/aurora/tokens", b.operator, body, "Idempotency-Key", "with space"); code != 400 {
		t.Errorf("a key with a space: got %d, want 400", code)
	}
	all, err := b.store.Tokens(t.Context(), from(t, b, "aurora"))
	labels := map[string]int{}
	for _, token := range all {
		labels[token.Label]++
	}
	if err != nil || labels["console"] != 1 {
		t.Errorf("got %v, %v; want one console token", labels, err)
	}
	if code, _, _ := b.call(t, "GET", "/v1/participants/aurora/assets", first.GetSecret(), ""); code != 200 {
		t.Errorf("the made token: got %d", code)
	}
}

func from(t *testing.T, b *bench, slug string) participant.ID {
	t.Helper()
	p, err := b.store.Participant(t.Context(), slug)
	if err != nil {
		t.Fatal(err)
	}
	return p.ID
}

func TestDecisionsAreListedInTheOrderOfTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.put(t, "a", "b", "c")
	entries, err := b.store.Unsequenced(t.Context(), "aurora", 10)
	if err != nil || len(entries) != 3 {
		t.Fatalf("got %d records, %v", len(entries), err)
	}
	var leaves [][]byte
	var ids []string
	for _, e := range entries {
		leaves, ids = append(leaves, e.Bytes), append(ids, e.ID)
	}
	head, err := decisionlog.Head{}.Append(leaves...)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.Sequence(t.Context(), "aurora", decisionlog.Head{}, head, ids); err != nil {
		t.Fatal(err)
	}
	client := pb.NewDecisionServiceClient(b.conn)
	req := &pb.ListDecisionsRequest{Participant: "aurora", PageSize: 2}
	one, err := client.ListDecisions(as(t.Context(), b.auditor), req)
	if err != nil || len(one.GetDecisions()) != 2 {
		t.Fatalf("got %v, %v", one, err)
	}
	req.PageToken = one.GetNextPageToken()
	two, err := client.ListDecisions(as(t.Context(), b.auditor), req)
	if err != nil || len(two.GetDecisions()) != 1 || two.GetDecisions()[0].GetIndex() != 2 || two.GetNextPageToken() != "" {
		t.Fatalf("got %v, %v", two, err)
	}
	if got := two.GetDecisions()[0]; got.GetKind() != decisionlog.KindOperator || !bytes.Equal(got.GetRecord(), leaves[2]) {
		t.Errorf("got %v", got)
	}
	log, err := client.GetLog(as(t.Context(), b.auditor), &pb.GetLogRequest{Participant: "aurora"})
	if err != nil || log.GetSize() != 3 || log.GetWaiting() != 0 || log.GetKey() != "key of aurora" {
		t.Errorf("got %v, %v", log, err)
	}
	if _, err := client.GetDecision(as(t.Context(), b.auditor), &pb.GetDecisionRequest{Participant: "aurora", Index: 3}); status.Code(err) != codes.NotFound {
		t.Errorf("past the end: got %v", err)
	}
}

func TestNegotiationsAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := from(t, b, "aurora")
	for i, pid := range []string{"urn:uuid:1", "urn:uuid:2"} {
		n := negotiation.Negotiation{Participant: id, ID: pid, Version: 1, Role: negotiation.Consumer, Peer: "did:web:boreal.example", State: negotiation.Terminated,
			Code: "policy.refused", Reasons: []string{"why"}, Offer: negotiation.Offer{ID: "o", Target: "cell"}, Created: clock().Add(time.Duration(i) * time.Second), Updated: clock()}
		if err := b.store.CreateNegotiation(t.Context(), n, commit.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	code, text, _ := b.call(t, "GET", "/v1/participants/aurora/negotiations?state=TERMINATED&pageSize=1", b.reader, "")
	var got pb.ListNegotiationsResponse
	if err := protojson.Unmarshal([]byte(text), &got); code != 200 || err != nil {
		t.Fatalf("got %d %s, %v", code, text, err)
	}
	if len(got.GetNegotiations()) != 1 || got.GetNegotiations()[0].GetId() != "urn:uuid:2" || got.GetNegotiations()[0].GetReasons()[0] != "why" {
		t.Errorf("got %v", &got)
	}
	if code, _, _ := b.call(t, "GET", "/v1/participants/aurora/negotiations?state=LOST", b.reader, ""); code != 400 {
		t.Errorf("an unknown state: got %d", code)
	}
	if code, text, _ := b.call(t, "POST", "/v1/participants/aurora/negotiations/urn:uuid:2/terminate", b.operator, `{"version":"7"}`); code != 409 {
		t.Errorf("a stale version: got %d %s", code, text)
	}
}

func TestTokensAreMadeAndEndedOnRecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, client := as(t.Context(), b.operator), pb.NewTokenServiceClient(b.conn)
	made, err := client.CreateToken(ctx, &pb.CreateTokenRequest{Participant: "aurora", Role: pb.Role_ROLE_AUDITOR, Label: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteToken(ctx, &pb.DeleteTokenRequest{Participant: "aurora", Id: made.GetToken().GetId()}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteToken(ctx, &pb.DeleteTokenRequest{Participant: "aurora", Id: made.GetToken().GetId()}); status.Code(err) != codes.NotFound {
		t.Errorf("ended twice: got %v, want NotFound", err)
	}
	if code, _, _ := b.call(t, "GET", "/v1/participants/aurora/log", made.GetSecret(), ""); code != 401 {
		t.Errorf("an ended token: got %d, want 401", code)
	}
	records, err := b.store.Unsequenced(t.Context(), "aurora", 10)
	if err != nil || len(records) != 2 {
		t.Errorf("got %d records, %v; want 2", len(records), err)
	}
	told, err := b.store.EventsSince(t.Context(), from(t, b, "aurora"), 0, 10)
	if err != nil || len(told) != 2 || told[1].Type != "token.deleted" || told[1].Actor != rpc.Operator {
		t.Errorf("got %v, %v", told, err)
	}
}

func TestWhatIsDoneToTheWholeProcessLeavesALineThatNamesTheActor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made, err := pb.NewTokenServiceClient(b.conn).CreateToken(as(t.Context(), b.process), &pb.CreateTokenRequest{Role: pb.Role_ROLE_AUDITOR, Label: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "action=token.create actor=operator participant=\"\" subject=" + made.GetToken().GetId(); !strings.Contains(b.log.String(), want) {
		t.Errorf("logged %s, want %s", b.log, want)
	}
	if strings.Contains(b.log.String(), made.GetSecret()) {
		t.Error("the log holds the token")
	}
}

func TestANegotiationFindsItsOfferInThePeersCatalog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.parts.next = "https://boreal.example/catalog?page=2"
	for _, tt := range []struct {
		name string
		req  *pb.BeginNegotiationRequest
		want codes.Code
	}{
		{"an offer that is on no page", &pb.BeginNegotiationRequest{Offer: "nowhere"}, codes.NotFound},
		{"a dataset that is not there", &pb.BeginNegotiationRequest{Asset: "nothing"}, codes.NotFound},
		{"neither", &pb.BeginNegotiationRequest{}, codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.req.Participant, tt.req.Peer = "aurora", "did:web:boreal.example"
			_, err := pb.NewNegotiationServiceClient(b.conn).BeginNegotiation(as(t.Context(), b.operator), tt.req)
			if status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestABugInOneCallIsAnErrorOfThatCallAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.parts.body = func() (io.ReadCloser, int64) { panic("bug") }
	stream, err := pb.NewTransferServiceClient(b.conn).Pull(as(t.Context(), b.operator), &pb.PullRequest{Participant: "aurora", Peer: "p", Asset: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "bug") {
		t.Errorf("got %v, want Internal without its cause", err)
	}
	var incident string
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			incident = info.GetMetadata()["incident"]
		}
	}
	if incident == "" || !strings.Contains(b.log.String(), "incident="+incident) {
		t.Errorf("the incident %q is not in the log:\n%s", incident, b.log)
	}
	b.put(t, "a")
}

func TestTheDescriptionIsServed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if code, text, _ := b.call(t, "GET", "/v1/openapi.json", "", ""); code != 200 || !strings.Contains(text, "/v1/participants/{participant}/negotiations") {
		t.Errorf("got %d and %d bytes", code, len(text))
	}
}

func FuzzPageTokensNeverOpenUnlessMadeHere(f *testing.F) {
	server, err := rpc.New(rpc.Config{Cursors: cursors(f), Rand: rand.Reader, Now: clock})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("hello")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		if err := server.OpenToken(participant.Participant{Slug: "aurora"}, token); err == nil && token != "" {
			t.Errorf("%q was taken for a page token", token)
		}
	})
}
