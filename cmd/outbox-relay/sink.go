package main

import (
	"fmt"
	"log/slog"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
)

// openSink opens the sink that the URL's scheme names; config has let only
// known schemes through.
func openSink(c config.Config, host string, log *slog.Logger) (relay.Sink, error) {
	open := openJetStream
	if c.RabbitMQ() {
		open = openRabbitMQ
	}
	sink, err := open(c, sinkName(c, host), log)
	if err != nil {
		return nil, fmt.Errorf("open sink: %w", err)
	}
	return sink, nil
}

// sinkName is how the broker shows the connection.
func sinkName(c config.Config, host string) string {
	return "outbox-relay " + host + " " + c.Table.String()
}
