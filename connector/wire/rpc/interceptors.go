package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/problem"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// Names of the metadata that the API reads; over REST they are headers.
const (
	authorizationKey = "authorization"
	idempotencyKey   = "idempotency-key"
)

// maxKey bounds an idempotency key.
const maxKey = 128

// named is a request about one participant.
type named interface{ GetParticipant() string }

func slugOf(req any) string {
	if n, ok := req.(named); ok {
		return n.GetParticipant()
	}
	if p, ok := req.(*pb.PublishFileRequest); ok {
		return p.GetSettings().GetParticipant()
	}
	return ""
}

func header(ctx context.Context, key string) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	switch values := md.Get(key); len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", fault.New("rpc", fault.Malformed, "%s is given more than once", key)
}

// unary runs gate and idempotency before a handler. Both ways in use it.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	authorization, err := header(ctx, authorizationKey)
	if err != nil {
		return nil, err
	}
	ctx, rule, err := s.gate.enter(ctx, info.FullMethod, authorization, slugOf(req))
	if err != nil {
		return nil, err
	}
	key, err := header(ctx, idempotencyKey)
	if err != nil {
		return nil, err
	}
	if key == "" || !rule.change {
		return handler(ctx, req)
	}
	return s.once(ctx, key, info.FullMethod, req, handler)
}

// toStatus is the outermost interceptor of the gRPC way: faults become statuses there and nowhere else.
func (s *Server) toStatus(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	answer, err := survive(func() (any, error) { return handler(ctx, req) })
	if err != nil {
		return nil, grpcError(err, problem.Incident(ctx, info.FullMethod, err))
	}
	return answer, nil
}

// survive makes an error of a bug in one call: it must not end the calls of all others. net/http does the same for REST.
func survive(call func() (any, error)) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, fault.Wrap("rpc.survive", fault.Internal, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return call()
}

// once answers a repeated call with the answer of the first. The key commits with the effects of the call, the answer after them: when the
// answer was lost, or the call failed behind its effects, a repeat is told that it was carried out. Nothing is ever done twice.
func (s *Server) once(ctx context.Context, key, method string, req any, handler grpc.UnaryHandler) (any, error) {
	const op = "rpc.once"
	ctx, answer, unlock, err := s.claim(ctx, key, method, req)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if answer != nil {
		return unpack(answer)
	}
	out, err := handler(ctx, req)
	if err != nil {
		return nil, err
	}
	packed, err := pack(out)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	claim := commit.OnceOf(ctx)
	if err := s.cfg.Store.Keep(ctx, claim.Participant, claim.Key, claim.Digest, packed, s.cfg.Now()); err != nil {
		// The effect is there and its answer is right: losing the memory of it is no reason to say otherwise.
		s.cfg.Log.WarnContext(ctx, "answer not kept under its idempotency key", logError(err))
	}
	return out, nil
}

// onceOnly is once for streams, whose answers are not kept: a repeat is told that the first was carried out, or begun. req is the first
// message. Without a key, and for what changes nothing, everything is let through.
func (s *Server) onceOnly(ctx context.Context, key, method string, req any) (claimed context.Context, unlock func(), err error) {
	if key == "" || !s.gate.rules[method].change {
		return ctx, func() {}, nil
	}
	ctx, _, unlock, err = s.claim(ctx, key, method, req)
	return ctx, unlock, err
}

// claim lets one call at a time use an idempotency key, until unlock. What is committed under the context carries the key. The answer is that
// of an earlier call, nil when there was none; a key whose answer was not kept, or of another request, is a Conflict.
func (s *Server) claim(ctx context.Context, key, method string, req any) (claimed context.Context, answer []byte, unlock func(), err error) {
	const op = "rpc.claim"
	message, ok := req.(proto.Message)
	if !ok {
		return nil, nil, nil, fault.New(op, fault.Internal, "the request is no message")
	}
	if !printable(key) || len(key) > maxKey {
		return nil, nil, nil, fault.New(op, fault.Malformed, "idempotency-key: want 1 to %d printable ASCII characters", maxKey)
	}
	digest, err := digestOf(method, message)
	if err != nil {
		return nil, nil, nil, fault.Wrap(op, fault.Internal, err)
	}
	who := from(ctx)
	// Two callers may choose the same key: it is theirs alone.
	key = who.id[:min(16, len(who.id))] + ":" + key
	unlock = s.keys.lock(who.local.ID, key)
	kept, answer, err := s.cfg.Store.Answered(ctx, who.local.ID, key)
	switch {
	case fault.Is(err, fault.NotFound):
		return commit.WithOnce(ctx, commit.Once{Participant: who.local.ID, Key: key, Digest: digest, Time: s.cfg.Now()}), nil, unlock, nil
	case err != nil:
		err = fault.Wrap(op, fault.Unavailable, err)
	case kept != digest:
		err = &fault.Error{Op: op, Kind: fault.Conflict, Code: "idempotency.reused", Reason: "this idempotency key was used for another request"}
	case len(answer) == 0:
		err = &fault.Error{Op: op, Kind: fault.Conflict, Code: "idempotency.answered",
			Reason: "the call under this idempotency key was carried out, or begun, and its answer was not kept: look at what it changed"}
	default:
		return ctx, answer, unlock, nil
	}
	unlock()
	return nil, nil, nil, err
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != ""
}

