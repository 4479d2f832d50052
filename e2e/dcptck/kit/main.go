// Command kit runs the public conformance kit of the Decentralized Claims Protocol, unmodified, against a connector on each store: as
// holder, as issuer and as verifier.
//
//	make tck-dcp
//	TCK_CASES='5.4.3' make tck-dcp
//
// The kit's jars come through Maven into TCK_LIB, pinned by version in pom.xml and by bytes in jars.sha256. It needs a JDK of version 17 or
// newer and SLUICE_TEST_POSTGRES.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/dcptck"
	"github.com/sluice-connector/sluice/e2e/kits"
)

//go:embed Kit.java
var launcher []byte

//go:embed jars.sha256
var sums []byte

// part is what the kit asks of one role.
type part struct {
	role, packages string
	active         int // cases that the kit does not disable itself
}

var parts = []part{
	{"verifier", "presentation.verifier", 20},
	{"holder", "presentation.cs,issuance.cs", 40},
	{"issuer", "issuance.issuer", 25},
}

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
	if err := kits.Check(lib, sums); err != nil {
		return err
	}
	for _, kind := range []string{settings.Embedded, settings.Postgres} {
		all := 0
		for _, p := range parts {
			fmt.Printf("== %s, %s\n", p.role, kind)
			passed, err := once(ctx, kind, p, lib, cases)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", p.role, kind, err)
			}
			all += passed
		}
		if all == 0 {
			return fmt.Errorf("no case is called like %q", cases)
		}
		fmt.Printf("== all roles, %s\n%d passed, 0 failed\n", kind, all) // the first that fails ends the run
	}
	return nil
}

// once plays one role against a company of its own.
func once(ctx context.Context, kind string, p part, lib, cases string) (passed int, err error) {
	dir, err := os.MkdirTemp("", "tck-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	store := settings.Store{Kind: kind}
	if kind == settings.Postgres {
		address, err := kits.Schema(ctx, "kit_"+p.role)
		if err != nil {
			return 0, err
		}
		store.URL = address.String()
	}
	port, err := kits.Free()
	if err != nil {
		return 0, err
	}
	log := &watch{Handler: slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level()})}
	company, err := dcptck.Start(ctx, dcptck.Config{Dir: dir, Store: store, Kit: fmt.Sprint("127.0.0.1:", port), Log: slog.New(log)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, company.Close()) }()
	triggers, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{Handler: company.Trigger(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(triggers) }()
	defer server.Close()
	r := kits.Run{Lib: lib, Launcher: launcher, Properties: properties(company, p.role, port, "http://"+triggers.Addr().String()), Args: []string{p.packages}, Dir: dir, Want: p.active}
	if cases != "" {
		r.Args, r.Want = append(r.Args, cases), 0
	}
	if passed, err = r.Play(ctx); err != nil {
		return passed, err
	}
	if n := log.errors.Load(); n > 0 { // the kit takes a 500 for the refusal that it waits for
		return passed, fmt.Errorf("the connector logged %d errors", n)
	}
	return passed, nil
}

// level of the connector's log: what it refuses is of interest only when something is looked for.
func level() slog.Level {
	if on, _ := strconv.ParseBool(os.Getenv("TCK_VERBOSE")); on {
		return slog.LevelInfo
	}
	return slog.LevelError
}

// properties are the kit's settings.
func properties(c *dcptck.Company, role string, port int, trigger string) map[string]string {
	set := map[string]string{
		"dataspacetck.debug": "false", "dataspacetck.ansi": "false",
		"dataspacetck.callback.address":           fmt.Sprintf("http://localhost:%d", port),
		"dataspacetck.host":                       "127.0.0.1",
		"dataspacetck.port":                       fmt.Sprint(port),
		"dataspacetck.credentials.correlation.id": dcptck.Request,
		"dataspacetck.did." + role:                string(c.Member.DID),
	}
	switch role {
	case "verifier":
		set["dataspacetck.vpp.trigger.endpoint"] = trigger
	case "holder":
		set["dataspacetck.sts.url"] = c.Root + "/" + c.Member.Slug + "/sts"
		set["dataspacetck.sts.client.id"], set["dataspacetck.sts.client.secret"] = c.Client, c.Secret
	case "issuer":
		set["dataspacetck.did.issuer"] = string(c.Authority.DID)
	}
	return set
}
