package transfer

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Receive takes a message of a verified peer (DSP 2025-1, section 4). pid is our own pid from the path, "" for a request. An illegal message is a
// Conflict that changed nothing; a transfer that is not this peer's is NotFound.
func (s *Service) Receive(ctx context.Context, local participant.Participant, peer participant.Peer, pid string, m Message) (Received, error) {
	if pid == "" {
		if m.Kind != Request || m.ConsumerPID == "" {
			return Received{}, fault.New("transfer.Receive", fault.Malformed, "a transfer begins with a request that names its consumer's pid")
		}
		return s.open(ctx, local, peer, m)
	}
	var out Received
	err := process.Retry(func() (Transfer, error) { return s.cfg.Store.Transfer(ctx, local.ID, peer.DID, pid) }, func(t Transfer) (err error) {
		out, err = s.receive(ctx, local, peer, t, m)
		return err
	})
	return out, err
}

func (s *Service) receive(ctx context.Context, local participant.Participant, peer participant.Peer, t Transfer, m Message) (Received, error) {
	said := process.Status[string]{ConsumerPID: m.ConsumerPID, ProviderPID: m.ProviderPID}
	if err := process.Addressed(t.Role, t.ID, t.PeerPID, said); err != nil {
		return Received{}, err
	}
	if !t.State.Final() && t.Accepted == process.ReceiptOf(m.Kind, m.ID, m.Raw) {
		return s.reply(t, nil, false), nil
	}
	at := t.effective(m)
	to, err := Next(at.State, m.Kind, t.Role.Other())
	if err != nil {
		return Received{}, process.Illegal(err)
	}
	if m.Kind == Start && t.Role == Provider && t.Pending.To == Started {
		return s.reply(t, nil, false), nil // ours is on its way already, and grants what the consumer wishes
	}
	next := at
	next.State, next.Updated, next.Pending, next.Held = to, s.cfg.Now(), Pending{}, ""
	next.Accepted = process.ReceiptOf(m.Kind, m.ID, m.Raw)
	if next.PeerPID == "" {
		next.PeerPID = said.PID(t.Role.Other())
	}
	e := commit.Effects{Settled: t.Pending.Owed}
	kind := map[State]string{Started: "started", Suspended: "suspended", Completed: "completed", Terminated: "terminated"}[to]
	switch {
	case m.Kind == Start && t.Role == Consumer:
		next.Code, next.Reasons = "", nil
		if next.Address, err = s.sealed(local, m.Address); err != nil {
			return Received{}, err
		}
	case m.Kind == Start:
		// The consumer wants to go on: the provider decides again and answers with a start of its own, with a fresh address.
		next.State = Suspended
		return s.resume(ctx, local, peer, t, next, m.Raw)
	default:
		next.Code, next.Reasons = m.Code, m.Reasons
		next.Grant.Hash, next.Address = "", nil
	}
	return s.commit(ctx, local, t, next, e, kind, string(peer.DID))
}

// effective is the transfer as the sender of m sees it; see negotiation.
func (t Transfer) effective(m Message) Transfer {
	if t.Pending.Kind == "" {
		return t
	}
	by := t.Role.Other()
	if _, err := Next(t.State, m.Kind, by); err == nil {
		return t
	}
	if _, err := Next(t.Pending.To, m.Kind, by); err != nil {
		return t
	}
	t.State = t.Pending.To
	return t
}

// sealed encrypts the address of a start for rest.
func (s *Service) sealed(local participant.Participant, a *Address) ([]byte, error) {
	const op = "transfer.start"
	if a == nil || a.Endpoint == "" && a.Properties[PropertyEndpoint] == "" {
		return nil, fault.New(op, fault.Malformed, "dataAddress: want the address to pull from")
	}
	plain, err := json.Marshal(a)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	sealed, err := s.cfg.Tokens.Seal(local, plain)
	return sealed, fault.Wrap(op, fault.Internal, err)
}

// commit writes a step and cuts the flows of what is not started any more, before the answer leaves.
func (s *Service) commit(ctx context.Context, local participant.Participant, old, next Transfer, e commit.Effects, kind, actor string) (Received, error) {
	if n := len(e.Decisions); n > 0 {
		next.LastRecord = e.Decisions[n-1].ID
	}
	e.Events = append(e.Events, event(kind, next, next.Updated, actor))
	if err := s.cfg.Store.ReplaceTransfer(ctx, old, next, e); err != nil {
		return Received{}, err
	}
	if next.Role == Provider && next.State != Started && next.Pending.To != Started {
		s.cfg.Flows.Stop(local.ID, next.ID)
	}
	s.rest(next)
	s.changed(ctx, old.State, next, kind)
	next.Version = old.Version + 1
	return s.watched(ctx, local, next, e.Owed, false)
}

