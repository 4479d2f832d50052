package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"google.golang.org/genproto/googleapis/rpc/errdetails"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// defaultServer is where "sluice serve" listens unless told otherwise.
const defaultServer = "http://127.0.0.1:8444"

// remote gives a command the flags of one that talks to a connector.
func (a *app) remote(c *cobra.Command) *cobra.Command {
	f := c.Flags()
	f.StringVar(&a.server, "server", "", "management address of the connector (SLUICE_SERVER; default "+defaultServer+")")
	f.StringVar(&a.tokenFile, "token-file", "", "file with the bearer token (SLUICE_TOKEN_FILE; the token itself may be in SLUICE_TOKEN)")
	f.StringVar(&a.roots, "ca", "", "PEM file of certificate authorities to trust for --server (SLUICE_CA)")
	f.StringVarP(&a.participant, "participant", "p", "", "slug of the participant to act for (SLUICE_PARTICIPANT)")
	f.StringVar(&a.key, "idempotency-key", "", "makes a repeat of this very call harmless")
	return c
}

func (a *app) setting(flag, env, otherwise string) string {
	if flag != "" {
		return flag
	}
	if v := a.env(env); v != "" {
		return v
	}
	return otherwise
}

// connect opens the connection to the connector. Nothing is sent yet.
func (a *app) connect() (*grpc.ClientConn, error) {
	address := a.setting(a.server, "SLUICE_SERVER", defaultServer)
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, usage("server %q: want http://host:port or https://host:port", address)
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	transport := insecure.NewCredentials()
	if u.Scheme == "https" {
		config, err := a.tlsConfig()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	} else if !loopback(u.Hostname()) {
		return nil, usage("server %q: a token is only sent over https, or to this machine itself", address)
	}
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(u.Hostname(), port),
		grpc.WithTransportCredentials(transport),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return a.dial(ctx, "tcp", address) }),
		grpc.WithUserAgent("sluice"),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return failure(invoke(a.carry(ctx, token), method, req, reply, cc, opts...))
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			stream, err := open(a.carry(ctx, token), desc, cc, method, opts...)
			return stream, failure(err)
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return conn, nil
}

func (a *app) carry(ctx context.Context, token string) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	if a.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", a.key)
	}
	return ctx
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// maxTokenFile bounds a token file: tokens of identity providers can be long.
const maxTokenFile = 17 << 10

func (a *app) token() (string, error) {
	if t := strings.TrimSpace(a.env("SLUICE_TOKEN")); t != "" && a.tokenFile == "" {
		return t, nil
	}
	path := a.setting(a.tokenFile, "SLUICE_TOKEN_FILE", "")
	if path == "" {
		return "", &exitError{code: exitDenied, err: errors.New("no token: set SLUICE_TOKEN, or name a file by --token-file")}
	}
	file, err := os.Open(path)
	if err != nil {
		return "", usage("token file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	if t := strings.TrimSpace(string(text)); t != "" {
		return t, nil
	}
	return "", usage("token file %s is empty", path)
}

func (a *app) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, Time: a.now}
	path := a.setting(a.roots, "SLUICE_CA", "")
	if path == "" {
		return config, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("certificate authorities: %w", err)
	}
	if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, usage("certificate authorities: %s holds no certificate", path)
	}
	return config, nil
}

// failure gives an error of a call its exit code.
func failure(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	code := exitFailed
	switch s.Code() {
	case codes.NotFound:
		code = exitNotFound
	case codes.InvalidArgument, codes.ResourceExhausted:
		code = exitUsage
	case codes.Unauthenticated:
		code = exitDenied
	case codes.PermissionDenied:
		code = exitDenied
		for _, d := range s.Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetMetadata()["kind"] == "refused" {
				code = exitRefused
			}
		}
	case codes.Aborted, codes.AlreadyExists, codes.FailedPrecondition:
		code = exitConflict
	}
	return &exitError{code: code, err: err}
}

// with connects, finds out for whom to act, and does it.
func (a *app) with(ctx context.Context, do func(conn *grpc.ClientConn, slug string) error) error {
	conn, err := a.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	slug := a.setting(a.participant, "SLUICE_PARTICIPANT", "")
	if slug == "" {
		all, err := pb.NewParticipantServiceClient(conn).ListParticipants(ctx, &pb.ListParticipantsRequest{})
		if err != nil {
			return err
		}
		if len(all.GetParticipants()) != 1 {
			names := make([]string, 0, len(all.GetParticipants()))
			for _, p := range all.GetParticipants() {
				names = append(names, p.GetSlug())
			}
			return usage("name a participant by --participant: this token sees %d (%s)", len(names), strings.Join(names, ", "))
		}
		slug = all.GetParticipants()[0].GetSlug()
	}
	return do(conn, slug)
}

// call makes the run function of a command that makes one call for a participant.
func (a *app) call(do func(ctx context.Context, conn *grpc.ClientConn, slug string, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(conn *grpc.ClientConn, slug string) error { return do(cmd.Context(), conn, slug, args) })
	}
}
