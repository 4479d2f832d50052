package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/embedded/faultfs"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/e2e/pair"
)

// node is a company with the disk under it.
type node struct {
	*pair.Side
	slug  string
	dir   string
	disk  *faultfs.Disk
	raw   *sqlstore.Store
	down  bool
	armed bool // its power will go one day
	life  int  // starts so far

	recorded map[string]bool // records that stand alone and were acknowledged
}

// attempt is one attempt to deliver a message: the request is on its way, or the answer is.
type attempt struct {
	owed    commit.Owed
	from    *node
	arrived bool
	answer  outbox.Answer
}

// seed is one schedule.
type seed struct {
	world
	bench
	net    *pair.Network
	nodes  []*node
	rand   *rand.Rand
	air    []*attempt        // under way
	echoes []*attempt        // copies of requests that the network still has
	names  map[string]string // of ids, for people
	result *Result
}

// Result is what came of a seed.
type Result struct {
	Seed    uint64
	Failure string // "" when all held
	Trace   []string
	Faults  map[string]int
	Markers map[string]int
}

// Digest of the trace.
func (r Result) Digest() string {
	sum := sha256.Sum256([]byte(strings.Join(r.Trace, "\n")))
	return hex.EncodeToString(sum[:8])
}

// events of a schedule while there is fire.
const events = 120

// play plays one seed to its end.
func play(number uint64) (result Result) {
	result = Result{Seed: number, Faults: map[string]int{}, Markers: map[string]int{}}
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			result.Failure = string(f)
		default:
			panic(f)
		}
	}()
	w, err := begin()
	if err != nil {
		result.Failure = err.Error()
		return result
	}
	dir, err := os.MkdirTemp(memory(), "sluice-simulate-")
	if err != nil {
		result.Failure = err.Error()
		return result
	}
	defer os.RemoveAll(dir)
	s := &seed{world: w, rand: rand.New(chance(number, "schedule")), names: map[string]string{}, result: &result}
	defer s.close()
	s.join(number, dir)
	for range events {
		s.net.Advance(time.Duration(1+s.rand.IntN(50)) * time.Millisecond)
		s.step()
		s.reap()
	}
	s.settle()
	s.judge()
	return result
}

func (s *seed) join(number uint64, dir string) {
	slugs := []string{provider, consumers[0]}
	if s.rand.IntN(3) > 0 {
		slugs = append(slugs, consumers[1+s.rand.IntN(2)])
	}
	byName := map[string]*node{}
	for _, slug := range slugs {
		n := &node{slug: slug, dir: filepath.Join(dir, slug), recorded: map[string]bool{}}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			s.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.dir, embedded.File), s.images[slug], 0o600); err != nil {
			s.Fatal(err)
		}
		byName[slug], s.nodes = n, append(s.nodes, n)
	}
	s.net = pair.Join(s, pair.Parts{
		Rand: func(slug string) io.Reader { return chance(number, slug) },
		Keys: keysOf,
		Open: func(slug string) (*sqlstore.Store, error) {
			n := byName[slug]
			n.life++
			name := fmt.Sprint(filepath.Base(dir), "-", slug, "-", n.life)
			n.disk = faultfs.Register(name, faultfs.None, 0)
			var err error
			n.raw, err = embedded.Open(context.Background(), embedded.Options{Dir: n.dir, VFS: name, Rand: chance(number, name[len(filepath.Base(dir)):])})
			return n.raw, err
		},
	}, slugs...)
	held := s.rand.IntN(3) == 0 // in some seeds people are asked before things go on
	for _, n := range s.nodes {
		n.Side = s.net.Side(n.slug)
		if held {
			n.Hold, n.HoldStart = s.hold, s.holdStart
		}
	}
}

func (s *seed) close() {
	for _, n := range s.nodes {
		if n.raw != nil {
			_ = n.raw.Close()
		}
		if n.disk != nil {
			n.disk.Close()
		}
	}
}

