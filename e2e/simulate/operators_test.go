package simulate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

var order = commit.Order{Actor: "operator", Reason: "chance"}

var (
	whole  = page.Request{Limit: page.MaxLimit}
	newest = page.Request{Limit: 2, Newest: true}
)

func (s *seed) hold(negotiation.Negotiation, negotiation.Kind) bool { return s.rand.IntN(3) == 0 }
func (s *seed) holdStart(transfer.Transfer) bool                    { return s.rand.IntN(3) == 0 }

// operate lets an operator of the company do something to what is new.
func (s *seed) operate(n *node) {
	switch k := s.rand.IntN(20); {
	case k < 10:
		if running := s.transfers(n, newest); len(running) > 0 {
			s.conduct(n, running[s.rand.IntN(len(running))])
			return
		}
	case k < 12 && n.slug != provider:
		if agreements := s.agreements(n, newest); len(agreements) > 0 {
			s.transfer(n, agreements)
			return
		}
	case k < 13:
		if agreements := s.agreements(n, newest); len(agreements) > 0 {
			if s.rand.IntN(6) == 0 { // in the commit of the retirement, or in that of the first transfer that it ends
				s.fault("power lost in a retirement")
				n.disk.LosePower(1 + s.rand.IntN(40))
			}
			s.retire(n, agreements[s.rand.IntN(len(agreements))])
			return
		}
	}
	all := s.negotiations(n, newest)
	if len(all) < 2 || s.rand.IntN(5) == 0 {
		s.begin(n)
		return
	}
	s.steer(n, all[s.rand.IntN(len(all))])
}

// did judges how an operator's action ended: a refusal is an answer, anything else is none while the disk is sound.
func (s *seed) did(n *node, what, id string, err error) bool {
	switch {
	case err == nil:
		s.note("%s: operator: %s %s", n.slug, what, s.name(id))
		return true
	case fault.Is(err, fault.Conflict), fault.Is(err, fault.Refused), n.disk.Dead():
		return false
	}
	s.Fatalf("%s: operator: %s %s: %v", n.slug, what, s.name(id), err)
	return false
}

func (s *seed) offer() negotiation.Offer { return s.offers[s.rand.IntN(len(s.offers))] }

func (s *seed) begin(n *node) {
	if n.slug == provider {
		peer := s.nodes[1+s.rand.IntN(len(s.nodes)-1)]
		if s.rand.IntN(3) == 0 {
			got, err := n.Negotiations.BeginOffer(context.Background(), n.Local, peer.Local.DID, s.offer().ID, order.Actor)
			if s.did(n, "offer", got.ID, err) {
				s.reach("provider began")
			}
		}
		return
	}
	o := s.offer()
	if s.rand.IntN(5) == 0 { // terms of its own
		o.Policy = odrl.Policy{Permission: []odrl.Rule{{Action: "use"}}}
	}
	got, err := n.Negotiations.Begin(context.Background(), n.Local, negotiation.BeginRequest{Peer: s.nodes[0].Local.DID, Offer: o, Actor: order.Actor})
	s.did(n, "request", got.ID, err)
}

// steer does something to a negotiation.
func (s *seed) steer(n *node, p negotiation.Negotiation) {
	ctx := context.Background()
	switch k := s.rand.IntN(9); {
	case k < 5:
		_, err := n.Negotiations.Approve(ctx, n.Local, p.ID, order)
		if s.did(n, "approve", p.ID, err) && p.Held.Message != "" {
			s.reach("an operator approved what was held")
		}
	case k < 8:
		_, err := n.Negotiations.Propose(ctx, n.Local, p.ID, s.offer(), order)
		if s.did(n, "propose", p.ID, err) {
			s.reach("counter-offer by the " + string(p.Role))
		}
	default:
		_, err := n.Negotiations.Terminate(ctx, n.Local, p.ID, order)
		if s.did(n, "terminate", p.ID, err) && p.PeerPID == "" {
			s.reach("ended before the peer had answered")
		}
	}
}

// transfer begins a transfer under one of the consumer's agreements.
func (s *seed) transfer(n *node, all []agreement.Agreement) {
	t, err := n.Transfers.Begin(context.Background(), n.Local, transfer.BeginRequest{Agreement: all[s.rand.IntN(len(all))].ID, Format: transfer.Pull, Actor: order.Actor})
	if fault.Is(err, fault.NotFound) { // not finalized yet
		return
	}
	s.did(n, "transfer", t.ID, err)
}

// conduct does something to a transfer.
func (s *seed) conduct(n *node, t transfer.Transfer) {
	ctx := context.Background()
	var what string
	var err error
	switch s.rand.IntN(10) {
	case 0:
		what = "terminate"
		_, err = n.Transfers.Terminate(ctx, n.Local, t.ID, order)
	case 1:
		what = "complete"
		_, err = n.Transfers.Complete(ctx, n.Local, t.ID, order)
	case 2, 3, 4:
		if what = "resume"; t.Held != "" {
			what = "approve"
		}
		_, err = n.Transfers.Resume(ctx, n.Local, t.ID, order)
	default:
		what = "suspend"
		_, err = n.Transfers.Suspend(ctx, n.Local, t.ID, order)
	}
	if s.did(n, what, t.ID, err) {
		s.reach("transfer: " + what + " by the " + string(t.Role))
	}
}

