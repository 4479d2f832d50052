package rpc

import (
	"context"
	"strconv"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// Directory finds companies by number. A *directory.Reader implements it.
type Directory interface {
	DID(ctx context.Context, local participant.Participant, number string) (participant.DID, error)
	Number(ctx context.Context, local participant.Participant, did participant.DID) (string, error)
}

// peer is the DID of whom a call names: by DID, or by a number that the directory knows.
func (s *Server) peer(ctx context.Context, local participant.Participant, named string) (participant.DID, error) {
	if !directory.ValidNumber(named) {
		return participant.DID(named), nil
	}
	did, err := s.cfg.Directory.DID(ctx, local, named)
	return did, fault.Wrap("rpc.peer", fault.Internal, err)
}

// noted is an operator's action and the event that tells of it, to be committed with what it does.
func (s *Server) noted(ctx context.Context, code, event, subject string, details map[string]string) (commit.Effects, error) {
	who, now := from(ctx), s.cfg.Now()
	entry, err := s.cfg.Recorder.Record(ctx, decisionlog.Action{Log: who.local.Slug, Code: code, Actor: who.actor(), Subject: subject, Now: now, Details: details})
	if err != nil {
		return commit.Effects{}, fault.Wrap("rpc.noted", fault.Unavailable, err)
	}
	return commit.Effects{Decisions: []decisionlog.Entry{entry}, Events: []commit.Event{{Type: event, Subject: subject, Time: now, Actor: who.actor(), Data: details}}}, nil
}

type directories struct {
	pb.UnimplementedDirectoryServiceServer
	*Server
}

func entryOut(e directory.Entry) *pb.NumberEntry {
	return &pb.NumberEntry{Number: e.Number, Did: string(e.DID), Updated: stampOf(e.Updated)}
}

func (s directories) ResolveNumber(ctx context.Context, req *pb.ResolveNumberRequest) (*pb.NumberEntry, error) {
	const op = "rpc.ResolveNumber"
	local := from(ctx).local
	if did, _, err := identity.ParseDID(req.GetPeer()); err == nil {
		number, err := s.cfg.Directory.Number(ctx, local, did)
		return &pb.NumberEntry{Number: number, Did: string(did)}, fault.Wrap(op, fault.Internal, err)
	}
	did, err := s.cfg.Directory.DID(ctx, local, req.GetPeer())
	return &pb.NumberEntry{Number: req.GetPeer(), Did: string(did)}, fault.Wrap(op, fault.Internal, err)
}

func (s directories) ListNumbers(ctx context.Context, req *pb.ListNumbersRequest) (*pb.ListNumbersResponse, error) {
	out, next, err := paging(ctx, s.Server, "rpc.ListNumbers", req, false, func(local participant.Participant, r page.Request) (page.Of[directory.Entry], error) {
		return s.cfg.Store.Numbers(ctx, local.ID, r)
	}, sure(entryOut))
	return &pb.ListNumbersResponse{Entries: out, NextPageToken: next}, err
}

func (s directories) PutNumber(ctx context.Context, req *pb.PutNumberRequest) (*pb.NumberEntry, error) {
	const op = "rpc.PutNumber"
	did, _, err := identity.ParseDID(req.GetDid())
	if err != nil || !directory.ValidNumber(req.GetNumber()) {
		return nil, fault.New(op, fault.Malformed, "want the number of a legal entity (BPNL and twelve of 0-9 and A-Z) and a DID of the method web")
	}
	e := directory.Entry{Number: req.GetNumber(), DID: did, Updated: s.cfg.Now()}
	effects, err := s.noted(ctx, "number.put", "number.put", e.Number, map[string]string{"did": string(did)})
	if err != nil {
		return nil, err
	}
	return entryOut(e), fault.Wrap(op, fault.Internal, s.cfg.Store.PutNumber(ctx, from(ctx).local.ID, e, effects))
}

func (s directories) DeleteNumber(ctx context.Context, req *pb.DeleteNumberRequest) (*pb.DeleteNumberResponse, error) {
	const op = "rpc.DeleteNumber"
	effects, err := s.noted(ctx, "number.delete", "number.deleted", req.GetNumber(), nil)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.DeleteNumber(ctx, from(ctx).local.ID, req.GetNumber(), effects)
	if fault.Is(err, fault.NotFound) {
		err = fault.New(op, fault.NotFound, "there is no such number in this directory")
	}
	return &pb.DeleteNumberResponse{}, fault.Wrap(op, fault.Internal, err)
}

type groups struct {
	pb.UnimplementedGroupServiceServer
	*Server
}

func groupOut(g directory.Group) *pb.Group {
	return &pb.Group{Name: g.Name, Members: g.Members, Version: g.Version, Created: stampOf(g.Created), Updated: stampOf(g.Updated)}
}

func (s groups) ListGroups(ctx context.Context, _ *pb.ListGroupsRequest) (*pb.ListGroupsResponse, error) {
	all, err := s.cfg.Store.Groups(ctx, from(ctx).local.ID)
	if err != nil {
		return nil, fault.Wrap("rpc.ListGroups", fault.Internal, err)
	}
	out, err := each(all, sure(groupOut))
	return &pb.ListGroupsResponse{Groups: out}, err
}

func (s groups) GetGroup(ctx context.Context, req *pb.GetGroupRequest) (*pb.Group, error) {
	const op = "rpc.GetGroup"
	g, err := s.cfg.Store.Group(ctx, from(ctx).local.ID, req.GetName())
	if fault.Is(err, fault.NotFound) {
		err = fault.New(op, fault.NotFound, "there is no such group")
	}
	return groupOut(g), fault.Wrap(op, fault.Internal, err)
}

func (s groups) PutGroup(ctx context.Context, req *pb.PutGroupRequest) (*pb.Group, error) {
	const op = "rpc.PutGroup"
	local := from(ctx).local
	g, err := directory.Group{Participant: local.ID, Name: req.GetGroup().GetName(), Members: req.GetGroup().GetMembers(), Version: req.GetGroup().GetVersion(), Updated: s.cfg.Now()}.Normal()
	if err != nil {
		return nil, err
	}
	if g.Version == 0 {
		all, err := s.cfg.Store.Groups(ctx, local.ID)
		if err != nil {
			return nil, fault.Wrap(op, fault.Internal, err)
		}
		if len(all) >= directory.MaxGroups {
			return nil, fault.New(op, fault.Malformed, "there are %d groups already, and each is part of every decision: at most %d", len(all), directory.MaxGroups)
		}
	}
	effects, err := s.noted(ctx, "group.put", "group.put", g.Name, map[string]string{"members": strconv.Itoa(len(g.Members))})
	if err != nil {
		return nil, err
	}
	if err := s.cfg.Store.PutGroup(ctx, g, effects); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return s.GetGroup(ctx, &pb.GetGroupRequest{Name: g.Name})
}

func (s groups) DeleteGroup(ctx context.Context, req *pb.DeleteGroupRequest) (*pb.DeleteGroupResponse, error) {
	effects, err := s.noted(ctx, "group.delete", "group.deleted", req.GetName(), nil)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.DeleteGroup(ctx, from(ctx).local.ID, req.GetName(), req.GetVersion(), effects)
	return &pb.DeleteGroupResponse{}, fault.Wrap("rpc.DeleteGroup", fault.Internal, err)
}
