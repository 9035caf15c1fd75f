package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/natsserver"
)

const (
	topic  = "clicks"
	stream = "CLICKS"

	// duplicateWindow is the smallest that JetStream takes. A stream as it is
	// usually set up drops the relay's redeliveries itself for two minutes; here
	// they get through, so that the consumer has to show that it can drop them.
	duplicateWindow = 100 * time.Millisecond
)

// broker is the NATS server and a connection to it that outlives its stops.
type broker struct {
	*natsserver.Server
	conn *nats.Conn
	js   jetstream.JetStream
}

// startBroker starts the server and makes the stream. The caller closes it.
func startBroker(ctx context.Context) (*broker, error) {
	server, err := natsserver.StartInProcess(ctx, natsserver.Options{})
	if err != nil {
		return nil, err
	}
	b := &broker{Server: server}
	if err := b.connect(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *broker) connect(ctx context.Context) error {
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
	return nil
}

func (b *broker) close() {
	if b.conn != nil {
		b.conn.Close()
	}
	_ = b.Close() // what is left of it goes with the process
}
