package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/network"
	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/connector/transfer"
)

const conf = `daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  keepalive_requests 1000000;
  sendfile on;
  upstream origin { server 127.0.0.1:%[2]d; keepalive 256; }
  server { listen 127.0.0.1:%[2]d; root %[1]s/www; }
  server {
    listen 127.0.0.1:%[3]d ssl;
    ssl_certificate %[1]s/tls.pem; ssl_certificate_key %[1]s/tls.key;
    location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k; }
  }
}
`

// proxy measures the data plane beside nginx: the same origin, the same TLS, the same clients, in turn.
func proxy(ctx context.Context, dir string) ([]row, error) {
	if err := install(ctx, "nginx", "nginx"); err != nil {
		return nil, err
	}
	origin, front := freePort(), freePort()
	started := func(name string, fresh bool) (*network.Network, error) {
		return pair(ctx, filepath.Join(dir, name), settings.Embedded, func(slug string, cfg *connector.Config) {
			if slug == "cobalt" {
				cfg.Fresh = fresh
				cfg.Settings.Egress.Upstreams = []settings.Upstream{{Origin: fmt.Sprintf("http://127.0.0.1:%d", origin)}}
			}
		})
	}
	leased, err := started("leased", false)
	if err != nil {
		return nil, err
	}
	defer leased.Close()
	fresh, err := started("fresh", true)
	if err != nil {
		return nil, err
	}
	defer fresh.Close()
	stop, err := nginx(ctx, dir, leased, origin, front)
	if err != nil {
		return nil, err
	}
	defer stop()
	var rows []row
	for _, kind := range []struct {
		file, what string
		n          *network.Network
		clients    int
		bar        float64
	}{
		{"1k", "1 KiB answers, a decision leased for a second, a durable serve record each", leased, 32, 0.4},
		{"1k", "1 KiB answers, a decision and a durable serve record each", fresh, 32, 0.2},
		{"10m", "10 MiB bodies", leased, 4, 0.8},
	} {
		ratio, ours, theirs, err := beside(ctx, kind.n, kind.file, origin, front, kind.clients)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{"data plane, " + kind.what, fmt.Sprintf("≥ %.1f × nginx", kind.bar),
			fmt.Sprintf("%.2f × (%.0f/s, nginx %.0f/s)", ratio, ours, theirs), met(ratio >= kind.bar)})
	}
	address, err := open(ctx, leased, fmt.Sprintf("http://127.0.0.1:%d/10g", origin), "10g")
	if err != nil {
		return nil, err
	}
	more, err := long(ctx, trusting(leased), address, fmt.Sprintf("https://localhost:%d/10g", front))
	return append(rows, more...), err
}

// trusting is a client that trusts the network's authority.
func trusting(n *network.Network) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.CA.Pool()}, MaxIdleConnsPerHost: 64, DisableCompression: true, ReadBufferSize: 64 << 10}}
}

// beside loads the network's data plane and nginx in turn, so that a slow moment of the machine hits both.
func beside(ctx context.Context, n *network.Network, file string, origin, front, clients int) (ratio, ours, theirs float64, err error) {
	address, err := open(ctx, n, fmt.Sprintf("http://127.0.0.1:%d/%s", origin, file), file)
	if err != nil {
		return 0, 0, 0, err
	}
	client := trusting(n)
	rival := &http.Client{Transport: client.Transport.(*http.Transport).Clone()}
	rival.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // its certificate is of the other network's authority
	for range 3 {
		o, err := load(ctx, client, address.Endpoint, address.Properties[transfer.PropertyToken], clients)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("ours: %w", err)
		}
		x, err := load(ctx, rival, fmt.Sprintf("https://localhost:%d/%s", front, file), "", clients)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("nginx: %w", err)
		}
		ours, theirs = ours+o/3, theirs+x/3
	}
	return ours / theirs, ours, theirs, nil
}

// open makes an asset of the URL and returns the data address of a transfer of it.
func open(ctx context.Context, n *network.Network, url, name string) (transfer.Address, error) {
	address, _, err := openUnder(ctx, n, url, name)
	return address, err
}

// openUnder is open, with the agreement that it is under.
func openUnder(ctx context.Context, n *network.Network, url, name string) (transfer.Address, string, error) {
	cobalt, boreal := n.Companies["cobalt"], n.Companies["boreal"]
	id := "urn:sluice:bench:" + name
	err := cobalt.PublishAsset(ctx, cobalt.Local, catalog.Asset{ID: id, Title: name, Type: "https://w3id.org/catenax/taxonomy#Submodel", APIVersion: "3.0",
		Properties: map[string]string{catalog.PropertyTerms: "pcf"}, Address: catalog.Address{BaseURL: url}}, "bench")
	if err != nil {
		return transfer.Address{}, "", err
	}
	result, err := boreal.Pull(ctx, boreal.Local, exchange.Errand{Peer: cobalt.Local.DID, Asset: id, Actor: "bench"})
	if err != nil {
		return transfer.Address{}, "", err
	}
	if err := result.Body.Close(); err != nil {
		return transfer.Address{}, "", err
	}
	address, err := boreal.Address(ctx, boreal.Local, result.Transfer)
	return address, result.Agreement, err
}

// load asks for 4 seconds and returns answers per second. Every answer must be whole.
func load(ctx context.Context, client *http.Client, url, token string, clients int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var done atomic.Int64
	var mu sync.Mutex
	var failed error
	begin := time.Now()
	var workers sync.WaitGroup
	for range clients {
		workers.Go(func() {
			buffer := make([]byte, 256<<10)
			for time.Since(begin) < 4*time.Second {
				err := fetch(ctx, client, url, token, buffer)
				if errors.Is(err, errBusy) { // asked to come again: it does not count
					continue
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), failed
}

var errBusy = errors.New("asked to come again")

func fetch(ctx context.Context, client *http.Client, url, token string, buffer []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		return errBusy
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, buffer)
	if err == nil && n != res.ContentLength {
		err = errors.New("the body is not whole")
	}
	return err
}

// nginx starts an origin with the two files and a TLS front to it.
func nginx(ctx context.Context, dir string, n *network.Network, origin, front int) (func(), error) {
	www := filepath.Join(dir, "www")
	if err := os.MkdirAll(www, 0o755); err != nil {
		return nil, err
	}
	for name, size := range map[string]int{"1k": 1 << 10, "10m": 10 << 20} {
		if err := os.WriteFile(filepath.Join(www, name), []byte(strings.Repeat("x", size)), 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(www, "10g"), nil, 0o644); err != nil {
		return nil, err
	}
	if err := os.Truncate(filepath.Join(www, "10g"), large); err != nil { // a hole: it takes no room, and no disk slows it down
		return nil, err
	}
	if err := n.CA.Write(dir, "localhost", "127.0.0.1"); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(conf, dir, origin, front)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "nginx", "-c", file, "-p", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	for range 100 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", front))
		if err == nil {
			return stop, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return nil, errors.New("nginx did not start")
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// install brings a Debian package when its program is missing.
func install(ctx context.Context, program, pkg string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s is not installed; install the package %s, or run as root", program, pkg)
	}
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", pkg}} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}
