// Package directory knows companies by number: the directory of business partner numbers and DIDs of an ecosystem, as its reader and as one who
// keeps it, and the groups in which a participant puts its partners together.
//
// A [Reader] gets the whole directory with the participant's own proof of membership, keeps it for a quarter of an hour, and answers both ways.
// What it cannot have anew it answers from the last good copy, for a day at most. A directory finds addresses and proves nothing: what a peer may do
// hangs on the number that its credentials prove, never on what stands here. A number that stands for two DIDs, and a DID that two numbers lead to, is
// no answer the way that is ambiguous.
//
// What a participant keeps as a directory for others, and its groups, are plain rows that operators write; policies ask for groups by name (policy.Party).
package directory
