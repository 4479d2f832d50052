package ijson

import (
	"bytes"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scanner walks a JSON text once. path holds the way to the value at hand, for errors only.
type scanner struct {
	data  []byte
	lim   Limits
	at    int
	depth int
	path  []step
}

// step is one element of the path: a member's name as written, or an index.
type step struct {
	name  []byte
	index int
}

func (s *scanner) fault(kind Kind, want string) error {
	return &Error{Kind: kind, Path: s.pointer(), Offset: s.at, Want: want}
}

func (s *scanner) pointer() string {
	var b strings.Builder
	for _, p := range s.path {
		b.WriteByte('/')
		if p.name == nil {
			b.WriteString(strconv.Itoa(p.index))
			continue
		}
		name := strings.ToValidUTF8(string(p.name), "\uFFFD")
		if len(name) > 64 {
			name = name[:64] + "…"
		}
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return b.String()
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// value reads a value that is to be bound to t; nil stands for everything.
func (s *scanner) value(t reflect.Type) error {
	if s.at >= len(s.data) {
		return s.fault(Syntax, "a value, have the end of the text")
	}
	switch c := s.data[s.at]; {
	case c == '{':
		return s.object(t)
	case c == '[':
		return s.array(t)
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.fault(Syntax, "a JSON value")
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.at < len(w) || string(s.data[s.at:s.at+len(w)]) != w {
		return s.fault(Syntax, "true, false or null")
	}
	s.at += len(w)
	return nil
}

func (s *scanner) enter() error {
	s.depth++
	if s.depth > s.lim.Depth {
		return s.fault(TooDeep, "at most "+strconv.Itoa(s.lim.Depth)+" levels")
	}
	s.at++
	s.space()
	return nil
}

func (s *scanner) object(t reflect.Type) error {
	if err := s.enter(); err != nil {
		return err
	}
	names := members{}
	to, each := fieldsOf(t), elem(t)
	for first := true; ; first = false {
		if s.at < len(s.data) && s.data[s.at] == '}' && first {
			break
		}
		if err := s.member(&names, to, each); err != nil {
			return err
		}
		s.space()
		if s.at < len(s.data) && s.data[s.at] == ',' {
			s.at++
			s.space()
			continue
		}
		if s.at < len(s.data) && s.data[s.at] == '}' {
			break
		}
		return s.fault(Syntax, "',' or '}'")
	}
	s.at++
	s.depth--
	return nil
}

func (s *scanner) member(names *members, to *fields, each reflect.Type) error {
	if s.at >= len(s.data) || s.data[s.at] != '"' {
		return s.fault(Syntax, "a member name in double quotes")
	}
	name, err := s.str()
	if err != nil {
		return err
	}
	s.path = append(s.path, step{name: name})
	if names.count++; names.count > s.lim.Members {
		return s.fault(TooMany, "at most "+strconv.Itoa(s.lim.Members)+" members")
	}
	if !names.add(name) {
		return s.fault(Duplicate, "each member once, in one spelling of upper and lower case")
	}
	if to != nil {
		var ok bool
		if each, ok = to.exact[string(name)]; !ok && to.folded[fold(name)] != "" {
			return s.fault(Shape, "the member "+to.folded[fold(name)]+" in exactly this spelling")
		}
	}
	s.space()
	if s.at >= len(s.data) || s.data[s.at] != ':' {
		return s.fault(Syntax, "':'")
	}
	s.at++
	s.space()
	if err := s.value(each); err != nil {
		return err
	}
	s.path = s.path[:len(s.path)-1]
	return nil
}

func (s *scanner) array(t reflect.Type) error {
	if err := s.enter(); err != nil {
		return err
	}
	if s.at < len(s.data) && s.data[s.at] == ']' {
		s.at++
		s.depth--
		return nil
	}
	each := elem(t)
	for i := 0; ; i++ {
		s.path = append(s.path, step{index: i})
		if i >= s.lim.Items {
			return s.fault(TooMany, "at most "+strconv.Itoa(s.lim.Items)+" items")
		}
		if err := s.value(each); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		if s.at >= len(s.data) {
			return s.fault(Syntax, "',' or ']'")
		}
		c := s.data[s.at]
		s.at++
		if c == ']' {
			s.depth--
			return nil
		}
		if c != ',' {
			s.at--
			return s.fault(Syntax, "',' or ']'")
		}
		s.space()
	}
}

// str reads a string and returns its value; without escapes that is a slice of the text.
func (s *scanner) str() ([]byte, error) {
	s.at++
	start := s.at
	var plain []byte // non-nil after the first escape
	for s.at < len(s.data) {
		c := s.data[s.at]
		switch {
		case c == '"':
			out := s.data[start:s.at]
			if plain != nil {
				out = plain
			}
			s.at++
			if s.at-start > s.lim.String {
				return nil, s.fault(TooLarge, "strings of at most "+strconv.Itoa(s.lim.String)+" bytes")
			}
			return out, nil
		case c == '\\':
			if plain == nil {
				plain = append(make([]byte, 0, s.at-start+16), s.data[start:s.at]...)
			}
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			plain = utf8.AppendRune(plain, r)
		case c < 0x20:
			return nil, s.fault(Encoding, "control characters written as escapes")
		case c < utf8.RuneSelf:
			if plain != nil {
				plain = append(plain, c)
			}
			s.at++
		default:
			r, size := utf8.DecodeRune(s.data[s.at:])
			if r == utf8.RuneError && size == 1 {
				return nil, s.fault(Encoding, "valid UTF-8")
			}
			if plain != nil {
				plain = append(plain, s.data[s.at:s.at+size]...)
			}
			s.at += size
		}
	}
	return nil, s.fault(Syntax, "a closing double quote")
}

func (s *scanner) escape() (rune, error) {
	if s.at+1 >= len(s.data) {
		return 0, s.fault(Syntax, "an escaped character")
	}
	c := s.data[s.at+1]
	if c != 'u' {
		i := strings.IndexByte(`"\/bfnrt`, c)
		if i < 0 {
			return 0, s.fault(Syntax, `one of \" \\ \/ \b \f \n \r \t \u`)
		}
		s.at += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, err := s.hex4(s.at + 2)
	if err != nil {
		return 0, err
	}
	switch {
	case r == 0:
		return 0, s.fault(Encoding, "no NUL character")
	case r >= 0xD800 && r <= 0xDBFF:
		if s.at+7 >= len(s.data) || s.data[s.at+6] != '\\' || s.data[s.at+7] != 'u' {
			return 0, s.fault(Encoding, "a low surrogate after the high one")
		}
		low, err := s.hex4(s.at + 8)
		if err != nil {
			return 0, err
		}
		if low < 0xDC00 || low > 0xDFFF {
			return 0, s.fault(Encoding, "a low surrogate after the high one")
		}
		s.at += 12
		return (r-0xD800)<<10 + (low - 0xDC00) + 0x10000, nil
	case r >= 0xDC00 && r <= 0xDFFF:
		return 0, s.fault(Encoding, "a high surrogate before the low one")
	}
	s.at += 6
	return r, nil
}

func (s *scanner) hex4(at int) (rune, error) {
	if at+4 > len(s.data) {
		return 0, s.fault(Syntax, "four hexadecimal digits")
	}
	var r rune
	for _, c := range s.data[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, s.fault(Syntax, "four hexadecimal digits")
		}
	}
	return r, nil
}

func (s *scanner) digits() int {
	n := 0
	for s.at < len(s.data) && s.data[s.at] >= '0' && s.data[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}

func (s *scanner) number() error {
	start := s.at
	if s.data[s.at] == '-' {
		s.at++
	}
	whole := s.at
	n := s.digits()
	if n == 0 || n > 1 && s.data[whole] == '0' {
		return s.fault(Syntax, "a number without leading zeros")
	}
	integer := true
	if s.at < len(s.data) && s.data[s.at] == '.' {
		s.at++
		integer = false
		if s.digits() == 0 {
			return s.fault(Syntax, "a digit after the decimal point")
		}
	}
	if s.at < len(s.data) && (s.data[s.at] == 'e' || s.data[s.at] == 'E') {
		s.at++
		integer = false
		if s.at < len(s.data) && (s.data[s.at] == '+' || s.data[s.at] == '-') {
			s.at++
		}
		if s.digits() == 0 {
			return s.fault(Syntax, "a digit in the exponent")
		}
	}
	if s.lim.BigNumbers || integer && n <= 15 {
		return nil
	}
	return s.survives(start, integer)
}

// survives refuses a number that comes back changed from a double: two readers would see two values (rule T-20).
func (s *scanner) survives(start int, integer bool) error {
	const want = "a number that a double holds exactly; write others as strings"
	text := string(s.data[start:s.at])
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return s.fault(Number, want)
	}
	if integer && math.Abs(f) > 1<<53-1 {
		return s.fault(Number, want)
	}
	if significant(text) != significant(strconv.FormatFloat(f, 'e', -1, 64)) {
		return s.fault(Number, want)
	}
	return nil
}

// significant returns the digits of a number that carry its value: without sign, point, exponent and outer zeros.
func significant(text string) string {
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		text = text[:i]
	}
	text = strings.Replace(strings.TrimPrefix(text, "-"), ".", "", 1)
	return strings.Trim(text, "0")
}

// members remembers the names of one object, folded, so that duplicates and case variants are found. Few names are compared
// one by one; many go into a map.
type members struct {
	count int
	few   [16][]byte
	n     int
	many  map[string]struct{}
}

func (m *members) add(name []byte) bool {
	if m.many == nil {
		for _, seen := range m.few[:m.n] {
			if bytes.EqualFold(seen, name) {
				return false
			}
		}
		if m.n < len(m.few) {
			m.few[m.n] = name
			m.n++
			return true
		}
		m.many = make(map[string]struct{}, 64)
		for _, seen := range m.few {
			m.many[fold(seen)] = struct{}{}
		}
	}
	folded := fold(name)
	if _, ok := m.many[folded]; ok {
		return false
	}
	m.many[folded] = struct{}{}
	return true
}
