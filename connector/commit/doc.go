// Package commit holds what is committed together with a change of state: the decision records that
// allowed it, the message now owed to the peer, and the events that tell of it.
//
// One transaction or none (design rule R3): the stores promise it, the services rely on it.
package commit
