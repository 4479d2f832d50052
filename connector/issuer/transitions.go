package issuer

import "github.com/sluice-connector/sluice/connector/fault"

// Step is what moves a request on.
type Step string

// The steps.
const (
	StepApprove Step = "approve" // by an operator
	StepRefuse  Step = "refuse"  // by an operator
	StepExpire  Step = "expire"  // nobody decided in time
	StepDeliver Step = "deliver" // the holder took it
	StepFail    Step = "fail"    // the holder refused it for good, or could not be reached in time
)

// Steps lists them.
func Steps() []Step { return []Step{StepApprove, StepRefuse, StepExpire, StepDeliver, StepFail} }

// transitions is the whole machine; what is not listed is refused. A request begins as SUBMITTED when an operator must approve it, as APPROVED
// when the rules are enough, and as REJECTED when they are not.
var transitions = []struct {
	from State
	on   Step
	to   State
}{
	{Submitted, StepApprove, Approved},
	{Submitted, StepRefuse, Rejected},
	{Submitted, StepExpire, Rejected},
	{Approved, StepDeliver, Delivered},
	{Approved, StepFail, Errored},
}

// Next returns the state after the step, or a Conflict when the machine has no such transition.
func Next(from State, on Step) (State, error) {
	for _, t := range transitions {
		if t.from == from && t.on == on {
			return t.to, nil
		}
	}
	return from, &fault.Error{Op: "issuer.Next", Kind: fault.Conflict, Code: "transition.illegal", Reason: "a request in state " + string(from) + " takes no " + string(on)}
}

// standings is what may become of a credential that was issued. Revocation is the end (DCP 1.0, section 5.4 of our reference); what is
// asked for a second time is no change and no fault.
var standings = []struct {
	from, to Standing
}{
	{Good, Suspended},
	{Good, Revoked},
	{Suspended, Good},
	{Suspended, Revoked},
}

// Change reports whether the standing changes; a Conflict when it must not.
func Change(from, to Standing) (bool, error) {
	if from == to {
		return false, nil
	}
	for _, t := range standings {
		if t.from == from && t.to == to {
			return true, nil
		}
	}
	return false, &fault.Error{Op: "issuer.Change", Kind: fault.Conflict, Code: "credential.revoked", Reason: "the credential is revoked, which cannot be taken back"}
}
