package rabbitmq

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// encoder turns messages into the client library's form. The library copies its input
// before it returns, so one table is used for all messages.
type encoder struct{ headers amqp.Table }

func newEncoder() encoder { return encoder{headers: amqp.Table{}} }

// encode returns the message, valid until the next call.
func (e encoder) encode(m *relay.Message) amqp.Publishing {
	p := amqp.Publishing{
		MessageId:    m.MessageID.String(),
		ContentType:  m.ContentType,
		DeliveryMode: amqp.Persistent,
		Body:         m.Payload,
	}
	// The protocol's timestamp has no sign. A time before 1970 would go out as one far
	// in the future, which strict clients cannot read.
	if m.CreatedAt.Unix() >= 0 {
		p.Timestamp = m.CreatedAt
	}
	if !m.Keyed && len(m.Headers) == 0 {
		return p
	}
	clear(e.headers)
	if m.Keyed {
		e.headers[headerKey] = m.Key
	}
	for _, h := range m.Headers {
		e.headers[h.Name] = h.Value
	}
	p.Headers = e.headers
	return p
}

// forget drops the references to the last message.
func (e encoder) forget() { clear(e.headers) }
