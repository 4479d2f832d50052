package commit

import (
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Effects is everything that commits with one change of state. The zero value is legal.
type Effects struct {
	Decisions []decisionlog.Entry  // written unsequenced; the sequencer gives them their index
	Owed      *Owed                // the one message this process now owes; a process owes at most one
	Settled   string               // id of the owed message this change completes or withdraws, "" for none
	Agreement *agreement.Agreement // concluded by this change
	Events    []Event              // appended to the participant's sequence, in order
}

// ProcessKind tells which service owns a process.
type ProcessKind string

// The kinds of process.
const (
	Negotiation ProcessKind = "negotiation"
	Transfer    ProcessKind = "transfer"
)

// Owed is a message to a peer that is retried until delivered or refused. Body is encoded once and
// sent byte for byte each time; only the identity token is fresh.
type Owed struct {
	ID          string // random, urn:uuid
	Participant participant.ID
	Process     ProcessKind
	ProcessID   string
	Peer        participant.DID
	Message     string // kind of message, for people and metrics: "ContractAgreementMessage"
	URL         string // full address
	Body        []byte
	Attempt     int       // attempts made so far
	Due         time.Time // when the next attempt is due; a claim moves it, so that it is the lease too
	Created     time.Time
	LastError   string // operator's view of the last failure
	Trace       string // W3C traceparent of the cause
}

// Event tells that something of a participant changed. The store numbers the events of one participant
// 1, 2, 3, … without gaps in commit order.
type Event struct {
	Seq     int64  // set by the store
	Type    string // "negotiation.agreed", "transfer.started", "asset.created", …
	Subject string // id of the thing
	Time    time.Time
	Data    map[string]string // small facts: state, peer, agreement
	Actor   string            // who caused it: operator label, peer DID, or "" for ourselves
	Trace   string
}
