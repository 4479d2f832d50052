package decisionlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// An export is a directory in which every byte is accounted for:
//
//	checkpoint            signed tree head
//	log.vkey              the log's public key, for those who have no other copy of it
//	tail                  signed note: how many committed records had no index yet
//	tile/<L>/<N>[.p/<W>]  hashes (C2SP tlog-tiles)
//	tile/entries/…        the records, each with its length before it
const (
	checkpointFile = "checkpoint"
	keyFile        = "log.vkey"
	tailFile       = "tail"
	tileWidth      = 256
)

// Export writes the log as it is now into dir, which must not exist. It appears whole or not at all.
func (s *Sequencer) Export(ctx context.Context, dir string) error {
	signed, err := s.Sign(ctx)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s exists; name a directory that does not", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".export-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := s.writeExport(ctx, tmp, signed); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

func (s *Sequencer) writeExport(ctx context.Context, dir string, signed []byte) error {
	cp, err := OpenCheckpoint(signed, s.VerifierKey())
	if err != nil {
		return err
	}
	waiting, err := s.ledger.LogTail(ctx, s.log)
	if err != nil {
		return err
	}
	tail, err := s.signer.note(tailText(cp.Origin, cp.Size, waiting))
	if err != nil {
		return err
	}
	w := tileWriter{dir: dir}
	for at := uint64(0); at < cp.Size; {
		entries, err := s.ledger.LogEntries(ctx, s.log, at, int(min(batch, cp.Size-at)))
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return fmt.Errorf("entry %d is missing", at)
		}
		for _, e := range entries {
			if err := w.add(e.Bytes); err != nil {
				return err
			}
		}
		at += uint64(len(entries))
	}
	if err := w.finish(); err != nil {
		return err
	}
	for name, content := range map[string][]byte{checkpointFile: signed, keyFile: []byte(s.VerifierKey() + "\n"), tailFile: tail} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func tailText(origin string, size uint64, waiting int) string {
	return fmt.Sprintf("sluice tail\n%s\n%d\n%d\n", origin, size, waiting)
}

// tileWriter writes tiles as entries come; it holds one unfinished tile per level.
type tileWriter struct {
	dir     string
	entries []byte
	count   int      // entries in the unfinished entry tile
	levels  [][]byte // unfinished hash tiles
	full    []uint64 // full tiles written per level
}

func (w *tileWriter) add(entry []byte) error {
	w.entries = append(binary.BigEndian.AppendUint16(w.entries, uint16(len(entry))), entry...)
	w.count++
	if w.count == tileWidth {
		if err := writeTile(w.dir, "entries", w.fullAt(0), tileWidth, w.entries); err != nil {
			return err
		}
		w.entries, w.count = nil, 0
	}
	return w.push(0, LeafHash(entry))
}

func (w *tileWriter) fullAt(level int) uint64 {
	if level < len(w.full) {
		return w.full[level]
	}
	return 0
}

func (w *tileWriter) push(level int, hash []byte) error {
	if level == len(w.levels) {
		w.levels, w.full = append(w.levels, nil), append(w.full, 0)
	}
	w.levels[level] = append(w.levels[level], hash...)
	if len(w.levels[level]) < tileWidth*32 {
		return nil
	}
	tile := w.levels[level]
	if err := writeTile(w.dir, strconv.Itoa(level), w.full[level], tileWidth, tile); err != nil {
		return err
	}
	w.levels[level] = nil
	w.full[level]++
	up, err := tileRoot(tile)
	if err != nil {
		return err
	}
	return w.push(level+1, up)
}

func (w *tileWriter) finish() error {
	if w.count > 0 {
		if err := writeTile(w.dir, "entries", w.fullAt(0), w.count, w.entries); err != nil {
			return err
		}
	}
	for level, tile := range w.levels {
		if len(tile) == 0 {
			continue
		}
		if err := writeTile(w.dir, strconv.Itoa(level), w.full[level], len(tile)/32, tile); err != nil {
			return err
		}
	}
	return nil
}

// tileRoot is the root over the hashes of a full tile: the hash at the next level.
func tileRoot(tile []byte) ([]byte, error) {
	rng := ranges.NewEmptyRange(0)
	for i := 0; i < len(tile); i += 32 {
		if err := rng.Append(tile[i:i+32], nil); err != nil {
			return nil, fmt.Errorf("tile: %w", err)
		}
	}
	return rng.GetRootHash(nil)
}

func writeTile(dir, level string, n uint64, width int, content []byte) error {
	path := filepath.Join(dir, filepath.FromSlash(tilePath(level, n, width)))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// tilePath is the place of a tile below the export: tile/0/x001/234 or, partial, tile/0/x001/234.p/17.
func tilePath(level string, n uint64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	path = "tile/" + level + "/" + path
	if width < tileWidth {
		path += ".p/" + strconv.Itoa(width)
	}
	return path
}
