package sheet

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/sluice-connector/sluice/connector/fault"
)

// Bounds of a workbook. Parts are read as streams and only those that are needed: pictures and other sheets cost nothing, and a part that
// unpacks to more than its bound is refused when it gets there, whatever its entry in the archive claims.
const (
	maxParts    = 10_000
	maxIndex    = 4 << 20   // of the lists of sheets and relations, unpacked
	maxStrings  = 256 << 20 // of the shared strings, unpacked
	maxKept     = 96 << 20  // of their text
	maxSheet    = 1 << 30   // of the sheet, unpacked
	maxLine     = 1 << 20   // rows, as in Excel
	maxAcross   = 1 << 14   // columns, as in Excel
	maxReadable = 256       // columns that are looked at
	maxMerged   = 1000
	maxToken    = 1 << 20 // of one element or text, in bytes: the decoder keeps it whole
)

var errBomb = errors.New("unpacks to more than is read")

// workbook reads the first visible sheet of an Office Open XML workbook (ECMA-376 part 1, transitional and strict) as a stream.
//
// The library that writes our template would read one too, but it tells neither numbers from text nor a formula without a value from an
// empty cell, and it unpacks the whole archive into memory first.
type workbook struct {
	parts    map[string]*zip.File
	strings  []string
	sheet    string
	date1904 bool
}

func (in *reader) xlsx(ctx context.Context, data []byte) error {
	const op = "sheet.xlsx"
	if bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0")) {
		return fault.New(op, fault.Malformed, "the file is an old or a protected Excel workbook; save it as .xlsx without a password")
	}
	w, err := open(data)
	if err == nil {
		in.date1904 = w.date1904
		err = w.rows(ctx, in.take, in.merged)
	}
	switch {
	case err == nil:
		return in.build(ctx)
	case ctx.Err() != nil:
		return fault.Wrap(op, fault.Unavailable, ctx.Err())
	case errors.Is(err, errBomb):
		return fault.New(op, fault.TooLarge, "the workbook %s", cut(err.Error(), 200))
	}
	return fault.New(op, fault.Malformed, "the file is not an Excel workbook that can be read: %s", cut(err.Error(), 200))
}

// merged reports cells that were merged below the header: only the first of them has a value, and which rows it was meant for is a guess.
func (in *reader) merged(ref string) {
	first, _, _ := strings.Cut(ref, ":")
	number, col, ok := position(first)
	if !ok || in.header == nil || len(in.rows) == 0 || number < in.rows[0].number || number > in.rows[len(in.rows)-1].number {
		return
	}
	name := letter(col)
	if col < len(in.header) && in.header[col] >= 0 {
		name = in.label(in.header[col])
	}
	in.fail(Fault{Row: number, Column: name, Value: ref, Problem: "the cells are merged", Want: "a value in each cell"})
}

func open(data []byte) (*workbook, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if len(z.File) > maxParts {
		return nil, fmt.Errorf("%d parts: %w", len(z.File), errBomb)
	}
	w := &workbook{parts: map[string]*zip.File{}}
	for _, f := range z.File {
		name := strings.TrimPrefix(f.Name, "/")
		if w.parts[name] != nil {
			return nil, fmt.Errorf("part %q is there twice", name)
		}
		w.parts[name] = f
	}
	if err := w.index(); err != nil {
		return nil, err
	}
	return w, nil
}

