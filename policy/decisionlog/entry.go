package decisionlog

import "time"

// Entry is a record ready to be committed with its effect: the exact bytes that are hashed, stored
// and served, and what is needed to re-evaluate it.
type Entry struct {
	ID      string // record id, 32 lower-case hex digits: unique in the database
	Kind    string // "decision", "serve.open", "operator.action", …
	Process string // id of the negotiation or transfer it belongs to, "" for none
	Time    time.Time
	Bytes   []byte   // canonical JSON (RFC 8785), at most MaxEntry bytes
	Archive []Object // content-addressed objects the entry names and an auditor may be given
}

// Object is a content-addressed object kept beside the log for as long as the records that name it.
type Object struct {
	Digest string // SHA-256, hex, of Bytes under the domain Type; of an input: the root that its record holds
	Type   string // "input", "result", "bundle", "bundle-file", "capabilities", "input-schema", "trust"
	Bytes  []byte
}

// MaxEntry is the hard limit of an entry in bytes (target 4 KiB).
const MaxEntry = 16 << 10
