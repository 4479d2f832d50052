// Command kit runs the public conformance kit of the Dataspace Protocol, unmodified, against a connector on each store.
//
//	make tck-dsp
//	TCK_CASES='CN:0[12]' make tck-dsp
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
	"strings"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/connector/settings"
	"github.com/sluice-connector/sluice/e2e/kits"
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
	if err := kits.Check(lib, sums); err != nil {
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

func once(ctx context.Context, kind, lib, cases string) (err error) {
	dir, err := os.MkdirTemp("", "tck-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store := settings.Store{Kind: kind}
	if kind == settings.Postgres {
		address, err := kits.Schema(ctx, "kit")
		if err != nil {
			return err
		}
		store.URL = address.String()
	}
	port, err := kits.Free()
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
	r := kits.Run{Lib: lib, Launcher: runner, Properties: properties(company, callback, port, "http://"+triggers.Addr().String()), Dir: dir, Want: active}
	if cases != "" {
		r.Args, r.Want = []string{cases}, 0
	}
	_, err = r.Play(ctx)
	return err
}

// properties are the kit's settings.
func properties(c *tck.Company, callback string, port int, triggers string) map[string]string {
	set := map[string]string{
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
	}
	for i, id := range append(tck.Datasets, "CAT0103") {
		set[fmt.Sprintf("CAT_01_%02d_DATASETID", i+1)] = id
	}
	for _, tc := range tck.Cases {
		prefix := strings.NewReplacer(":", "_", "-", "_").Replace(tc.ID)
		if tc.Transfer() {
			set[prefix+"_AGREEMENTID"] = tc.Key()
			set[prefix+"_FORMAT"] = "HttpData-PULL"
			continue
		}
		set[prefix+"_DATASETID"] = tc.Key()
		set[prefix+"_OFFERID"] = c.Offers[tc.Key()]
	}
	return set
}
