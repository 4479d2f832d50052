package rpc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
)

// pager seals the place where a list goes on. A token is bound to its caller, its method and all fields of its request but the page's
// own: nobody can take it elsewhere, read it or make one.
type pager struct {
	seal cipher.AEAD
	rand io.Reader
}

// maxToken bounds a page token; a peer's URL may be inside.
const maxToken = 8 << 10

func newPager(key [32]byte, rand io.Reader) (*pager, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	return &pager{seal: seal, rand: rand}, err
}

// place is what a token holds: exactly one field is set.
type place struct {
	Micros int64  `json:"t,omitempty"`
	ID     string `json:"i,omitempty"`
	Index  uint64 `json:"n,omitempty"`
	URL    string `json:"u,omitempty"`
}

// token seals the place; "" for the zero place, which ends a list.
func (p *pager) token(c caller, req proto.Message, at place) (string, error) {
	if at == (place{}) {
		return "", nil
	}
	nonce := make([]byte, p.seal.NonceSize())
	if _, err := io.ReadFull(p.rand, nonce); err != nil {
		return "", fault.Wrap("rpc.page", fault.Unavailable, err)
	}
	plain, err := json.Marshal(at)
	if err != nil {
		return "", fault.Wrap("rpc.page", fault.Internal, err)
	}
	return base64.RawURLEncoding.EncodeToString(p.seal.Seal(nonce, nonce, plain, binding(c, req))), nil
}

// open returns the place; the zero place for "".
func (p *pager) open(c caller, req proto.Message, token string) (place, error) {
	bad := fault.New("rpc.page", fault.Malformed, "the page token is not one that this caller got for this query")
	if token == "" {
		return place{}, nil
	}
	if len(token) > maxToken {
		return place{}, bad
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(sealed) < p.seal.NonceSize() {
		return place{}, bad
	}
	nonce := sealed[:p.seal.NonceSize()]
	plain, err := p.seal.Open(nil, nonce, sealed[len(nonce):], binding(c, req))
	if err != nil {
		return place{}, bad
	}
	var at place
	if err := json.Unmarshal(plain, &at); err != nil {
		return place{}, bad
	}
	return at, nil
}

// binding is the additional data of the seal: the caller's token and the request without its page fields.
func binding(c caller, req proto.Message) []byte {
	query := proto.Clone(req)
	m := query.ProtoReflect()
	for _, name := range []protoreflect.Name{"page_token", "page_size"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			m.Clear(f)
		}
	}
	encoded, _ := proto.MarshalOptions{Deterministic: true}.Marshal(query) // an encoded message can be encoded
	h := sha256.New()
	for _, part := range []string{c.token.Hash, string(m.Descriptor().FullName()), string(encoded)} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return h.Sum(nil)
}

// paged is a request for a page.
type paged interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// pageOf reads the page fields of a list in the order of creation.
func (p *pager) pageOf(c caller, req paged, newest bool) (page.Request, error) {
	limit := req.GetPageSize()
	if limit < 0 || limit > page.MaxLimit {
		return page.Request{}, fault.New("rpc.page", fault.Malformed, "page_size %d: want 1 to %d, or 0 for 100", limit, page.MaxLimit)
	}
	at, err := p.open(c, req, req.GetPageToken())
	r := page.Request{Limit: int(limit), Newest: newest}
	if at.ID != "" {
		r.After = page.Key{Created: time.UnixMicro(at.Micros).UTC(), ID: at.ID}
	}
	return r, err
}

// next seals the place after a page.
func (p *pager) next(c caller, req paged, k page.Key) (string, error) {
	if k.ID == "" {
		return "", nil
	}
	return p.token(c, req, place{Micros: k.Created.UnixMicro(), ID: k.ID})
}
