package dsphttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dsp"
)

// Doer makes one request through the guarded dialer and reads a bounded answer.
type Doer interface {
	Do(r *http.Request, limit int64) (status int, header http.Header, body []byte, err error)
	// Check refuses a URL that the egress rules would refuse.
	Check(rawURL string) error
}

// Authorizer makes a fresh identity token for one request to a peer.
type Authorizer interface {
	Authorize(ctx context.Context, local participant.Participant, peer participant.DID) (header string, err error)
}

// Services reads the service entries of a peer's DID document.
type Services interface {
	Services(ctx context.Context, did participant.DID, kind string) ([]string, error)
}

// Hosted finds a hosted participant by its id.
type Hosted interface {
	ByID(ctx context.Context, id participant.ID) (participant.Participant, error)
}

// Seals opens what a hosted participant sealed for rest.
type Seals interface {
	Open(local participant.Participant, sealed []byte) ([]byte, error)
}

// ClientConfig carries what a Client is made of. All fields but Callbacks are required.
type ClientConfig struct {
	HTTP       Doer
	Authorizer Authorizer
	Services   Services
	Hosted     Hosted
	Seals      Seals
	Base       func(participant.Participant) string
	Callbacks  []string // origins that the operator lets any callback address have, beside those in DID documents
	Now        func() time.Time
	Log        *slog.Logger
}

// Client speaks to peers. It is safe for concurrent use.
type Client struct {
	cfg ClientConfig

	mu    sync.Mutex
	bases map[participant.DID]cachedBase
}

type cachedBase struct {
	url   string
	until time.Time
}

const (
	baseLife   = 5 * time.Minute
	maxBases   = 10000
	maxCatalog = 8 << 20
)

var _ outbox.Sender = (*Client)(nil)

// NewClient returns a Client.
func NewClient(cfg ClientConfig) *Client {
	return &Client{cfg: cfg, bases: map[participant.DID]cachedBase{}}
}

// Send implements outbox.Sender: one attempt, with a fresh token.
func (c *Client) Send(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	local, err := c.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return outbox.Answer{}, err
	}
	message := o.Body
	if o.Sealed {
		if message, err = c.cfg.Seals.Open(local, o.Body); err != nil {
			return outbox.Answer{}, fmt.Errorf("sealed message: %w", err)
		}
	}
	status, header, body, err := c.do(ctx, local, o.Peer, http.MethodPost, o.URL, message, maxBody)
	return c.answered(status, header, body, err)
}

// Look implements outbox.Sender: GET on the process that the message is about.
func (c *Client) Look(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	local, err := c.cfg.Hosted.ByID(ctx, o.Participant)
	if err != nil {
		return outbox.Answer{}, err
	}
	address, err := processOf(o)
	if err != nil {
		return outbox.Answer{}, err
	}
	status, header, body, err := c.do(ctx, local, o.Peer, http.MethodGet, address, nil, maxBody)
	return c.answered(status, header, body, err)
}

// collections hold the processes of a kind, below the base of a peer.
var collections = map[commit.ProcessKind]string{commit.Negotiation: "/negotiations/", commit.Transfer: "/transfers/"}

// processOf is the address of the process that a message goes to: base, collection, pid. The base is the peer's and may hold the same words, a pid
// is escaped and holds no slash: the last collection counts.
func processOf(o commit.Owed) (string, error) {
	collection, ok := collections[o.Process]
	i := strings.LastIndex(o.URL, collection)
	if !ok || i < 0 {
		return "", outbox.ErrNowhere
	}
	base, rest := o.URL[:i+len(collection)], o.URL[i+len(collection):]
	pid, message, ok := strings.Cut(rest, "/")
	if !ok || pid == "" || message == "" {
		return "", outbox.ErrNowhere
	}
	return base + pid, nil
}

// answered reads an answer in the words of the protocol.
func (c *Client) answered(status int, header http.Header, body []byte, err error) (outbox.Answer, error) {
	if err == nil {
		err = outbox.Unheard(outbox.Response{Status: status, RetryAfter: header.Get("Retry-After"), Body: body}, c.cfg.Now())
	}
	if err != nil {
		return outbox.Answer{}, err
	}
	a := dsp.ParseAnswer(body)
	return outbox.Answer{Status: status, ConsumerPID: a.ConsumerPID, ProviderPID: a.ProviderPID, State: a.State, Code: a.Code, Reasons: a.Reasons}, nil
}

