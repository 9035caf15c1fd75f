package oracle

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// prefetch is how many deliveries may wait for their acknowledgement.
const prefetch = 1000

// CollectQueue takes what a RabbitMQ queue has when it begins, in queue order, on
// a connection of its own, acknowledged by hand. The place in the order is the
// delivery's own number, since the queue has none.
func CollectQueue(ctx context.Context, url, queue string) ([]Delivery, error) {
	return readQueue(ctx, url, queue, prefetch)
}

// PeekQueue reads like [CollectQueue] and leaves the messages where they are. It
// wants a classic queue: a quorum queue counts each return of a message, and from
// RabbitMQ 4 on drops one that was returned often.
func PeekQueue(ctx context.Context, url, queue string) ([]Delivery, error) {
	return readQueue(ctx, url, queue, 0)
}

// readQueue acknowledges twice in each window; without one, it acknowledges nothing.
func readQueue(ctx context.Context, url, queue string, window int) ([]Delivery, error) {
	conn, err := amqp.Dial(url)
	if err != nil {
		return nil, fmt.Errorf("connect consumer: %w", err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	length, err := rabbitserver.QueueLength(ch, queue)
	if err != nil || length == 0 {
		return nil, err
	}
	if err := ch.Qos(window, 0, false); err != nil {
		return nil, fmt.Errorf("set prefetch: %w", err)
	}
	messages, err := ch.ConsumeWithContext(ctx, queue, "oracle-consumer", false, false, false, false, nil)
	if err != nil {
		return nil, fmt.Errorf("consume from %s: %w", queue, err)
	}
	deliveries := make([]Delivery, 0, length)
	for m := range messages {
		deliveries = append(deliveries, newQueueDelivery(m, uint64(len(deliveries)+1)))
		last := len(deliveries) == length
		if window > 0 && (last || len(deliveries)%(window/2) == 0) {
			if err := m.Ack(true); err != nil {
				return nil, fmt.Errorf("acknowledge %d messages: %w", len(deliveries), err)
			}
		}
		if last {
			return deliveries, nil
		}
	}
	return nil, fmt.Errorf("read queue %s: ended after %d of %d messages: %w", queue, len(deliveries), length, context.Cause(ctx))
}

func newQueueDelivery(m amqp.Delivery, place uint64) Delivery {
	content := Content{Topic: m.RoutingKey, ContentType: m.ContentType, Payload: m.Body, Headers: map[string]string{}}
	for name, value := range m.Headers {
		text, ok := value.(string)
		switch {
		case name == headerKey:
			content.Key, content.Keyed = text, ok
		case name == "x-delivery-count": // the broker's own
		case ok:
			content.Headers[name] = text
		default:
			// Not a string any more: it must not pass.
			content.Headers[name] = fmt.Sprintf("%T: %v", value, value)
		}
	}
	return Delivery{StreamSeq: place, Stored: m.Timestamp, MessageID: m.MessageId, Digest: content.Digest()}
}
