package sheet

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/schemas"
)

// Bounds of a file. Above maxFaults they are counted only.
const (
	maxRows   = 100_000
	maxFaults = 10_000
	maxCell   = 4096 // bytes
	maxFile   = 256 << 20
	chunk     = 256 // rows that a worker takes at once
)

// Fault is one thing wrong in a file.
type Fault struct {
	Row     int    // from 1, the header is 1; in JSON the item, or the line; 0: the whole file
	Column  string // header and letter, in JSON the place in the item; "" when it is not about one
	Value   string // what stands there, cut
	Problem string
	Want    string // what would be right
}

// Part is one row that became a footprint.
type Part struct {
	Row     int
	ID      string // manufacturer part id
	Name    string
	Payload []byte // the aspect: members in order, without blanks, numbers digit for digit
}

// Result is a whole file. Parts has the rows that are right, in order, also when others are not: whether to take them is the caller's decision.
type Result struct {
	Rows   int
	Parts  []Part
	Faults []Fault // ordered by row; at most 10,000
	Total  int     // faults, also those that are not in Faults
}

// Options say how to read.
type Options struct {
	Format   string                // "csv", "xlsx" or "json"
	Models   *aspect.Models        // required
	Now      time.Time             // when the footprints are declared
	Progress func(done, total int) // may be nil; called from the goroutine of Read
}

// Read reads a file of at most 256 MiB and 100,000 rows. Faults in the content are in the Result; an error means that the file
// could not be read as what it claims to be (fault.Malformed, fault.TooLarge), or that ctx ended.
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
	o        Options
	result   *Result
	seen     map[string]int // part id -> row
	date1904 bool           // days are counted from 1904

	header []int // column of the file -> column of the template, -1 for one that is not to be read
	places []int // column of the template -> column of the file, -1 for one that is not there
	rows   []row
}

// row keeps the cells of the template's columns only, in their order: how wide a file is decides nothing.
type row struct {
	number int
	cells  []cell
	faults []Fault // known already
}

// entry is what becomes of a row or of an item.
type entry struct {
	part   Part // its ID is there whenever it could be read
	faults []Fault
}

func (in *reader) fail(f Fault) {
	in.result.Total++
	if len(in.result.Faults) < maxFaults {
		f.Column, f.Value, f.Want = cut(f.Column, 400), cut(f.Value, 80), cut(f.Want, 400)
		in.result.Faults = append(in.result.Faults, f)
	}
}

// cut shortens text to n bytes and makes it valid: what stands in a file may be anything.
func cut(s string, n int) string {
	if len(s) <= n {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(strings.ToValidUTF8(s[:n], "\uFFFD"), "") + "…"
}

func (in *reader) finish() *Result {
	slices.SortStableFunc(in.result.Faults, func(a, b Fault) int { return cmp.Compare(a.Row, b.Row) })
	if in.result.Rows == 0 && in.result.Total == 0 {
		in.fail(Fault{Problem: "the file has no rows", Want: "a header and at least one part"})
	}
	return in.result
}

// take keeps a row for the second pass; the first that is not empty is the header.
func (in *reader) take(number int, cells []cell) (stop bool) {
	empty := true
	for i := range cells {
		cells[i].text = strings.TrimSpace(cells[i].text)
		empty = empty && cells[i] == cell{}
	}
	switch {
	case empty || cells[0].text == "#" || strings.HasPrefix(cells[0].text, "# "):
		return false
	case in.header == nil:
		return in.takeHeader(number, cells)
	}
	if len(in.rows) == maxRows {
		in.fail(Fault{Row: number, Problem: "the file has more rows than are read", Want: fmt.Sprintf("at most %d; split the file", maxRows)})
		return true
	}
	r := row{number: number, cells: make([]cell, len(columns))}
	for i, c := range cells {
		switch {
		case i < len(in.header) && in.header[i] >= 0:
			r.cells[in.header[i]] = c
		case c.text != "" && (i >= len(in.header) || in.header[i] == unnamed) && len(r.faults) == 0:
			r.faults = append(r.faults, Fault{Row: number, Column: letter(i), Value: c.text, Problem: "the value is in a column without a name",
				Want: "as many cells as the header has; in CSV, quotes around a cell that holds the separator"})
		}
	}
	in.rows = append(in.rows, r)
	return false
}

// What a column of the file is when it is none of the template's.
const (
	unknown = -1 // reported already
	unnamed = -2
)

func (in *reader) takeHeader(number int, cells []cell) (stop bool) {
	in.header, in.places = make([]int, len(cells)), make([]int, len(columns))
	for i := range in.places {
		in.places[i] = -1
	}
	before := in.result.Total
	for i, c := range cells {
		name := c.text
		place, ok := columnOf(key(name))
		in.header[i] = unknown
		switch {
		case name == "":
			in.header[i] = unnamed
		case !ok:
			want := "one of the template's columns"
			if near := nearest(key(name), names()); near != "" {
				want = "probably " + near
			}
			in.fail(Fault{Row: number, Column: label(i, name), Value: name, Problem: "the column is not known", Want: want})
		case in.places[place] >= 0:
			in.fail(Fault{Row: number, Column: label(i, name), Value: name, Problem: "the column is there twice", Want: "each column once"})
		default:
			in.header[i], in.places[place] = place, i
		}
	}
	for i, c := range columns {
		if c.required && in.places[i] < 0 {
			in.fail(Fault{Row: number, Column: c.name, Problem: "the column is missing", Want: c.name + ": " + c.hint})
		}
	}
	return in.result.Total > before // without a good header every row would be wrong
}

// label names a column of the template as it is found in the file.
func (in *reader) label(i int) string {
	if in.places[i] < 0 {
		return columns[i].name
	}
	return label(in.places[i], columns[i].name)
}

// build turns rows into footprints.
func (in *reader) build(ctx context.Context) error {
	return in.collect(ctx, len(in.rows), func(i int) entry { return in.convert(in.rows[i]) })
}

// collect makes n entries, a few at a time on two cores, and keeps their order. More cores would be taken from those whom the
// connector serves meanwhile.
func (in *reader) collect(ctx context.Context, n int, one func(int) entry) error {
	in.result.Rows = n
	entries := make([]entry, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for from := range next {
				for i := from; i < min(from+chunk, n); i++ {
					entries[i] = one(i)
				}
			}
		})
	}
	for from := 0; from < n && ctx.Err() == nil; from += chunk {
		next <- from
		in.o.Progress(from, n)
	}
	close(next)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return fault.Wrap("sheet.Read", fault.Unavailable, err)
	}
	in.o.Progress(n, n)
	for _, e := range entries {
		in.keep(e)
	}
	return nil
}

