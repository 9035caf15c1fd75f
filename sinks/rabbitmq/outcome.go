package rabbitmq

import (
	"errors"
	"fmt"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

// invalid translates a failed validation.
func invalid(err error) relay.Outcome {
	t := relay.ErrorTypeInvalid
	if errors.Is(err, relay.ErrTooLarge) {
		t = relay.ErrorTypeTooLarge
	}
	return relay.Outcome{Class: relay.Rejected, Type: t, Err: err}
}

func unroutable(exchange string, m *relay.Message, text string) relay.Outcome {
	topic := relay.Quote(m.Topic)
	switch {
	case exchange == "":
		return outcome(relay.Refused, relay.ErrorTypeUnroutable,
			"no queue is named %s, and the default exchange routes by queue name (%s): declare it, or set OUTBOX_RABBITMQ_EXCHANGE",
			topic, text)
	case slices.ContainsFunc(m.Headers, func(h relay.Header) bool { return h.Name == headerDelay }):
		// The plugin's exchange keeps such a message and routes it later, past the
		// time at which mandatory counts.
		return outcome(relay.Refused, relay.ErrorTypeUnroutable,
			"exchange %q routes %s to no queue now (%s): bind a queue for it; or, if the exchange delays, use available_at instead of header %s",
			exchange, topic, text, headerDelay)
	}
	return outcome(relay.Refused, relay.ErrorTypeUnroutable,
		"exchange %q routes %s to no queue (%s): bind a queue for it", exchange, topic, text)
}

func nacked(exchange, topic string) relay.Outcome {
	return outcome(relay.Refused, relay.ErrorTypeNacked,
		"a queue behind exchange %q refused %s: it may be full (overflow=reject-publish) or failing: consume from it, or raise its limits",
		exchange, relay.Quote(topic))
}

func timedOut(topic string) relay.Outcome {
	return outcome(relay.Refused, relay.ErrorTypeTimeout,
		"no confirm for %s in time, while the broker works: see that its queues have a leader and a quorum", relay.Quote(topic))
}

func forbidden(topic string, err error) relay.Outcome {
	return outcome(relay.Refused, relay.ErrorTypeForbidden,
		"not permitted to publish %s (%w): grant it with rabbitmqctl set_topic_permissions", relay.Quote(topic), err)
}

func unavailable(t relay.ErrorType, err error) relay.Outcome {
	return relay.Outcome{Class: relay.Unavailable, Type: t, Err: err}
}

func unknown(t relay.ErrorType, err error) relay.Outcome {
	return relay.Outcome{Class: relay.Unknown, Type: t, Err: err}
}

func outcome(c relay.Class, t relay.ErrorType, format string, args ...any) relay.Outcome {
	return relay.Outcome{Class: c, Type: t, Err: fmt.Errorf(format, args...)}
}
