package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/dataplane"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/wire/gate"
	"github.com/sluice-connector/sluice/connector/wire/problem"
	"github.com/sluice-connector/sluice/policy"
)

const (
	maxToken = 16 << 10 // bytes of an access token
	maxPath  = 8 << 10  // bytes of a request path with its query
	bufBytes = 64 << 10 // one copy buffer

	// UpstreamSilence is how long an upstream may say nothing in the middle of a body.
	UpstreamSilence = 20 * time.Second
)

// Participants finds a hosted participant by slug; NotFound when absent.
type Participants interface {
	Participant(ctx context.Context, slug string) (participant.Participant, error)
}

// Sources knows the operator's own servers.
type Sources interface {
	// Header returns the headers that carry the participant's credential of that name to the target; none without a name. It fails
	// when the target is no upstream of the participant, and when the credential is not the participant's or not for that target.
	Header(local participant.Participant, ref string, target *url.URL) (http.Header, error)
}

// Config carries what a Handler is made of. All fields are required.
type Config struct {
	Plane        *dataplane.Plane
	Participants Participants
	Sources      Sources
	Upstream     http.RoundTripper // the internal egress client: operator-configured targets only, no redirects
	Log          *slog.Logger
}

// Handler answers the data plane's requests.
type Handler struct {
	cfg   Config
	proxy *httputil.ReverseProxy
}

// Mux is what routes are mounted on.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// New returns a Handler.
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg}
	h.proxy = &httputil.ReverseProxy{
		Rewrite:        h.rewrite,
		Transport:      cfg.Upstream,
		ModifyResponse: h.admit,
		ErrorHandler:   h.upstreamFailed,
		BufferPool:     buffers{},
		ErrorLog:       slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return h
}

// Mount registers /{slug}/data and everything below it.
func (h *Handler) Mount(mux Mux) {
	mux.Handle("/{slug}/data", h)
	mux.Handle("/{slug}/data/{path...}", h)
}

// passageKey carries the passage to the proxy's hooks.
type passageKey struct{}

// passage is one request on its way to an upstream.
type passage struct {
	flow       *dataplane.Flow
	target     *url.URL
	credential http.Header
	out        *meter
	cancel     context.CancelFunc // ends the request to the upstream
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem.Status(w, r, http.StatusMethodNotAllowed, "only GET and HEAD are served here")
		return
	}
	path, err := cleanPath(r)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	parameters, err := cleanQuery(r)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	local, token, err := h.caller(r)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	ctl := http.NewResponseController(w)
	// The runtime holds a connection's deadline against its own clock, so a replaced one must not set it.
	patience := func(d time.Duration) { _ = ctl.SetWriteDeadline(time.Now().Add(d)) }
	patience(dataplane.WriteLimit)
	flow, err := h.cfg.Plane.Open(r.Context(), local, token, policy.Request{Method: r.Method, Path: path, Query: parameters.Encode()}, patience)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	defer flow.End()
	gate.Vouched(r.Context(), flow.Peer().DID) // what one peer may have here is bounded by its streams
	out := &meter{w: w, header: http.Header{}, flow: flow, patience: patience, head: r.Method == http.MethodHead}
	if flow.Asset().Address.Content != "" {
		h.serveContent(out, r, flow, path)
	} else {
		h.servePassage(out, r, local, flow, path, parameters)
	}
	if err := out.finish(); err != nil {
		h.cfg.Log.WarnContext(r.Context(), "data request ended early", slog.Any("error", err))
		if out.open {
			panic(http.ErrAbortHandler) // the connection breaks: nobody must take what arrived for the whole
		}
	}
}

// caller authenticates by the access token alone. A slug that is not hosted is answered like a token that is not valid.
func (h *Handler) caller(r *http.Request) (participant.Participant, string, error) {
	refused := fault.New("pull", fault.Unauthenticated, "the access token is not valid here")
	values := r.Header.Values("Authorization")
	if len(values) != 1 || len(values[0]) > maxToken {
		return participant.Participant{}, "", refused
	}
	token := values[0]
	if len(token) > 7 && strings.EqualFold(token[:7], "bearer ") {
		token = token[7:]
	}
	local, err := h.cfg.Participants.Participant(r.Context(), r.PathValue("slug"))
	if err != nil || token == "" {
		return participant.Participant{}, "", refused
	}
	return local, token, nil
}

func (h *Handler) serveContent(out *meter, r *http.Request, flow *dataplane.Flow, path string) {
	if path != "" {
		problem.Write(out, r, fault.New("pull", fault.NotFound, "this asset is one document; it has nothing below it"))
		return
	}
	content, err := flow.Content(r.Context())
	if err != nil {
		problem.Write(out, r, err)
		return
	}
	out.Header().Set("Content-Type", content.MediaType)
	out.Header().Set("Content-Disposition", "attachment")
	out.Header().Set("Etag", `"`+content.Digest+`"`)
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(content.Bytes))
}

