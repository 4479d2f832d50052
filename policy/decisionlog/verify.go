package decisionlog

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Report is what the check of an export found when everything holds.
type Report struct {
	Origin  string
	Size    uint64 // records under the checkpoint
	Root    string // base64
	Key     string // verifier key that the signatures were checked with
	Pinned  bool   // the key came from the auditor, not from the export
	Waiting int    // committed records that had no index yet when the export was made
	Files   int
	// Recovered are the records that say that the log went on from a backup (kind rollback.recover): an earlier checkpoint of more records than
	// came back cannot be proven from this export.
	Recovered []uint64
}

// Damage says which file of an export is wrong, and which entry when it is one of them.
type Damage struct {
	File  string
	Entry int64 // index; -1 when it is not about one entry
	Err   error
}

func (d *Damage) Error() string {
	if d.Entry >= 0 {
		return fmt.Sprintf("entry %d in %s: %v", d.Entry, d.File, d.Err)
	}
	return fmt.Sprintf("file %s: %v", d.File, d.Err)
}

func (d *Damage) Unwrap() error { return d.Err }

func damaged(file, format string, args ...any) error {
	return &Damage{File: file, Entry: -1, Err: fmt.Errorf(format, args...)}
}

// Verify recomputes every file of an export and compares it byte for byte, with nothing but the files and the key. key is the
// log's verifier key, or its path; "" takes the export's own copy and reports Pinned false. A fault in the export is a *Damage.
func Verify(dir, key string) (Report, error) {
	vkey, pinned, err := exportKey(dir, key)
	if err != nil {
		return Report{}, err
	}
	signed, err := readBounded(dir, checkpointFile, maxNote)
	if err != nil {
		return Report{}, err
	}
	cp, err := OpenCheckpoint(signed, vkey)
	if err != nil {
		return Report{}, &Damage{checkpointFile, -1, err}
	}
	waiting, err := verifyTail(dir, vkey, cp)
	if err != nil {
		return Report{}, err
	}
	want := wantedFiles(cp.Size)
	if err := verifyNames(dir, want); err != nil {
		return Report{}, err
	}
	recovered, err := verifyTiles(dir, cp)
	if err != nil {
		return Report{}, err
	}
	return Report{Origin: cp.Origin, Size: cp.Size, Root: base64.StdEncoding.EncodeToString(cp.Root), Key: vkey,
		Pinned: pinned, Waiting: waiting, Files: len(want), Recovered: recovered}, nil
}

// exportKey picks the key and checks the export's own copy of it.
func exportKey(dir, key string) (vkey string, pinned bool, err error) {
	own, err := readBounded(dir, keyFile, 1024)
	if err != nil {
		return "", false, err
	}
	text, ok := strings.CutSuffix(string(own), "\n")
	if !ok || strings.ContainsAny(text, "\n\r ") {
		return "", false, damaged(keyFile, "is not one verifier key and a line feed")
	}
	if key == "" {
		return text, false, canonicalKey(text)
	}
	if b, err := os.ReadFile(key); err == nil && len(b) < 1024 {
		key = string(b)
	}
	key = strings.TrimSpace(key)
	if text != key {
		return "", false, damaged(keyFile, "is not the key that was given")
	}
	return key, true, nil
}

// canonicalKey refuses spellings of the same key that a lenient base64 decoder takes for equal.
func canonicalKey(vkey string) error {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return damaged(keyFile, "is not a verifier key")
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(parts[2]); err != nil || strings.ToLower(parts[1]) != parts[1] {
		return damaged(keyFile, "is not a verifier key in its canonical form")
	}
	if _, err := note.NewVerifier(vkey); err != nil {
		return &Damage{keyFile, -1, err}
	}
	return nil
}

