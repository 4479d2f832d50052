package sheet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/schemas"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

const (
	maxRows   = 1_000_000
	maxFaults = 10_000
	maxCell   = 4096
	maxFile   = 256 << 20
	maxUnzip  = 512 << 20
	chunk     = 256
)

// Fault is one thing wrong in a file.
type Fault struct {
	Row     int    // from 1, the header is 1; 0: the whole file
	Column  string // header and letter; "" when it is not about one
	Value   string // what stands there, cut
	Problem string
	Want    string
}

// Part is one row that became a footprint.
type Part struct {
	Row     int
	ID      string // manufacturer part id
	Name    string
	Payload []byte // the aspect
}

// Result is a whole file.
type Result struct {
	Rows   int
	Parts  []Part
	Faults []Fault
	Total  int // faults, also those that are not in Faults
}

// Options say how to read.
type Options struct {
	Format   string // "csv", "xlsx" or "json"
	Models   *aspect.Models
	Now      time.Time
	Progress func(done, total int) // may be nil; total is 0 while unknown
}

// Read reads a file of at most 256 MiB and a million rows. Faults in the content are in the Result; an error means that the file
// could not be read as what it claims to be.
func Read(ctx context.Context, r io.Reader, o Options) (*Result, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fault.Wrap("sheet.Read", fault.Unavailable, err)
	}
	if len(data) > maxFile {
		return nil, fault.New("sheet.Read", fault.TooLarge, "the file has more than %d MiB", maxFile>>20)
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	in := &reader{o: o, result: &Result{}, seen: map[string]int{}}
	switch o.Format {
	case "csv":
		err = in.csv(ctx, data)
	case "xlsx":
		err = in.xlsx(ctx, data)
	case "json":
		err = in.json(ctx, data)
	default:
		return nil, fault.New("sheet.Read", fault.Malformed, "format %q is not known; want csv, xlsx or json", o.Format)
	}
	if err != nil {
		return nil, err
	}
	return in.finish(), nil
}

type reader struct {
	o      Options
	result *Result
	seen   map[string]int // part id -> row
	typed  bool           // the file keeps numbers and dates as numbers

	header []int // column of the file -> column of the template, -1 for unknown
	rows   []row
}

type row struct {
	number int
	cells  []string
}

func (in *reader) fail(f Fault) {
	in.result.Total++
	if len(in.result.Faults) < maxFaults {
		if len(f.Value) > 80 {
			f.Value = strings.ToValidUTF8(f.Value[:80], "") + "…"
		}
		in.result.Faults = append(in.result.Faults, f)
	}
}

func (in *reader) finish() *Result {
	slices.SortStableFunc(in.result.Faults, func(a, b Fault) int { return a.Row - b.Row })
	if in.result.Rows == 0 && in.result.Total == 0 {
		in.fail(Fault{Problem: "the file has no rows", Want: "a header and at least one part"})
	}
	return in.result
}

// separator finds the one that the header uses.
func separator(line string) rune {
	best, count := ',', 0
	for _, s := range []rune{',', ';', '\t'} {
		if n := strings.Count(line, string(s)); n > count {
			best, count = s, n
		}
	}
	return best
}

func (in *reader) csv(ctx context.Context, data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if bytes.IndexByte(data, 0) >= 0 {
		return fault.New("sheet.csv", fault.Malformed, "the file is not text; save it as CSV in UTF-8")
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	c := csv.NewReader(bytes.NewReader(data))
	c.Comma, c.FieldsPerRecord, c.LazyQuotes, c.ReuseRecord = separator(string(first)), -1, false, false
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return in.build(ctx)
		}
		if err != nil {
			var parse *csv.ParseError
			if errors.As(err, &parse) {
				in.fail(Fault{Row: parse.Line, Problem: "the row cannot be read: " + parse.Err.Error(), Want: "quotes only around whole cells, doubled inside"})
				return in.build(ctx)
			}
			return fault.Wrap("sheet.csv", fault.Malformed, err)
		}
		line, _ := c.FieldPos(0)
		if stop := in.take(line, record); stop {
			return in.build(ctx)
		}
	}
}

