package negotiation

import (
	"time"

	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Role is ours in a negotiation.
type Role = process.Role

// The roles.
const (
	Provider = process.Provider
	Consumer = process.Consumer
)

// State is a wire state of the Dataspace Protocol 2025-1, section 3.1.
type State string

// The states; the last two are final. Initial is the state before the first acknowledged message.
const (
	Initial    State = "INITIAL"
	Requested  State = "REQUESTED"
	Offered    State = "OFFERED"
	Accepted   State = "ACCEPTED"
	Agreed     State = "AGREED"
	Verified   State = "VERIFIED"
	Finalized  State = "FINALIZED"
	Terminated State = "TERMINATED"
)

// States lists all of them.
func States() []State {
	return []State{Initial, Requested, Offered, Accepted, Agreed, Verified, Finalized, Terminated}
}

// Final reports whether nothing can follow.
func (s State) Final() bool { return s == Finalized || s == Terminated }

// Kind is a message of the negotiation protocol.
type Kind string

// The kinds, as they stand in @type; the event message is split by its eventType.
const (
	Request      Kind = "ContractRequestMessage"
	OfferMessage Kind = "ContractOfferMessage"
	Agreement    Kind = "ContractAgreementMessage"
	Verification Kind = "ContractAgreementVerificationMessage"
	Acceptance   Kind = "ContractNegotiationEventMessage:ACCEPTED"
	Finalization Kind = "ContractNegotiationEventMessage:FINALIZED"
	Termination  Kind = "ContractNegotiationTerminationMessage"
)

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{Request, OfferMessage, Agreement, Verification, Acceptance, Finalization, Termination}
}

// Message is one message of the protocol, in or out. Fields that its kind does not have are zero.
type Message struct {
	Kind        Kind
	ID          string // of the message itself, if it has one; ours do
	ConsumerPID string
	ProviderPID string
	Callback    string    // initial request and initial offer only
	Offer       *Offer    // request, offer
	Contract    *Contract // agreement
	Code        string    // termination
	Reasons     []string
	Raw         []byte // exact bytes received; nil for outgoing
	ToConsumer  bool   // outgoing: whose pid the path names
}

// Offer is what is on the table. Target is the dataset.
type Offer struct {
	ID     string
	Target string
	Policy odrl.Policy
}

// Contract is the agreement as it travels (DSP 2025-1, section 3.4).
type Contract struct {
	ID       string
	Target   string
	Assigner participant.DID // provider
	Assignee participant.DID // consumer
	Signed   time.Time       // "timestamp"; zero when absent
	Policy   odrl.Policy
}

// Negotiation is one contract negotiation as one side sees it.
type Negotiation struct {
	Participant participant.ID
	ID          string // own pid, urn:uuid v4
	Version     int64  // compare and swap
	Role        Role
	Peer        participant.DID
	PeerPID     string // "" until the peer named it
	Callback    string // base URL that our messages extend
	State       State
	Offer       Offer // last one on the table
	AgreementID string
	Code        string          // of the termination
	Reasons     []string        // of the termination, one per constraint
	Accepted    Receipt         // the last accepted incoming message
	Held        Held            // what waits for an operator; zero when nothing does
	Approval    policy.Approval // provider: of what is on the table
	Claims      policy.Party    // provider: the consumer as verified at its last request, for what an operator decides later
	Pending     Pending         // the outgoing transition that waits for its acknowledgement; zero when none
	LastRecord  string          // id of the newest decision record of this process
	Error       string          // operator's view: why delivery was given up
	Actor       string          // who began it
	Trace       string
	Created     time.Time
	Updated     time.Time
}

// Held is a message that waits for an operator: who approves lets it go, who terminates refuses it, and when the time is over nobody has to.
type Held struct {
	Message  Kind
	Reasons  []string  // why it waits, one per term of the policy; none when it waits for another reason than a policy
	Until    time.Time // then the negotiation is refused; zero: never
	Deadline string    // id of the owed deadline
}

// What a negotiation shares with every process.
type (
	Receipt  = process.Receipt[Kind]
	Pending  = process.Pending[Kind, State]
	Status   = process.Status[State]
	Received = process.Received[State]
)
