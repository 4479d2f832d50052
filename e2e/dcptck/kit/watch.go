package main

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// watch counts the errors that pass through a log.
type watch struct {
	slog.Handler
	errors atomic.Int64
}

func (w *watch) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError || w.Handler.Enabled(ctx, l)
}

func (w *watch) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		w.errors.Add(1)
	}
	return w.Handler.Handle(ctx, r)
}

func (w *watch) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &child{Handler: w.Handler.WithAttrs(attrs), of: w}
}

func (w *watch) WithGroup(name string) slog.Handler {
	return &child{Handler: w.Handler.WithGroup(name), of: w}
}

// child counts for the watch that it comes from.
type child struct {
	slog.Handler
	of *watch
}

func (c *child) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		c.of.errors.Add(1)
	}
	return c.Handler.Handle(ctx, r)
}

func (c *child) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &child{Handler: c.Handler.WithAttrs(attrs), of: c.of}
}

func (c *child) WithGroup(name string) slog.Handler {
	return &child{Handler: c.Handler.WithGroup(name), of: c.of}
}
