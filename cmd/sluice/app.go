package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The exit codes. Scripts rely on them; "sluice help exit-codes" explains them.
const (
	exitOK       = 0
	exitFailed   = 1 // something did not work: the reason is on standard error
	exitUsage    = 2 // wrong arguments, flags or input
	exitNotFound = 3 // no such thing, or it is not yours to see
	exitRefused  = 4 // a policy said no
	exitDenied   = 5 // the token is not accepted, or its role is not sufficient
	exitConflict = 6 // it has changed meanwhile, or is in a state that does not allow this
	exitWrong    = 7 // checked and found wrong: a damaged log, faults in a file, a failed doctor
)

// system is everything a command may touch of the world.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	now            func() time.Time
	rand           io.Reader
	dial           func(ctx context.Context, network, address string) (net.Conn, error)
}

// app is one run of the program.
type app struct {
	system
	json        bool
	server      string
	tokenFile   string
	roots       string
	participant string
	key         string // idempotency key
}

// exitError carries an exit code. silent means that everything was said already.
type exitError struct {
	code   int
	silent bool
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// run is the program but for the process around it.
func run(ctx context.Context, args []string, s system) int {
	a := &app{system: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.stdin)
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{code: exitFailed, err: err}
	}
	if !e.silent {
		a.complain(e.err)
	}
	return e.code
}

// commands lists what the program can do, in the order of the help.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.demoCommand(), a.initCommand(), a.serveCommand(), a.doctorCommand(), a.configCommand(),
		a.publishCommand(), a.catalogCommand(), a.negotiateCommand(), a.pullCommand(),
		a.negotiationsCommand(), a.agreementsCommand(), a.transfersCommand(), a.assetsCommand(),
		a.logCommand(), a.backupCommand(), a.restoreCommand(),
		a.participantsCommand(), a.tokensCommand(), a.credentialsCommand(), a.keysCommand(), a.issuerCommand(), a.eventsCommand(),
		a.versionCommand(), exitCodesTopic(),
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "A dataspace connector: offer data under contracts, get data under contracts, prove both",
		Long: `Sluice publishes data of a company in a dataspace, negotiates contracts with peers whose identity it verifies, lets a policy
decide before anything is shown, agreed or sent, and keeps a log of every decision that anyone can check offline.

Commands that talk to a running connector find it by --server (or SLUICE_SERVER), show it the token in SLUICE_TOKEN or in the
file --token-file (or SLUICE_TOKEN_FILE), and act for --participant (or SLUICE_PARTICIPANT), which may be left out when there
is only one. No token is ever given on the command line.`,
		Example: `  sluice init --host connector.aurora.example --participant aurora --name "Aurora Motors"
  sluice serve
  sluice publish footprints.xlsx
  sluice pull did:web:boreal.example:boreal urn:sluice:asset:C-1 -o footprint.json`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w\nSee '%s --help'", err, cmd.CommandPath())
	})
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON for programs")
	for _, c := range a.commands() {
		root.AddCommand(c)
	}
	guard(root)
	return root
}

// guard makes wrong arguments a matter of use, for every command.
func guard(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage("%w\nSee '%s --help'", err, cmd.CommandPath())
			}
			return nil
		}
	}
	c.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := cmd.ValidateRequiredFlags(); err != nil {
			return usage("%w\nSee '%s --help'", err, cmd.CommandPath())
		}
		return nil
	}
	for _, sub := range c.Commands() {
		guard(sub)
	}
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(subs...)
	return c
}

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: strings.TrimSpace(`
The exit codes:

  0  done
  1  something did not work; the reason is on standard error
  2  wrong arguments, flags or input
  3  no such thing, or it is not yours to see
  4  a policy said no; the reasons are on standard error
  5  the token is not accepted, or its role is not sufficient
  6  it has changed meanwhile, or its state does not allow this
  7  checked and found wrong: a damaged log, faults in a file, a failed check of the doctor`)}
}
