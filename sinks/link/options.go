package link

import (
	"errors"
	"log/slog"
	"time"
)

// SinkOptions are the options that every sink has. Only URLs is required.
type SinkOptions struct {
	// URLs of the servers, separated by commas. Each sink documents what they may
	// contain.
	URLs string
	// ReadURLs returns URLs anew, see [Reread]. Nil: they stay as they are.
	ReadURLs func() (string, error)
	// Window is the expected number of messages in flight, for which memory is
	// reserved. There may be more.
	Window int
	// TLS names PEM files. They are read again for each connection, so that a renewed
	// certificate is used.
	TLS      TLS
	Topology Topology
	// Name of the connection as the broker shows it; empty: outbox-relay.
	Name string
	// MaxMessageBytes is the largest payload, if the broker's own limit is not lower.
	MaxMessageBytes int64
	// AckTimeout is how long a message may wait for its acknowledgement.
	AckTimeout time.Duration
	Logger     *slog.Logger // nil: silence
}

// WithDefaults fills in what is empty; ackTimeout is the sink's own default.
func (o SinkOptions) WithDefaults(ackTimeout time.Duration) SinkOptions {
	if o.Name == "" {
		o.Name = "outbox-relay"
	}
	if o.AckTimeout == 0 {
		o.AckTimeout = ackTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Check finds values that make no sense.
func (o SinkOptions) Check() error {
	if o.AckTimeout < 0 || o.MaxMessageBytes < 0 || o.Window < 0 {
		return errors.New("acknowledgement timeout, message limit and window cannot be negative")
	}
	return nil
}
