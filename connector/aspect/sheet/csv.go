package sheet

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
)

// csv reads RFC 4180 as programs write it: with or without a byte order mark, with any of three separators, with CRLF. A row that cannot
// be read is one fault; those after it are read.
func (in *reader) csv(ctx context.Context, data []byte) error {
	const op = "sheet.csv"
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if bytes.IndexByte(data, 0) >= 0 {
		return fault.New(op, fault.Malformed, "the file is not text in UTF-8; save it as CSV in UTF-8")
	}
	comma, skip, lines := separator(data)
	c := csv.NewReader(bytes.NewReader(data[skip:]))
	c.Comma, c.FieldsPerRecord, c.ReuseRecord = comma, -1, true
	for n := 0; ; n++ {
		if n%chunk == 0 && ctx.Err() != nil {
			return fault.Wrap(op, fault.Unavailable, ctx.Err())
		}
		record, err := c.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return in.build(ctx)
		case errors.As(err, &broken):
			in.fail(Fault{Row: broken.StartLine + lines, Problem: "the row cannot be read: " + reason(broken.Err), Want: "quotes only around whole cells, doubled inside"})
			continue
		case err != nil:
			return fault.Wrap(op, fault.Malformed, err)
		}
		cells := make([]cell, len(record))
		for i, s := range record {
			cells[i].text = s
		}
		line, _ := c.FieldPos(0)
		if stop := in.take(line+lines, cells); stop {
			return in.build(ctx)
		}
	}
}

func reason(err error) string {
	if errors.Is(err, csv.ErrBareQuote) {
		return "there is a quote inside a cell"
	}
	return "a quote is opened and not closed, or closed too early"
}

// separator finds the one that the header uses, and the line "sep=;" by which some programs name it: how many bytes and lines to skip.
func separator(data []byte) (comma rune, skip, lines int) {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	line := strings.TrimSuffix(string(first), "\r")
	if named, ok := strings.CutPrefix(strings.ToLower(line), "sep="); ok && len(named) == 1 && strings.Contains(",;\t", named) {
		return rune(named[0]), min(len(first)+1, len(data)), 1
	}
	comma, most := ',', 0
	for _, s := range ",;\t" {
		if n := strings.Count(line, string(s)); n > most {
			comma, most = s, n
		}
	}
	return comma, 0, 0
}
