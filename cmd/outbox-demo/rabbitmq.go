package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

const (
	exchange = "outbox"
	// work is the consumer's queue. journal gets a copy of each message and is only
	// read, since a queue forgets what was consumed.
	work    = "statistics"
	journal = "journal"
)

// prefetch is how many messages RabbitMQ sends ahead of their acknowledgement.
const prefetch = 4 * batchSize

// rabbitBroker is a private RabbitMQ node, and the consumer's connection, which is
// made again after the node's stops.
type rabbitBroker struct {
	*rabbitserver.Server

	mu       sync.Mutex
	conn     *amqp.Connection
	messages <-chan amqp.Delivery // what the consumer gets; nil: it has to subscribe
	inHand   int                  // got on conn and not acknowledged
}

func startRabbitMQ(ctx context.Context) (broker, error) {
	server, err := rabbitserver.Start(ctx, rabbitserver.Options{})
	if err != nil {
		return nil, err
	}
	b := &rabbitBroker{Server: server}
	if err := b.declare(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *rabbitBroker) declare() error {
	return b.onChannel(func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return fmt.Errorf("declare exchange %s: %w", exchange, err)
		}
		for queue, kind := range map[string]string{work: amqp.QueueTypeQuorum, journal: amqp.QueueTypeClassic} {
			if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind}); err != nil {
				return fmt.Errorf("declare queue %s: %w", queue, err)
			}
			if err := ch.QueueBind(queue, "#", exchange, false, nil); err != nil {
				return fmt.Errorf("bind queue %s: %w", queue, err)
			}
		}
		return nil
	})
}

// onChannel runs f on a channel of its own of the consumer's connection, so that an
// error, which ends its channel, does not end the consumer's.
func (b *rabbitBroker) onChannel(f func(*amqp.Channel) error) error {
	b.mu.Lock()
	err := b.connect()
	conn := b.conn
	b.mu.Unlock()
	if err != nil {
		return err
	}
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	defer ch.Close()
	return f(ch)
}

// connect makes the connection if there is none. What was in hand comes again. The
// caller holds mu.
func (b *rabbitBroker) connect() error {
	if b.conn != nil && !b.conn.IsClosed() {
		return nil
	}
	b.conn, b.messages, b.inHand = nil, nil, 0
	conn, err := amqp.Dial(b.URL())
	if err != nil {
		return fmt.Errorf("connect to RabbitMQ: %w", err)
	}
	b.conn = conn
	return nil
}

// subscribe returns what the consumer gets, on the connection conn.
func (b *rabbitBroker) subscribe() (<-chan amqp.Delivery, *amqp.Connection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.connect(); err != nil {
		return nil, nil, err
	}
	if b.messages != nil {
		return b.messages, b.conn, nil
	}
	ch, err := b.conn.Channel()
	if err != nil {
		return nil, nil, fmt.Errorf("open channel: %w", err)
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return nil, nil, fmt.Errorf("set prefetch: %w", err)
	}
	if b.messages, err = ch.Consume(work, "statistics", false, false, false, false, nil); err != nil {
		return nil, nil, fmt.Errorf("consume from %s: %w", work, err)
	}
	return b.messages, b.conn, nil
}

func (b *rabbitBroker) name() string { return "RabbitMQ" }
func (b *rabbitBroker) place() string {
	return fmt.Sprintf("exchange %s, queues %s and %s", exchange, work, journal)
}

func (b *rabbitBroker) relayEnv() []string { return []string{"OUTBOX_RABBITMQ_EXCHANGE=" + exchange} }

func (b *rabbitBroker) fetch(ctx context.Context) ([]delivery, error) {
	messages, conn, err := b.subscribe()
	if err != nil {
		return nil, pause(ctx, fetchWait) // away
	}
	full := time.NewTimer(fetchWait)
	defer full.Stop()
	var batch []delivery
	for len(batch) < batchSize {
		select {
		case d, ok := <-messages:
			if !ok {
				b.count(conn, -len(batch))
				return nil, b.unsubscribe(ctx, messages)
			}
			b.count(conn, 1)
			batch = append(batch, delivery{place: int64(d.DeliveryTag), id: d.MessageId, body: d.Body, ack: func() error {
				defer b.count(conn, -1)
				return d.Ack(false)
			}})
		case <-full.C:
			return batch, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return batch, nil
}

// unsubscribe has the next fetch subscribe again.
func (b *rabbitBroker) unsubscribe(ctx context.Context, messages <-chan amqp.Delivery) error {
	b.mu.Lock()
	if b.messages == messages {
		b.messages = nil
	}
	b.mu.Unlock()
	return pause(ctx, fetchWait)
}

// count changes the number of messages in hand, unless they came by an earlier
// connection.
func (b *rabbitBroker) count(conn *amqp.Connection, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == conn {
		b.inHand += n
	}
}

func (b *rabbitBroker) backlog(context.Context) (n int, err error) {
	err = b.onChannel(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(work, true, false, false, false, nil)
		if err != nil {
			return fmt.Errorf("ask for the consumer's backlog: %w", err)
		}
		n = q.Messages
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	return n + b.inHand, err
}

var errEnded = errors.New("the connection ended")

func (b *rabbitBroker) awaitMessage(ctx context.Context) error {
	return b.onChannel(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclare("", false, true, true, false, nil)
		if err != nil {
			return fmt.Errorf("watch the broker: %w", err)
		}
		if err := ch.QueueBind(q.Name, "#", exchange, false, nil); err != nil {
			return fmt.Errorf("watch the broker: %w", err)
		}
		messages, err := ch.Consume(q.Name, "", true, true, false, false, nil)
		if err != nil {
			return fmt.Errorf("watch the broker: %w", err)
		}
		select {
		case _, ok := <-messages:
			if ok {
				return nil
			}
			return fmt.Errorf("wait for a message to kill the relay at: %w", errEnded)
		case <-ctx.Done():
			return fmt.Errorf("wait for a message to kill the relay at: %w", ctx.Err())
		}
	})
}

func (b *rabbitBroker) stored(ctx context.Context) ([]oracle.Delivery, error) {
	return oracle.PeekQueue(ctx, b.URL(), journal)
}

func (b *rabbitBroker) stop(ctx context.Context) error    { return b.Stop(ctx) }
func (b *rabbitBroker) restart(ctx context.Context) error { return b.Restart(ctx) }

func (b *rabbitBroker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		_ = b.conn.Close()
	}
	_ = b.Close() // what is left of it goes with the process
}
