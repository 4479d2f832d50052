package rpc

import (
	"context"
	"crypto/sha256"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

// pager makes page tokens of places in lists. A token is bound to its caller, its method and all fields of its request but the page's own:
// nobody can take it elsewhere, read it or make one. What is no row of a list stands in the id of the place: an index, a peer's address.
type pager struct{ cursors Cursors }

// token seals the place; "" for the zero place, which ends a list.
func (p pager) token(c caller, req proto.Message, at page.Key) (string, error) {
	if at.ID == "" {
		return "", nil
	}
	token, err := p.cursors.Seal(c.local, at, binding(c, req))
	return token, fault.Wrap("rpc.page", fault.Internal, err)
}

// open returns the place; the zero place for "".
func (p pager) open(c caller, req proto.Message, token string) (page.Key, error) {
	if token == "" {
		return page.Key{}, nil
	}
	at, err := p.cursors.Open(c.local, token, binding(c, req))
	if err != nil {
		return page.Key{}, fault.New("rpc.page", fault.Malformed, "the page token is not one that this caller got for this query")
	}
	return at, nil
}

// binding is the caller and the request without its page fields.
func binding(c caller, req proto.Message) string {
	query := proto.Clone(req)
	m := query.ProtoReflect()
	for _, name := range []protoreflect.Name{"page_token", "page_size"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			m.Clear(f)
		}
	}
	encoded, _ := proto.MarshalOptions{Deterministic: true}.Marshal(query) // an encoded message can be encoded
	h := sha256.New()
	for _, part := range []string{c.id, string(m.Descriptor().FullName()), string(encoded)} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return string(h.Sum(nil))
}

// paged is a request for a page.
type paged interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// limitOf reads the size of a page; 0 is the list's own.
func limitOf(req paged) (int, error) {
	n := req.GetPageSize()
	if n < 0 || n > page.MaxLimit {
		return 0, fault.New("rpc.page", fault.Malformed, "page_size %d: want 1 to %d, or 0 for 100", n, page.MaxLimit)
	}
	return int(n), nil
}

// pageOf reads the page fields of a list in the order of creation.
func (p pager) pageOf(c caller, req paged, newest bool) (page.Request, error) {
	limit, err := limitOf(req)
	if err != nil {
		return page.Request{}, err
	}
	at, err := p.open(c, req, req.GetPageToken())
	return page.Request{Limit: limit, Newest: newest, After: at}, err
}

// paging reads one page of a list in the order of creation and shows it.
func paging[T, M any](ctx context.Context, s *Server, op string, req paged, newest bool, read func(participant.Participant, page.Request) (page.Of[T], error), show func(T) (M, error)) ([]M, string, error) {
	who := from(ctx)
	r, err := s.pager.pageOf(who, req, newest)
	if err != nil {
		return nil, "", err
	}
	got, err := read(who.local, r)
	if err != nil {
		return nil, "", fault.Wrap(op, fault.Internal, err)
	}
	next, err := s.pager.token(who, req, got.Next)
	if err != nil {
		return nil, "", err
	}
	out, err := each(got.Items, show)
	return out, next, err
}

// known refuses a list of what is in a state that there is not: it would be empty, and look like an answer.
func known[S ~string](op, state string, all []S) error {
	if state != "" && !slices.Contains(all, S(state)) {
		return fault.New(op, fault.Malformed, "state: want one of %v", all)
	}
	return nil
}
