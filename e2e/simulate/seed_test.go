package simulate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store/embedded"
	"github.com/sluice-connector/sluice/connector/store/embedded/faultfs"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
	"github.com/sluice-connector/sluice/connector/wire/egress"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// node is a company: its process, and the disk under it.
type node struct {
	*pair.Side
	slug  string
	dir   string
	files *faultfs.Memory
	disk  *faultfs.Disk
	raw   *sqlstore.Store
	down  bool
	life  int // starts so far

	outbox *outbox.Outbox
	owners map[commit.ProcessKind]outbox.Owner
	client *egress.Client
	server *http.Server
	door   *door
	cancel context.CancelFunc
	ended  sync.WaitGroup

	recorded map[string]bool               // records that stand alone and were acknowledged
	records  map[string]decisionlog.Record // that were read already
}

// attempt is one that an outbox is about to make.
type attempt struct {
	node  *node
	id    string
	begin chan struct{}
}

// step is one in whose middle a process is held, with nothing locked.
type step struct {
	node  *node
	id    string // of the message that it takes
	begin chan struct{}
}

// echo is a copy of a request that the network still has.
type echo struct {
	asked    *request
	from, to *node
}

// seed is one schedule. Its fields are the scheduler's, but for those under mu.
type seed struct {
	*testing.T
	world
	net    *pair.Network
	nodes  []*node
	rand   *rand.Rand
	echoes []echo
	names  map[string]string // of ids, for people
	result *Result
	books  map[*node]books // while it is judged

	mu       sync.Mutex
	lines    []*line // oldest first
	sent     map[string]commit.Owed
	attempts []attempt
	held     []step
}

// Result is what came of a seed.
type Result struct {
	Seed    uint64
	Failed  bool
	Trace   []string
	Faults  map[string]int
	Markers map[string]int
	Events  int // choices of the scheduler
}

// Digest of the trace.
func (r Result) Digest() string {
	sum := sha256.Sum256([]byte(strings.Join(r.Trace, "\n")))
	return hex.EncodeToString(sum[:8])
}

// events of a schedule while there is fire.
const events = 34

// play plays one seed to its end, in a bubble of its own.
func (w world) play(t *testing.T, number uint64) *Result {
	result := &Result{Seed: number, Faults: map[string]int{}, Markers: map[string]int{}}
	dir, err := os.MkdirTemp(memory(), "sluice-simulate-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	result.Failed = !t.Run(fmt.Sprint(number), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &seed{T: t, world: w, rand: rand.New(chance(number, "schedule")), names: map[string]string{}, result: result, sent: map[string]commit.Owed{}}
			time.Sleep(time.Until(pair.Dawn.Add(time.Hour)))
			defer s.close()
			s.join(number, dir)
			for range events {
				time.Sleep(s.pause())
				s.rest()
				s.step()
				s.rest()
				s.reap()
			}
			s.settle()
			s.judge()
		})
	})
	return result
}

func (s *seed) join(number uint64, dir string) {
	slugs := []string{provider, consumers[0]}
	if s.rand.IntN(3) == 0 {
		slugs = append(slugs, consumers[1+s.rand.IntN(2)])
	}
	byName := map[string]*node{}
	for _, slug := range slugs {
		n := &node{slug: slug, dir: filepath.Join(dir, slug), recorded: map[string]bool{}, records: map[string]decisionlog.Record{}}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			s.Fatal(err)
		}
		n.files = faultfs.NewMemory(map[string][]byte{filepath.Join(n.dir, embedded.File): s.images[slug]})
		byName[slug], s.nodes = n, append(s.nodes, n)
	}
	held := s.rand.IntN(3) == 0 // in some seeds people are asked before things go on
	s.net = pair.Join(s.T, pair.Parts{
		Rand: func(slug string) io.Reader { return chance(number, slug) },
		Keys: keysOf, Root: rootOf, Log: silent, Now: time.Now,
		Open: func(slug string) (*sqlstore.Store, error) {
			n := byName[slug]
			n.life++
			n.disk = n.files.Register(filepath.Base(dir)+"-"+slug+"-"+fmt.Sprint(n.life), faultfs.None, 0)
			var err error
			n.raw, err = embedded.Open(context.Background(), embedded.Options{Dir: n.dir, VFS: n.disk.Name(), Rand: chance(number, fmt.Sprint(slug, n.life))})
			return n.raw, err
		},
		Outbox: func(side *pair.Side) pair.Outbox {
			n := byName[side.Local.Slug]
			n.Side = side
			if held {
				n.Hold, n.HoldStart = s.hold, s.holdStart
			}
			s.deliver(n, chance(number, fmt.Sprint("outbox", n.slug, n.life)))
			return n.outbox
		},
	}, slugs...)
	for _, n := range s.nodes {
		s.run(n)
	}
}

