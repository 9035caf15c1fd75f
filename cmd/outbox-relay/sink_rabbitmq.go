package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func openRabbitMQ(c config.Config, name string, log *slog.Logger) (relay.Sink, error) {
	options, err := rabbitMQOptions(c, name, log)
	if err != nil {
		return nil, err
	}
	return rabbitmq.Open(options)
}

func examineRabbitMQ(ctx context.Context, c config.Config, name string, topics []string) ([]relay.Check, error) {
	options, err := rabbitMQOptions(c, name, nil)
	if err != nil {
		return nil, err
	}
	return rabbitmq.Examine(ctx, options, topics), nil
}

func rabbitMQOptions(c config.Config, name string, log *slog.Logger) (rabbitmq.Options, error) {
	topology, err := link.ParseTopology(string(c.Topology))
	if err != nil {
		return rabbitmq.Options{}, fmt.Errorf("OUTBOX_TOPOLOGY: %w", err)
	}
	return rabbitmq.Options{
		URLs:            c.SinkURL.Reveal(),
		Exchange:        c.RabbitMQExchange,
		Window:          c.MaxInFlight,
		TLS:             rabbitmq.TLS{CAFile: c.TLSCAFile, CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile},
		Topology:        topology,
		Name:            name,
		Logger:          log,
		MaxMessageBytes: int64(c.MaxMessageBytes),
		AckTimeout:      c.AckTimeout,
	}, nil
}
