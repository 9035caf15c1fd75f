package main

import (
	"context"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/jetstream"
)

// examineSink has the sink that the URL's scheme names examine its broker; config
// has let only known schemes through.
func examineSink(ctx context.Context, c config.Config, host string, topics []string) ([]relay.Check, error) {
	o, err := jetstreamOptions(c, host, nil)
	if err != nil {
		return nil, err
	}
	return jetstream.Examine(ctx, o, topics), nil
}
