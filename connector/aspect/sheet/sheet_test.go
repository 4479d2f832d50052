package sheet_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/aspect/sheet"
)

var now = time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)

func models(t testing.TB) *aspect.Models {
	t.Helper()
	m, err := aspect.NewModels()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t testing.TB, format, text string) *sheet.Result {
	t.Helper()
	r, err := sheet.Read(t.Context(), strings.NewReader(text), sheet.Options{Format: format, Models: models(t), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func demo(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../../cmd/sluice/demodata/battery-parts.csv")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheDemoPartListIsSound(t *testing.T) {
	t.Parallel()
	r := read(t, "csv", demo(t))
	if r.Total != 0 || len(r.Parts) < 40 {
		t.Fatalf("%d parts, faults %+v", len(r.Parts), r.Faults)
	}
}

func TestTheTemplateReadsBack(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"csv", "xlsx"} {
		var b bytes.Buffer
		if err := sheet.Template(&b, format); err != nil {
			t.Fatal(err)
		}
		r := read(t, format, b.String())
		if r.Total != 0 || len(r.Parts) != 1 {
			t.Errorf("%s: %d parts, faults %+v", format, len(r.Parts), r.Faults)
		}
	}
}

func TestDecimalsKeepTheirDigits(t *testing.T) {
	t.Parallel()
	lines := strings.SplitN(demo(t), "\n", 3)
	cells := strings.Split(lines[1], ",")
	cells[len(cells)-8], cells[len(cells)-7] = "33.3000000000000000000001", "0.10"
	text := lines[0] + "\n" + strings.Join(cells, ",") + "\n"
	r := read(t, "csv", text)
	if len(r.Parts) != 1 {
		t.Fatalf("faults %+v", r.Faults)
	}
	for _, want := range []string{`"primaryDataShare":33.3000000000000000000001`, `"exemptedEmissionsPercent":0.10`} {
		if !bytes.Contains(r.Parts[0].Payload, []byte(want)) {
			t.Errorf("the payload does not hold %s", want)
		}
	}
}

func TestEveryFaultNamesRowColumnAndWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	header := strings.SplitN(demo(t), "\n", 2)[0]
	good := `X-1,Part,Cobalt Cells,BPNL00000000COB1,piece,1,1,2,2,,,,,,,,,,Europe,,2025-01-01,2025-12-31,2028-12-31,`
	for _, tt := range []struct {
		name, row    string
		column, want string
	}{
		{"a decimal comma", strings.Replace(good, ",2,2,", `,"2,5",2,`, 1), "pcf_including_uptake (H)", "2.5"},
		{"an exponent", strings.Replace(good, ",2,2,", `,2e3,2,`, 1), "pcf_including_uptake (H)", "exponent"},
		{"a word for a number", strings.Replace(good, ",2,2,", `,much,2,`, 1), "pcf_including_uptake (H)", "3.412"},
		{"an empty cell that is required", strings.Replace(good, ",Part,", ",,", 1), "part_name (B)", "name"},
		{"a number that is no business partner number", strings.Replace(good, "BPNL00000000COB1", "BPNX", 1), "bpn (D)", "12 characters"},
		{"a country in words", strings.Replace(good, "Europe,,", "Europe,Sweden,", 1), "country (T)", "two letters"},
		{"an unknown unit", strings.Replace(good, "piece", "barrel", 1), "unit (E)", "kilogram"},
		{"a date the other way round", strings.Replace(good, "2025-01-01", "01.01.2025", 1), "period_start (U)", "2025-01-01"},
		{"a day that does not exist", strings.Replace(good, "2025-01-01", "2025-02-30", 1), "period_start (U)", "2025-12-31"},
		{"a negative mass", strings.Replace(good, ",1,1,2,", ",1,-1,2,", 1), "mass_kg (G)", "kg"},
		{"an end before the start", strings.Replace(good, "2025-12-31", "2024-12-31", 1), "period_end (V)", "YYYY-MM-DD"},
		{"more with uptake than without", strings.Replace(good, ",2,2,", ",3,2,", 1), "pcf_including_uptake (H)", "CO2e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := read(t, "csv", header+"\n"+tt.row+"\n")
			if r.Total != 1 || len(r.Parts) != 0 {
				t.Fatalf("%d parts, faults %+v; want one fault", len(r.Parts), r.Faults)
			}
			f := r.Faults[0]
			if f.Row != 2 || f.Column != tt.column || !strings.Contains(f.Want, tt.want) {
				t.Errorf("fault %+v; want row 2, column %s, want %q", f, tt.column, tt.want)
			}
		})
	}
}

func TestAThousandFaultsAreAllReported(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(strings.SplitN(demo(t), "\n", 2)[0] + "\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "X-%d,Part,Cobalt Cells,BPNL00000000COB1,piece,1,1,much,2,,,,,,,,,,Europe,,2025-01-01,2025-12-31,2028-12-31,\n", i)
	}
	r := read(t, "csv", b.String())
	if r.Total != 1000 || len(r.Faults) != 1000 || r.Faults[999].Row != 1001 {
		t.Errorf("%d faults, last %+v", r.Total, r.Faults[len(r.Faults)-1])
	}
}

