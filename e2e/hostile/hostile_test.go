package hostile_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/commit"
)

// legal is what the specification lets the peer say in each state (sections 3.1 and 4.1), after the first message.
var legal = map[stage]string{
	sells("REQUESTED"): "termination", sells("OFFERED"): "request accepted termination", sells("ACCEPTED"): "termination",
	sells("AGREED"): "verification termination", sells("VERIFIED"): "termination", sells("FINALIZED"): "", sells("TERMINATED"): "",
	buys("REQUESTED"): "offer agreement termination", buys("OFFERED"): "termination", buys("ACCEPTED"): "agreement termination",
	buys("AGREED"): "termination", buys("VERIFIED"): "finalized termination", buys("FINALIZED"): "", buys("TERMINATED"): "",
	gives("REQUESTED"): "termination", gives("STARTED"): "completion suspension termination", gives("SUSPENDED"): "start termination",
	gives("COMPLETED"): "", gives("TERMINATED"): "",
	takes("REQUESTED"): "start termination", takes("STARTED"): "completion suspension termination", takes("SUSPENDED"): "start termination",
	takes("COMPLETED"): "", takes("TERMINATED"): "",
}

var said = map[commit.ProcessKind][]string{
	commit.Negotiation: {"request", "offer", "agreement", "accepted", "finalized", "verification", "termination"},
	commit.Transfer:    {"start", "completion", "suspension", "termination"},
}

// outOfOrder are all messages in all states where they are not legal.
func outOfOrder() []misbehaviour {
	var all []misbehaviour
	for s, may := range legal {
		for _, kind := range said[s.kind] {
			if !slices.Contains(strings.Fields(may), kind) {
				all = append(all, misbehaviour{name: fmt.Sprintf("a message %q comes out of order", kind), at: s, does: say(kind), want: "400"})
			}
		}
	}
	return all
}

// misshapen are all shapes at all doors.
func misshapen() []misbehaviour {
	var all []misbehaviour
	for _, door := range doors {
		for _, shape := range shapes {
			all = append(all, misbehaviour{name: fmt.Sprintf("a message %q comes %s", door.kind, shape.name), at: door.at, does: say(door.kind, shape.edit), want: shape.want})
		}
	}
	return all
}

func TestTheCatalogueLeavesNoStateOut(t *testing.T) {
	t.Parallel()
	if n := len(written) + len(shapes); n < 120 {
		t.Errorf("%d misbehaviours, want at least 120", n)
	}
	names, covered := map[string]bool{}, map[stage]bool{}
	for _, m := range written {
		if names[m.name] {
			t.Errorf("two are called %q", m.name)
		}
		names[m.name], covered[m.at] = true, true
	}
	for s := range legal {
		if !covered[s] {
			t.Errorf("nobody misbehaves here: %s", s)
		}
	}
	for _, s := range []stage{sells(""), buys(""), gives(""), takes("")} {
		if !covered[s] {
			t.Errorf("nobody misbehaves here: %s", s)
		}
	}
}

// TestMisbehaviourIsRefusedAndChangesNothing plays what comes in. The company of each role and protocol lives through all of it.
func TestMisbehaviourIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	for _, which := range []stage{sells(""), buys(""), gives(""), takes("")} {
		t.Run(fmt.Sprintf("%s %s", which.role, which.kind), func(t *testing.T) {
			t.Parallel()
			h := start(t)
			var before map[string][]string
			flows := map[stage]*flow{} // what is refused leaves a process where it is: each state is reached once
			for _, m := range slices.Concat(written, misshapen(), outOfOrder()) {
				if m.moves || m.at.role != which.role || m.at.kind != which.kind {
					continue
				}
				t.Run(m.at.state+" "+m.name, func(t *testing.T) {
					if flows[m.at] == nil {
						flows[m.at] = h.reach(t, m.at)
						before = rows(t, h.Store())
					}
					f := *flows[m.at]
					f.t = t
					asked := h.peer.asked.Load()
					if got := m.does(&f); got != m.want {
						t.Errorf("it came to %s, want %s", got, m.want)
					}
					after := rows(t, h.Store())
					if !maps.EqualFunc(before, after, slices.Equal[[]string]) {
						t.Errorf("it changed something (-before +after):\n%s", cmp.Diff(before, after))
					}
					before = after
					if n := h.peer.asked.Load() - asked; n != 0 {
						t.Errorf("it made us send %d messages", n)
					}
				})
			}
			if astray := h.astray(); len(astray) > 0 {
				t.Errorf("connections went to %v", astray)
			}
		})
	}
}

// TestWhatAPeerAnswersHarmsItsOwnProcessOnly plays what comes as an answer, or behind an address, each against a company of its own.
func TestWhatAPeerAnswersHarmsItsOwnProcessOnly(t *testing.T) {
	t.Parallel()
	for _, m := range written {
		if !m.moves {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			f := h.reach(t, m.at)
			moving := []string{"negotiations", "transfers", "owed", "events", "event_heads"}
			before := rows(t, h.Store(), moving...)
			if got := m.does(f); got != m.want {
				t.Errorf("it came to %q, want %q", got, m.want)
			}
			if diff := cmp.Diff(before, rows(t, h.Store(), moving...)); diff != "" {
				t.Errorf("it changed more than its process (-before +after):\n%s", diff)
			}
			if astray := h.astray(); len(astray) > 0 {
				t.Errorf("connections went to %v", astray)
			}
		})
	}
}

// maxTaken is what may be read of a body that is too large: the bound of a message, and what lies in the buffers of both ends.
const maxTaken = 16 << 20

// inner are words that only somebody inside has a use for.
var inner = []string{".go", "goroutine", "panic", "sql", "json:", "Go struct", "Go value", "dsphttp", "negotiation.Receive", "transfer.Receive", "ijson", "invalid character",
	"127.0.0.1", "dial ", "lookup ", "10.0.0.7", "incident", "/tmp"}

// judge sees to it that a refusal is one in the protocol's words and holds nothing else.
func (f *flow) judge(m message, a answer) {
	f.t.Helper()
	if b, ok := m.raw.(*blanks); ok && b.taken > maxTaken {
		f.t.Errorf("%d bytes were taken of a body without end", b.taken)
	}
	if len(a.body) > 4096 {
		f.t.Errorf("the refusal has %d bytes", len(a.body))
	}
	want := map[bool]string{true: "TransferError", false: "ContractNegotiationError"}[strings.HasPrefix(m.path, "/transfers")]
	var members map[string]any
	if err := json.Unmarshal([]byte(a.body), &members); err != nil || members["@type"] != want {
		f.t.Errorf("the refusal is %d %s, want a %s", a.status, a.body, want)
	}
	for name := range members {
		if !slices.Contains([]string{"@context", "@type", "consumerPid", "providerPid", "code", "reason"}, name) {
			f.t.Errorf("the refusal has a member %q", name)
		}
	}
	if reasons, _ := members["reason"].([]any); len(reasons) == 0 {
		f.t.Errorf("the refusal has no reason: %s", a.body)
	}
	for name := range a.header {
		if !slices.Contains([]string{"Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options", "Date", "Connection"}, name) {
			f.t.Errorf("the refusal has a header %s", name)
		}
	}
	for _, word := range append(inner, f.h.dir) {
		if strings.Contains(a.body, word) {
			f.t.Errorf("the refusal tells of %q: %s", word, a.body)
		}
	}
	if a.status == 404 && (members["consumerPid"] != nil || members["providerPid"] != nil || a.text("code") != "not.found") {
		f.t.Errorf("what is not there is told apart: %s", a.body)
	}
}
