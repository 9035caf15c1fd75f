package rabbitmq

import (
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
)

const (
	// headerKey is the header that carries a row's key.
	headerKey = "Outbox-Key"
	// headerDelay is the header that the exchange of the delayed-message plugin reads.
	headerDelay = "x-delay"
	// replyTo begins the routing keys of direct reply-to. For a message with one, a broker
	// closes the connection (541), or confirms the message and drops it.
	replyTo = "amq.rabbitmq.reply-to"
)

const (
	// maxShortString is the protocol's limit for names, in bytes.
	maxShortString = 255
	// defaultFrame is the frame size that both sides propose, in bytes.
	defaultFrame = 131072
	// brokersRoom is the room in the frame for the headers that the broker adds on the
	// way (x-delivery-count, x-death). Without this room, a message that just fits here
	// would end the connection of its consumer.
	brokersRoom = 8192
)

// limits are what a message is measured against.
type limits struct {
	payload int64
	frame   int // the frame size that was agreed with the broker; the properties have to fit in one frame
}

// validate checks that the message would arrive unchanged and would end neither its
// connection nor that of its consumer. The error wraps relay.ErrInvalid or
// relay.ErrTooLarge.
func validate(m *relay.Message, l limits) error {
	if err := relay.Validate(m); err != nil {
		return err
	}
	switch {
	case m.Topic == "":
		return invalidf("topic is empty: name a routing key")
	case strings.HasPrefix(m.Topic, replyTo):
		return invalidf("topic %s is reserved: RabbitMQ takes it for the answer to a request; rename it", relay.Quote(m.Topic))
	case len(m.Topic) > maxShortString:
		return invalidf("topic %s is too long for a routing key, which takes %d bytes", relay.Quote(m.Topic), maxShortString)
	case m.Keyed && len(m.Key) > maxShortString:
		return invalidf("key %s is too long: the limit is %d bytes", relay.Quote(m.Key), maxShortString)
	case len(m.ContentType) > maxShortString:
		return invalidf("content_type %s is too long: the limit is %d bytes", relay.Quote(m.ContentType), maxShortString)
	}
	for i, h := range m.Headers {
		switch {
		case len(h.Name) > maxShortString:
			return invalidf("header name %s is too long: the limit is %d bytes", relay.Quote(h.Name), maxShortString)
		case h.Name == "CC" || h.Name == "BCC":
			// If its value is a list, the broker routes by it, whatever the topic is.
			// If it is a text, the broker closes the channel.
			return invalidf("header %s is reserved: RabbitMQ takes it for routing keys; rename it", h.Name)
		case h.Name == "x-death" || strings.HasPrefix(h.Name, "x-first-death-") || strings.HasPrefix(h.Name, "x-last-death-"):
			// A queue takes it for the message's history, and drops messages that seem
			// to go in a circle.
			return invalidf("header %s is reserved: RabbitMQ writes there which queues a message has died in; rename it", relay.Quote(h.Name))
		case h.Name == headerDelay && !isDelay(h.Value):
			return invalidf("header %s is %s: give milliseconds as a whole number; RabbitMQ's delayed-message exchange fails on anything else",
				h.Name, relay.Quote(h.Value))
		case i > 0 && h.Name == m.Headers[i-1].Name:
			return invalidf("header %s is there twice: remove one", relay.Quote(h.Name))
		}
	}
	if n := propertyBytes(m); n > l.frame-brokersRoom && n > l.frame/2 {
		return fmt.Errorf("%w: headers and properties take %d bytes; with what the broker adds they have to fit one frame of %d (frame_max)",
			relay.ErrTooLarge, n, l.frame)
	}
	if n := int64(len(m.Payload)); n > l.payload {
		return fmt.Errorf("%w: payload of %d bytes, the limit is %d", relay.ErrTooLarge, n, l.payload)
	}
	return nil
}

// isDelay returns whether the plugin can read the value. The plugin converts a string
// to an integer unchecked (rabbit_delayed_message_utils), in the process of the
// channel, and a channel that crashes ends its connection.
func isDelay(value string) bool {
	digits := strings.TrimPrefix(value, "-") // the plugin puts a minus before the value of a message that it has delayed
	return digits != "" && len(digits) <= 10 && strings.Trim(digits, "0123456789") == ""
}

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", relay.ErrInvalid, fmt.Sprintf(format, args...))
}

// propertyBytes returns the size of the content header's frame, as the client library
// writes it: frame header and end; class, weight, body size and flags; the properties;
// and a table. Each entry of the table is a short name, a kind, and a text with its
// length in four bytes.
func propertyBytes(m *relay.Message) int {
	n := 8 + 14 + 1 + len(m.ContentType) + 4 + 1 + 1 + 36 + 8
	field := func(name, value string) { n += 1 + len(name) + 1 + 4 + len(value) }
	if m.Keyed {
		field(headerKey, m.Key)
	}
	for _, h := range m.Headers {
		field(h.Name, h.Value)
	}
	return n
}
