package faultfs

// chunk is how much of a blob is copied at once.
const chunk = 16 << 10

// blob is the content of a file. Copies share what none of them has written since.
type blob struct {
	size   int64
	chunks [][]byte
	own    []bool // chunks that no copy shares
}

// share is a blob of bytes that are not copied, and never written.
func share(b []byte) blob {
	out := blob{size: int64(len(b))}
	for len(b) > 0 {
		n := min(len(b), chunk)
		out.chunks, out.own = append(out.chunks, b[:n:n]), append(out.own, false)
		b = b[n:]
	}
	return out
}

func (b *blob) copy() blob {
	clear(b.own)
	return blob{size: b.size, chunks: append([][]byte(nil), b.chunks...), own: make([]bool, len(b.own))}
}

func (b *blob) bytes() []byte {
	out := make([]byte, b.size)
	b.read(out, 0)
	return out
}

// read fills p from the offset and returns how much there was.
func (b *blob) read(p []byte, offset int64) (n int) {
	p = p[:max(0, min(int64(len(p)), b.size-offset))]
	for n < len(p) {
		at := offset + int64(n)
		some := p[n:min(len(p), n+chunk-int(at%chunk))]
		clear(some[copyOf(some, b.chunks[at/chunk], at%chunk):])
		n += len(some)
	}
	return n
}

func copyOf(to, from []byte, offset int64) int {
	if offset >= int64(len(from)) {
		return 0
	}
	return copy(to, from[offset:])
}

// apply makes the write.
func (b *blob) apply(w write) {
	if w.truncate {
		b.resize(w.offset)
		return
	}
	b.resize(max(b.size, w.offset+int64(len(w.data))))
	for n := 0; n < len(w.data); {
		at := w.offset + int64(n)
		n += copy(b.mine(at / chunk)[at%chunk:], w.data[n:])
	}
}

// mine is a whole chunk that may be written.
func (b *blob) mine(i int64) []byte {
	if !b.own[i] {
		whole := make([]byte, chunk)
		copy(whole, b.chunks[i])
		b.chunks[i], b.own[i] = whole, true
	}
	return b.chunks[i]
}

func (b *blob) resize(size int64) {
	need := int((size + chunk - 1) / chunk)
	for len(b.chunks) < need {
		b.chunks, b.own = append(b.chunks, nil), append(b.own, false)
	}
	b.chunks, b.own = b.chunks[:need], b.own[:need]
	if rest := size % chunk; size < b.size && rest > 0 { // what comes after the new end is zero, should it grow again
		clear(b.mine(int64(need) - 1)[rest:])
	}
	b.size = size
}
