package rabbitmq

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// channelClosed decides what becomes of the messages that were in flight when
// the broker closed a channel of a living connection. Because of one message it
// closes it for all; it took those before, and none behind. So: the guilty one
// is refused, found by what the broker says or, where it does not say, by
// sending the suspects one at a time; the others are sent again, under the same
// id, and nobody hears of it.
func (s *session) channelClosed(lane int, left []entry, cause *amqp.Error) {
	switch {
	case cause == nil: // closed from this side, see recycle
		s.again(lane, left)
		return
	case cause.Code == amqp.NotFound:
		s.closedForAll(left, noExchange(s.options.Exchange))
		return
	case cause.Code == amqp.AccessRefused && strings.Contains(cause.Reason, "access to exchange "):
		s.closedForAll(left, fmt.Errorf("%w: grant it: rabbitmqctl set_permissions -p %s %s '' '.*' ''", cause, s.address.vhost, s.address.user))
		return
	}
	guilty, rest := s.accuse(left, cause)
	alone := lane == s.options.Channels || len(left) == 1
	switch {
	case len(guilty) > 0:
		for _, e := range guilty {
			s.condemn(e, cause)
		}
		s.again(lane, rest)
	case alone:
		for _, e := range left {
			s.condemn(e, cause)
		}
	default:
		s.again(s.options.Channels, left)
	}
}

// closedForAll is for what no message can help: no attempt is counted. Where
// several were in flight, the broker may have taken the first of them before.
func (s *session) closedForAll(left []entry, fault error) {
	s.setFault(fault)
	for _, e := range left {
		if len(left) == 1 {
			e.done(unavailable(relay.ErrorTypeNotReady, fault))
		} else {
			e.done(unknown(relay.ErrorTypeNotReady, fault))
		}
	}
}

// sizeLimit is how RabbitMQ tells its max_message_size.
var sizeLimit = regexp.MustCompile(`larger than (?:configured )?max size (?:of )?'?(\d+)`)

// accuse finds the messages that the broker's reason names.
func (s *session) accuse(left []entry, cause *amqp.Error) (guilty, rest []entry) {
	var accused func(m *relay.Message) bool
	switch cause.Code {
	case amqp.AccessRefused:
		// All of the topic: they would be refused alike. The broker cuts long reasons,
		// and then this finds nobody.
		accused = func(m *relay.Message) bool {
			return strings.Contains(cause.Reason, "access to topic '"+m.Topic+"' in exchange")
		}
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

// condemn refuses a message that closed its channel. Others of its topic go
// through the quarantine from now on, where they disturb nobody, until one is
// acknowledged.
func (s *session) condemn(e entry, cause *amqp.Error) {
	m := e.message
	switch {
	case cause.Code == amqp.PreconditionFailed && s.sink.limit.Load() > 0 && int64(len(m.Payload)) > s.sink.limit.Load():
		e.done(outcome(relay.Rejected, relay.ErrorTypeTooLarge, "%w: payload of %d bytes, and the broker says: %w", relay.ErrTooLarge, len(m.Payload), cause))
		return
	case cause.Code == amqp.AccessRefused:
		s.sink.suspects.add(m.Topic)
		e.done(forbidden(m.Topic, errors.New(cause.Reason)))
		return
	}
	s.sink.suspects.add(m.Topic)
	e.done(outcome(relay.Refused, relay.ErrorTypeNacked, "the broker closed the channel because of %s: %w", relay.Quote(m.Topic), cause))
}

// again has messages sent again, by a lane.
func (s *session) again(lane int, left []entry) {
	for _, e := range left {
		e.sent = true
		s.sink.lanes[lane].put(e.item)
	}
}
