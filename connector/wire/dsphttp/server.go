package dsphttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

const (
	maxBody   = 1 << 20
	pageSize  = 100
	versioned = "/dsp/2025-1"

	// The places in a catalog that links lead to.
	afterParam  = "continuationToken"
	beforeParam = "before"
)

// Authenticator proves who is calling; any failure is one and the same fault of kind Unauthenticated.
type Authenticator interface {
	// Authenticate returns the caller and the token that it used, which must be new.
	Authenticate(r *http.Request, local participant.Participant) (participant.Peer, *commit.Used, error)
	// Settle uses the token up when nothing was committed for it.
	Settle(ctx context.Context, used *commit.Used) error
}

// Participants finds a hosted participant by slug.
type Participants interface {
	Participant(ctx context.Context, slug string) (participant.Participant, error)
}

// Negotiations is what the server asks of negotiation.Service.
type Negotiations interface {
	Receive(ctx context.Context, local participant.Participant, peer participant.Peer, pid string, m negotiation.Message) (negotiation.Received, error)
	Status(ctx context.Context, local participant.Participant, peer participant.Peer, pid string) (negotiation.Status, error)
}

// Transfers is what the server asks of transfer.Service.
type Transfers interface {
	Receive(ctx context.Context, local participant.Participant, peer participant.Peer, pid string, m transfer.Message) (transfer.Received, error)
	Status(ctx context.Context, local participant.Participant, peer participant.Peer, pid string) (transfer.Status, error)
}

// Catalogs is what the server asks of catalog.Service.
type Catalogs interface {
	Request(ctx context.Context, local participant.Participant, peer participant.Peer, raw []byte, r page.Request) (page.Of[catalog.Shown], error)
	Dataset(ctx context.Context, local participant.Participant, peer participant.Peer, id string) (catalog.Shown, error)
}

// Cursors seals the place in a list, bound to the one it was given to.
type Cursors interface {
	Seal(local participant.Participant, k page.Key, bind string) (string, error)
	Open(local participant.Participant, token, bind string) (page.Key, error)
}

// Mux is what routes are mounted on.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// Config carries what a Server is made of. All fields are required.
type Config struct {
	Participants  Participants
	Authenticator Authenticator
	Negotiations  Negotiations
	Transfers     Transfers
	Catalogs      Catalogs
	Cursors       Cursors
	Base          func(participant.Participant) string // public DSP base of a hosted participant
	Log           *slog.Logger
}

// Server answers peers.
type Server struct{ cfg Config }

// New returns a Server.
func New(cfg Config) *Server { return &Server{cfg} }

// call is one authenticated request.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	local participant.Participant
	peer  participant.Peer
	used  *commit.Used
	body  []byte
}

// reply is what a handler answers. Nothing is written before the caller's token is used up.
type reply struct {
	status int
	body   []byte
	sent   func() // called once the answer has left; may be nil
}

// The error objects of the protocol.
const (
	catalogError     = "CatalogError"
	negotiationError = "ContractNegotiationError"
	transferError    = "TransferError"
)

