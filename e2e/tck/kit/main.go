// Command kit runs the public conformance kit of the Dataspace Protocol, unmodified, against a connector on each store.
//
//	make tck-dsp
//	TCK_CASES='CN:0[12]' make tck-dsp
//
// The kit's jars come through Maven into TCK_LIB, pinned by version in pom.xml and by bytes in jars.sha256. It needs a JDK of version 17 or
// newer and SLUICE_TEST_POSTGRES.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/tck"
)

// active is how many cases of the kit are not disabled by it.
const active = 65

//go:embed Kit.java
var runner []byte

//go:embed jars.sha256
var sums []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv("TCK_LIB"), os.Getenv("TCK_CASES"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, lib, cases string) error {
	if err := check(lib); err != nil {
		return err
	}
	for _, kind := range []string{settings.Embedded, settings.Postgres} {
		fmt.Printf("== %s\n", kind)
		if err := once(ctx, kind, lib, cases); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// check compares the jars with the pinned bytes: none changed, none missing, none too many.
func check(lib string) error {
	want := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(sums))
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return fmt.Errorf("jars.sha256: %q is no line of sha256sum", lines.Text())
		}
		want[name] = sum
	}
	have, err := filepath.Glob(filepath.Join(lib, "*.jar"))
	if err != nil {
		return err
	}
	for _, path := range have {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		if name := filepath.Base(path); want[name] != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("%s is not the jar that jars.sha256 names", name)
		}
	}
	if len(have) != len(want) {
		return fmt.Errorf("%d jars in %s, jars.sha256 names %d", len(have), lib, len(want))
	}
	return nil
}

func once(ctx context.Context, kind, lib, cases string) (err error) {
	dir, err := os.MkdirTemp("", "tck-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store := settings.Store{Kind: kind}
	if kind == settings.Postgres {
		if store.URL, err = schema(ctx); err != nil {
			return err
		}
	}
	port, err := free()
	if err != nil {
		return err
	}
	callback := fmt.Sprintf("http://localhost:%d", port)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	company, err := tck.Start(ctx, tck.Config{Dir: dir, Store: store, Peer: callback, Delay: 300 * time.Millisecond, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, company.Close()) }()
	triggers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: company.Triggers(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(triggers) }()
	defer server.Close()
	file := filepath.Join(dir, "tck.properties")
	if err := os.WriteFile(file, []byte(properties(company, callback, port, "http://"+triggers.Addr().String())), 0o600); err != nil {
		return err
	}
	java := filepath.Join(dir, "Kit.java")
	if err := os.WriteFile(java, runner, 0o600); err != nil {
		return err
	}
	return play(ctx, lib, java, file, cases)
}

// play runs the kit and believes its summary alone: all active cases passed, none failed.
func play(ctx context.Context, lib, java, file, cases string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	args := []string{"-cp", filepath.Join(lib, "*"), java, file}
	if cases != "" {
		args = append(args, cases)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "java", args...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	err := cmd.Run()
	summary := regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed$`).FindStringSubmatch(out.String())
	switch {
	case summary == nil:
		return errors.Join(err, errors.New("the kit printed no summary"))
	case err != nil:
		return fmt.Errorf("the kit ended with: %w", err)
	case cases == "" && summary[1] != fmt.Sprint(active):
		return fmt.Errorf("%s cases passed, want all %d", summary[1], active)
	}
	return nil
}

// properties are the kit's settings.
func properties(c *tck.Company, callback string, port int, triggers string) string {
	var b strings.Builder
	set := func(name, value string) { fmt.Fprintf(&b, "%s=%s\n", name, strings.ReplaceAll(value, ":", `\:`)) }
	for name, value := range map[string]string{
		"dataspacetck.debug": "false", "dataspacetck.ansi": "false", "dataspacetck.dsp.local.connector": "false",
		"dataspacetck.dsp.connector.agent.id":                   string(c.Local.DID),
		"dataspacetck.dsp.connector.http.url":                   c.Root + "/dsp/2025-1",
		"dataspacetck.dsp.connector.http.base.url":              c.Root,
		"dataspacetck.dsp.connector.http.headers.authorization": "Bearer tck",
		"dataspacetck.dsp.connector.negotiation.initiate.url":   triggers + "/negotiations",
		"dataspacetck.dsp.connector.transfer.initiate.url":      triggers + "/transfers",
		"dataspacetck.callback.address":                         callback,
		"dataspacetck.host":                                     "127.0.0.1", "dataspacetck.port": fmt.Sprint(port),
		"dataspacetck.dsp.default.wait": "15",
	} {
		set(name, value)
	}
	for i, id := range append(tck.Datasets, "CAT0103") {
		set(fmt.Sprintf("CAT_01_%02d_DATASETID", i+1), id)
	}
	for _, tc := range tck.Cases {
		prefix := strings.NewReplacer(":", "_", "-", "_").Replace(tc.ID)
		if tc.Transfer() {
			set(prefix+"_AGREEMENTID", tc.Key())
			set(prefix+"_FORMAT", "HttpData-PULL")
			continue
		}
		set(prefix+"_DATASETID", tc.Key())
		set(prefix+"_OFFERID", c.Offers[tc.Key()])
	}
	return b.String()
}

// free is a port that nobody listens at now.
func free() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func schema(ctx context.Context) (string, error) {
	url := os.Getenv("SLUICE_TEST_POSTGRES")
	if url == "" {
		return "", errors.New("SLUICE_TEST_POSTGRES is not set; run the kit with make tck-dsp")
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "CREATE SCHEMA kit")
	return url + "&search_path=kit", err
}
