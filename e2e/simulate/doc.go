// Command simulate plays negotiations and transfers between two or three companies under fire, by seeds: requests are cut, repeated and
// overtaken, answers are lost, operators interfere, also in the middle of a step, and processes lose their power at any write and start again
// from what their disks kept. When the fire is over and everything owed was delivered, it judges what is left.
//
// One scheduler owns the order of events, and every choice is drawn from the seed: the same seed gives the same trace. The companies are
// those of package pair over the embedded store; the outbox is played by the scheduler by the same rules: one attempt of a process at a
// time, retries when they are due, a look before a refusal is believed.
//
// Markers count the dangerous states that were reached; a run that misses one proves too little, and fails.
package main
