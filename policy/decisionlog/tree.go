package decisionlog

import (
	"bytes"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
)

var ranges = compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

// Head is a tree of RFC 6962 in as few hashes as append needs: its size and the roots of its perfect subtrees, left to right.
// The store keeps it beside the entries; tiles are derived from the entries when they are exported.
type Head struct {
	Size  uint64
	Range [][]byte // 32 bytes each
	Fence int64    // grows with every Sequence; two writers cannot both succeed
}

// Append returns the head after the entries; h stays as it is.
func (h Head) Append(entries ...[]byte) (Head, error) {
	rng, err := h.rng()
	if err != nil {
		return Head{}, err
	}
	for _, e := range entries {
		if err := rng.Append(rfc6962.DefaultHasher.HashLeaf(e), nil); err != nil {
			return Head{}, fmt.Errorf("tree of size %d: %w", h.Size, err)
		}
	}
	return Head{Size: rng.End(), Range: cloneHashes(rng.Hashes()), Fence: h.Fence}, nil
}

// Root returns the Merkle tree hash.
func (h Head) Root() ([]byte, error) {
	if h.Size == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	rng, err := h.rng()
	if err != nil {
		return nil, err
	}
	return rng.GetRootHash(nil)
}

func (h Head) rng() (*compact.Range, error) {
	if h.Size == 0 {
		return ranges.NewEmptyRange(0), nil
	}
	rng, err := ranges.NewRange(0, h.Size, cloneHashes(h.Range))
	if err != nil {
		return nil, fmt.Errorf("tree of size %d: %w", h.Size, err)
	}
	return rng, nil
}

// cloneHashes copies a list of hashes, so that no two heads share memory.
func cloneHashes(in [][]byte) [][]byte {
	out := make([][]byte, len(in))
	for i, b := range in {
		out[i] = bytes.Clone(b)
	}
	return out
}

// LeafHash is the RFC 6962 hash of an entry.
func LeafHash(entry []byte) []byte { return rfc6962.DefaultHasher.HashLeaf(entry) }
