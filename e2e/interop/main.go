// Command interop lets us trade with Eclipse EDC, another connector, both ways, and prints what went well.
//
//	make interop
//	INTEROP_ONLY='suspend' make interop
//	make interop-identity
//	make interop-rate
//
// EDC's jars come through Maven into INTEROP_LIB, a folder for each release, pinned by version in tools/interop.mk and by bytes in the lists
// here. It needs a JDK of version 17 or newer. INTEROP_RECORD names a folder that the messages EDC sent are written to.
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sluice-connector/sluice/e2e/kits"
)

// releases of EDC, with the lists of their jars.
var releases = []string{"0.14.1", "0.15.1"}

// walletRelease is the release of IdentityHub, and of the connector that stands beside it.
const walletRelease = "0.15.1"

//go:embed *.sha256
var sums embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	lib := os.Getenv("INTEROP_LIB")
	only, err := regexp.Compile(os.Getenv("INTEROP_ONLY"))
	switch {
	case err != nil:
	case len(os.Args) > 1 && os.Args[1] == "rate":
		err = rates(ctx, filepath.Join(lib, releases[0]))
	case len(os.Args) > 1 && os.Args[1] == "identity":
		err = run(ctx, lib, nil, only)
	default:
		err = run(ctx, lib, releases, only)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

// row is a line of the table.
type row struct {
	direction, release, scenario string
	took                         time.Duration
	err                          error
}

// run plays who trades with whom, with each release, and then who proves what to whom.
func run(ctx context.Context, lib string, releases []string, only *regexp.Regexp) error {
	var rows []row
	for _, release := range releases {
		got, err := trade(ctx, release, filepath.Join(lib, release), only)
		rows = append(rows, got...)
		if err != nil {
			return errors.Join(err, table(rows))
		}
	}
	got, err := identities(ctx, walletRelease, lib, only)
	return errors.Join(err, table(append(rows, got...)))
}

// table prints the rows; an error says how many are not green.
func table(rows []row) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	failed := 0
	for _, r := range rows {
		verdict := "ok"
		if r.err != nil {
			verdict = "FAILED"
			failed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d ms\n", r.direction, r.release, r.scenario, verdict, r.took.Milliseconds())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed", failed, len(rows))
	}
	fmt.Printf("%d scenarios, all as they should be\n", len(rows))
	return nil
}

// trade runs every scenario against one release.
func trade(ctx context.Context, release, lib string, only *regexp.Regexp) (rows []row, err error) {
	if err := check(release, lib); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(theirs)) }))
	defer source.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	f := &field{source: source.URL}
	listener := listen(f.hear)
	defer listener.Close()
	e := &edc{jvm: jvm{dir: dir}, id: edcID, lib: lib, wait: 50, listener: listener.URL, topics: []string{
		"contract.negotiation.requested", "contract.negotiation.agreed", "contract.negotiation.verified", "transfer.process.requested"}}
	if f.edc, err = prepare(ctx, e); err != nil {
		return nil, err
	}
	defer f.edc.stop()
	if f.us, err = newCompany(dir, f.edc, log); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.us.close()) }()
	if err := errors.Join(f.edc.start(ctx), f.us.start(ctx)); err != nil {
		return nil, err
	}
	f.seller = seller{string(f.us.local.DID), f.us.base()}
	if err := f.edc.seed(ctx, f.source); err != nil {
		return nil, err
	}
	rows = append(play(ctx, f, "we buy from EDC", release, buying, only), play(ctx, f, "EDC buys from us", release, selling, only)...)
	return rows, f.us.stub.record(os.Getenv("INTEROP_RECORD"))
}

// play runs the scenarios that are wanted, one after the other.
func play[F any](ctx context.Context, f F, direction, release string, scenarios []scenario[F], only *regexp.Regexp) (rows []row) {
	for _, s := range scenarios {
		if !only.MatchString(s.name) {
			continue
		}
		begin := time.Now()
		err := s.run(f, ctx)
		rows = append(rows, row{direction, release, s.name, time.Since(begin), err})
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s, %s, %s: %v\n", direction, release, s.name, err)
		}
	}
	return rows
}

// check compares the jars with the pinned bytes.
func check(release, lib string) error {
	list, err := sums.ReadFile("jars-" + release + ".sha256")
	if err != nil {
		return err
	}
	return kits.Check(lib, list)
}
