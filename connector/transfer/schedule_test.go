package transfer_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/e2e/pair"
)

// answered is a message that was handed over and whose sender has not heard the answer yet.
type answered struct {
	owed   commit.Owed
	from   *pair.Side
	answer outbox.Answer
}

// chaos is a network that delivers in any order, loses answers, repeats messages and kills processes, while operators pause, resume and end
// what runs. Two rules it keeps, as the outbox does: what a process owes next leaves when the attempt before has ended, and what is settled is
// not sent again. Without them nobody could tell a late copy of a suspension from a second one: the protocol numbers no messages.
type chaos struct {
	bench
	rand *rand.Rand
	sent map[string]answered // the last message of each process
	open []answered
	seen map[string]int
}

func (c *chaos) step(t *testing.T) {
	side := []*pair.Side{c.cobalt, c.boreal}[c.rand.IntN(2)]
	switch n := c.rand.IntN(20); {
	case n < 9:
		o, ok := side.NextOf(func(o commit.Owed) bool {
			return !slices.ContainsFunc(c.open, func(a answered) bool { return a.from == side && a.owed.ProcessID == o.ProcessID })
		})
		if ok {
			a := answered{o, side, c.Hand(o, side)}
			c.sent[o.ProcessID], c.open = a, append(c.open, a)
		}
	case n < 14:
		if len(c.open) > 0 {
			i := c.rand.IntN(len(c.open))
			c.Tell(c.open[i].owed, c.open[i].from, c.open[i].answer)
			c.open = append(c.open[:i], c.open[i+1:]...)
		}
	case n < 15:
		if len(c.open) > 0 {
			c.open = c.open[1:]
			c.seen["lost"]++
		}
	case n < 16:
		if ids := slices.Sorted(maps.Keys(c.sent)); len(ids) > 0 {
			a := c.sent[ids[c.rand.IntN(len(ids))]]
			if a.from.Transfer(a.owed.ProcessID).Pending.Owed == a.owed.ID { // what is settled is not sent again
				c.Hand(a.owed, a.from)
				c.seen["repeated"]++
			}
		}
	case n < 17:
		side.Restart()
		c.open = slices.DeleteFunc(c.open, func(a answered) bool { return a.from == side }) // nobody is there to hear them
		for _, o := range side.Due() {
			side.Send(o)
		}
		c.seen["restarted"]++
	case n < 19:
		c.operate(t, side)
	default:
		c.begin(t)
	}
}

func (c *chaos) operate(t *testing.T, side *pair.Side) {
	all, err := side.Transfers.List(t.Context(), side.Local, transfer.Filter{}, page.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Items) == 0 {
		return
	}
	id := all.Items[c.rand.IntN(len(all.Items))].ID
	what := "suspended"
	switch c.rand.IntN(10) {
	case 0:
		what = "terminated"
		_, err = side.Transfers.Terminate(t.Context(), side.Local, id, commit.Order{Actor: "operator", Reason: "chaos"})
	case 1:
		what = "completed"
		_, err = side.Transfers.Complete(t.Context(), side.Local, id, commit.Order{Actor: "operator"})
	case 2, 3, 4, 5:
		what = "resumed"
		_, err = side.Transfers.Resume(t.Context(), side.Local, id, commit.Order{Actor: "operator"})
	default:
		_, err = side.Transfers.Suspend(t.Context(), side.Local, id, commit.Order{Actor: "operator", Reason: "chaos"})
	}
	if err == nil {
		c.seen[what]++
	} else if !fault.Is(err, fault.Conflict) {
		t.Fatal(err)
	}
}

// TestWhateverTheNetworkDoesTransfersComeToRestAlike plays random schedules, lets everything that is owed arrive, and then retires the
// agreement. Before that both sides are in the same state or both are done, and a token opens what is started and nothing else; after it
// nothing is open and no token opens anything.
func TestWhateverTheNetworkDoesTransfersComeToRestAlike(t *testing.T) {
	t.Parallel()
	seeds := 24
	if testing.Short() {
		seeds = 6
	}
	total := make(chan map[string]int, seeds)
	t.Run("schedules", func(t *testing.T) {
		for seed := range seeds {
			t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
				t.Parallel()
				c := &chaos{bench: setup(t), rand: rand.New(rand.NewPCG(uint64(seed), 2)), seen: map[string]int{}, sent: map[string]answered{}}
				for range 150 {
					c.step(t)
				}
				c.Settle()
				c.check(t, false)
				if _, err := c.cobalt.Transfers.Retire(t.Context(), c.cobalt.Local, c.cobalt.Store, c.agreement, "operator", "recall"); err != nil {
					t.Fatal(err)
				}
				c.Settle()
				c.check(t, true)
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
	for _, what := range []string{"lost", "repeated", "restarted", "terminated", "completed", "resumed", "suspended", "running"} {
		if sum[what] == 0 {
			t.Errorf("no schedule ever had something %s: %v", what, sum)
		}
	}
}

func (c *chaos) check(t *testing.T, retired bool) {
	t.Helper()
	theirs, err := c.boreal.Transfers.List(t.Context(), c.boreal.Local, transfer.Filter{}, page.Request{Limit: page.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range theirs.Items {
		if n.PeerPID == "" {
			if !n.State.Final() {
				t.Errorf("the consumer's %s is %s with nobody at the other end", n.ID, n.State)
			}
			continue
		}
		ours, err := c.cobalt.Transfers.Get(t.Context(), c.cobalt.Local, n.PeerPID)
		if err != nil {
			t.Errorf("the provider does not know %s: %v", n.PeerPID, err)
			continue
		}
		if ours.State != n.State && !(ours.State.Final() && n.State.Final()) {
			t.Errorf("%s at the provider (%s %v), %s at the consumer (%s %v)", ours.State, ours.Code, ours.Reasons, n.State, n.Code, n.Reasons)
		}
		if n.State == transfer.Started {
			c.seen["running"]++
		}
		if (len(n.Address) > 0) != (n.State == transfer.Started) {
			t.Errorf("the consumer's %s is %s, address %t", n.ID, n.State, len(n.Address) > 0)
		}
	}
	ours, err := c.cobalt.Transfers.List(t.Context(), c.cobalt.Local, transfer.Filter{}, page.Request{Limit: page.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range ours.Items {
		if (n.Grant.Hash != "") != (n.State == transfer.Started) {
			t.Errorf("the provider's %s is %s, token %t", n.ID, n.State, n.Grant.Hash != "")
		}
		if n.Pending.Kind != "" || retired && !n.State.Final() {
			t.Errorf("the provider's %s is %s with %q pending", n.ID, n.State, n.Pending.Kind)
		}
	}
}
