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

// While the broker is blocked it reads nothing, so what it was asked has the whole limit
// again from when the block is over.
func TestNoTimePassesWhileTheBrokerIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &session{
			sink: &Sink{changed: newNotice()}, options: Options{SinkOptions: link.SinkOptions{Logger: slog.New(slog.DiscardHandler)}},
			socket: deaf(t), signs: signs{began: time.Now()},
		}
		time.Sleep(time.Second)
		asked := time.Now()
		const limit = 10 * time.Second
		check := func(when string, want time.Time) {
			if got := s.signs.deadline(asked, limit); !got.Equal(want) {
				t.Errorf("%s: the limit is over after %v, want %v", when, got.Sub(asked), want.Sub(asked))
			}
		}
		check("at first", asked.Add(limit))
		time.Sleep(4 * time.Second)
		s.setBlocked(amqp.Blocking{Active: true, Reason: "low on memory"})
		time.Sleep(time.Minute)
		check("while it is blocked", time.Now().Add(limit))
		s.setBlocked(amqp.Blocking{})
		resumed := time.Now()
		time.Sleep(4 * time.Second)
		check("after that", resumed.Add(limit))
		asked = time.Now()
		check("of a later question", asked.Add(limit))
	})
}
