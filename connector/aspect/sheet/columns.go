package sheet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
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
	member   string // of the aspect, that its faults are told by
	kind     kind
	required bool
	fallback string         // what an empty cell means
	choices  []string       // of a choice
	pattern  *regexp.Regexp // of a text; nil: any
	longest  int            // of a text, in bytes; 0: maxCell
	example  string
	hint     string
}

var units = []string{"piece", "kilogram", "liter", "cubic meter", "kilowatt hour", "megajoule", "ton kilometer", "square meter", "hour", "megabit", "second"}

var regions = []string{"Africa", "Americas", "Asia", "Europe", "Oceania", "Australia and New Zealand", "Central Asia", "Eastern Asia", "Eastern Europe",
	"Latin America and the Caribbean", "Melanesia", "Micronesia", "Northern Africa", "Northern America", "Northern Europe", "Polynesia", "South-eastern Asia",
	"Southern Asia", "Southern Europe", "Sub-Saharan Africa", "Western Asia", "Western Europe", "Global", "Several"}

// longestID keeps the id of the asset, in which a byte may become three, within what a catalog takes.
const longestID = 128

// columns is the template, in order.
var columns = []column{
	{name: "part_id", member: "productIds", required: true, longest: longestID, example: "CC-21700-50", hint: "manufacturer part id"},
	{name: "part_name", member: "productNameCompany", required: true, example: "Cylindrical cell 21700, 5.0 Ah", hint: "name of the part"},
	{name: "company", member: "companyName", required: true, example: "Cobalt Cells", hint: "legal name of the manufacturer"},
	{name: "bpn", member: "companyIds", required: true, pattern: regexp.MustCompile(`^BPNL[0-9A-Za-z]{12}$`), example: "BPNL00000000COB1", hint: "business partner number, BPNL and 12 characters"},
	{name: "unit", member: "declaredUnitOfMeasurement", kind: choice, required: true, choices: units, example: "piece", hint: "declared unit"},
	{name: "amount", member: "declaredUnitAmount", kind: decimal, fallback: "1", example: "1", hint: "declared amount, usually 1"},
	{name: "mass_kg", member: "productMassPerDeclaredUnit", kind: decimal, required: true, example: "0.070", hint: "mass per declared unit without packaging, kg"},
	{name: "pcf_including_uptake", member: "pcfIncludingBiogenicUptake", kind: decimal, required: true, example: "3.412", hint: "kg CO2e per declared unit, with biogenic uptake"},
	{name: "pcf_excluding_uptake", member: "pcfExcludingBiogenicUptake", kind: decimal, required: true, example: "3.412", hint: "kg CO2e per declared unit, without biogenic uptake"},
	{name: "fossil", member: "fossilGhgEmissions", kind: decimal, example: "3.380", hint: "fossil greenhouse gases, kg CO2e"},
	{name: "biogenic_non_co2", member: "biogenicNonCO2Emissions", kind: decimal, example: "0.012", hint: "biogenic, not CO2, kg CO2e"},
	{name: "biogenic_uptake", member: "biogenicCO2Uptake", kind: decimal, example: "0", hint: "CO2 uptake, 0 or negative"},
	{name: "land_use_change", member: "landUseChangeGhgEmissions", kind: decimal, example: "0.020", hint: "kg CO2e"},
	{name: "land_management", member: "landManagementBiogenicCO2Emissions", kind: decimal, example: "0", hint: "kg CO2e"},
	{name: "land_removals", member: "landManagementBiogenicCO2Removals", kind: decimal, example: "0", hint: "removals, 0 or negative"},
	{name: "aircraft", member: "aircraftGhgEmissions", kind: decimal, example: "0", hint: "kg CO2e"},
	{name: "primary_data_share", member: "primaryDataShare", kind: decimal, example: "62.5", hint: "percent"},
	{name: "exempted_percent", member: "exemptedEmissionsPercent", kind: decimal, fallback: "0", example: "1.5", hint: "emissions left out, percent, less than 3"},
	{name: "region", member: "geographyRegionOrSubregion", kind: choice, required: true, choices: regions, example: "Northern Europe", hint: "where it is made"},
	{name: "country", member: "geographyCountry", pattern: regexp.MustCompile(`^[A-Z]{2}$`), example: "SE", hint: "two letters, optional"},
	{name: "period_start", member: "referencePeriodStart", kind: date, required: true, example: "2025-01-01", hint: "reference period, YYYY-MM-DD"},
	{name: "period_end", member: "referencePeriodEnd", kind: date, required: true, example: "2025-12-31", hint: "reference period, YYYY-MM-DD"},
	{name: "valid_until", member: "validityPeriodEnd", kind: date, required: true, example: "2028-12-31", hint: "end of validity, YYYY-MM-DD"},
	{name: "rules", member: "productOrSectorSpecificRules", fallback: "PCF Rulebook 4.0.1", example: "PCF Rulebook 4.0.1", hint: "product or sector rules"},
}

func columnOf(name string) (int, bool) {
	i := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
	return i, i >= 0
}

// columnAt finds the column that a place of the aspect comes from: by the last name in the JSON pointer.
func columnAt(pointer string) (int, bool) {
	steps := strings.Split(pointer, "/")
	for _, step := range slices.Backward(steps) {
		if i := slices.IndexFunc(columns, func(c column) bool { return c.member == step }); i >= 0 {
			return i, true
		}
	}
	return 0, false
}

// key is a header as it is compared: people write capitals, blanks and hyphens as they please.
func key(header string) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(header))
}

// nearest suggests the word that a misspelt one probably means; "" when nothing is near.
func nearest(word string, known []string) string {
	best, distance := "", 4
	for _, k := range known {
		if d := edits(strings.ToLower(word), strings.ToLower(k)); d < distance && d < len(k)/2+1 {
			best, distance = k, d
		}
	}
	return best
}

func names() []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name
	}
	return out
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

// letter is a column's name in a spreadsheet.
func letter(i int) string {
	out := ""
	for i++; i > 0; i = (i - 1) / 26 {
		out = string(rune('A'+(i-1)%26)) + out
	}
	return out
}

func label(i int, name string) string { return fmt.Sprintf("%s (%s)", name, letter(i)) }