func verifyTail(dir, vkey string, cp Checkpoint) (int, error) {
	msg, err := readBounded(dir, tailFile, maxNote)
	if err != nil {
		return 0, err
	}
	text, err := openNote(msg, vkey)
	if err != nil {
		return 0, &Damage{tailFile, -1, err}
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 5 {
		return 0, damaged(tailFile, "want four lines")
	}
	waiting, err := strconv.Atoi(lines[3])
	if err != nil || waiting < 0 || text != tailText(cp.Origin, cp.Size, waiting) {
		return 0, damaged(tailFile, "does not belong to the checkpoint")
	}
	return waiting, nil
}

// wantedFiles lists every file of an export of the size.
func wantedFiles(size uint64) map[string]bool {
	want := map[string]bool{checkpointFile: true, keyFile: true, tailFile: true}
	add := func(level string, hashes uint64) {
		for n := range hashes / tileWidth {
			want[tilePath(level, n, tileWidth)] = true
		}
		if rest := hashes % tileWidth; rest > 0 {
			want[tilePath(level, hashes/tileWidth, int(rest))] = true
		}
	}
	add("entries", size)
	for level, hashes := 0, size; hashes > 0; level, hashes = level+1, hashes/tileWidth {
		add(strconv.Itoa(level), hashes)
	}
	return want
}

// verifyNames refuses files that should not be there, and names the first that is missing.
func verifyNames(dir string, want map[string]bool) error {
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() {
			if name != "." && !parentOf(want, name) {
				return damaged(name, "a directory that no export has")
			}
			return nil
		}
		if !want[name] || !d.Type().IsRegular() {
			return damaged(name, "does not belong to this export")
		}
		seen++
		return nil
	})
	if err != nil || seen == len(want) {
		return err
	}
	missing := make([]string, 0, 1)
	for name := range want {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return damaged(missing[0], "is missing")
}

