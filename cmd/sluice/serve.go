package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sluice-connector/sluice/connector"
	"github.com/sluice-connector/sluice/connector/settings"
)

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the connector",
		Long: `Serve runs the connector of a settings file until it is interrupted. It then stops taking calls, finishes what is under way, and leaves the
rest in its store: whatever was acknowledged goes on after the next start.`,
		Example: `  sluice serve
  sluice serve --config /etc/sluice/sluice.yaml`,
		Args: cobra.NoArgs,
	}
	path := a.configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := a.settingsFrom(*path)
		if err != nil {
			return err
		}
		return a.serve(cmd.Context(), s)
	}
	return c
}

func (a *app) serve(ctx context.Context, s settings.Settings) error {
	if a.env("GOGC") == "" {
		debug.SetGCPercent(connector.GCPercent)
	}
	master, err := a.master()
	if err != nil {
		return err
	}
	c, err := connector.New(ctx, connector.Config{Settings: s, Master: master, Now: a.now, Rand: a.rand, Log: a.logger(s.Log)})
	if err != nil {
		return err
	}
	return errors.Join(c.Run(ctx), c.Close())
}

// logger writes the process's own log to standard error.
func (a *app) logger(l settings.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // settings were validated
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.stderr, options))
}
