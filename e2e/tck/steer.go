package tck

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// steerer is the operators: it follows the company's events and does what each case wants, in order, once the process stands where the case
// says and owes nothing.
type steerer struct {
	c     *Company
	delay time.Duration
	log   *slog.Logger

	mu     sync.Mutex
	done   map[string]int  // deeds done, by process
	acting map[string]bool // processes that an operator is at
}

func (s *steerer) run(ctx context.Context) {
	deeds := map[string][]Deed{}
	for _, tc := range Cases {
		deeds[tc.Key()] = tc.Deeds
	}
	var acting sync.WaitGroup
	defer acting.Wait()
	told := s.c.Store().Notify(ctx, s.c.Local.ID)
	for after := int64(0); ; {
		events, err := s.c.Store().EventsSince(ctx, s.c.Local.ID, after, 100)
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "events not read", slog.Any("error", err))
		}
		for _, e := range events {
			after = e.Seq
			kind, _, _ := strings.Cut(e.Type, ".")
			acting.Go(func() { s.look(ctx, kind, e.Subject, deeds) })
		}
		if len(events) > 0 {
			continue
		}
		if _, ok := <-told; !ok {
			return
		}
	}
}

// stand is where a process stands.
type stand struct {
	key, state string
	busy       bool // something is on its way to the peer
	held       bool // something waits for an operator
}

func (s *steerer) stand(ctx context.Context, kind, id string) (stand, error) {
	if kind == "negotiation" {
		n, err := s.c.Negotiations().Get(ctx, s.c.Local, id)
		return stand{n.Offer.Target, string(n.State), n.Pending.Kind != "", n.Held.Message != ""}, err
	}
	t, err := s.c.Transfers().Get(ctx, s.c.Local, id)
	return stand{t.AgreementID, string(t.State), t.Pending.Kind != "", t.Held != ""}, err
}

// look does the deeds whose time has come.
func (s *steerer) look(ctx context.Context, kind, id string, deeds map[string][]Deed) {
	for kind == "negotiation" || kind == "transfer" {
		at, err := s.stand(ctx, kind, id)
		if err != nil {
			return // the company is closing
		}
		deed, ok := s.next(id, at, deeds[at.key])
		if !ok {
			return
		}
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
			return
		}
		if err := s.do(ctx, kind, id, deed.Do); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "deed not done", slog.String("case", at.key), slog.String("deed", string(deed.Do)), slog.Any("error", err))
		}
		s.finished(id)
	}
}

// next takes the next deed of the process, if nobody is at it and it stands where the deed wants it.
func (s *steerer) next(id string, at stand, deeds []Deed) (Deed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.done[id]
	if s.acting[id] || n >= len(deeds) || at.busy || deeds[n].State != at.state || deeds[n].Do == Approve && !at.held {
		return Deed{}, false
	}
	s.acting[id] = true
	return deeds[n], true
}

func (s *steerer) finished(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done[id]++
	delete(s.acting, id)
}

func (s *steerer) do(ctx context.Context, kind, id string, a Action) error {
	order := commit.Order{Actor: "kit", Reason: "the case wants it"}
	local := s.c.Local
	if kind == "transfer" {
		do := map[Action]func(context.Context) (transfer.Transfer, error){
			Approve: func(ctx context.Context) (transfer.Transfer, error) {
				return s.c.Transfers().Approve(ctx, local, id, order)
			},
			Terminate: func(ctx context.Context) (transfer.Transfer, error) {
				return s.c.Transfers().Terminate(ctx, local, id, order)
			},
			Suspend: func(ctx context.Context) (transfer.Transfer, error) {
				return s.c.Transfers().Suspend(ctx, local, id, order)
			},
			Resume: func(ctx context.Context) (transfer.Transfer, error) {
				return s.c.Transfers().Resume(ctx, local, id, order)
			},
			Complete: func(ctx context.Context) (transfer.Transfer, error) {
				return s.c.Transfers().Complete(ctx, local, id, order)
			},
		}
		_, err := do[a](ctx)
		return err
	}
	n, err := s.c.Negotiations().Get(ctx, local, id)
	if err != nil {
		return err
	}
	switch a {
	case Offer:
		_, err = s.c.Negotiations().Propose(ctx, local, id, negotiation.Offer{ID: s.c.Offers[n.Offer.Target]}, order)
	case Counter:
		_, err = s.c.Negotiations().Propose(ctx, local, id, n.Offer, order)
	case Approve:
		_, err = s.c.Negotiations().Approve(ctx, local, id, order)
	case Terminate:
		_, err = s.c.Negotiations().Terminate(ctx, local, id, order)
	}
	return err
}
