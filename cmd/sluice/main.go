// Command sluice is the whole connector in one binary: it serves, and it is the client of what it serves.
package main

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], system{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		env:  os.Getenv,
		now:  time.Now,
		rand: rand.Reader,
		dial: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		hangups: func() (<-chan os.Signal, func()) {
			c := make(chan os.Signal, 1)
			signal.Notify(c, syscall.SIGHUP)
			return c, func() { signal.Stop(c) }
		},
	})
	stop()
	os.Exit(code)
}
