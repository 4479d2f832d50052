package rpc

import (
	"context"
	"encoding/base64"
	"io"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

type participants struct {
	pb.UnimplementedParticipantServiceServer
	*Server
}

func (s participants) CreateParticipant(ctx context.Context, req *pb.CreateParticipantRequest) (*pb.Participant, error) {
	const op = "rpc.CreateParticipant"
	if err := participant.ValidSlug(req.GetSlug()); err != nil {
		return nil, fault.New(op, fault.Malformed, "slug: %v", err)
	}
	if n := len(req.GetName()); n == 0 || n > 200 {
		return nil, fault.New(op, fault.Malformed, "name: want 1 to 200 bytes, have %d", n)
	}
	p, err := s.cfg.Hosting.CreateParticipant(ctx, req.GetSlug(), req.GetName(), from(ctx).actor())
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return s.show(ctx, p)
}

func (s participants) GetParticipant(ctx context.Context, _ *pb.GetParticipantRequest) (*pb.Participant, error) {
	return s.show(ctx, from(ctx).local)
}

func (s participants) ListParticipants(ctx context.Context, _ *pb.ListParticipantsRequest) (*pb.ListParticipantsResponse, error) {
	all, err := s.cfg.Store.Participants(ctx)
	if err != nil {
		return nil, fault.Wrap("rpc.ListParticipants", fault.Unavailable, err)
	}
	bound := from(ctx).token.Participant
	all = slices.DeleteFunc(slices.Clone(all), func(p participant.Participant) bool { return bound != 0 && p.ID != bound })
	slices.SortFunc(all, func(a, b participant.Participant) int { return strings.Compare(a.Slug, b.Slug) })
	out, err := each(all, func(p participant.Participant) (*pb.Participant, error) { return s.show(ctx, p) })
	return &pb.ListParticipantsResponse{Participants: out}, err
}

func (s participants) show(ctx context.Context, p participant.Participant) (*pb.Participant, error) {
	key, err := s.cfg.Logs.VerifierKey(ctx, p)
	if err != nil {
		return nil, fault.Wrap("rpc.participant", fault.Internal, err)
	}
	return participantOut(p, key), nil
}

type tokens struct {
	pb.UnimplementedTokenServiceServer
	*Server
}

// TokenPrefix lets people and scanners see what a leaked token is.
const TokenPrefix = "slc_"

// NewToken makes a bearer token of 256 random bits, and what the store keeps of it.
func NewToken(rand io.Reader, t store.Token) (secret string, kept store.Token, err error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(rand, b); err != nil {
		return "", store.Token{}, fault.Wrap("rpc.NewToken", fault.Unavailable, err)
	}
	secret = TokenPrefix + base64.RawURLEncoding.EncodeToString(b)
	t.Hash = HashToken(secret)
	return secret, t, nil
}

func (s tokens) CreateToken(ctx context.Context, req *pb.CreateTokenRequest) (*pb.CreateTokenResponse, error) {
	const op = "rpc.CreateToken"
	who := from(ctx)
	role, ok := roleNames[req.GetRole()]
	if !ok {
		return nil, fault.New(op, fault.Malformed, "role: want ROLE_OPERATOR, ROLE_READER or ROLE_AUDITOR")
	}
	if n := len(req.GetLabel()); n == 0 || n > 64 {
		return nil, fault.New(op, fault.Malformed, "label: want 1 to 64 bytes, have %d", n)
	}
	now, expires := s.cfg.Now(), timeOf(req.GetExpires())
	if !expires.IsZero() && !expires.After(now) {
		return nil, fault.New(op, fault.Malformed, "expires: want a time that is still to come")
	}
	secret, t, err := NewToken(s.cfg.Rand, store.Token{Participant: who.local.ID, Role: role, Label: req.GetLabel(), Created: now, Expires: expires})
	if err != nil {
		return nil, err
	}
	err = s.announced(ctx, "token.create", "token.created", t.Hash, func() error { return s.cfg.Store.PutToken(ctx, t) })
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return &pb.CreateTokenResponse{Token: tokenOut(t, who.local.Slug), Secret: secret}, nil
}

func (s tokens) ListTokens(ctx context.Context, _ *pb.ListTokensRequest) (*pb.ListTokensResponse, error) {
	who := from(ctx)
	all, err := s.cfg.Store.Tokens(ctx, who.local.ID)
	if err != nil {
		return nil, fault.Wrap("rpc.ListTokens", fault.Internal, err)
	}
	out := make([]*pb.Token, 0, len(all))
	for _, t := range all {
		out = append(out, tokenOut(t, who.local.Slug))
	}
	return &pb.ListTokensResponse{Tokens: out}, nil
}

func (s tokens) DeleteToken(ctx context.Context, req *pb.DeleteTokenRequest) (*pb.DeleteTokenResponse, error) {
	const op = "rpc.DeleteToken"
	local := from(ctx).local
	all, err := s.cfg.Store.Tokens(ctx, local.ID)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	if !slices.ContainsFunc(all, func(t store.Token) bool { return t.Hash == req.GetId() }) {
		return nil, fault.New(op, fault.NotFound, "there is no such token")
	}
	err = s.announced(ctx, "token.delete", "token.deleted", req.GetId(), func() error { return s.cfg.Store.DeleteToken(ctx, local.ID, req.GetId()) })
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return &pb.DeleteTokenResponse{}, nil
}
