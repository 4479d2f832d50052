package hostile_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/settings"
)

// from is a client with an address of its own, whose last byte is given.
func (s *street) from(t *testing.T, last byte) *http.Transport {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: s.transport.TLSClientConfig}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// knock asks Boreal something with the token and returns the answer; one without status when the connection was closed instead.
func (s *street) knock(t *testing.T, transport *http.Transport, token, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base(t, s.boreal)+"/negotiations/request", strings.NewReader(body))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}
	}
	_, err = io.Copy(io.Discard, res.Body) // so that the connection can be used again
	check(t, errors.Join(err, res.Body.Close()))
	return answer{status: res.StatusCode, header: res.Header}
}

// honest sees to it that Cobalt, at 127.0.0.1, is known to Boreal and answered as ever: what it asks for is not there.
func (s *street) honest(t *testing.T) {
	t.Helper()
	if _, err := s.cobalt.Dataset(t.Context(), s.cobalt.Local, s.boreal.Local.DID, "x"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an honest partner is not served: %v", err)
	}
}

// storm lets strangers at the address fail until Boreal turns them away, and returns how often they were heard.
func (s *street) storm(t *testing.T, last byte) (heard int) {
	t.Helper()
	transport, turnedAway := s.from(t, last), false
	for range 200 {
		switch got := s.knock(t, transport, s.token(t, "mallory", nil, map[string]any{"aud": "did:web:cobalt.example"}), "{}"); got.status {
		case http.StatusUnauthorized:
			heard++
		case http.StatusTooManyRequests:
			turnedAway = true
			if got.header.Get("Retry-After") == "" {
				t.Error("they are not told when to come again")
			}
		case 0: // closed before TLS
		default:
			t.Fatalf("they were answered %d", got.status)
		}
	}
	if !turnedAway {
		t.Error("strangers were never told that they ask too much")
	}
	return heard
}

func TestStrangersAreSlowedDownByTheirAddress(t *testing.T) {
	t.Parallel()
	s := stroll(t, func(l *settings.Limits) { l.AddressRate, l.AddressBurst = 1, 30 })
	before := rows(t, s.boreal.Store())
	if n := s.storm(t, 2); n < 20 || n > 100 {
		t.Errorf("%d of 200 strangers were heard, want about thirty", n)
	}
	if got := s.knock(t, s.from(t, 3), "junk", "{}"); got.status != http.StatusUnauthorized {
		t.Errorf("somebody at another address is answered %d", got.status)
	}
	s.honest(t)
	for table, had := range before {
		if now := rows(t, s.boreal.Store())[table]; table == "negotiations" && len(now) != len(had) {
			t.Errorf("they changed %s", table)
		}
	}
}

func TestStrangersAtItsAddressDoNotSlowDownAPartner(t *testing.T) {
	t.Parallel()
	s := stroll(t, func(l *settings.Limits) { l.AddressRate, l.AddressBurst = 1, 30 })
	s.honest(t) // has a connection
	s.storm(t, 1)
	for range 20 {
		s.honest(t)
	}
}

func TestAPeerThatSendsJunkIsSlowedDownAlone(t *testing.T) {
	t.Parallel()
	s := stroll(t, func(l *settings.Limits) { l.PeerRate, l.PeerBurst = 1, 200 })
	counts := map[int]int{}
	for i := range 40 {
		got := s.knock(t, s.from(t, byte(2+i)), s.token(t, "mallory", nil, nil), "[")
		counts[got.status]++
	}
	if counts[http.StatusBadRequest] < 3 || counts[http.StatusBadRequest] > 6 || counts[http.StatusBadRequest]+counts[http.StatusTooManyRequests] != 40 {
		t.Errorf("junk was answered %v, want a few times 400 and then 429 wherever it comes from", counts)
	}
	s.honest(t)
}

// T-43. Not parallel: it counts goroutines and bytes of the whole process.
func TestTenThousandSlowConnectionsKeepNobodyOut(t *testing.T) {
	const addresses, perAddress = 10, 128
	total := 10_000
	var files syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if most := int(min(files.Cur, 1<<20)) / 2; total > most { // of those that are refused one file each is ours
		total = most
	}
	s := stroll(t, func(l *settings.Limits) { l.AddressConnections, l.AddressBurst = perAddress, 1_000_000 })
	s.honest(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimSuffix(base(t, s.boreal), "/boreal/dsp/2025-1"), "https://"))
	check(t, err)
	goroutines, heap := runtime.NumGoroutine(), inUse()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	refused := 0
	for i := range total {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%addresses))}}
		conn, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if errors.Is(err, syscall.ECONNRESET) {
			refused++
			continue
		}
		check(t, err)
		_, _ = conn.Write([]byte{0x16, 3, 1}) // the beginning of a handshake
		open = append(open, conn)
	}
	s.honest(t) // on the connection that it has; another address gets one, after all these were accepted or refused
	if got := s.knock(t, s.from(t, 200), "junk", "{}"); got.status != http.StatusUnauthorized {
		t.Errorf("somebody else is answered %d", got.status)
	}
	more, bytes := runtime.NumGoroutine()-goroutines, int64(inUse())-int64(heap)
	for _, conn := range open {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		check(t, err)
		check(t, raw.Read(func(fd uintptr) bool {
			_, _, err = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_DONTWAIT)
			return true
		}))
		if !errors.Is(err, syscall.EAGAIN) {
			refused++
		}
	}
	if held := total - refused; held > addresses*perAddress || held == 0 {
		t.Errorf("%d of %d connections were let in", held, total)
	}
	if more > addresses*perAddress+100 {
		t.Errorf("%d goroutines more, want no more than connections that may be open", more)
	}
	if bytes > 64<<20 {
		t.Errorf("%d bytes more are in use", bytes)
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
