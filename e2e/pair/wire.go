package pair

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wire/dsphttp"
)

// Send implements the services' Outbox: the message waits until the test delivers it.
func (s *Side) Send(o commit.Owed) {
	if o.URL == "" { // a deadline: Due finds it when its time has come
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, o)
}

// Next takes the oldest message that the side sends; false when there is none.
func (s *Side) Next() (commit.Owed, bool) {
	return s.NextOf(func(commit.Owed) bool { return true })
}

// NextOf takes the oldest message that may be sent now and is still owed.
func (s *Side) NextOf(may func(commit.Owed) bool) (commit.Owed, bool) {
	for {
		s.mu.Lock()
		i := slices.IndexFunc(s.sent, may)
		if i < 0 {
			s.mu.Unlock()
			return commit.Owed{}, false
		}
		o := s.sent[i]
		s.sent = slices.Delete(s.sent, i, i+1)
		s.mu.Unlock()
		owes, err := s.Store.Owes(s.net.t.Context(), o.ID)
		if err != nil {
			s.net.t.Fatal(err)
		}
		if owes {
			return o, true
		}
	}
}

// Owners are those who learn what became of a message.
func (s *Side) Owners() map[commit.ProcessKind]outbox.Owner {
	return map[commit.ProcessKind]outbox.Owner{commit.Negotiation: s.Negotiations, commit.Transfer: s.Transfers}
}

// Owner is who learns what became of the message.
func (s *Side) Owner(o commit.Owed) outbox.Owner { return s.Owners()[o.Process] }

// Handler serves the protocol to peers; they say who they are, and are believed.
func (s *Side) Handler() http.Handler { return s.mux }

// Hosted finds the company by its id.
func (s *Side) Hosted() dsphttp.Hosted { return hosted{s} }

// Seals opens what the company sealed for rest.
func (s *Side) Seals() dsphttp.Seals { return s.vault }

// Take is Next of a message that must be there and of the kind.
func (s *Side) Take(kind string) commit.Owed {
	t := s.net.t
	t.Helper()
	o, ok := s.Next()
	if !ok || o.Message != kind {
		t.Fatalf("%s sends %q, want %s", s.Local.Slug, o.Message, kind)
	}
	return o
}

// Token is the access token that a provider hands out for its transfer.
func (s *Side) Token(t transfer.Transfer) (string, error) {
	return s.vault.Token(s.Local, t.ID, t.Grant.Generation)
}

// Call makes a request of the protocol to whoever serves the address, as the caller.
func (n *Network) Call(caller participant.DID, method, url string, body []byte) outbox.Answer {
	n.t.Helper()
	slugs := slices.Sorted(maps.Keys(n.sides))
	i := slices.IndexFunc(slugs, func(slug string) bool { return strings.HasPrefix(url, n.parts.Root(slug)+"/") })
	if i < 0 {
		n.t.Fatalf("nobody serves %s", url)
	}
	side := n.sides[slugs[i]]
	path := "/" + slugs[i] + strings.TrimPrefix(url, n.parts.Root(slugs[i]))
	r := httptest.NewRequestWithContext(n.t.Context(), method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", string(caller))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	side.mux.ServeHTTP(w, r)
	a := dsp.ParseAnswer(w.Body.Bytes())
	return outbox.Answer{Status: w.Code, ConsumerPID: a.ConsumerPID, ProviderPID: a.ProviderPID, State: a.State, Code: a.Code, Reasons: a.Reasons}
}

// Hand gives the message to its receiver; the sender does not learn the answer yet.
func (n *Network) Hand(o commit.Owed, from *Side) outbox.Answer {
	n.t.Helper()
	return n.Call(from.Local.DID, http.MethodPost, o.URL, from.Body(o))
}

// Body is what the side sends: a message that holds a token is sealed at rest.
func (s *Side) Body(o commit.Owed) []byte {
	if !o.Sealed {
		return o.Body
	}
	body, err := s.vault.Open(s.Local, o.Body)
	if err != nil {
		s.net.t.Fatal(err)
	}
	return body
}

// Tell lets the sender learn the answer to its message, as the outbox does: a refusal is believed only after a look.
func (n *Network) Tell(o commit.Owed, from *Side, a outbox.Answer) {
	n.t.Helper()
	owner := from.Owner(o)
	var err error
	if a.OK() {
		err = owner.Delivered(n.t.Context(), o, a)
	} else {
		root := n.parts.Root(slugOf(o.Peer))
		if parts := strings.Split(strings.TrimPrefix(o.URL, root), "/"); len(parts) > 5 { // "", dsp, version, collection, pid, message
			url := root + strings.Join(parts[:5], "/")
			if seen := n.Call(from.Local.DID, http.MethodGet, url, nil); seen.OK() {
				seen.Code, seen.Reasons = a.Code, a.Reasons
				a = seen
			}
		}
		err = owner.Rejected(n.t.Context(), o, a)
	}
	if err != nil {
		n.t.Fatalf("outcome of %s: %v", o.Message, err)
	}
}

// Deliver hands the message over and tells the answer.
func (n *Network) Deliver(o commit.Owed, from *Side) outbox.Answer {
	n.t.Helper()
	if o.URL == "" {
		if err := from.Owner(o).Expired(n.t.Context(), o); err != nil {
			n.t.Fatal(err)
		}
		return outbox.Answer{}
	}
	a := n.Hand(o, from)
	n.Tell(o, from, a)
	return a
}

// Run delivers until nobody has anything to send, and returns the kinds of the messages in order.
func (n *Network) Run() []string {
	n.t.Helper()
	var kinds []string
	for moved := true; moved; {
		moved = false
		for _, slug := range slices.Sorted(maps.Keys(n.sides)) {
			side := n.sides[slug]
			o, ok := side.Next()
			if !ok {
				continue
			}
			moved = true
			if kinds = append(kinds, o.Message); len(kinds) > 1000 {
				n.t.Fatal("the companies do not stop talking")
			}
			n.Deliver(o, side)
		}
	}
	return kinds
}

// Restart forgets what the side had in hand to send, as a crash does: what is owed comes again from the store.
func (s *Side) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = nil
}

// Due takes what the side owes according to its store, once the time has come.
func (s *Side) Due() []commit.Owed {
	t := s.net.t
	t.Helper()
	s.net.Advance(time.Minute)
	owed, err := s.Store.Claim(t.Context(), s.net.Now(), time.Second, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return owed
}

// Settle delivers what the stores still owe until nobody owes anything.
func (n *Network) Settle() {
	n.t.Helper()
	for range 100 {
		quiet := true
		for _, slug := range slices.Sorted(maps.Keys(n.sides)) {
			side := n.sides[slug]
			side.Restart()
			for _, o := range side.Due() {
				quiet = false
				n.Deliver(o, side)
			}
		}
		if quiet {
			return
		}
	}
	n.t.Fatal("the companies never stop owing each other something")
}
