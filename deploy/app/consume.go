package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"
)

// again is the pause before the broker is tried again.
const again = time.Second

// consumer prints messages.
type consumer struct {
	messages int // to end after; 0: none
}

var errEnough = errors.New("that were the messages")

// consume prints messages until ctx ends, or there were enough of them. A broker that is
// away is tried again.
func (c consumer) consume(ctx context.Context) error {
	broker, err := url.Parse(os.Getenv("BROKER_URL"))
	if err != nil {
		return fmt.Errorf("BROKER_URL: %w", err)
	}
	from := map[string]func(context.Context, string) error{"nats": c.fromNATS, "amqp": c.fromRabbitMQ}[broker.Scheme]
	if from == nil {
		return fmt.Errorf("BROKER_URL=%s: want nats:// or amqp://", broker.Redacted())
	}
	for ctx.Err() == nil {
		err := from(ctx, broker.String())
		if errors.Is(err, errEnough) {
			return nil
		}
		fmt.Fprintln(os.Stderr, "app:", err)
		select {
		case <-time.After(again):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// effect is what a message does. It may come twice: a real consumer keeps the ids that
// it has processed, in the transaction of their effect.
func effect(topic, id string, payload []byte) {
	fmt.Printf("received %s %s: %s\n", topic, id, payload)
}

// fromNATS makes the stream that the relay publishes to, and a consumer of it.
func (c consumer) fromNATS(ctx context.Context, broker string) error {
	conn, err := nats.Connect(broker, nats.Name("app consume"))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	if err != nil {
		return err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "app", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for n := 1; ; n++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		effect(m.Subject(), m.Headers().Get("Nats-Msg-Id"), m.Data())
		if err := m.DoubleAck(ctx); err != nil {
			return err
		}
		if n == c.messages {
			return errEnough
		}
	}
}

// fromRabbitMQ makes the exchange that the relay publishes to, and a queue on it.
func (c consumer) fromRabbitMQ(ctx context.Context, broker string) error {
	conn, err := amqp.Dial(broker)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := channel.ExchangeDeclare("outbox", amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return err
	}
	if _, err := channel.QueueDeclare("orders", true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		return err
	}
	if err := channel.QueueBind("orders", "orders.#", "outbox", false, nil); err != nil {
		return err
	}
	messages, err := channel.ConsumeWithContext(ctx, "orders", "app", false, false, false, false, nil)
	if err != nil {
		return err
	}
	n := 0
	for m := range messages {
		effect(m.RoutingKey, m.MessageId, m.Body)
		if err := m.Ack(false); err != nil {
			return err
		}
		if n++; n == c.messages {
			return errEnough
		}
	}
	return fmt.Errorf("the broker has ended the delivery")
}
