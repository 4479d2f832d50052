package faultfs

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestABlobHoldsWhatBytesWouldHold compares blobs and their copies with plain bytes.
func TestABlobHoldsWhatBytesWouldHold(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	begun := bytes.Repeat([]byte("begun"), chunk/3)
	before := bytes.Clone(begun)
	type pair struct {
		blob  blob
		plain []byte
	}
	all := []pair{{share(begun), bytes.Clone(begun)}, {}}
	for range 3000 {
		p := &all[r.IntN(len(all))]
		at := r.Int64N(3 * chunk)
		switch r.IntN(4) {
		case 0:
			p.blob.apply(write{offset: at, truncate: true})
			p.plain = append(p.plain, make([]byte, 3*chunk)...)[:at:at]
			if grown := int64(len(p.plain)); p.blob.size != grown {
				t.Fatalf("size %d, want %d", p.blob.size, grown)
			}
		case 1:
			if len(all) < 8 {
				all = append(all, pair{p.blob.copy(), bytes.Clone(p.plain)})
			}
		default:
			data := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, 1+r.IntN(2*chunk))
			p.blob.apply(write{offset: at, data: data})
			if need := int(at) + len(data); need > len(p.plain) {
				p.plain = append(p.plain, make([]byte, need-len(p.plain))...)
			}
			copy(p.plain[at:], data)
		}
		for i, p := range all {
			if !bytes.Equal(p.blob.bytes(), p.plain) {
				t.Fatalf("blob %d of %d holds something else", i, len(all))
			}
		}
	}
	if !bytes.Equal(begun, before) {
		t.Error("the bytes that blobs share were written")
	}
}
