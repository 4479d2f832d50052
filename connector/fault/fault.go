package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is what a program branches on. Each kind has one row in wire/problem.
type Kind uint8

// The kinds of failure. Internal is the zero value: what nobody classified is ours.
const (
	Internal        Kind = iota // a bug or a broken part of ours; the cause stays inside
	NotFound                    // absent, hidden or not yours: the three are indistinguishable
	Conflict                    // stale version, duplicate id, illegal transition
	Refused                     // a policy said no; the reasons say why
	Malformed                   // the sender must change the message
	Unauthenticated             // identity not proven
	Forbidden                   // identity proven, role not sufficient
	Unavailable                 // try again later: a peer, disk or database is away
	TooLarge                    // size, depth or count above the limit
	Exhausted                   // rate or quota used up
)

var kindNames = [...]string{"internal", "not found", "conflict", "refused", "malformed",
	"unauthenticated", "forbidden", "unavailable", "too large", "exhausted"}

// Kinds lists every kind, for tests that prove that tables over them are complete.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is read by three readers: the peer (Code, Reasons), a program (Kind), the operator (Op, Err).
type Error struct {
	Op      string   // "negotiation.Receive"
	Kind    Kind     //
	Subject string   // id of the thing concerned, safe to show
	Code    string   // stable code for the peer, may be empty: "policy.violated"
	Reason  string   // one sentence for the peer; may be empty
	Reasons []string // further reasons for the peer, one per constraint of a refusal
	Err     error    // cause; logged, never sent
}

func (e *Error) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Op, e.Kind.String(), e.Subject, e.Reason, strings.Join(e.Reasons, "; ")} {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// New returns an Error of the kind with a reason that its reader may see.
func New(op string, kind Kind, reason string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Reason: fmt.Sprintf(reason, args...)}
}

// Wrap returns err with the operation and kind; nil when err is nil. An Error inside keeps its own kind when kind is Internal.
func Wrap(op string, kind Kind, err error) error {
	if err == nil {
		return nil
	}
	if kind == Internal {
		kind = KindOf(err)
	}
	wrapped := &Error{Op: op, Kind: kind, Err: err}
	var inner *Error
	if errors.As(err, &inner) {
		wrapped.Subject, wrapped.Code, wrapped.Reason, wrapped.Reasons = inner.Subject, inner.Code, inner.Reason, inner.Reasons
	}
	return wrapped
}

// KindOf returns the kind of the outermost Error in err's chain; an unknown error is Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the kind. A nil error is of no kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
