package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// link is the present connection, or why there is none.
type link struct {
	nudge chan struct{} // has room for one: do not wait, connect now

	mu      sync.Mutex
	session *session
	err     error         // why there is no session; nil while there is one
	changed chan struct{} // closed and replaced at each attempt's end
}

var errConnecting = errors.New("not connected yet")

func newLink(as addresses) *link {
	return &link{
		nudge:   make(chan struct{}, 1),
		changed: make(chan struct{}),
		err:     fmt.Errorf("connect to NATS at %s: %w", as, errConnecting),
	}
}

func (l *link) set(s *session, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.err = s, err
	close(l.changed)
	l.changed = make(chan struct{})
}

// current returns a session, or why there is none.
func (l *link) current() (*session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.err
}

// await returns the session, or has a connection attempted at once and returns
// what came of that.
func (l *link) await(ctx context.Context) (*session, error) {
	l.mu.Lock()
	s, err, changed := l.session, l.err, l.changed
	l.mu.Unlock()
	if s != nil {
		return s, nil
	}
	select {
	case l.nudge <- struct{}{}:
	default:
	}
	select {
	case <-changed:
		return l.current()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w; last: %w", ctx.Err(), err)
	}
}

// Pauses between attempts to connect double from the first to the second, with
// jitter, so that many relays do not come back in one moment.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 5 * time.Second
)

func pause(failures int) time.Duration {
	d := pauseMax
	if failures < 6 {
		d = min(pauseMax, pauseMin<<failures)
	}
	return d/2 + rand.N(d/2)
}

// keepConnected makes one connection after the other until ctx ends.
func (s *Sink) keepConnected(ctx context.Context) {
	log := linkLog{log: s.options.Logger}
	var discovered []string
	for failures := 0; ctx.Err() == nil; {
		sess, err := openSession(ctx, s.options, s.addresses.urls(discovered), s.requeue)
		if err != nil {
			err = fmt.Errorf("connect to NATS at %s: %w", s.addresses, mend(err))
			s.link.set(nil, err)
			log.failed(err)
			s.wait(ctx, pause(failures))
			failures++
			continue
		}
		failures = 0
		s.limit.Store(sess.conn.MaxPayload())
		s.link.set(sess, nil)
		log.connected(sess.conn.ConnectedAddr(), sess.conn.ConnectedServerName(), sess.conn.ConnectedServerVersion())

		sess.watch(ctx)
		discovered = sess.conn.DiscoveredServers()
		lost := sess.lost()
		s.link.set(nil, lost)
		sess.end()
		if ctx.Err() == nil {
			log.lost(lost)
			s.wait(ctx, rand.N(pauseMin))
		}
	}
	s.link.set(nil, errClosing)
}

// wait returns after d, when somebody asks for a connection, or when ctx ends.
func (s *Sink) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.link.nudge:
	case <-ctx.Done():
	}
}

// linkLog says once that the connection is gone, then at growing intervals that
// it still is, and once that it is back. One goroutine owns it.
type linkLog struct {
	log   *slog.Logger
	since time.Time // of the fault; zero while connected
	next  time.Time
	every time.Duration
}

const (
	repeatMin = 10 * time.Second
	repeatMax = 10 * time.Minute
)

func (l *linkLog) lost(err error) {
	l.since = time.Now()
	l.every = repeatMin
	l.next = l.since.Add(l.every)
	l.log.Warn("connection to NATS lost", slog.Any("error", err))
}

func (l *linkLog) failed(err error) {
	now := time.Now()
	switch {
	case l.since.IsZero():
		l.since, l.every = now, repeatMin
	case now.Before(l.next):
		return
	default:
		l.every = min(2*l.every, repeatMax)
	}
	l.next = now.Add(l.every)
	l.log.Warn("cannot connect to NATS, trying on", slog.Any("error", err), slog.Duration("for", now.Sub(l.since).Round(time.Second)))
}

func (l *linkLog) connected(address, name, version string) {
	attrs := []any{slog.String("address", address), slog.String("server", name), slog.String("version", version)}
	if !l.since.IsZero() {
		attrs = append(attrs, slog.Duration("after", time.Since(l.since).Round(time.Millisecond)))
	}
	l.since = time.Time{}
	l.log.Info("connected to NATS", attrs...)
}
