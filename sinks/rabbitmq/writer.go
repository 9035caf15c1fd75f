package rabbitmq

import (
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// writer is a queue of messages and the goroutine that writes them, one after the other,
// to the writer's channel of the current connection. It outlives connections. It never
// waits inside the client library, because the library's writes only fill the socket's
// buffer.
type writer struct {
	sink       *Sink
	kind       writerKind
	number     int // among the writers of its connection
	window     int // of its channel
	queue      *link.Queue[item]
	encoder    encoder
	lateSender *lateSender // for a writer of late topics, instead of a queue
	run        run
}

// writerKind says which messages a writer is for.
type writerKind uint8

const (
	ordinaryWriter writerKind = iota
	suspectWriter             // those that may close their channel
	lateWriter                // those of topics whose messages are late
)

var writerKinds = [...]string{"ordinary", "suspect", "late"}

// String returns the kind in lower case.
func (k writerKind) String() string { return writerKinds[k] }

// put hands a message to the writer. If the writer has ended, it reports the message.
func (w *writer) put(it item) {
	if w.lateSender != nil {
		w.lateSender.put(it)
		return
	}
	if !w.queue.Put(it) {
		it.reportNotTaken(relay.ErrorTypeDisconnected, errClosing)
	}
}

// work writes what is queued until the queue is closed.
func (w *writer) work() {
	w.queue.Run(func(items []item, _ bool) {
		for i := range items {
			w.handle(items[i])
			items[i] = item{} // drop the reference: the next message may wait for long
		}
	})
}

// handle publishes a message. If the message is not written, its run ends: later
// messages of its key must not be written before it.
func (w *writer) handle(it item) {
	if it.run != 0 && it.run != w.run.current() {
		it.withdraw()
		return
	}
	if !w.publish(it) && it.run != 0 {
		w.run.begin(w.sink.runs.Add(1))
	}
}

// publish writes the message, hands it to the channel's follower, and returns true. Or
// it reports the message, or passes it on to another writer, and returns false.
func (w *writer) publish(it item) bool {
	s := w.sink
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
		if w.divert(it) {
			return false
		}
		ch := sess.channel(w)
		if ch == nil {
			<-next // a channel is being opened, or the connection ends
			continue
		}
		if !w.awaitRoom(sess, ch, next) {
			continue
		}
		if it.run != 0 && !w.run.goesOn(it.run, ch) {
			it.withdraw()
			return false
		}
		topic := it.message.Topic
		if !w.write(sess, ch, &it) {
			continue
		}
		if w.kind == suspectWriter {
			w.awaitPassed(sess, ch, topic)
		}
		return true
	}
}

// divert returns true if this writer must not write the message, and then passes it on.
func (w *writer) divert(it item) bool {
	s, topic := w.sink, it.message.Topic
	switch suspect := s.suspects.has(topic); {
	case it.run != 0 && (suspect || s.late.has(topic)):
		it.withdraw()
		return true
	case suspect && w.kind != suspectWriter:
		s.suspectWriter().put(it)
		return true
	case !suspect && s.late.has(topic):
		s.lateSender.put(it)
		return true
	}
	return false
}

// awaitPassed returns when the broker has taken the message, or has closed the channel
// because of it. So each suspect is alone. None waits for the confirm of another,
// because a queue may never send it.
func (w *writer) awaitPassed(sess *session, ch *channel, topic string) {
	answers := make(chan error, 1)
	if !sess.life.Start(func() { answers <- ch.ask() }) {
		return
	}
	for {
		next := w.sink.changed.next()
		if sess.obstacle() != nil {
			return // the broker reads nothing, and the writer has to report the messages that wait
		}
		select {
		case err := <-answers:
			if err == nil {
				w.sink.suspects.clear(topic) // it closed no channel
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
func (w *writer) awaitRoom(sess *session, ch *channel, next <-chan struct{}) bool {
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

// write returns false if the message was not written and still belongs to the writer.
func (w *writer) write(sess *session, ch *channel, it *item) bool {
	if sess.conn.IsClosed() {
		<-ch.done
		return false
	}
	err := ch.publish(sess.options.Exchange, *it, w.encoder.encode(it.message))
	w.encoder.forget()
	switch {
	case err == nil:
		return true
	case errors.Is(err, errRetired), errors.Is(err, errBusy):
		return false // the writer waits for its next channel, or for the answer to the question
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
