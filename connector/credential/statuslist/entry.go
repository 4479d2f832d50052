package statuslist

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Purposes that the standards name. Refresh and Message inform; the others, and any that is not known, take a credential's validity.
const (
	Revocation = "revocation"
	Suspension = "suspension"
	Refresh    = "refresh"
	Message    = "message"
)

const (
	maxEntries  = 8 // of one credential
	maxPurposes = 8 // of one list
	maxSize     = 8 // bits of one entry
	maxText     = 2048
)

// Entry is a credential's place in a list.
type Entry struct {
	Kind    Kind
	ID      string // of the entry itself, never of the list; may be empty
	Purpose string
	Index   int
	List    string // URL of the list credential
	Size    int    // bits per entry; 0 and 1 are one bit
}

// Blocks reports whether a set entry of this purpose makes the credential invalid: all do that are not known to inform only.
func (e Entry) Blocks() bool { return e.Purpose != Refresh && e.Purpose != Message }

// Set reports whether the entry is set in the list.
func (e Entry) Set(b Bits) (bool, error) {
	v, err := b.Value(e.Index, max(e.Size, 1))
	return v != 0, err
}

type wireEntry struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Purpose string          `json:"statusPurpose"`
	Index   json.RawMessage `json:"statusListIndex"`
	List    string          `json:"statusListCredential"`
	Size    int             `json:"statusSize,omitempty"`
	Message json.RawMessage `json:"statusMessage,omitempty"`
}

// MarshalJSON writes an entry as a credential carries it: the index as text, as the standards want it. Only entries of one bit are written.
func (e Entry) MarshalJSON() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if e.Size > 1 {
		return nil, errors.New("status entry: entries of several bits are read, never written")
	}
	return json.Marshal(wireEntry{ID: e.ID, Type: e.Kind.EntryType(), Purpose: e.Purpose, Index: json.RawMessage(`"` + strconv.Itoa(e.Index) + `"`), List: e.List})
}

func (e Entry) check() error {
	switch {
	case e.Kind != Bitstring && e.Kind != List2021:
		return fmt.Errorf("status entry: %q is no kind of list", e.Kind)
	case e.Purpose == "" || len(e.Purpose) > maxText:
		return errors.New("status entry: want a purpose")
	case e.Index < 0 || e.Index > maxIndex:
		return fmt.Errorf("status entry: want an index from 0 to %d", maxIndex)
	case e.List == "" || len(e.List) > maxText:
		return errors.New("status entry: want the URL of a list")
	case e.ID == e.List:
		return errors.New("status entry: its id must not be the list's")
	}
	return nil
}

// ErrKind tells that a credential's status is of a type that is not known, so that it cannot be checked.
var ErrKind = errors.New("the type of the status is not known")

