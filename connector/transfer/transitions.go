package transfer

import "github.com/sluice-connector/sluice/connector/fault"

// transitions is the whole machine (DSP 2025-1, section 4.1). What is not listed is refused.
var transitions = []struct {
	from State
	on   Kind
	by   Role
	to   State
}{
	{Initial, Request, Consumer, Requested},
	{Initial, Termination, Consumer, Terminated},
	{Initial, Termination, Provider, Terminated},
	{Requested, Start, Provider, Started},
	{Requested, Termination, Consumer, Terminated},
	{Requested, Termination, Provider, Terminated},
	{Started, Completion, Consumer, Completed},
	{Started, Completion, Provider, Completed},
	{Started, Suspension, Consumer, Suspended},
	{Started, Suspension, Provider, Suspended},
	{Started, Termination, Consumer, Terminated},
	{Started, Termination, Provider, Terminated},
	{Suspended, Start, Consumer, Started},
	{Suspended, Start, Provider, Started},
	{Suspended, Termination, Consumer, Terminated},
	{Suspended, Termination, Provider, Terminated},
}

// Next returns the state after the message, or a Conflict when the machine has no such transition.
func Next(from State, on Kind, by Role) (State, error) {
	for _, t := range transitions {
		if t.from == from && t.on == on && t.by == by {
			return t.to, nil
		}
	}
	return from, fault.New("transfer.Next", fault.Conflict, "a %s from the %s is not legal in state %s", on, by, from)
}
