package wallet

import "github.com/sluice-connector/sluice/connector/fault"

// State of a request (DCP 1.0; section 4.3 of our reference).
type State string

// The states.
const (
	Created    State = "CREATED"    // wanted; the issuer's metadata is still to be read
	Requesting State = "REQUESTING" // the message is owed
	Requested  State = "REQUESTED"  // the issuer has it
	Issued     State = "ISSUED"     // everything wanted is held; the issuer may deliver again
	Rejected   State = "REJECTED"   // the issuer said no
	Failed     State = "ERROR"      // given up
)

// States lists them.
func States() []State { return []State{Created, Requesting, Requested, Issued, Rejected, Failed} }

// Over reports whether nothing is waited for.
func (s State) Over() bool { return s == Issued || s == Rejected || s == Failed }

// Step is what moves a request on.
type Step string

// The steps.
const (
	StepSend    Step = "send"    // the message is owed
	StepAccept  Step = "accept"  // the issuer took the message
	StepPart    Step = "part"    // it delivered something of what is wanted
	StepDeliver Step = "deliver" // it delivered what was still wanted
	StepReject  Step = "reject"  // it rejected the request
	StepFail    Step = "fail"    // it could not be reached, refused the message or forgot the request
)

// Steps lists them.
func Steps() []Step {
	return []Step{StepSend, StepAccept, StepPart, StepDeliver, StepReject, StepFail}
}

// transitions is the whole machine; what is not listed is refused. A delivery, or a rejection, proves that the message arrived, whatever became of
// the answer to it.
var transitions = []struct {
	from State
	on   Step
	to   State
}{
	{Created, StepSend, Requesting},
	{Created, StepFail, Failed},
	{Requesting, StepAccept, Requested},
	{Requesting, StepPart, Requested},
	{Requesting, StepDeliver, Issued},
	{Requesting, StepReject, Rejected},
	{Requesting, StepFail, Failed},
	{Requested, StepPart, Requested},
	{Requested, StepDeliver, Issued},
	{Requested, StepReject, Rejected},
	{Requested, StepFail, Failed},
	{Issued, StepDeliver, Issued},
}

// Next returns the state after the step, or a Conflict when the machine has no such transition.
func Next(from State, on Step) (State, error) {
	for _, t := range transitions {
		if t.from == from && t.on == on {
			return t.to, nil
		}
	}
	return from, &fault.Error{Op: "wallet.Next", Kind: fault.Conflict, Code: "transition.illegal", Reason: "a request in state " + string(from) + " takes no " + string(on)}
}
