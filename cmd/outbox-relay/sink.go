package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// brokers has the sink of each broker that OUTBOX_SINK_URL may name.
var brokers = [...]broker{
	config.NATS:     newBroker(natsOptions, natsjs.Open, natsjs.Examine),
	config.RabbitMQ: newBroker(rabbitMQOptions, rabbitmq.Open, rabbitmq.Examine),
}

// broker is what the commands need of one: the relay opens a sink, doctor has it
// examined.
type broker struct {
	open    func(c config.Config, s sinkSettings) (relay.Sink, error)
	examine func(ctx context.Context, c config.Config, s sinkSettings, topics []string) []relay.Check
}

// sinkSettings are the options that are computed from the configuration.
type sinkSettings struct {
	name     string // how the broker shows the connection
	topology link.Topology
	tls      link.TLS
	log      *slog.Logger // nil: silence
}

// newBroker joins the functions of a sink's package. O is its options.
func newBroker[O any, S relay.Sink](
	options func(config.Config, sinkSettings) O, open func(O) (S, error), examine func(context.Context, O, []string) []relay.Check,
) broker {
	return broker{
		open: func(c config.Config, s sinkSettings) (relay.Sink, error) {
			sink, err := open(options(c, s))
			if err != nil {
				return nil, err // not an interface that holds a nil pointer
			}
			return sink, nil
		},
		examine: func(ctx context.Context, c config.Config, s sinkSettings, topics []string) []relay.Check {
			return examine(ctx, options(c, s), topics)
		},
	}
}

func openSink(c config.Config, host string, log *slog.Logger) (relay.Sink, error) {
	s, err := newSinkSettings(c, host, log)
	if err != nil {
		return nil, err
	}
	sink, err := brokers[c.Broker()].open(c, s)
	if err != nil {
		return nil, fmt.Errorf("open sink: %w", err)
	}
	return sink, nil
}

func examineSink(ctx context.Context, c config.Config, host string, topics []string) ([]relay.Check, error) {
	s, err := newSinkSettings(c, host, nil)
	if err != nil {
		return nil, err
	}
	return brokers[c.Broker()].examine(ctx, c, s, topics), nil
}

func newSinkSettings(c config.Config, host string, log *slog.Logger) (sinkSettings, error) {
	topology, err := link.ParseTopology(string(c.Topology))
	if err != nil {
		return sinkSettings{}, fmt.Errorf("OUTBOX_TOPOLOGY: %w", err)
	}
	return sinkSettings{
		name:     "outbox-relay " + host + " " + c.Table.String(),
		topology: topology,
		tls:      link.TLS{CAFile: c.TLSCAFile, CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile},
		log:      log,
	}, nil
}
