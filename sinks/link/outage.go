package link

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outage logs the loss of a session once. While there is no session, it repeats that at
// growing intervals. Then it logs once that there is a session again. Sessions that end
// at once belong to one outage. One goroutine owns it.
type outage struct {
	broker string
	logger *slog.Logger
	since  time.Time // of the fault; zero before the first
	next   time.Time
	every  time.Duration
	// flapping: the last session ended at once, and its loss is the last line in the
	// log. The next session is logged only after it has lasted for pauseMax.
	flapping bool
}

const (
	repeatMin = 10 * time.Second
	repeatMax = 10 * time.Minute
)

// noteLost logs the end of a session; lived is how long it lasted.
func (o *outage) noteLost(err error, lived time.Duration) {
	now := time.Now()
	short := lived < pauseMax
	if short && o.flapping {
		o.logAgain(now, "sessions with "+o.broker+" end at once, retrying", err)
		return
	}
	if !short || o.since.IsZero() {
		o.since = now
	}
	o.flapping = short
	o.every = repeatMin
	o.next = now.Add(o.every)
	o.log(slog.LevelWarn, "connection to "+o.broker+" lost", slog.Any("error", err))
}

// noteFailed logs that no session could be made.
func (o *outage) noteFailed(err error) {
	now := time.Now()
	if o.since.IsZero() {
		o.since, o.next = now, now
	}
	o.logAgain(now, "cannot connect to "+o.broker+", retrying", err)
}

// logAgain logs that the outage goes on, unless it was logged a moment ago.
func (o *outage) logAgain(now time.Time, message string, err error) {
	if now.Before(o.next) {
		return
	}
	o.every = min(max(2*o.every, repeatMin), repeatMax)
	o.next = now.Add(o.every)
	o.log(slog.LevelWarn, message, slog.Any("error", err), slog.Duration("for", now.Sub(o.since).Round(time.Second)))
}

// noteMade logs that there is a session with this server: at once, or, while flapping,
// after it has lasted for pauseMax. When the session has ended, the caller calls ended,
// and then noteLost.
func (o *outage) noteMade(server []slog.Attr) (ended func()) {
	if !o.flapping {
		o.logMade(server)
		return func() {}
	}
	end := make(chan struct{})
	var lasting sync.WaitGroup
	lasting.Go(func() { // until ended, the caller calls no other method
		timer := time.NewTimer(pauseMax)
		defer timer.Stop()
		select {
		case <-timer.C:
			o.logMade(server)
		case <-end:
		}
	})
	return func() {
		close(end)
		lasting.Wait()
	}
}

// logMade logs that there is a session.
func (o *outage) logMade(server []slog.Attr) {
	if !o.since.IsZero() {
		server = append(server, slog.Duration("after", time.Since(o.since).Round(time.Millisecond)))
	}
	o.flapping = false
	o.log(slog.LevelInfo, "connected to "+o.broker, server...)
}

func (o *outage) log(level slog.Level, message string, attrs ...slog.Attr) {
	o.logger.LogAttrs(context.Background(), level, message, attrs...) //nolint:sloglint // the one part of the message that varies is the broker's name, which is constant for a process
}