// Mount registers the protocol's paths, each with and without a trailing slash. Whatever else is asked below them, by path or by method, is not
// there, and that is said in the protocol's words.
func (s *Server) Mount(mux Mux) {
	for _, end := range []string{"", "/{$}"} {
		mux.Handle("GET /{slug}/.well-known/dspace-version"+end, http.HandlerFunc(s.versions))
	}
	post := func(path, errType string, h func(*call) (reply, error)) {
		s.route(mux, "POST", path, errType, reading(h))
	}
	get := func(path, errType string, h func(*call) (reply, error)) { s.route(mux, "GET", path, errType, h) }

	post("/catalog/request", catalogError, s.catalog)
	get("/catalog/datasets/{id}", catalogError, s.dataset)

	const ne, te = negotiationError, transferError
	get("/negotiations/{pid}", ne, s.negotiation)
	post("/negotiations/request", ne, s.negotiate(negotiation.Request))
	post("/negotiations/{pid}/request", ne, s.negotiate(negotiation.Request))
	post("/negotiations/offers", ne, s.negotiate(negotiation.OfferMessage))
	post("/negotiations/{pid}/offers", ne, s.negotiate(negotiation.OfferMessage))
	post("/negotiations/{pid}/events", ne, s.negotiate(negotiation.Acceptance))
	post("/negotiations/{pid}/agreement", ne, s.negotiate(negotiation.Agreement))
	post("/negotiations/{pid}/agreement/verification", ne, s.negotiate(negotiation.Verification))
	post("/negotiations/{pid}/termination", ne, s.negotiate(negotiation.Termination))

	get("/transfers/{pid}", te, s.transfer)
	post("/transfers/request", te, s.move(transfer.Request))
	post("/transfers/{pid}/start", te, s.move(transfer.Start))
	post("/transfers/{pid}/completion", te, s.move(transfer.Completion))
	post("/transfers/{pid}/suspension", te, s.move(transfer.Suspension))
	post("/transfers/{pid}/termination", te, s.move(transfer.Termination))

	for below, errType := range map[string]string{"": catalogError, "/negotiations": ne, "/transfers": te} {
		nothing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.fail(&call{w: w, r: r}, errType, fault.New("dsphttp.Mount", fault.NotFound, "no such path with this method"))
		})
		mux.Handle("/{slug}"+versioned+below, nothing)
		mux.Handle("/{slug}"+versioned+below+"/{rest...}", nothing)
	}
}

func (s *Server) route(mux Mux, method, path, errType string, h func(*call) (reply, error)) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r}
		if err := s.admit(c, method == "POST"); err != nil {
			s.fail(c, errType, err)
			return
		}
		out, err := h(c)
		// Who left meanwhile has used its token all the same.
		if unused := s.cfg.Authenticator.Settle(context.WithoutCancel(c.r.Context()), c.used); unused != nil {
			err = unused // whoever repeats a token learns nothing else
		}
		if err != nil {
			s.fail(c, errType, err)
			return
		}
		answer(c.w, out.status, out.body)
		if out.sent != nil {
			out.sent()
		}
	})
	mux.Handle(method+" /{slug}"+versioned+path, handler)
	mux.Handle(method+" /{slug}"+versioned+path+"/{$}", handler)
}

// reading reads the message before it is handled.
func reading(h func(*call) (reply, error)) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			return reply{}, errLarge()
		case err != nil:
			return reply{}, fault.New("dsphttp.reading", fault.Malformed, "the body ended early")
		}
		c.body = body
		return h(c)
	}
}

// admit checks what every request must pass, cheap checks first. No byte of a body is read on account of somebody who proves nothing.
func (s *Server) admit(c *call, withBody bool) error {
	const op = "dsphttp.admit"
	if enc := c.r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return errMedia
	}
	if withBody {
		media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
		if err != nil || media != "application/json" && media != "application/ld+json" {
			return errMedia
		}
		if c.r.ContentLength > maxBody {
			return errLarge()
		}
	}
	local, err := s.cfg.Participants.Participant(c.r.Context(), c.r.PathValue("slug"))
	if err != nil {
		if !fault.Is(err, fault.NotFound) {
			return err
		}
		// Nobody is hosted under this name: the same answer as to a caller that proves nothing.
		return fault.New(op, fault.Unauthenticated, "the caller is not known")
	}
	c.local = local
	peer, used, err := s.cfg.Authenticator.Authenticate(c.r, local)
	if err != nil {
		return err
	}
	// One that is over its rate is told so before anything is kept on account of it, its token neither.
	if err := gate.Known(c.r.Context(), string(peer.DID)); err != nil {
		return err
	}
	c.peer, c.used = peer, used
	c.r = c.r.WithContext(commit.WithUsed(c.r.Context(), used))
	return nil
}

