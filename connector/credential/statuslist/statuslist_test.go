package statuslist_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// empty is the vector of the standard: 131,072 entries, none of them set.
const empty = "H4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA"

func pack(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTheVectorsOfTheStandardsExpand(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		kind statuslist.Kind
		text string
	}{
		{statuslist.Bitstring, "u" + empty}, {statuslist.List2021, empty}, {statuslist.List2021, "u" + empty},
		{statuslist.List2021, strings.NewReplacer("-", "+", "_", "/").Replace(empty)},
	} {
		got, err := v.kind.Decode(v.text)
		if err != nil || !bytes.Equal(got.Bytes(), make([]byte, 16384)) || got.Len() != statuslist.MinEntries {
			t.Errorf("%s %s: %d entries, %v", v.kind, v.text, got.Len(), err)
		}
	}
}

// EDC takes nothing else in the older standard: a letter of the other alphabet fails its verifier.
func TestEachStandardIsWrittenInTheBase64ThatItsReadersTake(t *testing.T) {
	t.Parallel()
	bits, err := statuslist.New(statuslist.MinEntries)
	if err != nil {
		t.Fatal(err)
	}
	for kind, read := range map[statuslist.Kind]func(string) ([]byte, error){
		statuslist.List2021:  base64.StdEncoding.DecodeString,
		statuslist.Bitstring: func(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(strings.TrimPrefix(s, "u")) },
	} {
		text, err := kind.Encode(bits)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read(text); err != nil || strings.HasPrefix(text, "u") != (kind == statuslist.Bitstring) {
			t.Errorf("%s: %s, %v", kind, text, err)
		}
	}
}

func TestPaddingIsReadInTheOlderStandardOnly(t *testing.T) {
	t.Parallel()
	for n := range 3 { // one of three lengths needs no padding
		packed := append([]byte{0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 3}, bytes.Repeat([]byte{'c'}, n)...) // a comment of n bytes
		packed = append(append(packed, 0), pack(t, []byte{0x40})[10:]...)
		text := base64.URLEncoding.EncodeToString(packed)
		if got, err := statuslist.List2021.Decode(text); err != nil || got.Bytes()[0] != 0x40 {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := statuslist.Bitstring.Decode("u" + text); (err == nil) == strings.HasSuffix(text, "=") {
			t.Errorf("a padded bitstring %s: %v", text, err)
		}
	}
}

func TestTheFirstEntryIsTheLeftmostBit(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		index, at int
		want      byte
	}{{0, 0, 0x80}, {1, 0, 0x40}, {7, 0, 0x01}, {8, 1, 0x80}, {statuslist.MinEntries - 1, 16383, 0x01}} {
		b, err := statuslist.New(statuslist.MinEntries)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Set(v.index, true); err != nil || b.Bytes()[v.at] != v.want {
			t.Errorf("index %d: byte %d is %#x, want %#x; %v", v.index, v.at, b.Bytes()[v.at], v.want, err)
		}
		if set, err := b.Get(v.index); !set || err != nil {
			t.Errorf("index %d reads back as %v, %v", v.index, set, err)
		}
		if err := b.Set(v.index, false); err != nil || !bytes.Equal(b.Bytes(), make([]byte, 16384)) {
			t.Errorf("index %d is not taken back: %v", v.index, err)
		}
	}
}

func TestAnIndexOutsideTheListSaysNothing(t *testing.T) {
	t.Parallel()
	b, err := statuslist.FromBytes([]byte{0xff, 0xff, 0xff})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range [][2]int{{-1, 1}, {24, 1}, {1 << 31, 1}, {0, 0}, {0, 9}, {12, 2}, {3, 8}, {4, 5}, {1<<63 - 1, 8}} {
		if v, err := b.Value(at[0], at[1]); !errors.Is(err, statuslist.ErrRange) {
			t.Errorf("index %d of size %d is %d, %v", at[0], at[1], v, err)
		}
	}
	if err := b.Set(24, true); !errors.Is(err, statuslist.ErrRange) {
		t.Errorf("set outside: %v", err)
	}
	if v, err := b.Value(2, 8); v != 0xff || err != nil {
		t.Errorf("the last one is %#x, %v", v, err)
	}
}

func TestEntriesOfSeveralBitsLieSideBySide(t *testing.T) {
	t.Parallel()
	b, err := statuslist.FromBytes([]byte{0b00011011, 0b10000001})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint8{0, 1, 2, 3, 2, 0, 0, 1} {
		if v, err := b.Value(i, 2); v != want || err != nil {
			t.Errorf("value %d of two bits is %d, %v; want %d", i, v, err, want)
		}
	}
	if v, err := b.Value(1, 5); v != 0b01110 || err != nil {
		t.Errorf("across bytes: %#b, %v", v, err)
	}
}

