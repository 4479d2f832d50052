package decisionlog

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"

	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Domain is the key of one erasure domain. Whoever holds it can open every commitment made under it; when it is destroyed,
// none can be opened or guessed any more.
type Domain struct {
	ID  string
	Key []byte // 32 bytes
}

// String hides the key.
func (d Domain) String() string { return "domain " + d.ID }

// opener makes and opens the commitments of one record. It is for one goroutine.
type opener struct{ salts hash.Hash } // HMAC under the record's key, reset for each salt

func (d Domain) record(id string) (opener, error) {
	k, err := hkdf.Key(sha256.New, d.Key, nil, "sluice/record/v1\x00"+id, 32)
	if err != nil {
		return opener{}, fmt.Errorf("key of record %s: %w", id, err)
	}
	return opener{hmac.New(sha256.New, k)}, nil
}

func (o opener) salt(path string) []byte {
	o.salts.Reset()
	_, _ = io.WriteString(o.salts, "sluice/salt/v1\x00"+path)
	return o.salts.Sum(nil)
}

// commitTo returns HMAC-SHA-256(salt, domain ‖ path ‖ 0 ‖ value) where value is canonical JSON.
func commitTo(salt []byte, path string, value []byte) []byte {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte("sluice/commitment/v1\x00" + path + "\x00"))
	mac.Write(value)
	return mac.Sum(nil)
}

func (o opener) text(path, value string) (string, error) {
	if value == "" {
		return "", nil
	}
	canonical, err := ijson.Marshal(value)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(commitTo(o.salt(path), path, canonical)), nil
}

// Disclosure opens one commitment: who holds it can show one value without showing the others.
type Disclosure struct {
	Path  string `json:"path"`
	Salt  string `json:"salt"`  // hex
	Value string `json:"value"` // canonical JSON
}

// Opens reports whether the disclosure opens the commitment.
func (d Disclosure) Opens(commitment string) bool {
	salt, err := hex.DecodeString(d.Salt)
	if err != nil || len(salt) != sha256.Size {
		return false
	}
	want, err := hex.DecodeString(commitment)
	return err == nil && hmac.Equal(want, commitTo(salt, d.Path, []byte(d.Value)))
}

// Disclose opens one value of the record: path as in the input document ("/peer/did") or of a field ("subject").
func (dom Domain) Disclose(recordID, path string, value any) (Disclosure, error) {
	o, err := dom.record(recordID)
	if err != nil {
		return Disclosure{}, err
	}
	canonical, err := ijson.Marshal(value)
	if err != nil {
		return Disclosure{}, err
	}
	return Disclosure{Path: path, Salt: hex.EncodeToString(o.salt(path)), Value: string(canonical)}, nil
}

// inputRoot commits to every leaf of the canonical input document and returns the Merkle root over the sorted commitments,
// padded with decoys to a multiple of eight so that their number tells nothing.
func (o opener) inputRoot(canonical []byte) (string, error) {
	var leaves [][]byte
	err := eachLeaf(canonical, func(path string, value []byte) {
		leaves = append(leaves, commitTo(o.salt(path), path, value))
	})
	if err != nil {
		return "", err
	}
	for i := 0; len(leaves)%8 != 0; i++ {
		path := "decoy/" + strconv.Itoa(i)
		leaves = append(leaves, commitTo(o.salt(path), path, nil))
	}
	return rootOf(leaves)
}

func rootOf(commitments [][]byte) (string, error) {
	slices.SortFunc(commitments, bytes.Compare)
	head, err := Head{}.Append(commitments...)
	if err != nil {
		return "", err
	}
	root, err := head.Root()
	return hex.EncodeToString(root), err
}

// eachLeaf calls visit for every scalar, empty object and empty array of a canonical JSON text, with its JSON pointer and bytes.
func eachLeaf(text []byte, visit func(path string, value []byte)) error {
	w := leafWalker{text: text, visit: visit}
	if err := w.value(""); err != nil {
		return err
	}
	if w.at != len(text) {
		return fmt.Errorf("input: bytes behind the document")
	}
	return nil
}

// leafWalker relies on the canonical form: no white space, valid syntax.
type leafWalker struct {
	text  []byte
	at    int
	visit func(string, []byte)
}

func (w *leafWalker) value(path string) error {
	if w.at >= len(w.text) {
		return fmt.Errorf("input: the document ends early")
	}
	switch c := w.text[w.at]; {
	case (c == '{' || c == '[') && w.at+1 < len(w.text) && w.text[w.at+1] == c+2:
		w.visit(path, w.text[w.at:w.at+2])
		w.at += 2
		return nil
	case c == '{':
		return w.each('}', func(int) error {
			name := w.scalar()
			if len(name) < 2 || w.at >= len(w.text) {
				return fmt.Errorf("input: no member name at byte %d", w.at)
			}
			w.at++ // the colon
			return w.value(path + "/" + string(name[1:len(name)-1]))
		})
	case c == '[':
		return w.each(']', func(i int) error { return w.value(path + "/" + strconv.Itoa(i)) })
	}
	w.visit(path, w.scalar())
	return nil
}

func (w *leafWalker) each(end byte, item func(i int) error) error {
	for i := 0; ; i++ {
		w.at++ // the opening bracket or the comma
		if err := item(i); err != nil {
			return err
		}
		if w.at >= len(w.text) {
			return fmt.Errorf("input: the document ends early")
		}
		if w.text[w.at] == end {
			w.at++
			return nil
		}
	}
}

// scalar consumes a string, number or word.
func (w *leafWalker) scalar() []byte {
	start := w.at
	if w.text[w.at] == '"' {
		for w.at++; w.at < len(w.text) && w.text[w.at] != '"'; w.at++ {
			if w.text[w.at] == '\\' {
				w.at++
			}
		}
		w.at = min(w.at+1, len(w.text))
		return w.text[start:w.at]
	}
	for w.at < len(w.text) && !bytes.ContainsRune([]byte(",]}"), rune(w.text[w.at])) {
		w.at++
	}
	return w.text[start:w.at]
}
