package rpc

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// domain stands in the error details: whose codes these are.
const domain = "sluice.v1"

// grpcError turns a fault into a status with details: ErrorInfo with code and incident, BadRequest with one violation per reason.
func grpcError(err error, incident string) error {
	if err == nil {
		return nil
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		switch {
		case errors.Is(err, context.Canceled):
			return status.Error(codes.Canceled, "the caller went away")
		case errors.Is(err, context.DeadlineExceeded):
			return status.Error(codes.DeadlineExceeded, "the caller's deadline has passed")
		}
		if s, ok := status.FromError(err); ok { // made by the transport, before any handler
			return s.Err()
		}
	}
	code, reason, reasons := problem.Public(err)
	row := problem.Of(fault.KindOf(err))
	if reason == "" {
		reason = row.Title
	}
	s := status.New(row.Code, reason)
	info := &errdetails.ErrorInfo{Reason: code, Domain: domain, Metadata: map[string]string{"kind": row.Type}}
	if incident != "" {
		info.Metadata["incident"] = incident
	}
	detailed, failed := s.WithDetails(info)
	if failed != nil {
		return s.Err()
	}
	if len(reasons) > 0 {
		violations := &errdetails.BadRequest{}
		for _, r := range reasons {
			violations.FieldViolations = append(violations.FieldViolations, &errdetails.BadRequest_FieldViolation{Description: r})
		}
		if more, failed := detailed.WithDetails(violations); failed == nil {
			detailed = more
		}
	}
	return detailed.Err()
}

// restError answers a REST call with a problem. What the gateway itself finds wrong comes as a status.
func (s *Server) restError(w http.ResponseWriter, r *http.Request, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		var routed *runtime.HTTPStatusError
		st, ok := status.FromError(err)
		switch {
		case errors.As(err, &routed):
			problem.Status(w, r, routed.HTTPStatus, http.StatusText(routed.HTTPStatus))
			return
		case ok && strings.HasSuffix(st.Message(), new(http.MaxBytesError).Error()): // the gateway keeps only the text
			err = fault.New("rpc.rest", fault.TooLarge, "the body has more than %d bytes", MaxBody)
		case ok && st.Code() == codes.InvalidArgument:
			err = fault.New("rpc.rest", fault.Malformed, "%s", st.Message())
		case ok && (st.Code() == codes.NotFound || st.Code() == codes.Unimplemented):
			err = fault.New("rpc.rest", fault.NotFound, "there is no such address")
		}
	}
	problem.Write(w, r, err)
}