func (in *reader) xlsx(ctx context.Context, data []byte) error {
	in.typed = true
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{UnzipSizeLimit: maxUnzip, UnzipXMLSizeLimit: 64 << 20, RawCellValue: true})
	if err != nil {
		return fault.New("sheet.xlsx", fault.Malformed, "the file is not an Excel workbook that can be read")
	}
	defer f.Close()
	sheets := f.GetSheetList()
	if len(sheets) == 0 {
		return fault.New("sheet.xlsx", fault.Malformed, "the workbook has no sheet")
	}
	rows, err := f.Rows(sheets[0])
	if err != nil {
		return fault.New("sheet.xlsx", fault.Malformed, "the first sheet cannot be read")
	}
	defer rows.Close()
	for number := 1; rows.Next(); number++ {
		cells, err := rows.Columns()
		if err != nil {
			return fault.New("sheet.xlsx", fault.Malformed, "row %d cannot be read", number)
		}
		if stop := in.take(number, cells); stop {
			break
		}
	}
	if err := rows.Error(); err != nil {
		return fault.New("sheet.xlsx", fault.Malformed, "the first sheet cannot be read to its end")
	}
	return in.build(ctx)
}

// take keeps a row for the second pass; the first that is not empty is the header.
func (in *reader) take(number int, cells []string) (stop bool) {
	empty := true
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
		empty = empty && cells[i] == ""
	}
	switch {
	case empty || strings.HasPrefix(cells[0], "#"):
		return false
	case in.header == nil:
		return in.takeHeader(number, cells)
	}
	if len(in.rows) == maxRows {
		in.fail(Fault{Row: number, Problem: "the file has more rows than can be read", Want: "at most 1,000,000; split the file"})
		return true
	}
	in.rows = append(in.rows, row{number, cells})
	return false
}

func (in *reader) takeHeader(number int, cells []string) (stop bool) {
	in.header = make([]int, len(cells))
	found := map[int]bool{}
	for i, name := range cells {
		key := strings.ReplaceAll(strings.ToLower(name), " ", "_")
		c, ok := columnOf(key)
		in.header[i] = -1
		switch {
		case name == "":
		case !ok:
			want := "one of the template's columns"
			if near := nearest(key); near != "" {
				want = near
			}
			in.fail(Fault{Row: number, Column: label(i, name), Value: name, Problem: "the column is not known", Want: want})
		case found[c]:
			in.fail(Fault{Row: number, Column: label(i, name), Value: name, Problem: "the column is there twice", Want: "each column once"})
		default:
			in.header[i], found[c] = c, true
		}
	}
	for i, c := range columns {
		if c.required && !found[i] {
			in.fail(Fault{Row: number, Column: c.name, Problem: "the column is missing", Want: c.name + ": " + c.hint})
		}
	}
	return in.result.Total > 0 // without a good header every row would be wrong
}

// build turns rows into footprints, a few at a time on every core, and keeps their order.
func (in *reader) build(ctx context.Context) error {
	in.result.Rows = len(in.rows)
	type outcome struct {
		part   Part
		faults []Fault
	}
	outcomes := make([]outcome, len(in.rows))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for from := range next {
				for i := from; i < min(from+chunk, len(in.rows)); i++ {
					outcomes[i].part, outcomes[i].faults = in.convert(in.rows[i])
				}
			}
		})
	}
	var err error
	for from := 0; from < len(in.rows) && err == nil; from += chunk {
		next <- from
		in.o.Progress(from, len(in.rows))
		err = ctx.Err()
	}
	close(next)
	workers.Wait()
	if err != nil {
		return fault.Wrap("sheet.Read", fault.Unavailable, err)
	}
	in.o.Progress(len(in.rows), len(in.rows))
	for _, o := range outcomes {
		if len(o.faults) == 0 {
			if before, twice := in.seen[o.part.ID]; twice {
				o.faults = []Fault{{Row: o.part.Row, Column: "part_id", Value: o.part.ID, Problem: "the part is in row " + strconv.Itoa(before) + " already", Want: "each part once"}}
			} else {
				in.seen[o.part.ID] = o.part.Row
				in.result.Parts = append(in.result.Parts, o.part)
			}
		}
		for _, f := range o.faults {
			in.fail(f)
		}
	}
	return nil
}

