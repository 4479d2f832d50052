// Package fault names the kinds of failure and the Error that carries them.
//
// An Error is made where the failure is understood and handled once, at the edge: wire/problem is
// the one place where it becomes a response. The peer sees code and reason, never the cause.
package fault
