package sheet

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// form says how a file keeps a cell.
type form uint8

const (
	written  form = iota // text, as all of CSV is
	stored               // a number in the sense of a spreadsheet: a double, good for 15 digits
	uncached             // a formula whose value is not in the file
	failed               // an error value such as #DIV/0!
)

// cell is one cell of a file.
type cell struct {
	text string
	form form
}

// wrong is what a reader of a cell has to say when it cannot be read; the zero value: nothing.
type wrong struct{ problem, want string }

// readCell reads one cell by the kind of its column and returns the value as the aspect takes it.
func (in *reader) readCell(c column, v cell) (string, wrong) {
	switch {
	case v.form == uncached:
		return "", wrong{"the formula has no stored value", "the value, or the file saved once more by the program that calculates it"}
	case v.form == failed:
		return "", wrong{"the formula ends in an error", c.hint}
	case v.text == "" && c.required:
		return "", wrong{"the cell is empty", c.hint}
	case v.text == "" && c.fallback == "":
		return "", wrong{}
	case v.text == "":
		return c.fallback, wrong{}
	case len(v.text) > maxCell:
		return "", wrong{"the cell is too long", "at most " + strconv.Itoa(maxCell) + " bytes"}
	case !utf8.ValidString(v.text):
		return "", wrong{"the cell is not in UTF-8", "the file saved as CSV in UTF-8"}
	}
	switch c.kind {
	case decimal:
		return readDecimal(v)
	case date:
		return readDate(v, in.date1904)
	case choice:
		return readChoice(c, v.text)
	}
	return readText(c, v)
}

func readText(c column, v cell) (string, wrong) {
	switch {
	case v.form == stored && strings.ContainsAny(v.text, "eE"):
		return "", wrong{"the number was shortened by the program that stored it", "the cell formatted as text, and " + c.hint}
	case c.longest > 0 && len(v.text) > c.longest:
		return "", wrong{"the cell is too long", "at most " + strconv.Itoa(c.longest) + " bytes"}
	case strings.ContainsFunc(v.text, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }):
		return "", wrong{"the cell holds characters that cannot be printed", "one line of plain text"}
	case c.pattern != nil && !c.pattern.MatchString(v.text):
		return "", wrong{"this does not have the form of a " + c.name, c.hint}
	}
	return v.text, wrong{}
}

func readChoice(c column, s string) (string, wrong) {
	for _, known := range c.choices {
		if strings.EqualFold(known, s) {
			return known, wrong{}
		}
	}
	if near := nearest(s, c.choices); near != "" {
		return "", wrong{"this is not one of the known values", "probably " + near}
	}
	return "", wrong{"this is not one of the known values", strings.Join(c.choices, ", ")}
}

// Decimals.

var (
	plainDecimal = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?$`)
	anyDecimal   = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$`)
	scientific   = regexp.MustCompile(`^[+-]?[0-9]{1,40}(\.[0-9]{1,40})?[eE][+-]?[0-9]{1,2}$`)
	thousands    = regexp.MustCompile(`^[+-]?[1-9][0-9]{0,2},[0-9]{3}$`)
	grouping     = strings.NewReplacer(" ", "", "\u00a0", "", "\u202f", "", "\u2009", "", "'", "", "’", "")
	minus        = strings.NewReplacer("\u2212", "-", "\u2013", "-")
)

// readDecimal returns the number as JSON writes it, digit for digit when it is text. What a spreadsheet stores as a double has 15 good
// digits: those are taken, as the program itself shows them.
func readDecimal(v cell) (string, wrong) {
	switch {
	case v.form == stored:
		if s, ok := fifteen(v.text); ok {
			return s, wrong{}
		}
	case plainDecimal.MatchString(v.text):
		return v.text, wrong{}
	case scientific.MatchString(v.text):
		if r, ok := new(big.Rat).SetString(v.text); ok {
			return "", wrong{"this is a number with an exponent", "the number written out, without an exponent: " + full(r)}
		}
	}
	return "", guess(v.text)
}

// guess says what somebody probably meant by a number that is none.
func guess(s string) wrong {
	bare := minus.Replace(grouping.Replace(s))
	if i := strings.IndexFunc(bare, func(r rune) bool { return !strings.ContainsRune("+-0123456789.,", r) }); i > 0 && anyDecimal.MatchString(strings.Replace(bare[:i], ",", ".", 1)) {
		return wrong{"there is more than a number", "the number alone: " + tidy(strings.Replace(bare[:i], ",", ".", 1))}
	}
	comma, point := strings.LastIndexByte(bare, ','), strings.LastIndexByte(bare, '.')
	switch {
	case thousands.MatchString(bare):
		return wrong{"a comma is ambiguous", "a decimal point: " + strings.Replace(bare, ",", ".", 1) + ", or without a comma: " + strings.Replace(bare, ",", "", 1)}
	case comma > point:
		bare = strings.ReplaceAll(bare[:comma], ".", "") + "." + bare[comma+1:]
		if anyDecimal.MatchString(bare) {
			return wrong{"this has a decimal comma", "a decimal point: " + tidy(bare)}
		}
	case comma >= 0:
		bare = strings.ReplaceAll(bare[:point], ",", "") + bare[point:]
		fallthrough
	default:
		if anyDecimal.MatchString(bare) {
			if digits := tidy(bare); plainDecimal.MatchString(digits) {
				return wrong{"the number is written in a form that is not read", "digits and a decimal point only: " + digits}
			}
			return wrong{"the number has too many digits", "at most 30 before and 30 after the decimal point"}
		}
	}
	return wrong{"this is not a number", "a number such as 3.412"}
}