// deliver makes what delivers the company's messages: the product's outbox, its client of the protocol, and its way out.
func (s *seed) deliver(n *node, random io.Reader) {
	var allow []string
	for _, m := range s.nodes {
		allow = append(allow, "http://"+hostOf(m.slug)+":80")
	}
	n.client = egress.New(egress.Config{Dial: s.dial(n), Resolve: s.resolve, Allow: allow, Log: slog.New(slog.DiscardHandler)})
	n.owners = map[commit.ProcessKind]outbox.Owner{}
	sender := sender{seed: s, Sender: dsphttp.NewClient(dsphttp.ClientConfig{HTTP: marked{n.client, aboutOf}, Authorizer: frank{}, Hosted: n.Hosted(), Seals: n.Seals(),
		Now: time.Now, Log: slog.New(slog.DiscardHandler)})}
	n.outbox = outbox.New(outbox.Config{Store: orderly{n.Store, s, n}, Sender: sender, Owners: n.owners, Now: time.Now, Rand: random, Log: slog.New(slog.DiscardHandler)})
}

// run lets the process work: it delivers and answers.
func (s *seed) run(n *node) {
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	maps.Copy(n.owners, n.Owners())
	n.door = &door{conns: make(chan net.Conn, 64), shut: make(chan struct{})}
	n.server = &http.Server{Handler: n.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	n.ended.Go(func() { n.outbox.Run(ctx) })
	n.ended.Go(func() { _ = n.server.Serve(n.door) })
	n.down = false
	s.rest()
}

// frank says who it is.
type frank struct{}

func (frank) Authorize(_ context.Context, local participant.Participant, _ participant.DID) (string, error) {
	return string(local.DID), nil
}

// sender notes what is sent, so that the network knows it when it sees it.
type sender struct {
	outbox.Sender
	seed *seed
}

type aboutKey struct{}

func aboutOf(ctx context.Context) string {
	id, _ := ctx.Value(aboutKey{}).(string)
	return id
}

func (f sender) note(ctx context.Context, o commit.Owed) context.Context {
	f.seed.mu.Lock()
	defer f.seed.mu.Unlock()
	f.seed.sent[o.ID] = o
	return context.WithValue(ctx, aboutKey{}, o.ID)
}

func (f sender) Send(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	return f.Sender.Send(f.note(ctx, o), o)
}

func (f sender) Look(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	return f.Sender.Look(f.note(ctx, o), o)
}

// orderly is the store as an outbox sees it: the first thing that an attempt does is to ask whether its message is still owed, and there it
// waits until the scheduler lets it begin.
type orderly struct {
	*pair.Store
	seed *seed
	node *node
}

func (o orderly) Owes(ctx context.Context, id string) (bool, error) {
	a := attempt{o.node, id, make(chan struct{})}
	o.seed.mu.Lock()
	o.seed.attempts = append(o.seed.attempts, a)
	o.seed.mu.Unlock()
	select {
	case <-a.begin:
		return o.Store.Owes(ctx, id)
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// rest waits until nothing moves any more by itself. Attempts begin one after the other, each at an instant of its own: what several do at once
// has no order.
func (s *seed) rest() {
	for {
		synctest.Wait()
		s.mu.Lock()
		slices.SortFunc(s.attempts, func(a, b attempt) int { return cmp.Or(cmp.Compare(a.node.slug, b.node.slug), cmp.Compare(a.id, b.id)) })
		var next *attempt
		for len(s.attempts) > 0 && next == nil {
			if !s.attempts[0].node.down {
				next = &s.attempts[0]
			}
			s.attempts = s.attempts[1:]
		}
		s.mu.Unlock()
		if next == nil {
			return
		}
		time.Sleep(time.Microsecond)
		close(next.begin)
	}
}

func (s *seed) close() {
	for _, n := range s.nodes {
		if !n.down {
			n.disk.LosePower(0) // nobody reads what it would tidy up
			s.stop(n)
		}
	}
}

// stop ends the process.
func (s *seed) stop(n *node) {
	n.down = true
	n.cancel()
	synctest.Wait()
	for _, l := range s.open() {
		if l.from == n || l.to == n {
			l.cut()
			s.rest()
		}
	}
	for _, held := range slices.Clone(s.held) {
		if held.node == n {
			s.release(held)
		}
	}
	_ = n.server.Close()
	n.client.Close()
	n.ended.Wait()
	synctest.Wait()
	if err := n.raw.Close(); err != nil && !n.disk.Dead() {
		s.Error(err)
	}
	n.disk.Close()
}

// open lists the lines on which something may still happen.
func (s *seed) open() []*line {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = slices.DeleteFunc(s.lines, (*line).over)
	return slices.Clone(s.lines)
}

// air lists the lines on which something is in flight.
func (s *seed) air() (busy []*line) {
	for _, l := range s.open() {
		if _, n := l.flying(); n > 0 {
			busy = append(busy, l)
		}
	}
	return busy
}

// note adds a line to the trace.
func (s *seed) note(format string, args ...any) {
	s.result.Trace = append(s.result.Trace, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
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

// pause is how long nothing happens before the next event: mostly moments, now and then longer than a backoff, seldom longer than anybody waits
// for an answer.
func (s *seed) pause() time.Duration {
	switch k := s.rand.IntN(100); {
	case k < 94:
		return time.Duration(1+s.rand.IntN(50)) * time.Millisecond
	case k < 99:
		return time.Duration(s.rand.IntN(6000)) * time.Millisecond
	}
	return time.Duration(s.rand.IntN(40000)) * time.Millisecond
}

func (s *seed) step() {
	s.result.Events++
	n := s.nodes[s.rand.IntN(len(s.nodes))]
	if n.down {
		if s.rand.IntN(2) == 0 {
			s.start(n)
		}
		return
	}
	switch k := s.rand.IntN(1000); {
	case k < 680:
		if busy := s.air(); len(busy) > 0 {
			s.move(busy[s.rand.IntN(len(busy))])
		} else {
			s.operate(n)
		}
	case k < 720:
		s.echo()
	case k < 760:
		if len(s.held) > 0 {
			s.release(s.held[s.rand.IntN(len(s.held))])
		}
	case k < 775:
		if all := s.open(); len(all) > 0 {
			s.fault("connection cut at rest")
			all[s.rand.IntN(len(all))].cut()
		}
	case k < 980:
		s.operate(n)
	case k < 986:
		n.disk.LosePower(1 + s.rand.IntN(40))
	case k < 991:
		s.burst(n)
	case k < 996:
		s.operate(n)
	default:
		s.kill(n, "killed")
	}
}

// move lets what is in flight on the line arrive, or not.
func (s *seed) move(l *line) {
	f, n := l.flying()
	if f == &l.down {
		s.answer(l, n)
		return
	}
	if l.asked == nil {
		l.asked = s.seen(l)
	}
	s.request(l, n)
}

// bytes lets n bytes of what is in flight arrive. Then everybody rests.
func (s *seed) bytes(l *line, f *flow, n int) {
	l.arrive(f, n)
	s.rest()
	l.finish()
	s.rest()
}

// request lets a request arrive, or its beginning.
func (s *seed) request(l *line, n int) {
	r, to := l.asked, l.to
	what := fmt.Sprintf("%s of %s", r.title(), s.name(r.owed.ProcessID))
	if l.gone() { // nobody waits for the answer any more
		if !s.may(l.from, r) {
			l.cut()
			return
		}
		s.reach("request arrived after its sender had given up")
		s.note("%s takes %s late", to.slug, what)
		s.bytes(l, &l.up, n)
		l.cut()
		return
	}
	switch k := s.rand.IntN(100); {
	case k < 7:
		some := s.rand.IntN(n)
		if s.rand.IntN(2) == 0 && r.body() > 0 && n > r.body() { // in the body, which is shorter than what comes before it
			some = n - 1 - s.rand.IntN(r.body())
		}
		where := "before its body"
		if len(r.raw)-n+some >= r.head {
			where = "in its body"
		}
		s.fault("request cut " + where)
		s.reach("request cut " + where)
		s.note("%s is cut %s after %d bytes", what, where, len(r.raw)-n+some)
		s.bytes(l, &l.up, some)
		l.cut()
	case k < 9:
		s.fault("process killed after its commit")
		if s.arrive(l, n); r.answer != nil && r.answer.OK() && !to.disk.Dead() {
			s.reach("crash between commit and answer")
			s.lost(r)
		}
		s.kill(to, "killed before it answered")
	case k < 11:
		s.fault("power lost in a step")
		to.disk.LosePower(1 + s.rand.IntN(12))
		if s.arrive(l, n); to.disk.Dead() {
			s.reach("power lost in the middle of a step")
		}
	case k < 20 && r.method == http.MethodPost:
		s.fault("request repeated")
		s.echoes = append(s.echoes, echo{r, l.from, to})
		s.arrive(l, n)
	case k < 25 && n > 1:
		s.fault("request held in the middle")
		s.note("%s comes in pieces", what)
		s.bytes(l, &l.up, 1+s.rand.IntN(n-1))
	case k < 37 && r.method == http.MethodPost:
		s.interfere(l, n)
	default:
		s.arrive(l, n)
	}
}

func (r *request) body() int { return len(r.raw) - r.head }

// title is what the request is: the message that it carries, or the look after it.
func (r *request) title() string {
	if r.method == http.MethodGet {
		return "look after " + r.owed.Message
	}
	return r.owed.Message
}

// may reports whether a copy of the request may arrive now. One of what moves a transfer comes only while its sender has not heard the answer:
// only the last message taken is remembered, so an older one is not known for a copy. Over TLS its used token would refuse it.
func (s *seed) may(from *node, r *request) bool {
	if r.method == http.MethodGet || from.down {
		return false
	}
	if r.owed.Process != commit.Transfer {
		return true
	}
	owes, err := from.raw.Owes(context.Background(), r.owed.ID)
	if err != nil && !from.disk.Dead() {
		s.Fatal(err)
	}
	return owes
}

// arrive lets the rest of a request arrive.
func (s *seed) arrive(l *line, n int) {
	s.bytes(l, &l.up, n)
	s.heard(l)
}

// heard reads the answer, when there is one.
func (s *seed) heard(l *line) {
	r := l.asked
	if f, n := l.flying(); r == nil || r.answer != nil || f != &l.down || n == 0 {
		return
	}
	answer, head := s.answered(l)
	r.answer, r.answerHead, r.answerSize = &answer, head, len(l.down.flight)
	s.note("%s takes %s of %s: %d %s", l.to.slug, r.title(), s.name(r.owed.ProcessID), answer.Status, answer.State)
	if answer.Status >= 500 && !l.to.disk.Dead() {
		s.Fatalf("%s answers %s with %d %v, and its disk is sound", l.to.slug, r.title(), answer.Status, answer.Reasons)
	}
	s.met(r)
}

// met counts what a message ran into.
func (s *seed) met(r *request) {
	switch {
	case r.method == http.MethodGet && r.answer.OK():
		s.reach("look after a refusal")
		return
	case r.method == http.MethodGet, r.answer.OK(), r.answer.Status >= 500:
		return
	}
	switch r.owed.Message {
	case "ContractAgreementMessage":
		s.reach("agreement met a termination")
	case "TransferSuspensionMessage":
		s.reach("suspensions crossed")
	case "TransferStartMessage":
		s.reach("start met an ending")
	}
}

// lost counts an answer that its sender will not hear.
func (s *seed) lost(r *request) {
	if r.owed.Message == "ContractAgreementMessage" && r.method == http.MethodPost && r.answer.OK() {
		s.reach("answer lost after agreement")
	}
}

// answer lets an answer arrive, or its beginning.
func (s *seed) answer(l *line, n int) {
	s.heard(l)
	r := l.asked
	if r == nil { // of a server that closes a connection on which nothing was asked
		s.bytes(l, &l.down, n)
		return
	}
	what := fmt.Sprintf("the answer to %s of %s", r.title(), s.name(r.owed.ProcessID))
	switch k := s.rand.IntN(100); {
	case k < 12:
		some := 0
		if s.rand.IntN(3) > 0 {
			some = s.rand.IntN(n)
		}
		where := "before its body"
		switch at := r.answerSize - n + some; {
		case at == 0:
			s.fault("answer lost")
			where = "before it began"
		case at >= r.answerHead:
			where = "in its body"
			fallthrough
		default:
			s.fault("answer cut " + where)
		}
		if r.answer.OK() && r.method == http.MethodPost {
			s.reach("answer cut " + where + ", after the commit")
		}
		s.lost(r)
		s.note("%s is cut %s", what, where)
		s.bytes(l, &l.down, some)
		l.cut()
	case k < 17 && n > 1:
		s.fault("answer held in the middle")
		s.note("%s comes in pieces", what)
		s.bytes(l, &l.down, 1+s.rand.IntN(n-1))
	default:
		s.note("%s hears %d to %s of %s", l.from.slug, r.answer.Status, r.title(), s.name(r.owed.ProcessID))
		l.asked = nil
		s.bytes(l, &l.down, n)
	}
}

// echo lets a copy of an old request arrive.
func (s *seed) echo() {
	if len(s.echoes) == 0 {
		return
	}
	i := s.rand.IntN(len(s.echoes))
	e := s.echoes[i]
	if e.to.down || e.from.down {
		return
	}
	s.echoes = slices.Delete(s.echoes, i, i+1)
	if !s.may(e.from, e.asked) {
		return
	}
	final := s.final(e.from, e.asked.owed)
	l := s.connect(nil, e.to)
	copied := *e.asked
	copied.answer = nil
	l.asked = &copied
	l.up.flight = copied.raw
	s.arrive(l, len(copied.raw))
	l.cut()
	if final {
		s.reach("duplicate after final")
	}
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

// kill takes the power away.
func (s *seed) kill(n *node, how string) {
	n.disk.LosePower(0)
	s.note("%s is %s", n.slug, how)
	s.fault("process crashed")
	s.bury(n)
}

// reap finds who lost its power in what was done, also in what the end of another did to it.
func (s *seed) reap() {
	dead := func(n *node) bool { return !n.down && n.disk.Dead() }
	for i := slices.IndexFunc(s.nodes, dead); i >= 0; i = slices.IndexFunc(s.nodes, dead) {
		s.note("%s has lost its power", s.nodes[i].slug)
		s.fault("power lost at a write")
		s.bury(s.nodes[i])
	}
}

// bury ends a process without power. Its requests on their way may still arrive; nobody hears the answer.
func (s *seed) bury(n *node) {
	for _, l := range s.air() {
		if f, size := l.flying(); l.from == n && f == &l.up {
			if l.asked == nil {
				l.asked = s.seen(l)
			}
			if size == len(l.asked.raw) && l.asked.method == http.MethodPost {
				s.echoes = append(s.echoes, echo{l.asked, n, l.to})
			}
		}
	}
	s.stop(n)
	if err := n.disk.Restore(); err != nil {
		s.Fatal(err)
	}
}

// start brings a company back on what its disk kept, as the product starts: what a retirement left is ended, what is owed is taken back.
func (s *seed) start(n *node) {
	n.Start()
	ctx := context.Background()
	ended, _, err := n.Transfers.Sweep(ctx, n.Local)
	if err != nil {
		s.Fatal(err)
	}
	if ended > 0 {
		s.reach("start ended what a retirement had left")
	}
	_, owes, err := n.raw.NextDue(ctx)
	if err != nil {
		s.Fatal(err)
	}
	if owes {
		s.reach("crash with an owed message")
	}
	s.note("%s starts again, and owes something: %t", n.slug, owes)
	s.run(n)
}

// release lets a step go on.
func (s *seed) release(held step) {
	s.held = slices.DeleteFunc(s.held, func(h step) bool { return h.begin == held.begin })
	close(held.begin)
	s.rest()
	for _, l := range s.open() {
		s.heard(l)
	}
}
