package rpc

import (
	"context"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/store"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

type keys struct {
	pb.UnimplementedKeyServiceServer
	*Server
}

func (s keys) ListKeys(ctx context.Context, _ *pb.ListKeysRequest) (*pb.ListKeysResponse, error) {
	all, err := s.cfg.Keeper.List(ctx, from(ctx).local)
	if err != nil {
		return nil, fault.Wrap("rpc.ListKeys", fault.Internal, err)
	}
	out, err := each(all, sure(keyOut))
	return &pb.ListKeysResponse{Keys: out}, err
}

func (s keys) RotateKeys(ctx context.Context, req *pb.RotateKeysRequest) (*pb.RotateKeysResponse, error) {
	const op = "rpc.RotateKeys"
	r := keyring.Rotation{Use: req.GetUse(), Algorithm: req.GetAlgorithm(), Actor: from(ctx).actor()}
	if d := req.GetOverlap(); d != nil {
		if err := d.CheckValid(); err != nil {
			return nil, fault.New(op, fault.Malformed, "overlap: %v", err)
		}
		overlap := d.AsDuration()
		r.Overlap = &overlap
	}
	made, err := s.cfg.Keeper.Rotate(ctx, from(ctx).local, r)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	out, err := each(made, sure(keyOut))
	return &pb.RotateKeysResponse{Keys: out}, err
}

// maxReason bounds the reason for a revocation, of a key or of a credential.
const maxReason = 1000

func (s keys) RevokeKey(ctx context.Context, req *pb.RevokeKeyRequest) (*pb.Key, error) {
	const op = "rpc.RevokeKey"
	if n := len(req.GetReason()); n > maxReason {
		return nil, fault.New(op, fault.Malformed, "reason: want at most %d bytes, have %d", maxReason, n)
	}
	key, err := s.cfg.Keeper.Revoke(ctx, from(ctx).local, req.GetId(), commit.Order{Actor: from(ctx).actor(), Reason: req.GetReason(), Version: req.GetVersion()})
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return keyOut(key), nil
}

var keyStates = map[string]pb.KeyState{store.KeyCreated: pb.KeyState_KEY_STATE_CREATED, store.KeyActive: pb.KeyState_KEY_STATE_ACTIVE,
	store.KeyRotated: pb.KeyState_KEY_STATE_ROTATED, store.KeyRetired: pb.KeyState_KEY_STATE_RETIRED, store.KeyRevoked: pb.KeyState_KEY_STATE_REVOKED}

func keyOut(k store.Key) *pb.Key {
	return &pb.Key{Id: k.ID, Use: k.Use, Algorithm: k.Algorithm, Generation: k.Generation, State: keyStates[k.State], Created: stampOf(k.Created),
		Due: stampOf(k.Due), Version: k.Version}
}