func TestAListThatHidesNobodyIsNotMade(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, -8, 16384, statuslist.MinEntries - 8, statuslist.MinEntries + 1, statuslist.MaxEntries + 8} {
		if _, err := statuslist.New(n); err == nil {
			t.Errorf("a list of %d entries was made", n)
		}
	}
}

func TestTheLargestListThatDoesNotShrinkFits(t *testing.T) {
	t.Parallel()
	noise := make([]byte, statuslist.MaxBytes)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	b, err := statuslist.FromBytes(noise)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []statuslist.Kind{statuslist.Bitstring, statuslist.List2021} {
		text, err := kind.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := kind.Decode(text); err != nil || !bytes.Equal(got.Bytes(), noise) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestWhatIsNoListIsRefused(t *testing.T) {
	t.Parallel()
	text := base64.RawURLEncoding.EncodeToString
	one := pack(t, make([]byte, 16384))
	broken := bytes.Clone(one)
	broken[len(broken)-8] ^= 1
	short := bytes.Clone(one)
	short[len(short)-1] ^= 1
	bomb := pack(t, make([]byte, 64<<20))
	for name, v := range map[string]struct {
		kind statuslist.Kind
		text string
		want string
	}{
		"a compressed bomb (8.10)":             {statuslist.Bitstring, "u" + text(bomb), "inflates to more than"},
		"one byte too many":                    {statuslist.Bitstring, "u" + text(pack(t, make([]byte, statuslist.MaxBytes+1))), "inflates to more than"},
		"an encoded list that is too long":     {statuslist.List2021, strings.Repeat("A", 3<<19+1), "is longer than"},
		"a second gzip member":                 {statuslist.Bitstring, "u" + text(append(bytes.Clone(one), one...)), "one gzip member"},
		"bytes behind the member":              {statuslist.List2021, text(append(bytes.Clone(one), 0)), "one gzip member"},
		"a checksum that does not fit":         {statuslist.Bitstring, "u" + text(broken), "checksum"},
		"a length that does not fit":           {statuslist.Bitstring, "u" + text(short), "checksum"},
		"a stream cut off":                     {statuslist.Bitstring, "u" + text(one[:len(one)-9]), "EOF"},
		"a checksum cut off":                   {statuslist.Bitstring, "u" + text(one[:len(one)-1]), "EOF"},
		"no gzip":                              {statuslist.List2021, text(make([]byte, 32)), "invalid header"},
		"nothing":                              {statuslist.List2021, "", "EOF"},
		"no bits at all":                       {statuslist.Bitstring, "u" + text(pack(t, nil)), "want 1 to"},
		"a bitstring without multibase":        {statuslist.Bitstring, empty, "multibase"},
		"a bitstring of another multibase":     {statuslist.Bitstring, "z" + empty, "multibase"},
		"a bitstring in the other alphabet":    {statuslist.Bitstring, "u" + strings.ReplaceAll(empty, "-", "+"), "illegal base64"},
		"both alphabets at once":               {statuslist.List2021, empty + "+_", "illegal base64"},
		"a line break":                         {statuslist.Bitstring, "u" + empty[:8] + "\n" + empty[8:], "line break"},
		"padding that does not belong there":   {statuslist.List2021, empty + "====", "padding"},
		"bits behind the last byte of base 64": {statuslist.List2021, "H4sIAAAAAAAAB", "illegal base64"},
	} {
		if got, err := v.kind.Decode(v.text); err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: %d entries, %v; want %q", name, got.Len(), err, v.want)
		}
	}
}

func TestAnEntryReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, e := range []statuslist.Entry{
		{Kind: statuslist.Bitstring, ID: "https://m.example/status/1#94567", Purpose: statuslist.Revocation, Index: 94567, List: "https://m.example/status/1"},
		{Kind: statuslist.List2021, Purpose: statuslist.Suspension, Index: 0, List: "https://m.example/status/2"},
	} {
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(raw), `"statusListIndex":"`) {
			t.Errorf("%s: the index is not text", raw)
		}
		got, err := statuslist.ParseEntries(raw)
		if diff := cmp.Diff([]statuslist.Entry{e}, got); diff != "" || err != nil {
			t.Errorf("%s reads back (-written +read), %v:\n%s", raw, err, diff)
		}
	}
}

func entry(index string) string {
	return `{"type":"StatusList2021Entry","statusPurpose":"revocation","statusListIndex":` + index + `,"statusListCredential":"https://m.example/1"}`
}