// ParseEntries reads the member credentialStatus, one entry or a list of them. raw has passed ijson.Check. Nothing, or null, is no entry; an
// empty list is a fault. A type that is not known is [ErrKind].
func ParseEntries(raw json.RawMessage) ([]Entry, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	many := ijson.Many(raw)
	if len(many) == 0 || len(many) > maxEntries {
		return nil, fmt.Errorf("status entry: want 1 to %d", maxEntries)
	}
	out := make([]Entry, 0, len(many))
	for _, one := range many {
		e, err := parseEntry(one)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func parseEntry(raw json.RawMessage) (Entry, error) {
	var w wireEntry
	if len(raw) == 0 || raw[0] != '{' {
		return Entry{}, errors.New("status entry: want an object")
	}
	if err := ijson.Bind(raw, &w); err != nil {
		return Entry{}, fmt.Errorf("status entry: %w", err)
	}
	kind := Kind(strings.TrimSuffix(w.Type, "Entry"))
	if kind.EntryType() != w.Type || kind != Bitstring && kind != List2021 {
		return Entry{}, fmt.Errorf("status entry: %w", ErrKind)
	}
	index, err := parseIndex(w.Index)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Kind: kind, ID: w.ID, Purpose: w.Purpose, Index: index, List: w.List, Size: w.Size}
	if e.Size == 1 {
		e.Size = 0
	}
	if e.Size != 0 {
		// What the values mean must be said for each of them; all we ask is whether one of them is set.
		var messages []json.RawMessage
		if kind != Bitstring || e.Size < 0 || e.Size > maxSize || ijson.Bind(w.Message, &messages) != nil || len(messages) != 1<<e.Size {
			return Entry{}, fmt.Errorf("status entry: want a statusSize of 1 to %d with a message for each value", maxSize)
		}
	}
	return e, e.check()
}

// parseIndex reads an index: digits in the one spelling of their number, as text or, as some write it, as a JSON number.
func parseIndex(raw json.RawMessage) (int, error) {
	digits := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &digits); err != nil {
			return 0, fmt.Errorf("status entry: %w", err)
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > maxIndex || strconv.Itoa(n) != digits {
		return 0, fmt.Errorf("status entry: want an index of digits from 0 to %d", maxIndex)
	}
	return n, nil
}

// Subject is what a list credential says.
type Subject struct {
	Kind     Kind
	ID       string // of the list, often the credential's URL with "#list"; may be empty
	Purposes []string
	Bits     Bits
	TTL      time.Duration // of a Bitstring: look again after it; 0 when nothing is said
}

type wireSubject struct {
	ID      string          `json:"id,omitempty"`
	Type    json.RawMessage `json:"type"`
	Purpose json.RawMessage `json:"statusPurpose"`
	List    string          `json:"encodedList"`
	TTL     *int64          `json:"ttl,omitempty"`
}

// MarshalJSON writes the member credentialSubject of a list credential.
func (s Subject) MarshalJSON() ([]byte, error) {
	if s.Kind != Bitstring && s.Kind != List2021 || len(s.Purposes) == 0 || s.Kind == List2021 && (len(s.Purposes) > 1 || s.TTL != 0) || s.TTL < 0 {
		return nil, errors.New("status list: want a kind, its purposes (one for StatusList2021), and a ttl for a Bitstring only")
	}
	var purpose any = s.Purposes
	if len(s.Purposes) == 1 {
		purpose = s.Purposes[0]
	}
	rawPurpose, err := json.Marshal(purpose)
	if err != nil {
		return nil, err
	}
	list, err := s.Kind.Encode(s.Bits)
	if err != nil {
		return nil, err
	}
	w := wireSubject{ID: s.ID, Type: json.RawMessage(`"` + string(s.Kind) + `"`), Purpose: rawPurpose, List: list}
	if s.TTL > 0 {
		ms := s.TTL.Milliseconds()
		w.TTL = &ms
	}
	return json.Marshal(w)
}

// ParseSubject reads the member credentialSubject of a list credential of the kind. raw has passed ijson.Check.
func ParseSubject(kind Kind, raw json.RawMessage) (Subject, error) {
	var w wireSubject
	if len(raw) == 0 || raw[0] != '{' {
		return Subject{}, errors.New("status list: want one subject")
	}
	if err := ijson.Bind(raw, &w); err != nil {
		return Subject{}, fmt.Errorf("status list: %w", err)
	}
	types, err := ijson.Texts(w.Type)
	if err != nil || !slices.Contains(types, string(kind)) {
		return Subject{}, fmt.Errorf("status list: want a subject of type %s", kind)
	}
	purposes, err := ijson.Texts(w.Purpose)
	if err != nil || len(purposes) > maxPurposes || kind == List2021 && len(purposes) > 1 {
		return Subject{}, errors.New("status list: want its purpose")
	}
	s := Subject{Kind: kind, ID: w.ID, Purposes: purposes}
	if w.TTL != nil && kind == Bitstring {
		if *w.TTL < 0 {
			return Subject{}, errors.New("status list: want a ttl that is not negative")
		}
		// A hint to look again earlier; a year is as good as never.
		s.TTL = time.Duration(min(*w.TTL, 366*24*3600*1000)) * time.Millisecond
	}
	s.Bits, err = kind.Decode(w.List)
	return s, err
}
