package simulate

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// settle ends the fire: no power will go any more, everybody starts again, steps go on, what is under way arrives, and what is owed is delivered.
func (s *seed) settle() {
	s.note("the fire is over")
	for _, n := range s.nodes {
		if n.down {
			s.start(n)
		} else {
			n.disk.KeepPower()
		}
	}
	for len(s.held) > 0 {
		s.release(s.held[0])
	}
	for len(s.echoes) > 0 {
		s.echo()
	}
	s.quiet()
}

// quiet lets everything arrive, and time pass, until nobody owes a message. What waits for an operator may still have its deadline, which is far.
func (s *seed) quiet() {
	for range 2000 {
		s.rest()
		if busy := s.air(); len(busy) > 0 {
			s.pass(busy[0])
			continue
		}
		var wait time.Duration
		for _, n := range s.nodes {
			due, ok, err := n.raw.NextDue(context.Background())
			if err != nil {
				s.Fatal(err)
			}
			if in := time.Until(due); ok && in < pair.Patience/2 && (wait == 0 || in < wait) {
				wait = max(in, time.Millisecond)
			}
		}
		if wait == 0 {
			return
		}
		time.Sleep(wait)
	}
	s.Fatal("the companies never stop owing each other something")
}

// pass lets everything that is in flight on the line arrive.
func (s *seed) pass(l *line) {
	f, n := l.flying()
	if f == &l.down {
		s.heard(l)
		l.asked = nil
		s.bytes(l, f, n)
		return
	}
	if l.asked == nil {
		l.asked = s.seen(l)
	}
	if l.gone() && !s.may(l.from, l.asked) {
		l.cut()
		return
	}
	s.arrive(l, n)
}

// judge looks at what is left, lets the operators end what waits for them, and looks again; at the end every
// agreement under which something may run is retired.
func (s *seed) judge() {
	s.check(false)
	ctx := context.Background()
	for _, n := range s.nodes {
		for _, p := range s.books[n].negotiations {
			if p.Held.Message != "" && s.rand.IntN(2) == 0 {
				_, err := n.Negotiations.Approve(ctx, n.Local, p.ID, order)
				s.did(n, "approve", p.ID, err)
			}
		}
	}
	s.quiet()
	if s.rand.IntN(4) == 0 { // nobody comes
		time.Sleep(pair.Patience)
		s.quiet()
	}
	for _, n := range s.nodes {
		for _, p := range s.books[n].negotiations {
			if p.State.Final() {
				continue
			}
			_, err := n.Negotiations.Terminate(ctx, n.Local, p.ID, order)
			s.did(n, "terminate", p.ID, err)
		}
		for _, a := range s.books[n].agreements {
			s.retire(n, a)
		}
	}
	s.quiet()
	s.check(true)
}

// check holds for everything that came to rest; over: nothing may be open any more.
func (s *seed) check(over bool) {
	s.books = map[*node]books{}
	for _, n := range s.nodes {
		s.books[n] = s.read(n)
	}
	for _, n := range s.nodes {
		b := s.books[n]
		for id := range n.recorded {
			if !b.recorded[id] {
				s.Fatalf("%s: record %s was acknowledged and is gone", n.slug, id)
			}
		}
		for _, a := range b.agreements {
			s.concluded(n, a)
		}
		for _, p := range b.negotiations {
			s.negotiated(n, p, over)
		}
		for _, t := range b.transfers {
			s.transferred(n, t, over)
		}
	}
}

// books is all that a company has written down.
type books struct {
	agreements   []agreement.Agreement
	negotiations []negotiation.Negotiation
	transfers    []transfer.Transfer
	recorded     map[string]bool
	records      map[string][]decisionlog.Record // of each process
	histories    map[string][]string             // the states that each process went through, as its events tell
}

