package main

import (
	"log/slog"

	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// relayConfig is the relay's part of the configuration.
func relayConfig(c config.Config, database relay.Database, sink relay.Sink, log *slog.Logger) engine.Config {
	return engine.Config{
		Database: database,
		Sink:     sink,
		Logger:   log,
		Ordering: c.Ordering,

		PollInterval: c.PollInterval,
		Tail: engine.TailConfig{
			Wanted:            c.Mode != config.PollingMode,
			ReconcileInterval: c.ReconcileInterval,
			Gate:              visibilityGate(c.VisibilityGate),
			MaxWAL:            int64(c.MaxWAL),
		},

		Limits: engine.Limits{
			MaxInFlight:     c.MaxInFlight,
			KeyWindow:       c.KeyWindow,
			BufferBytes:     int64(c.BufferBytes),
			MaxMessageBytes: int64(c.MaxMessageBytes),
		},
		DeadLetterTopic: c.DeadLetterTopic,
		LogRedact:       c.LogRedact,
		DeadBlocks:      c.DeadPolicy == config.DeadBlock,
		Patience:        engine.Patience{MaxDefer: c.MaxDefer},
		AttemptLimit:    relay.AttemptLimit{Attempts: c.MaxAttempts, Age: c.DeadAfter},
		Retry:           engine.Backoff{Min: c.RetryMin, Max: c.RetryMax},
		Retention:       retention(c).Age,
		Rate:            engine.Rate{PerSecond: c.RateLimit, Burst: c.RateBurst},
		ShutdownGrace:   c.ShutdownGrace,
	}
}

func visibilityGate(g config.VisibilityGate) engine.VisibilityGate {
	switch g {
	case config.GateOn:
		return engine.GateOn
	case config.GateOff:
		return engine.GateOff
	case config.GateAuto:
	}
	return engine.GateAuto
}
