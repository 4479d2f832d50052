package negotiation

import (
	"github.com/sluice-connector/sluice/connector/fault"
)

// transitions is the whole machine (DSP 2025-1, section 3.1; termination from either side in every state that is not final). What is not
// listed is refused.
var transitions = []struct {
	from State
	on   Kind
	by   Role
	to   State
}{
	{Initial, Request, Consumer, Requested},
	{Initial, OfferMessage, Provider, Offered},
	{Initial, Termination, Consumer, Terminated},
	{Initial, Termination, Provider, Terminated},
	{Requested, OfferMessage, Provider, Offered},
	{Requested, Agreement, Provider, Agreed},
	{Requested, Termination, Consumer, Terminated},
	{Requested, Termination, Provider, Terminated},
	{Offered, Request, Consumer, Requested},
	{Offered, Acceptance, Consumer, Accepted},
	{Offered, Termination, Consumer, Terminated},
	{Offered, Termination, Provider, Terminated},
	{Accepted, Agreement, Provider, Agreed},
	{Accepted, Termination, Consumer, Terminated},
	{Accepted, Termination, Provider, Terminated},
	{Agreed, Verification, Consumer, Verified},
	{Agreed, Termination, Consumer, Terminated},
	{Agreed, Termination, Provider, Terminated},
	{Verified, Finalization, Provider, Finalized},
	{Verified, Termination, Consumer, Terminated},
	{Verified, Termination, Provider, Terminated},
}

// Next returns the state after the message, or a Conflict when the machine has no such transition.
func Next(from State, on Kind, by Role) (State, error) {
	for _, t := range transitions {
		if t.from == from && t.on == on && t.by == by {
			return t.to, nil
		}
	}
	return from, fault.New("negotiation.Next", fault.Conflict, "a %s from the %s is not legal in state %s", on, by, from)
}
