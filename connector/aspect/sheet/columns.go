package sheet

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

// kind says how a cell is read.
type kind int

const (
	text kind = iota
	decimal
	date
	choice
)

// column is one column of the template.
type column struct {
	name     string
	kind     kind
	required bool
	fallback string         // what an empty cell means
	choices  []string       // of a choice
	pattern  *regexp.Regexp // of a text; nil: any
	example  string
	hint     string
}

var units = []string{"piece", "kilogram", "liter", "cubic meter", "kilowatt hour", "megajoule", "ton kilometer", "square meter", "hour", "megabit", "second"}

var regions = []string{"Africa", "Americas", "Asia", "Europe", "Oceania", "Australia and New Zealand", "Central Asia", "Eastern Asia", "Eastern Europe",
	"Latin America and the Caribbean", "Melanesia", "Micronesia", "Northern Africa", "Northern America", "Northern Europe", "Polynesia", "South-eastern Asia",
	"Southern Asia", "Southern Europe", "Sub-Saharan Africa", "Western Asia", "Western Europe", "Global", "Several"}

// columns is the template, in order.
var columns = []column{
	{name: "part_id", required: true, example: "CC-21700-50", hint: "manufacturer part id"},
	{name: "part_name", required: true, example: "Cylindrical cell 21700, 5.0 Ah", hint: "name of the part"},
	{name: "company", required: true, example: "Cobalt Cells", hint: "legal name of the manufacturer"},
	{name: "bpn", required: true, pattern: regexp.MustCompile(`^BPNL[0-9A-Za-z]{12}$`), example: "BPNL00000000COB1", hint: "business partner number, BPNL and 12 characters"},
	{name: "unit", kind: choice, required: true, choices: units, example: "piece", hint: "declared unit"},
	{name: "amount", kind: decimal, fallback: "1", example: "1", hint: "declared amount, usually 1"},
	{name: "mass_kg", kind: decimal, required: true, example: "0.070", hint: "mass per declared unit without packaging, kg"},
	{name: "pcf_including_uptake", kind: decimal, required: true, example: "3.412", hint: "kg CO2e per declared unit, with biogenic uptake"},
	{name: "pcf_excluding_uptake", kind: decimal, required: true, example: "3.412", hint: "kg CO2e per declared unit, without biogenic uptake"},
	{name: "fossil", kind: decimal, example: "3.380", hint: "fossil greenhouse gases, kg CO2e"},
	{name: "biogenic_non_co2", kind: decimal, example: "0.012", hint: "biogenic, not CO2, kg CO2e"},
	{name: "biogenic_uptake", kind: decimal, example: "0", hint: "CO2 uptake, 0 or negative"},
	{name: "land_use_change", kind: decimal, example: "0.020", hint: "kg CO2e"},
	{name: "land_management", kind: decimal, example: "0", hint: "kg CO2e"},
	{name: "land_removals", kind: decimal, example: "0", hint: "removals, 0 or negative"},
	{name: "aircraft", kind: decimal, example: "0", hint: "kg CO2e"},
	{name: "primary_data_share", kind: decimal, example: "62.5", hint: "percent"},
	{name: "exempted_percent", kind: decimal, fallback: "0", example: "1.5", hint: "emissions left out, percent, less than 3"},
	{name: "region", kind: choice, required: true, choices: regions, example: "Northern Europe", hint: "where it is made"},
	{name: "country", pattern: regexp.MustCompile(`^[A-Z]{2}$`), example: "SE", hint: "two letters, optional"},
	{name: "period_start", kind: date, required: true, example: "2025-01-01", hint: "reference period, YYYY-MM-DD"},
	{name: "period_end", kind: date, required: true, example: "2025-12-31", hint: "reference period, YYYY-MM-DD"},
	{name: "valid_until", kind: date, required: true, example: "2028-12-31", hint: "end of validity, YYYY-MM-DD"},
	{name: "rules", fallback: "PCF Rulebook 4.0.1", example: "PCF Rulebook 4.0.1", hint: "product or sector rules"},
}

func columnOf(name string) (int, bool) {
	i := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
	return i, i >= 0
}

// nearest suggests the column that a misspelt header probably means; "" when nothing is near.
func nearest(name string) string {
	best, distance := "", 4
	for _, c := range columns {
		if d := edits(name, c.name); d < distance {
			best, distance = c.name, d
		}
	}
	return best
}

// edits is the Levenshtein distance of two short strings.
func edits(a, b string) int {
	if len(a) > 64 {
		a = a[:64]
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		last := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := last
			if a[i-1] != b[j-1] {
				cost++
			}
			last = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

var (
	plainDecimal = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?$`)
	commaDecimal = regexp.MustCompile(`^-?[0-9]{1,30},[0-9]{1,30}$`)
	scientific   = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]{1,3}$`)
)

// readDecimal returns the number as JSON writes it, or what would be right. typed says that the file keeps numbers as numbers (Excel):
// their stored form is exact to 15 digits.
func readDecimal(s string, typed bool) (string, string) {
	if typed && (scientific.MatchString(s) || digits(s) >= 15) {
		if r, ok := new(big.Rat).SetString(s); ok {
			return trimZeros(new(big.Float).SetPrec(256).SetRat(r)), ""
		}
	}
	switch {
	case plainDecimal.MatchString(s):
		return s, ""
	case commaDecimal.MatchString(s):
		return "", "a decimal point: " + strings.Replace(s, ",", ".", 1)
	case scientific.MatchString(s):
		return "", "the number written out, without an exponent"
	}
	return "", "a number such as 3.412"
}

func digits(s string) int {
	n := 0
	for _, c := range strings.TrimLeft(s, "-0.") {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	return n
}

// trimZeros writes a stored number with its 15 good digits.
func trimZeros(f *big.Float) string {
	rounded, ok := new(big.Rat).SetString(f.Text('e', 14))
	if !ok {
		return "0"
	}
	out := rounded.FloatString(30)
	return strings.TrimSuffix(strings.TrimRight(out, "0"), ".")
}

// readDate returns the start of the day in UTC.
func readDate(s string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// letter is a column's name in a spreadsheet.
func letter(i int) string {
	out := ""
	for i++; i > 0; i = (i - 1) / 26 {
		out = string(rune('A'+(i-1)%26)) + out
	}
	return out
}

func label(i int, name string) string { return fmt.Sprintf("%s (%s)", name, letter(i)) }
