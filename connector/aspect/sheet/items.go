package sheet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/sluice-connector/sluice/connector/aspect"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/schemas"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// item is one aspect of a JSON file, with its number in an array or its line.
type item struct {
	number int
	text   []byte
}

// json reads one aspect, an array of them, or one per line.
func (in *reader) json(ctx context.Context, data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	items, err := split(data)
	if err != nil {
		return err
	}
	if len(items) > maxRows {
		return fault.New("sheet.json", fault.TooLarge, "the file has more than %d footprints; split it", maxRows)
	}
	return in.collect(ctx, len(items), func(i int) entry { return in.item(items[i]) })
}

// split finds the items without looking into them: each is checked by itself.
func split(data []byte) ([]item, error) {
	start := bytes.TrimSpace(data)
	switch {
	case len(start) == 0:
		return nil, nil
	case start[0] == '[':
		var texts []json.RawMessage
		lim := ijson.Limits{MaxBytes: maxFile, Depth: 32, Members: 1000, Items: 10 * maxRows, String: 64 << 10, BigNumbers: true}
		if err := ijson.Unmarshal(start, lim, &texts); err != nil {
			return nil, fault.New("sheet.json", fault.Malformed, "%s", cut(err.Error(), 400))
		}
		items := make([]item, len(texts))
		for i, t := range texts {
			items[i] = item{number: i + 1, text: t}
		}
		return items, nil
	case json.Valid(data):
		return []item{{number: 1, text: start}}, nil
	}
	var items []item
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			items = append(items, item{number, line})
		}
	}
	return items, nil
}

// item takes one aspect as it is.
func (in *reader) item(it item) entry {
	e := entry{part: Part{Row: it.number}}
	found, err := in.o.Models.Check(schemas.PCF, it.text)
	if err != nil {
		e.faults = []Fault{{Row: it.number, Problem: err.Error()}}
		return e
	}
	for _, f := range found {
		if !f.Warn {
			e.faults = append(e.faults, Fault{Row: it.number, Column: f.Path, Value: f.Value, Problem: f.Problem, Want: f.Want})
		}
	}
	if len(e.faults) > 0 {
		return e
	}
	id, name := product(it.text)
	if bad := readable(id, name); bad != (wrong{}) {
		e.faults = []Fault{{Row: it.number, Column: "/companyAndProductInformation/0/productInformation/0/productIds", Value: id, Problem: bad.problem, Want: bad.want}}
		return e
	}
	payload, err := tidied(it.text)
	if err != nil {
		e.faults = []Fault{{Row: it.number, Problem: err.Error()}}
		return e
	}
	e.part.ID, e.part.Name, e.part.Payload = id, name, payload
	return e
}

// readable holds the id of a part to what the column of a sheet is held to.
func readable(id, name string) wrong {
	if id == "" {
		return wrong{"the part cannot be named", "one product with at least one id, such as urn:mpn:CC-21700-50"}
	}
	if _, bad := readText(columns[0], cell{text: id}); bad != (wrong{}) {
		return bad
	}
	_, bad := readText(columns[1], cell{text: name})
	return bad
}

// product names the part of a footprint that conforms: by its manufacturer part id, or else by the first id that it has.
func product(payload []byte) (id, name string) {
	var doc struct {
		Company []struct {
			Product []struct {
				Name string   `json:"productNameCompany"`
				IDs  []string `json:"productIds"`
			} `json:"productInformation"`
		} `json:"companyAndProductInformation"`
	}
	if json.Unmarshal(payload, &doc) != nil || len(doc.Company) != 1 || len(doc.Company[0].Product) != 1 {
		return "", ""
	}
	p := doc.Company[0].Product[0]
	for _, uri := range p.IDs {
		if part, ok := strings.CutPrefix(uri, partURN); ok {
			return unescaped(part), p.Name
		}
	}
	if len(p.IDs) == 0 {
		return "", p.Name
	}
	if urn, ok := strings.CutPrefix(p.IDs[0], "urn:"); ok {
		if _, part, ok := strings.Cut(urn, ":"); ok {
			return unescaped(part), p.Name
		}
	}
	return p.IDs[0], p.Name
}

func unescaped(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// tidied writes a payload as one made from a row is written, so that equal content has equal bytes. Numbers keep their digits.
func tidied(payload []byte) ([]byte, error) {
	var v any
	lim := ijson.DefaultLimits()
	lim.MaxBytes, lim.BigNumbers = aspect.MaxPayload, true
	if err := ijson.Unmarshal(payload, lim, &v); err != nil {
		return nil, fmt.Errorf("the footprint cannot be written: %w", err)
	}
	return encode(v)
}

// encode writes JSON with members in order, without blanks and without escapes for the sake of HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("the footprint cannot be written: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
