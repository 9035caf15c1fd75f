package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// watch runs while the connection lives, and returns when it has ended or ctx
// has.
func (s *session) watch(ctx context.Context) {
	tick := time.NewTicker(link.WatchInterval(s.options.AckTimeout))
	defer tick.Stop()
	answers := make(chan error, 1)
	asked := false
	for {
		select {
		case err := <-s.closes:
			s.ended(err)
			return
		case <-ctx.Done():
			go s.awaitEnd() // end closes it
			return
		case b, ok := <-s.blocks:
			if !ok {
				s.blocks = nil
				continue
			}
			s.block(b)
		case err := <-answers:
			asked = false
			s.answered(err)
		case <-tick.C:
			if !asked && s.doubted.Swap(false) {
				asked = s.life.Start(func() { answers <- s.ask(ctx) })
			}
		}
	}
}

// answered takes what came of a question. One that a block, or the end of the
// sink, cut short was not left unanswered, also where the block is over by now.
func (s *session) answered(err error) {
	if err == nil || errors.Is(err, errBlocked) || errors.Is(err, context.Canceled) || s.blocked.Load() != nil {
		return
	}
	s.cut(fmt.Errorf("%w: %w", errUnresponsive, err))
}

// ended notes why, once the library has given up the connection.
func (s *session) ended(err *amqp.Error) {
	socket := s.socket.cause()
	switch {
	case err != nil && err.Server:
		s.life.Fail(err)
	case socket != nil && !errors.Is(socket, net.ErrClosed):
		s.life.Fail(socket)
	case err != nil:
		s.life.Fail(err)
	}
	close(s.down)
}

func (s *session) awaitEnd() {
	err := <-s.closes
	s.life.Fail(errClosing)
	s.ended(err)
}

// block notes that the broker takes no messages from publishers, or does again:
// a memory or disk alarm. It has stopped reading from this connection, so nothing
// more is written; what was written may still be confirmed afterwards.
func (s *session) block(b amqp.Blocking) {
	if b.Active {
		err := fmt.Errorf("%w: %s: free memory or disk on the node, or raise its limit", errBlocked, b.Reason)
		s.socket.setPatient(true)
		s.blocked.Store(&err)
		s.options.Logger.Warn("RabbitMQ has blocked publishing", slog.String("reason", b.Reason), slog.String("address", s.address.host))
	} else {
		s.resumed.Store(int64(time.Since(s.began)))
		s.blocked.Store(nil)
		s.socket.setPatient(false)
		s.options.Logger.Info("RabbitMQ has unblocked publishing", slog.String("address", s.address.host))
	}
	s.sink.changed.tell()
}

// prove notes that a message was confirmed: that the broker works was seen after
// it was written.
func (s *session) prove(written time.Time) { raise(&s.proven, written.Sub(s.began)) }

// provedSince says whether the broker was seen to work after a message that was
// written then, and whose time was over at the deadline.
func (s *session) provedSince(written, deadline time.Time) bool {
	return s.proven.Load() > int64(written.Sub(s.began)) || s.seen.Load() > int64(deadline.Sub(s.began))
}

// deadline of what was asked of the broker then, such as a confirm. While it has
// blocked publishing, which means that it does not read, no time passes.
func (s *session) deadline(asked time.Time, limit time.Duration) time.Time {
	if s.blocked.Load() != nil {
		return time.Now().Add(limit)
	}
	if resumed := s.began.Add(time.Duration(s.resumed.Load())); resumed.After(asked) {
		asked = resumed
	}
	return asked.Add(limit)
}

// doubt asks for a sign of life.
func (s *session) doubt() { s.doubted.Store(true) }

// ask asks the broker something other than a publish, when a message is late or a
// probe was not answered. Where it does not answer this either, nothing tells a
// slow queue from a dead broker, and the connection is given up.
func (s *session) ask(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := s.request(ctx, ping); err != nil && !isAnswer(err) {
		return fmt.Errorf("it was asked for a sign of life: %w", err)
	}
	raise(&s.seen, began.Sub(s.began))
	return nil
}

// isAnswer says whether the broker itself refused something, which is a sign of
// life.
func isAnswer(err error) bool {
	reply, ok := errors.AsType[*amqp.Error](err)
	return ok && reply.Server
}
