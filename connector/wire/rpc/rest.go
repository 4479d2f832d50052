package rpc

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wire/problem"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// enterREST runs the gate for a stream. The context lasts as long as the caller's token; leave must be called.
func (s *Server) enterREST(w http.ResponseWriter, r *http.Request, method string) (ctx context.Context, leave func(), ok bool) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	ctx, _, err := s.gate.enter(r.Context(), method, r.Header.Get("Authorization"), r.PathValue("participant"))
	if err != nil {
		s.restError(w, r, err)
		return nil, nil, false
	}
	ctx, leave = s.gate.hold(ctx)
	return ctx, leave, true
}

// claimREST takes the call's idempotency key, when it has one.
func (s *Server) claimREST(ctx context.Context, r *http.Request, method string, req proto.Message) (claimed context.Context, unlock func(), err error) {
	keys := r.Header.Values(idempotencyKey)
	switch len(keys) {
	case 0:
		return ctx, func() {}, nil
	case 1:
		return s.onceOnly(ctx, keys[0], method, req)
	}
	return nil, nil, fault.New("rpc.rest", fault.Malformed, "%s is given more than once", idempotencyKey)
}

// answer remembers whether the answer has begun: an error before that is a problem, and after that only a broken connection tells the truth.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (s *Server) end(ctx context.Context, a *answer, r *http.Request, err error) {
	if err == nil {
		return
	}
	err = ended(ctx, err)
	if !a.begun {
		a.Header().Del("Content-Length")
		s.restError(a.ResponseWriter, r, err)
		return
	}
	problem.Incident(r.Context(), r.Method+" "+r.URL.Path, err)
	// What was begun must not look whole: with its deadline in the past the connection, or the stream, is cut.
	_ = http.NewResponseController(a).SetWriteDeadline(time.Unix(1, 0))
}

// restMetrics answers with what the process counts, as it is.
func (s *Server) restMetrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, _, err := s.gate.enter(r.Context(), metrics, r.Header.Get("Authorization"), ""); err != nil {
		s.restError(w, r, err)
		return
	}
	s.cfg.Metrics.ServeHTTP(w, r)
}

// restPull answers with the data itself.
func (s *Server) restPull(w http.ResponseWriter, r *http.Request) {
	ctx, leave, ok := s.enterREST(w, r, pb.TransferService_Pull_FullMethodName)
	if !ok {
		return
	}
	defer leave()
	q := r.URL.Query()
	req := &pb.PullRequest{Participant: r.PathValue("participant"), Peer: q.Get("peer"), Asset: q.Get("asset"), Offer: q.Get("offer"), Path: q.Get("path")}
	var err error
	if req.Fresh, err = flag(q.Get("fresh")); err != nil {
		s.restError(w, r, err)
		return
	}
	ctx, unlock, err := s.claimREST(ctx, r, pb.TransferService_Pull_FullMethodName, req)
	if err != nil {
		s.restError(w, r, err)
		return
	}
	defer unlock()
	a := &answer{ResponseWriter: w}
	err = s.pull(ctx, req, func(string, string) error { return nil }, func(res exchange.Result) error {
		h := a.Header()
		h.Set("Content-Type", res.Body.MediaType)
		h.Set("Content-Disposition", "attachment") // a peer's bytes are never shown as a page of ours
		h.Set("Sluice-Agreement", res.Agreement)
		h.Set("Sluice-Transfer", res.Transfer)
		if res.Body.Length >= 0 {
			h.Set("Content-Length", strconv.FormatInt(res.Body.Length, 10))
		}
		return nil
	}, a)
	s.end(ctx, a, r, err)
}

// restExport answers with the archive itself.
func (s *Server) restExport(w http.ResponseWriter, r *http.Request) {
	ctx, leave, ok := s.enterREST(w, r, pb.DecisionService_ExportLog_FullMethodName)
	if !ok {
		return
	}
	defer leave()
	a := &answer{ResponseWriter: w}
	a.Header().Set("Content-Type", "application/x-tar")
	s.end(ctx, a, r, s.export(ctx, a))
}

// restPublish reads the file from the body and answers with lines of JSON.
func (s *Server) restPublish(w http.ResponseWriter, r *http.Request) {
	ctx, leave, ok := s.enterREST(w, r, pb.AssetService_PublishFile_FullMethodName)
	if !ok {
		return
	}
	defer leave()
	q := r.URL.Query()
	settings := &pb.PublishSettings{Participant: r.PathValue("participant"), Template: q.Get("template")}
	settings.Format = map[string]pb.FileFormat{"csv": pb.FileFormat_FILE_FORMAT_CSV, "xlsx": pb.FileFormat_FILE_FORMAT_XLSX,
		"json": pb.FileFormat_FILE_FORMAT_JSON}[q.Get("format")]
	if settings.Format == pb.FileFormat_FILE_FORMAT_UNSPECIFIED {
		s.restError(w, r, fault.New("rpc.rest", fault.Malformed, "format: want csv, xlsx or json"))
		return
	}
	var err error
	if settings.Partial, err = flag(q.Get("partial")); err == nil {
		settings.DryRun, err = flag(q.Get("dryRun"))
	}
	if err != nil {
		s.restError(w, r, err)
		return
	}
	ctx, unlock, err := s.claimREST(ctx, r, pb.AssetService_PublishFile_FullMethodName, settings)
	if err != nil {
		s.restError(w, r, err)
		return
	}
	defer unlock()
	// Progress goes out while the file still comes in; HTTP/1.1 allows that only when asked.
	_ = http.NewResponseController(w).EnableFullDuplex()
	a := &answer{ResponseWriter: w}
	s.end(ctx, a, r, s.publish(ctx, settings, r.Body, func(m *pb.PublishFileResponse) error { return line(a, m) }))
}

// restWatch answers with lines of JSON, one event each.
func (s *Server) restWatch(w http.ResponseWriter, r *http.Request) {
	ctx, leave, ok := s.enterREST(w, r, pb.EventService_Watch_FullMethodName)
	if !ok {
		return
	}
	defer leave()
	q := r.URL.Query()
	req := &pb.WatchRequest{Participant: r.PathValue("participant")}
	var err error
	if after := q.Get("after"); after != "" {
		if req.After, err = strconv.ParseInt(after, 10, 64); err != nil {
			s.restError(w, r, fault.New("rpc.rest", fault.Malformed, "after: want a number"))
			return
		}
	}
	if req.Once, err = flag(q.Get("once")); err != nil {
		s.restError(w, r, err)
		return
	}
	a := &answer{ResponseWriter: w}
	err = s.watch(ctx, req, func(m *pb.Event) error { return line(a, m) })
	if err == nil && !a.begun { // once, and nothing there
		a.Header().Set("Content-Type", ndjson)
		a.WriteHeader(http.StatusOK)
	}
	if r.Context().Err() == nil {
		s.end(ctx, a, r, err)
	}
}

const ndjson = "application/x-ndjson"

// line writes a message as one line and sends it off.
func line(a *answer, m proto.Message) error {
	if !a.begun {
		a.Header().Set("Content-Type", ndjson)
	}
	b, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := a.Write(append(b, '\n')); err != nil {
		return err
	}
	return http.NewResponseController(a).Flush()
}

func flag(s string) (bool, error) {
	switch s {
	case "":
		return false, nil
	case "true", "false":
		return s == "true", nil
	}
	return false, fault.New("rpc.rest", fault.Malformed, "%q: want true or false", s)
}