// note adds a line to the trace.
func (s *seed) note(format string, args ...any) {
	s.result.Trace = append(s.result.Trace, s.net.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (s *seed) fault(kind string) { s.result.Faults[kind]++ }

func (s *seed) reach(marker string) { s.result.Markers[marker]++ }

// name is a short name for an id.
func (s *seed) name(id string) string {
	if id == "" {
		return "-"
	}
	if s.names[id] == "" {
		s.names[id] = fmt.Sprint("p", len(s.names)+1)
	}
	return s.names[id]
}

func (s *seed) step() {
	n := s.nodes[s.rand.IntN(len(s.nodes))]
	if n.down {
		if s.rand.IntN(2) == 0 {
			s.start(n)
		}
		return
	}
	switch k := s.rand.IntN(100); {
	case k < 30:
		if !s.send(n) {
			s.operate(n)
		}
	case k < 70:
		if len(s.air) > 0 {
			s.move(s.air[s.rand.IntN(len(s.air))])
		} else {
			s.timer(n)
		}
	case k < 74:
		s.echo()
	case k < 78:
		s.timer(n)
	case k < 97:
		s.operate(n)
	case k < 98:
		n.disk.LosePower(1 + s.rand.IntN(40))
		n.armed = true
	case k < 99:
		s.burst(n)
	default:
		s.kill(n, "killed")
	}
}

// send takes up one message that the company owes, if there is one.
func (s *seed) send(n *node) bool {
	o, ok := n.NextOf(func(o commit.Owed) bool {
		return !slices.ContainsFunc(s.air, func(a *attempt) bool { return a.from == n && a.owed.ProcessID == o.ProcessID })
	})
	if ok {
		s.air = append(s.air, &attempt{owed: o, from: n})
		s.note("%s sends %s of %s", n.slug, o.Message, s.name(o.ProcessID))
	}
	return ok
}

// move lets a request arrive, or its answer.
func (s *seed) move(a *attempt) {
	if a.arrived {
		s.done(a)
		if s.rand.IntN(8) == 0 {
			s.fault("answer lost")
			if a.owed.Message == "ContractAgreementMessage" && a.answer.OK() {
				s.reach("answer lost after agreement")
			}
			s.note("%s never hears the answer to %s of %s", a.from.slug, a.owed.Message, s.name(a.owed.ProcessID))
			s.postpone(a, "the answer was lost")
			return
		}
		s.tell(a)
		return
	}
	to := s.receiver(a)
	switch k := s.rand.IntN(100); {
	case to.down || k < 8:
		s.fault("request cut")
		s.done(a)
		s.note("%s of %s does not arrive", a.owed.Message, s.name(a.owed.ProcessID))
		s.postpone(a, "connection cut")
	case k < 11:
		s.fault("process killed after its commit")
		s.done(a)
		s.arrive(a, to)
		if !to.disk.Dead() && a.answer.OK() {
			s.reach("crash between commit and answer")
			if a.owed.Message == "ContractAgreementMessage" {
				s.reach("answer lost after agreement")
			}
		}
		s.kill(to, "killed before it answered")
		s.postpone(a, "connection reset")
	case k < 14:
		s.fault("power lost in a step")
		to.disk.LosePower(1 + s.rand.IntN(12))
		to.armed = true
		s.arrive(a, to)
		if to.disk.Dead() {
			s.reach("power lost in the middle of a step")
			s.done(a)
			s.postpone(a, "connection reset")
		}
	case k < 24:
		s.fault("request repeated")
		s.echoes = append(s.echoes, &attempt{owed: a.owed, from: a.from})
		s.arrive(a, to)
	case k < 36:
		s.interfere(a, to)
		s.arrive(a, to)
	default:
		s.arrive(a, to)
	}
}

// done takes the attempt out of the air.
func (s *seed) done(a *attempt) {
	s.air = slices.DeleteFunc(s.air, func(b *attempt) bool { return a == b })
}

func (s *seed) receiver(a *attempt) *node {
	for _, n := range s.nodes {
		if n.Local.DID == a.owed.Peer {
			return n
		}
	}
	s.Fatalf("nobody is %s", a.owed.Peer)
	return nil
}

// arrive hands the request to its receiver.
func (s *seed) arrive(a *attempt, to *node) {
	a.arrived = true
	a.answer = s.call(a.from, to, http.MethodPost, a.owed.URL, a.from.Body(a.owed))
	s.note("%s takes %s of %s: %d %s", to.slug, a.owed.Message, s.name(a.owed.ProcessID), a.answer.Status, a.answer.State)
	s.met(a)
}

func (s *seed) call(from, to *node, method, url string, body []byte) outbox.Answer {
	a := s.net.Call(from.Local.DID, method, url, body)
	if a.Status >= 500 && !to.disk.Dead() {
		s.Fatalf("%s answers %s %s with %d %v, and its disk is sound", to.slug, method, url, a.Status, a.Reasons)
	}
	return a
}

// met counts what a message ran into.
func (s *seed) met(a *attempt) {
	if a.answer.OK() || a.answer.Status >= 500 {
		return
	}
	switch a.owed.Message {
	case "ContractAgreementMessage":
		s.reach("agreement met a termination")
	case "TransferSuspensionMessage":
		s.reach("suspensions crossed")
	case "TransferStartMessage":
		s.reach("start met an ending")
	}
}

// postpone is what the outbox does after a failed attempt. A sender that died meanwhile finds the message in its store.
func (s *seed) postpone(a *attempt, why string) {
	if a.from.down || a.from.disk.Dead() {
		return
	}
	backoff := time.Duration(100+s.rand.IntN(5000)) * time.Millisecond
	if err := a.from.raw.Postpone(context.Background(), a.owed.ID, s.net.Now().Add(backoff), why); err != nil && !a.from.disk.Dead() {
		s.Fatal(err)
	}
}

// tell lets the sender learn the answer, after a look when it is a refusal.
func (s *seed) tell(a *attempt) {
	if a.answer.Status >= 500 {
		s.postpone(a, "try again later")
		return
	}
	ctx, o, n := context.Background(), a.owed, a.from
	var err error
	if a.answer.OK() {
		err = n.Owner(o).Delivered(ctx, o, a.answer)
	} else {
		answer := a.answer
		if parts := strings.SplitN(o.URL, "/", 9); len(parts) > 8 {
			to := s.receiver(a)
			if to.down || s.rand.IntN(6) == 0 {
				s.fault("look cut")
				s.postpone(a, "the look failed")
				return
			}
			seen := s.call(n, to, http.MethodGet, strings.Join(parts[:8], "/"), nil)
			if seen.Status >= 500 {
				s.postpone(a, "the look failed")
				return
			}
			if seen.OK() {
				s.reach("look after a refusal")
				seen.Code, seen.Reasons = a.answer.Code, a.answer.Reasons
				answer = seen
			}
		}
		err = n.Owner(o).Rejected(ctx, o, answer)
	}
	s.note("%s hears %d to %s of %s", n.slug, a.answer.Status, o.Message, s.name(o.ProcessID))
	if err != nil && !n.disk.Dead() {
		s.Fatalf("outcome of %s: %v", o.Message, err)
	}
}

// echo lets a copy of an old request arrive. A copy of what moves a transfer comes only while its sender has not heard the answer: the
// protocol numbers no messages, so nobody can tell a late copy of a suspension from a second one.
func (s *seed) echo() {
	if len(s.echoes) == 0 {
		return
	}
	i := s.rand.IntN(len(s.echoes))
	a := s.echoes[i]
	to := s.receiver(a)
	if to.down || a.from.down {
		return
	}
	s.echoes = slices.Delete(s.echoes, i, i+1)
	if a.owed.Process == commit.Transfer && !s.owes(a) {
		return
	}
	final := s.final(a.from, a.owed)
	s.arrive(a, to)
	if final {
		s.reach("duplicate after final")
	}
}

func (s *seed) owes(a *attempt) bool {
	owes, err := a.from.raw.Owes(context.Background(), a.owed.ID)
	if err != nil && !a.from.disk.Dead() {
		s.Fatal(err)
	}
	return owes
}

// final reports whether the process at the sender is over.
func (s *seed) final(n *node, o commit.Owed) bool {
	if o.Process == commit.Negotiation {
		p, err := n.raw.Negotiation(context.Background(), n.Local.ID, "", o.ProcessID)
		return err == nil && p.State.Final()
	}
	p, err := n.raw.Transfer(context.Background(), n.Local.ID, "", o.ProcessID)
	return err == nil && p.State.Final()
}

// timer takes up what is due, some time later.
func (s *seed) timer(n *node) {
	s.net.Advance(time.Duration(s.rand.IntN(6000)) * time.Millisecond)
	owed, err := n.raw.Claim(context.Background(), s.net.Now(), 30*time.Second, 64)
	if err != nil && !n.disk.Dead() {
		s.Fatal(err)
	}
	s.take(n, owed)
}

// take queues what is not under way already.
func (s *seed) take(n *node, owed []commit.Owed) {
	for _, o := range owed {
		if !slices.ContainsFunc(s.air, func(a *attempt) bool { return a.from == n && a.owed.ID == o.ID }) {
			n.Send(o)
		}
	}
}

// kill takes the power away.
func (s *seed) kill(n *node, how string) {
	n.disk.LosePower(0)
	s.note("%s is %s", n.slug, how)
	s.fault("process crashed")
	s.bury(n)
}

// reap finds who lost its power in what was done.
func (s *seed) reap() {
	for _, n := range s.nodes {
		if !n.down && n.disk.Dead() {
			s.note("%s has lost its power", n.slug)
			s.fault("power lost at a write")
			s.bury(n)
		}
	}
}

// bury forgets what a dead process had in hand. Requests on their way may still arrive; nobody hears the answer.
func (s *seed) bury(n *node) {
	n.down, n.armed = true, false
	_ = n.raw.Close()
	if err := n.disk.Restore(); err != nil {
		s.Fatal(err)
	}
	n.disk.Close()
	n.Restart()
	for _, a := range slices.Clone(s.air) {
		if a.from == n {
			s.done(a)
			if !a.arrived {
				s.echoes = append(s.echoes, a)
			}
		}
	}
}

// start brings a company back on what its disk kept, as the product starts: what is owed is taken back, what a retirement left is ended.
func (s *seed) start(n *node) {
	n.Start()
	n.down = false
	ctx := context.Background()
	ended, err := n.Transfers.Sweep(ctx, n.Local)
	if err != nil {
		s.Fatal(err)
	}
	if ended > 0 {
		s.reach("start ended what a retirement had left")
	}
	owed, err := n.raw.Claim(ctx, s.net.Now().Add(time.Minute), 30*time.Second, 1000)
	if err != nil {
		s.Fatal(err)
	}
	if len(owed) > 0 {
		s.reach("crash with an owed message")
	}
	n.Restart()
	s.take(n, owed)
	s.note("%s starts again and owes %d", n.slug, len(owed))
}