// watched is the reply to a committed step, unless a retirement overtook it.
func (s *Service) watched(ctx context.Context, local participant.Participant, t Transfer, owed *commit.Owed, created bool) (Received, error) {
	ended, err := s.watch(ctx, local, t)
	if err != nil {
		return Received{}, err
	}
	if ended {
		owed = nil
	}
	return s.reply(t, owed, created), nil
}

// open answers a transfer request as provider.
func (s *Service) open(ctx context.Context, local participant.Participant, peer participant.Peer, m Message) (Received, error) {
	const op = "transfer.Receive"
	existing, err := s.cfg.Store.TransferByPeerPID(ctx, local.ID, peer.DID, m.ConsumerPID)
	if err == nil && existing.Role == Provider {
		return s.repeatOpen(existing, m)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Received{}, err
	}
	if open, err := s.cfg.Store.OpenTransfers(ctx, local.ID, peer.DID); err != nil || open >= s.cfg.MaxOpen {
		if err == nil {
			err = fault.New(op, fault.Exhausted, "%d transfers are open with you; finish some first", open)
		}
		return Received{}, err
	}
	if m.Format != Pull {
		return Received{}, fault.New(op, fault.Malformed, "format: %s is the one that is served", Pull)
	}
	if err := s.cfg.Directory.Callback(ctx, peer, m.Callback); err != nil {
		return Received{}, err
	}
	a, err := s.usable(ctx, local, m.AgreementID)
	switch {
	case err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Refused):
		return Received{}, err // it says nothing of the agreement
	case fault.Is(err, fault.NotFound), a.Role != string(Provider), a.Consumer != peer.DID:
		return Received{}, fault.New(op, fault.NotFound, "there is no such agreement")
	case err != nil:
		return Received{}, s.denied(ctx, local, Transfer{Role: Provider, Peer: peer.DID, PeerPID: m.ConsumerPID, AgreementID: a.ID, Asset: a.Asset}, m.Raw, err)
	}
	claims, err := s.cfg.Evidence.Claims(ctx, local, peer)
	if err != nil {
		return Received{}, err
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return Received{}, err
	}
	now := s.cfg.Now()
	t := Transfer{Participant: local.ID, ID: id, Version: 1, Role: Provider, Peer: peer.DID, PeerPID: m.ConsumerPID, Callback: m.Callback,
		State: Requested, AgreementID: a.ID, Asset: a.Asset, Format: m.Format, Claims: claims,
		Accepted: process.ReceiptOf(Request, m.ID, m.Raw), Actor: string(peer.DID), Created: now, Updated: now}
	made := false
	defer func() {
		if !made {
			s.cfg.Standing.Leave(t.ID) // what never came to be depends on nothing
		}
	}()
	owed, entries, err := s.start(ctx, local, &t, m.Raw, s.cfg.Hold)
	if err != nil {
		return Received{}, err
	}
	t.LastRecord = entries[len(entries)-1].ID
	e := commit.Effects{Decisions: entries, Owed: owed, Events: []commit.Event{event("requested", t, now, string(peer.DID))}}
	if err := s.cfg.Store.CreateTransfer(ctx, t, e); err != nil {
		if process.IsStale(err) {
			if existing, readErr := s.cfg.Store.TransferByPeerPID(ctx, local.ID, peer.DID, m.ConsumerPID); readErr == nil {
				return s.repeatOpen(existing, m)
			}
			return Received{}, process.Busy(err)
		}
		return Received{}, err
	}
	made = true
	s.changed(ctx, Initial, t, "requested")
	return s.watched(ctx, local, t, owed, true)
}

func (s *Service) repeatOpen(existing Transfer, m Message) (Received, error) {
	if existing.Accepted.Kind == Request && existing.Accepted.Digest != process.Digest(m.Raw) {
		return Received{}, process.Illegal(fault.New("transfer.Receive", fault.Conflict, "this consumerPid names another transfer already"))
	}
	return s.reply(existing, nil, true), nil
}

