package decisionlog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The verifier's own tree and canonical form. They share nothing with what the log is written by, so that one mistake is not made twice;
// fuzz tests compare the two.

// leafOf is the leaf hash of RFC 6962.
func leafOf(entry []byte) [32]byte { return sha256.Sum256(append([]byte{0}, entry...)) }

// nodeOf is the node hash of RFC 6962.
func nodeOf(left, right [32]byte) [32]byte {
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// growingTree is a Merkle tree of RFC 6962 as its perfect subtrees, the largest first.
type growingTree []perfect

type perfect struct {
	size uint64
	hash [32]byte
}

func (t *growingTree) add(leaf [32]byte) {
	last := perfect{1, leaf}
	for n := len(*t); n > 0 && (*t)[n-1].size == last.size; n = len(*t) {
		last = perfect{2 * last.size, nodeOf((*t)[n-1].hash, last.hash)}
		*t = (*t)[:n-1]
	}
	*t = append(*t, last)
}

func (t growingTree) root() [32]byte {
	if len(t) == 0 {
		return sha256.Sum256(nil)
	}
	root := t[len(t)-1].hash
	for _, p := range slices.Backward(t[:len(t)-1]) {
		root = nodeOf(p.hash, root)
	}
	return root
}

// canonical prints a JSON text in the form of RFC 8785. The text must have passed the strict check before.
func canonical(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes behind the document")
	}
	var out bytes.Buffer
	if err := print(&out, v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func print(out *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case map[string]any:
		return printList(out, "{}", members(v), func(name string) error {
			printString(out, name)
			out.WriteByte(':')
			return print(out, v[name])
		})
	case []any:
		return printList(out, "[]", v, func(item any) error { return print(out, item) })
	case string:
		printString(out, v)
	case json.Number:
		n, err := v.Float64()
		if err != nil {
			return err
		}
		out.WriteString(ecmaNumber(n))
	case bool:
		out.WriteString(strconv.FormatBool(v))
	default:
		out.WriteString("null")
	}
	return nil
}

func printList[T any](out *bytes.Buffer, brackets string, items []T, item func(T) error) error {
	out.WriteByte(brackets[0])
	for i, v := range items {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := item(v); err != nil {
			return err
		}
	}
	out.WriteByte(brackets[1])
	return nil
}

// members are sorted by UTF-16 code units: an emoji comes before U+FB33, although its code point is larger.
func members(object map[string]any) []string {
	return slices.SortedFunc(maps.Keys(object), func(a, b string) int {
		for a != "" && b != "" {
			x, n := utf8.DecodeRuneInString(a)
			y, m := utf8.DecodeRuneInString(b)
			if x != y {
				return cmp.Or(cmp.Compare(firstUnit(x), firstUnit(y)), cmp.Compare(x, y))
			}
			a, b = a[n:], b[m:]
		}
		return cmp.Compare(len(a), len(b))
	})
}

func firstUnit(r rune) rune {
	if high, _ := utf16.EncodeRune(r); high != utf8.RuneError {
		return high
	}
	return r
}

func printString(out *bytes.Buffer, s string) {
	out.WriteByte('"')
	for _, r := range s {
		switch at := strings.IndexRune("\"\\\b\t\n\f\r", r); {
		case at >= 0:
			out.WriteByte('\\')
			out.WriteByte("\"\\btnfr"[at])
		case r < 0x20:
			fmt.Fprintf(out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
}

// ecmaNumber prints a double as ECMAScript does: the shortest digits that read back, plain between 1e-6 and 1e21.
func ecmaNumber(n float64) string {
	switch size := math.Abs(n); {
	case n == 0:
		return "0"
	case size >= 1e-6 && size < 1e21:
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(n, 'e', -1, 64), "e")
	sign, digits := exponent[:1], strings.TrimLeft(exponent[1:], "0")
	return mantissa + "e" + sign + digits
}