var errMedia = fault.New("dsphttp.admit", fault.Malformed, "send application/json without content encoding")

func errLarge() error {
	return fault.New("dsphttp.reading", fault.TooLarge, "a message has at most %d bytes", maxBody)
}

// fail answers with the protocol's error object. Ownership, existence and visibility give one and the same 404.
func (s *Server) fail(c *call, errType string, err error) {
	ctx := c.r.Context()
	kind := fault.KindOf(err)
	status := problem.Of(kind).Status
	p := dsp.Problem{Type: errType}
	switch {
	case errors.Is(err, errMedia):
		status = http.StatusUnsupportedMediaType
		p.Code, p.Reasons = "media.unsupported", []string{errMedia.Reason}
	case kind == fault.NotFound:
		p.Code, p.Reasons = "not.found", []string{"there is no such thing here"}
	case kind == fault.Conflict:
		status = http.StatusBadRequest // illegal transitions are 400 in this protocol
		fallthrough
	default:
		code, reason, reasons := problem.Public(err)
		p.Code = code
		if p.Reasons = reasons; len(reasons) == 0 && reason != "" {
			p.Reasons = []string{reason}
		}
	}
	if kind == fault.Malformed || kind == fault.TooLarge {
		gate.Faulty(ctx)
	}
	if !errors.Is(err, errMedia) {
		if id := problem.Incident(ctx, c.r.Method+" "+c.r.URL.Path, err); id != "" {
			p.Reasons = append(p.Reasons, "incident "+id)
		}
	}
	if pid := c.r.PathValue("pid"); pid != "" && kind != fault.NotFound && kind != fault.Unauthenticated {
		p.ConsumerPID, p.ProviderPID = pids(c.body)
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	s.cfg.Log.Log(ctx, level, "message refused", slog.String("path", c.r.URL.Path), slog.String("peer", string(c.peer.DID)), slog.Int("status", status), slog.Any("error", err))
	body, encErr := dsp.EncodeProblem(p)
	if encErr != nil {
		body = nil
	}
	if status == http.StatusTooManyRequests { // how long something is not available, nobody knows
		c.w.Header().Set("Retry-After", "1")
	}
	answer(c.w, status, body)
}

// pids echoes what the message itself said.
func pids(body []byte) (consumer, provider string) {
	a := dsp.ParseAnswer(body)
	return a.ConsumerPID, a.ProviderPID
}

func answer(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	_ = http.NewResponseController(w).Flush()
}

func (s *Server) versions(w http.ResponseWriter, r *http.Request) {
	local, err := s.cfg.Participants.Participant(r.Context(), r.PathValue("slug"))
	if err != nil {
		problem.Write(w, r, fault.New("dsphttp.versions", fault.NotFound, "there is no such thing here"))
		return
	}
	gate.Anyone(r.Context())
	body, err := dsp.EncodeVersions(versioned, "urn:sluice:service:"+local.Slug)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}

func (s *Server) catalog(c *call) (reply, error) {
	if err := dsp.ParseCatalogRequest(c.body); err != nil {
		return reply{}, err
	}
	bind := "catalog|" + c.local.Slug + "|" + string(c.peer.DID)
	req := page.Request{Limit: pageSize}
	for _, param := range []string{afterParam, beforeParam} {
		token := c.r.URL.Query().Get(param)
		if token == "" {
			continue
		}
		key, err := s.cfg.Cursors.Open(c.local, token, bind)
		if err != nil {
			return reply{}, fault.New("dsphttp.catalog", fault.Malformed, "%s: want a link of an earlier answer, unchanged", param)
		}
		req.After, req.Newest = key, param == beforeParam
	}
	shown, err := s.cfg.Catalogs.Request(c.r.Context(), c.local, c.peer, c.body, req)
	if err != nil {
		return reply{}, err
	}
	if req.Newest { // asked from its end
		slices.Reverse(shown.Items)
	}
	base := s.cfg.Base(c.local)
	body, err := dsp.EncodeCatalog(c.local, base, shown.Items)
	if err != nil {
		return reply{}, err
	}
	more := shown.Next.ID != ""
	link := func(param string, at catalog.Shown, rels ...string) error {
		cursor, err := s.cfg.Cursors.Seal(c.local, at.Key(), bind)
		for _, rel := range rels {
			c.w.Header().Add("Link", "<"+base+"/catalog/request?"+param+"="+cursor+`>; rel="`+rel+`"`)
		}
		return err
	}
	if n := len(shown.Items); n > 0 && (more || req.Newest) {
		err = link(afterParam, shown.Items[n-1], "next")
	}
	if n := len(shown.Items); err == nil && n > 0 && req.After.ID != "" && (more || !req.Newest) {
		err = link(beforeParam, shown.Items[0], "previous", "prev") // the word of the protocol, and that of others
	}
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: zipped(c, body)}, nil
}