func digestOf(method string, req proto.Message) (string, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write([]byte(method + "\x00"))
	h.Write(encoded)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// pack encodes an answer for keeping, without the secret that it may carry.
func pack(out any) ([]byte, error) {
	message, ok := out.(proto.Message)
	if !ok {
		return nil, fault.New("rpc.pack", fault.Internal, "the answer is no message")
	}
	switch created := message.(type) {
	case *pb.CreateTokenResponse:
		message = &pb.CreateTokenResponse{Token: created.Token}
	case *pb.CreateStsClientResponse:
		message = &pb.CreateStsClientResponse{Client: created.Client}
	case *pb.IssueCredentialResponse: // its text is the holder's: nowhere is it kept
		message = &pb.IssueCredentialResponse{Credential: created.Credential}
	}
	any, err := anypb.New(message)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(any)
}

func unpack(answer []byte) (any, error) {
	var any anypb.Any
	if err := proto.Unmarshal(answer, &any); err != nil {
		return nil, fault.Wrap("rpc.unpack", fault.Internal, err)
	}
	message, err := any.UnmarshalNew()
	if err != nil {
		return nil, fault.Wrap("rpc.unpack", fault.Internal, err)
	}
	return message, nil
}

// keyLocks lets one call at a time use an idempotency key. Entries live as long as somebody waits.
type keyLocks struct {
	mu   sync.Mutex // guards held
	held map[heldKey]*heldLock
}

type heldKey struct {
	participant participant.ID
	key         string
}

type heldLock struct {
	mu   sync.Mutex
	uses int // guarded by keyLocks.mu
}

func (k *keyLocks) lock(p participant.ID, key string) (unlock func()) {
	at := heldKey{p, key}
	k.mu.Lock()
	l := k.held[at]
	if l == nil {
		l = &heldLock{}
		k.held[at] = l
	}
	l.uses++
	k.mu.Unlock()
	l.mu.Lock()
	return func() {
		l.mu.Unlock()
		k.mu.Lock()
		if l.uses--; l.uses == 0 {
			delete(k.held, at)
		}
		k.mu.Unlock()
	}
}

// stream runs the gate when the first message of a stream has come: it names the participant.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	gated := &gatedStream{ServerStream: stream, ctx: stream.Context(), server: s, method: info.FullMethod, leave: func() {}}
	_, err := survive(func() (any, error) { return nil, handler(srv, gated) })
	gated.leave()
	if gated.refused != nil {
		err = gated.refused
	}
	err = ended(gated.ctx, err)
	return grpcError(err, problem.Incident(stream.Context(), info.FullMethod, err))
}

// gatedStream lets nothing through before the gate has, and nothing more when the caller's token has ended. Handlers must receive before they
// send; generated code does.
type gatedStream struct {
	grpc.ServerStream
	ctx     context.Context
	server  *Server
	method  string
	entered bool
	refused error
	leave   func() // ends what enter began
}

func (g *gatedStream) Context() context.Context { return g.ctx }

func (g *gatedStream) RecvMsg(m any) error {
	if g.refused != nil {
		return g.refused
	}
	if err := g.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if !g.entered {
		g.refused = g.enter(m)
		g.entered = g.refused == nil
	}
	return g.refused
}

func (g *gatedStream) enter(m any) error {
	authorization, err := header(g.ctx, authorizationKey)
	if err != nil {
		return err
	}
	key, err := header(g.ctx, idempotencyKey)
	if err != nil {
		return err
	}
	ctx, _, err := g.server.gate.enter(g.ctx, g.method, authorization, slugOf(m))
	if err != nil {
		return err
	}
	ctx, unlock, err := g.server.onceOnly(ctx, key, g.method, m)
	if err != nil {
		return err
	}
	held, stop := g.server.gate.hold(ctx)
	g.ctx, g.leave = held, func() {
		stop()
		unlock()
	}
	return nil
}

func (g *gatedStream) SendMsg(m any) error {
	if !g.entered {
		return fault.New("rpc.stream", fault.Forbidden, "nothing is sent before the caller is known")
	}
	if g.ctx.Err() != nil {
		return context.Cause(g.ctx)
	}
	return g.ServerStream.SendMsg(m)
}
