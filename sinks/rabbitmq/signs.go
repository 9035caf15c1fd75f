package rabbitmq

import (
	"sync/atomic"
	"time"
)

// signs are what the broker has shown of its life on a connection. While it blocks, it
// reads nothing, so no time counts. Any goroutine may use them.
//
// Times are kept as durations since began, and 0 is never, so that a step of the wall
// clock does not change them.
type signs struct {
	began   time.Time
	heard   atomic.Int64          // when the broker last answered something
	resumed atomic.Int64          // when it last unblocked
	blocked atomic.Pointer[error] // why it blocks; nil while it does not
	doubted atomic.Bool           // an answer is overdue: ask the broker
}

// hear notes that the broker has answered something.
func (s *signs) hear(now time.Time) { raise(&s.heard, now.Sub(s.began)) }

func (s *signs) lastHeard() time.Time { return s.began.Add(time.Duration(s.heard.Load())) }

// block notes why the broker takes nothing.
func (s *signs) block(err error) { s.blocked.Store(&err) }

// unblock notes that the broker reads again from now on.
func (s *signs) unblock() {
	s.resumed.Store(int64(time.Since(s.began)))
	s.blocked.Store(nil)
}

func (s *signs) lastResumed() time.Time { return s.began.Add(time.Duration(s.resumed.Load())) }

// whyBlocked returns why the broker blocks, or nil.
func (s *signs) whyBlocked() error {
	if err := s.blocked.Load(); err != nil {
		return *err
	}
	return nil
}

// deadline returns when the limit is over for something that the broker was asked for
// then, such as a confirm.
func (s *signs) deadline(asked time.Time, limit time.Duration) time.Time {
	if s.blocked.Load() != nil {
		return time.Now().Add(limit)
	}
	if resumed := s.lastResumed(); resumed.After(asked) {
		asked = resumed
	}
	return asked.Add(limit)
}

// doubt has the broker asked for a sign of life.
func (s *signs) doubt() { s.doubted.Store(true) }

// takeDoubt returns whether the broker has to be asked now.
func (s *signs) takeDoubt() bool { return s.doubted.Swap(false) }

// raise sets a time, unless that is already later.
func raise(to *atomic.Int64, d time.Duration) {
	n := int64(d)
	for {
		old := to.Load()
		if old >= n || to.CompareAndSwap(old, n) {
			return
		}
	}
}
