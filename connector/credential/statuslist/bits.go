package statuslist

import (
	"errors"
	"fmt"
	"math"
)

const (
	// MinEntries is the least size of a list that hides whose entry is asked for: 16 KiB (Bitstring Status List 1.0, section 6.1).
	MinEntries = 131072
	// MaxBytes bounds a list that was inflated.
	MaxBytes = 1 << 20
	// MaxEntries is how many entries of one bit fit.
	MaxEntries = MaxBytes * 8
	// maxIndex is the largest index that is read at all; whether a list is that long is asked later.
	maxIndex = math.MaxInt32
)

// ErrRange tells that an index lies outside its list: nothing is known of such an entry, so it must not pass.
var ErrRange = errors.New("the index lies outside the list")

// Bits is a list of one-bit entries, the first one in the most significant bit of the first byte. It is not safe for concurrent writing.
type Bits struct{ bytes []byte }

// New returns a list in which nothing is set. entries is a multiple of 8 from [MinEntries] to [MaxEntries]: a smaller list would tell who
// serves it whose entry was asked for.
func New(entries int) (Bits, error) {
	if entries < MinEntries || entries > MaxEntries || entries%8 != 0 {
		return Bits{}, fmt.Errorf("status list: want a multiple of 8 from %d to %d entries, have %d", MinEntries, MaxEntries, entries)
	}
	return Bits{make([]byte, entries/8)}, nil
}

// FromBytes returns the list that was kept as bytes, which it takes over.
func FromBytes(b []byte) (Bits, error) {
	if len(b) == 0 || len(b) > MaxBytes {
		return Bits{}, fmt.Errorf("status list: want 1 to %d bytes, have %d", MaxBytes, len(b))
	}
	return Bits{b}, nil
}

// Bytes returns the list as bytes, which stay its own.
func (b Bits) Bytes() []byte { return b.bytes }

// Len is the number of entries of one bit.
func (b Bits) Len() int { return len(b.bytes) * 8 }

// Clone returns a copy to change.
func (b Bits) Clone() Bits { return Bits{append([]byte(nil), b.bytes...)} }

// Get reports whether the entry is set.
func (b Bits) Get(index int) (bool, error) {
	v, err := b.Value(index, 1)
	return v != 0, err
}

// Value is the value of an entry in a list whose entries have size bits each, 1 to 8.
func (b Bits) Value(index, size int) (uint8, error) {
	if index < 0 || size < 1 || size > maxSize || index > (b.Len()-size)/size {
		return 0, ErrRange
	}
	var v uint8
	for bit := index * size; bit < (index+1)*size; bit++ {
		v = v<<1 | b.bytes[bit/8]>>(7-bit%8)&1
	}
	return v, nil
}

// Set changes an entry.
func (b Bits) Set(index int, set bool) error {
	if index < 0 || index >= b.Len() {
		return ErrRange
	}
	mask := byte(0x80) >> (index % 8)
	if set {
		b.bytes[index/8] |= mask
	} else {
		b.bytes[index/8] &^= mask
	}
	return nil
}
