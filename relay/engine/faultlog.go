package engine

import (
	"context"
	"log/slog"
	"time"
)

// faultLog logs a fault once, then at growing intervals that it still lasts, and at its
// end how long it took. One goroutine owns it.
type faultLog struct {
	log    *slog.Logger
	faults map[string]*fault
}

type fault struct {
	since time.Time
	next  time.Time
	every time.Duration
	last  time.Time // when it was seen last
	seen  int       // times since the last line in the log
}

// The first repetition is logged after faultRepeatMin, the later ones at
// doubling intervals up to faultRepeatMax.
const (
	faultRepeatMin = 10 * time.Second
	faultRepeatMax = 10 * time.Minute
	// faultForgotten: a fault that comes back after so long counts as a new one. The
	// end of some faults cannot be noticed.
	faultForgotten = 5 * time.Minute
)

func newFaultLog(log *slog.Logger) *faultLog {
	return &faultLog{log: log, faults: make(map[string]*fault)}
}

// report notes one occurrence of the fault of that name. The log message is the fault's
// name, so that people can search for it.
func (l *faultLog) report(name string, attrs ...slog.Attr) {
	now := time.Now()
	f := l.faults[name]
	if f != nil && now.Sub(f.last) > faultForgotten {
		f = nil
	}
	switch {
	case f == nil:
		f = &fault{since: now, every: faultRepeatMin}
		l.faults[name] = f
	case now.Before(f.next):
		f.seen++
		f.last = now
		return
	default:
		attrs = append(attrs, slog.Duration("for", now.Sub(f.since).Round(time.Second)), slog.Int("times", f.seen+1))
		f.every = min(2*f.every, faultRepeatMax)
	}
	f.seen, f.last, f.next = 0, now, now.Add(f.every)
	l.log.LogAttrs(context.Background(), slog.LevelWarn, name, attrs...) //nolint:sloglint // names are constants of the callers
}

// recovered ends the fault, if there is one.
func (l *faultLog) recovered(name string) {
	f := l.faults[name]
	if f == nil {
		return
	}
	delete(l.faults, name)
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "recovered",
		slog.String("fault", name), slog.Duration("after", time.Since(f.since).Round(time.Millisecond)))
}
