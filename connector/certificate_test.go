package connector_test

import (
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-connector/sluice/certs"
	"github.com/sluice-connector/sluice/connector"
)

// served returns the serial number of the certificate that the address shows.
func served(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // only which certificate it is matters here
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestACertificateThatChangedIsServedAndABrokenOneIsNot(t *testing.T) {
	t.Parallel()
	ca, err := certs.New(rand.Reader, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dir, hands, log := t.TempDir(), &clock{at: time.Now()}, &written{}
	renew := func() {
		if err := ca.Write(dir, "localhost"); err != nil {
			t.Fatal(err)
		}
	}
	renew()
	chain, key := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
	c, public, management := open(t, func(cfg *connector.Config) {
		cfg.Now, cfg.Log = hands.now, slog.New(slog.NewTextHandler(log, nil))
		cfg.Settings.Public.Cert, cfg.Settings.Public.Key = chain, key
		cfg.Settings.Management.Cert, cfg.Settings.Management.Key = chain, key
	})
	run(t, c)
	first := served(t, public)
	if got := served(t, management); got != first {
		t.Fatalf("the listeners show %s and %s", first, got)
	}
	if err := os.WriteFile(chain, []byte("half a certifi"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		hands.advance(2 * time.Second)
		for _, address := range []string{public, management} {
			if got := served(t, address); got != first {
				t.Errorf("%s shows %s while the file is broken, want %s", address, got, first)
			}
		}
	}
	if n := strings.Count(log.String(), "certificate not read again"); n != 2 {
		t.Errorf("the broken file was logged %d times, want once for each listener:\n%s", n, log)
	}
	renew()
	if got := served(t, public); got != first {
		t.Error("the files were looked at twice within a second")
	}
	hands.advance(2 * time.Second)
	renewed := served(t, public)
	if got := served(t, management); got != renewed || renewed == first {
		t.Errorf("after the renewal: %s and %s, want one that is not %s", renewed, got, first)
	}
}
