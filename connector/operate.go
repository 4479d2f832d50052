package connector

import (
	"context"
	"log/slog"
	"sync"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// host makes a participant ready to be served: keys, mark of its log, row, decision log, and in that log as the first record who had it made.
// What comes first is there when the rest is, so that a log without mark is known to have lost it.
func (c *Connector) host(ctx context.Context, slug, name, actor string) (participant.Participant, error) {
	const op = "connector.host"
	if p, err := c.hosted.Participant(ctx, slug); err == nil {
		return p, nil
	}
	keys, err := c.hosted.draw(ctx, slug)
	if err != nil {
		return participant.Participant{}, err
	}
	if err := c.ledger.begin(ctx, slug, keys); err != nil {
		return participant.Participant{}, err
	}
	p, err := c.hosted.create(ctx, slug, name, c.cfg.Settings.Public.Host, keys)
	if err != nil {
		return p, err
	}
	if err := c.ledger.open(ctx, p, keys); err != nil {
		return p, err
	}
	now := c.cfg.Now()
	entry, err := c.ledger.Record(ctx, decisionlog.Action{Log: slug, Code: "participant.create", Actor: actor, Subject: string(p.DID), Now: now})
	if err != nil {
		return p, fault.Wrap(op, fault.Unavailable, err)
	}
	err = c.store.Record(ctx, p.ID, commit.Effects{Decisions: []decisionlog.Entry{entry},
		Events: []commit.Event{{Type: "participant.created", Subject: string(p.DID), Time: now, Actor: actor}}})
	if err != nil {
		return p, fault.Wrap(op, fault.Unavailable, err)
	}
	c.cfg.Log.InfoContext(ctx, "participant hosted", slog.String("participant", slug), slog.String("actor", actor))
	c.sequencers.start(p)
	return p, nil
}

// sequencers are the loops that number the decision logs: one for each participant that is hosted while the connector runs.
type sequencers struct {
	mu      sync.Mutex
	run     func(participant.Participant) // nil while the connector does not run
	started map[participant.ID]bool
}

// open lets loops run, until close.
func (s *sequencers) open(run func(participant.Participant)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run, s.started = run, map[participant.ID]bool{}
}

func (s *sequencers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run = nil
}

// start runs the participant's loop unless it runs already; open is followed by a start for each who is hosted by then.
func (s *sequencers) start(p participant.Participant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil && !s.started[p.ID] {
		s.started[p.ID] = true
		s.run(p)
	}
}

// CreateParticipant hosts one more company: keys, DID document and log come into being with it.
func (c *Connector) CreateParticipant(ctx context.Context, slug, name, actor string) (participant.Participant, error) {
	if err := participant.ValidSlug(slug); err != nil {
		return participant.Participant{}, fault.New("connector.CreateParticipant", fault.Malformed, "%s", err.Error())
	}
	if _, err := c.hosted.Participant(ctx, slug); err == nil {
		return participant.Participant{}, &fault.Error{Op: "connector.CreateParticipant", Kind: fault.Conflict, Subject: slug, Reason: "a participant of this slug is hosted already"}
	}
	return c.host(ctx, slug, name, actor)
}

// VerifierKey is the public key of a participant's decision log.
func (c *Connector) VerifierKey(_ context.Context, local participant.Participant) (string, error) {
	s, err := c.ledger.sequencer(local.Slug)
	if err != nil {
		return "", err
	}
	return s.VerifierKey(), nil
}

// Export writes a participant's decision log into dir, which must not exist.
func (c *Connector) Export(ctx context.Context, local participant.Participant, dir string) error {
	s, err := c.ledger.sequencer(local.Slug)
	if err != nil {
		return err
	}
	return s.Export(ctx, dir)
}

// Retire ends an agreement early and stops what runs under it before it returns.
func (c *Connector) Retire(ctx context.Context, local participant.Participant, id, actor, reason string) error {
	_, err := c.transfers.Retire(ctx, local, c.store, id, actor, reason)
	return err
}
