package rpc_test

import (
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-connector/sluice/connector/wire/rpc"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

func TestAUserActsForThoseCompaniesThatItsTokenNames(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	_, cobalt, _ := dataspace(t, l)
	parties := pb.NewParticipantServiceClient(cobalt.conn)
	must(t, cobalt, parties.CreateParticipant, &pb.CreateParticipantRequest{Slug: "dusk", Name: "Dusk Trading"})
	for _, tt := range []struct {
		name      string
		companies any
		sees      string
		dusk      codes.Code
		process   codes.Code
	}{
		{"one", []string{"cobalt"}, "cobalt", codes.NotFound, codes.PermissionDenied},
		{"all", "all", "cobalt dusk", codes.OK, codes.OK},
		{"a slug that the settings do not give", []string{"dusk"}, "", codes.NotFound, codes.PermissionDenied},
		{"a star of its own", "*", "", codes.NotFound, codes.PermissionDenied},
		{"none", []string{}, "", codes.NotFound, codes.PermissionDenied},
	} {
		ctx := as(t.Context(), l.token(t, "sam", rpc.Operator, map[string]any{"companies": tt.companies}))
		all, err := parties.ListParticipants(ctx, &pb.ListParticipantsRequest{})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var slugs []string
		for _, p := range all.GetParticipants() {
			slugs = append(slugs, p.GetSlug())
		}
		if got := strings.Join(slugs, " "); got != tt.sees {
			t.Errorf("%s: sees %q, want %q", tt.name, got, tt.sees)
		}
		if _, err := parties.GetParticipant(ctx, &pb.GetParticipantRequest{Participant: "dusk"}); status.Code(err) != tt.dusk {
			t.Errorf("%s: asks for dusk: %v", tt.name, err)
		}
		if _, err := pb.NewTokenServiceClient(cobalt.conn).ListTokens(ctx, &pb.ListTokensRequest{}); status.Code(err) != tt.process {
			t.Errorf("%s: asks for tokens of the process: %v", tt.name, err)
		}
	}
	reader := as(t.Context(), l.token(t, "sam", rpc.Reader, map[string]any{"companies": "all"}))
	if _, err := parties.CreateParticipant(reader, &pb.CreateParticipantRequest{Slug: "x", Name: "x"}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a reader makes a participant: %v", err)
	}
	both := as(t.Context(), l.token(t, "sam", rpc.Reader, map[string]any{"companies": "all", "roles": []string{rpc.Reader, rpc.Auditor}}))
	if _, err := pb.NewDecisionServiceClient(cobalt.conn).GetLog(both, &pb.GetLogRequest{Participant: "cobalt"}); err != nil {
		t.Errorf("who has two roles may do what either may: %v", err)
	}
}

// Every refusal of a bearer token reads the same, whoever made it; the true reason is in the operator's log.
func TestEveryRefusedBearerTokenReadsTheSame(t *testing.T) {
	t.Parallel()
	l := newLogin(t)
	_, cobalt, _ := dataspace(t, l)
	good := l.token(t, "sam", rpc.Operator, map[string]any{"companies": "all"})
	said := map[string]bool{}
	for name, token := range map[string]string{
		"wrong audience":        l.token(t, "sam", rpc.Operator, map[string]any{"aud": "another"}),
		"wrong issuer":          l.token(t, "sam", rpc.Operator, map[string]any{"iss": l.URL + ".evil.example"}),
		"expired":               l.token(t, "sam", rpc.Operator, map[string]any{"iat": 1, "exp": 2}),
		"missing role":          l.token(t, "sam", rpc.Operator, map[string]any{"roles": []string{}}),
		"a changed signature":   good[:len(good)-8] + "AAAAAAAA",
		"our own, unknown":      rpc.TokenPrefix + "x",
		"our own, with a dot":   rpc.TokenPrefix + "x.y",
		"oversized":             good + strings.Repeat("A", 20<<10),
		"oversized without dot": strings.Repeat("A", 300),
	} {
		_, err := pb.NewParticipantServiceClient(cobalt.conn).ListParticipants(as(t.Context(), token), &pb.ListParticipantsRequest{})
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
		said[status.Convert(err).Message()] = true
	}
	if len(said) != 1 {
		t.Errorf("the refusals read %v, want one text", said)
	}
}

// The way out to identity providers reaches the origins in the settings, and nothing that such a provider names: neither by its discovery
// document nor by a redirect.
func TestAnIdentityProviderLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var reached atomic.Int32
	inside := &http.Server{Handler: http.NotFoundHandler(), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			reached.Add(1)
		}
	}}
	go func() { _ = inside.Serve(private) }()
	t.Cleanup(func() { _ = inside.Close() })
	for name, mislead := range map[string]func(l *login, mux *http.ServeMux){
		"discovery names a private address for the keys": func(l *login, mux *http.ServeMux) {
			mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"issuer":"` + l.URL + `","jwks_uri":"http://` + private.Addr().String() + `/keys"}`))
			})
		},
		"discovery redirects": func(_ *login, mux *http.ServeMux) {
			mux.Handle("GET /.well-known/openid-configuration", http.RedirectHandler("http://"+private.Addr().String()+"/", http.StatusFound))
		},
		"the keys redirect": func(l *login, mux *http.ServeMux) {
			mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"issuer":"` + l.URL + `","jwks_uri":"` + l.URL + `/keys"}`))
			})
			mux.Handle("GET /keys", http.RedirectHandler("http://"+private.Addr().String()+"/keys", http.StatusTemporaryRedirect))
		},
	} {
		l := newLogin(t)
		_, cobalt, _ := dataspace(t, l)
		mux := http.NewServeMux()
		mislead(l, mux)
		l.Config.Handler = mux
		_, err := pb.NewParticipantServiceClient(cobalt.conn).ListParticipants(cobalt.ctx(t), &pb.ListParticipantsRequest{})
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
		if n := reached.Load(); n != 0 {
			t.Errorf("%s: the private address got %d connections", name, n)
		}
	}
}
