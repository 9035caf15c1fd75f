package rabbitmq

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
		err:     fmt.Errorf("connect to RabbitMQ at %s: %w", as, errConnecting),
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

// keepConnected makes one connection after the other until ctx ends, with the
// nodes taking turns.
func (s *Sink) keepConnected(ctx context.Context) {
	log := linkLog{log: s.options.Logger}
	first := rand.IntN(len(s.addresses))
	for failures := 0; ctx.Err() == nil; {
		sess, err := s.connectOne(ctx, first)
		if err != nil {
			err = fmt.Errorf("connect to RabbitMQ at %s: %w", s.addresses, err)
			s.link.set(nil, err)
			s.changed.tell()
			log.failed(err)
			s.wait(ctx, pause(failures))
			failures++
			continue
		}
		connected := time.Now()
		s.limit.Store(0) // it may have been raised
		s.link.set(sess, nil)
		s.changed.tell()
		log.connected(sess)

		sess.watch(ctx)
		lost := sess.lost()
		if ctx.Err() != nil {
			lost = errClosing
		}
		s.link.set(nil, lost)
		s.changed.tell()
		sess.end()
		first = (first + 1) % len(s.addresses)
		if ctx.Err() == nil {
			log.lost(lost)
			// A connection that is made and ends at once is no success.
			if time.Since(connected) > pauseMax {
				failures = 0
				s.wait(ctx, rand.N(pauseMin))
			} else {
				s.wait(ctx, pause(failures))
				failures++
			}
		}
	}
	s.link.set(nil, errClosing)
	s.changed.tell()
}

// connectOne tries the nodes one after the other.
func (s *Sink) connectOne(ctx context.Context, first int) (*session, error) {
	var errs []error
	for i := range s.addresses {
		a := s.addresses[(first+i)%len(s.addresses)]
		sess, err := openSession(ctx, s, a)
		if err == nil {
			return sess, nil
		}
		errs = append(errs, mend(err, a))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
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
	l.log.Warn("connection to RabbitMQ lost", slog.Any("error", err))
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
	l.log.Warn("cannot connect to RabbitMQ, trying on", slog.Any("error", err), slog.Duration("for", now.Sub(l.since).Round(time.Second)))
}

func (l *linkLog) connected(s *session) {
	version, _ := s.conn.Properties["version"].(string)
	attrs := []any{slog.String("address", s.address.host), slog.String("version", version)}
	if !l.since.IsZero() {
		attrs = append(attrs, slog.Duration("after", time.Since(l.since).Round(time.Millisecond)))
	}
	l.since = time.Time{}
	l.log.Info("connected to RabbitMQ", attrs...)
	if err := s.fault.Load(); err != nil {
		l.log.Warn("connected to RabbitMQ, which takes no messages", slog.Any("error", *err))
	}
}
