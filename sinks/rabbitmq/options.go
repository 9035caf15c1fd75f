package rabbitmq

import (
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// Topology says what happens when the exchange is missing.
type Topology = link.Topology

// The topologies.
const (
	// Verify: the sink waits for the exchange, which somebody else declares.
	Verify = link.Verify
	// Create: a durable topic exchange is declared, and a quorum queue "outbox" that
	// gets all of its messages. For development.
	Create = link.Create
)

// TLS names PEM files. They are read again for each connection, so that a renewed
// certificate is used. They need amqps://.
type TLS = link.TLS

// Options of a sink. Only URLs is required: amqp:// or amqps://, each with an optional
// user:password@ and virtual host.
type Options struct {
	// Window 0: 4096, which the channels share. MaxMessageBytes 0: 16 MiB, unless the
	// broker's own limit is known to be lower. AckTimeout 0: 15 s.
	link.SinkOptions
	// Exchange that messages go to; empty: the default exchange, which routes by the
	// names of queues.
	Exchange string
	// Channels to publish on; 0: a measured default.
	Channels int
	// Encryption judges each connection; nil: all are well.
	Encryption *relay.Encryption
}

const (
	defaultWindow          = 4096
	defaultChannels        = 4
	defaultAckTimeout      = 15 * time.Second
	defaultMaxMessageBytes = 16 << 20
	// mostPerChannel bounds a channel's window: for each confirm of several messages
	// the library walks through the whole window.
	mostPerChannel = 2000
)

// complete returns the options with defaults, and the nodes. Its error is what a
// person has to fix before a connection can be tried.
func (o Options) complete() (Options, addresses, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return o, nil, err
	}
	as, err := o.nodes()
	return o, as, err
}

// withDefaults fills in what is empty.
func (o Options) withDefaults() Options {
	o.SinkOptions = o.WithDefaults(defaultAckTimeout)
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.Channels == 0 {
		o.Channels = defaultChannels
	}
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = defaultMaxMessageBytes
	}
	return o
}

// perChannel is the window of one channel. The channels together take at least one
// message less than the whole window. If the broker blocks while the whole window is
// outstanding, that message is not written and is reported, so that the relay learns
// of the block.
func (o Options) perChannel() int {
	return min(max(1, (o.Window-1)/o.Channels), mostPerChannel)
}

// check finds options that exclude each other, or that make no sense.
func (o Options) check() error {
	if err := o.Check(); err != nil {
		return err
	}
	switch {
	case o.Channels < 0:
		return errors.New("the number of channels cannot be negative")
	case len(o.Exchange) > maxShortString:
		return fmt.Errorf("exchange name has %d bytes, the protocol takes %d", len(o.Exchange), maxShortString)
	case o.Topology == Create && o.Exchange == "":
		return errors.New("the default exchange cannot be created: name one, or set the topology to verify")
	}
	return nil
}
