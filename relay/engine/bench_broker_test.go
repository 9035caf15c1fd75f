package engine_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// The brokers of the benchmarks, each with a sink that has been opened.

func openBenchStream(b *testing.B) relay.Sink  { return openBenchNATS(b, false) }
func openBenchBatches(b *testing.B) relay.Sink { return openBenchNATS(b, true) }

func openBenchNATS(b *testing.B, batches bool) relay.Sink {
	b.Helper()
	broker, err := natsserver.StartProcess(b.Context(), natsserver.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = broker.Close() })
	nc, err := nats.Connect(broker.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	stream := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{benchTopic}, AllowBatchPublish: batches}
	if _, err := js.CreateStream(b.Context(), stream); err != nil {
		b.Fatal(err)
	}
	sink, err := natsjs.Open(natsjs.Options{SinkOptions: link.SinkOptions{URLs: broker.URL(), Window: benchWindow}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sink.Close(context.Background()) })
	return sink
}

func openBenchQueue(b *testing.B) relay.Sink {
	b.Helper()
	broker, err := rabbitserver.Start(b.Context(), rabbitserver.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = broker.Close() })
	conn, err := amqp.Dial(broker.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	quorum := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	if _, err := ch.QueueDeclare(benchTopic, true, false, false, false, quorum); err != nil {
		b.Fatal(err)
	}
	// The default exchange routes to the queue that is named like the topic.
	sink, err := rabbitmq.Open(rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: broker.URL(), Window: benchWindow}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sink.Close(context.Background()) })
	return sink
}
