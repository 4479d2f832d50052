package rpc_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/wallet"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// wish puts a request into the wallet of Aurora Motors, or of another.
func (b *bench) wish(t *testing.T, slug, id string, state wallet.State, at time.Time) {
	t.Helper()
	p, err := b.store.Participant(t.Context(), slug)
	if err != nil {
		t.Fatal(err)
	}
	r := wallet.Request{Participant: p.ID, ID: id, Issuer: "did:web:meridian.example", State: state, Wanted: []wallet.Wanted{{Definition: "d", Type: "MembershipCredential", Profile: "vc11-sl2021/jwt"}},
		Created: at, Updated: at}
	if err := b.store.CommitWallet(t.Context(), p.ID, wallet.Change{Requests: []commit.Swap[wallet.Request]{{New: &r}}}, commit.Effects{}); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsAreListedInPagesToWhomTheyBelong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 5 {
		b.wish(t, "aurora", fmt.Sprintf("urn:uuid:%d", i), wallet.Requested, clock().Add(time.Duration(i)*time.Minute))
	}
	b.wish(t, "aurora", "urn:uuid:failed", wallet.Failed, clock())
	b.wish(t, "boreal", "urn:uuid:foreign", wallet.Requested, clock())
	client := pb.NewCredentialServiceClient(b.conn)
	var got []string
	for token := ""; ; {
		page, err := client.ListCredentialRequests(as(t.Context(), b.reader), &pb.ListCredentialRequestsRequest{Participant: "aurora", State: "REQUESTED", PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.GetRequests() {
			got = append(got, r.GetId())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if strings.Join(got, " ") != "urn:uuid:4 urn:uuid:3 urn:uuid:2 urn:uuid:1 urn:uuid:0" {
		t.Errorf("listed: %v", got)
	}
	for path, want := range map[string]int{"/credential-requests/urn:uuid:failed": 200, "/credential-requests/urn:uuid:foreign": 404, "/credential-requests?state=DONE": 400,
		"/credential-offers?state=OPEN": 400, "/credential-offers": 200, "/credentials": 200} {
		if code, text, _ := b.call(t, "GET", "/v1/participants/aurora"+path, b.reader, ""); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, text, want)
		}
	}
	for path, want := range map[string]int{"/credential-offers/none/accept": 404, "/credential-offers/none/decline": 404, "/credential-requests": 400, "/credentials": 400} {
		if code, text, _ := b.call(t, "POST", "/v1/participants/aurora"+path, b.operator, "{}"); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, text, want)
		}
	}
}

// A secret is told once, even to a call that is repeated under its key, and stands nowhere else.
func TestTheSecretOfAClientIsToldOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const body = `{"label": "app", "scopes": ["org.eclipse.tractusx.vc.type:MembershipCredential:read"]}`
	var made, again struct {
		Client struct{ ID string }
		Secret string
	}
	for _, into := range []any{&made, &again} {
		code, text, _ := b.call(t, "POST", "/v1/participants/aurora/sts-clients", b.operator, body, "Idempotency-Key", "once")
		if code != 200 {
			t.Fatal(code, text)
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if made.Secret == "" || again.Secret != "" || again.Client.ID != made.Client.ID {
		t.Errorf("made %+v, and again %+v", made, again)
	}
	var backup bytes.Buffer
	if err := b.store.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	_, list, _ := b.call(t, "GET", "/v1/participants/aurora/sts-clients", b.operator, "")
	if !strings.Contains(list, made.Client.ID) || strings.Contains(list+backup.String()+b.log.String(), made.Secret) {
		t.Errorf("listed: %s", list)
	}
}
