package statuslist

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Kind is one of the two standards.
type Kind string

// The kinds, under the names that their list credentials carry as subject type.
const (
	Bitstring Kind = "BitstringStatusList"
	List2021  Kind = "StatusList2021"
)

// CredentialType is the type of a list credential of the kind.
func (k Kind) CredentialType() string { return string(k) + "Credential" }

// EntryType is the type of a credential's status entry of the kind.
func (k Kind) EntryType() string { return string(k) + "Entry" }

// Contexts are those of a list credential of the kind, the data model first.
func (k Kind) Contexts() []string {
	if k == List2021 {
		return []string{"https://www.w3.org/2018/credentials/v1", "https://w3id.org/vc/status-list/2021/v1"}
	}
	return []string{"https://www.w3.org/ns/credentials/v2"}
}

// maxEncoded bounds an encoded list before anything is done with it: the largest list that does not shrink fits.
const maxEncoded = 3 << 19

// Encode writes the member encodedList: gzip, then in a Bitstring the multibase letter "u" and base64url without padding. StatusList2021 only says
// "base-64": that of RFC 4648, section 4, which every reader takes; EDC takes no base64url there. Equal lists are encoded alike.
func (k Kind) Encode(b Bits) (string, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	_, err = z.Write(b.bytes)
	if err := errors.Join(err, z.Close()); err != nil {
		return "", fmt.Errorf("status list: %w", err)
	}
	if k == Bitstring {
		return "u" + base64.RawURLEncoding.EncodeToString(out.Bytes()), nil
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// Decode reads the member encodedList. A Bitstring must be multibase base64url without padding. StatusList2021 only says "base-64", so both
// alphabets are read, with padding or without, and with the letter "u" that some put before it: no gzip stream begins with it. What is
// larger than [MaxBytes] is refused before it was inflated, and so is anything but exactly one gzip member whose checksum fits.
func (k Kind) Decode(text string) (Bits, error) {
	if len(text) > maxEncoded {
		return Bits{}, fmt.Errorf("status list: the encoded list is longer than %d bytes", maxEncoded)
	}
	packed, err := k.base64(text)
	if err != nil {
		return Bits{}, err
	}
	return inflate(packed)
}

func (k Kind) base64(text string) ([]byte, error) {
	text, multibase := strings.CutPrefix(text, "u")
	encoding := base64.RawURLEncoding
	switch {
	case k == Bitstring && !multibase:
		return nil, errors.New("status list: want base64url in multibase, which begins with u")
	case strings.ContainsAny(text, "\r\n"): // which encoding/base64 skips
		return nil, errors.New("status list: a line break is no base64")
	case k == List2021:
		if bare := strings.TrimRight(text, "="); len(bare) < len(text) {
			if len(text)%4 != 0 || len(text)-len(bare) > 2 {
				return nil, errors.New("status list: the padding is not that of base64")
			}
			text = bare
		}
		if strings.ContainsAny(text, "+/") {
			encoding = base64.RawStdEncoding
		}
	}
	packed, err := encoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("status list: %w", err)
	}
	return packed, nil
}

func inflate(packed []byte) (Bits, error) {
	in := bytes.NewReader(packed) // an io.ByteReader: nothing behind the member is read
	z, err := gzip.NewReader(in)
	if err != nil {
		return Bits{}, fmt.Errorf("status list: %w", err)
	}
	z.Multistream(false)
	out, err := io.ReadAll(io.LimitReader(z, MaxBytes+1))
	switch {
	case err != nil:
		return Bits{}, fmt.Errorf("status list: %w", err)
	case len(out) > MaxBytes:
		return Bits{}, fmt.Errorf("status list: it inflates to more than %d bytes", MaxBytes)
	case in.Len() > 0:
		return Bits{}, errors.New("status list: want one gzip member and nothing behind it")
	}
	return FromBytes(out)
}
