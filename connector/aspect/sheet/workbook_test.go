package sheet_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/sluice-connector/sluice/connector/aspect/sheet"
	"github.com/sluice-connector/sluice/connector/fault"
)

// part is one of an archive; it may be far larger than the archive.
type part struct {
	name  string
	write func(io.Writer)
}

func text(name, s string) part {
	return part{name, func(w io.Writer) { _, _ = io.WriteString(w, s) }}
}

// blanks writes mebibytes of nothing between two texts.
func blanks(name, before string, mib int, after string) part {
	return part{name, func(w io.Writer) {
		_, _ = io.WriteString(w, before)
		block := bytes.Repeat([]byte(" "), 1<<20)
		for range mib {
			_, _ = w.Write(block)
		}
		_, _ = io.WriteString(w, after)
	}}
}

const (
	roots    = `<Relationships><Relationship Id="r1" Type="x/officeDocument" Target="xl/workbook.xml"/></Relationships>`
	book     = `<workbook><sheets><sheet name="a" id="s1"/></sheets></workbook>`
	bookRels = `<Relationships><Relationship Id="s1" Type="x/worksheet" Target="sheet.xml"/><Relationship Id="s2" Type="x/sharedStrings" Target="strings.xml"/></Relationships>`
	grid     = `<worksheet><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>part_id</t></is></c></row></sheetData></worksheet>`
)

// archive is a workbook in which the given parts stand for those of the same name.
func archive(t *testing.T, parts ...part) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	given := map[string]bool{}
	for _, p := range parts {
		given[p.name] = true
	}
	for _, p := range []part{text("_rels/.rels", roots), text("xl/workbook.xml", book), text("xl/_rels/workbook.xml.rels", bookRels), text("xl/sheet.xml", grid)} {
		if !given[p.name] {
			parts = append(parts, p)
		}
	}
	for _, p := range parts {
		w, err := z.Create(p.name)
		if err != nil {
			t.Fatal(err)
		}
		p.write(w)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAWorkbookThatIsABombIsRefusedBeforeItIsUnpacked(t *testing.T) {
	t.Parallel()
	many := func(n int) (out []part) {
		for i := range n {
			out = append(out, text(fmt.Sprintf("pictures/%d", i), ""))
		}
		return out
	}
	deep := strings.Repeat("<a>", 65) + strings.Repeat("</a>", 65)
	for _, tt := range []struct {
		name  string
		parts []part
		want  fault.Kind
		words string
	}{
		{"a list of sheets that unpacks to much more", []part{text("xl/workbook.xml", "<workbook>"+strings.Repeat("<a> </a>", 600_000)+"</workbook>")}, fault.TooLarge, "unpacks to more"},
		{"relations that unpack to much more", []part{text("_rels/.rels", "<Relationships>"+strings.Repeat("<a> </a>", 600_000)+"</Relationships>")}, fault.TooLarge, "unpacks to more"},
		{"one text of a hundred mebibytes", []part{blanks("xl/sheet.xml", "<worksheet>", 100, "</worksheet>")}, fault.TooLarge, "unpacks to more"},
		{"one attribute of a hundred mebibytes", []part{blanks("xl/sheet.xml", `<worksheet a="`, 100, `"/>`)}, fault.TooLarge, "unpacks to more"},
		{"shared texts without end", []part{{"xl/strings.xml", func(w io.Writer) {
			one := []byte("<si><t>" + strings.Repeat("x", 4096) + "</t></si>")
			_, _ = io.WriteString(w, "<sst>")
			for range 30_000 {
				_, _ = w.Write(one)
			}
			_, _ = io.WriteString(w, "</sst>")
		}}}, fault.TooLarge, "the texts of the sheet"},
		{"more parts than a workbook has", many(10_001), fault.TooLarge, "parts"},
		{"a part that is there twice", []part{text("xl/sheet.xml", grid), text("xl/sheet.xml", grid)}, fault.Malformed, "twice"},
		{"elements within elements", []part{text("xl/sheet.xml", "<worksheet>"+deep+"</worksheet>")}, fault.Malformed, "nested"},
		{"entities that multiply", []part{text("xl/sheet.xml", `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><worksheet>&b;</worksheet>`)}, fault.Malformed, "entity"},
		{"an entity that reads a file", []part{text("xl/sheet.xml", `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><worksheet>&f;</worksheet>`)}, fault.Malformed, "entity"},
		{"an encoding that hides what it says", []part{text("xl/sheet.xml", `<?xml version="1.0" encoding="utf-7"?><worksheet/>`)}, fault.Malformed, "encoding"},
		{"a sheet that is somewhere else", []part{text("xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="s1" Type="x/worksheet" TargetMode="External" Target="https://evil.example/"/></Relationships>`)}, fault.Malformed, "no sheet"},
		{"a sheet outside of the archive", []part{text("xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="s1" Type="x/worksheet" Target="../../../../etc/passwd"/></Relationships>`)}, fault.Malformed, "missing"},
		{"a row that is out of order", []part{text("xl/sheet.xml", `<worksheet><row r="2"></row><row r="1"></row></worksheet>`)}, fault.Malformed, "out of order"},
		{"a row further down than there can be", []part{text("xl/sheet.xml", `<worksheet><row r="1048577"></row></worksheet>`)}, fault.Malformed, "out of order"},
		{"a cell further out than there can be", []part{text("xl/sheet.xml", `<worksheet><row r="1"><c r="ZZZ1"></c></row></worksheet>`)}, fault.Malformed, "out of order"},
		{"a sheet that ends early", []part{text("xl/sheet.xml", `<worksheet><row r="1">`)}, fault.Malformed, "unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := sheet.Read(t.Context(), strings.NewReader(archive(t, tt.parts...)), sheet.Options{Format: "xlsx", Models: models(t), Now: now})
			if !fault.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.words)
			}
		})
	}
}

func TestPartsThatAreNotReadCostNothing(t *testing.T) {
	t.Parallel()
	r := read(t, "xlsx", archive(t, blanks("xl/media/picture.png", "", 300, "")))
	if r.Total == 0 || len(r.Parts) != 0 {
		t.Errorf("%d parts, %d faults; want the faults of a header alone", len(r.Parts), r.Total)
	}
}

func TestAThousandFaultsOfAWorkbookAreAllReportedByTheirCells(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(strings.SplitN(demo(t), "\n", 2)[0] + "\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "X-%d,Part,Cobalt Cells,BPNL00000000COB1,piece,1,1,much,2,,,,,,,,,,Europe,,2025-01-01,2025-12-31,2028-12-31,\n", i)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	f := excelize.NewFile()
	for i, row := range rows {
		if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	var file bytes.Buffer
	if err := f.Write(&file); err != nil {
		t.Fatal(err)
	}
	r := read(t, "xlsx", file.String())
	if r.Total != 1000 || len(r.Faults) != 1000 || len(r.Parts) != 0 {
		t.Fatalf("%d faults, %d of them told, %d parts; want 1000, all of them, and none", r.Total, len(r.Faults), len(r.Parts))
	}
	for i, wrong := range r.Faults {
		if wrong.Row != i+2 || !strings.Contains(wrong.Column, "(H)") || wrong.Value != "much" || wrong.Want == "" {
			t.Fatalf("fault %d: %+v; want row %d, column H, what stands there and what would be right", i, wrong, i+2)
		}
	}
}
