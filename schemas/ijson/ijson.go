package ijson

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"

	"github.com/gowebpki/jcs"
)

// Limits bounds what Check accepts. A zero field means none of it; start from DefaultLimits.
type Limits struct {
	MaxBytes   int  // of the whole text
	Depth      int  // of nested objects and arrays
	Members    int  // of one object
	Items      int  // of one array
	String     int  // bytes of one string, as written
	BigNumbers bool // accept numbers that a double cannot hold: for payloads whose digits are kept as text
}

// DefaultLimits are those of a protocol message: 1 MiB, depth 32, 1,000 members, 10,000 items, strings of 64 KiB.
func DefaultLimits() Limits {
	return Limits{MaxBytes: 1 << 20, Depth: 32, Members: 1000, Items: 10000, String: 64 << 10}
}

// Kind of a fault in a JSON text.
type Kind string

// The kinds.
const (
	TooLarge  Kind = "too large"
	TooDeep   Kind = "too deep"
	TooMany   Kind = "too many"
	Syntax    Kind = "syntax"
	Encoding  Kind = "encoding"
	Duplicate Kind = "duplicate"
	Number    Kind = "number"
	Shape     Kind = "shape"
)

// Error says what is wrong with a JSON text and where.
type Error struct {
	Kind   Kind
	Path   string // JSON pointer (RFC 6901) of the value, "" for the root
	Offset int    // byte offset
	Want   string // what would be right
}

func (e *Error) Error() string {
	path := e.Path
	if path == "" {
		path = "the document"
	}
	return fmt.Sprintf("%s at byte %d: %s; want %s", path, e.Offset, e.Kind, e.Want)
}

// Check reads data once and returns the first fault as *Error; nil means that every JSON reader reads the same from it.
func Check(data []byte, lim Limits) error { return check(data, lim, nil) }

// check reads data that is to be bound to t; nil when it is not to be bound.
func check(data []byte, lim Limits, t reflect.Type) error {
	if len(data) > lim.MaxBytes {
		return &Error{Kind: TooLarge, Want: fmt.Sprintf("at most %d bytes, have %d", lim.MaxBytes, len(data))}
	}
	s := scanner{data: data, lim: lim}
	s.space()
	if err := s.value(bound(t)); err != nil {
		return err
	}
	s.space()
	if s.at != len(data) {
		return s.fault(Syntax, "nothing after the value")
	}
	return nil
}

// Unmarshal checks data and binds it to v; members that v does not have are ignored. One that differs from a member of v only in
// upper and lower case is a fault: another reader would not see it there.
func Unmarshal(data []byte, lim Limits, v any) error {
	return bind(data, lim, v, false)
}

// UnmarshalStrict checks data and binds it to v; members that v does not have are a fault.
func UnmarshalStrict(data []byte, lim Limits, v any) error {
	return bind(data, lim, v, true)
}

// Bind binds to v what is part of a text that has passed Check: a second look at the same bytes. It is as exact as Unmarshal.
func Bind(data []byte, v any) error { return bind(data, unbounded, v, false) }

var unbounded = Limits{MaxBytes: math.MaxInt, Depth: math.MaxInt, Members: math.MaxInt, Items: math.MaxInt, String: math.MaxInt, BigNumbers: true}

func bind(data []byte, lim Limits, v any, strict bool) error {
	if err := check(data, lim, reflect.TypeOf(v)); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(v); err != nil {
		return shape(err)
	}
	return nil
}

// shape turns a binding error of encoding/json into an Error that names the member.
func shape(err error) error {
	if typed, ok := err.(*json.UnmarshalTypeError); ok {
		path := ""
		if typed.Field != "" {
			path = "/" + string(bytes.ReplaceAll([]byte(typed.Field), []byte("."), []byte("/")))
		}
		return &Error{Kind: Shape, Path: path, Offset: int(typed.Offset), Want: fmt.Sprintf("a value that fits %s, have a JSON %s", typed.Type, typed.Value)}
	}
	return &Error{Kind: Shape, Want: "the members of this message: " + err.Error()}
}

// Canonical returns the RFC 8785 form; it may be data itself. data must have passed Check without BigNumbers.
func Canonical(data []byte) ([]byte, error) {
	if plainlyCanonical(data) {
		return data, nil
	}
	out, err := jcs.Transform(data)
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	return out, nil
}

// Marshal encodes v in its RFC 8785 form.
func Marshal(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	return Canonical(plain)
}

// Digest is the hex SHA-256 of data under a domain: equal bytes of different types have different digests.
func Digest(domain string, data []byte) string {
	h := sha256.New()
	h.Write([]byte("sluice/" + domain + "/v1\x00"))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}
