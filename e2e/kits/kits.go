// Package kits is what foreign software in a JVM needs beside us: jars compared with pinned sums, a free port, a schema in PostgreSQL. It runs
// public conformance kits, unmodified, and believes their summary alone.
package kits

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Check compares the jars in lib with sums, the output of sha256sum: none changed, none missing, none too many.
func Check(lib string, sums []byte) error {
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

// Run is one start of a kit.
type Run struct {
	Lib        string            // directory of its jars
	Launcher   []byte            // source of Kit.java, which starts it
	Properties map[string]string // its settings
	Args       []string          // for the launcher, after the file of settings
	Dir        string            // where both are written
	Want       int               // cases that must pass; 0: any number, when only some are asked for
}

// Play runs the kit and believes its summary: all wanted cases passed, none failed. It returns how many the kit says passed.
func (r Run) Play(ctx context.Context) (passed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	var settings strings.Builder
	for name, value := range r.Properties {
		fmt.Fprintf(&settings, "%s=%s\n", name, strings.ReplaceAll(value, ":", `\:`))
	}
	file, java := filepath.Join(r.Dir, "tck.properties"), filepath.Join(r.Dir, "Kit.java")
	if err := errors.Join(os.WriteFile(file, []byte(settings.String()), 0o600), os.WriteFile(java, r.Launcher, 0o600)); err != nil {
		return 0, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "java", append([]string{"-cp", filepath.Join(r.Lib, "*"), java, file}, r.Args...)...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	err = cmd.Run()
	summary := regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed$`).FindStringSubmatch(out.String())
	if summary == nil {
		return 0, errors.Join(err, errors.New("the kit printed no summary"))
	}
	if passed, _ = strconv.Atoi(summary[1]); err == nil && r.Want > 0 && passed != r.Want {
		err = fmt.Errorf("%d cases passed, want all %d", passed, r.Want)
	} else if err != nil {
		err = fmt.Errorf("the kit ended with: %w", err)
	}
	return passed, err
}

// Free is a port of this machine that nobody listens at now. It lies below those that the system gives to connections, which would otherwise
// take it before a JVM does.
func Free() (int, error) {
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

// Schema makes an empty schema in the server of SLUICE_TEST_POSTGRES and returns the URL of a store in it.
func Schema(ctx context.Context, name string) (*url.URL, error) {
	server := os.Getenv("SLUICE_TEST_POSTGRES")
	if server == "" {
		return nil, errors.New("SLUICE_TEST_POSTGRES is not set; run this with make")
	}
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
		return nil, err
	}
	return url.Parse(server + "&search_path=" + name)
}
