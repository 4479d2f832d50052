package transfer_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/e2e/pair"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
)

const (
	membership = "MembershipCredential"
	revoked    = "credential.status.revoked"
	suspended  = "credential.status.suspended"
	untrusted  = "credential.untrusted"
)

// lose makes the supplier see that a credential of the customer is lost.
func (s *pairStory) lose(kind, code string) {
	s.t.Helper()
	s.cobalt.Standing.Lose(kind, code)
	if err := s.cobalt.Transfers.Reconsider(s.t.Context(), s.cobalt.Local, s.boreal.Local.DID); err != nil {
		s.t.Fatal(err)
	}
}

// pairStory is a supplier and a customer with a started transfer.
type pairStory struct {
	*pair.Network
	t              *testing.T
	cobalt, boreal *pair.Side
	mine           string // the customer's id of it
	ours           string // the supplier's
}

func running(t *testing.T, usage odrl.Policy) *pairStory {
	t.Helper()
	n := pair.New(t, "cobalt", "boreal")
	s := &pairStory{Network: n, t: t, cobalt: n.Side("cobalt"), boreal: n.Side("boreal")}
	s.boreal.Begin(s.cobalt, pair.Ask(s.cobalt.Publish(pair.Members(), usage)))
	n.Run()
	s.mine = s.begin()
	n.Run()
	s.ours = s.boreal.Transfer(s.mine).PeerPID
	return s
}

func (s *pairStory) begin() string {
	s.t.Helper()
	t, err := s.boreal.Transfers.Begin(s.t.Context(), s.boreal.Local, transfer.BeginRequest{Agreement: s.boreal.Agreements()[0].ID, Format: transfer.Pull, Actor: "operator"})
	if err != nil {
		s.t.Fatal(err)
	}
	return t.ID
}

// decided lists what the supplier's records of the transfer say at the door: effect and reasons.
func (s *pairStory) decided(door policy.Door) (out []string) {
	s.t.Helper()
	for _, r := range s.cobalt.Records(s.ours) {
		if r.Door == string(door) {
			for _, reason := range r.Reasons {
				out = append(out, r.Effect+" "+reason.Code)
			}
		}
	}
	return out
}

func TestALossEndsWhatThePolicyAllowsNoLonger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code string
		want transfer.State
	}{{revoked, transfer.Terminated}, {suspended, transfer.Suspended}, {untrusted, transfer.Terminated}} {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			s := running(t, pair.Footprints())
			if !s.cobalt.Standing.Relied(s.ours) {
				t.Error("the transfer does not depend on what its peer has proven")
			}
			s.lose(membership, tt.code)
			if got := s.cobalt.Transfer(s.ours); got.State != tt.want || got.Grant.Hash != "" || s.cobalt.Flows.Stopped(s.ours) == 0 {
				t.Errorf("before the peer is told it is %s with token %q", got.State, got.Grant.Hash)
			}
			s.Run()
			for name, got := range map[string]transfer.Transfer{"supplier": s.cobalt.Transfer(s.ours), "customer": s.boreal.Transfer(s.mine)} {
				if got.State != tt.want || got.Code != tt.code || len(got.Reasons) == 0 {
					t.Errorf("%s: %s with %q, %q; want %s with %s", name, got.State, got.Code, got.Reasons, tt.want, tt.code)
				}
			}
			if got := s.decided(policy.DoorIdentity); !slices.Contains(got, "deny "+tt.code) {
				t.Errorf("the loss is not on record: %q", got)
			}
			if got := s.decided(policy.DoorReeval); !slices.Contains(got, "deny membership.missing") {
				t.Errorf("the decision is not on record: %q", got)
			}
			if s.cobalt.Standing.Relied(s.ours) {
				t.Error("what can flow no more depends on something still")
			}
		})
	}
}

func TestWhatThePolicyAllowsWithoutTheLostCredentialGoesOn(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Policy("use", pair.Term("Membership", "eq", "active")))
	before := s.cobalt.Transfer(s.ours)
	s.lose("DataExchangeGovernanceCredential", revoked)
	s.Run()
	got := s.cobalt.Transfer(s.ours)
	allowed := slices.Contains(s.decided(policy.DoorReeval), "allow membership.active")
	if !allowed || got.State != transfer.Started || got.Grant != before.Grant || len(got.Claims.Credentials) != 1 {
		t.Errorf("%s, decided %q, claims %+v", got.State, s.decided(policy.DoorReeval), got.Claims)
	}
}

func TestALossThatConcernsNothingHereChangesNothing(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Footprints())
	before, records := s.cobalt.Transfer(s.ours), len(s.cobalt.AllRecords())
	s.lose("DismantlerCredential", revoked)
	if got := s.cobalt.Transfer(s.ours); got.Version != before.Version || len(s.cobalt.AllRecords()) != records {
		t.Errorf("version %d after %d", got.Version, before.Version)
	}
}

