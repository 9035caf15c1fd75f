package rabbitmq

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// lane is a queue of messages and the goroutine that writes them, one after the other,
// to the lane's channel of the current connection. It outlives connections. It never
// waits inside the client library, because the library's writes only fill the socket's
// buffer.
type lane struct {
	sink    *Sink
	kind    laneKind
	number  int // among the lanes of its connection
	window  int // of its channel
	queue   *link.Queue[item]
	encoder encoder
	aside   *aside // for a lane of late topics, instead of a queue
	run     run
}

// laneKind says which messages a lane is for.
type laneKind uint8

const (
	ordinaryLane laneKind = iota
	suspectLane           // those that may close their channel
	lateLane              // those of topics whose messages are late
)

var laneKinds = [...]string{"ordinary", "suspect", "late"}

// String returns the kind in lower case.
func (k laneKind) String() string { return laneKinds[k] }

// put hands a message to the lane. If the lane has ended, it reports the message.
func (l *lane) put(it item) {
	if l.aside != nil {
		l.aside.put(it)
		return
	}
	if !l.queue.Put(it) {
		it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	}
}

// work writes what is queued until the queue is closed.
func (l *lane) work() {
	l.queue.Run(func(items []item, _ bool) {
		for i := range items {
			l.handle(items[i])
			items[i] = item{} // drop the reference: the next message may wait for long
		}
	})
}

// handle publishes a message. If the message is not written, its run ends: later
// messages of its key must not be written before it.
func (l *lane) handle(it item) {
	if it.run != 0 && it.run != l.run.current() {
		it.withdraw()
		return
	}
	if !l.publish(it) && it.run != 0 {
		l.run.begin(l.sink.runs.Add(1))
	}
}

// publish writes the message, hands it to the channel's follower, and returns true. Or
// it reports the message, or passes it on to another lane, and returns false.
func (l *lane) publish(it item) bool {
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
			return false
		}
		switch {
		case s.closing.Load():
			it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
			return false
		case sess == nil:
			it.reportNotTaken(relay.ErrorTypeDisconnected, err)
			return false
		}
		if err := sess.obstacle(); err != nil {
			it.reportNotTaken(relay.ErrorTypeNotReady, err)
			return false
		}
		if l.divert(it) {
			return false
		}
		ch := sess.channel(l.number)
		if ch == nil {
			<-next // a channel is being opened, or the connection ends
			continue
		}
		if !l.awaitRoom(sess, ch, next) {
			continue
		}
		if it.run != 0 && !l.run.goesOn(it.run, ch) {
			it.withdraw()
			return false
		}
		topic := it.message.Topic
		if !l.write(sess, ch, &it) {
			continue
		}
		if l.kind == suspectLane {
			l.awaitPassed(sess, ch, topic)
		}
		return true
	}
}

// divert returns true if this lane must not write the message, and then passes it on.
func (l *lane) divert(it item) bool {
	s, topic := l.sink, it.message.Topic
	switch suspect := s.suspects.has(topic); {
	case it.run != 0 && (suspect || s.late.has(topic)):
		it.withdraw()
		return true
	case suspect && l.kind != suspectLane:
		s.suspectLane().put(it)
		return true
	case !suspect && s.late.has(topic):
		s.aside.put(it)
		return true
	}
	return false
}

// awaitPassed returns when the broker has taken the message, or has closed the channel
// because of it. So each suspect is alone. None waits for the confirm of another,
// because a queue may never send it.
func (l *lane) awaitPassed(sess *session, ch *channel, topic string) {
	answers := make(chan error, 1)
	if !sess.life.Start(func() { answers <- ch.ask() }) {
		return
	}
	for {
		next := l.sink.changed.next()
		if sess.obstacle() != nil {
			return // the broker reads nothing, and the lane has to report the messages that wait
		}
		select {
		case err := <-answers:
			if err == nil {
				l.sink.suspects.clear(topic) // it closed no channel
				return
			}
			answers = nil
		case <-ch.done:
			return
		case <-next:
		}
	}
}

// awaitRoom returns true if the channel takes a message now. If not, it waits for a
// change and returns false.
func (l *lane) awaitRoom(sess *session, ch *channel, next <-chan struct{}) bool {
	room := sess.socket.room.next()
	switch {
	case ch.full() || ch.busy():
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
	if sess.conn.IsClosed() {
		<-ch.done
		return false
	}
	err := ch.publish(sess.options.Exchange, *it, l.encoder.encode(it.message))
	l.encoder.forget()
	switch {
	case err == nil:
		return true
	case errors.Is(err, errRetired), errors.Is(err, errBusy):
		return false // the lane waits for its next channel, or for the answer to the question
	case errors.Is(err, amqp.ErrClosed) && !sess.conn.IsClosed(): // the broker has closed the channel, and nothing was written
	default:
		// The broker may have the whole message. Or the message may have ended the
		// connection. In both cases it must not be reported as one that was never
		// tried.
		it.sent = true
		if !errors.Is(err, amqp.ErrClosed) {
			sess.cut(fmt.Errorf("write to the broker: %w", err))
		}
	}
	<-ch.done
	return false
}
