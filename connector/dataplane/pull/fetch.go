package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// Opener makes a request whose body is streamed, through the guarded dialer.
type Opener interface {
	Open(r *http.Request) (*http.Response, error)
}

// Fetcher is the consumer's side: it gets the bytes behind a data address. It implements exchange.Fetcher.
type Fetcher struct{ HTTP Opener }

// resumptions is how often a body that broke off is taken up again.
const resumptions = 2

// Fetch opens the data. A body that breaks off goes on where it ended, when the peer can say by a strong validator that it is still the
// same. The caller closes the body; the context bounds the whole stream.
func (f Fetcher) Fetch(ctx context.Context, a transfer.Address, path string) (exchange.Body, error) {
	const op = "pull.Fetch"
	endpoint := a.Properties[transfer.PropertyEndpoint]
	if endpoint == "" {
		endpoint = a.Endpoint
	}
	if path != "" {
		endpoint = strings.TrimRight(endpoint, "/") + "/" + strings.TrimLeft(path, "/")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return exchange.Body{}, fault.Wrap(op, fault.Unavailable, err)
	}
	r.Header.Set("Authorization", a.Properties[transfer.PropertyToken])
	res, err := f.HTTP.Open(r)
	if err != nil {
		return exchange.Body{}, fault.Wrap(op, fault.Unavailable, err)
	}
	if res.StatusCode != http.StatusOK {
		kind := fault.Unavailable
		if res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized {
			kind = fault.Refused
		}
		return exchange.Body{}, errors.Join(fault.New(op, kind, "the peer's data plane answered %d", res.StatusCode), closing(res))
	}
	body := &resumed{ReadCloser: res.Body, http: f.HTTP, request: r, version: res.Header.Get("Etag"), left: resumptions}
	return exchange.Body{ReadCloser: body, MediaType: res.Header.Get("Content-Type"), Length: res.ContentLength}, nil
}

// resumed is a body that is asked for again from where it broke off.
type resumed struct {
	io.ReadCloser
	http    Opener
	request *http.Request
	version string // entity tag
	at      int64
	broke   error // told when nothing more can be read
	left    int
}

func (b *resumed) Read(p []byte) (int, error) {
	for {
		if b.broke == nil {
			n, err := b.ReadCloser.Read(p)
			b.at += int64(n)
			if err == nil || err == io.EOF {
				return n, err
			}
			if b.broke = err; n > 0 {
				return n, nil
			}
		}
		if b.request.Context().Err() != nil || b.left == 0 || !b.resume() {
			return 0, b.broke
		}
		b.broke = nil
	}
}

// resume asks for the rest. Anything but exactly the rest of the same version is none: a peer that knows no ranges begins from the start.
func (b *resumed) resume() bool {
	if !strings.HasPrefix(b.version, `"`) {
		return false
	}
	b.left--
	r := b.request.Clone(b.request.Context())
	r.Header.Set("Range", "bytes="+strconv.FormatInt(b.at, 10)+"-")
	r.Header.Set("If-Range", b.version)
	res, err := b.http.Open(r)
	if err != nil {
		return false
	}
	if res.StatusCode != http.StatusPartialContent || res.Header.Get("Etag") != b.version ||
		!strings.HasPrefix(res.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(b.at, 10)+"-") {
		_ = res.Body.Close()
		return false
	}
	_ = b.ReadCloser.Close()
	b.ReadCloser = res.Body
	return true
}

func closing(res *http.Response) error {
	if err := res.Body.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
