package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
)

// Role is ours in a process.
type Role string

// The roles.
const (
	Provider Role = "provider"
	Consumer Role = "consumer"
)

// Other returns the role at the other end.
func (r Role) Other() Role {
	if r == Provider {
		return Consumer
	}
	return Provider
}

// Receipt remembers the last accepted message, so that a byte-equal repeat gets the same answer again.
type Receipt[K ~string] struct {
	Kind   K
	Digest string // SHA-256, hex, of the bytes
	Named  bool   // the message has an id of its own, so that no other one has these bytes
}

// ReceiptOf is the receipt of a message with these bytes, and with this id if it has one.
func ReceiptOf[K ~string](kind K, id string, raw []byte) Receipt[K] {
	return Receipt[K]{kind, Digest(raw), id != ""}
}

// Moved is the receipt after a step of our own. What the peer says next may be new although it is byte for byte what it said before: it may
// suspend again, or propose the same again. Only a message with an id is known for a repeat by then.
func (r Receipt[K]) Moved() Receipt[K] {
	if r.Named {
		return r
	}
	return Receipt[K]{}
}

// Pending is an outgoing transition: it completes on the peer's 2xx, or on an inbound message that is legal only after it. The zero value
// is none.
type Pending[K, S ~string] struct {
	Kind K
	To   S
	Owed string // id of the owed message
}

// Status is what GET shows and what an acknowledgement carries.
type Status[S ~string] struct {
	ConsumerPID string
	ProviderPID string
	State       S
}

// StatusOf names the two pids by the role that we have.
func StatusOf[S ~string](own Role, id, peerPID string, state S) Status[S] {
	if own == Provider {
		return Status[S]{ConsumerPID: peerPID, ProviderPID: id, State: state}
	}
	return Status[S]{ConsumerPID: id, ProviderPID: peerPID, State: state}
}

// PID is the pid of the role's side.
func (s Status[S]) PID(of Role) string {
	if of == Provider {
		return s.ProviderPID
	}
	return s.ConsumerPID
}

// Received is the answer to a message. Flushed must be called after the answer was written and flushed: it wakes the sender
// of what is now owed. Not calling it loses nothing; the message then leaves with the next timer.
type Received[S ~string] struct {
	Status  Status[S]
	Created bool
	Flushed func()
}

// Digest is the SHA-256, hex, of a message's bytes.
func Digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// NewID draws an id that a peer may see: urn:uuid version 4, never ordered by time.
func NewID(rand io.Reader) (string, error) {
	id, err := uuid.NewRandomFromReader(rand)
	if err != nil {
		return "", fault.Wrap("process.NewID", fault.Unavailable, err)
	}
	return id.URN(), nil
}

// Owe completes a message that a process owes: an id unless it has one, the address below the peer's base URL, and the time until which its
// first attempt is left to who commits it.
func Owe(rand io.Reader, now time.Time, o commit.Owed, base, path string) (*commit.Owed, error) {
	if o.ID == "" {
		id, err := NewID(rand)
		if err != nil {
			return nil, err
		}
		o.ID = id
	}
	o.URL, o.Created, o.Due = strings.TrimRight(base, "/")+path, now, now.Add(outbox.Hold)
	return &o, nil
}

// attempts bounds how often a step is tried again after somebody else changed the process in between.
const attempts = 5

// Retry reads a process and applies do, again when the store says that it was stale. When it stays stale the caller is asked to come
// again: to a peer a Conflict would mean that its message is illegal.
func Retry[P any](read func() (P, error), do func(P) error) error {
	var err error
	for range attempts {
		var p P
		if p, err = read(); err != nil {
			return err
		}
		if err = do(p); !IsStale(err) {
			return err
		}
	}
	return Busy(err)
}

// Busy asks the caller to come again.
func Busy(err error) error {
	return &fault.Error{Op: "process.Retry", Kind: fault.Unavailable, Reason: "the process is busy; try again", Err: err}
}

// codeIllegal marks a Conflict of the machine: no retry makes it legal.
const codeIllegal = "transition.illegal"

// Illegal makes err a Conflict of the machine.
func Illegal(err error) error {
	e := &fault.Error{Op: "process", Kind: fault.Conflict, Code: codeIllegal, Reason: "it is not legal now"}
	var typed *fault.Error
	if errors.As(err, &typed) {
		e.Op, e.Reason = typed.Op, typed.Reason
	}
	return e
}

// IsIllegal reports a Conflict of the machine.
func IsIllegal(err error) bool {
	var e *fault.Error
	return errors.As(err, &e) && e.Kind == fault.Conflict && e.Code == codeIllegal
}

// IsStale reports a Conflict of the store, which carries no code: somebody else was faster.
func IsStale(err error) bool {
	var e *fault.Error
	return errors.As(err, &e) && e.Kind == fault.Conflict && e.Code == ""
}

// Addressed checks that the pids in a message are those of the process in its path. A pid that is not known yet, or not said, fits.
func Addressed(own Role, id, peerPID string, said Status[string]) error {
	if mine := said.PID(own); mine != "" && mine != id {
		return errPID()
	}
	if theirs := said.PID(own.Other()); theirs != "" && peerPID != "" && theirs != peerPID {
		return errPID()
	}
	return nil
}

func errPID() error {
	return fault.New("process.Addressed", fault.Malformed, "consumerPid and providerPid must be those of the process in the path")
}

// Theirs is the pid that a peer's answer gives its own side of the process id; "" when it does not say, or speaks of another process.
func Theirs(own Role, id string, a outbox.Answer) string {
	said := Status[string]{ConsumerPID: a.ConsumerPID, ProviderPID: a.ProviderPID}
	if mine := said.PID(own); mine != "" && mine != id {
		return ""
	}
	return said.PID(own.Other())
}
