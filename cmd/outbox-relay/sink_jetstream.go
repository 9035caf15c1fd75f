package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

func openJetStream(c config.Config, name string, log *slog.Logger) (relay.Sink, error) {
	options, err := jetStreamOptions(c, name, log)
	if err != nil {
		return nil, err
	}
	return natsjs.Open(options)
}

func examineJetStream(ctx context.Context, c config.Config, name string, topics []string) ([]relay.Check, error) {
	options, err := jetStreamOptions(c, name, nil)
	if err != nil {
		return nil, err
	}
	return natsjs.Examine(ctx, options, topics), nil
}

func jetStreamOptions(c config.Config, name string, log *slog.Logger) (natsjs.Options, error) {
	topology, err := link.ParseTopology(string(c.Topology))
	if err != nil {
		return natsjs.Options{}, fmt.Errorf("OUTBOX_TOPOLOGY: %w", err)
	}
	return natsjs.Options{
		URLs:            c.SinkURL.Reveal(),
		Window:          c.MaxInFlight,
		CredsFile:       c.NATSCredsFile,
		NKeyFile:        c.NATSNKeyFile,
		Token:           c.NATSToken.Reveal(),
		InboxPrefix:     c.NATSInboxPrefix,
		Domain:          c.NATSDomain,
		TLS:             natsjs.TLS{CAFile: c.TLSCAFile, CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile},
		Topology:        topology,
		StreamName:      c.NATSStream,
		Name:            name,
		Logger:          log,
		MaxMessageBytes: int64(c.MaxMessageBytes),
		AckTimeout:      c.AckTimeout,
	}, nil
}
