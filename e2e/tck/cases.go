package tck

import (
	"strings"

	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// Peer is the participant that the kit is.
const Peer = "TCK_PARTICIPANT"

// Deed is what an operator does in a state, once.
type Deed struct {
	State string
	Do    Action
}

// Action is an operator's.
type Action string

// The actions.
const (
	Offer     Action = "offer"     // a provider proposes its offer
	Counter   Action = "counter"   // a consumer proposes other terms
	Approve   Action = "approve"   // what waits goes out: agreement, acceptance, verification, finalization, start
	Terminate Action = "terminate" // with a reason
	Suspend   Action = "suspend"
	Resume    Action = "resume"
	Complete  Action = "complete"
)

// Case is one of the kit's. Steps is its flow as the counter-party lives it: ">x" it sends x, ">x!" it sends x and wants an error, "<x" it
// must be sent x, "?S" a GET must show S. What begins the process is left out: the kit's request, or ours after a trigger.
type Case struct {
	ID    string
	Deeds []Deed
	Steps string
}

// Key is the dataset (negotiations) or agreement (transfers) that the case is about.
func (c Case) Key() string {
	area, number, _ := strings.Cut(c.ID, ":")
	return map[string]string{"CN": "ACN", "CN_C": "ACNC", "TP": "ATP", "TP_C": "ATPC"}[area] + strings.ReplaceAll(number, "-", "")
}

// Consumer reports whether we are the consumer in the case.
func (c Case) Consumer() bool { return strings.Contains(c.ID, "_C:") }

// Transfer reports whether the case is about a transfer.
func (c Case) Transfer() bool { return strings.HasPrefix(c.ID, "TP") }

const (
	requested = string(negotiation.Requested)
	offered   = string(negotiation.Offered)
	accepted  = string(negotiation.Accepted)
	agreed    = string(negotiation.Agreed)
	verified  = string(negotiation.Verified)
	started   = string(transfer.Started)
	suspended = string(transfer.Suspended)
)

// Cases are the kit's negotiation and transfer cases (version 1.0.0-RC6), with those that it disables.
var Cases = []Case{
	{"CN:01-01", []Deed{{requested, Offer}}, "<offer >termination ?TERMINATED"},
	{"CN:01-02", []Deed{{requested, Offer}, {requested, Terminate}}, "<offer >counter <termination"},
	{"CN:01-03", []Deed{{requested, Offer}, {accepted, Approve}, {verified, Approve}}, "<offer >accepted <agreement >verification <finalized"},
	{"CN:01-04", []Deed{{requested, Approve}, {verified, Approve}}, "<agreement >verification <finalized"},
	{"CN:02-01", []Deed{{requested, Terminate}}, "<termination"},
	{"CN:02-02", nil, ">termination ?TERMINATED"},
	{"CN:02-03", []Deed{{requested, Approve}}, "<agreement >termination ?TERMINATED"},
	{"CN:02-04", []Deed{{requested, Offer}}, "<offer >termination ?TERMINATED"},
	{"CN:02-05", []Deed{{requested, Offer}, {offered, Terminate}}, "<offer <termination"},
	{"CN:02-06", []Deed{{requested, Offer}, {accepted, Terminate}}, "<offer >accepted <termination"},
	{"CN:02-07", []Deed{{requested, Approve}, {verified, Terminate}}, "<agreement >verification <termination"},
	{"CN:03-01", []Deed{{requested, Approve}, {verified, Approve}}, "<agreement >verification <finalized ?FINALIZED >termination!"},
	{"CN:03-02", []Deed{{requested, Offer}}, "<offer >verification!"},
	{"CN:03-03", []Deed{{requested, Offer}}, "<offer >accepted >verification!"},
	{"CN:03-04", []Deed{{requested, Offer}}, "<offer >counter >counter!"},

	{"CN_C:01-01", []Deed{{offered, Approve}, {agreed, Approve}}, ">offer <accepted >agreement <verification >finalized ?FINALIZED"},
	{"CN_C:01-02", []Deed{{offered, Counter}}, ">offer <counter >termination"},
	{"CN_C:01-03", []Deed{{offered, Terminate}}, ">offer <termination ?TERMINATED"},
	{"CN_C:01-04", []Deed{{agreed, Approve}}, ">agreement <verification >finalized ?FINALIZED"},
	{"CN_C:02-01", nil, ">termination ?TERMINATED"},
	{"CN_C:02-02", []Deed{{requested, Terminate}}, "<termination ?TERMINATED"},
	{"CN_C:02-03", []Deed{{agreed, Terminate}}, ">agreement <termination ?TERMINATED"},
	{"CN_C:02-04", nil, ">offer ?OFFERED >termination ?TERMINATED"},
	{"CN_C:02-05", []Deed{{offered, Approve}}, ">offer <accepted >termination ?TERMINATED"},
	{"CN_C:02-06", []Deed{{agreed, Approve}}, ">agreement <verification >termination ?TERMINATED"},
	{"CN_C:03-01", nil, ">finalized! ?REQUESTED"},
	{"CN_C:03-02", nil, ">offer ?OFFERED >agreement! ?OFFERED"},
	{"CN_C:03-03", nil, ">offer >finalized! ?OFFERED"},
	{"CN_C:03-04", []Deed{{offered, Approve}}, ">offer <accepted >finalized! ?ACCEPTED"},
	{"CN_C:03-05", []Deed{{offered, Approve}}, ">offer <accepted >offer! ?ACCEPTED"},
	{"CN_C:03-06", []Deed{{offered, Approve}}, ">offer <accepted >agreement >finalized! ?AGREED"},

	{"TP:01-01", []Deed{{requested, Approve}, {started, Terminate}}, "<start <termination ?TERMINATED"},
	{"TP:01-02", []Deed{{requested, Approve}, {started, Complete}}, "<start <completion ?COMPLETED"},
	{"TP:01-03", []Deed{{requested, Approve}, {started, Suspend}, {suspended, Terminate}}, "<start <suspension <termination ?TERMINATED"},
	{"TP:01-04", []Deed{{requested, Approve}, {started, Suspend}, {suspended, Resume}, {started, Complete}}, "<start <suspension <start <completion ?COMPLETED"},
	{"TP:01-05", []Deed{{requested, Terminate}}, "<termination ?TERMINATED"},
	{"TP:02-01", []Deed{{requested, Approve}}, "<start ?STARTED >termination ?TERMINATED"},
	{"TP:02-02", []Deed{{requested, Approve}}, "<start ?STARTED >completion ?COMPLETED"},
	{"TP:02-03", []Deed{{requested, Approve}}, "<start ?STARTED >suspension ?SUSPENDED >termination ?TERMINATED"},
	// After the consumer's wish to resume the provider decides again and says so with a start of its own (specification, section 4.2.1).
	{"TP:02-04", []Deed{{requested, Approve}, {suspended, Approve}}, "<start >suspension ?SUSPENDED >start <start ?STARTED >completion ?COMPLETED"},
	{"TP:02-05", nil, "?REQUESTED >termination ?TERMINATED"},
	{"TP:03-01", nil, "?REQUESTED >completion! ?REQUESTED"},
	{"TP:03-02", nil, "?REQUESTED >suspension! ?REQUESTED"},
	{"TP:03-03", []Deed{{requested, Approve}}, "<start >suspension ?SUSPENDED >completion! ?SUSPENDED"},
	{"TP:03-04", []Deed{{requested, Approve}}, "<start >termination ?TERMINATED >start! ?TERMINATED"},
	{"TP:03-05", []Deed{{requested, Approve}}, "<start >termination ?TERMINATED >suspension! ?TERMINATED"},
	{"TP:03-06", []Deed{{requested, Approve}}, "<start >termination ?TERMINATED >completion! ?TERMINATED"},

	{"TP_C:01-01", nil, ">start ?STARTED >termination ?TERMINATED"},
	{"TP_C:01-02", nil, ">start ?STARTED >completion ?COMPLETED"},
	{"TP_C:01-03", nil, ">start ?STARTED >suspension ?SUSPENDED >termination ?TERMINATED"},
	{"TP_C:01-04", nil, ">start ?STARTED >suspension ?SUSPENDED >start ?STARTED >completion ?COMPLETED"},
	{"TP_C:01-05", nil, ">termination ?TERMINATED"},
	{"TP_C:02-01", []Deed{{started, Terminate}}, ">start <termination ?TERMINATED"},
	{"TP_C:02-02", []Deed{{started, Complete}}, ">start <completion ?COMPLETED"},
	{"TP_C:02-03", []Deed{{started, Suspend}, {suspended, Terminate}}, ">start <suspension <termination ?TERMINATED"},
	{"TP_C:02-04", []Deed{{started, Suspend}, {suspended, Resume}, {started, Complete}}, ">start <suspension <start >start <completion ?COMPLETED"},
	{"TP_C:02-05", []Deed{{requested, Terminate}}, "<termination ?TERMINATED"},
	{"TP_C:03-01", nil, "?REQUESTED >completion! ?REQUESTED"},
	{"TP_C:03-02", nil, "?REQUESTED >suspension! ?REQUESTED"},
	{"TP_C:03-03", nil, ">start >suspension ?SUSPENDED >completion! ?SUSPENDED"},
	{"TP_C:03-04", nil, ">start >termination ?TERMINATED >start! ?TERMINATED"},
	{"TP_C:03-05", nil, ">start >termination ?TERMINATED >suspension! ?TERMINATED"},
	{"TP_C:03-06", nil, ">start >termination ?TERMINATED >completion! ?TERMINATED"},
}

// Datasets are published for the catalog cases; a third one is asked for and must not exist.
var Datasets = []string{"CAT0101", "CAT0102"}