// convert reads one row; every fault in it is returned.
func (in *reader) convert(r row) (Part, []Fault) {
	values := make([]string, len(columns))
	at := make([]int, len(columns)) // place in the file
	for i, cell := range r.cells {
		if i < len(in.header) && in.header[i] >= 0 {
			values[in.header[i]], at[in.header[i]] = cell, i
		}
	}
	var faults []Fault
	for i, c := range columns {
		value, problem, want := in.cell(c, values[i])
		if problem != "" {
			faults = append(faults, Fault{Row: r.number, Column: label(at[i], c.name), Value: values[i], Problem: problem, Want: want})
		}
		values[i] = value
	}
	if len(faults) > 0 {
		return Part{}, faults
	}
	payload, err := in.payload(values)
	if err != nil {
		return Part{}, []Fault{{Row: r.number, Problem: err.Error()}}
	}
	part := Part{Row: r.number, ID: values[0], Name: values[1], Payload: payload}
	return part, in.check(r.number, at, payload)
}

// cell reads one cell by the kind of its column.
func (in *reader) cell(c column, s string) (value, problem, want string) {
	if s == "" {
		if c.required {
			return "", "the cell is empty", c.hint
		}
		s = c.fallback
	}
	switch {
	case s == "":
		return "", "", ""
	case len(s) > maxCell:
		return "", "the cell is too long", "at most " + strconv.Itoa(maxCell) + " bytes"
	case c.kind == decimal:
		n, want := readDecimal(s, in.typed)
		if want != "" {
			return "", "this is not a number", want
		}
		return n, "", ""
	case c.kind == date:
		return in.date(s)
	case c.kind == choice:
		for _, known := range c.choices {
			if strings.EqualFold(known, s) {
				return known, "", ""
			}
		}
		return "", "this is not one of the known values", strings.Join(c.choices, ", ")
	}
	if c.pattern != nil && !c.pattern.MatchString(s) {
		return "", "this does not have the form of a " + c.name, c.hint
	}
	return s, "", ""
}

func (in *reader) date(s string) (value, problem, want string) {
	if t, ok := readDate(s); ok {
		return t.Format(time.RFC3339), "", ""
	}
	if serial, err := strconv.ParseFloat(s, 64); in.typed && err == nil && serial > 20000 && serial < 110000 {
		if t, err := excelize.ExcelDateToTime(serial, false); err == nil {
			return t.UTC().Format(time.RFC3339), "", ""
		}
	}
	return "", "this is not a date", "a date such as 2025-12-31"
}

// places maps paths of the aspect to the columns they come from.
var places = []struct{ path, column string }{
	{"companyIds", "bpn"}, {"companyName", "company"}, {"productNameCompany", "part_name"}, {"productIds", "part_id"},
	{"declaredUnitAmount", "amount"}, {"productMassPerDeclaredUnit", "mass_kg"}, {"declaredUnit", "unit"},
	{"pcfIncludingBiogenicUptake", "pcf_including_uptake"}, {"pcfExcludingBiogenicUptake", "pcf_excluding_uptake"}, {"fossilGhgEmissions", "fossil"},
	{"biogenicNonCO2Emissions", "biogenic_non_co2"}, {"biogenicCO2Uptake", "biogenic_uptake"}, {"landUseChangeGhgEmissions", "land_use_change"},
	{"landManagementBiogenicCO2Emissions", "land_management"}, {"landManagementBiogenicCO2Removals", "land_removals"}, {"aircraftGhgEmissions", "aircraft"},
	{"primaryDataShare", "primary_data_share"}, {"exemptedEmissionsPercent", "exempted_percent"}, {"geographyCountry", "country"},
	{"referencePeriodStart", "period_start"}, {"referencePeriodEnd", "period_end"}, {"validityPeriod", "valid_until"},
}

