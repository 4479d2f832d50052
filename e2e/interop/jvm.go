package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-connector/sluice/e2e/kits"
)

// jvm is a runtime of EDC: its ports by the names of their contexts, its jars, and what an operator brings along.
type jvm struct {
	dir   string // of its settings, its log and what was brought along
	ports map[string]int
	jars  []string // class path
	cmd   *exec.Cmd
	ended chan struct{}
}

// open finds a port for each context.
func (j *jvm) open(contexts ...string) error {
	j.ports = map[string]int{}
	for _, name := range contexts {
		port, err := kits.Free()
		if err != nil {
			return err
		}
		j.ports[name] = port
	}
	return nil
}

func (j *jvm) url(context, path string) string {
	return fmt.Sprintf("http://localhost:%d%s", j.ports[context], path)
}

// bring compiles extensions by their class names and writes the settings. The runtime is started by run.
func (j *jvm) bring(ctx context.Context, settings string, extensions map[string][]byte) error {
	services := filepath.Join(j.dir, "ext", "META-INF", "services")
	if err := os.MkdirAll(services, 0o700); err != nil {
		return err
	}
	files := map[string][]byte{"edc.properties": []byte(settings)}
	var names, sources []string
	for name, source := range extensions {
		files[name+".java"] = source
		names, sources = append(names, name), append(sources, filepath.Join(j.dir, name+".java"))
	}
	files["ext/META-INF/services/org.eclipse.edc.spi.system.ServiceExtension"] = []byte(strings.Join(names, "\n") + "\n")
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(j.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	args := append([]string{"-proc:none", "-cp", j.classes(), "-d", filepath.Join(j.dir, "ext")}, sources...)
	if out, err := exec.CommandContext(ctx, "javac", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("javac: %w\n%s", err, out)
	}
	return nil
}

// classes is the class path: the jars, and what we bring along.
func (j *jvm) classes() string {
	return strings.Join(append(j.jars[:len(j.jars):len(j.jars)], filepath.Join(j.dir, "ext")), string(os.PathListSeparator))
}

// start runs the JVM and waits until it says that it is ready. It dies with this process.
func (j *jvm) start(ctx context.Context) error {
	out, err := os.OpenFile(filepath.Join(j.dir, "edc.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	begin, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	j.cmd = exec.CommandContext(ctx, "java", "-Xmx512m", "-XX:+UseSerialGC", "-Dedc.fs.config="+filepath.Join(j.dir, "edc.properties"),
		"-cp", j.classes(), "org.eclipse.edc.boot.system.runtime.BaseRuntime", "--log-level=debug")
	j.cmd.Stdout, j.cmd.Stderr = out, out
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := j.cmd.Start(); err != nil {
		return err
	}
	j.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(j.cmd, j.ended)
	return within(ctx, 3*time.Minute, 10*time.Millisecond, "EDC is up", func() (bool, error) {
		said, err := os.ReadFile(out.Name())
		if err != nil {
			return false, err
		}
		select {
		case <-j.ended:
			return false, fmt.Errorf("EDC ended:\n%s", said[max(0, len(said)-4096):])
		default:
			// Its own word in its log. Its health checks are no help: asked while it starts, it can lose one of them, and other addresses, for good.
			return ready.Match(said[min(int(begin), len(said)):]), nil
		}
	})
}

// ready is what EDC says when all of its parts have started.
var ready = regexp.MustCompile(`Runtime \S+ ready`)

// stop kills the JVM: what it kept in memory is gone.
func (j *jvm) stop() {
	if j.cmd == nil {
		return
	}
	_ = j.cmd.Process.Kill()
	<-j.ended
	j.cmd = nil
}

// listening are the settings of its ports, each context below its name.
func (j *jvm) listening() string {
	var b strings.Builder
	for name, port := range j.ports {
		if name == "default" {
			fmt.Fprintf(&b, "web.http.port=%d\nweb.http.path=/api\n", port)
			continue
		}
		path := "/" + name
		if name == "did" { // DIDs hold no path of ours
			path = "/"
		}
		fmt.Fprintf(&b, "web.http.%s.port=%d\nweb.http.%s.path=%s\n", name, port, name, path)
	}
	return b.String()
}
