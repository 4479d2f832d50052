// Command pgtest runs a command beside a private PostgreSQL server and stops the server again.
//
//	go run ./tools/pgtest -- go test ./...
//
// The server lives in a temporary directory, listens on a free port of the loopback interface, and is handed over in
// SLUICE_TEST_POSTGRES. Debian's package is installed when it is missing (as root). Run by root, the server runs as nobody.
// When SLUICE_TEST_POSTGRES is set already, the command just runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const variable = "SLUICE_TEST_POSTGRES"

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	fsync := "off"
	if len(args) > 0 && args[0] == "--fsync" {
		fsync, args = "on", args[1:]
	}
	if len(args) < 2 || args[0] != "--" {
		return 2, errors.New("usage: pgtest [--fsync] -- command [argument …]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if os.Getenv(variable) != "" {
		return command(ctx, args[1:], os.Getenv(variable))
	}
	bin, err := binaries(ctx)
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	server := server{bin: bin, dir: dir, fsync: fsync}
	url, err := server.start(ctx)
	if err != nil {
		return 1, err
	}
	defer server.stop()
	return command(ctx, args[1:], url)
}

func command(ctx context.Context, args []string, url string) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), variable+"="+url)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// binaries finds the newest installed PostgreSQL server, installing Debian's when there is none.
func binaries(ctx context.Context) (string, error) {
	if bin := newest(); bin != "" {
		return bin, nil
	}
	if os.Geteuid() != 0 {
		return "", errors.New("no PostgreSQL server is installed; install the package postgresql, or run as root")
	}
	fmt.Fprintln(os.Stderr, "pgtest: installing postgresql")
	// Without this the package starts a server of its own on port 5432.
	if err := os.MkdirAll("/etc/postgresql-common", 0o755); err != nil {
		return "", err
	}
	conf := "/etc/postgresql-common/createcluster.conf"
	if _, err := os.Stat(conf); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(conf, []byte("create_main_cluster = false\n"), 0o644); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", "postgresql"}} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	if bin := newest(); bin != "" {
		return bin, nil
	}
	return "", errors.New("the package postgresql is installed, yet there is no initdb below /usr/lib/postgresql")
}

func newest() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	best, version := "", 0
	for _, path := range found {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		if n > version {
			best, version = filepath.Dir(path), n
		}
	}
	return best
}

type server struct {
	bin, dir, fsync string
	cmd             *exec.Cmd
}

// unprivileged makes the command run as nobody when we are root, which initdb refuses, and die with us.
func unprivileged(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
}

func (s *server) start(ctx context.Context) (string, error) {
	if err := os.Chmod(s.dir, 0o777); err != nil {
		return "", err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "-D", data, "-U", "sluice", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
	unprivileged(initdb)
	initdb.Dir = s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return "", err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-k", s.dir, "-c", "listen_addresses=127.0.0.1",
		"-c", "fsync="+s.fsync, "-c", "max_connections=400", "-c", "shared_buffers=128MB")
	unprivileged(s.cmd)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	if err := s.cmd.Start(); err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	url := fmt.Sprintf("postgres://sluice@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := s.ready(ctx, port); err != nil {
		s.stop()
		text, _ := os.ReadFile(log.Name())
		return "", fmt.Errorf("%w\n%s", err, text)
	}
	return url, nil
}

func (s *server) ready(ctx context.Context, port int) error {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		check := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port))
		if check.Run() == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("postgres did not become ready within 30 s")
}

// stop ends the server at once and waits for it; a clean-up worth waiting for there is not.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGQUIT)
	_ = s.cmd.Wait()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
