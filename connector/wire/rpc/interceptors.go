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
		return nil, grpcError(err, incident(ctx, s.cfg.Log, s.cfg.Rand, info.FullMethod, err))
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
	message, ok := req.(proto.Message)
	if !ok {
		return nil, fault.New(op, fault.Internal, "the request is no message")
	}
	if !printable(key) || len(key) > maxKey {
		return nil, fault.New(op, fault.Malformed, "idempotency-key: want 1 to %d printable ASCII characters", maxKey)
	}
	who := from(ctx)
	// Two callers may choose the same key: it is theirs alone.
	key = who.token.Hash[:min(16, len(who.token.Hash))] + ":" + key
	unlock := s.keys.lock(who.local.ID, key)
	defer unlock()
	digest, err := digestOf(method, message)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	kept, answer, err := s.cfg.Store.Answered(ctx, who.local.ID, key)
	switch {
	case err == nil && kept == digest && len(answer) == 0:
		return nil, &fault.Error{Op: op, Kind: fault.Conflict, Code: "idempotency.answered",
			Reason: "the call under this idempotency key was carried out, and its answer was not kept: look at what it changed"}
	case err == nil && kept == digest:
		return unpack(answer)
	case err == nil:
		return nil, &fault.Error{Op: op, Kind: fault.Conflict, Code: "idempotency.reused", Reason: "this idempotency key was used for another request"}
	case !fault.Is(err, fault.NotFound):
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	out, err := handler(commit.WithOnce(ctx, commit.Once{Participant: who.local.ID, Key: key, Digest: digest, Time: s.cfg.Now()}), req)
	if err != nil {
		return nil, err
	}
	packed, err := pack(out)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	if err := s.cfg.Store.Keep(ctx, who.local.ID, key, digest, packed, s.cfg.Now()); err != nil {
		// The effect is there and its answer is right: losing the memory of it is no reason to say otherwise.
		s.cfg.Log.WarnContext(ctx, "answer not kept under its idempotency key", logError(err))
	}
	return out, nil
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
	if created, ok := message.(*pb.CreateTokenResponse); ok {
		message = &pb.CreateTokenResponse{Token: created.Token}
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
	gated := &gatedStream{ServerStream: stream, ctx: stream.Context(), gate: s.gate, method: info.FullMethod}
	_, err := survive(func() (any, error) { return nil, handler(srv, gated) })
	if gated.refused != nil {
		err = gated.refused
	}
	return grpcError(err, incident(gated.ctx, s.cfg.Log, s.cfg.Rand, info.FullMethod, err))
}

// gatedStream lets nothing through before the gate has. Handlers must receive before they send; generated code does.
type gatedStream struct {
	grpc.ServerStream
	ctx     context.Context
	gate    *gate
	method  string
	entered bool
	refused error
}

func (g *gatedStream) Context() context.Context { return g.ctx }

func (g *gatedStream) RecvMsg(m any) error {
	if g.refused != nil {
		return g.refused
	}
	if err := g.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if g.entered {
		return nil
	}
	authorization, err := header(g.ctx, authorizationKey)
	if err == nil {
		var ctx context.Context
		if ctx, _, err = g.gate.enter(g.ctx, g.method, authorization, slugOf(m)); err == nil {
			g.ctx, g.entered = ctx, true
			return nil
		}
	}
	g.refused = err
	return err
}

func (g *gatedStream) SendMsg(m any) error {
	if !g.entered {
		return fault.New("rpc.stream", fault.Forbidden, "nothing is sent before the caller is known")
	}
	return g.ServerStream.SendMsg(m)
}