func TestAHeaderThatIsWrongIsToldWithWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	header := strings.SplitN(demo(t), "\n", 2)[0]
	for _, tt := range []struct{ name, text, problem, want string }{
		{"a misspelt column", strings.Replace(header, "mass_kg", "mass_kq", 1) + "\n", "not known", "mass_kg"},
		{"a missing column", strings.Replace(header, ",mass_kg", "", 1) + "\n", "missing", "mass_kg"},
		{"a column twice", header + ",unit\n", "twice", "once"},
		{"an empty file", "", "no rows", "header"},
		{"a header alone", header + "\n", "no rows", "one part"},
	} {
		r := read(t, "csv", tt.text)
		found := false
		for _, f := range r.Faults {
			found = found || strings.Contains(f.Problem, tt.problem) && strings.Contains(f.Want, tt.want)
		}
		if !found {
			t.Errorf("%s: faults %+v", tt.name, r.Faults)
		}
	}
}

func TestSemicolonsTabsMarksAndLineEndsAreUnderstood(t *testing.T) {
	t.Parallel()
	lines := strings.SplitN(demo(t), "\n", 5)
	plain := lines[0] + "\n" + "X-1,Part,Cobalt Cells,BPNL00000000COB1,piece,1,1,2,2,,,,,,,,,,Europe,,2025-01-01,2025-12-31,2028-12-31,\n"
	for name, text := range map[string]string{"semicolons": strings.ReplaceAll(plain, ",", ";"), "tabs": strings.ReplaceAll(plain, ",", "\t"),
		"a byte order mark": "\ufeff" + plain, "CRLF": strings.ReplaceAll(plain, "\n", "\r\n")} {
		if r := read(t, "csv", text); len(r.Parts) != 1 {
			t.Errorf("%s: faults %+v", name, r.Faults)
		}
	}
}

func TestExcelNumbersAndDatesAreReadAsTheyAreMeant(t *testing.T) {
	t.Parallel()
	f := excelize.NewFile()
	header := strings.Split(strings.SplitN(demo(t), "\n", 2)[0], ",")
	row := []any{"X-1", "Part", "Cobalt Cells", "BPNL00000000COB1", "piece", 1, 0.1, 0.30000000000000004, 1e-3 + 0.3, nil, nil, nil, nil, nil, nil, nil, nil, nil,
		"Europe", nil, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC), "2028-12-31", nil}
	for i, name := range header {
		cell, _ := excelize.CoordinatesToCellName(i+1, 1)
		_ = f.SetCellValue("Sheet1", cell, name)
		cell, _ = excelize.CoordinatesToCellName(i+1, 2)
		_ = f.SetCellValue("Sheet1", cell, row[i])
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	r := read(t, "xlsx", b.String())
	if len(r.Parts) != 1 {
		t.Fatalf("faults %+v", r.Faults)
	}
	for _, want := range []string{`"productMassPerDeclaredUnit":0.1,`, `"pcfIncludingBiogenicUptake":0.3}`, `"referencePeriodStart":"2025-01-01T00:00:00Z"`} {
		if !bytes.Contains(r.Parts[0].Payload, []byte(want)) {
			t.Errorf("the payload does not hold %s:\n%s", want, r.Parts[0].Payload)
		}
	}
}

func TestAPartThatIsThereTwiceIsAFault(t *testing.T) {
	t.Parallel()
	text := demo(t)
	second := strings.SplitN(text, "\n", 3)[1]
	r := read(t, "csv", text+second+"\n")
	if r.Total != 1 || !strings.Contains(r.Faults[0].Problem, "row 2 already") {
		t.Errorf("faults %+v", r.Faults)
	}
}

func TestJSONIsReadAsOneAsManyOrByLine(t *testing.T) {
	t.Parallel()
	parts := read(t, "csv", demo(t)).Parts
	one, two := string(parts[0].Payload), string(parts[1].Payload)
	for name, tt := range map[string]struct {
		text string
		want int
	}{"one": {one, 1}, "an array": {"[" + one + "," + two + "]", 2}, "lines": {one + "\n" + two + "\n", 2}} {
		if r := read(t, "json", tt.text); len(r.Parts) != tt.want {
			t.Errorf("%s: %d parts, faults %+v", name, len(r.Parts), r.Faults)
		}
	}
}

func FuzzCSVNeverPanics(f *testing.F) {
	f.Add("part_id,unit\nx,piece\n")
	f.Add("part_id;\"\n")
	m, err := aspect.NewModels()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := sheet.Read(t.Context(), strings.NewReader(text), sheet.Options{Format: "csv", Models: m, Now: now})
		if err == nil && len(r.Parts) > r.Rows {
			t.Errorf("%d parts of %d rows", len(r.Parts), r.Rows)
		}
	})
}

func BenchmarkTwentyThousandRows(b *testing.B) {
	header := strings.SplitN(demo(b), "\n", 2)[0]
	var text strings.Builder
	text.WriteString(header + "\n")
	for i := range 20000 {
		fmt.Fprintf(&text, "X-%d,Part,Cobalt Cells,BPNL00000000COB1,piece,1,1,2,2,,,,,,,,,,Europe,,2025-01-01,2025-12-31,2028-12-31,\n", i)
	}
	for b.Loop() {
		if r := read(b, "csv", text.String()); len(r.Parts) != 20000 {
			b.Fatal(r.Faults[:1])
		}
	}
}
