package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wire/problem"
	"github.com/sluice-connector/sluice/schemas"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// MaxBody bounds the body of every call but the upload of a file.
const MaxBody = 2 << 20

// MaxFile bounds a file to publish.
const MaxFile = 256 << 20

// Server is the management API. It is safe for concurrent use.
type Server struct {
	cfg     Config
	gate    *gate
	pager   pager
	keys    keyLocks
	grpc    *grpc.Server
	rest    http.Handler
	handler http.Handler // both
}

// New returns a Server.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, gate: newGate(cfg), pager: pager{cfg.Cursors}, keys: keyLocks{held: map[heldKey]*heldLock{}}}
	s.grpc = grpc.NewServer(grpc.ChainUnaryInterceptor(s.toStatus, s.unary), grpc.StreamInterceptor(s.stream), grpc.MaxRecvMsgSize(MaxBody))
	s.register(s.grpc)
	var err error
	if s.rest, err = s.newREST(); err != nil {
		return nil, fmt.Errorf("management API: %w", err)
	}
	s.handler = problem.WithIncidents(http.HandlerFunc(s.serve), cfg.Log, cfg.Rand)
	return s, nil
}

// register mounts every service.
func (s *Server) register(r grpc.ServiceRegistrar) {
	pb.RegisterParticipantServiceServer(r, participants{Server: s})
	pb.RegisterTokenServiceServer(r, tokens{Server: s})
	pb.RegisterTrustServiceServer(r, trusts{Server: s})
	pb.RegisterDirectoryServiceServer(r, directories{Server: s})
	pb.RegisterGroupServiceServer(r, groups{Server: s})
	pb.RegisterCredentialServiceServer(r, credentials{Server: s})
	pb.RegisterIssuerServiceServer(r, issuers{Server: s})
	pb.RegisterKeyServiceServer(r, keys{Server: s})
	pb.RegisterAssetServiceServer(r, assets{Server: s})
	pb.RegisterPolicyServiceServer(r, policies{Server: s})
	pb.RegisterOfferServiceServer(r, offers{Server: s})
	pb.RegisterCatalogServiceServer(r, catalogs{Server: s})
	pb.RegisterNegotiationServiceServer(r, negotiations{Server: s})
	pb.RegisterAgreementServiceServer(r, agreements{Server: s})
	pb.RegisterTransferServiceServer(r, transfers{Server: s})
	pb.RegisterDecisionServiceServer(r, decisions{Server: s})
	pb.RegisterEventServiceServer(r, events{Server: s})
}

// newREST mounts the gateway, the streams and the description.
func (s *Server) newREST() (http.Handler, error) {
	gateway := runtime.NewServeMux(
		// Ids may be URIs: a slash in one comes as %2F, and "**" in a rule takes it as part of the id.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllCharacters),
		runtime.WithStrictDeepWildcardMatching(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{EmitDefaultValues: true},
			UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false, RecursionLimit: 64},
		}),
		runtime.WithIncomingHeaderMatcher(func(name string) (string, bool) {
			return idempotencyKey, strings.EqualFold(name, idempotencyKey) // authorization comes along by itself
		}),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			s.restError(w, r, err)
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, status int) {
			problem.Status(w, r, status, "there is no such address or method")
		}),
	)
	conn := &local{interceptor: s.unary, methods: map[string]localMethod{}}
	s.register(conn)
	for _, mount := range []error{
		pb.RegisterParticipantServiceHandlerClient(context.Background(), gateway, pb.NewParticipantServiceClient(conn)),
		pb.RegisterTokenServiceHandlerClient(context.Background(), gateway, pb.NewTokenServiceClient(conn)),
		pb.RegisterTrustServiceHandlerClient(context.Background(), gateway, pb.NewTrustServiceClient(conn)),
		pb.RegisterDirectoryServiceHandlerClient(context.Background(), gateway, pb.NewDirectoryServiceClient(conn)),
		pb.RegisterGroupServiceHandlerClient(context.Background(), gateway, pb.NewGroupServiceClient(conn)),
		pb.RegisterCredentialServiceHandlerClient(context.Background(), gateway, pb.NewCredentialServiceClient(conn)),
		pb.RegisterIssuerServiceHandlerClient(context.Background(), gateway, pb.NewIssuerServiceClient(conn)),
		pb.RegisterKeyServiceHandlerClient(context.Background(), gateway, pb.NewKeyServiceClient(conn)),
		pb.RegisterAssetServiceHandlerClient(context.Background(), gateway, pb.NewAssetServiceClient(conn)),
		pb.RegisterPolicyServiceHandlerClient(context.Background(), gateway, pb.NewPolicyServiceClient(conn)),
		pb.RegisterOfferServiceHandlerClient(context.Background(), gateway, pb.NewOfferServiceClient(conn)),
		pb.RegisterCatalogServiceHandlerClient(context.Background(), gateway, pb.NewCatalogServiceClient(conn)),
		pb.RegisterNegotiationServiceHandlerClient(context.Background(), gateway, pb.NewNegotiationServiceClient(conn)),
		pb.RegisterAgreementServiceHandlerClient(context.Background(), gateway, pb.NewAgreementServiceClient(conn)),
		pb.RegisterTransferServiceHandlerClient(context.Background(), gateway, pb.NewTransferServiceClient(conn)),
		pb.RegisterDecisionServiceHandlerClient(context.Background(), gateway, pb.NewDecisionServiceClient(conn)),
	} {
		if mount != nil {
			return nil, mount
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", limited(gateway))
	mux.HandleFunc("POST /v1/participants/{participant}/publish", s.restPublish)
	mux.HandleFunc("POST /v1/participants/{participant}/pull", s.restPull)
	mux.HandleFunc("GET /v1/participants/{participant}/log/export", s.restExport)
	mux.HandleFunc("GET /v1/participants/{participant}/events", s.restWatch)
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(schemas.OpenAPI)
	})
	mux.HandleFunc(metrics, s.restMetrics)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, fault.New("rpc.rest", fault.NotFound, "there is no such address"))
	})
	return mux, nil
}

// limited bounds the body, and keeps what the API answers out of every cache.
func limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP answers gRPC and REST on one listener. gRPC needs HTTP/2: give the http.Server the result of Protocols.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.astray(w, r):
	case r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		s.grpc.ServeHTTP(w, r)
	default:
		s.rest.ServeHTTP(w, r)
	}
}

// Protocols is what the http.Server in front must speak: HTTP/1.1 for REST, HTTP/2 for both, also without TLS on a loopback address.
func Protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

func logError(err error) slog.Attr { return slog.Any("error", err) }
