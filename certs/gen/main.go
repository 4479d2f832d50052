// Command gen makes a development authority and a certificate for this machine: ca.pem, tls.pem and tls.key. Never for production.
//
//	go run ./certs/gen tls
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/sluice-connector/sluice/certs"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./certs/gen DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := certs.New(rand.Reader, time.Now)
	if err != nil {
		return err
	}
	return ca.Write(dir, "localhost", "127.0.0.1")
}
