package issuer

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
)

// MaxSheet bounds an allow list in bytes.
const MaxSheet = 1 << 20

const maxSheetFaults = 100

// ReadHolders reads an allow list in CSV form. The first line names the columns: did; name and credentials, which may be absent; every other is a
// value of the holder, an empty cell none. Cells of credentials, and of columns whose name ends in [], hold several, separated by semicolons.
// What is wrong is told together, by line.
func ReadHolders(r io.Reader) ([]Holder, error) {
	const op = "issuer.ReadHolders"
	limited := &io.LimitedReader{R: r, N: MaxSheet + 1}
	lines := csv.NewReader(limited)
	lines.TrimLeadingSpace = true
	head, err := lines.Read()
	if err != nil {
		return nil, fault.New(op, fault.Malformed, "want a line that names the columns first")
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff") // spreadsheets begin with a byte order mark
	var f faults
	f.expect(slices.Contains(head, "did"), "line 1: there is no column did")
	for i, column := range head {
		key := strings.TrimSuffix(column, "[]")
		f.expect(text(key, maxName) && key != "id" && !slices.Contains(head[:i], column), "line 1: %q cannot be the name of a column, or is there twice", column)
	}
	var out []Holder
	seen := map[participant.DID]int{}
	for len(f) < maxSheetFaults {
		cells, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.expect(false, "%s", strings.ReplaceAll(err.Error(), "record on ", ""))
			break
		}
		n, _ := lines.FieldPos(0)
		h := holderOf(head, cells)
		var wrong *fault.Error
		if errors.As(h.Validate(), &wrong) {
			for _, why := range wrong.Reasons {
				f.expect(false, "line %d: %s", n, why)
			}
		}
		f.expect(seen[h.DID] == 0, "line %d: %s is on line %d already", n, h.DID, seen[h.DID])
		seen[h.DID] = n
		out = append(out, h)
		f.expect(len(out) <= MaxHolders, "line %d: want at most %d holders", n, MaxHolders)
	}
	f.expect(limited.N > 0, "the file has more than %d bytes", MaxSheet)
	f.expect(len(out) > 0 || len(f) > 0, "there is no holder in it")
	if len(f) > 0 {
		return nil, &fault.Error{Op: op, Kind: fault.Malformed, Code: "holders.invalid", Reason: fmt.Sprintf("the list has %d faults; nothing was imported", len(f)), Reasons: f}
	}
	return out, nil
}

func holderOf(head, cells []string) Holder {
	h := Holder{Values: map[string][]string{}}
	for i, column := range head {
		cell := strings.TrimSpace(cells[i])
		switch key, many := strings.CutSuffix(column, "[]"); {
		case cell == "":
		case column == "did":
			h.DID = participant.DID(cell)
		case column == "name":
			h.Name = cell
		case column == "credentials":
			h.Grants = split(cell)
		case many:
			h.Values[key] = split(cell)
		default:
			h.Values[key] = []string{cell}
		}
	}
	return h
}

func split(cell string) []string {
	var out []string
	for part := range strings.SplitSeq(cell, ";") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
