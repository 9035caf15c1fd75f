package sinktest

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Broker is a real broker that was started for one test. A method that fails ends the
// test. What a method starts ends with the test.
type Broker interface {
	// Addr is host:port, the same for the broker's whole life.
	Addr() string
	// Open opens a sink whose broker is at addr: this one's, or that of a proxy.
	Open(t testing.TB, o SinkOptions) relay.Sink

	// Stop ends the broker, which keeps what it has stored. Restart starts it again.
	Stop(t testing.TB)
	Restart(t testing.TB)

	// Stored returns what the broker has for the topic, in the order in which it was
	// stored. It removes nothing.
	Stored(t testing.TB, topic string) []Stored
	// Drain makes room in the place to which Topics.Full leads.
	Drain(t testing.TB)

	Topics() Topics
	// Wire makes messages that this broker must carry and that come near the limits of
	// its protocol. Each function changes the message that it is given.
	Wire() map[string]func(*relay.Message)
	// Broken makes messages that the sink has to reject as invalid.
	Broken() map[string]func(*relay.Message)
}

// Topics that a broker has from its start.
type Topics struct {
	// Good is stored and acknowledged.
	Good string
	// Full leads to a place that refuses more until Drain. It is full.
	Full string
	// FullType is the error type for that: full, or nacked if the broker does not say
	// why it refuses.
	FullType relay.ErrorType
	// Nowhere leads to no place.
	Nowhere string
	// Silent leads to a place that takes messages and acknowledges none, while
	// other topics work. It is empty if the broker cannot do that.
	Silent string
}

// SinkOptions of a sink under test.
type SinkOptions struct {
	Addr   string // empty: the broker's own
	Window int
	// AckTimeout is how long a message waits for its acknowledgement.
	AckTimeout time.Duration
}

// Stored is a message as the broker has it.
type Stored struct {
	MessageID   string
	Key         string
	Keyed       bool
	ContentType string
	Headers     map[string]string // without those of the sink itself
	Payload     []byte
}
