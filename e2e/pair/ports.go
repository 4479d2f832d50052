package pair

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store/sqlstore"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// host is where everybody is served.
const host = "https://dataspace.example"

func (n *Network) base(p participant.Participant) string { return n.parts.Root(p.Slug) + "/dsp/2025-1" }

func slugOf(did participant.DID) string {
	return string(did[strings.LastIndexByte(string(did), ':')+1:])
}

// caller believes what a request says of its sender.
type caller struct{}

func (caller) Authenticate(r *http.Request, _ participant.Participant) (participant.Peer, *commit.Used, error) {
	return participant.Peer{DID: participant.DID(r.Header.Get("Authorization"))}, nil, nil
}

func (caller) Settle(context.Context, *commit.Used) error { return nil }

// hosted knows the side's own company.
type hosted struct{ side *Side }

func (h hosted) ByID(context.Context, participant.ID) (participant.Participant, error) {
	return h.side.Local, nil
}

// directory knows everybody in the network.
type directory struct{ net *Network }

func (d directory) Endpoint(_ context.Context, _ participant.Participant, peer participant.DID) (string, error) {
	other, ok := d.net.sides[slugOf(peer)]
	if !ok {
		return "", fault.New("pair.Endpoint", fault.NotFound, "nobody is known as %s", peer)
	}
	return d.net.base(other.Local), nil
}

func (d directory) Callback(_ context.Context, peer participant.Peer, url string) error {
	if !strings.HasPrefix(url, d.net.parts.Root(slugOf(peer.DID))+"/") {
		return fault.New("pair.Callback", fault.Malformed, "callbackAddress: want an address of your own")
	}
	return nil
}

func (d directory) Own(local participant.Participant) string { return d.net.base(local) }

// sources believes that every address is the participant's own.
type sources struct{}

func (sources) Check(participant.Participant, catalog.Address) error { return nil }

// evidence shows the facts of each side.
type evidence struct{ net *Network }

func (e evidence) Claims(_ context.Context, _ participant.Participant, peer participant.Peer) (policy.Party, error) {
	if other, ok := e.net.sides[slugOf(peer.DID)]; ok {
		return other.Facts, nil
	}
	return policy.Party{DID: string(peer.DID)}, nil
}

func (e evidence) Own(_ context.Context, local participant.Participant) (policy.Party, error) {
	return e.net.sides[local.Slug].Facts, nil
}

// ledger decides with the real engine and seals with the side's recorder.
type ledger struct{ side *Side }

func (l ledger) Decide(ctx context.Context, q policy.Question) (policy.Decision, decisionlog.Entry, error) {
	d := l.side.net.engine.Decide(ctx, q)
	for d.Class == "timeout" && ctx.Err() == nil { // the machine is busy; here that is no fault of anybody's
		d = l.side.net.engine.Decide(ctx, q)
	}
	entry, err := l.side.recorder.Decision(q, d)
	return d, entry, err
}

func (l ledger) Deny(_ context.Context, q policy.Question, code string) (decisionlog.Entry, error) {
	return l.side.recorder.Decision(q, policy.Denied(code))
}

func (l ledger) Serve(_ context.Context, _ string, s decisionlog.Served) (decisionlog.Entry, error) {
	return l.side.recorder.Serve(s)
}

func (l ledger) Record(_ context.Context, a decisionlog.Action) (decisionlog.Entry, error) {
	return l.side.recorder.Action(a)
}

// Flows remembers which transfers were cut.
type Flows struct {
	mu      sync.Mutex
	stopped map[string]int
}

// Stop implements transfer.Flows.
func (f *Flows) Stop(_ participant.ID, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped == nil {
		f.stopped = map[string]int{}
	}
	f.stopped[id]++
}

// Stopped reports how often the flows of the transfer were cut.
func (f *Flows) Stopped(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopped[id]
}

// Standing knows which credentials are lost, as status lists do.
type Standing struct {
	mu     sync.Mutex
	lost   map[string]string // by the credential's type, with the code
	relies map[string]bool   // transfers
	away   error
	before func()
}

// Lose revokes or suspends, by the code, every credential of the type; Give takes that back.
func (s *Standing) Lose(kind, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		s.lost = map[string]string{}
	}
	s.lost[kind] = code
}

// Give takes back what Lose did.
func (s *Standing) Give(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lost, kind)
}

// Away makes it impossible to find out what stands, with that error; nil ends that.
func (s *Standing) Away(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// After sets what happens once after the next party was found to stand.
func (s *Standing) After(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// Relied reports whether the transfer depends on what its peer has proven.
func (s *Standing) Relied(transfer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.relies[transfer]
}

// Relying is how many transfers depend on what their peers have proven.
func (s *Standing) Relying() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.relies)
}

// Stand implements transfer.Standing and dataplane.Standing.
func (s *Standing) Stand(_ context.Context, _ participant.Participant, transfer string, party policy.Party) (policy.Party, error) {
	s.mu.Lock()
	out := policy.Party{DID: party.DID}
	for _, c := range party.Credentials {
		if s.lost[c.Type] == "" {
			out.Credentials = append(out.Credentials, c)
		}
	}
	err, then := s.away, s.before
	if err == nil {
		s.rely(transfer)
		s.before = nil
	}
	s.mu.Unlock()
	if err != nil {
		return policy.Party{}, err
	}
	if then != nil {
		then()
	}
	return out, nil
}

func (s *Standing) rely(transfer string) {
	if s.relies == nil {
		s.relies = map[string]bool{}
	}
	s.relies[transfer] = true
}

// Rely implements transfer.Standing.
func (s *Standing) Rely(_ participant.Participant, transfer string, party policy.Party) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range party.Credentials {
		if code := s.lost[c.Type]; code != "" {
			delete(s.relies, transfer)
			return code
		}
	}
	s.rely(transfer)
	return ""
}

// Leave implements transfer.Standing.
func (s *Standing) Leave(transfer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.relies, transfer)
}

// Store is the real store with a place to step in right before a process changes: Before is called once, with nothing locked.
type Store struct {
	*sqlstore.Store

	mu     sync.Mutex
	before func()
}

// Before sets what happens between a service's reading of a process and its next write of one.
func (s *Store) Before(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

func (s *Store) stepIn() {
	s.mu.Lock()
	f := s.before
	s.before = nil
	s.mu.Unlock()
	if f != nil {
		f()
	}
}

// ReplaceNegotiation implements negotiation.Store.
func (s *Store) ReplaceNegotiation(ctx context.Context, old, next negotiation.Negotiation, e commit.Effects) error {
	s.stepIn()
	return s.Store.ReplaceNegotiation(ctx, old, next, e)
}

// CreateTransfer implements transfer.Store.
func (s *Store) CreateTransfer(ctx context.Context, t transfer.Transfer, e commit.Effects) error {
	s.stepIn()
	return s.Store.CreateTransfer(ctx, t, e)
}

// ReplaceTransfer implements transfer.Store.
func (s *Store) ReplaceTransfer(ctx context.Context, old, next transfer.Transfer, e commit.Effects) error {
	s.stepIn()
	return s.Store.ReplaceTransfer(ctx, old, next, e)
}
