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

// watch runs until the connection or ctx has ended.
func (s *session) watch(ctx context.Context) {
	tick := time.NewTicker(link.WatchInterval(s.options.AckTimeout))
	defer tick.Stop()
	answers := make(chan error, 1)
	asked := false
	for {
		select {
		case err := <-s.closes:
			s.noteEnd(err)
			return
		case <-ctx.Done():
			go s.awaitEnd() // end closes it
			return
		case b, ok := <-s.blocks:
			if !ok {
				s.blocks = nil
				continue
			}
			s.setBlocked(b)
		case err := <-answers:
			asked = false
			s.takeAnswer(err)
		case <-tick.C:
			if !asked && s.signs.takeDoubt() {
				asked = s.life.Start(func() { answers <- s.ask(ctx) })
			}
		}
	}
}

// takeAnswer gives up the connection if a question was not answered. If a block, or the
// end of the sink, cut the question short, that proves nothing, even if the block is
// over by now.
func (s *session) takeAnswer(err error) {
	if err == nil || errors.Is(err, errBlocked) || errors.Is(err, context.Canceled) || s.signs.whyBlocked() != nil {
		return
	}
	s.cut(fmt.Errorf("%w: %w", errUnresponsive, err))
}

// noteEnd notes why the library has given up the connection.
func (s *session) noteEnd(err *amqp.Error) {
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
	s.noteEnd(err)
}

// setBlocked notes that the broker takes no messages from publishers because of a
// memory or disk alarm, or that it takes them again. While it blocks, it does not read
// from this connection, so nothing is written. Messages that were written before may be
// confirmed later.
func (s *session) setBlocked(b amqp.Blocking) {
	if b.Active {
		err := fmt.Errorf("%w: %s: free memory or disk on the node, or raise its limit", errBlocked, b.Reason)
		s.socket.setPatient(true)
		s.signs.block(err)
		s.options.Logger.Warn("RabbitMQ has blocked publishing", slog.String("reason", b.Reason), slog.String("address", s.address.host))
	} else {
		s.signs.unblock()
		s.socket.setPatient(false)
		s.options.Logger.Info("RabbitMQ has unblocked publishing", slog.String("address", s.address.host))
	}
	s.sink.changed.tell()
}

// ask puts a question to the broker when a probe was not answered. If there is no answer
// either, the connection is given up.
func (s *session) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := s.request(ctx, ping); err != nil && !isAnswer(err) {
		return fmt.Errorf("it was asked for a sign of life: %w", err)
	}
	s.signs.hear(time.Now())
	return nil
}

// isAnswer returns whether the broker itself refused something. That is a sign of
// life.
func isAnswer(err error) bool {
	reply, ok := errors.AsType[*amqp.Error](err)
	return ok && reply.Server
}
