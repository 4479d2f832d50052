package connector

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/engine"
	"github.com/sluice-connector/sluice/policy/rego"
)

// ledger decides and keeps the evidence: one engine for all, and for each hosted participant a recorder and a sequencer.
type ledger struct {
	engine *engine.Engine
	store  store.Store
	marks  decisionlog.Marks
	host   string
	rand   io.Reader
	log    *slog.Logger

	mu         sync.RWMutex
	recorders  map[string]*decisionlog.Recorder
	sequencers map[string]*decisionlog.Sequencer
}

// open makes recorder and sequencer of a participant. A log that is behind what it signed before is not opened.
func (l *ledger) open(ctx context.Context, p participant.Participant, keys identity.Keys) error {
	secret, err := keys.Secret(identity.SecretLog)
	if err != nil {
		return err
	}
	recorder, err := decisionlog.NewRecorder(p.Slug, l.host, engine.Info(), rego.Query, decisionlog.Domain{ID: p.Slug + "/1", Key: secret}, l.rand)
	if err != nil {
		return err
	}
	signer, err := decisionlog.NewSigner(l.host+"/"+p.Slug+"/decisions", keys.LogKey(), keys.SignLog)
	if err != nil {
		return err
	}
	sequencer := decisionlog.NewSequencer(p.Slug, l.store, l.marks, signer, l.log)
	if err := sequencer.Check(ctx); err != nil {
		return fmt.Errorf("decision log of %s: %w", p.Slug, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recorders[p.Slug], l.sequencers[p.Slug] = recorder, sequencer
	return nil
}

// run sequences a participant's log until the context ends; commits wake it.
func (l *ledger) run(ctx context.Context, p participant.Participant) {
	sequencer, err := l.sequencer(p.Slug)
	if err != nil {
		return
	}
	var told sync.WaitGroup
	told.Go(func() {
		for range l.store.Notify(ctx, p.ID) {
			sequencer.Wake()
		}
	})
	sequencer.Run(ctx)
	told.Wait()
}

func (l *ledger) recorder(slug string) (*decisionlog.Recorder, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, ok := l.recorders[slug]
	if !ok {
		return nil, fault.New("connector.ledger", fault.Unavailable, "there is no decision log for %s", slug)
	}
	return r, nil
}

func (l *ledger) sequencer(slug string) (*decisionlog.Sequencer, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s, ok := l.sequencers[slug]
	if !ok {
		return nil, fault.New("connector.ledger", fault.NotFound, "there is no decision log for %s", slug)
	}
	return s, nil
}

// Decide implements the services' Decider.
func (l *ledger) Decide(ctx context.Context, q policy.Question) (policy.Decision, decisionlog.Entry, error) {
	recorder, err := l.recorder(q.Log)
	if err != nil {
		return policy.Decision{}, decisionlog.Entry{}, err
	}
	d := l.engine.Decide(ctx, q)
	entry, err := recorder.Decision(q, d)
	if err != nil {
		return policy.Decision{}, decisionlog.Entry{}, err
	}
	return d, entry, nil
}

// Deny implements the services' Decider.
func (l *ledger) Deny(_ context.Context, q policy.Question, code string) (decisionlog.Entry, error) {
	recorder, err := l.recorder(q.Log)
	if err != nil {
		return decisionlog.Entry{}, err
	}
	return recorder.Decision(q, policy.Denied(code))
}

// Record implements the services' Decider.
func (l *ledger) Record(_ context.Context, a decisionlog.Action) (decisionlog.Entry, error) {
	recorder, err := l.recorder(a.Log)
	if err != nil {
		return decisionlog.Entry{}, err
	}
	return recorder.Action(a)
}

// Serve implements dataplane.Decider.
func (l *ledger) Serve(_ context.Context, log string, s decisionlog.Served) (decisionlog.Entry, error) {
	recorder, err := l.recorder(log)
	if err != nil {
		return decisionlog.Entry{}, err
	}
	return recorder.Serve(s)
}