// keep takes an entry into the result. A part that is there twice is a fault of the second, however right it is otherwise.
func (in *reader) keep(e entry) {
	if before, twice := in.seen[e.part.ID]; twice && e.part.ID != "" {
		f := Fault{Row: e.part.Row, Value: e.part.ID, Problem: "the part is in row " + strconv.Itoa(before) + " already", Want: "each part once"}
		if in.header != nil {
			f.Column = in.label(0)
		}
		e.faults = append(e.faults, f)
	} else {
		in.seen[e.part.ID] = e.part.Row
	}
	if len(e.faults) == 0 {
		in.result.Parts = append(in.result.Parts, e.part)
	}
	for _, f := range e.faults {
		in.fail(f)
	}
}

// convert reads one row; every fault in it is returned.
func (in *reader) convert(r row) entry {
	values := make([]string, len(columns))
	faults := r.faults
	for i, c := range columns {
		value, bad := in.readCell(c, r.cells[i])
		if bad != (wrong{}) {
			faults = append(faults, Fault{Row: r.number, Column: in.label(i), Value: r.cells[i].text, Problem: bad.problem, Want: bad.want})
		}
		values[i] = value
	}
	e := entry{part: Part{Row: r.number, ID: values[0], Name: values[1]}, faults: faults}
	if len(faults) > 0 {
		return e
	}
	payload, err := in.payload(values)
	if err != nil {
		e.faults = []Fault{{Row: r.number, Problem: err.Error()}}
		return e
	}
	e.part.Payload, e.faults = payload, in.check(r, payload)
	return e
}

// check holds the aspect against its model and tells the faults in terms of the sheet.
func (in *reader) check(r row, payload []byte) []Fault {
	found, err := in.o.Models.Check(schemas.PCF, payload)
	if err != nil {
		return []Fault{{Row: r.number, Problem: err.Error()}}
	}
	var out []Fault
	for _, f := range found {
		if f.Warn {
			continue
		}
		i, ok := columnAt(f.Path)
		if !ok {
			out = append(out, Fault{Row: r.number, Value: f.Value, Problem: f.Path + ": " + f.Problem, Want: f.Want})
			continue
		}
		want := columns[i].hint
		if f.Want != "" {
			want = f.Want + " (" + columns[i].hint + ")"
		}
		out = append(out, Fault{Row: r.number, Column: in.label(i), Value: r.cells[i].text, Problem: f.Problem, Want: want})
	}
	return out
}
