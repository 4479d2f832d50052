package decisionlog

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// ErrSignature is what a note without a good signature of the expected key gives.
var ErrSignature = errors.New("no valid signature of the log's key")

// Signer signs checkpoints of one origin with an Ed25519 key that it never shows.
type Signer struct {
	origin string
	public ed25519.PublicKey
	sign   func(msg []byte) ([]byte, error)
}

// NewSigner returns a Signer. The origin is a URL without scheme: no spaces, no plus signs.
func NewSigner(origin string, public ed25519.PublicKey, sign func(msg []byte) ([]byte, error)) (*Signer, error) {
	if origin == "" || strings.ContainsAny(origin, " +\n\t") || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("log origin %q or its key is not usable", origin)
	}
	return &Signer{origin, public, sign}, nil
}

// Origin names the log.
func (s *Signer) Origin() string { return s.origin }

// Name, KeyHash and Sign make it a note.Signer.
func (s *Signer) Name() string { return s.origin }

// KeyHash is the 4-byte key id of the signed note format.
func (s *Signer) KeyHash() uint32 {
	h := sha256.New()
	h.Write([]byte(s.origin + "\n"))
	h.Write(append([]byte{1}, s.public...))
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Sign signs the text of a note.
func (s *Signer) Sign(msg []byte) ([]byte, error) { return s.sign(msg) }

// VerifierKey is the public key as auditors keep it (C2SP signed-note vkey).
func (s *Signer) VerifierKey() string {
	return fmt.Sprintf("%s+%08x+%s", s.origin, s.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{1}, s.public...)))
}

// Checkpoint is a tree head as it is signed (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   []byte
}

func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root) + "\n"
}

// SignCheckpoint returns the signed note.
func (s *Signer) SignCheckpoint(size uint64, root []byte) ([]byte, error) {
	return s.note(Checkpoint{s.origin, size, root}.text())
}

func (s *Signer) note(text string) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", s.origin, err)
	}
	return signed, nil
}

// maxNote bounds a note in bytes.
const maxNote = 16 << 10

// openNote verifies a note that was written by Signer with the key, and nothing else: one signature, canonical base64. Any
// changed byte is found, also those that a lenient decoder would ignore.
func openNote(msg []byte, vkey string) (text string, err error) {
	if len(msg) > maxNote {
		return "", fmt.Errorf("note has %d bytes, want at most %d", len(msg), maxNote)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", fmt.Errorf("verifier key: %w", err)
	}
	opened, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil || len(opened.Sigs) != 1 || len(opened.UnverifiedSigs) != 0 {
		return "", ErrSignature
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(opened.Sigs[0].Base64)
	if err != nil {
		return "", ErrSignature
	}
	canonical := opened.Text + "\n— " + verifier.Name() + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	if canonical != string(msg) {
		return "", ErrSignature
	}
	return opened.Text, nil
}

// OpenCheckpoint verifies a checkpoint with the verifier key and reads it.
func OpenCheckpoint(msg []byte, vkey string) (Checkpoint, error) {
	text, err := openNote(msg, vkey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, errors.New("checkpoint: want three lines")
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("checkpoint: size %q is not a decimal number", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != sha256.Size {
		return Checkpoint{}, errors.New("checkpoint: the root is not 32 bytes in base64")
	}
	origin, _, _ := strings.Cut(vkey, "+")
	if lines[0] != origin {
		return Checkpoint{}, fmt.Errorf("checkpoint: origin %q is not the key's %q", lines[0], origin)
	}
	return Checkpoint{lines[0], size, root}, nil
}