// read reads the books. The events are numbered without a gap.
func (s *seed) read(n *node) books {
	b := books{agreements: s.agreements(n, whole), negotiations: s.negotiations(n, whole), transfers: s.transfers(n, whole), recorded: map[string]bool{},
		records: map[string][]decisionlog.Record{}, histories: map[string][]string{}}
	entries, err := n.raw.Unsequenced(context.Background(), n.slug, 100000)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		r, known := n.records[e.ID]
		if !known {
			if r, err = decisionlog.ParseRecord(e.Bytes); err != nil {
				s.Fatal(err)
			}
			n.records[e.ID] = r // what is recorded never changes
		}
		b.recorded[e.ID] = true
		b.records[e.Process] = append(b.records[e.Process], r)
	}
	all, err := n.raw.EventsSince(context.Background(), n.Local.ID, 0, 100000)
	if err != nil {
		s.Fatal(err)
	}
	for i, e := range all {
		if e.Seq != int64(i+1) {
			s.Fatalf("%s: event %d has number %d", n.slug, i+1, e.Seq)
		}
		if state := e.Data["state"]; state != "" && state != string(negotiation.Initial) {
			b.histories[e.Subject] = append(b.histories[e.Subject], state)
		}
	}
	return b
}

func (b books) agreement(id string) (agreement.Agreement, bool) {
	return find(b.agreements, func(a agreement.Agreement) bool { return a.ID == id })
}

func (b books) negotiation(peer participant.DID, id string) (negotiation.Negotiation, bool) {
	return find(b.negotiations, func(p negotiation.Negotiation) bool { return p.ID == id && p.Peer == peer })
}

func (b books) transfer(peer participant.DID, id string) (transfer.Transfer, bool) {
	return find(b.transfers, func(t transfer.Transfer) bool { return t.ID == id && t.Peer == peer })
}

func find[T any](all []T, is func(T) bool) (T, bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	var none T
	return none, false
}

func (s *seed) other(n *node, did string) *node {
	i := slices.IndexFunc(s.nodes, func(m *node) bool { return string(m.Local.DID) == did })
	if i < 0 || s.nodes[i] == n {
		s.Fatalf("%s deals with %s, who is nobody else", n.slug, did)
	}
	return s.nodes[i]
}

// concluded wants of a consumer's agreement that the provider has it too, word for word.
func (s *seed) concluded(n *node, a agreement.Agreement) {
	if a.Role != string(process.Consumer) {
		return
	}
	theirs, ok := s.books[s.other(n, string(a.Provider))].agreement(a.ID)
	if !ok || theirs.Digest != a.Digest {
		s.Fatalf("%s: agreement %s has digest %s, the provider's %s", n.slug, s.name(a.ID), a.Digest, theirs.Digest)
	}
}

// unheard is a process that was ended before the peer had named its side, and of which the peer's only answer was lost. What was ended is not
// asked for again, so the peer is not told, and waits for its operator.
const unheard = "ended unheard: the answer that named the peer's side was lost"

