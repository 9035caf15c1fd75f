package main

import (
	"github.com/outbox-relay/outbox-relay/cmd/outbox-relay/internal/config"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

func natsOptions(c config.Config, o link.SinkOptions, guard *relay.Encryption) natsjs.Options {
	ingest := natsjs.FastIngestAuto
	if c.NATSFastIngest == config.FastIngestOff {
		ingest = natsjs.FastIngestOff
	}
	return natsjs.Options{
		SinkOptions: o,
		Encryption:  guard,
		FastIngest:  ingest,
		CredsFile:   c.NATSCredsFile,
		NKeyFile:    c.NATSNKeyFile,
		Token:       c.NATSToken.Reveal(),
		ReadToken:   reread("OUTBOX_NATS_TOKEN", c.NATSToken),
		InboxPrefix: c.NATSInboxPrefix,
		Domain:      c.NATSDomain,
		TLSFirst:    c.NATSTLSFirst == config.TLSFirstOn,
		StreamName:  c.NATSStream,
	}
}
