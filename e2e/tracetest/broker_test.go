package tracetest

import (
	"net"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// Spans go by gRPC here, and by HTTP in the other test.
func TestOneTraceFromTheApplicationToAConsumerOfNATS(t *testing.T) {
	server, err := natsserver.StartProcess(t.Context(), natsserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	conn, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	config := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.first"}}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	b := broker{
		system: "nats", env: map[string]string{"OUTBOX_SINK_URL": server.URL()},
		destination: func(topic string) string { return topic },
		consumer:    []string{"nats.js", server.URL(), "ORDERS"},
		accept: func(topic string) {
			config.Subjects = append(config.Subjects, topic)
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		},
	}
	b.host, b.port, _ = net.SplitHostPort(server.Addr())
	followTraces(t, newWorld(t, b, "grpc"))
}

func TestOneTraceFromTheApplicationToAConsumerOfRabbitMQ(t *testing.T) {
	server, err := rabbitserver.Start(t.Context(), rabbitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	conn, err := amqp.Dial(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	const exchange, queue = "outbox", "orders"
	if err := channel.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	b := broker{
		system: "rabbitmq", env: map[string]string{"OUTBOX_SINK_URL": server.URL()},
		destination: func(topic string) string { return exchange + ":" + topic },
		consumer:    []string{"rabbitmq.js", server.URL(), queue},
		accept: func(topic string) {
			if err := channel.QueueBind(queue, topic, exchange, false, nil); err != nil {
				t.Fatal(err)
			}
		},
	}
	b.host, b.port, _ = net.SplitHostPort(server.Addr())
	followTraces(t, newWorld(t, b, "http/protobuf"))
}