func (s *seed) negotiated(n *node, p negotiation.Negotiation, over bool) {
	if p.Pending.Kind != "" || over && !p.State.Final() {
		s.Fatalf("%s: negotiation %s rests in %s with %q on its way", n.slug, s.name(p.ID), p.State, p.Pending.Kind)
	}
	if p.Code == "approval.late" {
		s.reach("deadline of an operator passed")
	}
	agreed := slices.Contains([]negotiation.State{negotiation.Agreed, negotiation.Verified, negotiation.Finalized}, p.State) || p.AgreementID != ""
	if agreed {
		s.allowed(n, p.ID, policy.DoorAgree, 1)
		if p.Role == process.Provider {
			s.allowed(n, p.ID, policy.DoorRequest, 1)
		}
	}
	if p.PeerPID == "" {
		if !p.State.Final() {
			s.Fatalf("%s: negotiation %s is %s with nobody at the other end", n.slug, s.name(p.ID), p.State)
		}
		return
	}
	m := s.other(n, string(p.Peer))
	q, ok := s.books[m].negotiation(n.Local.DID, p.PeerPID)
	if !ok {
		s.Fatalf("%s does not know negotiation %s of %s", m.slug, s.name(p.ID), n.slug)
	}
	if q.PeerPID == "" && q.State.Final() && p.Held.Message != "" {
		s.reach(unheard)
		return
	}
	if q.State != p.State {
		s.Fatalf("negotiation %s is %s at %s (%s %v) and %s at %s (%s %v)", s.name(p.ID), p.State, n.slug, p.Code, p.Reasons, q.State, m.slug, q.Code, q.Reasons)
	}
	if !p.State.Final() && p.Held.Message == "" && q.Held.Message == "" && p.State != negotiation.Offered {
		s.Fatalf("negotiation %s is %s on both sides, and waits for nobody", s.name(p.ID), p.State)
	}
	if p.Role != process.Provider {
		return
	}
	if refusedHere(p.Code) && !s.denied(n, p.ID) && !s.denied(m, q.ID) {
		s.Fatalf("negotiation %s was refused (%s) and there is no record of it", s.name(p.ID), p.Code)
	}
	if p.State == negotiation.Finalized {
		if p.AgreementID == "" || p.AgreementID != q.AgreementID {
			s.Fatalf("negotiation %s ended with agreement %q at %s and %q at %s", s.name(p.ID), p.AgreementID, n.slug, q.AgreementID, m.slug)
		}
		s.reach("agreements concluded")
	}
	for _, side := range []*node{n, m} {
		own := map[*node]string{n: p.ID, m: q.ID}[side]
		if count := s.contracts(side, own); count > 1 {
			s.Fatalf("%s: negotiation %s has %d agreements", side.slug, s.name(own), count)
		}
	}
	s.oneHistory(negotiations, s.books[n].histories[p.ID], s.books[m].histories[q.ID], s.name(p.ID))
}

func refusedHere(code string) bool {
	return code == "policy.refused" || code == "policy.error" || code == "offer.changed"
}

func (s *seed) contracts(n *node, negotiation string) (count int) {
	for _, a := range s.books[n].agreements {
		if a.Negotiation == negotiation {
			count++
		}
	}
	return count
}

func (s *seed) transferred(n *node, t transfer.Transfer, over bool) {
	if t.Pending.Kind != "" || over && !t.State.Final() {
		s.Fatalf("%s: transfer %s rests in %s with %q on its way", n.slug, s.name(t.ID), t.State, t.Pending.Kind)
	}
	open := t.Grant.Hash != ""
	if t.Role == process.Consumer {
		open = len(t.Address) > 0
	} else if t.Grant.Generation > 0 {
		s.allowed(n, t.ID, policy.DoorTransfer, int(t.Grant.Generation))
		s.allowed(n, t.ID, policy.DoorIssue, int(t.Grant.Generation))
	}
	if open != (t.State == transfer.Started) {
		s.Fatalf("%s: transfer %s is %s, and its token opens: %t", n.slug, s.name(t.ID), t.State, open)
	}
	a, ok := s.books[n].agreement(t.AgreementID)
	if !ok || a.Retired != nil && !t.State.Final() {
		s.Fatalf("%s: transfer %s is %s under an agreement that is retired, or is not there", n.slug, s.name(t.ID), t.State)
	}
	if t.PeerPID == "" {
		if !t.State.Final() {
			s.Fatalf("%s: transfer %s is %s with nobody at the other end", n.slug, s.name(t.ID), t.State)
		}
		return
	}
	m := s.other(n, string(t.Peer))
	u, ok := s.books[m].transfer(n.Local.DID, t.PeerPID)
	if !ok {
		s.Fatalf("%s does not know transfer %s of %s", m.slug, s.name(t.ID), n.slug)
	}
	if u.PeerPID == "" && u.State.Final() && t.Held != "" {
		s.reach(unheard)
		return
	}
	if u.State != t.State && !(u.State.Final() && t.State.Final()) {
		s.Fatalf("transfer %s is %s at %s (%s %v) and %s at %s (%s %v)", s.name(t.ID), t.State, n.slug, t.Code, t.Reasons, u.State, m.slug, u.Code, u.Reasons)
	}
	if t.State == transfer.Requested && t.Held == "" && u.Held == "" {
		s.Fatalf("transfer %s is %s on both sides, and waits for nobody", s.name(t.ID), t.State)
	}
	if t.Role == process.Provider {
		s.oneHistory(transfers, s.books[n].histories[t.ID], s.books[m].histories[u.ID], s.name(t.ID))
	}
}

