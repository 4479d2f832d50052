package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// restorer fills an empty store from a backup.
type restorer interface {
	Restore(ctx context.Context, r io.Reader, now time.Time) error
}

func (a *app) backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the store, while the connector runs or not",
		Long: `Backup writes the whole store of a settings file into FILE, from one moment. The same form serves both kinds of store. Keys are not in it: keep a copy
of the data directory's keys in a safer place than the backups. Stored checkpoints are not in it either, so that a restored log cannot hide
that it is older than what it once signed.`,
		Example: `  sluice backup --config sluice.yaml sluice-2026-03-01.backup`,
		Args:    cobra.ExactArgs(1),
	}
	path := a.configFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return err
		}
		st, err := a.openStore(cmd.Context(), s)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(args[0]); err == nil {
			return errors.Join(&exitError{code: exitConflict, err: fmt.Errorf("%s is there already; nothing was changed", args[0])}, st.Close())
		}
		err = writeWhole(args[0], func(w io.Writer) error { return st.Backup(cmd.Context(), w) })
		return errors.Join(err, st.Close())
	}
	return c
}

func (a *app) restoreCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Fill an empty store from a backup; the restore is declared in the store",
		Long: `Restore fills the empty store of a settings file from a backup of either kind of store, whole or not at all. It is declared in the store, so that the
check for roll-back tells a restore from a manipulation.`,
		Example: `  sluice restore --config sluice.yaml sluice-2026-03-01.backup`,
		Args:    cobra.ExactArgs(1),
	}
	path := a.configFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return err
		}
		file, err := os.Open(args[0])
		if err != nil {
			return usage("%w", err)
		}
		defer file.Close()
		st, err := a.openStore(cmd.Context(), s)
		if err != nil {
			return err
		}
		return errors.Join(st.Restore(cmd.Context(), file, a.now()), st.Close())
	}
	return c
}
