package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// terminal reports whether w is one, and how wide. COLUMNS wins, as everywhere.
func (a *app) terminal(w io.Writer) (width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile {
		return 0, false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return 0, false
	}
	if n, err := strconv.Atoi(a.env("COLUMNS")); err == nil && n > 0 {
		return n, true
	}
	return windowWidth(f), true
}

// paint colours text when it goes to a terminal and nobody objects (https://no-color.org).
func (a *app) paint(w io.Writer, code, text string) string {
	if _, ok := a.terminal(w); !ok || a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// The colours.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

// printable takes out of what a peer may have written what cannot be seen: it must not steer the terminal, turn the direction of the
// text or hide in it. It comes before paint, whose colours it would take out as well.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if invisible(r) {
			return '·'
		}
		return r
	}, s)
}

// invisible are control and format characters (bidirectional ones among them), separators of lines, and letters that print as nothing.
func invisible(r rune) bool {
	return !unicode.IsGraphic(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// lines is printable for texts of several lines of our own.
func lines(s string) string {
	all := strings.Split(s, "\n")
	for i := range all {
		all[i] = printable(all[i])
	}
	return strings.Join(all, "\n")
}

// plain writes what cannot be seen in a JSON text as escapes: for a program it is the same text.
func plain(text []byte) []byte {
	if bytes.IndexFunc(text, func(r rune) bool { return r >= 0x7f && invisible(r) }) < 0 {
		return text
	}
	var out []byte
	for _, r := range string(text) {
		switch {
		case r < 0x7f || !invisible(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, "\\u%04x\\u%04x", high, low)
		default:
			out = fmt.Appendf(out, "\\u%04x", r)
		}
	}
	return out
}

// table prints rows in columns that fit the terminal; into a file or a pipe nothing is cut.
func (a *app) table(header []string, rows [][]string) {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if width, ok := a.terminal(a.stdout); ok {
		shrink(widths, width)
	}
	for n, row := range append([][]string{header}, rows...) {
		var b strings.Builder
		for i, cell := range row {
			text := cut(printable(cell), widths[i])
			if i < len(row)-1 {
				text += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2)
			}
			b.WriteString(text)
		}
		line := strings.TrimRight(b.String(), " ")
		if n == 0 {
			line = a.paint(a.stdout, bold, line)
		}
		fmt.Fprintln(a.stdout, line)
	}
}

// shrink takes from the widest column until all fit.
func shrink(widths []int, total int) {
	for {
		sum, widest := 2*(len(widths)-1), 0
		for i, w := range widths {
			sum += w
			if w > widths[widest] {
				widest = i
			}
		}
		if sum <= total || widths[widest] <= 8 {
			return
		}
		widths[widest] -= min(sum-total, widths[widest]-8)
	}
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// message prints one message as JSON.
func (a *app) message(m proto.Message) error {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	return a.indented(text)
}

// indented prints JSON for eyes as well; protojson's own spacing is random on purpose.
func (a *app) indented(text []byte) error {
	var v json.RawMessage = text
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", plain(out))
	return err
}

// value prints any value as JSON.
func (a *app) value(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.indented(text)
}

// fields prints names and values under each other; empty values are left out.
func (a *app) fields(pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(a.stdout, "%-*s  %s\n", width, pairs[i], printable(pairs[i+1]))
		}
	}
}

// progress writes over one line of standard error, when that is a terminal. done clears it.
func (a *app) progress(format string, args ...any) {
	if width, ok := a.terminal(a.stderr); ok {
		fmt.Fprint(a.stderr, "\r\x1b[K"+cut(fmt.Sprintf(format, args...), max(width-1, 8)))
	}
}

func (a *app) progressDone() {
	if _, ok := a.terminal(a.stderr); ok {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
}

// complain says what went wrong: one line, then the reasons.
func (a *app) complain(err error) {
	a.progressDone()
	text, reasons, incident := describe(err)
	fmt.Fprintln(a.stderr, a.paint(a.stderr, red, "sluice: ")+lines(text))
	for _, r := range reasons {
		fmt.Fprintln(a.stderr, "  - "+printable(r))
	}
	if incident != "" {
		fmt.Fprintln(a.stderr, "  incident "+incident+" in the log of the connector")
	}
}

// describe finds what an error says to people: the connector's own words when they are its.
func describe(err error) (text string, reasons []string, incident string) {
	var remote interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &remote) {
		return err.Error(), nil, ""
	}
	s := remote.GRPCStatus()
	text = printable(s.Message())
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			incident = printable(d.GetMetadata()["incident"])
			if d.GetReason() != "" && d.GetReason() != "internal" {
				text += " (" + printable(d.GetReason()) + ")"
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				reasons = append(reasons, v.GetDescription())
			}
		}
	}
	return text, reasons, incident
}

// when prints a time for people, in UTC and to the second.
func when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format("2006-01-02 15:04:05Z")
}

// encode is a message as one line of JSON.
func encode(m proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return plain(b.Bytes()), err
}
