package pull

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluice-connector/sluice/connector/dataplane"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// wholeBytes is the size up to which a body is collected first, so that one serve record covers it with its digest.
const wholeBytes = 64 << 10

// meter is the response as the data plane lets it out: nothing, headers included, leaves before the serve record
// that allows it is durable. Its headers are a map of its own, so that what is put there later, by whomever, stays here: interim
// answers, trailers, anything that is not on the list.
type meter struct {
	w        http.ResponseWriter
	header   http.Header
	flow     *dataplane.Flow
	patience func(time.Duration)
	head     bool

	status int    // 0 until WriteHeader
	length int64  // declared; -1 when unknown
	held   []byte // a small body being collected
	hold   bool
	open   bool  // headers are out
	err    error // first failure; sticky
}

func (m *meter) Header() http.Header { return m.header }

// fail notes the first failure, of whichever side.
func (m *meter) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

// ownHeaders are said by us beside responseHeaders.
var ownHeaders = map[string]bool{"Allow": true, "Content-Disposition": true, "Retry-After": true}

// show lets status and headers out.
func (m *meter) show() {
	for name, values := range m.header {
		if responseHeaders[name] || ownHeaders[name] {
			m.w.Header()[name] = values
		}
	}
	m.open = true
	m.w.WriteHeader(m.status)
}

// WriteHeader notes the status; the header goes out with the record.
func (m *meter) WriteHeader(status int) {
	if m.status != 0 || status < 200 {
		return
	}
	m.patience(dataplane.WriteLimit) // an upstream may have taken its time until here
	m.status, m.length = status, -1
	if n, err := strconv.ParseInt(m.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		m.length = n
	}
	bodyless := m.head || status == http.StatusNoContent || status == http.StatusNotModified
	m.hold = status >= 400 || bodyless || m.length >= 0 && m.length <= wholeBytes
}

func (m *meter) Write(b []byte) (int, error) {
	if m.status == 0 {
		m.WriteHeader(http.StatusOK)
	}
	if m.err != nil {
		return 0, m.err
	}
	if m.hold {
		if len(m.held)+len(b) > wholeBytes {
			m.err = http.ErrContentLength
			return 0, m.err
		}
		m.held = append(m.held, b...)
		return len(b), nil
	}
	if !m.open {
		if m.err = m.flow.Begin(); m.err != nil {
			return 0, m.err
		}
		m.show()
	}
	n, err := m.flow.Write(b, m.send)
	m.err = err
	return n, err
}

// send hands bytes to the network. A stream of unknown length does not wait for more: a peer may be waiting for what there is.
func (m *meter) send(b []byte) (int, error) {
	n, err := m.w.Write(b)
	if err == nil && m.length < 0 {
		err = http.NewResponseController(m.w).Flush()
	}
	return n, err
}

// finish lets a collected body out, or reports why the answer ended early. A refusal before the first byte becomes an answer.
func (m *meter) finish() error {
	if m.status == 0 && m.err == nil && !m.open {
		m.WriteHeader(http.StatusOK)
	}
	switch {
	case m.open:
		return m.err
	case m.err != nil:
		m.refuse()
		return m.err
	case m.hold, m.length < 0: // collected, or a body of unknown length that turned out empty
		return m.letOut()
	}
	// A long body was announced and not a byte of it came: the source broke off at once.
	m.err = http.ErrContentLength
	m.refuse()
	return m.err
}

// letOut records and sends a body that is known whole. An error answer carries no data, yet it is on record as well.
func (m *meter) letOut() error {
	if m.length >= 0 && !m.head && m.status < 300 && int64(len(m.held)) != m.length {
		m.err = http.ErrContentLength
		m.refuse()
		return m.err
	}
	body := m.held
	if m.head {
		body = nil
	}
	if m.err = m.flow.BeginWhole(body); m.err != nil {
		m.refuse()
		return m.err
	}
	m.show()
	_, m.err = m.flow.Write(body, m.send)
	return m.err
}

// refuse answers instead of the data: nothing of it has been sent.
func (m *meter) refuse() {
	m.patience(dataplane.WriteLimit)
	var status errUpstream
	var judged *fault.Error
	switch {
	case errors.As(m.err, &status):
		problem.Status(m.w, nil, int(status), "the data source broke off")
	case errors.As(m.err, &judged):
		problem.Write(m.w, nil, judged)
	default:
		problem.Status(m.w, nil, http.StatusServiceUnavailable, "the request could not be served now")
	}
}

// source is the body of an upstream's answer. It must not fall silent, and nothing follows it: trailers do not exist here.
type source struct {
	io.ReadCloser
	res   *http.Response
	pass  passage
	timer *time.Timer
	quiet atomic.Bool
}

// Read tells the meter of a failure and ends then: the proxy would break the connection, but what has not begun can still be refused in words.
func (s *source) Read(b []byte) (int, error) {
	if s.timer == nil {
		s.timer = time.AfterFunc(UpstreamSilence, func() {
			s.quiet.Store(true)
			s.pass.cancel()
		})
	} else {
		s.timer.Reset(UpstreamSilence)
	}
	n, err := s.ReadCloser.Read(b)
	s.timer.Stop()
	if err == nil || n > 0 && err != io.EOF {
		return n, nil // the failure comes again with the next call
	}
	s.res.Trailer = nil
	if err != io.EOF {
		status := errUpstream(http.StatusBadGateway)
		if s.quiet.Load() {
			status = http.StatusGatewayTimeout
		}
		s.pass.out.fail(fmt.Errorf("%w: %w", status, err))
	}
	return n, io.EOF
}
