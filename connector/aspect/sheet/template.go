package sheet

import (
	"encoding/csv"
	"fmt"
	"io"

	"github.com/xuri/excelize/v2"
)

// Template writes an empty sheet with the header, a line of hints and an example, as "csv" or "xlsx". The line of hints begins with "# "
// and is skipped when the file is read; the example is a row like any other.
func Template(w io.Writer, format string) error {
	var header, hints, example []string
	for _, c := range columns {
		hint := c.hint
		if c.required {
			hint += " (required)"
		}
		header, hints, example = append(header, c.name), append(hints, hint), append(example, c.example)
	}
	hints[0] = "# " + hints[0]
	switch format {
	case "csv":
		out := csv.NewWriter(w)
		if err := out.WriteAll([][]string{header, hints, example}); err != nil {
			return err
		}
		return out.Error()
	case "xlsx":
		return writeWorkbook(w, header, hints, example)
	}
	return fmt.Errorf("format %q is not known; want csv or xlsx", format)
}

func writeWorkbook(w io.Writer, lines ...[]string) error {
	f := excelize.NewFile()
	defer f.Close()
	const sheet = "Sheet1"
	for y, line := range lines {
		for x, text := range line {
			cell, err := excelize.CoordinatesToCellName(x+1, y+1)
			if err != nil {
				return err
			}
			if err := f.SetCellStr(sheet, cell, text); err != nil {
				return err
			}
		}
	}
	if err := f.SetColWidth(sheet, "A", letter(len(columns)-1), 18); err != nil {
		return err
	}
	if err := f.SetPanes(sheet, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	return f.Write(w)
}
