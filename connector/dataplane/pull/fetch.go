package pull

import (
	"context"
	"errors"
	"fmt"
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

// Fetch opens the data from the offset on. The caller closes the body; the context bounds the whole stream.
func (f Fetcher) Fetch(ctx context.Context, a transfer.Address, path string, offset int64) (exchange.Body, error) {
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
	if offset > 0 {
		r.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	res, err := f.HTTP.Open(r)
	if err != nil {
		return exchange.Body{}, fault.Wrap(op, fault.Unavailable, err)
	}
	if res.StatusCode != http.StatusOK && !(offset > 0 && res.StatusCode == http.StatusPartialContent) {
		kind := fault.Unavailable
		if res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized {
			kind = fault.Refused
		}
		return exchange.Body{}, errors.Join(fault.New(op, kind, "the peer's data plane answered %d", res.StatusCode), closing(res))
	}
	return exchange.Body{ReadCloser: res.Body, MediaType: res.Header.Get("Content-Type"), Length: res.ContentLength}, nil
}

func closing(res *http.Response) error {
	if err := res.Body.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
