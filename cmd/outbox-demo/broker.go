package main

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
)

const topic = "clicks"

const (
	batchSize = 256
	// fetchWait bounds how long a batch is collected for.
	fetchWait = 250 * time.Millisecond
)

// broker is a message broker of the demonstration, and the consumer's way to its
// messages. All that is not a consumer's business may be done while it is down,
// and then fails.
type broker interface {
	// what it is, where, and what the consumer reads, for people.
	name() string
	Addr() string
	place() string
	// URL and more variables for the relay.
	URL() string
	relayEnv() []string

	// fetch collects a batch for at most fetchWait. A broker that is away is an
	// empty batch.
	fetch(ctx context.Context) ([]delivery, error)
	// backlog is how many messages the consumer has not acknowledged yet, as far as
	// the broker says.
	backlog(ctx context.Context) (int, error)
	// awaitMessage returns when the next message comes through.
	awaitMessage(ctx context.Context) error
	// stored are all messages that ever came, in the broker's order.
	stored(ctx context.Context) ([]oracle.Delivery, error)

	stop(ctx context.Context) error
	restart(ctx context.Context) error
	close()
}

// delivery is a message as the consumer gets it.
type delivery struct {
	place int64 // the broker's own number
	id    string
	body  []byte
	// ack may fail: the message comes again and is dropped.
	ack func() error
}

// startBroker starts the broker of that name. The caller closes it.
func startBroker(ctx context.Context, sink string) (broker, error) {
	if sink == sinkRabbitMQ {
		return startRabbitMQ(ctx)
	}
	return startNATS(ctx)
}
