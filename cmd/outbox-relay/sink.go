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
	config.NATS:     newBroker(natsOptions, natsjs.Open, natsjs.Examine, natsjs.WatchMessages),
	config.RabbitMQ: newBroker(rabbitMQOptions, rabbitmq.Open, rabbitmq.Examine, rabbitmq.WatchMessages),
}

// broker is what the commands need of one: the relay opens a sink, doctor has it
// examined.
type broker struct {
	open    func(c config.Config, o link.SinkOptions, guard *relay.Encryption) (relay.Sink, error)
	examine func(ctx context.Context, c config.Config, o link.SinkOptions, guard *relay.Encryption, topics []string) []relay.Check
	watch   func(ctx context.Context, c config.Config, o link.SinkOptions, guard *relay.Encryption, w relay.Watch) error
}

// newBroker joins the functions of a sink's package. O is its options.
func newBroker[O any, S relay.Sink](
	options func(config.Config, link.SinkOptions, *relay.Encryption) O, open func(O) (S, error), examine func(context.Context, O, []string) []relay.Check,
	watch func(context.Context, O, relay.Watch) error,
) broker {
	return broker{
		open: func(c config.Config, o link.SinkOptions, guard *relay.Encryption) (relay.Sink, error) {
			sink, err := open(options(c, o, guard))
			if err != nil {
				return nil, err // not an interface that holds a nil pointer
			}
			return sink, nil
		},
		examine: func(ctx context.Context, c config.Config, o link.SinkOptions, guard *relay.Encryption, topics []string) []relay.Check {
			return examine(ctx, options(c, o, guard), topics)
		},
		watch: func(ctx context.Context, c config.Config, o link.SinkOptions, guard *relay.Encryption, w relay.Watch) error {
			return watch(ctx, options(c, o, guard), w)
		},
	}
}

func openSink(c config.Config, host string, guard *relay.Encryption, log *slog.Logger) (relay.Sink, error) {
	o, err := sinkOptions(c, host, log)
	if err != nil {
		return nil, err
	}
	sink, err := brokers[c.Broker()].open(c, o, guard)
	if err != nil {
		return nil, fmt.Errorf("open sink: %w", err)
	}
	return sink, nil
}

func examineSink(ctx context.Context, c config.Config, host string, guard *relay.Encryption, topics []string) ([]relay.Check, error) {
	o, err := sinkOptions(c, host, nil)
	if err != nil {
		return nil, err
	}
	return brokers[c.Broker()].examine(ctx, c, o, guard, topics), nil
}

func watchSink(ctx context.Context, c config.Config, host string, w relay.Watch) error {
	o, err := sinkOptions(c, host, nil)
	if err != nil {
		return err
	}
	return brokers[c.Broker()].watch(ctx, c, o, encryption(c, nil), w)
}

// sinkOptions are the options that do not depend on the broker. log may be nil, for
// silence.
func sinkOptions(c config.Config, host string, log *slog.Logger) (link.SinkOptions, error) {
	topology, err := link.ParseTopology(string(c.Topology))
	if err != nil {
		return link.SinkOptions{}, fmt.Errorf("OUTBOX_TOPOLOGY: %w", err)
	}
	return link.SinkOptions{
		URLs:            c.SinkURL.Reveal(),
		ReadURLs:        reread("OUTBOX_SINK_URL", c.SinkURL),
		Window:          c.MaxInFlight + 1, // the copy of a dead row
		TLS:             link.TLS{CAFile: c.TLSCAFile, CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile},
		Topology:        topology,
		Name:            "outbox-relay " + host + " " + c.Table.String(),
		MaxMessageBytes: int64(c.MaxMessageBytes),
		AckTimeout:      c.AckTimeout,
		Logger:          log,
	}, nil
}
