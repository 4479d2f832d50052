// Package keyring keeps the keys of hosted participants in the store: wrapped, rotated without a gap, revoked at once.
//
// A key is wrapped by the data key of its participant, a data key by the one master key, which is in no database and no backup: it comes from a
// file, from the environment, or stays in a key service behind [Master]. What is wrapped is bound to participant, use and key id, so that rows
// cannot change places.
//
//	created ──> active ──> rotated ──> retired
//	   └───────────┴───────────┴─────> revoked
//
// A rotation makes a key and publishes it in the DID document; only when those who keep documents have had the time to see it does it begin to
// sign (publish, then activate). The key before it signs no more, its private half is destroyed, and it stays published until the last of what it
// signed has expired. A revoked key is gone from the document at once, and a new one signs at once in its place. Every step is a record of
// the decision log and an event, in the same commit; the next step of each key is a deadline in the store, so that a process that died in between
// goes on where it was.
//
// Secrets, which seal or make tokens that only we read, are rotated likewise, without being published: what they sealed is opened by the old one
// until that is retired or revoked. The key and the secret of the decision log are not rotated (docs/adr/0008-keys.md says why).
package keyring
