// Package simulate plays negotiations and transfers between two or three companies under fire, by seeds: connections are cut at any byte,
// requests are repeated, overtaken and held in the middle, answers are lost, operators interfere, also in the middle of a step, and processes
// lose their power at any write and start again from what their disks kept. When the fire is over and everything owed was delivered, it judges
// what is left.
//
// What runs is the product: its services, outbox, client and server of the protocol over HTTP, and embedded store. What is ours is the clock
// (a bubble of synctest), the randomness, the network (connections in memory) and the disk; nothing is signed or encrypted. One scheduler owns
// the order of events, and every choice is drawn from the seed: it acts only when everybody rests, lets attempts begin one at a time, and
// nothing arrives unless it lets it. So the same seed gives the same trace.
//
// Markers count the dangerous states that were reached; a run that misses one proves too little, and fails.
//
// make simulate plays many seeds; go test plays a few.
package simulate
