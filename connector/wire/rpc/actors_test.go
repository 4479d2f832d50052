package rpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/issuer"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/wire/rpc"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// login is an identity provider on a socket of this machine.
type login struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newLogin(t *testing.T) *login {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &login{key: key}
	b64 := func(i *big.Int) string { return base64.RawURLEncoding.EncodeToString(i.FillBytes(make([]byte, 32))) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": l.URL, "jwks_uri": l.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "kid": "k", "x": b64(key.X), "y": b64(key.Y)}}})
	})
	l.Server = httptest.NewServer(mux)
	t.Cleanup(l.Close)
	return l
}

// token is one of a user; extra claims replace those that are usual.
func (l *login) token(t *testing.T, sub, role string, extra map[string]any) string {
	t.Helper()
	n := time.Now().Unix()
	claims := map[string]any{"iss": l.URL, "sub": sub, "aud": "sluice", "iat": n, "exp": n + 300, "roles": []string{role}}
	maps.Copy(claims, extra)
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, l.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (l *login) provider() settings.Provider {
	roles := map[string]string{}
	for _, role := range participant.Roles() {
		roles[role] = role
	}
	return settings.Provider{Issuer: l.URL, Audience: "sluice", Roles: settings.Mapping{Claim: "roles", Values: roles},
		Participants: settings.Mapping{Claim: "companies", Values: map[string]string{"all": "*", "cobalt": "cobalt", "boreal": "boreal"}}}
}

// actor is how a user of the provider stands in events and logs.
func (l *login) actor(sub string) string {
	return "oidc:" + strings.TrimPrefix(l.URL, "http://") + "#" + sub
}

// company is a connector of a network, with a connection to its API.
type company struct {
	*network.Company
	conn  *grpc.ClientConn
	token string
}

func (c company) ctx(t *testing.T) context.Context { return as(t.Context(), c.token) }

func dataspace(t *testing.T, l *login) (n *network.Network, cobalt, boreal company) {
	t.Helper()
	return dataspaceWith(t, l, func(string, *connector.Config) {})
}

func dataspaceWith(t *testing.T, l *login, change func(slug string, cfg *connector.Config)) (n *network.Network, cobalt, boreal company) {
	t.Helper()
	n, err := network.Start(t.Context(), network.Config{Dir: t.TempDir(), Now: time.Now,
		Members: []network.Member{{Slug: "cobalt", Name: "Cobalt Cells", BPN: "BPNL00000000COB1", Framework: true}, {Slug: "boreal", Name: "Boreal Drives", BPN: "BPNL00000000BOR1", Framework: true}},
		Log: func(slug string) *slog.Logger {
			return slog.New(slog.NewTextHandler(t.Output(), nil)).With(slog.String("company", slug))
		},
		Change: func(slug string, cfg *connector.Config) {
			change(slug, cfg)
			cfg.Reload = func() (settings.Settings, error) {
				s := cfg.Settings
				s.Profiles = slices.Clone(s.Profiles)
				s.Profiles[0].Trust = append(slices.Clone(s.Profiles[0].Trust), settings.Trust{Issuer: "did:web:second.example", Credentials: []string{"MembershipCredential"}})
				return s, nil
			}
			cfg.Settings.Management.OIDC, cfg.Settings.Profiles[0].Offered = []settings.Provider{l.provider()}, true
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	open := func(slug, token string) company {
		c := company{Company: n.Companies[slug], token: token}
		if c.conn, err = grpc.NewClient(c.Management, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.conn.Close() })
		return c
	}
	everything := map[string]any{"companies": "all"}
	return n, open("cobalt", l.token(t, "casey", rpc.Operator, everything)), open("boreal", l.token(t, "robin", rpc.Operator, everything))
}

// must makes a call that is to succeed.
func must[Q, A proto.Message](t *testing.T, c company, call func(context.Context, Q, ...grpc.CallOption) (A, error), req Q) A {
	t.Helper()
	answer, err := call(c.ctx(t), req)
	if err != nil {
		t.Fatalf("%T: %v", req, err)
	}
	return answer
}

// until looks again after each change of the company's until the condition holds.
func until(t *testing.T, c company, holds func() bool) {
	t.Helper()
	changed := c.Store().Notify(t.Context(), c.Local.ID)
	for !holds() {
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("it never came to that")
		}
	}
}

func TestEveryCallThatChangesSomethingSaysWhoMadeIt(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	n, cobalt, boreal := dataspace(t, l)
	file, err := os.ReadFile("../../../cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		t.Fatal(err)
	}
	policy := func(action string) *structpb.Struct {
		s, err := structpb.NewStruct(map[string]any{"permission": []any{map[string]any{"action": action, "constraint": map[string]any{
			"leftOperand": "Membership", "operator": "eq", "rightOperand": "active"}}}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	extra := asset("extra")
	var (
		at                   = map[company]string{cobalt: "cobalt", boreal: "boreal"}
		done                 = map[string]bool{}
		negotiation, part    string
		agreement, transfers string
	)
	// does runs the call of a method and looks whether the events and the decision log of its company got something of its actor's.
	does := func(c company, who, method string, call func()) {
		t.Helper()
		events, err := c.Store().EventsSince(t.Context(), c.Local.ID, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		before := acts(t, c)
		call()
		after, err := c.Store().EventsSince(t.Context(), c.Local.ID, int64(len(events)), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(after, func(e commit.Event) bool { return e.Actor == l.actor(who) }) {
			t.Errorf("%s: no event of %s's among %v", method, who, after)
		}
		if acts(t, c) == before {
			t.Errorf("%s: no operator's action in the decision log", method)
		}
		done["/sluice.v1."+method] = true
	}
	negotiations, transfer := pb.NewNegotiationServiceClient(cobalt.conn), pb.NewTransferServiceClient(boreal.conn)
	mine, assets, offers := pb.NewNegotiationServiceClient(boreal.conn), pb.NewAssetServiceClient(cobalt.conn), pb.NewOfferServiceClient(cobalt.conn)

	// Cobalt Cells issues. It comes first: nobody keeps a document of it that names no issuer service.
	issuers, asking := pb.NewIssuerServiceClient(cobalt.conn), pb.NewCredentialServiceClient(boreal.conn)
	does(cobalt, "casey", "IssuerService/EnableIssuer", func() {
		must(t, cobalt, issuers.EnableIssuer, &pb.EnableIssuerRequest{Participant: at[cobalt]})
	})
	does(cobalt, "casey", "IssuerService/PutIssuerDefinition", func() {
		must(t, cobalt, issuers.PutIssuerDefinition, &pb.PutIssuerDefinitionRequest{Participant: at[cobalt], Definition: &pb.IssuerDefinition{Id: "Visitor", Type: "VisitorCredential",
			Profile: credential.Profile11, Life: durationpb.New(time.Hour), Purposes: []string{"revocation", "suspension"}, Rules: []*pb.IssuerRule{{Kind: "approval"}}}})
	})
	does(cobalt, "casey", "IssuerService/PutIssuerHolder", func() {
		must(t, cobalt, issuers.PutIssuerHolder, &pb.PutIssuerHolderRequest{Participant: at[cobalt], Holder: &pb.IssuerHolder{Did: string(boreal.Local.DID)}})
	})
	does(cobalt, "casey", "IssuerService/ImportIssuerHolders", func() {
		must(t, cobalt, issuers.ImportIssuerHolders, &pb.ImportIssuerHoldersRequest{Participant: at[cobalt], Csv: []byte("did,name\ndid:web:dusk.example,Dusk Trading\n")})
	})
	does(cobalt, "casey", "IssuerService/DeleteIssuerHolder", func() {
		must(t, cobalt, issuers.DeleteIssuerHolder, &pb.DeleteIssuerHolderRequest{Participant: at[cobalt], Did: "did:web:dusk.example"})
	})
	request := func() {
		must(t, boreal, asking.RequestCredential, &pb.RequestCredentialRequest{Participant: at[boreal], Issuer: string(cobalt.Local.DID), Definitions: []string{"Visitor"}})
	}
	// submitted waits for a request that waits for the issuer's operator.
	submitted := func() (id string) {
		until(t, cobalt, func() bool {
			all := must(t, cobalt, issuers.ListIssuanceRequests, &pb.ListIssuanceRequestsRequest{Participant: at[cobalt], State: "SUBMITTED"}).GetRequests()
			if len(all) > 0 {
				id = all[0].GetId()
			}
			return len(all) > 0
		})
		return id
	}
	does(boreal, "robin", "CredentialService/RequestCredential", request)
	does(cobalt, "casey", "IssuerService/ApproveIssuanceRequest", func() {
		must(t, cobalt, issuers.ApproveIssuanceRequest, &pb.ApproveIssuanceRequestRequest{Participant: at[cobalt], Id: submitted()})
	})
	request()
	does(cobalt, "casey", "IssuerService/RefuseIssuanceRequest", func() {
		must(t, cobalt, issuers.RefuseIssuanceRequest, &pb.RefuseIssuanceRequestRequest{Participant: at[cobalt], Id: submitted(), Reason: "one is enough"})
	})
	var issued string
	does(cobalt, "casey", "IssuerService/IssueCredential", func() {
		issued = must(t, cobalt, issuers.IssueCredential, &pb.IssueCredentialRequest{Participant: at[cobalt], Holder: string(boreal.Local.DID), Definition: "Visitor"}).GetCredential().GetId()
	})
	does(cobalt, "casey", "IssuerService/SuspendCredential", func() {
		must(t, cobalt, issuers.SuspendCredential, &pb.SuspendCredentialRequest{Participant: at[cobalt], Id: issued})
	})
	does(cobalt, "casey", "IssuerService/ReinstateCredential", func() {
		must(t, cobalt, issuers.ReinstateCredential, &pb.ReinstateCredentialRequest{Participant: at[cobalt], Id: issued})
	})
	does(cobalt, "casey", "IssuerService/RevokeCredential", func() {
		must(t, cobalt, issuers.RevokeCredential, &pb.RevokeCredentialRequest{Participant: at[cobalt], Id: issued})
	})
	does(cobalt, "casey", "IssuerService/RevokeHolder", func() { // it still has the one that was approved
		must(t, cobalt, issuers.RevokeHolder, &pb.RevokeHolderRequest{Participant: at[cobalt], Did: string(boreal.Local.DID), Reason: "the visit is over"})
	})
	does(cobalt, "casey", "IssuerService/OfferCredentials", func() {
		must(t, cobalt, issuers.OfferCredentials, &pb.OfferCredentialsRequest{Participant: at[cobalt], Holder: string(boreal.Local.DID), Definitions: []string{"Visitor"}})
	})
	does(cobalt, "casey", "IssuerService/DeleteIssuerDefinition", func() {
		must(t, cobalt, issuers.DeleteIssuerDefinition, &pb.DeleteIssuerDefinitionRequest{Participant: at[cobalt], Id: "Visitor"})
	})

	// What the authority offers an operator takes or leaves.
	for _, definition := range []string{"MembershipCredential", "BpnCredential"} {
		if _, err := n.Authority.Issuer().Offer(t.Context(), n.Authority.Local, boreal.Local.DID, []string{definition}, "", "operator"); err != nil {
			t.Fatal(err)
		}
	}
	var offered []*pb.CredentialOffer
	until(t, boreal, func() bool {
		offered = must(t, boreal, asking.ListCredentialOffers, &pb.ListCredentialOffersRequest{Participant: at[boreal], State: "RECEIVED"}).GetOffers()
		return len(offered) == 2
	})
	does(boreal, "robin", "CredentialService/AcceptOffer", func() {
		must(t, boreal, asking.AcceptOffer, &pb.AcceptOfferRequest{Participant: at[boreal], Id: offered[0].GetId()})
	})
	does(boreal, "robin", "CredentialService/DeclineOffer", func() {
		must(t, boreal, asking.DeclineOffer, &pb.DeclineOfferRequest{Participant: at[boreal], Id: offered[1].GetId()})
	})

	does(cobalt, "casey", "AssetService/PublishFile", func() {
		stream, err := assets.PublishFile(cobalt.ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*pb.PublishFileRequest{
			{Part: &pb.PublishFileRequest_Settings{Settings: &pb.PublishSettings{Participant: at[cobalt], Format: pb.FileFormat_FILE_FORMAT_CSV, Approval: true}}},
			{Part: &pb.PublishFileRequest_Chunk{Chunk: file}}} {
			if err := stream.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		_ = stream.CloseSend()
		for err == nil {
			var news *pb.PublishFileResponse
			if news, err = stream.Recv(); err == nil && news.GetSummary() != nil {
				part = news.GetSummary().GetAssets()[0]
			}
		}
		if err != io.EOF {
			t.Fatal(err)
		}
	})
	does(cobalt, "casey", "AssetService/PutAsset", func() {
		must(t, cobalt, assets.PutAsset, &pb.PutAssetRequest{Participant: at[cobalt], Asset: extra})
	})
	var access, usage, rule string
	does(cobalt, "casey", "PolicyService/CreatePolicy", func() {
		client := pb.NewPolicyServiceClient(cobalt.conn)
		access = must(t, cobalt, client.CreatePolicy, &pb.CreatePolicyRequest{Participant: at[cobalt], Name: "a", Kind: pb.PolicyKind_POLICY_KIND_ACCESS, Odrl: policy("access")}).GetDigest()
		usage = must(t, cobalt, client.CreatePolicy, &pb.CreatePolicyRequest{Participant: at[cobalt], Name: "u", Kind: pb.PolicyKind_POLICY_KIND_USAGE, Odrl: policy("use")}).GetDigest()
	})
	does(cobalt, "casey", "OfferService/PutRule", func() {
		rule = must(t, cobalt, offers.PutRule, &pb.PutRuleRequest{Participant: at[cobalt], Rule: &pb.Rule{Access: access, Usage: usage, Selector: &pb.Selector{Assets: []string{"extra"}}}}).GetId()
	})
	does(cobalt, "casey", "OfferService/DeleteRule", func() {
		must(t, cobalt, offers.DeleteRule, &pb.DeleteRuleRequest{Participant: at[cobalt], Id: rule, Version: 1})
	})
	does(cobalt, "casey", "AssetService/DeleteAsset", func() {
		must(t, cobalt, assets.DeleteAsset, &pb.DeleteAssetRequest{Participant: at[cobalt], Id: "extra", Version: 1})
	})
	offer := must(t, cobalt, offers.ListOffers, &pb.ListOffersRequest{Participant: at[cobalt], Asset: part}).GetOffers()[0].GetId()

	// held waits for a negotiation at the provider that waits for its operator.
	held := func() (id string) {
		until(t, cobalt, func() bool {
			all := must(t, cobalt, negotiations.ListNegotiations, &pb.ListNegotiationsRequest{Participant: at[cobalt], Held: true}).GetNegotiations()
			if len(all) > 0 {
				id = all[0].GetId()
			}
			return len(all) > 0
		})
		return id
	}
	begin := func() {
		negotiation = must(t, boreal, mine.BeginNegotiation, &pb.BeginNegotiationRequest{Participant: at[boreal], Peer: string(cobalt.Local.DID), Asset: part}).GetId()
	}
	does(boreal, "robin", "NegotiationService/BeginNegotiation", begin)
	first := held()
	does(cobalt, "casey", "NegotiationService/ProposeNegotiation", func() {
		must(t, cobalt, negotiations.ProposeNegotiation, &pb.ProposeNegotiationRequest{Participant: at[cobalt], Id: first, Offer: offer})
	})
	does(cobalt, "casey", "NegotiationService/TerminateNegotiation", func() {
		must(t, cobalt, negotiations.TerminateNegotiation, &pb.TerminateNegotiationRequest{Participant: at[cobalt], Id: first, Reason: "another time"})
	})
	begin()
	second := held()
	does(cobalt, "casey", "NegotiationService/ApproveNegotiation", func() {
		must(t, cobalt, negotiations.ApproveNegotiation, &pb.ApproveNegotiationRequest{Participant: at[cobalt], Id: second})
	})
	until(t, boreal, func() bool {
		got := must(t, boreal, mine.GetNegotiation, &pb.GetNegotiationRequest{Participant: at[boreal], Id: negotiation})
		agreement = got.GetAgreement()
		return got.GetState() == "FINALIZED"
	})
	does(cobalt, "casey", "NegotiationService/OfferNegotiation", func() {
		must(t, cobalt, negotiations.OfferNegotiation, &pb.OfferNegotiationRequest{Participant: at[cobalt], Peer: string(boreal.Local.DID), Offer: offer})
	})

	started := func() {
		transfers = must(t, boreal, transfer.BeginTransfer, &pb.BeginTransferRequest{Participant: at[boreal], Agreement: agreement}).GetId()
	}
	reach := func(state string) {
		until(t, boreal, func() bool {
			return must(t, boreal, transfer.GetTransfer, &pb.GetTransferRequest{Participant: at[boreal], Id: transfers}).GetState() == state
		})
	}
	does(boreal, "robin", "TransferService/BeginTransfer", started)
	reach("STARTED")
	does(boreal, "robin", "TransferService/SuspendTransfer", func() {
		must(t, boreal, transfer.SuspendTransfer, &pb.SuspendTransferRequest{Participant: at[boreal], Id: transfers, Reason: "a pause"})
	})
	reach("SUSPENDED")
	does(boreal, "robin", "TransferService/ResumeTransfer", func() {
		must(t, boreal, transfer.ResumeTransfer, &pb.ResumeTransferRequest{Participant: at[boreal], Id: transfers})
	})
	reach("STARTED")
	does(boreal, "robin", "TransferService/CompleteTransfer", func() {
		must(t, boreal, transfer.CompleteTransfer, &pb.CompleteTransferRequest{Participant: at[boreal], Id: transfers})
	})
	started()
	reach("STARTED")
	does(boreal, "robin", "TransferService/TerminateTransfer", func() {
		must(t, boreal, transfer.TerminateTransfer, &pb.TerminateTransferRequest{Participant: at[boreal], Id: transfers, Reason: "enough"})
	})
	pull := func(token string, fresh bool) error {
		stream, err := transfer.Pull(as(t.Context(), token), &pb.PullRequest{Participant: at[boreal], Peer: string(cobalt.Local.DID), Asset: part, Fresh: fresh})
		for err == nil {
			_, err = stream.Recv()
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
	does(boreal, "robin", "TransferService/Pull", func() {
		if err := pull(boreal.token, false); err != nil {
			t.Fatal(err)
		}
	})

	// An agent pulls under the agreement that is there, and binds nobody.
	agent := l.token(t, "assistant-9", rpc.Agent, map[string]any{"companies": []string{"boreal"}})
	does(boreal, "assistant-9", "TransferService/Pull", func() {
		if err := pull(agent, false); err != nil {
			t.Fatal(err)
		}
	})
	if err := pull(agent, true); status.Code(err) != codes.PermissionDenied {
		t.Errorf("an agent asks for a fresh agreement: %v", err)
	}
	does(boreal, "robin", "AgreementService/RetireAgreement", func() {
		must(t, boreal, pb.NewAgreementServiceClient(boreal.conn).RetireAgreement, &pb.RetireAgreementRequest{Participant: at[boreal], Id: agreement, Reason: "over"})
	})
	before := len(must(t, boreal, mine.ListNegotiations, &pb.ListNegotiationsRequest{Participant: at[boreal]}).GetNegotiations())
	if err := pull(agent, false); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "no agreement") {
		t.Errorf("an agent pulls without an agreement: %v", err)
	}
	if after := len(must(t, boreal, mine.ListNegotiations, &pb.ListNegotiationsRequest{Participant: at[boreal]}).GetNegotiations()); after != before {
		t.Errorf("an agent began %d negotiations", after-before)
	}

	tokens, wallet := pb.NewTokenServiceClient(cobalt.conn), pb.NewCredentialServiceClient(cobalt.conn)
	var token string
	does(cobalt, "casey", "TokenService/CreateToken", func() {
		token = must(t, cobalt, tokens.CreateToken, &pb.CreateTokenRequest{Participant: at[cobalt], Role: pb.Role_ROLE_AGENT, Label: "assistant"}).GetToken().GetId()
	})
	if _, err := tokens.CreateToken(cobalt.ctx(t), &pb.CreateTokenRequest{Participant: at[cobalt], Role: pb.Role_ROLE_READER, Label: l.actor("casey")}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a token with the name of a user: %v", err)
	}
	does(cobalt, "casey", "TokenService/DeleteToken", func() {
		must(t, cobalt, tokens.DeleteToken, &pb.DeleteTokenRequest{Participant: at[cobalt], Id: token})
	})
	_, membership, err := n.Authority.Issuer().Issue(t.Context(), n.Authority.Local, issuer.Issuing{Holder: cobalt.Local.DID, Definition: "MembershipCredential", Actor: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	var held2 string
	does(cobalt, "casey", "CredentialService/PutCredential", func() {
		held2 = must(t, cobalt, wallet.PutCredential, &pb.PutCredentialRequest{Participant: at[cobalt], Jwt: membership}).GetId()
	})
	does(cobalt, "casey", "CredentialService/DeleteCredential", func() {
		must(t, cobalt, wallet.DeleteCredential, &pb.DeleteCredentialRequest{Participant: at[cobalt], Id: held2})
	})

	var client string
	does(cobalt, "casey", "CredentialService/CreateStsClient", func() {
		client = must(t, cobalt, wallet.CreateStsClient, &pb.CreateStsClientRequest{Participant: at[cobalt], Label: "app"}).GetClient().GetId()
	})
	does(cobalt, "casey", "CredentialService/DeleteStsClient", func() {
		must(t, cobalt, wallet.DeleteStsClient, &pb.DeleteStsClientRequest{Participant: at[cobalt], Id: client})
	})

	keys := pb.NewKeyServiceClient(cobalt.conn)
	var key string
	does(cobalt, "casey", "KeyService/RotateKeys", func() {
		key = must(t, cobalt, keys.RotateKeys, &pb.RotateKeysRequest{Participant: at[cobalt], Use: "issue"}).GetKeys()[0].GetId()
	})
	does(cobalt, "casey", "KeyService/RevokeKey", func() {
		must(t, cobalt, keys.RevokeKey, &pb.RevokeKeyRequest{Participant: at[cobalt], Id: key, Reason: "a drill"})
	})

	numbers, groups := pb.NewDirectoryServiceClient(cobalt.conn), pb.NewGroupServiceClient(cobalt.conn)
	does(cobalt, "casey", "DirectoryService/PutNumber", func() {
		must(t, cobalt, numbers.PutNumber, &pb.PutNumberRequest{Participant: at[cobalt], Number: "BPNL00000000BOR1", Did: string(boreal.Local.DID)})
	})
	does(cobalt, "casey", "DirectoryService/DeleteNumber", func() {
		must(t, cobalt, numbers.DeleteNumber, &pb.DeleteNumberRequest{Participant: at[cobalt], Number: "BPNL00000000BOR1"})
	})
	does(cobalt, "casey", "GroupService/PutGroup", func() {
		must(t, cobalt, groups.PutGroup, &pb.PutGroupRequest{Participant: at[cobalt], Group: &pb.Group{Name: "friends", Members: []string{"BPNL00000000BOR1"}}})
	})
	does(cobalt, "casey", "GroupService/DeleteGroup", func() {
		must(t, cobalt, groups.DeleteGroup, &pb.DeleteGroupRequest{Participant: at[cobalt], Name: "friends", Version: 1})
	})
	does(cobalt, "casey", "TrustService/ReloadTrust", func() {
		if got := must(t, cobalt, pb.NewTrustServiceClient(cobalt.conn).ReloadTrust, &pb.ReloadTrustRequest{}).GetChanges(); len(got) != 1 ||
			!slices.Equal(got[0].GetAdded(), []string{"did:web:second.example issues MembershipCredential"}) || len(got[0].GetRemoved()) != 0 {
			t.Errorf("the reload changed %v", got)
		}
	})

	// The first events of a company are about who had it made.
	must(t, cobalt, pb.NewParticipantServiceClient(cobalt.conn).CreateParticipant, &pb.CreateParticipantRequest{Slug: "dusk", Name: "Dusk Trading"})
	made, err := cobalt.Participant(t.Context(), "dusk")
	if err != nil {
		t.Fatal(err)
	}
	told, err := cobalt.Store().EventsSince(t.Context(), made.ID, 0, 10)
	if err != nil || len(told) == 0 || told[0].Actor != l.actor("casey") {
		t.Errorf("CreateParticipant: %v, %v", told, err)
	}
	done["/sluice.v1.ParticipantService/CreateParticipant"] = true

	for _, method := range rpc.Changes() {
		if !done[method] {
			t.Errorf("%s changes something, and this test does not make it: add it", method)
		}
	}
}

// acts counts the operators' actions in the company's log.
func acts(t *testing.T, c company) (n int) {
	t.Helper()
	if err := c.Export(t.Context(), c.Local, t.TempDir()+"/log"); err != nil { // sequences what waits
		t.Fatal(err)
	}
	entries, err := c.Store().LogEntries(t.Context(), c.Local.Slug, 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		rec, err := decisionlog.ParseRecord(e.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind == decisionlog.KindOperator && rec.Action.Actor != "" {
			n++
		}
	}
	return n
}
