package postgres

import (
	"context"
	"errors"
	"time"
)

// listener hears the notifications of one channel on a session that listens to no other.
// Anyone who may connect can send them, so they save a moment, and no more. When more
// than floodSize come at once, it does without them for floodPause: they come before the
// answers to the session's statements, and faster than it can read them.
type listener struct {
	channel string
	on      bool
	after   time.Time // does not listen before this
}

const (
	floodSize  = 100
	floodPause = 10 * time.Second
)

// await blocks until a notification comes or d has passed, and for rest at least. A
// notification that came since the last call counts. It says whether there was one. idle
// is a part of ctx: its end ends the wait, and the session is as good as before. An end of
// ctx in the middle of a statement would cost the session.
func (s *session) await(ctx, idle context.Context, l *listener, rest, d time.Duration) (bool, error) {
	if err := s.listen(ctx, l); err != nil {
		return false, err
	}
	wait, cancel := context.WithTimeout(idle, max(rest, d))
	defer cancel()
	resting, cancelRest := context.WithTimeout(idle, rest)
	defer cancelRest()
	for {
		until := wait
		if s.notified > 0 { // more notifications are read and counted, no more
			until = resting
		}
		err := s.pg.WaitForNotification(until)
		over := until.Err() != nil && errors.Is(err, context.DeadlineExceeded)
		switch {
		case idle.Err() != nil:
			return false, idle.Err()
		case err != nil && !over:
			return false, err
		case over, s.notified > 0 && resting.Err() != nil:
			return s.heard(ctx, l)
		}
	}
}

// heard says whether there were notifications, and resets their count. If there were
// too many, it stops listening for a while.
func (s *session) heard(ctx context.Context, l *listener) (bool, error) {
	n := s.notified
	s.notified = 0
	if n <= floodSize {
		return n > 0, nil
	}
	l.after = time.Now().Add(floodPause)
	return true, s.unlisten(ctx, l)
}

func (s *session) listen(ctx context.Context, l *listener) error {
	if l.on || time.Now().Before(l.after) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	if _, err := s.conn.Exec(ctx, "LISTEN "+l.channel); err != nil {
		return s.explain("listen for notifications", err)
	}
	l.on = true
	return nil
}

func (s *session) unlisten(ctx context.Context, l *listener) error {
	if !l.on {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	if _, err := s.conn.Exec(ctx, "UNLISTEN *"); err != nil {
		return s.explain("listen no more", err)
	}
	l.on, s.notified = false, 0 // some came before the answer
	return nil
}

// wakeRest is the shortest time between two wakes. More than those are one.
const wakeRest = 100 * time.Millisecond

// AwaitWake blocks until somebody says that rows are due of which the log does not tell,
// such as replayed ones, or a while has passed.
func (s *readSession) AwaitWake(ctx, idle context.Context) (bool, error) {
	if s.pg.IsClosed() {
		return false, errClosed
	}
	woken, err := s.await(ctx, idle, &s.wake, time.Until(s.rested), floodPause)
	switch {
	case err == nil && woken:
		s.rested = time.Now().Add(wakeRest)
	case err != nil && idle.Err() == nil:
		err = s.explain("wait for a replay", err)
	}
	return woken, err
}
