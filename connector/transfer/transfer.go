package transfer

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy"
)

// Role is ours in a transfer.
type Role = process.Role

// The roles.
const (
	Provider = process.Provider
	Consumer = process.Consumer
)

// State is a wire state of the Dataspace Protocol 2025-1, section 4.1.
type State string

// The states; the last two are final. Initial is the state before the first acknowledged message.
const (
	Initial    State = "INITIAL"
	Requested  State = "REQUESTED"
	Started    State = "STARTED"
	Suspended  State = "SUSPENDED"
	Completed  State = "COMPLETED"
	Terminated State = "TERMINATED"
)

// States lists all of them.
func States() []State {
	return []State{Initial, Requested, Started, Suspended, Completed, Terminated}
}

// Final reports whether nothing can follow.
func (s State) Final() bool { return s == Completed || s == Terminated }

// Kind is a message of the transfer protocol, as it stands in @type.
type Kind string

// The kinds.
const (
	Request     Kind = "TransferRequestMessage"
	Start       Kind = "TransferStartMessage"
	Completion  Kind = "TransferCompletionMessage"
	Suspension  Kind = "TransferSuspensionMessage"
	Termination Kind = "TransferTerminationMessage"
)

// Kinds lists all of them.
func Kinds() []Kind { return []Kind{Request, Start, Completion, Suspension, Termination} }

// Message is one message of the protocol, in or out. Fields that its kind does not have are zero.
type Message struct {
	Kind        Kind
	ID          string // of the message itself, if it has one; ours do
	ConsumerPID string
	ProviderPID string
	AgreementID string   // request
	Format      string   // request
	Callback    string   // request
	Address     *Address // start by a provider; request of a push format
	Code        string   // suspension, termination
	Reasons     []string
	Raw         []byte // exact bytes received; nil for outgoing
	ToConsumer  bool   // outgoing: whose pid the path names
}

// Address is a DataAddress: where and with which token the consumer pulls. Properties keep their wire names.
type Address struct {
	EndpointType string
	Endpoint     string
	Properties   map[string]string
}

// Transfer is one transfer process as one side sees it.
type Transfer struct {
	Participant participant.ID
	ID          string // own pid, urn:uuid v4
	Version     int64  // compare and swap
	Role        Role
	Peer        participant.DID
	PeerPID     string // "" until the peer named it
	Callback    string // base URL that our messages extend
	State       State
	AgreementID string
	Asset       string
	Format      string
	Grant       Grant  // provider: what was handed out
	Address     []byte // consumer: the data address with its token, encrypted at rest
	Code        string // of suspension or termination
	Reasons     []string
	Accepted    Receipt
	Held        Kind // the message that waits for an operator; "" when none does
	Pending     Pending
	Claims      policy.Party // provider: the peer as verified at the start, for the decision at each data request
	LastRecord  string       // id of the newest decision record of this process
	Error       string       // operator's view: why delivery was given up
	Actor       string
	Trace       string
	Created     time.Time
	Updated     time.Time
}

// Grant is the access token (EDR) as its issuer knows it: derivable, so only the hash is kept.
type Grant struct {
	Hash       string // SHA-256, hex, of the token; "" when none is valid
	Generation int64
	Expires    time.Time
}

// What a transfer shares with every process.
type (
	Receipt  = process.Receipt[Kind]
	Pending  = process.Pending[Kind, State]
	Status   = process.Status[State]
	Received = process.Received[State]
)

// Filter narrows a list; zero fields do not.
type Filter struct {
	Peer      participant.DID
	State     State
	Role      Role
	Agreement string
}

// Store keeps transfers; promises as negotiation.Store.
type Store interface {
	Transfer(ctx context.Context, p participant.ID, peer participant.DID, id string) (Transfer, error)
	TransferByPeerPID(ctx context.Context, p participant.ID, peer participant.DID, peerPID string) (Transfer, error)
	// TransferByToken finds the provider's transfer whose grant has the hash.
	TransferByToken(ctx context.Context, p participant.ID, hash string) (Transfer, error)
	Transfers(ctx context.Context, p participant.ID, f Filter, r page.Request) (page.Of[Transfer], error)
	OpenTransfers(ctx context.Context, p participant.ID, peer participant.DID) (int, error)
	CreateTransfer(ctx context.Context, t Transfer, e commit.Effects) error
	ReplaceTransfer(ctx context.Context, old, next Transfer, e commit.Effects) error
	// Record commits effects that change nothing else: a decision that was cut off.
	Record(ctx context.Context, p participant.ID, e commit.Effects) error
}
