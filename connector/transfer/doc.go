// Package transfer runs transfer processes of the Dataspace Protocol 2025-1 (section 4), both roles.
//
// It mirrors package negotiation: a table of transitions, a decision where something starts, one commit.
package transfer
