package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-connector/sluice/connector/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check settings, keys, store, certificates, clock, DID documents and credentials, and say what mends each fault",
		Long: `Doctor looks at everything that a connector needs, from inside and the way its peers do, says in a sentence what is wrong, and names the command or the
key of the settings that mends it. It changes nothing. Run it before the first start, and again while the connector runs, on the same machine: only
then can it see what peers are served.

  files      the data directory, the master key, certificates and their keys: names, chains, and how long they are good for
  store      whether it can be read, and its keys be opened; a store of an earlier version is left as it is
  address    whether others can come to public.host, and whether another program has taken a port
  clock      against those of issuers, and of partners with whom there are agreements
  identity   the DID documents as they are served, against the keys and addresses that the store knows
  trust      whether the issuers that are believed can be found, and sign
  wallet     credentials that are missing, have ended or soon will, were taken back, or are of issuers that the profile does not trust

Each line is "ok", a "warning" (it may be meant, or will be a fault), or a "fault". Exit code 7 when there is a fault; warnings alone do not count.`,
		Example: `  sluice doctor
  sluice doctor --config /etc/sluice/sluice.yaml --json | jq '.findings[] | select(.result == "fault")'`,
		Args: cobra.NoArgs,
	}
	path := a.configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return &exitError{code: exitWrong, err: err}
		}
		master, err := a.master()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		return a.diagnosed(doctor.Examine(ctx, doctor.Config{Settings: s, File: a.setting(*path, "SLUICE_CONFIG", ""), Master: master, Now: a.now, Rand: a.rand, Dial: a.dial}))
	}
	return c
}

func (a *app) diagnosed(findings []doctor.Finding) error {
	faults := 0
	colours := map[doctor.Result]string{doctor.OK: green, doctor.Warning: yellow, doctor.Fault: red}
	for _, f := range findings {
		if f.Result == doctor.Fault {
			faults++
		}
		if a.json {
			continue
		}
		fmt.Fprintf(a.stdout, "%s  %s: %s\n", a.paint(a.stdout, colours[f.Result], fmt.Sprintf("%-7s", f.Result)), printable(f.Check), printable(f.Detail))
		if f.Mend != "" {
			fmt.Fprintf(a.stdout, "%s  mend: %s\n", strings.Repeat(" ", 7), printable(f.Mend))
		}
	}
	if a.json {
		if err := a.value(map[string]any{"ok": faults == 0, "findings": findings}); err != nil {
			return err
		}
	}
	if faults > 0 {
		return &exitError{code: exitWrong, silent: true, err: fmt.Errorf("%d faults", faults)}
	}
	return nil
}
