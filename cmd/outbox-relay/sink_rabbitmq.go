package main

import (
	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func rabbitMQOptions(c config.Config, s sinkSettings) rabbitmq.Options {
	return rabbitmq.Options{
		URLs:            c.SinkURL.Reveal(),
		ReadURLs:        reread("OUTBOX_SINK_URL", c.SinkURL),
		Exchange:        c.RabbitMQExchange,
		Window:          c.MaxInFlight,
		TLS:             s.tls,
		Topology:        s.topology,
		Name:            s.name,
		Logger:          s.log,
		MaxMessageBytes: int64(c.MaxMessageBytes),
		AckTimeout:      c.AckTimeout,
	}
}
