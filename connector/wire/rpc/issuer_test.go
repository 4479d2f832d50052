package rpc_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

const cobalt = "did:web:cobalt.example"

// authority is a bench whose participant is an issuer.
func authority(t *testing.T) (*bench, pb.IssuerServiceClient) {
	t.Helper()
	b := setup(t)
	c := pb.NewIssuerServiceClient(b.conn)
	got, err := c.EnableIssuer(as(t.Context(), b.operator), &pb.EnableIssuerRequest{Participant: "aurora"})
	if err != nil || !got.GetEnabled() || !strings.HasSuffix(got.GetEndpoint(), "/aurora/issuer") {
		t.Fatalf("%v, %v", got, err)
	}
	return b, c
}

func TestADefinitionIsWhatWasWritten(t *testing.T) {
	t.Parallel()
	b, c := authority(t)
	ctx := as(t.Context(), b.operator)
	in := &pb.IssuerDefinition{Id: "Framework", Type: "Framework", Profile: "vc20-bssl/jwt", Contexts: []string{"https://w3id.org/x"}, Schema: "https://schemas.example/x", Life: durationpb.New(time.Hour),
		Subject: []*pb.IssuerMember{{Name: "version", From: "constant", Values: []string{"1.0"}}, {Name: "brands", From: "holder", Key: "brands", Many: true, Optional: true},
			{Name: "bpn", From: "claim", Credential: "Membership", Key: "holderIdentifier"}},
		Purposes: []string{"revocation"}, Rules: []*pb.IssuerRule{{Kind: "list"}, {Kind: "approval"}, {Kind: "claim", Credential: "Membership", Claim: "memberOf", Values: []string{"Meridian"}}}, Open: true}
	put, err := c.PutIssuerDefinition(ctx, &pb.PutIssuerDefinitionRequest{Participant: "aurora", Definition: in})
	if err != nil || put.GetVersion() != 1 {
		t.Fatalf("%v, %v", put, err)
	}
	all, err := c.ListIssuerDefinitions(ctx, &pb.ListIssuerDefinitionsRequest{Participant: "aurora"})
	if err != nil || len(all.GetDefinitions()) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	got := all.GetDefinitions()[0]
	got.Version, got.Created, got.Updated = 0, nil, nil
	if got.String() != in.String() {
		t.Errorf("got  %v\nwant %v", got, in)
	}
	in.Version = 7
	_, err = c.PutIssuerDefinition(ctx, &pb.PutIssuerDefinitionRequest{Participant: "aurora", Definition: in})
	wantCode(t, err, codes.Aborted)
	in.Version, in.Rules = 1, nil
	_, err = c.PutIssuerDefinition(ctx, &pb.PutIssuerDefinitionRequest{Participant: "aurora", Definition: in})
	wantCode(t, err, codes.InvalidArgument)
	if _, err = c.DeleteIssuerDefinition(ctx, &pb.DeleteIssuerDefinitionRequest{Participant: "aurora", Id: "Framework"}); err != nil {
		t.Fatal(err)
	}
	_, err = c.DeleteIssuerDefinition(ctx, &pb.DeleteIssuerDefinitionRequest{Participant: "aurora", Id: "Framework"})
	wantCode(t, err, codes.NotFound)
}

func TestAnAllowListComesWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	b, c := authority(t)
	ctx := as(t.Context(), b.operator)
	sheet := "did,name,credentials,bpn,brands[]\n" + cobalt + ",Cobalt Cells,Membership,BPNL00000000COB1,Aurora;Boreal\n"
	_, err := c.ImportIssuerHolders(ctx, &pb.ImportIssuerHoldersRequest{Participant: "aurora", Csv: []byte(sheet + "did:web:,,Membership,,\n")})
	wantCode(t, err, codes.InvalidArgument)
	list, err := c.ListIssuerHolders(ctx, &pb.ListIssuerHoldersRequest{Participant: "aurora"})
	if err != nil || len(list.GetHolders()) != 0 {
		t.Fatalf("half a list was imported: %v, %v", list, err)
	}
	got, err := c.ImportIssuerHolders(ctx, &pb.ImportIssuerHoldersRequest{Participant: "aurora", Csv: []byte(sheet)})
	if err != nil || got.GetAdded() != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if got, err = c.ImportIssuerHolders(ctx, &pb.ImportIssuerHoldersRequest{Participant: "aurora", Csv: []byte(sheet)}); err != nil || got.GetSame() != 1 || got.GetAdded()+got.GetChanged() != 0 {
		t.Errorf("the same again: %v, %v", got, err)
	}
	list, err = c.ListIssuerHolders(ctx, &pb.ListIssuerHoldersRequest{Participant: "aurora"})
	if err != nil || len(list.GetHolders()) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	h := list.GetHolders()[0]
	if h.GetDid() != cobalt || h.GetName() != "Cobalt Cells" || !slices.Equal(h.GetCredentials(), []string{"Membership"}) || !slices.Equal(h.GetValues()["brands"].GetValues(), []string{"Aurora", "Boreal"}) {
		t.Errorf("%v", h)
	}
	put, err := c.PutIssuerHolder(ctx, &pb.PutIssuerHolderRequest{Participant: "aurora", Holder: &pb.IssuerHolder{Did: cobalt, Name: "Cobalt"}})
	if err != nil || put.GetVersion() != 2 || put.GetName() != "Cobalt" {
		t.Errorf("%v, %v", put, err)
	}
	if _, err := c.DeleteIssuerHolder(ctx, &pb.DeleteIssuerHolderRequest{Participant: "aurora", Did: cobalt}); err != nil {
		t.Error(err)
	}
}

func TestACredentialIsIssuedSuspendedReinstatedAndRevoked(t *testing.T) {
	t.Parallel()
	b, c := authority(t)
	ctx := as(t.Context(), b.operator)
	made, err := c.IssueCredential(ctx, &pb.IssueCredentialRequest{Participant: "aurora", Holder: cobalt, Definition: "Membership",
		Values: map[string]*pb.IssuerValues{"bpn": {Values: []string{"BPNL00000000COB1"}}}})
	if err != nil || strings.Count(made.GetJwt(), ".") != 2 || made.GetCredential().GetState() != "ISSUED" || len(made.GetCredential().GetPlaces()) != 2 {
		t.Fatalf("%v, %v", made, err)
	}
	id := made.GetCredential().GetId()
	if got, err := c.SuspendCredential(ctx, &pb.SuspendCredentialRequest{Participant: "aurora", Id: id, Reason: "under review"}); err != nil || got.GetState() != "SUSPENDED" || got.GetReason() != "under review" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := c.ReinstateCredential(ctx, &pb.ReinstateCredentialRequest{Participant: "aurora", Id: id}); err != nil || got.GetState() != "ISSUED" {
		t.Errorf("%v, %v", got, err)
	}
	if n, err := c.RevokeHolder(ctx, &pb.RevokeHolderRequest{Participant: "aurora", Did: cobalt, Reason: "it left"}); err != nil || n.GetRevoked() != 1 {
		t.Errorf("%v, %v", n, err)
	}
	if got, err := c.RevokeCredential(ctx, &pb.RevokeCredentialRequest{Participant: "aurora", Id: id}); err != nil || got.GetState() != "REVOKED" || got.GetReason() != "it left" {
		t.Errorf("again: %v, %v", got, err)
	}
	_, err = c.ReinstateCredential(ctx, &pb.ReinstateCredentialRequest{Participant: "aurora", Id: id})
	wantCode(t, err, codes.Aborted)
	list, err := c.ListIssuedCredentials(as(t.Context(), b.reader), &pb.ListIssuedCredentialsRequest{Participant: "aurora", Holder: cobalt, State: "REVOKED", Definition: "Membership"})
	if err != nil || len(list.GetCredentials()) != 1 || list.GetCredentials()[0].GetId() != id {
		t.Errorf("%v, %v", list, err)
	}
	_, err = c.GetIssuedCredential(ctx, &pb.GetIssuedCredentialRequest{Participant: "aurora", Id: "urn:uuid:none"})
	wantCode(t, err, codes.NotFound)
}

