// Package outbox delivers the messages owed to peers: at once after the commit that owes them, then
// with backoff until delivered or refused, across restarts.
//
// A process owes at most one message, so order per process needs no queue. Nothing polls: the first
// attempt is handed over by the service that committed the message, later ones wait on one timer set
// to the earliest due time.
package outbox