// zipped compresses an answer for who takes that. What a peer sends and what it is shown are its own: their lengths tell nothing new.
func zipped(c *call, body []byte) []byte {
	c.w.Header().Set("Vary", "Accept-Encoding")
	if !accepts(c.r.Header.Values("Accept-Encoding"), "gzip") {
		return body
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(body)
	if errors.Join(err, z.Close()) != nil || out.Len() >= len(body) {
		return body
	}
	c.w.Header().Set("Content-Encoding", "gzip")
	return out.Bytes()
}

// accepts reports an encoding that is named with another weight than none.
func accepts(headers []string, encoding string) bool {
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		weight, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
		return !ok || strings.Trim(weight, "0.") != ""
	}
	return false
}

func (s *Server) dataset(c *call) (reply, error) {
	shown, err := s.cfg.Catalogs.Dataset(c.r.Context(), c.local, c.peer, c.r.PathValue("id"))
	if err != nil {
		return reply{}, err
	}
	body, err := dsp.EncodeDataset(c.local, shown)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: body}, nil
}

func (s *Server) negotiation(c *call) (reply, error) {
	status, err := s.cfg.Negotiations.Status(c.r.Context(), c.local, c.peer, c.r.PathValue("pid"))
	if err != nil {
		return reply{}, err
	}
	body, err := dsp.EncodeNegotiationStatus(status)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: body}, nil
}

func (s *Server) negotiate(kind negotiation.Kind) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		pid := c.r.PathValue("pid")
		m, err := dsp.ParseNegotiation(kind, pid == "", c.body)
		if err != nil {
			return reply{}, err
		}
		got, err := s.cfg.Negotiations.Receive(c.r.Context(), c.local, c.peer, pid, m)
		if err != nil {
			return reply{}, err
		}
		body, err := dsp.EncodeNegotiationStatus(got.Status)
		if err != nil {
			return reply{}, err
		}
		return reply{created(got.Created), body, got.Flushed}, nil
	}
}

func created(is bool) int {
	if is {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (s *Server) transfer(c *call) (reply, error) {
	status, err := s.cfg.Transfers.Status(c.r.Context(), c.local, c.peer, c.r.PathValue("pid"))
	if err != nil {
		return reply{}, err
	}
	body, err := dsp.EncodeTransferStatus(status)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: body}, nil
}

func (s *Server) move(kind transfer.Kind) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		m, err := dsp.ParseTransfer(kind, c.body)
		if err != nil {
			return reply{}, err
		}
		got, err := s.cfg.Transfers.Receive(c.r.Context(), c.local, c.peer, c.r.PathValue("pid"), m)
		if err != nil {
			return reply{}, err
		}
		body, err := dsp.EncodeTransferStatus(got.Status)
		if err != nil {
			return reply{}, err
		}
		return reply{created(got.Created), body, got.Flushed}, nil
	}
}

// trimSlash takes slashes off the end of a base URL.
func trimSlash(s string) string { return strings.TrimRight(s, "/") }