func parentOf(want map[string]bool, dir string) bool {
	for name := range want {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// verifyTiles recomputes the tree from the records alone and compares each hash tile and the root.
func verifyTiles(dir string, cp Checkpoint) (recovered []uint64, err error) {
	var all growingTree
	levels := [][]byte{nil}
	for n := uint64(0); n*tileWidth < cp.Size; n++ {
		width := int(min(tileWidth, cp.Size-n*tileWidth))
		entries, cut := readEntries(dir, n, width)
		// A length that was changed is found at its own record before the file ends inside a later one.
		found, err := compareLeaves(dir, n, width, entries)
		if err != nil {
			return nil, err
		}
		if cut != nil {
			return nil, cut
		}
		recovered = append(recovered, found...)
		for _, e := range entries {
			leaf := leafOf(e)
			all.add(leaf)
			levels[0] = append(levels[0], leaf[:]...)
		}
		if levels, err = foldLevels(dir, n, levels); err != nil {
			return nil, err
		}
	}
	if err := compareRest(dir, cp.Size, levels); err != nil {
		return nil, err
	}
	if root := all.root(); !bytes.Equal(root[:], cp.Root) {
		return nil, damaged(checkpointFile, "the records do not hash to the signed root: record and tile were changed together")
	}
	return recovered, nil
}

// compareLeaves says which record does not match its leaf hash, and which say that the log was recovered.
func compareLeaves(dir string, n uint64, width int, entries [][]byte) (recovered []uint64, err error) {
	name := tilePath("0", n, width)
	tile, err := readBounded(dir, name, tileWidth*32)
	if err != nil {
		return nil, err
	}
	if len(tile) != width*32 {
		return nil, damaged(name, "has %d bytes, want %d", len(tile), width*32)
	}
	for i, e := range entries {
		if leaf := leafOf(e); !bytes.Equal(leaf[:], tile[i*32:i*32+32]) {
			return nil, &Damage{tilePath("entries", n, width), int64(n)*tileWidth + int64(i),
				fmt.Errorf("the record does not match its leaf hash in %s: one of the two was changed", name)}
		}
		rec, err := checkRecord(e)
		if err != nil {
			return nil, &Damage{tilePath("entries", n, width), int64(n)*tileWidth + int64(i), err}
		}
		if rec.Kind == KindRecovered {
			recovered = append(recovered, n*tileWidth+uint64(i))
		}
	}
	return recovered, nil
}

// checkRecord refuses a record that is not known here, or not in the one form that its digest stands for.
func checkRecord(entry []byte) (Record, error) {
	rec, err := ParseRecord(entry)
	if err != nil {
		return rec, err
	}
	if again, err := canonical(entry); err != nil || !bytes.Equal(again, entry) {
		return rec, fmt.Errorf("record %s: the bytes are not canonical", rec.ID)
	}
	return rec, nil
}

// foldLevels moves full tiles up, comparing those above level 0 with their files.
func foldLevels(dir string, n uint64, levels [][]byte) ([][]byte, error) {
	for level := 0; len(levels[level]) == tileWidth*32; level++ {
		if level > 0 {
			index := n >> (8 * uint(level))
			if err := compareTile(dir, strconv.Itoa(level), index, levels[level]); err != nil {
				return nil, err
			}
		}
		var tile growingTree
		for hashes := levels[level]; len(hashes) > 0; hashes = hashes[32:] {
			tile.add([32]byte(hashes))
		}
		up := tile.root()
		levels[level] = nil
		if level+1 == len(levels) {
			levels = append(levels, nil)
		}
		levels[level+1] = append(levels[level+1], up[:]...)
	}
	return levels, nil
}

// compareRest compares the partial tiles above level 0.
func compareRest(dir string, size uint64, levels [][]byte) error {
	for level := 1; level < len(levels); level++ {
		if len(levels[level]) == 0 {
			continue
		}
		if err := compareTile(dir, strconv.Itoa(level), size>>(8*uint(level+1)), levels[level]); err != nil {
			return err
		}
	}
	return nil
}

func compareTile(dir, level string, n uint64, want []byte) error {
	name := tilePath(level, n, len(want)/32)
	have, err := readBounded(dir, name, tileWidth*32)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return damaged(name, "is not what the tiles below it hash to")
	}
	return nil
}

// readEntries reads one tile of records; with an error come those before the damage.
func readEntries(dir string, n uint64, width int) ([][]byte, error) {
	name := tilePath("entries", n, width)
	rest, err := readBounded(dir, name, tileWidth*(MaxEntry+2))
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, 0, width)
	for i := range width {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return entries, &Damage{name, int64(n)*tileWidth + int64(i), errors.New("the file ends inside the record")}
		}
		size := int(binary.BigEndian.Uint16(rest))
		entries = append(entries, rest[2:2+size])
		rest = rest[2+size:]
	}
	if len(rest) > 0 {
		return entries, damaged(name, "has %d bytes behind the last record", len(rest))
	}
	return entries, nil
}

// readBounded reads a regular file of an export; more than limit bytes is damage.
func readBounded(dir, name string, limit int) ([]byte, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Lstat(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, damaged(name, "is missing")
		}
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > int64(limit) {
		return nil, damaged(name, "is not a file of at most %d bytes", limit)
	}
	return os.ReadFile(path)
}

// Records reads the records of an export in order. It does not verify them: call Verify first.
func Records(dir string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for n := uint64(0); ; n++ {
			width, ok := tileOf(dir, n)
			if !ok {
				return
			}
			entries, err := readEntries(dir, n, width)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, e := range entries {
				rec, err := ParseRecord(e)
				if !yield(rec, err) || err != nil {
					return
				}
			}
		}
	}
}

// tileOf finds the n-th tile of records, full or partial.
func tileOf(dir string, n uint64) (width int, ok bool) {
	full := filepath.Join(dir, filepath.FromSlash(tilePath("entries", n, tileWidth)))
	if _, err := os.Lstat(full); err == nil {
		return tileWidth, true
	}
	parts, err := os.ReadDir(full + ".p")
	if err != nil || len(parts) != 1 {
		return 0, false
	}
	width, err = strconv.Atoi(parts[0].Name())
	return width, err == nil && width > 0 && width < tileWidth
}