func TestWhoeverIsReinstatedMayGoOn(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Footprints())
	s.lose(membership, suspended)
	s.Run()
	s.cobalt.Standing.Give(membership)
	if _, err := s.boreal.Transfers.Resume(t.Context(), s.boreal.Local, s.mine, commit.Order{Actor: "operator"}); err != nil {
		t.Fatal(err)
	}
	s.Run()
	if got := s.boreal.Transfer(s.mine); got.State != transfer.Started || got.Code != "" {
		t.Errorf("%s with %q", got.State, got.Code)
	}
	if !s.cobalt.Standing.Relied(s.ours) {
		t.Error("it depends on nothing")
	}
}

func TestAStartThatALossOvertakesIsTakenBack(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Footprints())
	// The second transfer finds that its peer's credentials stand, and is not there yet when they are lost.
	s.cobalt.Standing.After(func() {
		s.cobalt.Standing.Lose(membership, revoked)
		if err := s.cobalt.Transfers.Reconsider(t.Context(), s.cobalt.Local, s.boreal.Local.DID); err != nil {
			t.Error(err)
		}
	})
	second := s.begin()
	s.Run()
	mine := s.boreal.Transfer(second)
	if mine.State != transfer.Terminated || s.cobalt.Transfer(mine.PeerPID).Grant.Hash != "" {
		t.Errorf("it is %s at the customer's, and its token opens: %v", mine.State, s.cobalt.Transfer(mine.PeerPID).Grant.Hash != "")
	}
}

func TestARequestWhoseCopyWasFasterLeavesNothingToWatch(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Footprints())
	s.begin()
	owed := s.boreal.Take("TransferRequestMessage")
	s.cobalt.Standing.After(func() { s.Hand(owed, s.boreal) })
	if a := s.Hand(owed, s.boreal); a.State != string(transfer.Requested) {
		t.Errorf("it is answered %+v", a)
	}
	if n := s.cobalt.Standing.Relying(); n != 2 {
		t.Errorf("%d transfers depend on what was proven, want the two that there are", n)
	}
}

func TestWhatCannotBeConfirmedIsJudgedAgainLater(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Footprints())
	s.cobalt.Standing.Lose(membership, revoked)
	away := fault.New("test", fault.Unavailable, "the list cannot be had")
	s.cobalt.Standing.Away(away)
	if err := s.cobalt.Transfers.Reconsider(t.Context(), s.cobalt.Local, s.boreal.Local.DID); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	if got := s.cobalt.Transfer(s.ours); got.State != transfer.Started {
		t.Errorf("%s on no ground", got.State)
	}
	s.cobalt.Standing.Away(nil)
	s.lose(membership, revoked)
	if got := s.cobalt.Transfer(s.ours); got.State != transfer.Terminated {
		t.Errorf("%s", got.State)
	}
}

func TestAfterARestartOpenTransfersDependOnWhatWasProven(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Footprints())
	s.cobalt.Standing.Leave(s.ours) // a new process knows of nothing
	if _, lost, err := s.cobalt.Transfers.Sweep(t.Context(), s.cobalt.Local); err != nil || len(lost) != 0 {
		t.Fatalf("lost %q, %v", lost, err)
	}
	if !s.cobalt.Standing.Relied(s.ours) {
		t.Error("a transfer that runs depends on nothing")
	}
}

func TestASweepNamesEachPeerOnceWhoseProofDoesNotStand(t *testing.T) {
	t.Parallel()
	s := running(t, pair.Footprints())
	s.begin()
	s.Run()
	s.cobalt.Standing.Lose(membership, untrusted)
	_, lost, err := s.cobalt.Transfers.Sweep(t.Context(), s.cobalt.Local)
	if err != nil || !slices.Equal(lost, []participant.DID{s.boreal.Local.DID}) {
		t.Errorf("lost %q, %v", lost, err)
	}
	if got := s.cobalt.Transfer(s.ours); got.State != transfer.Started {
		t.Errorf("the sweep itself made it %s", got.State)
	}
}

func TestALossWhileTheStartIsOnItsWayLeavesBothSidesInOneState(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		arrives bool
		want    transfer.State
	}{"it has arrived and nobody here knows": {true, transfer.Suspended}, "it never leaves": {false, transfer.Terminated}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := running(t, pair.Footprints())
			second := s.begin()
			s.Deliver(s.boreal.Take("TransferRequestMessage"), s.boreal)
			start := s.cobalt.Take("TransferStartMessage")
			if tt.arrives {
				s.Hand(start, s.cobalt)
			}
			s.lose(membership, suspended)
			s.Run()
			mine := s.boreal.Transfer(second)
			ours := s.cobalt.Transfer(mine.PeerPID)
			if mine.State != tt.want || ours.State != tt.want || ours.Grant.Hash != "" || ours.Pending.Kind != "" {
				t.Errorf("the customer's side is %s, the supplier's %s with token %q; want %s", mine.State, ours.State, ours.Grant.Hash, tt.want)
			}
		})
	}
}
