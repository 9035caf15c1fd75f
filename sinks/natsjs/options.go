package natsjs

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/sinks/link"
)

// Topology says what happens to a topic that no stream captures.
type Topology = link.Topology

// The topologies.
const (
	// Verify: the message is refused. Streams are somebody else's task.
	Verify = link.Verify
	// Create: the topic's first token is added to the stream Options.StreamName,
	// which is made if missing. For development.
	Create = link.Create
)

// FastIngest says whether messages go in batches where the server and the stream allow
// it.
type FastIngest uint8

// The ways to ingest.
const (
	// FastIngestAuto: in batches where the configuration of the stream, which is looked
	// up, allows it; one by one elsewhere, and where look-ups are not permitted.
	FastIngestAuto FastIngest = iota
	// FastIngestOff: one by one.
	FastIngestOff
)

var fastIngestNames = [...]string{"auto", "off"}

// String returns the value as OUTBOX_NATS_FAST_INGEST has it.
func (f FastIngest) String() string { return fastIngestNames[f] }

// TLS names PEM files. If any of them is set, a connection without TLS is refused.
// They are read again for each connection, so that a renewed certificate is used.
type TLS = link.TLS

// Options of a sink. Only URLs is required.
type Options struct {
	// URLs of the servers, separated by commas: nats:// or tls://, each with an
	// optional user:password@ or token@. Servers that these make known are used
	// too.
	URLs string
	// ReadURLs and ReadToken return URLs and Token anew, see [link.Reread]. Nil: these
	// stay as they are.
	ReadURLs, ReadToken func() (string, error)
	// Window is the number of outstanding messages that memory is reserved for.
	// More of them work as well.
	Window int
	// At most one of these authenticates, beside or instead of the URLs.
	CredsFile string
	NKeyFile  string
	Token     string
	// InboxPrefix of the reply subjects; empty: _INBOX.
	InboxPrefix string
	// Domain of JetStream, for look-ups.
	Domain string
	TLS    TLS
	// TLSFirst has the TLS handshake made before the server says anything, as servers
	// with handshake_first want it. A connection without TLS is refused then.
	TLSFirst bool

	FastIngest FastIngest
	Topology   Topology
	StreamName string // for Create; empty: OUTBOX

	// Name of the connection as the server shows it; empty: outbox-relay.
	Name string
	// MaxMessageBytes lowers the server's limit for a payload; 0: the server's.
	MaxMessageBytes int64
	// AckTimeout is how long a message may wait for its acknowledgement; 0: 5 s.
	AckTimeout time.Duration
	Logger     *slog.Logger // nil: silence
}

const (
	defaultStreamName = "OUTBOX"
	defaultName       = "outbox-relay"
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
	if o.StreamName == "" {
		o.StreamName = defaultStreamName
	}
	if o.Name == "" {
		o.Name = defaultName
	}
	if o.AckTimeout == 0 {
		o.AckTimeout = defaultAckTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// check finds options that exclude each other, or mean nothing.
func (o Options) check() error {
	set := 0
	for _, s := range [...]string{o.CredsFile, o.NKeyFile, o.Token} {
		if s != "" {
			set++
		}
	}
	switch {
	case set > 1:
		return errors.New("credentials file, nkey file and token exclude each other: set one")
	case o.AckTimeout < 0 || o.MaxMessageBytes < 0 || o.Window < 0:
		return errors.New("acknowledgement timeout, message limit and window cannot be negative")
	}
	if o.InboxPrefix != "" && checkTokens(o.InboxPrefix) != nil {
		return fmt.Errorf("inbox prefix %q is not a subject without wildcards", o.InboxPrefix)
	}
	return nil
}
