package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/trust"
)

// visit is a recorded visit of a company with its wallet in IdentityHub: what it sent, who vouches for it, and when that was. All keys are gone.
type visit struct {
	peer, issuer, own participant.DID
	token             string
	answer            []byte
	documents         map[string][]byte // by their URL
	lists             map[string]string
	now               time.Time
}

// recorded reads a visit, and one of the answers that the wallet gave.
func recorded(t *testing.T, answer string) visit {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("testdata", "identity", name))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.TrimSpace(text)
	}
	v := visit{token: string(read("token")), answer: read(answer), documents: map[string][]byte{}}
	var err error
	if v.now, err = time.Parse(time.RFC3339, string(read("time"))); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(read("lists.json"), &v.lists); err != nil {
		t.Fatal(err)
	}
	for name, did := range map[string]*participant.DID{"document.json": &v.peer, "issuer.json": &v.issuer} {
		var d struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(read(name), &d); err != nil {
			t.Fatal(err)
		}
		parsed, url, err := identity.ParseDID(d.ID)
		if err != nil {
			t.Fatal(err)
		}
		*did, v.documents[url] = parsed, read(name)
	}
	v.own = participant.DID(strings.TrimSuffix(string(v.issuer), "meridian") + "boreal")
	return v
}

// The answers that were recorded, by data model.
const (
	old   = "PresentationResponseMessage.json"
	newer = "PresentationResponseMessage-2.0.json"
)

// ids stand for the store in which ids are remembered.
type ids map[string]bool

func (i ids) Remember(_ context.Context, issuer, jti string, _, _ time.Time) (bool, error) {
	fresh := !i[issuer+" "+jti]
	i[issuer+" "+jti] = true
	return fresh, nil
}

func (v visit) tokens(informal bool) *identity.Verifier {
	clock := func() time.Time { return v.now }
	resolver := identity.NewResolver(func(_ context.Context, url string, _ int64) ([]byte, error) {
		if text, ok := v.documents[url]; ok {
			return text, nil
		}
		return nil, identity.ErrGone
	}, clock)
	resolver.Undeclared(map[participant.DID]bool{v.peer: informal})
	return identity.NewVerifier(resolver, ids{}, clock)
}

// claims is what the recorded wallet has proven to us.
func (v visit) claims(t *testing.T, informal, envelope bool) (held []string, err error) {
	t.Helper()
	book, err := trust.NewBook(map[string]trust.Terms{"catena-x": {Issuers: []trust.Issuer{{DID: v.issuer, Credentials: []string{membership, number, partner}}},
		Scopes: []string{scopeOf(membership), scopeOf(number), scopeOf(partner)}, Profiles: []string{credential.Profile11, credential.Profile20}, Leeway: 30 * time.Second, Entries: 131072}})
	if err != nil {
		t.Fatal(err)
	}
	clock, view, calls, log := func() time.Time { return v.now }, book.Of("catena-x"), &credential.Calls{}, slog.New(slog.NewTextHandler(t.Output(), nil))
	fetch := func(_ context.Context, url, _ string, _ int64) (credential.Fetched, error) {
		if list, ok := v.lists[url]; ok {
			return credential.Fetched{Body: []byte(list), MaxAge: -1}, nil
		}
		return credential.Fetched{}, identity.ErrGone
	}
	tokens := v.tokens(informal)
	verifier, err := credential.NewVerifier(credential.VerifierConfig{Querier: answering(v.answer), Tokens: tokens, Trust: view, Schemas: credential.NewSchemas(credential.SchemasConfig{Fetch: fetch, Calls: calls, Now: clock}), Calls: calls, Scopes: view.Scopes,
		Lists:    credential.NewLists(credential.ListsConfig{Fetch: fetch, Tokens: tokens, Trust: view, Calls: calls, MinEntries: view.Entries, Now: clock, Log: log}),
		Envelope: envelope, Informal: map[participant.DID]bool{v.peer: informal}, Now: clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	peer, _, err := v.tokens(true).Verify(t.Context(), v.token, v.own)
	if err != nil {
		t.Fatal(err)
	}
	party, err := verifier.Claims(t.Context(), participant.Participant{DID: v.own}, peer)
	for _, c := range party.Credentials {
		held = append(held, c.Type)
	}
	return held, err
}

type answering []byte

func (a answering) Query(context.Context, participant.Participant, participant.Peer, []string) ([]string, error) {
	return dcp.ParseResponse(a)
}

func TestATokenOfIdentityHubIsGoodThoughItsDocumentListsNoRelationships(t *testing.T) {
	t.Parallel()
	v := recorded(t, old)
	peer, _, err := v.tokens(true).Verify(t.Context(), v.token, v.own)
	if err != nil || peer.DID != v.peer || peer.AccessToken == "" {
		t.Errorf("tolerated: got %+v, %v", peer, err)
	}
	if _, _, err := v.tokens(false).Verify(t.Context(), v.token, v.own); err == nil {
		t.Error("not tolerated: it was taken")
	}
	if _, _, err := v.tokens(true).Verify(t.Context(), v.token, v.issuer); err == nil {
		t.Error("for somebody else: it was taken")
	}
}

func TestWhatIdentityHubPresentsProvesAMembership(t *testing.T) {
	t.Parallel()
	v := recorded(t, old)
	held, err := v.claims(t, true, false)
	if err != nil || strings.Join(held, " ") != number+" "+membership {
		t.Errorf("tolerated: got %v, %v", held, err)
	}
	if _, err := v.claims(t, false, false); err == nil {
		t.Error("not tolerated: it was believed")
	}
	v.lists = nil
	if _, err := v.claims(t, true, false); err == nil {
		t.Error("without its status list it was believed")
	}
}

func TestWhatIdentityHubPresentsOfTheNewerModelIsReadInTwoEnvelopes(t *testing.T) {
	t.Parallel()
	v := recorded(t, newer)
	held, err := v.claims(t, true, true)
	if err != nil || strings.Join(held, " ") != partner {
		t.Errorf("tolerated: got %v, %v", held, err)
	}
	if _, err := v.claims(t, true, false); err == nil {
		t.Error("not tolerated: it was believed")
	}
}

func TestWhatIdentityHubRequestsIsReadInTheFormThatItSends(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile(filepath.Join("testdata", "identity", "CredentialRequestMessage.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := dcp.ParseCredentialRequest(body)
	if err != nil || got.HolderPID == "" || strings.Join(got.Credentials, " ") != membership+" "+number {
		t.Fatalf("got %+v, %v", got, err)
	}
}
