package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

const (
	// MaxGroups is how many groups a participant may have: all that a policy names are part of each decision.
	MaxGroups = 256
	// MaxMembers is how many members a group may have.
	MaxMembers = 10000
	maxName    = 128
)

// Group is a name for some of a participant's partners.
type Group struct {
	Participant participant.ID
	Name        string
	Members     []string // numbers and DIDs, in order, each once
	Version     int64    // compare and swap; set by the store
	Created     time.Time
	Updated     time.Time
}

// Holds reports whether the company is in the group: by the number that its credentials prove, "" for none, or by its DID.
func (g Group) Holds(did participant.DID, number string) bool {
	_, byDID := slices.BinarySearch(g.Members, string(did))
	_, byNumber := slices.BinarySearch(g.Members, number)
	return byDID || byNumber && number != ""
}

// Normal returns the group with its members in order, or what is wrong with it.
func (g Group) Normal() (Group, error) {
	const op = "directory.Group"
	switch {
	case g.Name == "" || len(g.Name) > maxName || strings.TrimSpace(g.Name) != g.Name || strings.ContainsFunc(g.Name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return g, fault.New(op, fault.Malformed, "group: want a name of 1 to %d bytes, without blanks around it", maxName)
	case len(g.Members) > MaxMembers:
		return g, fault.New(op, fault.Malformed, "group %s: %d members, at most %d", g.Name, len(g.Members), MaxMembers)
	}
	g.Members = slices.Clone(g.Members)
	for _, m := range g.Members {
		if _, _, err := identity.ParseDID(m); !ValidNumber(m) && err != nil {
			return g, fault.New(op, fault.Malformed, "group %s: member %.80q is neither the number of a legal entity nor a DID", g.Name, m)
		}
	}
	slices.Sort(g.Members)
	g.Members = slices.Compact(g.Members)
	return g, nil
}

// Memberships says of each group whether the company is in it. Which groups there are is part of the answer: a policy that names another one
// cannot be evaluated.
func Memberships(groups []Group, did participant.DID, number string) map[string]bool {
	if len(groups) == 0 {
		return nil
	}
	out := make(map[string]bool, len(groups))
	for _, g := range groups {
		out[g.Name] = g.Holds(did, number)
	}
	return out
}

// Store keeps groups, and the directory that a participant keeps for others.
type Store interface {
	// Groups lists all, by name.
	Groups(ctx context.Context, p participant.ID) ([]Group, error)
	// Group returns one; NotFound when there is none.
	Group(ctx context.Context, p participant.ID, name string) (Group, error)
	// PutGroup creates the group, for Version 0, or replaces the one of that version; Conflict when another one is there.
	PutGroup(ctx context.Context, g Group, e commit.Effects) error
	// DeleteGroup removes the one of the version; Conflict when another one, or none, is there.
	DeleteGroup(ctx context.Context, p participant.ID, name string, version int64, e commit.Effects) error

	// Numbers lists entries by number, from after the one of r.After.ID.
	Numbers(ctx context.Context, p participant.ID, r page.Request) (page.Of[Entry], error)
	// PutNumber creates or replaces an entry.
	PutNumber(ctx context.Context, p participant.ID, entry Entry, e commit.Effects) error
	// DeleteNumber removes an entry; NotFound when there is none.
	DeleteNumber(ctx context.Context, p participant.ID, number string, e commit.Effects) error
}
