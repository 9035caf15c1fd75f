package rabbitmq

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// An alarm comes while the broker is being asked, or an earlier question is, and
// is over before what came of it is looked at.
func TestQuestionThatABlockCutShortEndsNoConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &session{
			sink: &Sink{changed: newNotice()}, options: Options{SinkOptions: link.SinkOptions{Logger: slog.New(slog.DiscardHandler)}},
			life: newLife(address{}), socket: deaf(t), asking: make(chan struct{}, 1), down: make(chan struct{}),
		}
		s.asking <- struct{}{} // and is not answered
		answers := make(chan error, 1)
		ask := func() { go func() { answers <- s.ask(context.WithoutCancel(t.Context())) }() }
		ask()
		time.Sleep(connectTimeout - time.Millisecond)
		s.setBlocked(amqp.Blocking{Active: true, Reason: "low on memory"})
		synctest.Wait()
		s.setBlocked(amqp.Blocking{})
		s.takeAnswer(<-answers)
		if err := s.socket.cause(); err != nil {
			t.Errorf("the connection is given up: %v", err)
		}
		ask()
		s.takeAnswer(<-answers)
		if err := s.socket.cause(); !errors.Is(err, errUnresponsive) {
			t.Errorf("a broker that was not blocked and did not answer: the connection ends with %v", err)
		}
	})
}
