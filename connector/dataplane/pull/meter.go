package pull

import (
	"net/http"
	"strconv"

	"github.com/sluice-connector/sluice/connector/dataplane"
	"github.com/sluice-connector/sluice/connector/wire/problem"
)

// wholeBytes is the size up to which a body is collected first, so that one serve record covers it with its digest.
const wholeBytes = 64 << 10

// meter is the response as the data plane lets it out: nothing, headers included, leaves before the serve record
// that allows it is durable.
type meter struct {
	w    http.ResponseWriter
	flow *dataplane.Flow
	head bool

	status int    // 0 until WriteHeader
	length int64  // declared; -1 when unknown
	held   []byte // a small body being collected
	hold   bool
	open   bool  // headers are out
	err    error // first failure; sticky
}

func (m *meter) Header() http.Header { return m.w.Header() }

// WriteHeader notes the status; the header goes out with the record.
func (m *meter) WriteHeader(status int) {
	if m.status != 0 || status < 200 {
		return
	}
	m.status, m.length = status, -1
	if n, err := strconv.ParseInt(m.w.Header().Get("Content-Length"), 10, 64); err == nil && n >= 0 {
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
		m.open = true
		m.w.WriteHeader(m.status)
	}
	n, err := m.flow.Write(b, m.w.Write)
	m.err = err
	return n, err
}

// Flush passes on; the proxy calls it for streams.
func (m *meter) Flush() {
	if m.open && m.err == nil {
		_ = http.NewResponseController(m.w).Flush()
	}
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
	m.open = true
	m.w.WriteHeader(m.status)
	_, m.err = m.flow.Write(body, m.w.Write)
	return m.err
}

// refuse answers instead of the data: nothing of it has been sent.
func (m *meter) refuse() {
	header := m.w.Header()
	for name := range header {
		if responseHeaders[name] || name == "Content-Disposition" {
			header.Del(name)
		}
	}
	problem.Status(m.w, nil, http.StatusServiceUnavailable, "the request could not be served now")
}
