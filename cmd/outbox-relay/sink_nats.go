package main

import (
	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

func natsOptions(c config.Config, s sinkSettings) natsjs.Options {
	return natsjs.Options{
		URLs:            c.SinkURL.Reveal(),
		ReadURLs:        reread("OUTBOX_SINK_URL", c.SinkURL),
		Window:          c.MaxInFlight,
		CredsFile:       c.NATSCredsFile,
		NKeyFile:        c.NATSNKeyFile,
		Token:           c.NATSToken.Reveal(),
		ReadToken:       reread("OUTBOX_NATS_TOKEN", c.NATSToken),
		InboxPrefix:     c.NATSInboxPrefix,
		Domain:          c.NATSDomain,
		TLS:             s.tls,
		TLSFirst:        c.NATSTLSFirst == config.TLSFirstOn,
		Topology:        s.topology,
		StreamName:      c.NATSStream,
		Name:            s.name,
		Logger:          s.log,
		MaxMessageBytes: int64(c.MaxMessageBytes),
		AckTimeout:      c.AckTimeout,
	}
}
