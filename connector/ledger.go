package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/turn"
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
	now    func() time.Time
	log    *slog.Logger
	turns  *turn.Queue // of decisions: whoever asks for many delays its own

	mu         sync.RWMutex
	recorders  map[string]*decisionlog.Recorder
	sequencers map[string]*decisionlog.Sequencer
}

// begin makes the mark of the log of a participant that is about to be hosted.
func (l *ledger) begin(ctx context.Context, slug string, keys identity.Keys) error {
	sequencer, err := l.sequence(slug, keys)
	if err != nil {
		return err
	}
	return logFault(slug, sequencer.Begin(ctx))
}

// open makes recorder and sequencer of a participant. A log that is behind what it signed before is not opened. The policies that decide
// from now on are on record when it returns.
func (l *ledger) open(ctx context.Context, p participant.Participant, keys identity.Keys) error {
	secret, err := keys.Secret(identity.SecretLog)
	if err != nil {
		return err
	}
	recorder, err := decisionlog.NewRecorder(p.Slug, l.host, engine.Info(), rego.Query, decisionlog.Domain{ID: p.Slug + "/1", Key: secret}, l.rand)
	if err != nil {
		return err
	}
	sequencer, err := l.sequence(p.Slug, keys)
	if err != nil {
		return err
	}
	if err := sequencer.Open(ctx, recorder, l.now()); err != nil {
		return logFault(p.Slug, err)
	}
	if err := l.activate(ctx, p, recorder); err != nil {
		return logFault(p.Slug, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recorders[p.Slug], l.sequencers[p.Slug] = recorder, sequencer
	return nil
}

func (l *ledger) sequence(slug string, keys identity.Keys) (*decisionlog.Sequencer, error) {
	signer, err := decisionlog.NewSigner(l.host+"/"+slug+"/decisions", keys.LogKey(), keys.SignLog)
	if err != nil {
		return nil, err
	}
	return decisionlog.NewSequencer(slug, l.store, l.marks, signer, l.log), nil
}

// logFault names the log, and the way out where there is one.
func logFault(slug string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, decisionlog.ErrRolledBack):
		err = fmt.Errorf("%w; bring back the newest database, or declare that it is lost: \"sluice restore\" fills an empty store from a backup", err)
	case errors.Is(err, decisionlog.ErrUnmarked):
		err = fmt.Errorf("%w; bring back the directory \"checkpoints\" of the data directory, or declare that it is lost: \"sluice backup\", then "+
			"\"sluice restore\" into an empty store", err)
	}
	return fmt.Errorf("decision log of %s: %w", slug, err)
}

// activate puts on record which policies decide from now on, with all that evaluates them, when they are not those of the newest such record.
func (l *ledger) activate(ctx context.Context, p participant.Participant, recorder *decisionlog.Recorder) error {
	entry, err := recorder.Activation(l.engine.Bundle(), l.now())
	if err != nil {
		return err
	}
	newest, err := l.store.Activated(ctx, p.Slug)
	if err == nil {
		same, err := decisionlog.SameActivation(newest, entry)
		if err != nil || same {
			return err
		}
	} else if !fault.Is(err, fault.NotFound) {
		return err
	}
	return l.store.Record(ctx, p.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}})
}

// run sequences a participant's log until the context ends; commits wake it.
func (l *ledger) run(ctx context.Context, p participant.Participant) error {
	sequencer, err := l.sequencer(p.Slug)
	if err != nil {
		return err
	}
	var told sync.WaitGroup
	defer told.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told.Go(func() {
		for range l.store.Notify(ctx, p.ID) {
			sequencer.Wake()
		}
	})
	return sequencer.Run(ctx)
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
	leave, err := l.turns.Enter(ctx)
	if err != nil {
		return policy.Decision{}, decisionlog.Entry{}, err
	}
	d := l.engine.Decide(ctx, q)
	leave()
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