// allowed wants records of that many permissions at the door.
func (s *seed) allowed(n *node, process string, door policy.Door, want int) {
	got := 0
	for _, r := range s.books[n].records[process] {
		if r.Door == string(door) && r.Effect == "allow" {
			got++
		}
	}
	if got < want {
		s.Fatalf("%s: %s went on with %d permissions on record at %s, want %d", n.slug, s.name(process), got, door, want)
	}
}

func (s *seed) denied(n *node, process string) bool {
	for _, r := range s.books[n].records[process] {
		if r.Effect == "deny" {
			s.reach("refusal on record")
			return true
		}
	}
	return false
}

// machine says who may bring a process from one state to another.
type machine func(from string) []edge

type edge struct {
	to string
	by process.Role
}

func machineOf[S, K ~string](states []S, kinds []K, next func(S, K, process.Role) (S, error)) machine {
	edges := map[string][]edge{}
	for _, from := range states {
		for _, on := range kinds {
			for _, by := range []process.Role{process.Provider, process.Consumer} {
				if to, err := next(from, on, by); err == nil {
					edges[string(from)] = append(edges[string(from)], edge{string(to), by})
				}
			}
		}
	}
	return func(from string) []edge { return edges[from] }
}

var (
	negotiations = machineOf(negotiation.States(), negotiation.Kinds(), negotiation.Next)
	transfers    = machineOf(transfer.States(), transfer.Kinds(), transfer.Next)
)

// oneHistory wants one legal history of which what each side lived through, up to its end, is a beginning. A side may not have seen a state
// that its own message led to: it learns of the arrival by what comes after. The end itself may come to the sides at different points,
// when both ended it at once.
func (s *seed) oneHistory(m machine, provider, consumer []string, name string) {
	if !holds(m, provider, consumer) {
		s.Fatalf("process %s: no legal history holds both %s (provider) and %s (consumer)", name, strings.Join(provider, " "), strings.Join(consumer, " "))
	}
}

// holds walks the machine until both sides saw all that they saw.
func holds(m machine, provider, consumer []string) bool {
	p, c := beginning(provider), beginning(consumer)
	type point struct {
		state string
		p, c  int // states seen so far
	}
	seen := map[point]bool{}
	var walk func(point) bool
	walk = func(at point) bool {
		if at.p == len(p) && at.c == len(c) {
			return true
		}
		if seen[at] {
			return false
		}
		seen[at] = true
		// A state may be told again: when its message is settled, or by an order that leaves it as it is.
		if at.p > 0 && at.p < len(p) && p[at.p] == p[at.p-1] && p[at.p] == at.state && walk(point{at.state, at.p + 1, at.c}) {
			return true
		}
		if at.c > 0 && at.c < len(c) && c[at.c] == c[at.c-1] && c[at.c] == at.state && walk(point{at.state, at.p, at.c + 1}) {
			return true
		}
		for _, e := range m(at.state) {
			for _, pn := range after(p, at.p, e.to, e.by == process.Provider) {
				for _, cn := range after(c, at.c, e.to, e.by == process.Consumer) {
					if walk(point{e.to, pn, cn}) {
						return true
					}
				}
			}
		}
		return false
	}
	return walk(point{state: string(negotiation.Initial)})
}

// after lists how far a side may have got when the process moved on: it saw the state, its history is over, or it was its own doing.
func after(history []string, seen int, to string, own bool) []int {
	var out []int
	if seen < len(history) && history[seen] == to {
		out = append(out, seen+1)
	}
	if seen == len(history) || own {
		out = append(out, seen)
	}
	return out
}

// beginning is a history without its end.
func beginning(states []string) []string {
	for i, state := range states {
		if negotiation.State(state).Final() || transfer.State(state).Final() {
			return states[:i]
		}
	}
	return states
}