// retire ends an agreement early.
func (s *seed) retire(n *node, a agreement.Agreement) {
	for _, t := range s.transfers(n, newest) {
		if t.AgreementID == a.ID && t.Pending.To == transfer.Started && n.slug == provider {
			s.reach("retirement of a start on its way")
		}
	}
	_, err := n.Transfers.Retire(context.Background(), n.Local, n.Store, a.ID, order.Actor, order.Reason)
	s.did(n, "retire", a.ID, err)
}

// interfere holds the receiver of a request in the middle of its step, between its reading of the process and its write, and lets an operator
// act there. Now and then the step is held longer, while others go on.
func (s *seed) interfere(l *line, n int) {
	r, to := l.asked, l.to
	to.Store.Before(func() {
		held := step{node: to, id: r.owed.ID, begin: make(chan struct{})}
		s.mu.Lock()
		s.held = append(s.held, held)
		s.mu.Unlock()
		<-held.begin
	})
	s.bytes(l, &l.up, n)
	to.Store.Before(nil)
	i := slices.IndexFunc(s.held, func(h step) bool { return h.node == to && h.id == r.owed.ID })
	if i < 0 {
		s.heard(l)
		return
	}
	held := s.held[i]
	s.fault("step held in the middle")
	s.note("%s is in the middle of %s of %s", to.slug, r.title(), s.name(r.owed.ProcessID))
	s.meddle(r.owed, l.from.Local.DID, to)
	s.rest()
	if s.rand.IntN(4) > 0 {
		s.release(held)
	}
}

// meddle is what an operator does while the message is taken.
func (s *seed) meddle(o commit.Owed, from participant.DID, to *node) {
	switch o.Message {
	case string(transfer.Request):
		if all := s.agreements(to, newest); len(all) > 0 {
			s.reach("retirement racing a start")
			s.retire(to, all[s.rand.IntN(len(all))])
		}
	case string(negotiation.Agreement):
		p, err := to.raw.NegotiationByPeerPID(context.Background(), to.Local.ID, from, o.ProcessID)
		if fault.Is(err, fault.NotFound) { // our own beginning, and the peer's answer has not told its pid yet
			return
		}
		if err == nil {
			_, err = to.Negotiations.Terminate(context.Background(), to.Local, p.ID, order)
		}
		if s.did(to, "terminate", p.ID, err) {
			s.reach("termination crossing an agreement")
		}
	default:
		s.operate(to)
	}
}

// burst lets several callers write at once, so that they share a commit, and now and then takes the power away in the middle of it.
func (s *seed) burst(n *node) {
	cut := s.rand.IntN(2) == 0
	const callers = 8
	var entries [callers]decisionlog.Entry
	for i := range entries {
		var err error
		entries[i], err = n.Ledger.Serve(context.Background(), n.slug, decisionlog.Served{Kind: decisionlog.KindOpen, Now: time.Now(), Transfer: fmt.Sprint(i)})
		if err != nil {
			s.Fatal(err)
		}
	}
	if cut {
		n.disk.LosePower(1 + s.rand.IntN(4)) // a commit has more writes than that, whoever shares it
	}
	var errs [callers]error
	var wait sync.WaitGroup
	for i := range entries {
		wait.Go(func() {
			errs[i] = n.raw.Record(context.Background(), n.Local.ID, commit.Effects{Decisions: entries[i : i+1]})
		})
	}
	wait.Wait()
	acknowledged := 0
	for i, err := range errs {
		if err == nil {
			acknowledged++
			n.recorded[entries[i].ID] = true
		}
	}
	if acknowledged < callers && !n.disk.Dead() {
		s.Fatalf("%s: %d of %d records were not taken, and its disk is sound", n.slug, callers-acknowledged, callers)
	}
	if n.disk.Dead() {
		s.fault("power lost in a group commit")
		s.reach("crash in the middle of a group commit")
	}
	s.note("%s commits %d of %d records at once", n.slug, acknowledged, callers)
}

func listed[P any](s *seed, n *node, got page.Of[P], err error) []P {
	if err != nil && !n.disk.Dead() {
		s.Fatal(err)
	}
	return got.Items
}

func (s *seed) negotiations(n *node, r page.Request) []negotiation.Negotiation {
	got, err := n.Negotiations.List(context.Background(), n.Local, negotiation.Filter{}, r)
	return listed(s, n, got, err)
}

func (s *seed) transfers(n *node, r page.Request) []transfer.Transfer {
	got, err := n.Transfers.List(context.Background(), n.Local, transfer.Filter{}, r)
	return listed(s, n, got, err)
}

func (s *seed) agreements(n *node, r page.Request) []agreement.Agreement {
	got, err := n.raw.Agreements(context.Background(), n.Local.ID, participant.DID(""), r)
	return listed(s, n, got, err)
}
