package rabbitmq

import (
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

func unroutable(exchange string, m *relay.Message, text string) relay.Outcome {
	topic := relay.Quote(m.Topic)
	switch {
	case exchange == "":
		return relay.RefusedOutcome(relay.ErrorTypeUnroutable,
			"no queue is named %s, and the default exchange routes by queue name (%s): declare it, or set OUTBOX_RABBITMQ_EXCHANGE",
			topic, text)
	case slices.ContainsFunc(m.Headers, func(h relay.Header) bool { return h.Name == headerDelay }):
		// The plugin's exchange routes such a message later, and then ignores
		// mandatory.
		return relay.RefusedOutcome(relay.ErrorTypeUnroutable,
			"exchange %q routes %s to no queue now (%s): bind a queue for it; or, if the exchange delays, use available_at instead of header %s",
			exchange, topic, text, headerDelay)
	}
	return relay.RefusedOutcome(relay.ErrorTypeUnroutable,
		"exchange %q routes %s to no queue (%s): bind a queue for it", exchange, topic, text)
}

func nacked(exchange, topic string) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeNacked,
		"a queue behind exchange %q refused %s: it may be full (overflow=reject-publish) or failing: consume from it, or raise its limits",
		exchange, relay.Quote(topic))
}

func timedOut(topic string) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeTimeout,
		"no confirm for %s in time, while the broker works: see that its queues have a leader and a quorum", relay.Quote(topic))
}

// crowds is for a message that was not written, because enough messages of its late
// topic wait already.
func crowds(topic string) relay.Outcome {
	return relay.PostponedOutcome(relay.ErrorTypeTimeout,
		"messages of %s were not confirmed in time, so few are tried at once: see that its queues have a leader and a quorum",
		relay.Quote(topic))
}

// lateConnectionLost is for a message that was in flight when only the connection of the late
// topics ended. An unknown outcome would stop the other topics.
func lateConnectionLost(topic string, why error) relay.Outcome {
	return relay.PostponedOutcome(relay.ErrorTypeDisconnected, "no confirm for %s: %w", relay.Quote(topic), why)
}

// killsConnections is for a message that was alone in flight when that happened, after
// two losses in a row with others.
func killsConnections(topic string, why error) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeDisconnected,
		"the connection ends whenever this message to %s is on it, and it was alone: %w", relay.Quote(topic), why)
}

func forbidden(topic string, err error) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeForbidden,
		"not permitted to publish %s (%w): grant it with rabbitmqctl set_topic_permissions", relay.Quote(topic), err)
}
