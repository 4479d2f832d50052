package rpc_test

import (
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// keeping is the company that issues, and keeps the directory.
func keeping(t *testing.T, l *login, n *network.Network) company {
	t.Helper()
	conn, err := grpc.NewClient(n.Authority.Management, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return company{Company: n.Authority, conn: conn, token: l.token(t, "morgan", rpc.Operator, map[string]any{"companies": "all"})}
}

// at is the URL of the directory that the authority keeps.
func at(cfg *connector.Config) string {
	return cfg.Settings.Egress.Peers[0] + "/" + network.AuthoritySlug + "/directory"
}

func TestACompanyIsFoundByItsNumber(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	n, cobalt, boreal := dataspaceWith(t, l, func(_ string, cfg *connector.Config) {
		cfg.Settings.Profiles[0].Directory = settings.Directory{URL: at(cfg)}
	})
	meridian := keeping(t, l, n)
	keeps, asks := pb.NewDirectoryServiceClient(meridian.conn), pb.NewDirectoryServiceClient(boreal.conn)
	const number = "BPNL00000000COB1"
	must(t, meridian, keeps.PutNumber, &pb.PutNumberRequest{Participant: "meridian", Number: number, Did: string(cobalt.Local.DID)})
	must(t, meridian, keeps.PutNumber, &pb.PutNumberRequest{Participant: "meridian", Number: "BPNL00000000TWO1", Did: string(meridian.Local.DID)})
	must(t, meridian, keeps.PutNumber, &pb.PutNumberRequest{Participant: "meridian", Number: "BPNL00000000TWO2", Did: string(meridian.Local.DID)})
	for _, bad := range []*pb.PutNumberRequest{{Number: "BPNS00000000COB1", Did: string(cobalt.Local.DID)}, {Number: number, Did: "did:web:127.0.0.1"}, {Number: number, Did: "did:key:x"}} {
		bad.Participant = "meridian"
		if _, err := keeps.PutNumber(meridian.ctx(t), bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}

	got := must(t, boreal, asks.ResolveNumber, &pb.ResolveNumberRequest{Participant: "boreal", Peer: number})
	if got.GetDid() != string(cobalt.Local.DID) {
		t.Errorf("%s is %s", number, got.GetDid())
	}
	if back := must(t, boreal, asks.ResolveNumber, &pb.ResolveNumberRequest{Participant: "boreal", Peer: string(cobalt.Local.DID)}); back.GetNumber() != number {
		t.Errorf("%s is %s", cobalt.Local.DID, back.GetNumber())
	}
	for peer, want := range map[string]codes.Code{"BPNL00000000NON1": codes.NotFound, "BPNS00000000COB1": codes.InvalidArgument, "Cobalt Cells": codes.InvalidArgument,
		string(boreal.Local.DID): codes.NotFound, string(meridian.Local.DID): codes.Aborted} {
		if _, err := asks.ResolveNumber(boreal.ctx(t), &pb.ResolveNumberRequest{Participant: "boreal", Peer: peer}); status.Code(err) != want {
			t.Errorf("%s: %v, want %s", peer, err, want)
		}
	}

	// Whoever names a peer may name it by number.
	must(t, cobalt, pb.NewAssetServiceClient(cobalt.conn).PutAsset, &pb.PutAssetRequest{Participant: "cobalt", Asset: asset("cell")})
	offerTo(t, cobalt, "cell", term("Membership", "eq", "active"))
	shown := must(t, boreal, pb.NewCatalogServiceClient(boreal.conn).RequestCatalog, &pb.RequestCatalogRequest{Participant: "boreal", Peer: number})
	if len(shown.GetDatasets()) != 1 {
		t.Errorf("the catalog of %s shows %v", number, shown.GetDatasets())
	}
	begun := must(t, boreal, pb.NewNegotiationServiceClient(boreal.conn).BeginNegotiation, &pb.BeginNegotiationRequest{Participant: "boreal", Peer: number, Asset: "cell"})
	if begun.GetPeer() != string(cobalt.Local.DID) {
		t.Errorf("the negotiation is with %s", begun.GetPeer())
	}
	stream, err := pb.NewTransferServiceClient(boreal.conn).Pull(boreal.ctx(t), &pb.PullRequest{Participant: "boreal", Peer: number, Asset: "cell"})
	for err == nil {
		_, err = stream.Recv()
	}
	if err != io.EOF {
		t.Errorf("pull: %v", err)
	}
	if _, err := pb.NewCatalogServiceClient(boreal.conn).RequestCatalog(boreal.ctx(t), &pb.RequestCatalogRequest{Participant: "boreal", Peer: "BPNL00000000NON1"}); status.Code(err) != codes.NotFound {
		t.Errorf("the catalog of a number that nobody has: %v", err)
	}
}

func TestWithoutADirectoryANumberIsNobody(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	_, _, boreal := dataspace(t, l)
	_, err := pb.NewDirectoryServiceClient(boreal.conn).ResolveNumber(boreal.ctx(t), &pb.ResolveNumberRequest{Participant: "boreal", Peer: "BPNL00000000COB1"})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "no directory of numbers is configured") {
		t.Errorf("%v", err)
	}
}

// taken keeps what was shown to a directory, for somebody who would show it again.
type taken struct {
	mu     sync.Mutex
	bearer string
}

func (s *taken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bearer = r.Header.Get("Authorization")
	_, _ = w.Write([]byte("{}"))
}

func TestADirectoryIsForMembersAndEachProofForOneReading(t *testing.T) {
	t.Parallel()
	l, thief := newLogin(t), &taken{}
	elsewhere := httptest.NewServer(thief)
	t.Cleanup(elsewhere.Close)
	var public string
	n, cobalt, _ := dataspaceWith(t, l, func(_ string, cfg *connector.Config) {
		public, cfg.Settings.Profiles[0].Directory = at(cfg), settings.Directory{URL: elsewhere.URL + "/"}
	})
	meridian := keeping(t, l, n)
	must(t, meridian, pb.NewDirectoryServiceClient(meridian.conn).PutNumber, &pb.PutNumberRequest{Participant: "meridian", Number: "BPNL00000000COB1", Did: string(cobalt.Local.DID)})
	must(t, cobalt, pb.NewParticipantServiceClient(cobalt.conn).CreateParticipant, &pb.CreateParticipantRequest{Slug: "dusk", Name: "Dusk Trading"})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.CA.Pool()}, DisableCompression: true}}
	read := func(path, bearer string) (int, string, http.Header) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, public+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			r.Header.Set("Authorization", bearer)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body), res.Header
	}
	proof := func() string {
		t.Helper()
		// Each company that asks shows a proof; it is caught on its way to another directory.
		_, err := pb.NewDirectoryServiceClient(cobalt.conn).ResolveNumber(cobalt.ctx(t), &pb.ResolveNumberRequest{Participant: "cobalt", Peer: "BPNL00000000COB1"})
		if status.Code(err) != codes.NotFound {
			t.Fatal(err)
		}
		thief.mu.Lock()
		defer thief.mu.Unlock()
		return thief.bearer
	}
	good := proof()
	code, body, header := read("/bpn-directory", good)
	if code != http.StatusOK || header.Get("Content-Encoding") != "gzip" || header.Get("Cache-Control") != "no-store" {
		t.Fatalf("a member: %d %v %s", code, header, body)
	}
	inflated, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	var rows map[string]string
	if err := json.NewDecoder(inflated).Decode(&rows); err != nil || len(rows) != 1 || rows["BPNL00000000COB1"] != string(cobalt.Local.DID) {
		t.Errorf("it says %v, %v", rows, err)
	}
	said := map[string]bool{}
	for name, bearer := range map[string]string{"nobody": "", "the same proof again": good, "junk": "Bearer x.y.z", "no bearer": strings.TrimPrefix(good, "Bearer "),
		"a self-issued token": "Bearer " + l.token(t, "x", "operator", nil), "an oversized one": "Bearer " + strings.Repeat("A", 20<<10)} {
		code, body, _ := read("/bpn-directory", bearer)
		if code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, code, body)
		}
		said[without(body)] = true
	}
	// A participant that is not there reads like one that refuses.
	public = strings.Replace(public, "/"+network.AuthoritySlug+"/", "/nobody/", 1)
	code, body, _ = read("/bpn-directory", good)
	said[without(body)] = true
	if code != http.StatusUnauthorized || len(said) != 1 {
		t.Errorf("the refusals read %v", slices.Collect(keys(said)))
	}
	// Who holds no membership has nothing to show, and nothing is sent.
	_, err = pb.NewDirectoryServiceClient(cobalt.conn).ResolveNumber(cobalt.ctx(t), &pb.ResolveNumberRequest{Participant: "dusk", Peer: "BPNL00000000COB1"})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no valid credential of membership") {
		t.Errorf("without membership: %v", err)
	}
}