// 8.27: an index is digits, and nothing that some reader takes for a number.
func TestAnIndexIsDigits(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]int{`"0"`: 0, `"131071"`: 131071, `7`: 7, `"2147483647"`: 2147483647} {
		got, err := statuslist.ParseEntries([]byte(entry(raw)))
		if err != nil || len(got) != 1 || got[0].Index != want {
			t.Errorf("%s: %v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{`"-1"`, `-1`, `"+1"`, `"01"`, `"-0"`, `-0`, `""`, `" 1"`, `"1 "`, `"NaN"`, `"0x10"`, `"1e3"`, `1e3`, `1.0`, `"1.0"`, `"2147483648"`, `"99999999999999999999"`, `null`, `true`,
		`["1"]`, `{"x":1}`, `"١"`} {
		if got, err := statuslist.ParseEntries([]byte(entry(raw))); err == nil {
			t.Errorf("%s was read as %v", raw, got)
		}
	}
}

func TestOnlyEntriesThatCanBeCheckedAreRead(t *testing.T) {
	t.Parallel()
	if got, err := statuslist.ParseEntries([]byte("[" + entry(`"1"`) + "," + entry("2") + "]")); err != nil || len(got) != 2 {
		t.Errorf("two entries: %v, %v", got, err)
	}
	for _, none := range []string{"", "null"} {
		if got, err := statuslist.ParseEntries([]byte(none)); err != nil || got != nil {
			t.Errorf("%q: %v, %v", none, got, err)
		}
	}
	sized := `{"type":"BitstringStatusListEntry","statusPurpose":"message","statusListIndex":"1","statusListCredential":"https://m.example/1","statusSize":2,"statusMessage":[1,2,3,4]}`
	if got, err := statuslist.ParseEntries([]byte(sized)); err != nil || got[0].Size != 2 || got[0].Blocks() {
		t.Errorf("an entry of two bits: %v, %v", got, err)
	}
	for name, raw := range map[string]string{
		"an empty list":                   `[]`,
		"too many":                        "[" + strings.Repeat(entry("1")+",", 8) + entry("1") + "]",
		"text":                            `"https://m.example/1"`,
		"text in a list":                  `["https://m.example/1"]`,
		"null in a list":                  `[null]`,
		"no type":                         strings.Replace(entry("1"), "StatusList2021Entry", "", 1),
		"a list's type":                   strings.Replace(entry("1"), "StatusList2021Entry", "StatusList2021", 1),
		"an unknown type":                 strings.Replace(entry("1"), "StatusList2021Entry", "RevocationList2020Status", 1),
		"no purpose":                      strings.Replace(entry("1"), "revocation", "", 1),
		"no list":                         strings.Replace(entry("1"), "https://m.example/1", "", 1),
		"a member in another spelling":    strings.Replace(entry("1"), "statusListIndex", "StatusListIndex", 1),
		"the list's id as its own":        strings.Replace(entry("1"), `{`, `{"id":"https://m.example/1",`, 1),
		"several bits without messages":   strings.Replace(sized, `,"statusMessage":[1,2,3,4]`, "", 1),
		"several bits with too few":       strings.Replace(sized, `1,2,3,4`, "1,2,3", 1),
		"no bits":                         strings.Replace(sized, `"statusSize":2`, `"statusSize":-1`, 1),
		"more bits than are read":         strings.Replace(sized, `"statusSize":2`, `"statusSize":9`, 1),
		"several bits in the older shape": strings.Replace(sized, `BitstringStatusListEntry`, `StatusList2021Entry`, 1),
	} {
		if got, err := statuslist.ParseEntries([]byte(raw)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
	if _, err := statuslist.ParseEntries([]byte(strings.Replace(entry("1"), "StatusList2021Entry", "Other", 1))); !errors.Is(err, statuslist.ErrKind) {
		t.Errorf("an unknown type is %v", err)
	}
}

func TestASubjectReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	b, err := statuslist.New(statuslist.MinEntries)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Set(4711, true); err != nil {
		t.Fatal(err)
	}
	for _, s := range []statuslist.Subject{
		{Kind: statuslist.Bitstring, ID: "https://m.example/1#list", Purposes: []string{statuslist.Revocation}, Bits: b, TTL: 5 * time.Minute},
		{Kind: statuslist.Bitstring, Purposes: []string{statuslist.Revocation, statuslist.Suspension}, Bits: b},
		{Kind: statuslist.List2021, ID: "https://m.example/1#list", Purposes: []string{statuslist.Suspension}, Bits: b},
	} {
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := statuslist.ParseSubject(s.Kind, raw)
		if diff := cmp.Diff(s, got, cmp.AllowUnexported(statuslist.Bits{})); diff != "" || err != nil {
			t.Errorf("%s reads back (-written +read), %v:\n%s", raw, err, diff)
		}
	}
	for _, s := range []statuslist.Subject{{Kind: statuslist.List2021, Purposes: []string{"a", "b"}, Bits: b}, {Kind: statuslist.List2021, Purposes: []string{"a"}, Bits: b, TTL: 1},
		{Kind: "Other", Purposes: []string{"a"}, Bits: b}, {Kind: statuslist.Bitstring, Bits: b}} {
		if raw, err := json.Marshal(s); err == nil {
			t.Errorf("%+v was written as %s", s.Purposes, raw)
		}
	}
}

func TestASubjectOfAnotherShapeIsRefused(t *testing.T) {
	t.Parallel()
	good := `{"type":"BitstringStatusList","statusPurpose":["revocation"],"encodedList":"u` + empty + `","ttl":1}`
	if _, err := statuslist.ParseSubject(statuslist.Bitstring, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"a list of subjects":   "[" + good + "]",
		"nothing":              "",
		"another type":         strings.Replace(good, "BitstringStatusList", "StatusList2021", 1),
		"no type":              strings.Replace(good, `"type":"BitstringStatusList",`, "", 1),
		"no purpose":           strings.Replace(good, `["revocation"]`, "[]", 1),
		"an empty purpose":     strings.Replace(good, `["revocation"]`, `""`, 1),
		"a purpose of no text": strings.Replace(good, `["revocation"]`, `[1]`, 1),
		"a negative ttl":       strings.Replace(good, `"ttl":1`, `"ttl":-1`, 1),
		"no list":              strings.Replace(good, `"encodedList"`, `"list"`, 1),
	} {
		if got, err := statuslist.ParseSubject(statuslist.Bitstring, []byte(raw)); err == nil {
			t.Errorf("%s: read as %+v", name, got.Purposes)
		}
	}
	two := strings.NewReplacer("BitstringStatusList", "StatusList2021", `["revocation"]`, `["revocation","suspension"]`).Replace(good)
	if _, err := statuslist.ParseSubject(statuslist.List2021, []byte(two)); err == nil {
		t.Error("two purposes in the older shape")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("u"+empty, true)
	f.Add(empty, false)
	f.Add("u"+base64.RawURLEncoding.EncodeToString(pack(f, []byte{0x40})), true)
	f.Fuzz(func(t *testing.T, text string, newer bool) {
		kind := statuslist.List2021
		if newer {
			kind = statuslist.Bitstring
		}
		got, err := kind.Decode(text)
		if err != nil {
			return
		}
		if got.Len() == 0 || got.Len() > statuslist.MaxEntries {
			t.Fatalf("%d entries", got.Len())
		}
		again, err := kind.Encode(got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := kind.Decode(again); err != nil || !bytes.Equal(back.Bytes(), got.Bytes()) {
			t.Errorf("%q reads back differently: %v", text, err)
		}
	})
}

func FuzzParseEntries(f *testing.F) {
	f.Add([]byte(entry(`"1"`)))
	f.Add([]byte("[" + entry("1") + "]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if ijson.Check(raw, ijson.DefaultLimits()) != nil {
			return
		}
		got, err := statuslist.ParseEntries(bytes.TrimSpace(raw))
		if err != nil || len(got) == 0 || got[0].Size > 1 {
			return
		}
		again, err := json.Marshal(got[0])
		if err != nil {
			t.Fatalf("%s was read as %+v: %v", raw, got[0], err)
		}
		if back, err := statuslist.ParseEntries(again); err != nil || len(back) != 1 || back[0] != got[0] {
			t.Errorf("%s reads back as %+v, %v", raw, back, err)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	f.Add([]byte(`{"type":"BitstringStatusList","statusPurpose":["revocation"],"encodedList":"u`+empty+`","ttl":1}`), true)
	f.Add([]byte(`{"type":["StatusList2021"],"statusPurpose":"suspension","encodedList":"`+empty+`"}`), false)
	f.Fuzz(func(t *testing.T, raw []byte, newer bool) {
		kind := statuslist.List2021
		if newer {
			kind = statuslist.Bitstring
		}
		if ijson.Check(raw, ijson.DefaultLimits()) != nil {
			return
		}
		got, err := statuslist.ParseSubject(kind, bytes.TrimSpace(raw))
		if err != nil {
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		back, err := statuslist.ParseSubject(kind, again)
		if err != nil || !bytes.Equal(back.Bits.Bytes(), got.Bits.Bytes()) || cmp.Diff(back.Purposes, got.Purposes) != "" {
			t.Errorf("%s reads back as %s, %v", raw, again, err)
		}
	})
}
