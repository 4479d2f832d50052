package sqlstore

import (
	"strconv"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/participant"
)

// swapped is a row as the tables of documents know it.
type swapped struct {
	id      string
	version int64
	created time.Time
	columns []column
}

type column struct {
	name  string
	value any
}

// swapAll writes rows of a table of documents: new ones, changed ones and ones that go, each against the version that was read. A new one that is
// there, or that says what only one may say, is stale like the others.
func swapAll[T any](t *tx, op string, p participant.ID, table string, all []commit.Swap[T], of func(T) swapped) error {
	for _, s := range all {
		if s.New == nil {
			old := of(*s.Old)
			t.one(errStale(op, old.id), `DELETE FROM `+table+` WHERE participant = $1 AND id = $2 AND version = $3`, int64(p), old.id, old.version)
			continue
		}
		doc, err := encode(*s.New)
		if err != nil {
			return err
		}
		row := of(*s.New)
		if s.Old == nil {
			names, args := "participant, id, version, created, doc", []any{int64(p), row.id, int64(1), micros(row.created), doc}
			for _, c := range row.columns {
				names, args = names+", "+c.name, append(args, c.value)
			}
			t.one(errStale(op, row.id), `INSERT INTO `+table+` (`+names+`) VALUES `+places(1, len(args))+` ON CONFLICT DO NOTHING`, args...)
			continue
		}
		old := of(*s.Old)
		set, args := "version = version + 1, doc = $4", []any{int64(p), old.id, old.version, doc}
		for _, c := range row.columns {
			args = append(args, c.value)
			set += ", " + c.name + " = $" + strconv.Itoa(len(args))
		}
		t.one(errStale(op, old.id), `UPDATE `+table+` SET `+set+` WHERE participant = $1 AND id = $2 AND version = $3`, args...)
	}
	return nil
}
