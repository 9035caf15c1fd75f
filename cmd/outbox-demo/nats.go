package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
)

const (
	stream  = "CLICKS"
	durable = "statistics"

	// duplicateWindow is the smallest that JetStream takes. A stream as it is
	// usually set up drops the relay's redeliveries itself for two minutes; here
	// they get through, so that the consumer has to show that it can drop them.
	duplicateWindow = 100 * time.Millisecond
	// ackWait is short: acknowledgements that are lost with the broker's stop are
	// asked for again soon.
	ackWait = 2 * time.Second
)

// natsBroker is the NATS server and a connection to it that outlives its stops.
type natsBroker struct {
	*natsserver.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	source jetstream.Consumer
}

func startNATS(ctx context.Context) (broker, error) {
	server, err := natsserver.StartInProcess(ctx, natsserver.Options{})
	if err != nil {
		return nil, err
	}
	b := &natsBroker{Server: server}
	if err := b.connect(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *natsBroker) connect(ctx context.Context) error {
	var err error
	b.conn, err = nats.Connect(b.URL(), nats.Name("outbox-demo"),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		// A request for messages that is sent after the broker's return is too old.
		nats.ReconnectBufSize(-1))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if b.js, err = jetstream.New(b.conn); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	_, err = b.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{topic}, Duplicates: duplicateWindow,
	})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", stream, err)
	}
	b.source, err = b.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 4 * batchSize,
	})
	if err != nil {
		return fmt.Errorf("create consumer %s: %w", durable, err)
	}
	return nil
}

func (b *natsBroker) name() string       { return "NATS" }
func (b *natsBroker) place() string      { return fmt.Sprintf("stream %s, consumer %s", stream, durable) }
func (b *natsBroker) relayEnv() []string { return nil }

func (b *natsBroker) fetch(ctx context.Context) ([]delivery, error) {
	fetched, err := b.source.Fetch(batchSize, jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return nil, pause(ctx, fetchWait)
	}
	var batch []delivery
	for msg := range fetched.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, fmt.Errorf("read metadata: %w", err)
		}
		batch = append(batch, delivery{
			place: int64(meta.Sequence.Stream), id: msg.Headers().Get(jetstream.MsgIDHeader), body: msg.Data(), ack: msg.Ack,
		})
	}
	if fetched.Error() != nil && len(batch) == 0 {
		return nil, pause(ctx, fetchWait)
	}
	return batch, nil
}

func (b *natsBroker) backlog(ctx context.Context) (int, error) {
	info, err := b.source.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the consumer's backlog: %w", err)
	}
	return int(info.NumPending) + info.NumAckPending, nil
}

func (b *natsBroker) awaitMessage(ctx context.Context) error {
	sub, err := b.conn.SubscribeSync(topic)
	if err != nil {
		return fmt.Errorf("watch the broker: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if _, err := sub.NextMsgWithContext(ctx); err != nil {
		return fmt.Errorf("wait for a message to kill the relay at: %w", err)
	}
	return nil
}

func (b *natsBroker) stored(ctx context.Context) ([]oracle.Delivery, error) {
	return oracle.Collect(ctx, b.URL(), stream)
}

func (b *natsBroker) stop(context.Context) error {
	b.Shutdown()
	return nil
}

func (b *natsBroker) restart(ctx context.Context) error { return b.Restart(ctx) }

func (b *natsBroker) close() {
	if b.conn != nil {
		b.conn.Close()
	}
	_ = b.Close() // what is left of it goes with the process
}