func (c *Client) do(ctx context.Context, local participant.Participant, peer participant.DID, method, target string, body []byte, limit int64) (int, http.Header, []byte, error) {
	header, err := c.cfg.Authorizer.Authorize(ctx, local, peer)
	if err != nil {
		return 0, nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Authorization", header)
	r.Header.Set("Accept", "application/json")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if limit == maxCatalog {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	status, answered, text, err := c.cfg.HTTP.Do(r, limit)
	if err != nil || answered.Get("Content-Encoding") != "gzip" || limit != maxCatalog {
		return status, answered, text, err
	}
	text, err = inflated(text, limit)
	return status, answered, text, err
}

// inflated is what was compressed, at most limit bytes of it: few bytes can stand for very many.
func inflated(body []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the answer is not the gzip that it says")
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, errors.New("the answer is not the gzip that it says")
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	return out, nil
}

// Endpoint implements the services' Directory: the base of version 2025-1 behind the DataService entry of the peer's DID document.
func (c *Client) Endpoint(ctx context.Context, _ participant.Participant, peer participant.DID) (string, error) {
	const op = "dsphttp.Endpoint"
	now := c.cfg.Now()
	c.mu.Lock()
	cached, ok := c.bases[peer]
	c.mu.Unlock()
	if ok && now.Before(cached.until) {
		return cached.url, nil
	}
	services, err := c.cfg.Services.Services(ctx, peer, "DataService")
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err)
	}
	if len(services) == 0 {
		return "", fault.New(op, fault.NotFound, "the peer's DID document names no DataService")
	}
	const wellKnown = "/.well-known/dspace-version"
	i := slices.IndexFunc(services, func(s string) bool { return strings.HasSuffix(trimSlash(s), wellKnown) })
	if i < 0 {
		return "", fault.New(op, fault.Unavailable, "no DataService entry of the peer is a version document")
	}
	root := strings.TrimSuffix(trimSlash(services[i]), wellKnown)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, services[i], nil)
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err)
	}
	status, _, body, err := c.cfg.HTTP.Do(r, maxBody)
	if err != nil || status != http.StatusOK {
		return "", fault.Wrap(op, fault.Unavailable, errors.Join(err, fmt.Errorf("version document: status %d", status)))
	}
	path, err := dsp.ParseVersions(body)
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err)
	}
	base := root + trimSlash(path)
	c.mu.Lock()
	if len(c.bases) >= maxBases {
		clear(c.bases)
	}
	c.bases[peer] = cachedBase{base, now.Add(baseLife)}
	c.mu.Unlock()
	return base, nil
}

// Own implements the services' Directory.
func (c *Client) Own(local participant.Participant) string { return c.cfg.Base(local) }

// Callback implements the services' Directory: the address passes the egress rules and shares the origin of a DataService entry of the
// peer's DID document, or of the operator's list. A peer without such entries is accepted on the egress rules alone, which is logged.
func (c *Client) Callback(ctx context.Context, peer participant.Peer, raw string) error {
	const op = "dsphttp.Callback"
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(raw) > 2048 {
		return fault.New(op, fault.Malformed, "callbackAddress: want a plain https URL")
	}
	if err := c.cfg.HTTP.Check(raw); err != nil {
		return fault.New(op, fault.Malformed, "callbackAddress: this address is not served")
	}
	own := origin(u)
	for _, allowed := range slices.Concat(c.cfg.Callbacks, peer.Origins) {
		if a, err := url.Parse(allowed); err == nil && origin(a) == own {
			return nil
		}
	}
	if len(peer.Origins) == 0 {
		c.cfg.Log.WarnContext(ctx, "callback address taken on egress rules alone", slog.String("peer", string(peer.DID)), slog.String("origin", own))
		return nil
	}
	return fault.New(op, fault.Malformed, "callbackAddress: want the origin of a DataService entry of your DID document")
}

func origin(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return strings.ToLower(u.Scheme) + "://" + host + ":" + port
}

