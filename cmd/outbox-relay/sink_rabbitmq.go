package main

import (
	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func rabbitMQOptions(c config.Config, o link.SinkOptions) rabbitmq.Options {
	return rabbitmq.Options{
		SinkOptions: o,
		Exchange:    c.RabbitMQExchange,
	}
}