// without takes the id of the incident off a problem.
func without(body string) string {
	var p map[string]any
	if json.Unmarshal([]byte(body), &p) != nil {
		return body
	}
	delete(p, "instance")
	b, _ := json.Marshal(p)
	return string(b)
}

func keys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func term(operand, operator string, values ...any) map[string]any {
	return map[string]any{"leftOperand": operand, "operator": operator, "rightOperand": values}
}

// offerTo offers an asset to whom the term lets see it, for use by members.
func offerTo(t *testing.T, c company, id string, access map[string]any) {
	t.Helper()
	policies := pb.NewPolicyServiceClient(c.conn)
	define := func(kind pb.PolicyKind, action string, constraint map[string]any) string {
		odrl, err := structpb.NewStruct(map[string]any{"permission": []any{map[string]any{"action": action, "constraint": []any{constraint}}}})
		if err != nil {
			t.Fatal(err)
		}
		return must(t, c, policies.CreatePolicy, &pb.CreatePolicyRequest{Participant: c.Local.Slug, Name: action, Kind: kind, Odrl: odrl}).GetDigest()
	}
	must(t, c, pb.NewOfferServiceClient(c.conn).PutRule, &pb.PutRuleRequest{Participant: c.Local.Slug, Rule: &pb.Rule{Selector: &pb.Selector{Assets: []string{id}},
		Access: define(pb.PolicyKind_POLICY_KIND_ACCESS, "access", access), Usage: define(pb.PolicyKind_POLICY_KIND_USAGE, "use", term("Membership", "eq", "active"))}})
}

