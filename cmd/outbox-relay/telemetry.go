package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/relay/telemetry"
)

// telemetryCloseGrace is how long the last spans and metrics may take when the relay ends.
const telemetryCloseGrace = 2 * time.Second

// messagingSystems are the brokers as OpenTelemetry names them.
var messagingSystems = [...]string{config.NATS: "nats", config.RabbitMQ: "rabbitmq"}

// brokerNames are the brokers as people call them.
var brokerNames = [...]string{config.NATS: "NATS", config.RabbitMQ: "RabbitMQ"}

func openTelemetry(ctx context.Context, c config.Config, host string, log *slog.Logger) (*telemetry.Telemetry, error) {
	telemetry.LogErrors(log)
	broker := telemetry.Broker{System: messagingSystems[c.Broker()]}
	broker.Server, broker.Port = c.SinkServer()
	if c.Broker() == config.RabbitMQ {
		broker.Exchange = c.RabbitMQExchange
	}
	o := telemetry.Options{
		Table: c.Table.String(), Version: version(), Host: host, Broker: broker, Topics: c.MetricsTopic == config.On, Logger: log,
	}
	if c.TraceContext == config.TraceContextRelay {
		o.Context = telemetry.FromRelay
	}
	return telemetry.Open(ctx, o)
}

func closeTelemetry(ctx context.Context, t *telemetry.Telemetry, log *slog.Logger) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetryCloseGrace)
	defer cancel()
	if err := t.Close(grace); err != nil {
		log.Warn("the last spans or metrics were not sent", slog.Any("error", err))
	}
}

// takeCensus counts the table's rows until it is stopped.
func takeCensus(ctx context.Context, database *postgres.Database) (census *postgres.Census, stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	census = database.NewCensus()
	var task sync.WaitGroup
	if observing {
		task.Go(func() { census.Run(ctx) })
	}
	return census, func() { cancel(); task.Wait() }
}
