package negotiation_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/e2e/pair"
)

// answered is a message that was handed over and whose sender has not heard the answer yet.
type answered struct {
	owed   commit.Owed
	from   *pair.Side
	answer outbox.Answer
}

// chaos is a network that delivers in any order, loses answers, repeats old messages, kills processes and lets operators interfere.
type chaos struct {
	bench
	rand *rand.Rand
	sent []answered // everything ever handed over, with its answer
	open []answered // answers under way
	seen map[string]int
}

func (c *chaos) side() *pair.Side {
	if c.rand.IntN(2) == 0 {
		return c.cobalt
	}
	return c.boreal
}

func (c *chaos) step(t *testing.T) {
	side := c.side()
	switch n := c.rand.IntN(20); {
	case n < 9: // a message arrives, its answer is on the way
		if o, ok := side.Next(); ok {
			a := answered{o, side, c.Hand(o, side)}
			c.sent, c.open = append(c.sent, a), append(c.open, a)
			c.seen["arrived"]++
		}
	case n < 14: // an answer arrives, any
		if len(c.open) > 0 {
			i := c.rand.IntN(len(c.open))
			c.Tell(c.open[i].owed, c.open[i].from, c.open[i].answer)
			c.open = append(c.open[:i], c.open[i+1:]...)
			c.seen["answered"]++
		}
	case n < 15: // an answer is lost
		if len(c.open) > 0 {
			c.open = c.open[1:]
			c.seen["lost"]++
		}
	case n < 17: // an old message arrives again
		if len(c.sent) > 0 {
			a := c.sent[c.rand.IntN(len(c.sent))]
			c.Hand(a.owed, a.from)
			c.seen["repeated"]++
		}
	case n < 18: // a process dies and comes back
		side.Restart()
		for _, o := range side.Due() {
			side.Send(o)
		}
		c.seen["restarted"]++
	case n < 19: // an operator ends something
		c.interfere(t, side)
	default:
		c.boreal.Begin(c.cobalt, c.offer)
		c.seen["begun"]++
	}
}

func (c *chaos) interfere(t *testing.T, side *pair.Side) {
	all, err := side.Negotiations.List(t.Context(), side.Local, negotiation.Filter{}, page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Items) == 0 || c.rand.IntN(3) > 0 {
		return
	}
	n := all.Items[c.rand.IntN(len(all.Items))]
	if _, err := side.Negotiations.Terminate(t.Context(), side.Local, n.ID, commit.Order{Actor: "operator", Reason: "chaos"}); err == nil {
		c.seen["ended"]++
	} else if !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
}

// TestWhateverTheNetworkDoesBothSidesEndAlike plays random schedules and then lets everything that is owed arrive. What must hold then:
// nothing is open, the sides agree on the end, and what ended well is one agreement, equal on both sides.
func TestWhateverTheNetworkDoesBothSidesEndAlike(t *testing.T) {
	t.Parallel()
	seeds := 40
	if testing.Short() {
		seeds = 6
	}
	total := make(chan map[string]int, seeds)
	t.Run("schedules", func(t *testing.T) {
		for seed := range seeds {
			t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
				t.Parallel()
				c := &chaos{bench: setup(t), rand: rand.New(rand.NewPCG(uint64(seed), 1)), seen: map[string]int{}}
				for range 120 {
					c.step(t)
				}
				c.Settle()
				c.check(t)
				total <- c.seen
			})
		}
	})
	close(total)
	sum := map[string]int{}
	for seen := range total {
		for what, n := range seen {
			sum[what] += n
		}
	}
	// A schedule that never reaches the dangerous places proves nothing.
	for _, what := range []string{"arrived", "answered", "lost", "repeated", "restarted", "ended", "begun", "finalized", "terminated"} {
		if sum[what] == 0 {
			t.Errorf("no schedule ever had something %s: %v", what, sum)
		}
	}
}

func (c *chaos) check(t *testing.T) {
	t.Helper()
	contracts := map[*pair.Side]map[string]agreement.Agreement{}
	for _, side := range []*pair.Side{c.cobalt, c.boreal} {
		contracts[side] = map[string]agreement.Agreement{}
		for _, a := range side.Agreements() {
			contracts[side][a.ID] = a
		}
	}
	theirs, err := c.boreal.Negotiations.List(t.Context(), c.boreal.Local, negotiation.Filter{}, page.Request{Limit: page.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range theirs.Items {
		if !n.State.Final() || n.Pending.Kind != "" {
			t.Errorf("the consumer's %s is %s with %q pending", n.ID, n.State, n.Pending.Kind)
		}
		if n.PeerPID == "" {
			continue
		}
		ours, err := c.cobalt.Negotiations.Get(t.Context(), c.cobalt.Local, n.PeerPID)
		if err != nil {
			t.Errorf("the provider does not know %s: %v", n.PeerPID, err)
			continue
		}
		if ours.State != n.State {
			t.Errorf("%s at the provider (%s %v), %s at the consumer (%s %v)", ours.State, ours.Code, ours.Reasons, n.State, n.Code, n.Reasons)
		}
		if n.State != negotiation.Finalized {
			c.seen["terminated"]++
			continue
		}
		c.seen["finalized"]++
		p, q := contracts[c.cobalt][n.AgreementID], contracts[c.boreal][n.AgreementID]
		if p.ID == "" || p.Digest != q.Digest {
			t.Errorf("agreement %s differs", n.AgreementID)
		}
	}
	ours, err := c.cobalt.Negotiations.List(t.Context(), c.cobalt.Local, negotiation.Filter{}, page.Request{Limit: page.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range ours.Items {
		if !n.State.Final() || n.Pending.Kind != "" {
			t.Errorf("the provider's %s is %s with %q pending", n.ID, n.State, n.Pending.Kind)
		}
	}
}
