package main

import (
	"bufio"
	"crypto/rand"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluice-connector/sluice/certs"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sluice": main})
}

func TestTheCommandLine(t *testing.T) {
	t.Parallel()
	golden, err := filepath.Abs("../../connector/settings/testdata/default.golden")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("DEFAULTS", golden)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"serve": serveInBackground, "exits": exits, "edit": edit,
			"certificates": certificates, "port": port, "setfrom": setFromFile, "until": until,
			"members": members, "hostile": hostile},
	})
}

var managementAddress = regexp.MustCompile(`management=(\S+)`)

// serveInBackground starts "sluice serve" with its arguments, waits until it says that it serves, and points SLUICE_SERVER there.
// SERVER_PID is its process. It is interrupted at the end of the script, and must then end well.
func serveInBackground(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("serve cannot be negated")
	}
	cmd := exec.Command("sluice", append([]string{"serve"}, args...)...)
	path, err := exec.LookPath("sluice")
	ts.Check(err)
	cmd.Path, cmd.Dir = path, ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	var said strings.Builder
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if m := managementAddress.FindStringSubmatch(line); m != nil {
			ts.Setenv("SLUICE_SERVER", "http://"+m[1])
			ts.Setenv("SERVER_PID", strconv.Itoa(cmd.Process.Pid))
			break
		}
		if err != nil {
			_ = cmd.Wait()
			ts.Fatalf("serve ended before it served:\n%s", said.String())
		}
	}
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		rest, _ := io.ReadAll(lines)
		if err := cmd.Wait(); err != nil {
			ts.Logf("serve: %v\n%s%s", err, said.String(), rest)
		}
	})
}

// exits runs a program and checks its exit code: exits CODE PROGRAM ARGS…
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ProcessState.String()
		code = strings.TrimPrefix(code, "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("%s exits with %s, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// until runs a program again until it prints what is wanted: until REGEXP PROGRAM ARGS…
func until(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARGS…")
	}
	want := regexp.MustCompile(args[0])
	for range 500 {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s never prints %s", strings.Join(args[1:], " "), args[0])
}

// edit replaces text in a file: edit FILE OLD NEW
func edit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// certificates writes a development authority and a leaf for localhost into a directory: certificates DIR
func certificates(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: certificates DIR")
	}
	ca, err := certs.New(rand.Reader, time.Now)
	ts.Check(err)
	ts.Check(ca.Write(ts.MkAbs(args[0]), "localhost"))
}

// port finds a free port and puts it into a variable: port NAME
func port(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// setFromFile puts what matches a pattern's first group in a file into a variable: setfrom NAME FILE PATTERN
func setFromFile(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: setfrom NAME FILE PATTERN")
	}
	m := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[1]))
	if m == nil {
		ts.Fatalf("%s does not match %s", args[1], args[2])
	}
	ts.Setenv(args[0], m[1])
}
