package rabbitmq

import (
	"fmt"
	"time"
)

// channel is the channel of a writer, or nil while there is none.
func (s *session) channel(w *writer) *channel { return s.outlets[w.number].channel.Load() }

// follow reads the confirms and returns of an outlet, on one channel after the other. It
// returns when the connection has ended, or when another goroutine follows the next
// channel.
func (s *session) follow(o *outlet, ch *channel) {
	for ch != nil {
		f := newFollower(s, o, ch)
		left, cause := f.run()
		o.channel.CompareAndSwap(ch, nil)
		switch {
		case f.drained:
			s.closeDrained(ch)
		case s.conn.IsClosed():
			<-s.down
			f.noteStopped()
			s.reportLost(o.writer, left)
		default:
			s.settleClosedChannel(o.writer, ch, left, cause)
		}
		if f.retired {
			o.leaving.Store(false)
			return
		}
		ch = s.nextChannel(o)
	}
}

// replace gives the outlet another channel and a follower for it. The old channel is
// still followed to its end. If a queue never confirms, that takes until its messages
// are late. Nothing waits for it. While another old channel of it has not ended,
// replace does nothing and returns false, so there are two channels at most.
func (s *session) replace(o *outlet, ch *channel) bool {
	if !o.leaving.CompareAndSwap(false, true) {
		return false
	}
	o.channel.CompareAndSwap(ch, nil)
	ch.retire()
	s.followers.Go(func() { s.follow(o, s.nextChannel(o)) })
	return true
}

// nextChannel opens a channel for the outlet, or returns nil when the connection
// has ended.
func (s *session) nextChannel(o *outlet) *channel {
	var next *channel
	err := s.bounded("open a channel", openTimeout, func() (err error) {
		next, err = openChannel(s.conn, o.writer.window)
		return err
	})
	if err != nil {
		if !s.conn.IsClosed() {
			s.cut(fmt.Errorf("open channel: %w", err))
		}
		<-s.down
		next = nil
	}
	o.channel.Store(next)
	s.sink.changed.tell()
	return next
}

// closeDrained closes a channel that nobody writes to any more. A close between the
// frames of a message would end the connection.
func (s *session) closeDrained(ch *channel) {
	_ = s.bounded("close a channel", closeTimeout, ch.close) // it fails with the connection
}

const (
	openTimeout = 2 * connectTimeout
	// closeTimeout is longer than the broker waits for queues when it closes a
	// channel (channel_operation_timeout, 15 s).
	closeTimeout = 30 * time.Second
)

// bounded waits for a request, for which the library would wait for ever. If the broker
// takes longer than the limit, the connection is given up. That ends the request.
func (s *session) bounded(what string, limit time.Duration, request func() error) error {
	done := make(chan error, 1)
	go func() { done <- request() }()
	asked := time.Now()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case err := <-done:
			return err
		case now := <-timer.C:
			left := s.signs.deadline(asked, limit).Sub(now)
			if left <= 0 {
				s.cut(fmt.Errorf("%w: it was asked to %s %v ago", errUnresponsive, what, limit))
				return <-done
			}
			timer.Reset(left)
		}
	}
}
