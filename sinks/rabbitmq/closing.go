package rabbitmq

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// settleClosedChannel settles the messages that were in flight when the broker closed a
// channel of a living connection. The broker closes a channel because of one message,
// the culprit: it took the messages before the culprit, and none after it. The culprit
// is refused. It is found by the broker's reason or, if that does not name it, by
// sending the suspects one at a time. The others are sent again under the same id,
// without an outcome in between.
func (s *session) settleClosedChannel(w *writer, ch *channel, left []entry, cause *amqp.Error) {
	if cause == nil { // no message is to blame
		sendAgain(w, left)
		return
	}
	if fault := s.faultOfAll(cause); fault != nil {
		s.reportFaultOfAll(ch, left, fault)
		return
	}
	guilty, rest := s.findCulprits(left, cause)
	switch {
	case len(guilty) > 0:
		for _, e := range guilty {
			s.refuseCulprit(e, cause)
		}
		sendAgain(w, rest)
	case w.kind == suspectWriter:
		s.settleSuspects(ch, left, cause)
	case w.kind == lateWriter:
		for _, e := range left {
			s.sink.suspects.add(e.topic) // otherwise they would come back to this writer
		}
		sendAgain(s.sink.suspectWriter(), left)
	default:
		for _, e := range left {
			if e.run != 0 {
				s.sink.suspects.add(e.topic) // otherwise they would come back to this writer
			}
		}
		sendAgain(s.sink.suspectWriter(), left)
	}
}

// settleSuspects refuses the message that the broker has not taken. (That is
// possible only on the channel of suspects. On another channel the culprit may have been
// late, and have had its outcome already, and then the last message in flight is
// innocent.) The other
// messages wait for their confirms, perhaps for long.
func (s *session) settleSuspects(ch *channel, left []entry, cause *amqp.Error) {
	passed := ch.passedUntil()
	for _, e := range left {
		if e.written.After(passed) {
			s.refuseCulprit(e, cause)
			continue
		}
		e.sent = true
		// Not by this writer again: each culprit would make it be sent once more.
		if time.Since(e.written) < link.Patience(s.options.AckTimeout) {
			s.sink.writerOf(e.message).put(e.item)
			continue
		}
		s.sink.late.add(e.topic)
		s.sink.lateSender.put(e.item)
	}
}

// faultOfAll returns why the exchange takes no message at all, or nil if the broker
// closed the channel because of one message.
func (s *session) faultOfAll(cause *amqp.Error) error {
	switch {
	case cause.Code == amqp.NotFound:
		return noExchange(s.options.Exchange)
	case cause.Code == amqp.AccessRefused && refusesExchange(cause.Reason):
		return fmt.Errorf("%w: grant it: %s", cause, s.address.grantWrite(s.options.Exchange))
	case cause.Code == amqp.AccessRefused && isInternal(cause.Reason):
		return fmt.Errorf("%w: name another exchange in OUTBOX_RABBITMQ_EXCHANGE, or delete this one and declare it anew, not internal", cause)
	}
	return nil
}

// reportFaultOfAll reports a fault that no message has caused, so no attempt is
// counted. If the broker owed a single confirm, it has certainly not taken that
// message. If it owed several, it may have taken the first ones.
func (s *session) reportFaultOfAll(ch *channel, left []entry, fault error) {
	s.setFault(fault)
	for _, e := range left {
		if ch.used.Load() == 1 && !e.sent {
			e.done(relay.UnavailableOutcome(relay.ErrorTypeNotReady, fault))
		} else {
			e.done(relay.UnknownOutcome(relay.ErrorTypeNotReady, fault))
		}
	}
}

// sizeLimit finds max_message_size in RabbitMQ's reason.
var sizeLimit = regexp.MustCompile(`larger than (?:configured )?max size (?:of )?'?(\d+)`)

// accessRefused is the beginning of RabbitMQ's reason. Later versions name the
// permission. The rest of the reason may quote a topic, so it is not searched.
var accessRefused = regexp.MustCompile(`^ACCESS_REFUSED - (?:(?:read|write|configure) )?`)

