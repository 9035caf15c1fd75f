package main

import (
	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func rabbitMQOptions(c config.Config, o link.SinkOptions, guard *relay.Encryption) rabbitmq.Options {
	return rabbitmq.Options{
		SinkOptions: o,
		Encryption:  guard,
		Exchange:    c.RabbitMQExchange,
	}
}
