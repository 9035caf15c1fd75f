package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
)

// broker is what the commands need of one: the relay opens a sink, doctor has it
// examined.
type broker struct {
	open    func(c config.Config, name string, log *slog.Logger) (relay.Sink, error)
	examine func(ctx context.Context, c config.Config, name string, topics []string) ([]relay.Check, error)
}

// brokerOf is the broker that the sink URL's scheme names; config has let only
// known schemes through.
func brokerOf(c config.Config) broker {
	if c.RabbitMQ() {
		return broker{openRabbitMQ, examineRabbitMQ}
	}
	return broker{openJetStream, examineJetStream}
}

func openSink(c config.Config, host string, log *slog.Logger) (relay.Sink, error) {
	sink, err := brokerOf(c).open(c, sinkName(c, host), log)
	if err != nil {
		return nil, fmt.Errorf("open sink: %w", err)
	}
	return sink, nil
}

func examineSink(ctx context.Context, c config.Config, host string, topics []string) ([]relay.Check, error) {
	return brokerOf(c).examine(ctx, c, sinkName(c, host), topics)
}

// sinkName is how the broker shows the connection.
func sinkName(c config.Config, host string) string {
	return "outbox-relay " + host + " " + c.Table.String()
}
