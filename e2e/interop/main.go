// Command interop lets us trade with Eclipse EDC, another connector, both ways, and prints what went well.
//
//	make interop
//	INTEROP_ONLY='suspend' make interop
//	make interop-rate
//
// EDC's jars come through Maven into INTEROP_LIB, a folder for each release, pinned by version in tools/interop.mk and by bytes in the lists
// here. It needs a JDK of version 17 or newer. INTEROP_RECORD names a folder that the messages EDC sent are written to.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// releases of EDC, with the lists of their jars.
var releases = []string{"0.14.1", "0.15.1"}

//go:embed *.sha256
var sums embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	play := func() error { return run(ctx, os.Getenv("INTEROP_LIB"), os.Getenv("INTEROP_ONLY")) }
	if len(os.Args) > 1 && os.Args[1] == "rate" {
		play = func() error { return rates(ctx, filepath.Join(os.Getenv("INTEROP_LIB"), releases[0])) }
	}
	err := play()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

// row is a line of the table.
type row struct {
	direction, edc, scenario string
	took                     time.Duration
	err                      error
}

// ground is an EDC to trade with.
type ground struct {
	release    string
	postgreSQL bool
}

func (g ground) String() string {
	if g.postgreSQL {
		return g.release + " on PostgreSQL"
	}
	return g.release
}

var grounds = []ground{{releases[0], false}, {releases[0], true}, {releases[1], false}}

func run(ctx context.Context, lib, only string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	var rows []row
	for _, g := range grounds {
		got, err := trade(ctx, g, filepath.Join(lib, g.release), pattern)
		rows = append(rows, got...)
		if err != nil {
			return errors.Join(err, table(rows))
		}
	}
	return table(rows)
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
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d ms\n", r.direction, r.edc, r.scenario, verdict, r.took.Milliseconds())
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

// trade runs every scenario on one ground.
func trade(ctx context.Context, g ground, lib string, only *regexp.Regexp) (rows []row, err error) {
	if err := check(g.release, lib); err != nil {
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
	e := &edc{id: edcID, dir: dir, lib: lib, wait: 50, listener: listener.URL, topics: []string{
		"contract.negotiation.requested", "contract.negotiation.agreed", "contract.negotiation.verified", "transfer.process.requested"}}
	if g.postgreSQL {
		if err := check(g.release+stores, lib+stores); err != nil {
			return nil, err
		}
		if e.database, err = schema(ctx, "edc"); err != nil {
			return nil, err
		}
	}
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
	for _, part := range []struct {
		direction string
		scenarios []scenario
	}{{"we buy from EDC", buying}, {"EDC buys from us", selling}} {
		for _, s := range part.scenarios {
			if !only.MatchString(s.name) {
				continue
			}
			begin := time.Now()
			err := s.run(f, ctx)
			rows = append(rows, row{part.direction, g.String(), s.name, time.Since(begin), err})
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s, %s, %s: %v\n", part.direction, g, s.name, err)
			}
		}
	}
	return rows, f.us.stub.record(os.Getenv("INTEROP_RECORD"))
}

// check compares the jars with the pinned bytes: none changed, none missing, none too many.
func check(release, lib string) error {
	list := "jars-" + release + ".sha256"
	file, err := sums.Open(list)
	if err != nil {
		return err
	}
	defer file.Close()
	wanted := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok {
			return fmt.Errorf("%s: %q is no line of sha256sum", list, lines.Text())
		}
		wanted[name] = sum
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
		if name := filepath.Base(path); wanted[name] != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("%s is not the jar that %s names", name, list)
		}
	}
	if len(have) != len(wanted) {
		return fmt.Errorf("%d jars in %s, %s names %d", len(have), lib, list, len(wanted))
	}
	return nil
}

// free is a port that nobody listens at now. It lies below those that the system gives to connections, which would otherwise take it before
// the JVM does.
func free() (int, error) {
	var l net.Listener
	err := errors.New("no try")
	for range 100 {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))); err == nil {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
