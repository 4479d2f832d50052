package dataplane

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// decide looks the token up, checks that transfer and agreement live, and asks the policy engine. Allow and deny are both on record before it
// returns. Every way in which a token can be wrong is the same fault. Only an opening asks for the token's age: what runs already is not
// cut because a token grew old, and is judged by all the rest.
func (p *Plane) decide(ctx context.Context, local participant.Participant, hash string, r policy.Request, now time.Time, opening bool) (*lease, error) {
	const op = "dataplane.decide"
	t, err := p.cfg.Store.TransferByToken(ctx, local.ID, hash)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, errToken(op)
		}
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	if t.Role != transfer.Provider || !serving(t) || opening && !now.Before(t.Grant.Expires) {
		return nil, errToken(op)
	}
	a, err := p.cfg.Store.Agreement(ctx, local.ID, t.AgreementID)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	if a.Retired != nil {
		return nil, errToken(op)
	}
	asset, err := p.cfg.Store.Asset(ctx, local.ID, t.Asset)
	if err != nil {
		kind := fault.Unavailable
		if fault.Is(err, fault.NotFound) {
			kind = fault.NotFound
		}
		return nil, fault.Wrap(op, kind, err)
	}
	if t.Claims, err = p.cfg.Standing.Stand(ctx, local, t.ID, t.Claims); err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	q, err := p.question(local, t, a, asset, r, now)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	d, entry, err := p.cfg.Decider.Decide(ctx, q)
	if err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	late := d.CutOff(ctx)
	if late {
		ctx = context.WithoutCancel(ctx) // that it was asked goes on record all the same
	}
	if err := p.cfg.Store.Record(ctx, local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}); err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	if late {
		return nil, fault.New(op, fault.Unavailable, "the decision took too long; try again")
	}
	if !d.Allowed() {
		return nil, &fault.Error{Op: op, Kind: fault.Refused, Subject: t.ID, Code: "policy.refused",
			Reason: "the policy of the agreement does not allow this request now", Reasons: codes(d.Denials())}
	}
	l := &lease{transfer: t.ID, agreement: a.ID, peer: t.Claims, asset: asset, decision: entry.ID, expires: t.Grant.Expires, end: d.Limits.NotAfter,
		until: now.Add(LeaseLife)}
	if !l.end.IsZero() && l.end.Before(l.until) {
		l.until = l.end
	}
	return l, nil
}

// serving reports whether the transfer is started, or its start is on the way: a consumer that has the start message may
// pull before our own view of its acknowledgement is stored.
func serving(t transfer.Transfer) bool {
	return t.State == transfer.Started && t.Pending.Kind == "" || t.Pending.To == transfer.Started
}

func (p *Plane) question(local participant.Participant, t transfer.Transfer, a agreement.Agreement, asset catalog.Asset,
	r policy.Request, now time.Time) (policy.Question, error) {
	id, err := decisionlog.NewID(p.cfg.Rand)
	if err != nil {
		return policy.Question{}, err
	}
	return policy.Question{
		ID: id, Log: local.Slug, Door: policy.DoorData, Now: now, Action: "use", Profile: a.Profile,
		Own: policy.Party{DID: string(local.DID)}, Peer: t.Claims, Role: string(transfer.Provider),
		Policies:  []odrl.Policy{a.Policy},
		Asset:     policy.Asset{ID: asset.ID, Type: asset.Type, Version: asset.APIVersion, SemanticID: asset.SemanticID},
		Agreement: policy.Agreement{ID: a.ID, Digest: a.Digest, Signed: a.Signed},
		Process:   policy.Process{ConsumerPID: t.PeerPID, ProviderPID: t.ID, Format: t.Format},
		Request:   r, Previous: t.LastRecord,
	}, nil
}

// errToken is the one answer to every token that does not open: unknown, expired, suspended, retired.
func errToken(op string) error {
	return fault.New(op, fault.Unauthenticated, "the access token is not valid here")
}

func codes(reasons []policy.Reason) []string {
	out := make([]string, 0, len(reasons))
	for _, r := range reasons {
		out = append(out, r.Code)
	}
	return out
}
