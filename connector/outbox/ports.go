package outbox

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
)

// Store keeps what is owed. It is one of the few ports without a participant: due work is due work.
type Store interface {
	// Claim takes up to limit messages whose Due is not after now and moves their Due to now+lease in the same
	// statement, so that replicas share the work (rows taken by another are skipped). Oldest due first.
	Claim(ctx context.Context, now time.Time, lease time.Duration, limit int) ([]commit.Owed, error)
	// Postpone records a failed attempt: Attempt+1, next Due, LastError. A message settled meanwhile is left alone.
	Postpone(ctx context.Context, id string, due time.Time, lastError string) error
	// Owes reports whether the message is still owed. One that was settled or withdrawn while it waited is not sent: the protocol numbers
	// no messages, and a late copy could undo what came after it.
	Owes(ctx context.Context, id string) (bool, error)
	// NextDue returns the earliest Due; ok is false when nothing is owed.
	NextDue(ctx context.Context) (due time.Time, ok bool, err error)
}

// Sender makes one attempt. It returns an error only when there was no answer to speak of (no connection, time
// out, 5xx): the attempt is repeated. Any other answer is an Answer.
type Sender interface {
	Send(ctx context.Context, o commit.Owed) (Answer, error)
	// Look asks the peer for the process's state with GET; used before giving up after a 4xx. ErrNowhere when the message begins its
	// process, so that there is no address to look at.
	Look(ctx context.Context, o commit.Owed) (Answer, error)
}

// ErrNowhere is Look's answer about a message that begins its process.
var ErrNowhere = errors.New("the process has no address at the peer yet")

// Later is a Sender's error when the peer said when it wants to be asked again.
type Later struct {
	After time.Duration
	Err   error
}

func (l *Later) Error() string { return l.Err.Error() }

func (l *Later) Unwrap() error { return l.Err }

// Answer is what the peer said, parsed by the protocol.
type Answer struct {
	Status      int // HTTP status
	ConsumerPID string
	ProviderPID string
	State       string // wire state of its process, "" when not said
	Code        string // of its error
	Reasons     []string
	Location    string // header of that name, as written
}

// OK reports a 2xx.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// String says it in words for the operator.
func (a Answer) String() string {
	if a.OK() {
		return "its state is " + a.State
	}
	return "it answered " + strconv.Itoa(a.Status)
}

// Owner is the service whose process owes the message; it commits what the answer means.
type Owner interface {
	// Delivered completes the outgoing transition. Called again after a crash: it must be idempotent.
	Delivered(ctx context.Context, o commit.Owed, a Answer) error
	// Expired tells that a deadline is over: an owed row without a URL, for which nothing is sent. Called again after a crash: it must be idempotent.
	Expired(ctx context.Context, o commit.Owed) error
	// Rejected ends the attempts: the peer said 4xx for good, or the deadline passed (Answer zero).
	Rejected(ctx context.Context, o commit.Owed, a Answer) error
}