// bounded is an error, not an end, when there is more: in the whole, or since the last token.
type bounded struct {
	r           io.Reader
	left, token int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 || b.token <= 0 {
		return 0, errBomb
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.r.Read(p)
	b.left -= int64(n)
	b.token -= int64(n)
	return n, err
}

// each calls element for every start, end and text of a part. Entities other than those of XML itself are refused by the decoder, and it
// opens no other document.
func (w *workbook) each(part string, limit int64, element func(xml.Token) error) error {
	f := w.parts[part]
	if f == nil {
		return fmt.Errorf("part %q is missing", part)
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("part %q: %w", part, err)
	}
	defer r.Close()
	b := &bounded{r: r, left: limit}
	d := xml.NewDecoder(b)
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("the encoding %q is not read", charset)
	}
	depth := 0
	for {
		// RawToken leaves name spaces alone: local names are enough here, and it takes half the time.
		b.token = maxToken
		t, err := d.RawToken()
		switch {
		case errors.Is(err, io.EOF) && depth == 0:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("part %q: %w", part, io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("part %q: %w", part, err)
		}
		switch t.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth < 0 || depth > 64 {
			return fmt.Errorf("part %q: elements are not nested well", part)
		}
		if err := element(t); err != nil {
			return err
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// relation is one entry of a part's relations (ECMA-376 part 2).
type relation struct{ id, kind, target string }

// relations lists those of a part; "" is the package.
func (w *workbook) relations(part string) ([]relation, error) {
	dir, base := path.Split(part)
	var out []relation
	err := w.each(dir+"_rels/"+base+".rels", maxIndex, func(t xml.Token) error {
		e, ok := t.(xml.StartElement)
		if !ok || e.Name.Local != "Relationship" || attribute(e, "TargetMode") == "External" {
			return nil
		}
		target, absolute := strings.CutPrefix(attribute(e, "Target"), "/")
		if !absolute {
			target = path.Join(dir, target)
		}
		out = append(out, relation{attribute(e, "Id"), path.Base(attribute(e, "Type")), target})
		return nil
	})
	return out, err
}

// index finds the sheet and reads the shared strings.
func (w *workbook) index() error {
	roots, err := w.relations("")
	if err != nil {
		return err
	}
	book := ""
	for _, r := range roots {
		if r.kind == "officeDocument" {
			book = r.target
		}
	}
	first := ""
	err = w.each(book, maxIndex, func(t xml.Token) error {
		e, ok := t.(xml.StartElement)
		switch {
		case !ok:
		case e.Name.Local == "workbookPr":
			w.date1904 = attribute(e, "date1904") == "1" || attribute(e, "date1904") == "true"
		case e.Name.Local == "sheet" && first == "" && !strings.Contains(strings.ToLower(attribute(e, "state")), "hidden"):
			first = attribute(e, "id")
		}
		return nil
	})
	if err != nil {
		return err
	}
	parts, err := w.relations(book)
	if err != nil {
		return err
	}
	for _, r := range parts {
		switch {
		case r.id == first && r.kind == "worksheet":
			w.sheet = r.target
		case r.kind == "sharedStrings" && w.parts[r.target] != nil:
			if err := w.readStrings(r.target); err != nil {
				return err
			}
		}
	}
	if w.sheet == "" {
		return errors.New("it has no sheet that can be seen")
	}
	return nil
}

// readStrings keeps the shared strings; one that is too long for a cell is kept just too long.
func (w *workbook) readStrings(part string) error {
	var now strings.Builder
	inText, phonetic, kept := false, false, 0
	return w.each(part, maxStrings, func(t xml.Token) error {
		switch t := t.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "si":
				now.Reset()
			case "t":
				inText = true
			case "rPh": // how the text is read aloud
				phonetic = true
			}
		case xml.CharData:
			if inText && !phonetic {
				add(&now, t)
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "t":
				inText = false
			case "rPh":
				phonetic = false
			case "si":
				w.strings = append(w.strings, now.String())
				if kept += now.Len() + 16; kept > maxKept {
					return fmt.Errorf("the texts of the sheet: %w", errBomb)
				}
			}
		}
		return nil
	})
}

func add(to *strings.Builder, text []byte) {
	if room := maxCell + 1 - to.Len(); len(text) > room {
		text = text[:max(room, 0)]
	}
	to.Write(text)
}

// sheetReader is where the reading of a sheet stands.
type sheetReader struct {
	w     *workbook
	line  int
	cells []cell

	// Of the cell that is open:
	col     int
	kind    string // attribute t
	value   strings.Builder
	formula bool
	valued  bool // there is a v or is
	inText  bool
	aloud   bool
	merges  int
}

var errStop = errors.New("enough")

// rows calls take for each row that is in the file, with its number, until it says stop; then merged for each merged range. The cells
// belong to the reader again after take.
func (w *workbook) rows(ctx context.Context, take func(number int, cells []cell) (stop bool), merged func(ref string)) error {
	s := &sheetReader{w: w}
	err := w.each(w.sheet, maxSheet, func(t xml.Token) error {
		switch t := t.(type) {
		case xml.StartElement:
			return s.start(t, merged)
		case xml.CharData:
			if s.inText && !s.aloud {
				add(&s.value, t)
			}
		case xml.EndElement:
			if t.Name.Local != "row" {
				return s.end(t.Name.Local)
			}
			if s.line%chunk == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if len(s.cells) > 0 && take(s.line, s.cells) {
				return errStop
			}
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (s *sheetReader) start(e xml.StartElement, merged func(ref string)) error {
	switch e.Name.Local {
	case "row":
		number := s.line + 1
		if r := attribute(e, "r"); r != "" {
			n, err := strconv.Atoi(r)
			if err != nil || n < number || n > maxLine {
				return fmt.Errorf("row %q is out of order", cut(r, 20))
			}
			number = n
		}
		s.line, s.cells, s.col = number, s.cells[:0], -1
	case "c":
		if err := s.open(e); err != nil {
			return err
		}
	case "f":
		s.formula = true
	case "v", "t":
		s.inText, s.valued = true, true
	case "rPh":
		s.aloud = true
	case "mergeCell":
		if s.merges++; s.merges <= maxMerged {
			merged(attribute(e, "ref"))
		}
	}
	return nil
}

func (s *sheetReader) open(e xml.StartElement) error {
	col := s.col + 1
	if r := attribute(e, "r"); r != "" {
		number, c, ok := position(r)
		if !ok || number != s.line || c < col {
			return fmt.Errorf("cell %q is out of order", cut(r, 20))
		}
		col = c
	}
	s.col, s.kind = col, attribute(e, "t")
	s.value.Reset()
	s.formula, s.valued = false, false
	return nil
}

func (s *sheetReader) end(name string) error {
	switch name {
	case "v", "t":
		s.inText = false
	case "rPh":
		s.aloud = false
	case "c":
		c, err := s.cell()
		if err != nil {
			return err
		}
		if c == (cell{}) || s.col >= maxReadable {
			return nil
		}
		for len(s.cells) < s.col {
			s.cells = append(s.cells, cell{})
		}
		s.cells = append(s.cells, c)
	}
	return nil
}

// cell reads the one that ends here by its type (ECMA-376 part 1, 18.18.11).
func (s *sheetReader) cell() (cell, error) {
	text := s.value.String()
	if s.formula && !s.valued {
		return cell{form: uncached}, nil
	}
	switch s.kind {
	case "s":
		i, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || i < 0 || i >= len(s.w.strings) {
			return cell{}, fmt.Errorf("cell %s%d names a text that is not there", letter(s.col), s.line)
		}
		return cell{text: s.w.strings[i]}, nil
	case "e":
		return cell{text: text, form: failed}, nil
	case "b":
		return cell{text: map[string]string{"0": "FALSE", "1": "TRUE"}[text]}, nil
	case "str", "inlineStr", "d":
		return cell{text: text}, nil
	}
	if text == "" {
		return cell{}, nil
	}
	return cell{text: text, form: stored}, nil
}

// position reads a reference such as B12: row from 1, column from 0.
func position(ref string) (number, col int, ok bool) {
	i := 0
	for ; i < len(ref) && ref[i] >= 'A' && ref[i] <= 'Z' && i < 4; i++ {
		col = col*26 + int(ref[i]-'A') + 1
	}
	number, err := strconv.Atoi(ref[i:])
	if err != nil || col == 0 || col > maxAcross || number < 1 || number > maxLine {
		return 0, 0, false
	}
	return number, col - 1, true
}
