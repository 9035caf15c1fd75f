package engine

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What the loop does for the copier.

// copies is nil while no copy may be published: the broker takes nothing, the rate is used
// up, or a message that may end the connection is alone with it, or waits to be.
func (t *term) copies(now time.Time) <-chan *relay.Message {
	if t.idle() || t.dispatcher.alone || !t.throttle.lets(now) {
		return nil
	}
	if m := t.dispatcher.front(); m != nil && t.suspects.has(m.Ref) {
		return nil
	}
	return t.copier.offers
}

// copyInTurn publishes the copy that waits, if there is one and it may go, and says
// whether it did. Copies and rows take turns, or a backlog would use up the rate.
func (t *term) copyInTurn(now time.Time) bool {
	select {
	case m := <-t.copies(now):
		t.publishCopy(m, now)
		return true
	default:
		return false
	}
}

// publishCopy publishes outside of the window, for which the sink has a place more. What
// waits until no copy is with the sink is looked at once it is reported.
func (t *term) publishCopy(m *relay.Message, now time.Time) {
	c := t.copier
	c.hasTurn = false
	c.out.Store(true)
	t.throttle.went(now)
	t.withSink.Add(1)
	t.config.Sink.Publish(m, func(_ *relay.Message, o relay.Outcome) {
		c.out.Store(false)
		c.outcomes <- o
		t.withSink.Add(-1)
		select {
		case c.over <- struct{}{}:
		default:
		}
	})
}

// tellCopies logs that copies fail.
func (t *term) tellCopies() {
	told := t.copier.told.Load()
	switch {
	case told == nil:
	case *told == nil:
		t.faults.recovered(faultCopies)
	default:
		t.faults.report(faultCopies, slog.Any("error", *told))
	}
}