// denied puts on record that data was refused for a reason that no policy had to be asked for, and returns that reason.
func (s *Service) denied(ctx context.Context, local participant.Participant, t Transfer, raw []byte, refused error) error {
	var e *fault.Error
	if !errors.As(refused, &e) || e.Kind != fault.Refused {
		return refused
	}
	id, err := decisionlog.NewID(s.cfg.Rand)
	if err != nil {
		return fault.Wrap("transfer.denied", fault.Unavailable, err)
	}
	entry, err := s.cfg.Decider.Deny(ctx, policy.Question{ID: id, Log: local.Slug, Door: policy.DoorTransfer, Now: s.cfg.Now(), Action: "use",
		Profile: local.Profile, Own: policy.Party{DID: string(local.DID)}, Peer: policy.Party{DID: string(t.Peer)}, Role: string(t.Role),
		Asset: policy.Asset{ID: t.Asset}, Agreement: policy.Agreement{ID: t.AgreementID}, Previous: t.LastRecord, Process: policy.Process{
			ConsumerPID: t.status().ConsumerPID, ProviderPID: t.status().ProviderPID, MessageDigest: process.Digest(raw)}}, e.Code)
	if err == nil {
		err = s.cfg.Store.Record(ctx, local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}})
	}
	if err != nil {
		return fault.Wrap("transfer.denied", fault.Unavailable, err)
	}
	return refused
}

// start decides whether data may flow and owes what follows: a start with a data address, a termination that says why, or nothing while an
// operator is to say more. Two records: that the transfer may start, and that a token is issued for it.
func (s *Service) start(ctx context.Context, local participant.Participant, t *Transfer, raw []byte, hold func(Transfer) bool) (*commit.Owed,
	[]decisionlog.Entry, error) {
	a, err := s.cfg.Agreements.Agreement(ctx, local.ID, t.AgreementID)
	if err != nil {
		return nil, nil, err
	}
	asset, err := s.cfg.Assets.Asset(ctx, local.ID, t.Asset)
	if err != nil {
		return nil, nil, err
	}
	if t.Claims, err = s.cfg.Standing.Stand(ctx, local, t.ID, t.Claims); err != nil {
		return nil, nil, err
	}
	d, entry, err := s.decide(ctx, local, *t, policy.DoorTransfer, a, asset, raw)
	if err != nil {
		return nil, nil, err
	}
	entries := []decisionlog.Entry{entry}
	if !d.Allowed() {
		t.Code, t.Reasons = s.cfg.Explain(d)
		owed, err := s.owe(t, Message{Kind: Termination, Code: t.Code, Reasons: t.Reasons}, Terminated)
		return owed, entries, err
	}
	t.LastRecord = entry.ID
	if hold != nil && hold(*t) {
		t.Held = Start
		return nil, entries, nil
	}
	issue, issued, err := s.decide(ctx, local, *t, policy.DoorIssue, a, asset, nil)
	if err != nil {
		return nil, nil, err
	}
	entries = append(entries, issued)
	if !issue.Allowed() {
		t.Code, t.Reasons = s.cfg.Explain(issue)
		owed, err := s.owe(t, Message{Kind: Termination, Code: t.Code, Reasons: t.Reasons}, Terminated)
		return owed, entries, err
	}
	address, err := s.address(local, t, issue.Limits)
	if err != nil {
		return nil, nil, err
	}
	t.Code, t.Reasons = "", nil
	owed, err := s.owe(t, Message{Kind: Start, Address: address}, Started)
	if err != nil {
		return nil, nil, err
	}
	// The token in it is for the peer alone: at rest, and in backups, it is not to be read.
	if owed.Body, err = s.cfg.Tokens.Seal(local, owed.Body); err != nil {
		return nil, nil, fault.Wrap("transfer.start", fault.Unavailable, err)
	}
	owed.Sealed = true
	return owed, entries, nil
}

// resume answers a consumer's start of a suspended transfer.
func (s *Service) resume(ctx context.Context, local participant.Participant, peer participant.Peer, old, next Transfer, raw []byte) (Received, error) {
	if _, err := s.usable(ctx, local, next.AgreementID); err != nil {
		return Received{}, s.denied(ctx, local, old, raw, err)
	}
	claims, err := s.cfg.Evidence.Claims(ctx, local, peer)
	if err != nil {
		return Received{}, err
	}
	next.Claims = claims
	owed, entries, err := s.start(ctx, local, &next, raw, s.cfg.Hold)
	if err != nil {
		return Received{}, err
	}
	return s.commit(ctx, local, old, next, commit.Effects{Decisions: entries, Owed: owed, Settled: old.Pending.Owed}, "resumed", string(peer.DID))
}
