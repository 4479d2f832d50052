package rpc

import (
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"

	"github.com/sluice-connector/sluice/connector/participant"
)

// AccessTable prints the access table for the golden file.
func AccessTable() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-55s %-8s %-8s %-8s %-8s %-8s %s\n", "method", "scope", "operator", "reader", "auditor", "agent", "changes")
	scopes := map[scope]string{hosted: "hosted", process: "process", either: "either", visible: "visible"}
	for _, r := range rules {
		mark := func(role string) string {
			if slices.Contains(r.roles, role) {
				return "yes"
			}
			return "-"
		}
		fmt.Fprintf(&b, "%-55s %-8s %-8s %-8s %-8s %-8s %v\n", r.method, scopes[r.scope], mark(Operator), mark(Reader), mark(Auditor), mark(Agent), r.change)
	}
	return b.String()
}

// Methods lists the methods that have a row.
func Methods() []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.method)
	}
	return out
}

// LookEvery makes the tokens of streams be looked at that often.
func (s *Server) LookEvery(d time.Duration) { s.gate.every = d }

// OpenToken tries a page token as the list of assets does.
func (s *Server) OpenToken(local participant.Participant, token string) error {
	_, err := s.pager.open(caller{id: "h", local: local}, &pb.ListAssetsRequest{Participant: "aurora"}, token)
	return err
}

// Changes lists the methods that change something.
func Changes() []string {
	var out []string
	for _, r := range rules {
		if r.change {
			out = append(out, r.method)
		}
	}
	return out
}