// refusesExchange returns whether the reason is about the exchange as a whole.
func refusesExchange(reason string) bool {
	return strings.HasPrefix(accessRefused.ReplaceAllLiteralString(reason, ""), "access to exchange '")
}

// isInternal returns whether the reason is that the exchange takes messages only from
// other exchanges.
func isInternal(reason string) bool {
	return strings.HasPrefix(reason, "ACCESS_REFUSED - cannot publish to internal exchange '")
}

// refusesTopic returns whether the reason is about the topic in the exchange.
func refusesTopic(reason, topic, exchange string) bool {
	return strings.HasPrefix(accessRefused.ReplaceAllLiteralString(reason, ""), "access to topic '"+topic+"' in exchange '"+exchange+"'")
}

// refusedTopic returns the topic that the reason is about. A topic may contain text
// like the rest of a reason, so that the reason seems to be about a shorter topic too.
// The longest topic is the right one.
func refusedTopic(reason, exchange string, left []entry) (topic string, found bool) {
	for _, e := range left {
		if t := e.message.Topic; (!found || len(t) > len(topic)) && refusesTopic(reason, t, exchange) {
			topic, found = t, true
		}
	}
	return topic, found
}

// findCulprits separates the messages that the broker's reason names from the others.
// If the reason tells the broker's size limit, it notes the limit.
func (s *session) findCulprits(left []entry, cause *amqp.Error) (guilty, rest []entry) {
	var accused func(m *relay.Message) bool
	switch cause.Code {
	case amqp.AccessRefused:
		// All messages of the topic are culprits, because each would be refused. The
		// broker cuts long reasons, and then no topic is found.
		topic, found := refusedTopic(cause.Reason, s.options.Exchange, left)
		if !found {
			return nil, left
		}
		accused = func(m *relay.Message) bool { return m.Topic == topic }
	case amqp.PreconditionFailed:
		found := sizeLimit.FindStringSubmatch(cause.Reason)
		if found == nil {
			return nil, left
		}
		limit, err := strconv.ParseInt(found[1], 10, 64)
		if err != nil || limit <= 0 {
			return nil, left
		}
		s.sink.limit.Store(limit)
		accused = func(m *relay.Message) bool { return int64(len(m.Payload)) > limit }
	default:
		return nil, left
	}
	for _, e := range left {
		if accused(e.message) {
			guilty = append(guilty, e)
		} else {
			rest = append(rest, e)
		}
	}
	return guilty, rest
}

// refuseCulprit refuses a message that closed its channel. Until a message of its topic
// is taken, the writer of suspects takes the others of the topic, so that they disturb no
// other topic.
func (s *session) refuseCulprit(e entry, cause *amqp.Error) {
	m := e.message
	switch {
	case cause.Code == amqp.PreconditionFailed && s.sink.limit.Load() > 0 && int64(len(m.Payload)) > s.sink.limit.Load():
		e.done(relay.RejectedOutcome(fmt.Errorf("%w: payload of %d bytes, and the broker says: %w", relay.ErrTooLarge, len(m.Payload), cause)))
		return
	case cause.Code == amqp.AccessRefused:
		s.sink.suspects.add(m.Topic)
		e.done(forbidden(m.Topic, errors.New(cause.Reason)))
		return
	}
	s.sink.suspects.add(m.Topic)
	e.done(relay.RefusedOutcome(relay.ErrorTypeNacked, "the broker closed the channel because of %s: %w", relay.Quote(m.Topic), cause))
}

// sendAgain puts messages into the queue of a writer again. It gives back messages of a
// run, because the messages that are queued behind them must not be written before
// them.
func sendAgain(w *writer, left []entry) {
	for _, e := range left {
		if e.run != 0 {
			e.done(relay.Outcome{Class: relay.Withdrawn})
			continue
		}
		e.sent = true
		w.put(e.item)
	}
}
