package rpc

import (
	"context"
	"encoding/hex"
	"strconv"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

type decisions struct {
	pb.UnimplementedDecisionServiceServer
	*Server
}

func (s decisions) GetLog(ctx context.Context, _ *pb.GetLogRequest) (*pb.Log, error) {
	const op = "rpc.GetLog"
	who := from(ctx)
	head, err := s.cfg.Store.LogHead(ctx, who.local.Slug)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	root, err := head.Root()
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	waiting, err := s.cfg.Store.LogTail(ctx, who.local.Slug)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	key, err := s.cfg.Logs.VerifierKey(ctx, who.local)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return &pb.Log{Size: head.Size, Waiting: int64(waiting), Root: hex.EncodeToString(root), Key: key}, nil
}

func (s decisions) GetDecision(ctx context.Context, req *pb.GetDecisionRequest) (*pb.Decision, error) {
	const op = "rpc.GetDecision"
	entries, err := s.cfg.Store.LogEntries(ctx, from(ctx).local.Slug, req.GetIndex(), 1)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	if len(entries) == 0 {
		return nil, fault.New(op, fault.NotFound, "the log has no record at this index")
	}
	return decisionOut(req.GetIndex(), entries[0])
}

func (s decisions) ListDecisions(ctx context.Context, req *pb.ListDecisionsRequest) (*pb.ListDecisionsResponse, error) {
	const op = "rpc.ListDecisions"
	who := from(ctx)
	at, err := s.pager.open(who, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(req)
	if err != nil {
		return nil, err
	}
	start, size := req.GetFrom(), page.Request{Limit: limit}.Size()
	if at.ID != "" {
		if start, err = strconv.ParseUint(at.ID, 10, 64); err != nil {
			return nil, fault.Wrap(op, fault.Internal, err)
		}
	}
	// One more than the page says whether there is a next one.
	entries, err := s.cfg.Store.LogEntries(ctx, who.local.Slug, start, size+1)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	out := &pb.ListDecisionsResponse{}
	for i, e := range entries[:min(size, len(entries))] {
		d, err := decisionOut(start+uint64(i), e)
		if err != nil {
			return nil, err
		}
		out.Decisions = append(out.Decisions, d)
	}
	if len(entries) > size {
		out.NextPageToken, err = s.pager.token(who, req, page.Key{ID: strconv.FormatUint(start+uint64(size), 10)})
	}
	return out, err
}
