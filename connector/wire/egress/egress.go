package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ErrRefused is the one answer to everything that the rules do not let out, and to everything that failed on the way: a peer
// cannot tell a closed port from a forbidden one (rule T-04). The cause is for the operator's log.
var ErrRefused = errors.New("the address could not be reached")

// ErrAbsent tells an operator, and nobody else, that the host was reached and says that there is nothing.
var ErrAbsent = errors.New("nothing is there")

// Forbidden is an address that a name leads to and that nobody may have in public. It is ErrRefused to everybody but the operator.
type Forbidden struct{ Address netip.Addr }

func (f *Forbidden) Error() string {
	return fmt.Sprintf("%v: %s is not a public address", ErrRefused, f.Address)
}

// Unwrap makes it ErrRefused.
func (f *Forbidden) Unwrap() error { return ErrRefused }

// Dial opens a connection to an address that was resolved and checked.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Resolve finds the addresses of a name.
type Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

// Config carries what a Client is made of.
type Config struct {
	Dial    Dial        // required
	Resolve Resolve     // required
	TLS     *tls.Config // nil: the system's roots
	Allow   []string    // exact origins (scheme://host:port) that are reached although the rules would refuse them
	Public  bool        // let public https addresses on port 443 out; false: only Allow
	Total   time.Duration
	Log     *slog.Logger // required
}

const maxURL = 2048

// Client makes bounded requests under the rules. It is safe for concurrent use.
type Client struct {
	cfg       Config
	transport *http.Transport
	client    *http.Client
}

// New returns a Client.
func New(cfg Config) *Client {
	if cfg.Total == 0 {
		cfg.Total = 10 * time.Second
	}
	c := &Client{cfg: cfg}
	c.transport = &http.Transport{
		DialContext:            c.dial,
		TLSClientConfig:        cfg.TLS,
		TLSHandshakeTimeout:    3 * time.Second,
		ResponseHeaderTimeout:  cfg.Total,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 16 << 10,
		DisableCompression:     true,
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
		Proxy:                  nil, // the environment decides nothing here
	}
	c.client = &http.Client{Transport: c, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Check refuses a URL by its form alone; the address it leads to is checked when it is dialled.
func (c *Client) Check(raw string) error {
	if len(raw) > maxURL {
		return fmt.Errorf("%w: the URL is longer than %d bytes", ErrRefused, maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("%w: not a URL", ErrRefused)
	}
	return c.check(u)
}

func (c *Client) check(u *url.URL) error {
	if c.listed(u) {
		return nil
	}
	host := u.Hostname()
	switch {
	case !c.cfg.Public:
		return fmt.Errorf("%w: not on the operator's list", ErrRefused)
	case u.Scheme != "https":
		return fmt.Errorf("%w: want https", ErrRefused)
	case u.User != nil, u.Opaque != "":
		return fmt.Errorf("%w: want no user information", ErrRefused)
	case u.Port() != "" && u.Port() != "443":
		return fmt.Errorf("%w: want port 443", ErrRefused)
	case host == "" || strings.HasSuffix(host, ".") || !strings.Contains(host, "."):
		return fmt.Errorf("%w: want a full DNS name", ErrRefused)
	case strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "":
		return fmt.Errorf("%w: want an ASCII DNS name", ErrRefused)
	case literal(host):
		return fmt.Errorf("%w: want a name, not an address", ErrRefused)
	}
	return nil
}

// literal reports a host that some reader takes for an address: its last label is a number, in any base.
func literal(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	lower := strings.ToLower(last)
	return strings.HasPrefix(lower, "0x") && strings.Trim(lower[2:], "0123456789abcdef") == ""
}

// listed reports whether the operator let this exact origin out.
func (c *Client) listed(u *url.URL) bool {
	return u.User == nil && slices.Contains(c.cfg.Allow, originOf(u))
}

// Origin normalises an origin for Config.Allow.
func Origin(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("%q is not an origin like https://host:port", raw)
	}
	return originOf(u), nil
}

func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// RoundTrip makes Client an http.RoundTripper whose every request is checked; a data plane streams through it.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := c.check(r.URL); err != nil {
		c.cfg.Log.WarnContext(r.Context(), "outbound request refused", slog.String("host", r.URL.Host), slog.Any("error", err))
		return nil, err
	}
	return c.transport.RoundTrip(r)
}

// dial resolves the name and connects to the first address, if every one of them may be reached: one forbidden address refuses the
// whole name (rule T-02).
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	addrs, err := c.cfg.Resolve(ctx, host)
	if err != nil || len(addrs) == 0 {
		return nil, errors.Join(ErrRefused, err)
	}
	listed := slices.Contains(c.cfg.Allow, "https://"+strings.ToLower(address)) || slices.Contains(c.cfg.Allow, "http://"+strings.ToLower(address))
	for _, a := range addrs {
		if !listed && !Public(a) {
			return nil, &Forbidden{Address: a}
		}
	}
	var last error
	for _, a := range addrs {
		conn, err := c.cfg.Dial(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}

// Do makes one request and reads at most limit bytes of the answer; more is a failure. There are no redirects and no cookies.
func (c *Client) Do(r *http.Request, limit int64) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), c.cfg.Total)
	defer cancel()
	r = r.WithContext(ctx)
	if r.Header.Get("Accept-Encoding") == "" { // who asks for another one bounds what comes out of it
		r.Header.Set("Accept-Encoding", "identity")
	}
	r.Header.Set("User-Agent", "sluice")
	res, err := c.client.Do(r)
	if err != nil {
		return 0, nil, nil, c.failed(r, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	if err != nil {
		return 0, nil, nil, c.failed(r, err)
	}
	return res.StatusCode, res.Header, body, nil
}

// failed hides why: one text for every way of not getting through.
func (c *Client) failed(r *http.Request, err error) error {
	if r.Context().Err() == nil || errors.Is(r.Context().Err(), context.DeadlineExceeded) {
		c.cfg.Log.InfoContext(r.Context(), "outbound request failed", slog.String("host", r.URL.Host), slog.Any("error", err))
	}
	return fmt.Errorf("%w (%s)", ErrRefused, r.URL.Host)
}

// Fetch gets a document with status 200.
func (c *Client) Fetch(ctx context.Context, rawURL string, limit int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, ErrRefused
	}
	r.Header.Set("Accept", "application/did+json, application/json")
	status, _, body, err := c.Do(r, limit)
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
		return body, nil
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%w: %w: status %d", ErrRefused, ErrAbsent, status)
	}
	return nil, fmt.Errorf("%w: status %d", ErrRefused, status)
}

// Open makes a request whose body is streamed; the caller closes it. The request's context bounds it.
func (c *Client) Open(r *http.Request) (*http.Response, error) {
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", "sluice")
	res, err := c.client.Do(r)
	if err != nil {
		return nil, c.failed(r, err)
	}
	return res, nil
}
