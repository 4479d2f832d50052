// Package exchange is the consumer's errand from end to end: discover a peer's catalog, negotiate if there is no agreement
// yet, transfer, fetch. It is what `sluice pull` asks for.
//
// It waits for events, never on a timer, and it adds no state of its own: each step is a process that the services keep. A
// caller that goes away loses nothing but its transfer, which is terminated; the next call finds the agreement and goes on from there.
package exchange
