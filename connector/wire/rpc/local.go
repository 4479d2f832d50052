package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// local is the gateway's connection to the services in this process. It runs the same interceptor as the gRPC server, and hands faults
// on as they are; calling the services directly, as generated code offers, would run none.
type local struct {
	interceptor grpc.UnaryServerInterceptor
	methods     map[string]localMethod
}

type localMethod struct {
	srv  any
	call grpc.MethodHandler
}

// RegisterService implements grpc.ServiceRegistrar.
func (l *local) RegisterService(desc *grpc.ServiceDesc, srv any) {
	for _, m := range desc.Methods {
		l.methods["/"+desc.ServiceName+"/"+m.MethodName] = localMethod{srv: srv, call: m.Handler}
	}
}

// Invoke implements grpc.ClientConnInterface.
func (l *local) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	m, ok := l.methods[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "no method %s", method)
	}
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		ctx = metadata.NewIncomingContext(ctx, md)
	}
	in, _ := args.(proto.Message)
	decode := func(v any) error {
		to, ok := v.(proto.Message)
		if !ok || in == nil {
			return status.Error(codes.Internal, "the request is no message")
		}
		proto.Merge(to, in)
		return nil
	}
	out, err := m.call(m.srv, ctx, decode, l.interceptor)
	if err != nil {
		return err
	}
	to, isMessage := reply.(proto.Message)
	answer, also := out.(proto.Message)
	if !isMessage || !also {
		return status.Error(codes.Internal, "the answer is no message")
	}
	proto.Merge(to, answer)
	return nil
}

// NewStream implements grpc.ClientConnInterface. Streams have REST forms of their own.
func (l *local) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "streams do not pass the gateway")
}
