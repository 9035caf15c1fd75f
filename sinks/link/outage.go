package link

import (
	"context"
	"log/slog"
	"time"
)

// outage says once that the session is gone, then at growing intervals that it
// still is, and once that it is back. One goroutine owns it.
type outage struct {
	broker string
	log    *slog.Logger
	since  time.Time // of the fault; zero while connected
	next   time.Time
	every  time.Duration
}

const (
	repeatMin = 10 * time.Second
	repeatMax = 10 * time.Minute
)

func (o *outage) lost(err error) {
	o.since = time.Now()
	o.every = repeatMin
	o.next = o.since.Add(o.every)
	o.say(slog.LevelWarn, "connection to "+o.broker+" lost", slog.Any("error", err))
}

func (o *outage) failed(err error) {
	now := time.Now()
	switch {
	case o.since.IsZero():
		o.since, o.every = now, repeatMin
	case now.Before(o.next):
		return
	default:
		o.every = min(2*o.every, repeatMax)
	}
	o.next = now.Add(o.every)
	o.say(slog.LevelWarn, "cannot connect to "+o.broker+", trying on", slog.Any("error", err), slog.Duration("for", now.Sub(o.since).Round(time.Second)))
}

// over says that there is a session, of this server.
func (o *outage) over(server []slog.Attr) {
	if !o.since.IsZero() {
		server = append(server, slog.Duration("after", time.Since(o.since).Round(time.Millisecond)))
	}
	o.since = time.Time{}
	o.say(slog.LevelInfo, "connected to "+o.broker, server...)
}

func (o *outage) say(level slog.Level, message string, attrs ...slog.Attr) {
	o.log.LogAttrs(context.Background(), level, message, attrs...) //nolint:sloglint // of all that varies the message has the broker's name, which is constant for a process
}