// tidy writes a number without plus, outer zeros and bare points.
func tidy(s string) string {
	s, negative := strings.CutPrefix(strings.TrimPrefix(s, "+"), "-")
	whole, fraction, _ := strings.Cut(s, ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative {
		return "-" + whole
	}
	return whole
}

// fifteen writes a stored number with its 15 good digits, without an exponent.
func fifteen(s string) (string, bool) {
	if plainDecimal.MatchString(s) && len(s) <= 16 {
		return s, true
	}
	r, ok := new(big.Rat), len(s) <= 64 && (scientific.MatchString(s) || anyDecimal.MatchString(s))
	if ok {
		r, ok = r.SetString(s)
	}
	if !ok {
		return "", false
	}
	rounded, ok := new(big.Rat).SetString(new(big.Float).SetPrec(512).SetRat(r).Text('e', 14))
	if !ok {
		return "", false
	}
	out := full(rounded)
	return out, plainDecimal.MatchString(out)
}

// full writes a decimal without an exponent, exactly.
func full(r *big.Rat) string {
	n, _ := r.FloatPrec()
	return r.FloatString(n)
}

// Dates.

// readDate returns the start of the day in UTC, or the instant when there is one.
func readDate(v cell, date1904 bool) (string, wrong) {
	for _, layout := range []string{"2006-01-02", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, v.text); err == nil && t.Year() >= 1900 {
			return t.UTC().Format(time.RFC3339), wrong{}
		}
	}
	if v.form == stored {
		if t, ok := serial(v.text, date1904); ok {
			return t.Format(time.RFC3339), wrong{}
		}
	}
	return "", guessDate(v.text)
}

// serial reads a spreadsheet's count of days since the end of 1899 (or the start of 1904), from 1954 to 2200: what lies outside is no
// date of a footprint, but a number in the wrong column.
func serial(s string, date1904 bool) (time.Time, bool) {
	r, ok := new(big.Rat), len(s) <= 32 && anyDecimal.MatchString(s)
	if ok {
		r, ok = r.SetString(s)
	}
	if !ok || r.Cmp(big.NewRat(20_000, 1)) < 0 || r.Cmp(big.NewRat(110_000, 1)) > 0 {
		return time.Time{}, false
	}
	epoch := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	if date1904 {
		epoch = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	// To the second, rounded: a time of day is a fraction that a double cannot hold.
	seconds := new(big.Rat).Mul(r, big.NewRat(86_400, 1))
	seconds.Add(seconds, big.NewRat(1, 2))
	whole := new(big.Int).Quo(seconds.Num(), seconds.Denom())
	return epoch.Add(time.Duration(whole.Int64()) * time.Second), true
}

var numericDate = regexp.MustCompile(`^([0-9]{1,4})[./ -]([0-9]{1,2})[./ -]([0-9]{2,4})$`)

// guessDate says which day somebody probably meant; both when it may be two.
func guessDate(s string) wrong {
	for _, layout := range []string{"20060102", "2 January 2006", "2 Jan 2006", "2. January 2006", "January 2, 2006", "Jan 2, 2006", "2-Jan-2006", "2-Jan-06"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1900 {
			return wrong{"the date is written in a form that is not read", t.Format(time.DateOnly)}
		}
	}
	other := wrong{"this is not a date", "a date such as 2025-12-31"}
	m := numericDate.FindStringSubmatch(s)
	if m == nil {
		return other
	}
	if len(m[1]) == 4 {
		if t, ok := day(m[1], m[2], m[3]); ok {
			return wrong{"the date is written in a form that is not read", t}
		}
		return wrong{"there is no such day", "a date such as 2025-12-31"}
	}
	dayFirst, ok1 := day(m[3], m[2], m[1])
	monthFirst, ok2 := day(m[3], m[1], m[2])
	ok2 = ok2 && strings.Contains(s, "/") // with points or hyphens, the day stands first
	switch {
	case ok1 && ok2 && dayFirst != monthFirst:
		return wrong{"the date may be two days", dayFirst + " or " + monthFirst}
	case ok1:
		return wrong{"the date is written in a form that is not read", dayFirst}
	case ok2:
		return wrong{"the date is written in a form that is not read", monthFirst}
	}
	return wrong{"there is no such day", "a date such as 2025-12-31"}
}

func day(year, month, dayOfMonth string) (string, bool) {
	if len(year) == 2 {
		year = "20" + year
	}
	t, err := time.Parse("2006-1-2", year+"-"+month+"-"+dayOfMonth)
	return t.Format(time.DateOnly), err == nil
}