// check holds the aspect against its model and tells the faults in terms of the sheet.
func (in *reader) check(number int, at []int, payload []byte) []Fault {
	found, err := in.o.Models.Check(schemas.PCF, payload)
	if err != nil {
		return []Fault{{Row: number, Problem: err.Error()}}
	}
	var out []Fault
	for _, f := range found {
		if f.Warn {
			continue
		}
		fault := Fault{Row: number, Problem: f.Problem}
		for _, p := range places {
			if strings.Contains(f.Path, "/"+p.path) {
				i, _ := columnOf(p.column)
				fault.Column, fault.Want = label(at[i], p.column), columns[i].hint
				break
			}
		}
		if fault.Column == "" {
			fault.Problem = f.Error()
		}
		out = append(out, fault)
	}
	return out
}

// json reads one aspect, an array of them, or one per line.
func (in *reader) json(ctx context.Context, data []byte) error {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	var items []json.RawMessage
	switch {
	case len(data) == 0:
		return nil
	case data[0] == '[':
		lim := ijson.Limits{MaxBytes: maxFile, Depth: 32, Members: 1000, Items: maxRows, String: 64 << 10, BigNumbers: true}
		if err := ijson.Unmarshal(data, lim, &items); err != nil {
			return fault.New("sheet.json", fault.Malformed, "%s", err.Error())
		}
	default:
		items = lines(data)
	}
	for i, item := range items {
		if err := ctx.Err(); err != nil {
			return fault.Wrap("sheet.json", fault.Unavailable, err)
		}
		in.item(i+1, item)
		if i%chunk == 0 {
			in.o.Progress(i, len(items))
		}
	}
	in.result.Rows = len(items)
	in.o.Progress(len(items), len(items))
	return nil
}

// lines splits NDJSON; a text that is one document is one item.
func lines(data []byte) []json.RawMessage {
	if json.Valid(data) {
		return []json.RawMessage{data}
	}
	var out []json.RawMessage
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(make([]byte, 64<<10), aspect.MaxPayload)
	for s.Scan() {
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			out = append(out, bytes.Clone(line))
		}
	}
	return out
}

// item takes one aspect as it is.
func (in *reader) item(number int, payload []byte) {
	found, err := in.o.Models.Check(schemas.PCF, payload)
	if err != nil {
		in.fail(Fault{Row: number, Problem: err.Error()})
		return
	}
	bad := 0
	for _, f := range found {
		if !f.Warn {
			bad++
			in.fail(Fault{Row: number, Column: f.Path, Problem: f.Problem})
		}
	}
	if bad > 0 {
		return
	}
	var doc struct {
		Company []struct {
			Product []struct {
				Name string   `json:"productNameCompany"`
				IDs  []string `json:"productIds"`
			} `json:"productInformation"`
		} `json:"companyAndProductInformation"`
	}
	if json.Unmarshal(payload, &doc) != nil || len(doc.Company) != 1 || len(doc.Company[0].Product) != 1 || len(doc.Company[0].Product[0].IDs) == 0 {
		in.fail(Fault{Row: number, Problem: "the product cannot be named", Want: "one product with at least one id"})
		return
	}
	p := doc.Company[0].Product[0]
	id := p.IDs[0][strings.LastIndexByte(p.IDs[0], ':')+1:]
	if before, twice := in.seen[id]; twice {
		in.fail(Fault{Row: number, Value: id, Problem: fmt.Sprintf("the part is in item %d already", before), Want: "each part once"})
		return
	}
	in.seen[id] = number
	in.result.Parts = append(in.result.Parts, Part{Row: number, ID: id, Name: p.Name, Payload: payload})
}
