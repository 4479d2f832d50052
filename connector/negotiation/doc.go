// Package negotiation runs contract negotiations of the Dataspace Protocol 2025-1 (section 3), both roles.
//
// One message in: the transition table says what follows, the policy engine is asked, and the store commits
// the new state, the decision record and the message now owed in one transaction. Nobody sends from inside.
package negotiation
