package decisionlog

import "time"

// Action is something an operator or the connector itself did that must be on record: a retirement, a
// termination, a change of policy, keys or configuration.
type Action struct {
	Log       string // slug of the hosted participant
	Kind      string // record kind; "operator.action" when empty
	Code      string // stable: "agreement.retire", "asset.put", "policy.put"
	Actor     string // label of the operator's token; committed with salt, never plain
	Subject   string // id of the thing; committed with salt, never plain
	Process   string // negotiation or transfer it belongs to, "" for none
	Agreement string
	Previous  string // id of the previous record of the same process
	Now       time.Time
	Details   map[string]string // committed with salt
	Data      *Object           // what is in force from now on, outside the bundle: named by digest and archived
}
