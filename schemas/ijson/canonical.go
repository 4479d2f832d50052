package ijson

import (
	"bytes"
	"unicode/utf8"
)

// plainlyCanonical reports whether a compact JSON text is its own RFC 8785 form for reasons that can be seen in one pass: ASCII without
// escapes, members sorted, numbers that are short integers. false says nothing; the transformation then decides.
func plainlyCanonical(text []byte) bool {
	c := canonScan{text: text}
	return c.value(0) && c.at == len(text)
}

type canonScan struct {
	text []byte
	at   int
}

func (c *canonScan) value(depth int) bool {
	if c.at >= len(c.text) || depth > 32 {
		return false
	}
	switch b := c.text[c.at]; {
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.array(depth)
	case b == '"':
		_, ok := c.str()
		return ok
	case b == '-' || b >= '0' && b <= '9':
		return c.integer()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(c.text[c.at:], []byte(word)) {
			c.at += len(word)
			return true
		}
	}
	return false
}

func (c *canonScan) object(depth int) bool {
	c.at++
	var last []byte
	for first := true; ; first = false {
		if c.at >= len(c.text) {
			return false
		}
		if c.text[c.at] == '}' {
			c.at++
			return true
		}
		if !first {
			if c.text[c.at] != ',' {
				return false
			}
			c.at++
		}
		name, ok := c.str()
		if !ok || !first && bytes.Compare(last, name) >= 0 || c.at >= len(c.text) || c.text[c.at] != ':' {
			return false
		}
		last = name
		c.at++
		if !c.value(depth + 1) {
			return false
		}
	}
}

func (c *canonScan) array(depth int) bool {
	c.at++
	for first := true; ; first = false {
		if c.at >= len(c.text) {
			return false
		}
		if c.text[c.at] == ']' {
			c.at++
			return true
		}
		if !first {
			if c.text[c.at] != ',' {
				return false
			}
			c.at++
		}
		if !c.value(depth + 1) {
			return false
		}
	}
}

// str reads a string of printable ASCII without escapes.
func (c *canonScan) str() ([]byte, bool) {
	if c.at >= len(c.text) || c.text[c.at] != '"' {
		return nil, false
	}
	c.at++
	start := c.at
	for c.at < len(c.text) {
		b := c.text[c.at]
		if b == '"' {
			c.at++
			return c.text[start : c.at-1], true
		}
		if b == '\\' || b < 0x20 || b >= 0x7f {
			return nil, false
		}
		c.at++
	}
	return nil, false
}

// integer reads an integer of at most 15 digits, in its only spelling.
func (c *canonScan) integer() bool {
	start := c.at
	if c.text[c.at] == '-' {
		c.at++
	}
	digits := c.at
	for c.at < len(c.text) && c.text[c.at] >= '0' && c.text[c.at] <= '9' {
		c.at++
	}
	n := c.at - digits
	return n > 0 && n <= 15 && (c.text[digits] != '0' || n == 1 && digits == start) &&
		(c.at == len(c.text) || c.text[c.at] == ',' || c.text[c.at] == '}' || c.text[c.at] == ']')
}

// AppendString appends s as a string of the canonical form; each byte that is not UTF-8 becomes the replacement character.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r >= 0x20:
			dst = utf8.AppendRune(dst, r)
		case r == '\b':
			dst = append(dst, '\\', 'b')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\f':
			dst = append(dst, '\\', 'f')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		}
	}
	return append(dst, '"')
}
