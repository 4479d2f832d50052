package decisionlog

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Version is the record format that this package writes, and the only one it reads.
const Version = 1

// The kinds of record. Changes of policy, keys and configuration are records too.
const (
	KindDecision  = "decision"
	KindOpen      = "serve.open"
	KindChunk     = "serve.chunk"
	KindClose     = "serve.close"
	KindOperator  = "operator.action"
	KindBundle    = "bundle.activate"
	KindRecovered = "rollback.recover"
)

var kinds = map[string]bool{KindDecision: true, KindOpen: true, KindChunk: true, KindClose: true, KindOperator: true,
	KindBundle: true, KindRecovered: true, "bundle.revoke": true, "key.rotate": true, "witness.policy": true,
	"erase": true, "shard.open": true, "shard.close": true}

// Record is one entry of the log, format version 1. Fields marked C hold salted commitments, fields marked D digests;
// the rest is plain. It never holds tokens, keys or business values.
type Record struct {
	Action      *Performed   `json:"action,omitempty"`    // operator.action only
	Agreement   string       `json:"agreement,omitempty"` // C
	Asset       string       `json:"asset,omitempty"`     // C
	Bundle      string       `json:"bundle,omitempty"`    // D
	Caps        string       `json:"caps,omitempty"`      // D
	Credentials []Credential `json:"credentials,omitempty"`
	Data        string       `json:"data,omitempty"`   // D
	Effect      string       `json:"effect,omitempty"` // "allow" or "deny"
	Erasure     string       `json:"ek"`               // erasure key domain of the commitments
	Engine      *Engine      `json:"engine,omitempty"`
	Error       string       `json:"error,omitempty"`        // class of the error behind a deny
	ID          string       `json:"id"`                     // 32 hex digits
	Input       string       `json:"input,omitempty"`        // Merkle root over the committed fields of the input
	InputSchema string       `json:"input_schema,omitempty"` // D
	Kind        string       `json:"kind"`
	Limits      *Limits      `json:"limits,omitempty"`
	Message     string       `json:"msg,omitempty"` // D, of the bytes received
	Obligations []string     `json:"obligations,omitempty"`
	Offer       string       `json:"offer,omitempty"` // C
	Door        string       `json:"pep,omitempty"`
	Policies    []string     `json:"policies,omitempty"`          // D, of the ODRL policies in force
	Previous    string       `json:"prev_same_process,omitempty"` // id of the previous record of the same process
	Process     string       `json:"process,omitempty"`           // C
	Query       string       `json:"query,omitempty"`
	Reasons     []Reason     `json:"reasons,omitempty"`
	Recovered   *Recovered   `json:"recovered,omitempty"` // rollback.recover only
	Result      string       `json:"result,omitempty"`    // D
	Clock       Clock        `json:"seq_clock"`
	Serve       *Serve       `json:"serve,omitempty"`   // serve.* only
	Shard       string       `json:"shard"`             // retention class
	Subject     string       `json:"subject,omitempty"` // C
	Supersedes  string       `json:"supersedes,omitempty"`
	Time        string       `json:"time"`            // UTC, milliseconds since 1970, decimal
	Trace       string       `json:"trace,omitempty"` // D
	V           int          `json:"v"`
}

// Clock shows steps of the wall clock: a counter of one instance since one boot.
type Clock struct {
	Boot     string `json:"boot"`
	Instance string `json:"instance"`
	N        string `json:"n"` // decimal
}

// Reason is a policy.Reason without its parameters: codes and places, no values.
type Reason struct {
	Clause  string `json:"clause"`
	Code    string `json:"code"`
	Outcome string `json:"outcome"`
	Rule    string `json:"rule"`
}

// Engine is what evaluated.
type Engine struct {
	Go     string `json:"go"`
	Module string `json:"module"`
	Strict bool   `json:"strict"`
	Target string `json:"target"`
}

// Credential is one credential that was relied on.
type Credential struct {
	Digest   string `json:"digest"` // D, of the presented bytes
	ID       string `json:"id"`     // C
	NotAfter string `json:"not_after"`
	Type     string `json:"type"`
}

// Performed is what an operator, or the connector itself, did.
type Performed struct {
	Actor   string `json:"actor"` // C
	Code    string `json:"code"`
	Details string `json:"details,omitempty"` // C
	Subject string `json:"subject"`           // C
}

// Serve accounts for bytes of the data plane.
type Serve struct {
	Decision string `json:"decision"` // id of the decision record that allows it
	Digest   string `json:"digest,omitempty"`
	Granted  string `json:"granted"` // bytes this flow may have sent by now, decimal
	Sent     string `json:"sent"`    // bytes sent so far, decimal
	Whole    bool   `json:"whole,omitempty"`
}

// Recovered says that the log goes on from a backup: what the checkpoint store remembered, and where the log goes on. A checkpoint of more
// than From records that was signed before cannot be proven from this log; the newest of them is the one named here.
type Recovered struct {
	From     string `json:"from"`           // records that came back, decimal
	Restored string `json:"restored"`       // when the restore was declared, milliseconds since 1970, decimal
	Root     string `json:"root,omitempty"` // of the newest checkpoint before, hex; absent when it was lost too
	Size     string `json:"size,omitempty"` // of it, decimal
}

// Limits is what the data plane may do on the strength of a decision.
type Limits struct {
	NotAfter string `json:"not_after,omitempty"` // milliseconds since 1970, decimal
}

// limits of a record as a JSON text.
var recordLimits = ijson.Limits{MaxBytes: MaxEntry, Depth: 6, Members: 64, Items: 512, String: 4096}

// Encode returns the canonical bytes (RFC 8785): the bytes that are hashed, stored and served.
func (r Record) Encode() ([]byte, error) {
	b, err := ijson.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", r.ID, err)
	}
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("record %s has %d bytes, at most %d fit an entry", r.ID, len(b), MaxEntry)
	}
	return b, nil
}

// ParseRecord reads the bytes of an entry. It refuses unknown versions, kinds and members, and bytes that are not canonical.
func ParseRecord(b []byte) (Record, error) {
	var r Record
	if err := ijson.UnmarshalStrict(b, recordLimits, &r); err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	if r.V != Version {
		return Record{}, fmt.Errorf("record: version %d is not known here, want %d", r.V, Version)
	}
	if !kinds[r.Kind] {
		return Record{}, fmt.Errorf("record: kind %q is not known", r.Kind)
	}
	if !isHex(r.ID, 32) {
		return Record{}, fmt.Errorf("record: id %q is not 32 hexadecimal digits", r.ID)
	}
	if _, err := millis(r.Time); err != nil {
		return Record{}, fmt.Errorf("record %s: time: %w", r.ID, err)
	}
	if r.Kind == KindDecision && r.Effect != "allow" && r.Effect != "deny" {
		return Record{}, fmt.Errorf("record %s: effect %q is neither allow nor deny", r.ID, r.Effect)
	}
	again, err := ijson.Marshal(r)
	if err != nil {
		return Record{}, err
	}
	if string(again) != string(b) {
		return Record{}, fmt.Errorf("record %s: the bytes are not canonical", r.ID)
	}
	return r, nil
}

// When returns the wall clock of the decision point.
func (r Record) When() time.Time {
	t, _ := millis(r.Time)
	return t
}

func stamp(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func millis(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s {
		return time.Time{}, fmt.Errorf("%q is not a decimal number of milliseconds", s)
	}
	return time.UnixMilli(n).UTC(), nil
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range s {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}
