package natsjs

import (
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// Topology says what happens to a topic that no stream captures.
type Topology = link.Topology

// The topologies.
const (
	// Verify: the message is refused. Somebody else creates the streams.
	Verify = link.Verify
	// Create: the topic's first token is added to the stream Options.StreamName,
	// which is made if missing. For development.
	Create = link.Create
)

// FastIngest says whether messages go in batches if the server and the stream allow it.
type FastIngest uint8

// The ways to ingest.
const (
	// FastIngestAuto: in batches if the configuration of the stream, which is looked
	// up, allows it; otherwise one by one, and also if look-ups are not permitted.
	FastIngestAuto FastIngest = iota
	// FastIngestOff: one by one.
	FastIngestOff
)

var fastIngestNames = [...]string{"auto", "off"}

// String returns the value of OUTBOX_NATS_FAST_INGEST.
func (f FastIngest) String() string { return fastIngestNames[f] }

// TLS names PEM files. If any of them is set, a connection without TLS is refused.
// They are read again for each connection, so that a renewed certificate is used.
type TLS = link.TLS

// Options of a sink. Only URLs is required: nats:// or tls://, each with an optional
// user:password@ or token@. Servers that these servers tell of are used too.
type Options struct {
	link.SinkOptions // MaxMessageBytes 0: the server's limit; AckTimeout 0: 5 s
	// At most one of these authenticates, beside or instead of the URLs.
	CredsFile string
	NKeyFile  string
	Token     string
	// ReadToken returns Token anew, see [link.Reread]. Nil: it stays as it is.
	ReadToken func() (string, error)
	// InboxPrefix of the reply subjects; empty: _INBOX.
	InboxPrefix string
	// Domain of JetStream, for look-ups.
	Domain string
	// TLSFirst makes the TLS handshake before the server says anything, as servers with
	// handshake_first want it. A connection without TLS is then refused.
	TLSFirst bool
	// Encryption judges each connection; nil: all are well.
	Encryption *relay.Encryption

	FastIngest FastIngest
	StreamName string // for Create; empty: OUTBOX
}

const (
	defaultStreamName = "OUTBOX"
	defaultAckTimeout = 5 * time.Second
)

// complete returns the options with defaults, and the servers. Its error is what a
// person has to fix before a connection can be tried.
func (o Options) complete() (Options, addresses, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return o, addresses{}, err
	}
	as, err := o.servers()
	if err != nil {
		return o, addresses{}, err
	}
	_, err = o.credentials("")
	return o, as, err
}

// withDefaults fills in what is empty.
func (o Options) withDefaults() Options {
	o.SinkOptions = o.WithDefaults(defaultAckTimeout)
	if o.StreamName == "" {
		o.StreamName = defaultStreamName
	}
	return o
}

// check finds options that exclude each other, or that make no sense.
func (o Options) check() error {
	set := 0
	for _, s := range [...]string{o.CredsFile, o.NKeyFile, o.Token} {
		if s != "" {
			set++
		}
	}
	if set > 1 {
		return errors.New("credentials file, nkey file and token exclude each other: set one")
	}
	if err := o.Check(); err != nil {
		return err
	}
	if o.InboxPrefix != "" && checkTokens(o.InboxPrefix) != nil {
		return fmt.Errorf("inbox prefix %q is not a subject without wildcards", o.InboxPrefix)
	}
	return nil
}
