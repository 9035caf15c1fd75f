package link

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outage says once that the session is gone, then at growing intervals that it
// still is, and once that it is back. Sessions that are lost at once are part of
// one outage. One goroutine owns it.
type outage struct {
	broker string
	log    *slog.Logger
	since  time.Time // of the fault; zero before the first
	next   time.Time
	every  time.Duration
	// flapping: the last session was lost at once, and the log's last word is that.
	// The next one has to last before it is spoken of.
	flapping bool
}

const (
	repeatMin = 10 * time.Second
	repeatMax = 10 * time.Minute
)

// lost notes the end of a session that lived for so long.
func (o *outage) lost(err error, lived time.Duration) {
	now := time.Now()
	short := lived < pauseMax
	if short && o.flapping {
		o.again(now, "sessions with "+o.broker+" are lost at once, trying on", err)
		return
	}
	if !short || o.since.IsZero() {
		o.since = now
	}
	o.flapping = short
	o.every = repeatMin
	o.next = now.Add(o.every)
	o.say(slog.LevelWarn, "connection to "+o.broker+" lost", slog.Any("error", err))
}

// failed notes that no session could be made.
func (o *outage) failed(err error) {
	now := time.Now()
	if o.since.IsZero() {
		o.since, o.next = now, now
	}
	o.again(now, "cannot connect to "+o.broker+", trying on", err)
}

// again says what goes on, unless it was said a moment ago.
func (o *outage) again(now time.Time, message string, err error) {
	if now.Before(o.next) {
		return
	}
	o.every = min(max(2*o.every, repeatMin), repeatMax)
	o.next = now.Add(o.every)
	o.say(slog.LevelWarn, message, slog.Any("error", err), slog.Duration("for", now.Sub(o.since).Round(time.Second)))
}

// made notes that there is a session, of this server. The caller calls ended when
// it has ended, before lost.
func (o *outage) made(server []slog.Attr) (ended func()) {
	if !o.flapping {
		o.over(server)
		return func() {}
	}
	end := make(chan struct{})
	var lasting sync.WaitGroup
	lasting.Go(func() { // the caller leaves the outage alone meanwhile
		timer := time.NewTimer(pauseMax)
		defer timer.Stop()
		select {
		case <-timer.C:
			o.over(server)
		case <-end:
		}
	})
	return func() {
		close(end)
		lasting.Wait()
	}
}

// over says that there is a session. Should that be lost at once, the outage goes
// on.
func (o *outage) over(server []slog.Attr) {
	if !o.since.IsZero() {
		server = append(server, slog.Duration("after", time.Since(o.since).Round(time.Millisecond)))
	}
	o.flapping = false
	o.say(slog.LevelInfo, "connected to "+o.broker, server...)
}

func (o *outage) say(level slog.Level, message string, attrs ...slog.Attr) {
	o.log.LogAttrs(context.Background(), level, message, attrs...) //nolint:sloglint // of all that varies the message has the broker's name, which is constant for a process
}
