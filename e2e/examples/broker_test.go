package examples

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// consumerName is that of the page's durable consumer, and of its queue.
const consumerName = "billing"

// natsBroker is a NATS server of the test's own.
type natsBroker struct {
	*natsserver.Server
	js jetstream.JetStream
}

func startNATS(t *testing.T) broker {
	t.Helper()
	server, err := natsserver.StartInProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	conn, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	b := natsBroker{Server: server}
	if b.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	// The smallest duplicate window there is, so that copies get through.
	orders := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Duplicates: 100 * time.Millisecond}
	if _, err := b.js.CreateStream(t.Context(), orders); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b natsBroker) name() string { return "nats" }
func (b natsBroker) url() string  { return b.URL() }

func (b natsBroker) consumer(t *testing.T) jetstream.Consumer {
	t.Helper()
	consumer, err := b.js.Consumer(t.Context(), "ORDERS", consumerName)
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

func (b natsBroker) take(t *testing.T) (message, func()) {
	t.Helper()
	m, err := b.consumer(t).Next(jetstream.FetchMaxWait(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return message{m.Headers().Get(jetstream.MsgIDHeader), m.Data()}, func() {
		t.Helper()
		if err := m.Nak(); err != nil { // the end of ack_wait, but now
			t.Fatal(err)
		}
	}
}

func (b natsBroker) unacknowledged(t *testing.T) int {
	t.Helper()
	info, err := b.consumer(t).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(info.NumPending) + info.NumAckPending
}

// rabbitBroker is a RabbitMQ node, of which there is one for all tests, and what they share
// of it: an exchange and the page's queue.
type rabbitBroker struct {
	address string
	conn    *amqp.Connection
}

var sharedRabbit *rabbitserver.Server

func startRabbitMQ(t *testing.T) broker {
	t.Helper()
	if sharedRabbit == nil {
		server, err := rabbitserver.Start(t.Context(), rabbitserver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		sharedRabbit = server
		pgtest.AtEnd(server.Close)
	}
	b := &rabbitBroker{address: strings.TrimSuffix(sharedRabbit.URL(), "/")}
	conn, err := amqp.Dial(b.address)
	if err != nil {
		t.Fatal(err)
	}
	b.conn = conn
	t.Cleanup(func() { _ = conn.Close() })
	channel := b.channel(t)
	if _, err := channel.QueueDelete(consumerName, false, false, false); err != nil {
		t.Fatal(err)
	}
	if err := channel.ExchangeDeclare("outbox", amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *rabbitBroker) name() string { return "rabbitmq" }
func (b *rabbitBroker) url() string  { return b.address }

func (b *rabbitBroker) channel(t *testing.T) *amqp.Channel {
	t.Helper()
	channel, err := b.conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

func (b *rabbitBroker) take(t *testing.T) (message, func()) {
	t.Helper()
	channel := b.channel(t)
	var m amqp.Delivery
	await.Until(t, "there is a message", func() bool {
		var err error
		var ok bool
		if m, ok, err = channel.Get(consumerName, false); err != nil {
			t.Fatal(err)
		}
		return ok
	})
	return message{m.MessageId, m.Body}, func() {
		t.Helper()
		if err := channel.Close(); err != nil { // what was in hand is given back
			t.Fatal(err)
		}
	}
}

// unacknowledged asks the node while there is a consumer: AMQP does not tell what consumers
// have in hand.
func (b *rabbitBroker) unacknowledged(t *testing.T) int {
	t.Helper()
	channel := b.channel(t)
	defer channel.Close()
	queue, err := channel.QueueDeclarePassive(consumerName, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if queue.Consumers == 0 {
		length, err := rabbitserver.QueueLength(channel, consumerName)
		if err != nil {
			t.Fatal(err)
		}
		return length
	}
	listed, err := sharedRabbit.Ctl(t.Context(), "list_queues", "--no-table-headers", "messages")
	if err != nil {
		t.Fatal(err)
	}
	length, err := strconv.Atoi(listed)
	if err != nil {
		t.Fatalf("the node says of its only queue that it has %q messages", listed)
	}
	return length
}
