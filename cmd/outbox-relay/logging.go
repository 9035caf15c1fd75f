package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
)

// newLogger logs to w. Format auto is text for the eyes on a terminal and JSON
// for whatever reads a pipe or a file.
func newLogger(w io.Writer, level slog.Level, format config.LogFormat) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == config.LogText || format == config.LogAuto && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// isTerminal says whether w is a device that shows characters to somebody.
func isTerminal(w io.Writer) bool {
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	file, ok := w.(*os.File)
	return ok && isDevice(file)
}

// isTerminalInput says whether somebody can answer through r.
func isTerminalInput(r io.Reader) bool {
	file, ok := r.(*os.File)
	return ok && isDevice(file)
}

func isDevice(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
