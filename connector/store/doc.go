// Package store puts all Store ports together. Two backends keep the same contract: store/embedded
// (SQLite) and store/postgres; storetest is that contract.
//
// Every record is scoped by the hosted participant. The ports that cannot take one are listed here, with the reason:
// outbox due work (due is due), Replay (issuer and jti are global), Participants themselves, API tokens by hash
// (the hash is what the caller has), migrations, and which master keys wrapped what is kept (the master key is the process's). Keys are found by
// slug, because they are there before their participant has a surrogate.
package store
