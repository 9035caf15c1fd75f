package kedatest

import (
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// The lag: messages that wait, and those that a consumer has and has not acknowledged.
const (
	messages = 250
	taken    = 60
)

func TestKEDAReportsTheLagOfAConsumerOfAStream(t *testing.T) {
	m := read(t, "keda-nats.yaml")
	port, err := testbed.ReservePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = port.Close() })
	monitoring := net.JoinHostPort("127.0.0.1", strconv.Itoa(port.Number))
	server, err := natsserver.StartInProcess(t.Context(), natsserver.Options{Config: "http: " + monitoring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	// All but the address is as users have it.
	metadata := maps.Clone(m.trigger().Metadata)
	if at := metadata["natsServerMonitoringEndpoint"]; !strings.HasSuffix(at, ":8222") {
		t.Errorf("the manifest asks %q, want the monitoring port", at)
	}
	metadata["natsServerMonitoringEndpoint"] = monitoring
	m.scaled.Spec.Triggers[0].Metadata = metadata

	consumer := fillStream(t, server.URL(), metadata["stream"], metadata["consumer"])
	scaler := open(t, m.config(t, nil))
	demand(t, scaler, messages, 3)
	batch, err := consumer.Fetch(taken)
	if err != nil {
		t.Fatal(err)
	}
	var held []jetstream.Msg
	for message := range batch.Messages() {
		held = append(held, message)
	}
	demand(t, scaler, messages, 3) // what is not acknowledged may come again
	for _, message := range held {
		if err := message.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	demand(t, scaler, messages-taken, 2)
	if batch, err = consumer.Fetch(messages - taken); err != nil {
		t.Fatal(err)
	}
	for message := range batch.Messages() {
		if err := message.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	demand(t, scaler, 0, 0)
}

// fillStream makes a stream with a durable consumer, and fills it.
func fillStream(t *testing.T, address, name, durable string) jetstream.Consumer {
	t.Helper()
	conn, err := nats.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"orders.>"}})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: durable, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	for range messages {
		if _, err := js.Publish(t.Context(), "orders.created", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	return consumer
}

// By AMQP, as the manifest has it, what consumers hold unacknowledged does not count.
func TestKEDAReportsTheLengthOfAQueue(t *testing.T) {
	m := read(t, "keda-rabbitmq.yaml")
	server := startRabbitMQ(t, rabbitserver.Options{})
	channel := fillQueue(t, server, m.trigger().Metadata["queueName"])
	scaler := open(t, m.config(t, map[string]string{"billing-rabbitmq/sink-url": server.URL()}))
	demand(t, scaler, messages, 3)
	take(t, channel, m.trigger().Metadata["queueName"])
	demand(t, scaler, messages-taken, 2)
	if _, err := channel.QueuePurge(m.trigger().Metadata["queueName"], false); err != nil {
		t.Fatal(err)
	}
	demand(t, scaler, 0, 0)
}

// By the management plugin, it does.
func TestKEDAReportsTheLengthOfAQueueByTheManagementPlugin(t *testing.T) {
	m := read(t, "keda-rabbitmq.yaml")
	port, err := testbed.ReservePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = port.Close() })
	server := startRabbitMQ(t, rabbitserver.Options{
		Plugins: []string{"rabbitmq_management"},
		Config:  "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = " + strconv.Itoa(port.Number),
	})
	metadata := maps.Clone(m.trigger().Metadata)
	metadata["protocol"] = "http"
	m.scaled.Spec.Triggers[0].Metadata = metadata
	api := url.URL{Scheme: "http", User: url.UserPassword("guest", "guest"), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port.Number)), Path: "/"}

	channel := fillQueue(t, server, metadata["queueName"])
	scaler := open(t, m.config(t, map[string]string{"billing-rabbitmq/sink-url": api.String()}))
	demand(t, scaler, messages, 3)
	take(t, channel, metadata["queueName"])
	demand(t, scaler, messages, 3)
}

func startRabbitMQ(t *testing.T, o rabbitserver.Options) *rabbitserver.Server {
	t.Helper()
	server, err := rabbitserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// fillQueue makes a quorum queue, as the relay's own topology has them, and fills it.
func fillQueue(t *testing.T, s *rabbitserver.Server, name string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := channel.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	if err := channel.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for range messages {
		confirm, err := channel.PublishWithDeferredConfirm("", name, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("{}")})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := confirm.WaitContext(t.Context()); err != nil || !ok {
			t.Fatalf("a message is confirmed: %t, %v", ok, err)
		}
	}
	return channel
}

// take has a consumer hold messages that it does not acknowledge.
func take(t *testing.T, channel *amqp.Channel, queue string) {
	t.Helper()
	for range taken {
		if _, got, err := channel.Get(queue, false); err != nil || !got {
			t.Fatalf("take a message: %t, %v", got, err)
		}
	}
}