func (h *Handler) servePassage(out *meter, r *http.Request, local participant.Participant, flow *dataplane.Flow, path string, parameters url.Values) {
	address := flow.Asset().Address
	target, err := join(address.BaseURL, path, parameters)
	if err != nil {
		problem.Write(out, r, err)
		return
	}
	credential, err := h.cfg.Sources.Header(local, address.SecretRef, target)
	if err != nil {
		h.cfg.Log.ErrorContext(r.Context(), "upstream or its credential not to be had", slog.String("secret", address.SecretRef), slog.Any("error", err))
		problem.Status(out, r, http.StatusBadGateway, unreachable)
		return
	}
	ctx, cancel := context.WithCancel(flow.Context())
	defer cancel()
	ctx = context.WithValue(ctx, passageKey{}, passage{flow, target, credential, out, cancel})
	h.proxy.ServeHTTP(out, r.WithContext(ctx))
}

// requestHeaders are let through to an upstream; everything else stays here.
var requestHeaders = []string{"Accept", "Accept-Language", "Range", "If-Match", "If-None-Match", "If-Modified-Since",
	"If-Unmodified-Since", "If-Range"}

// responseHeaders of an upstream are let through to the peer.
var responseHeaders = map[string]bool{"Content-Type": true, "Content-Length": true, "Content-Range": true, "Accept-Ranges": true,
	"Etag": true, "Last-Modified": true, "Content-Language": true}

func (h *Handler) rewrite(pr *httputil.ProxyRequest) {
	pass := pr.In.Context().Value(passageKey{}).(passage)
	pr.Out.URL, pr.Out.Host = pass.target, pass.target.Host
	in := pr.In.Header
	pr.Out.Header = http.Header{}
	for _, name := range requestHeaders {
		if v := in.Values(name); len(v) == 1 {
			pr.Out.Header.Set(name, v[0])
		}
	}
	pr.Out.Header.Set("Accept-Encoding", "identity")
	pr.Out.Header.Set("User-Agent", "sluice")
	pr.Out.Header.Set("Edc-Did", pass.flow.Peer().DID)
	if bpn := pass.flow.Number(); bpn != "" {
		pr.Out.Header.Set("Edc-Bpn", bpn)
	}
	pr.Out.Header.Set("Edc-Contract-Agreement-Id", pass.flow.Agreement())
	pr.Out.Trailer, pr.Out.Body, pr.Out.ContentLength = nil, nil, 0
	// Last, so that nothing a peer sent can stand in its place.
	maps.Copy(pr.Out.Header, pass.credential)
}

// errUpstream is a failure of an upstream, as an HTTP status.
type errUpstream int

func (e errUpstream) Error() string {
	return fmt.Sprintf("upstream: %d %s", int(e), http.StatusText(int(e)))
}

// admit filters an upstream's answer before anything of it reaches the peer.
func (h *Handler) admit(res *http.Response) error {
	switch {
	case res.StatusCode == http.StatusNotModified, res.StatusCode == http.StatusOK,
		res.StatusCode == http.StatusPartialContent, res.StatusCode == http.StatusNoContent:
	default:
		return errUpstream(res.StatusCode)
	}
	if enc := res.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return errUpstream(http.StatusBadGateway)
	}
	for name := range res.Header {
		if !responseHeaders[name] {
			delete(res.Header, name)
		}
	}
	res.Header.Set("Content-Disposition", "attachment")
	pass := res.Request.Context().Value(passageKey{}).(passage)
	res.Trailer = nil
	res.Body = &source{ReadCloser: res.Body, res: res, pass: pass}
	return nil
}

// upstreamFailed passes a failure on in its class: what the peer asked wrongly stays 4xx, what is our side's is 502, 503 or 504.
func (h *Handler) upstreamFailed(w http.ResponseWriter, r *http.Request, err error) {
	var status errUpstream
	if errors.As(err, &status) {
		switch int(status) {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone,
			http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable, http.StatusUnprocessableEntity:
			if int(status) == http.StatusMethodNotAllowed {
				// What is left of GET and HEAD.
				w.Header().Set("Allow", map[string]string{http.MethodHead: http.MethodGet}[r.Method])
			}
			problem.Status(w, r, int(status), "the data source has nothing to give for this request")
			return
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			problem.Status(w, r, http.StatusServiceUnavailable, "the data source is busy; try again later")
			return
		case http.StatusGatewayTimeout:
			problem.Status(w, r, http.StatusGatewayTimeout, "the data source did not answer in time")
			return
		}
		h.cfg.Log.WarnContext(r.Context(), "upstream refused", slog.Int("status", int(status)))
		problem.Status(w, r, http.StatusBadGateway, "the data source could not serve this request")
		return
	}
	if r.Context().Err() != nil {
		r.Context().Value(passageKey{}).(passage).out.fail(dataplane.ErrStopped)
		return
	}
	h.cfg.Log.WarnContext(r.Context(), "upstream failed", slog.Any("error", err))
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		problem.Status(w, r, http.StatusGatewayTimeout, "the data source did not answer in time")
		return
	}
	problem.Status(w, r, http.StatusBadGateway, unreachable)
}

// unreachable is what a peer is told when its request did not get to the data source, whatever the cause.
const unreachable = "the data source could not be reached"

// buffers is a pool of copy buffers for the proxy.
type buffers struct{}

var pool = sync.Pool{New: func() any { b := make([]byte, bufBytes); return &b }}

func (buffers) Get() []byte  { return *pool.Get().(*[]byte) }
func (buffers) Put(b []byte) { pool.Put(&b) }
