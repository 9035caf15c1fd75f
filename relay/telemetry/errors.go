package telemetry

import (
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
)

// errorEvery is how often a failing exporter is told.
const errorEvery = time.Minute

// LogErrors has the process's OpenTelemetry SDK tell its errors to this log, at most one
// a minute. The SDK knows only one handler for the whole process.
func LogErrors(log *slog.Logger) { otel.SetErrorHandler(&errorLog{log: log}) }

type errorLog struct {
	log *slog.Logger

	mu      sync.Mutex
	next    time.Time
	unheard int
}

// Handle implements [otel.ErrorHandler].
func (l *errorLog) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Before(l.next) {
		l.unheard++
		return
	}
	l.log.Warn("spans or metrics are dropped: see the OTEL_* variables; delivery goes on",
		slog.Any("error", err), slog.Int("more_since_last", l.unheard))
	l.next, l.unheard = time.Now().Add(errorEvery), 0
}
