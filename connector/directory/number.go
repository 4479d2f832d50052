package directory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// MaxBytes bounds a directory, inflated.
const MaxBytes = 64 << 20

// Entry is one row: a legal entity's number and its DID.
type Entry struct {
	Number  string
	DID     participant.DID
	Updated time.Time
}

// ValidNumber reports whether s is the number of a legal entity: BPNL and twelve of 0-9 and A-Z. Its check characters are not looked at: numbers that
// were issued and the standard disagree about them.
func ValidNumber(s string) bool {
	if len(s) != 16 || s[:4] != "BPNL" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// book is one copy of a directory. A key that is there with an empty value stands for several.
type book struct {
	dids    map[string]participant.DID
	numbers map[participant.DID]string
	skipped int
}

// parse reads a directory: an object of numbers and DIDs, or an array of objects with both. A row that is wrong is skipped; the rest is worth
// having. Bytes that are no directory, or more than MaxBytes of them, are an error.
func parse(r io.Reader) (*book, error) {
	limited := &io.LimitedReader{R: r, N: MaxBytes + 1}
	dec := json.NewDecoder(bufio.NewReader(limited))
	b := &book{dids: map[string]participant.DID{}, numbers: map[participant.DID]string{}}
	start, err := dec.Token()
	if err != nil {
		return nil, unreadable(limited, err)
	}
	switch start {
	case json.Delim('{'):
		err = b.object(dec)
	case json.Delim('['):
		err = b.array(dec)
	default:
		err = errors.New("want an object or an array")
	}
	if err != nil {
		return nil, unreadable(limited, err)
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return nil, unreadable(limited, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, unreadable(limited, errors.New("something follows it"))
	}
	if limited.N <= 0 {
		return nil, unreadable(limited, io.ErrUnexpectedEOF)
	}
	return b, nil
}

func unreadable(l *io.LimitedReader, err error) error {
	if l.N <= 0 {
		err = fmt.Errorf("it is longer than %d bytes", MaxBytes)
	}
	return fmt.Errorf("directory: %w", err)
}

func (b *book) object(dec *json.Decoder) error {
	for dec.More() {
		number, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		var did string
		if json.Unmarshal(value, &did) != nil {
			did = ""
		}
		name, _ := number.(string)
		b.add(name, did)
	}
	return nil
}

func (b *book) array(dec *json.Decoder) error {
	for dec.More() {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		var row struct {
			Number string `json:"bpn"`
			DID    string `json:"did"`
		}
		if !bytes.HasPrefix(bytes.TrimSpace(value), []byte("{")) || json.Unmarshal(value, &row) != nil {
			row.Number = ""
		}
		b.add(row.Number, row.DID)
	}
	return nil
}

// add takes a row in, unless it is wrong. What is there twice with different values stands for nothing from then on.
func (b *book) add(number, did string) {
	parsed, _, err := identity.ParseDID(did)
	if !ValidNumber(number) || err != nil {
		b.skipped++
		return
	}
	if was, there := b.dids[number]; there && was != parsed {
		b.dids[number] = ""
	} else if !there {
		b.dids[number] = parsed
	}
	if was, there := b.numbers[parsed]; there && was != number {
		b.numbers[parsed] = ""
	} else if !there {
		b.numbers[parsed] = number
	}
}