// Catalog fetches one page of a peer's catalog; next is the Next of the page before, "" for the first. A next that leads elsewhere than the
// peer's own endpoint is refused.
func (c *Client) Catalog(ctx context.Context, local participant.Participant, peer participant.DID, next string) (catalog.Remote, error) {
	const op = "dsphttp.Catalog"
	base, err := c.Endpoint(ctx, local, peer)
	if err != nil {
		return catalog.Remote{}, err
	}
	target := base + "/catalog/request"
	if next != "" {
		if target = sameOrigin(base, next); target == "" {
			return catalog.Remote{}, fault.New(op, fault.Malformed, "the page belongs to another peer")
		}
	}
	request, err := dsp.EncodeCatalogRequest()
	if err != nil {
		return catalog.Remote{}, err
	}
	status, header, body, err := c.do(ctx, local, peer, http.MethodPost, target, request, maxCatalog)
	if err != nil || status != http.StatusOK {
		return catalog.Remote{}, refused(op, status, body, err)
	}
	remote, err := dsp.ParseCatalog(body)
	if err != nil {
		return catalog.Remote{}, fault.Wrap(op, fault.Unavailable, err)
	}
	if remote.Participant != string(peer) {
		return catalog.Remote{}, fault.New(op, fault.Unavailable, "the catalog names another participant than was asked")
	}
	remote.Next = nextPage(header, base)
	return remote, nil
}

// Dataset fetches one dataset of a peer's catalog.
func (c *Client) Dataset(ctx context.Context, local participant.Participant, peer participant.DID, id string) (catalog.RemoteDataset, error) {
	const op = "dsphttp.Dataset"
	base, err := c.Endpoint(ctx, local, peer)
	if err != nil {
		return catalog.RemoteDataset{}, err
	}
	status, _, body, err := c.do(ctx, local, peer, http.MethodGet, base+"/catalog/datasets/"+url.PathEscape(id), nil, maxCatalog)
	if err != nil || status != http.StatusOK {
		return catalog.RemoteDataset{}, refused(op, status, body, err)
	}
	d, err := dsp.ParseDataset(body)
	if err != nil {
		return catalog.RemoteDataset{}, fault.Wrap(op, fault.Unavailable, err)
	}
	if d.ID != id {
		return catalog.RemoteDataset{}, fault.New(op, fault.Unavailable, "the peer shows another dataset than was asked for")
	}
	return d, nil
}

// refused turns a peer's answer into a fault with its code and reasons.
func refused(op string, status int, body []byte, err error) error {
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	a := dsp.ParseAnswer(body)
	kind := fault.Unavailable
	switch {
	case status == http.StatusNotFound:
		kind = fault.NotFound
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		kind = fault.Refused
	}
	return &fault.Error{Op: op, Kind: kind, Code: a.Code, Reason: fmt.Sprintf("the peer answered %d", status), Reasons: a.Reasons}
}

// nextPage reads rel="next" of the Link headers; a link to another origin is not followed.
func nextPage(h http.Header, base string) string {
	for _, m := range links.FindAllStringSubmatch(strings.Join(h.Values("Link"), ","), -1) {
		for _, p := range parameters.FindAllStringSubmatch(m[2], -1) {
			if !strings.EqualFold(p[1], "rel") {
				continue
			}
			if slices.ContainsFunc(strings.Fields(p[2]+p[3]), func(s string) bool { return strings.EqualFold(s, "next") }) {
				return sameOrigin(base, m[1])
			}
			break
		}
	}
	return ""
}

// A link is an address and its parameters (RFC 8288), whose first rel counts and may be a list; a quoted parameter may hold what separates links.
var (
	links      = regexp.MustCompile(`<([^<>]*)>((?:\s*;\s*[\w*-]+\s*(?:=\s*(?:"[^"]*"|[^\s";,]+))?)*)`)
	parameters = regexp.MustCompile(`;\s*([\w*-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s";,]+)))?`)
)

// sameOrigin resolves target against base; "" when it leads to another origin.
func sameOrigin(base, target string) string {
	b, err := url.Parse(base)
	if err != nil {
		return ""
	}
	u, err := b.Parse(target)
	if err != nil || origin(u) != origin(b) {
		return ""
	}
	return u.String()
}
