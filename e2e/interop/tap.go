package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// tap keeps what others send to us on plain HTTP: requests to our listener, and answers to what we ask.
type tap struct {
	mu       sync.Mutex
	requests []*bytes.Buffer // a connection each
	answers  []*bytes.Buffer
}

// listen keeps requests.
func (t *tap) listen(l net.Listener) net.Listener { return tapped{l, t} }

type tapped struct {
	net.Listener
	tap *tap
}

func (l tapped) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.tap.keep(conn, &l.tap.requests), nil
}

// dial keeps answers.
func (t *tap) dial(next egress.Dial) egress.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := next(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return t.keep(conn, &t.answers), nil
	}
}

func (t *tap) keep(conn net.Conn, where *[]*bytes.Buffer) net.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := &kept{Conn: conn, tap: t, read: &bytes.Buffer{}}
	*where = append(*where, k.read)
	return k
}

type kept struct {
	net.Conn
	tap  *tap
	read *bytes.Buffer
}

func (k *kept) Read(p []byte) (int, error) {
	n, err := k.Conn.Read(p)
	k.tap.mu.Lock()
	defer k.tap.mu.Unlock()
	k.read.Write(p[:n])
	return n, err
}

// message is what one of them sent.
type message struct {
	path string // of a request
	body []byte
}

// messages are all that could be read, in order by connection.
func (t *tap) messages() (out []message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, text := range t.requests {
		r := bufio.NewReader(bytes.NewReader(text.Bytes()))
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				break
			}
			body, err := io.ReadAll(q.Body)
			if err != nil {
				break
			}
			out = append(out, message{path: q.URL.Path, body: body})
		}
	}
	for _, text := range t.answers {
		r := bufio.NewReader(bytes.NewReader(text.Bytes()))
		for {
			a, err := http.ReadResponse(r, nil)
			if err != nil {
				break
			}
			body, err := io.ReadAll(a.Body)
			if err != nil {
				break
			}
			out = append(out, message{body: body})
		}
	}
	return out
}

// write puts files into the folder; JSON is indented.
func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if text := new(bytes.Buffer); filepath.Ext(name) == ".json" && json.Indent(text, content, "", "  ") == nil {
			content = text.Bytes()
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(bytes.TrimSpace(content), '\n'), 0o600); err != nil {
			return err
		}
	}
	return nil
}
