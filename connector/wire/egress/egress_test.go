package egress_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// client counts every connection that the rules let through.
func client(t *testing.T, allow []string, answers map[string][]string) (*egress.Client, *atomic.Int32) {
	t.Helper()
	dials := new(atomic.Int32)
	c := egress.New(egress.Config{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			var out []netip.Addr
			for _, a := range answers[host] {
				out = append(out, netip.MustParseAddr(a))
			}
			if len(out) == 0 {
				return nil, errors.New("no such host")
			}
			return out, nil
		},
		Allow: allow, Public: true, Total: 2 * time.Second, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.Close)
	return c, dials
}

func get(t *testing.T, c *egress.Client, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	_, _, _, err = c.Do(r, 1024)
	return err
}

func TestNoPeerLeadsUsToAnAddressThatIsNotPublic(t *testing.T) {
	t.Parallel()
	forbidden := []string{"127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
		"192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
		"::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "fc00::1",
		"fd12::1", "fe80::1", "fec0::1", "ff02::1", "100::1", "3fff::1", "5f00::1"}
	for _, address := range forbidden {
		c, dials := client(t, nil, map[string][]string{"peer.example": {address}, "mixed.example": {"93.184.216.34", address}})
		for _, url := range []string{"https://peer.example/did.json", "https://mixed.example/x"} {
			if err := get(t, c, url); !errors.Is(err, egress.ErrRefused) {
				t.Errorf("%s at %s: %v", url, address, err)
			}
		}
		if n := dials.Load(); n != 0 {
			t.Errorf("%s was dialled %d times", address, n)
		}
		if egress.Public(netip.MustParseAddr(address)) {
			t.Errorf("%s counts as public", address)
		}
	}
	for _, address := range []string{"93.184.216.34", "8.8.8.8", "2606:2800:220:1::1"} {
		if !egress.Public(netip.MustParseAddr(address)) {
			t.Errorf("%s does not count as public", address)
		}
	}
}

func TestAURLThatTwoReadersCouldReadDifferentlyIsRefused(t *testing.T) {
	t.Parallel()
	c, dials := client(t, []string{"https://ok.example:443"}, map[string][]string{"ok.example": {"127.0.0.1"}, "evil.example": {"127.0.0.1"}})
	for _, url := range []string{"http://peer.example/", "ftp://peer.example/", "https://user@peer.example/", "https://ok.example@evil.example/", "https://peer.example:8443/",
		"https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/", "https://localhost/", "https://peer.example./",
		"https://ok.example.evil.example:444/", "https://peer\\.example/", "https:///x", "https://" + strings.Repeat("a", 3000) + ".example/", "file:///etc/passwd", "https://ex%41mple.example/", "https://bücher.example/"} {
		if err := c.Check(url); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("Check(%q) = %v", url, err)
		}
		if err := get(t, c, url); err == nil {
			t.Errorf("%q was fetched", url)
		}
	}
	if n := dials.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestListedOriginsAreReachedExactly(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("x", 4096))
		}
	}))
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	origin, err := egress.Origin("http://source.example:" + port)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := client(t, []string{origin}, map[string][]string{"source.example": {"127.0.0.1"}, "other.example": {"127.0.0.1"}})
	if err := get(t, c, origin+"/"); err != nil {
		t.Errorf("a listed origin: %v", err)
	}
	for _, url := range []string{"http://other.example:" + port + "/", "https://source.example:" + port + "/", "http://source.example:1/", origin + "/large"} {
		if err := get(t, c, url); err == nil {
			t.Errorf("%s was fetched", url)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/redirect", nil)
	if status, _, _, err := c.Do(r, 1024); err != nil || status != http.StatusFound {
		t.Errorf("a redirect was followed: %d, %v", status, err)
	}
}

func TestEveryFailureReadsTheSame(t *testing.T) {
	t.Parallel()
	c, _ := client(t, nil, map[string][]string{"inside.example": {"10.0.0.1"}})
	inside, unknown := get(t, c, "https://inside.example/"), get(t, c, "https://unknown.example/")
	a := strings.Replace(inside.Error(), "inside.example", "", 1)
	b := strings.Replace(unknown.Error(), "unknown.example", "", 1)
	if a != b {
		t.Errorf("a forbidden address reads %q, an unknown name %q", a, b)
	}
}
