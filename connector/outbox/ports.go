package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// Owes reports whether the message is still owed. One that was settled or withdrawn while it waited is not sent: a late
	// copy could undo what came after it at a peer that knows no messages by their ids.
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

// Response is what came back for a message, before a protocol reads it.
type Response struct {
	Status     int
	RetryAfter string // header of that name
	Body       []byte
	// Stranger says that not knowing us may be the peer's answer, as an issuer's who has no such holder: it has said so often enough.
	Stranger bool
}

// Unheard is the Sender's error for a response that is no answer to speak of, nil for one that is: then the protocol reads it, be it yes or no. Every
// sender keeps to this one rule. Tried again is what says that somebody is away or busy (5xx, 408, 425, 429), when it says so if it does; what does not
// know us (401: its copy of our keys may be older than the one that signed, or its clock differs, so that a fresh token helps, unless it is a
// Stranger that asks); and what is not in the
// words of a protocol: a server below the peer, or before it, answers a request that did not come whole, in time, or to the peer at all.
func Unheard(r Response, now time.Time) error {
	switch {
	case (r.Status == 429 || r.Status == 503) && r.RetryAfter != "":
		return &Later{After: after(r.RetryAfter, now), Err: fmt.Errorf("the peer answered %d", r.Status)}
	case r.Status >= 500, r.Status == 408, r.Status == 425, r.Status == 429:
		return fmt.Errorf("the peer answered %d", r.Status)
	case r.Status == 401 && !r.Stranger:
		return errors.New("the peer does not accept our identity (401)")
	case r.Status >= 400 && len(r.Body) > 0 && !json.Valid(r.Body), bytes.HasPrefix(bytes.TrimLeft(r.Body, " \t\r\n"), []byte("<")):
		return fmt.Errorf("what answered %d is not the peer's protocol", r.Status)
	}
	return nil
}

// after reads Retry-After (RFC 9110, section 10.2.3): seconds, or a date. What cannot be read is no time at all.
func after(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if at, err := time.Parse(form, text); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	return 0
}

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
