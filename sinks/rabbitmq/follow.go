package rabbitmq

import (
	"fmt"
	"time"
)

// channel is the channel of a lane, or nil while there is none.
func (s *session) channel(lane int) *channel { return s.slots[lane].Load() }

// follow reads the confirms and returns for a lane, on one channel after the other. It
// returns when the connection has ended, or when another goroutine follows the lane's
// next channel.
func (s *session) follow(lane int, ch *channel) {
	for ch != nil {
		f := newFollower(s, s.lanes[lane], ch)
		left, cause := f.run()
		s.slots[lane].CompareAndSwap(ch, nil)
		switch {
		case f.drained:
			s.closeDrained(ch)
		case s.conn.IsClosed():
			<-s.down
			f.noteStopped()
			s.reportLost(f.lane, left)
		default:
			s.settleClosedChannel(f.lane, ch, left, cause)
		}
		if f.retired {
			s.leaving[lane].Store(false)
			return
		}
		ch = s.nextChannel(lane)
	}
}

// replace gives the lane another channel and a follower for it. The old channel is
// still followed to its end. If a queue never confirms, that takes until its messages
// are late. Nothing waits for it. While another old channel of the lane has not ended,
// replace does nothing and returns false, so a lane has two channels at most.
func (s *session) replace(lane int, ch *channel) bool {
	if !s.leaving[lane].CompareAndSwap(false, true) {
		return false
	}
	s.slots[lane].CompareAndSwap(ch, nil)
	ch.retire()
	s.followers.Go(func() { s.follow(lane, s.nextChannel(lane)) })
	return true
}

// nextChannel opens a channel for the lane, or returns nil when the connection
// has ended.
func (s *session) nextChannel(lane int) *channel {
	var next *channel
	err := s.bounded("open a channel", openTimeout, func() (err error) {
		next, err = openChannel(s.conn, s.lanes[lane].window)
		return err
	})
	if err != nil {
		if !s.conn.IsClosed() {
			s.cut(fmt.Errorf("open channel: %w", err))
		}
		<-s.down
		next = nil
	}
	s.slots[lane].Store(next)
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
			left := s.deadline(asked, limit).Sub(now)
			if left <= 0 {
				s.cut(fmt.Errorf("%w: it was asked to %s %v ago", errUnresponsive, what, limit))
				return <-done
			}
			timer.Reset(left)
		}
	}
}
