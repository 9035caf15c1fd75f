package sinktest

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Broker is a real broker, started for one test. Its methods end the test when
// they fail; what they start ends with the test.
type Broker interface {
	// Addr is host:port, the same for the broker's whole life.
	Addr() string
	// Open opens a sink whose broker is at addr: this one's, or that of a proxy.
	Open(t testing.TB, o SinkOptions) relay.Sink

	// Stop ends the broker; what it has stored stays. Restart starts it again.
	Stop(t testing.TB)
	Restart(t testing.TB)

	// Stored reads back what the broker has for the topic, in the order in which
	// it was stored. It takes nothing away.
	Stored(t testing.TB, topic string) []Stored
	// Drain makes room behind Topics.Full.
	Drain(t testing.TB)

	Topics() Topics
	// Wire are messages that are legal here and come near the protocol's limits:
	// each changes the message it is given.
	Wire() map[string]func(*relay.Message)
	// Broken are messages that the sink has to reject as invalid.
	Broken() map[string]func(*relay.Message)
}

// Topics that a broker has from its start.
type Topics struct {
	// Good is stored and acknowledged.
	Good string
	// Full leads to a place that refuses more until Drain. It is full.
	Full string
	// FullType is how the sink has to call that: full, or nacked where the broker
	// does not say why it refuses.
	FullType relay.ErrorType
	// Nowhere leads to no place.
	Nowhere string
	// Silent leads to a place that takes messages and acknowledges none, while
	// other topics work. Empty where the broker cannot do that.
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
