// Package policy holds the values that a policy decision is made of: the [Question] that an
// enforcement point asks, the [Decision] that answers it, and the [Reason] for each constraint.
//
// It evaluates nothing: policy/engine does, policy/odrl reads the policies, policy/decisionlog keeps
// the evidence. The same Question document is asked at every [Door].
package policy
