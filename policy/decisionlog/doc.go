// Package decisionlog keeps decisions as an append-only Merkle log (RFC 6962) that an auditor can
// check offline: canonical records, salted commitments to the input, a tree, signed checkpoints
// (C2SP tlog-checkpoint) and exports in tiles (C2SP tlog-tiles).
//
// It does no I/O of its own towards a database: the store commits an [Entry] in the transaction of
// its effect and hands committed entries to the [Sequencer], in the order of their commits.
//
// What a log signed last is remembered apart from the database, as its [Mark]. The mark is made before
// the log (Begin) and compared at each start (Open). A log that is behind its mark, beside it, or
// without it is refused: [ErrRolledBack], [ErrUnmarked]. The one way on is a declared [Restore]: the log
// writes one record of kind rollback.recover behind what came back, which names the mark there was,
// moves the mark to itself and goes on. To a verifier the checkpoints before and after such a record
// are consistent only up to the size that came back; the record says so.
//
// What a record was decided by is archived with it, under the digests that it holds: the input under
// the root in the record, the result, and with each bundle.activate the modules, the capabilities and
// the schema. The root commits to the input and hides it; the archive never leaves the database.
//
// The verifier (Verify, Records) shares neither tree nor canonical form with the writer.
package decisionlog
