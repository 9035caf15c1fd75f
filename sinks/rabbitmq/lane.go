package rabbitmq

import (
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// lane is a queue of messages and the goroutine that writes them, one after the other,
// to the lane's channel of the current connection. It outlives connections. It never
// waits inside the client library, which only fills the socket's buffer.
type lane struct {
	sink    *Sink
	number  int
	queue   *link.Queue[item]
	encoder encoder
}

// put hands a message to the lane, or reports it when the lane has ended.
func (l *lane) put(it item) {
	if !l.queue.Put(it) {
		it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	}
}

// run writes what is queued until the queue is closed.
func (l *lane) run() {
	l.queue.Run(func(items []item, _ bool) {
		for i := range items {
			l.publish(items[i])
			items[i] = item{} // the next one may wait for long, and this one is reported
		}
	})
}

// publish reports the message, or passes it on to the quarantine, or writes it and
// passes it on to the channel's follower.
func (l *lane) publish(it item) {
	s := l.sink
	for {
		next := s.changed.next() // before the look at what may change
		sess, err := s.link.Current()
		frame := defaultFrame
		if sess != nil {
			frame = sess.frame
		}
		if bad := validate(it.message, limits{payload: s.MaxMessageBytes(), frame: frame}); bad != nil {
			it.done(relay.RejectedOutcome(bad))
			return
		}
		switch {
		case s.closing.Load():
			it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
			return
		case sess == nil:
			it.reportNotTaken(relay.ErrorTypeDisconnected, err)
			return
		}
		if err := sess.obstacle(); err != nil {
			it.reportNotTaken(relay.ErrorTypeNotReady, err)
			return
		}
		if l.divert(it) {
			return
		}
		ch := sess.channel(l.number)
		if ch == nil {
			<-next // a channel is being opened, or the connection ends
			continue
		}
		if !l.awaitRoom(sess, ch, next) {
			continue
		}
		if l.write(sess, ch, &it) {
			return
		}
	}
}

// divert returns true if this lane must not write the message, and then passes it on
// or reports it.
func (l *lane) divert(it item) bool {
	s, topic := l.sink, it.message.Topic
	switch q := s.quarantine(); {
	case l != q && s.suspects.has(topic):
		q.put(it)
		return true
	case l == q && s.silent.has(topic, time.Now()):
		it.done(timedOut(topic)) // as it would be, after it had delayed the others
		return true
	}
	return false
}

// awaitRoom returns true if the channel takes a message now. If not, it waits for a
// change and returns false.
func (l *lane) awaitRoom(sess *session, ch *channel, next <-chan struct{}) bool {
	room := sess.socket.room.next()
	switch {
	case ch.full():
		select {
		case <-ch.room:
		case <-next:
		}
		return false
	case sess.socket.full():
		select {
		case <-room:
		case <-next:
		}
		return false
	}
	return true
}

// write returns false if the message was not written and still belongs to the lane.
func (l *lane) write(sess *session, ch *channel, it *item) bool {
	err := ch.publish(sess.options.Exchange, *it, l.encoder.encode(it.message))
	l.encoder.forget()
	switch {
	case err == nil:
		return true
	case errors.Is(err, errRetired):
		return false // the lane has no channel until the next one is open
	case errors.Is(err, errOver):
	default:
		// The broker may have all of it. If not, the message may be what ended the
		// connection, and must not be reported as one that was never tried.
		it.sent = true
		if !errors.Is(err, amqp.ErrClosed) {
			sess.cut(fmt.Errorf("write to the broker: %w", err))
		}
	}
	<-ch.done
	return false
}
