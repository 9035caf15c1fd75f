package oracle

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
)

// The headers that the relay adds; the others are the row's.
const (
	headerMessageID   = "Nats-Msg-Id"
	headerContentType = "Content-Type"
	headerKey         = "Outbox-Key"
)

// Collect reads a stream from its first message to the one that is the last
// when it begins, in stream order, on a connection of its own.
func Collect(ctx context.Context, url, stream string) ([]Delivery, error) {
	conn, err := natsserver.Connect(url, nats.Name("oracle-consumer"))
	if err != nil {
		return nil, fmt.Errorf("connect consumer: %w", err)
	}
	defer conn.Close()
	js, err := natsserver.JetStream(conn)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	source, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	state := source.CachedInfo().State
	if state.Msgs == 0 {
		return nil, nil
	}
	consumer, err := source.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, fmt.Errorf("open consumer of %s: %w", stream, err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	}
	defer messages.Stop()
	deliveries := make([]Delivery, 0, state.Msgs)
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("read stream %s after %d of %d messages: %w", stream, len(deliveries), state.Msgs, err)
		}
		d, err := newDelivery(msg)
		if err != nil {
			return nil, err
		}
		deliveries = append(deliveries, d)
		if d.StreamSeq >= state.LastSeq {
			return deliveries, nil
		}
	}
}

func newDelivery(msg jetstream.Msg) (Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return Delivery{}, fmt.Errorf("read metadata of a message on %s: %w", msg.Subject(), err)
	}
	content := Content{Topic: msg.Subject(), Payload: msg.Data(), Headers: map[string]string{}}
	for name, values := range msg.Headers() {
		switch name {
		case headerMessageID:
		case headerContentType:
			content.ContentType = values[0]
		case headerKey:
			content.Key, content.Keyed = values[0], true
		default:
			content.Headers[name] = values[0]
		}
		if len(values) > 1 {
			// A header that came twice is not what the row said: it must not pass.
			content.Headers[name] = fmt.Sprintf("%d values: %q", len(values), values)
		}
	}
	return Delivery{
		StreamSeq: meta.Sequence.Stream,
		Stored:    meta.Timestamp,
		MessageID: msg.Headers().Get(headerMessageID),
		Digest:    content.Digest(),
	}, nil
}
