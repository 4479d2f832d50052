// Package decisionlog keeps decisions as an append-only Merkle log (RFC 6962) that an auditor can
// check offline: canonical records, salted commitments to the input, a tree, signed checkpoints
// (C2SP tlog-checkpoint) and exports in tiles (C2SP tlog-tiles).
//
// It does no I/O of its own towards a database: the store commits an [Entry] in the transaction of
// its effect and hands committed entries to the sequencer.
package decisionlog