func TestAnOfferIsForThoseWhoAreKnown(t *testing.T) {
	t.Parallel()
	b, c := authority(t)
	ctx := as(t.Context(), b.operator)
	_, err := c.OfferCredentials(ctx, &pb.OfferCredentialsRequest{Participant: "aurora", Holder: cobalt, Definitions: []string{"Membership"}})
	wantCode(t, err, codes.NotFound)
	if _, err := c.PutIssuerHolder(ctx, &pb.PutIssuerHolderRequest{Participant: "aurora", Holder: &pb.IssuerHolder{Did: cobalt}}); err != nil {
		t.Fatal(err)
	}
	made, err := c.OfferCredentials(ctx, &pb.OfferCredentialsRequest{Participant: "aurora", Holder: cobalt, Definitions: []string{"Membership"}})
	if err != nil || made.GetState() != "OWED" || made.GetReason() != "issuance" {
		t.Errorf("%v, %v", made, err)
	}
	list, err := c.ListIssuerOffers(ctx, &pb.ListIssuerOffersRequest{Participant: "aurora", State: "OWED"})
	if err != nil || len(list.GetOffers()) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	for name, req := range map[string]*pb.OfferCredentialsRequest{
		"an unknown definition": {Participant: "aurora", Holder: cobalt, Definitions: []string{"Nothing"}},
		"no definition":         {Participant: "aurora", Holder: cobalt},
		"another reason":        {Participant: "aurora", Holder: cobalt, Definitions: []string{"Membership"}, Reason: "because"},
	} {
		if _, err := c.OfferCredentials(ctx, req); err == nil {
			t.Errorf("%s was offered", name)
		}
	}
}

func TestWhoIsNoIssuerIssuesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := pb.NewIssuerServiceClient(b.conn)
	ctx := as(t.Context(), b.operator)
	got, err := c.GetIssuer(ctx, &pb.GetIssuerRequest{Participant: "aurora"})
	if err != nil || got.GetEnabled() || got.GetEndpoint() != "" {
		t.Errorf("%v, %v", got, err)
	}
	_, err = c.IssueCredential(ctx, &pb.IssueCredentialRequest{Participant: "aurora", Holder: cobalt, Definition: "Membership"})
	wantCode(t, err, codes.NotFound)
	_, err = c.PutIssuerHolder(ctx, &pb.PutIssuerHolderRequest{Participant: "aurora", Holder: &pb.IssuerHolder{Did: cobalt}})
	wantCode(t, err, codes.NotFound)
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%v: code %v, want %v", err, got, want)
	}
}

func TestAStateThatThereIsNotIsNoEmptyList(t *testing.T) {
	t.Parallel()
	b, _ := authority(t)
	for path, states := range map[string]string{
		"issuer/requests":    "SUBMITTED APPROVED DELIVERED REJECTED ERRORED",
		"issuer/credentials": "ISSUED SUSPENDED REVOKED",
		"issuer/offers":      "OWED DELIVERED ERRORED",
	} {
		code, text, _ := b.call(t, "GET", "/v1/participants/aurora/"+path+"?state=DONE", b.reader, "")
		if code != 400 || !strings.Contains(text, states) {
			t.Errorf("%s: %d %s", path, code, text)
		}
		if code, text, _ = b.call(t, "GET", "/v1/participants/aurora/"+path+"?state="+strings.Fields(states)[0], b.reader, ""); code != 200 {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
}

// A credential's text is its holder's: a repeat under the same key is told which one it was, and the store has it nowhere.
func TestTheTextOfACredentialIsToldOnce(t *testing.T) {
	t.Parallel()
	b, _ := authority(t)
	const body = `{"holder": "` + cobalt + `", "definition": "Membership", "values": {"bpn": {"values": ["BPNL00000000COB1"]}}}`
	var made, again struct {
		Credential struct{ ID string }
		JWT        string
	}
	for _, into := range []any{&made, &again} {
		code, text, _ := b.call(t, "POST", "/v1/participants/aurora/issuer/credentials", b.operator, body, "Idempotency-Key", "once")
		if code != 200 {
			t.Fatal(code, text)
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if made.JWT == "" || again.JWT != "" || again.Credential.ID != made.Credential.ID {
		t.Errorf("made %+v, and again %+v", made, again)
	}
	kept := 0
	var backup bytes.Buffer
	if err := b.store.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(backup.Bytes()) {
		var row struct {
			T string
			R struct{ Answer struct{ B64 []byte } }
		}
		if err := json.Unmarshal(line, &row); err != nil || row.T != "answers" {
			continue
		}
		if kept++; !bytes.Contains(row.R.Answer.B64, []byte(made.Credential.ID)) || bytes.Contains(row.R.Answer.B64, []byte("eyJ")) {
			t.Errorf("kept is %q", row.R.Answer.B64)
		}
	}
	if kept == 0 {
		t.Error("no answer is kept")
	}
}
