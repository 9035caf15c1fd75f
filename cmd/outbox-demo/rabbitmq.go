package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

const (
	exchange = "outbox"
	// work is the consumer's queue. journal gets a copy of each message and is only
	// read, since a queue forgets what was consumed.
	work    = "statistics"
	journal = "journal"
)

// rabbitBroker is a private RabbitMQ node, and a connection that is made again
// after its stops.
type rabbitBroker struct {
	*rabbitserver.Server

	mu     sync.Mutex // also for what the channel is used for
	conn   *amqp.Connection
	ch     *amqp.Channel
	inHand int // fetched and not acknowledged
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
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.connect(); err != nil {
		return err
	}
	if err := b.ch.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", exchange, err)
	}
	for queue, kind := range map[string]string{work: amqp.QueueTypeQuorum, journal: amqp.QueueTypeClassic} {
		if _, err := b.ch.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind}); err != nil {
			return fmt.Errorf("declare queue %s: %w", queue, err)
		}
		if err := b.ch.QueueBind(queue, "#", exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s: %w", queue, err)
		}
	}
	return nil
}

// connect makes the connection if there is none. What was in hand comes again.
func (b *rabbitBroker) connect() error {
	if b.conn != nil && !b.conn.IsClosed() && !b.ch.IsClosed() {
		return nil
	}
	if b.conn != nil {
		_ = b.conn.Close()
	}
	b.inHand = 0
	var err error
	if b.conn, err = amqp.Dial(b.URL()); err != nil {
		b.conn = nil
		return fmt.Errorf("connect to RabbitMQ: %w", err)
	}
	if b.ch, err = b.conn.Channel(); err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	return nil
}

func (b *rabbitBroker) name() string { return "RabbitMQ" }
func (b *rabbitBroker) place() string {
	return fmt.Sprintf("exchange %s, queues %s and %s", exchange, work, journal)
}

func (b *rabbitBroker) relayEnv() []string { return []string{"OUTBOX_RABBITMQ_EXCHANGE=" + exchange} }

func (b *rabbitBroker) fetch(ctx context.Context) ([]delivery, error) {
	batch, err := b.get()
	if err != nil || len(batch) == 0 {
		return batch, pause(ctx, fetchWait/10) // away, or empty
	}
	return batch, nil
}

func (b *rabbitBroker) get() ([]delivery, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.connect(); err != nil {
		return nil, err
	}
	var batch []delivery
	ch := b.ch
	for len(batch) < batchSize {
		d, ok, err := ch.Get(work, false)
		if err != nil {
			return nil, fmt.Errorf("get from %s: %w", work, err)
		}
		if !ok {
			break
		}
		b.inHand++
		batch = append(batch, delivery{place: int64(d.DeliveryTag), id: d.MessageId, body: d.Body, ack: func() error { return b.ack(ch, d) }})
	}
	return batch, nil
}

func (b *rabbitBroker) ack(ch *amqp.Channel, d amqp.Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := d.Ack(false)
	if ch == b.ch && err == nil {
		b.inHand--
	}
	return err
}

func (b *rabbitBroker) backlog(context.Context) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.connect(); err != nil {
		return 0, err
	}
	ready, err := rabbitserver.QueueLength(b.ch, work)
	if err != nil {
		return 0, fmt.Errorf("ask for the consumer's backlog: %w", err)
	}
	return ready + b.inHand, nil
}

// own runs f on a connection of its own, which ends with ctx.
func (b *rabbitBroker) own(ctx context.Context, f func(*amqp.Channel) error) error {
	conn, err := amqp.Dial(b.URL())
	if err != nil {
		return fmt.Errorf("connect to RabbitMQ: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) })()
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	return f(ch)
}

var errEnded = errors.New("the connection ended")

func (b *rabbitBroker) awaitMessage(ctx context.Context) error {
	return b.own(ctx, func(ch *amqp.Channel) error {
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
		if _, ok := <-messages; !ok {
			return fmt.Errorf("wait for a message to kill the relay at: %w", errEnded)
		}
		return nil
	})
}

// stored reads the journal without acknowledging: it all goes back, in order.
func (b *rabbitBroker) stored(ctx context.Context) ([]string, error) {
	var ids []string
	err := b.own(ctx, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(journal, true, false, false, false, nil)
		if err != nil {
			return fmt.Errorf("look up %s: %w", journal, err)
		}
		messages, err := ch.Consume(journal, "", false, true, false, false, nil)
		if err != nil {
			return fmt.Errorf("read %s: %w", journal, err)
		}
		for len(ids) < q.Messages {
			m, ok := <-messages
			if !ok {
				return fmt.Errorf("read %s: %w after %d of %d messages", journal, errEnded, len(ids), q.Messages)
			}
			ids = append(ids, m.MessageId)
		}
		return nil
	})
	return ids, err
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