func TestAGroupDecidesWhoSeesAnOffer(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	_, cobalt, boreal := dataspace(t, l)
	for id, access := range map[string]map[string]any{"for-friends": term("BusinessPartnerGroup", "isAnyOf", "friends", "family"), "not-for-rivals": term("BusinessPartnerGroup", "isNoneOf", "rivals")} {
		must(t, cobalt, pb.NewAssetServiceClient(cobalt.conn).PutAsset, &pb.PutAssetRequest{Participant: "cobalt", Asset: asset(id)})
		offerTo(t, cobalt, id, access)
	}
	client := pb.NewGroupServiceClient(cobalt.conn)
	sees := func(when string, want ...string) {
		t.Helper()
		got := []string{}
		for _, d := range must(t, boreal, pb.NewCatalogServiceClient(boreal.conn).RequestCatalog, &pb.RequestCatalogRequest{Participant: "boreal", Peer: string(cobalt.Local.DID)}).GetDatasets() {
			got = append(got, d.GetId())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: boreal sees %v, want %v", when, got, want)
		}
	}
	put := func(name string, version int64, members ...string) {
		t.Helper()
		must(t, cobalt, client.PutGroup, &pb.PutGroupRequest{Participant: "cobalt", Group: &pb.Group{Name: name, Version: version, Members: members}})
	}
	const number = "BPNL00000000BOR1"
	sees("without any group") // a group that is not there excludes nobody: the policy cannot be evaluated
	put("rivals", 0, "BPNL00000000DUS1")
	sees("outside the rivals", "not-for-rivals")
	put("friends", 0, number)
	sees("among the friends", "for-friends", "not-for-rivals")
	put("rivals", 1, "BPNL00000000DUS1", string(boreal.Local.DID))
	sees("among the rivals, by its DID", "for-friends")
	put("friends", 1)
	sees("no longer among the friends")
	put("friends", 2, string(boreal.Local.DID))
	sees("among the friends by its DID", "for-friends")
	must(t, cobalt, client.DeleteGroup, &pb.DeleteGroupRequest{Participant: "cobalt", Name: "friends", Version: 3})
	must(t, cobalt, client.DeleteGroup, &pb.DeleteGroupRequest{Participant: "cobalt", Name: "rivals", Version: 2})
	sees("after both are gone")
	if _, err := client.PutGroup(cobalt.ctx(t), &pb.PutGroupRequest{Participant: "cobalt", Group: &pb.Group{Name: "x", Members: []string{"Boreal"}}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a member that is nobody: %v", err)
	}
	if _, err := client.PutGroup(cobalt.ctx(t), &pb.PutGroupRequest{Participant: "cobalt", Group: &pb.Group{Name: "x", Version: 7}}); status.Code(err) != codes.Aborted {
		t.Errorf("a stale version: %v", err)
	}
}
