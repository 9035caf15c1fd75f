package relay

import "context"

// Report takes the outcome of one message. A sink calls it exactly once for
// each message, from any goroutine, possibly before Publish has returned, and
// does not touch the message afterwards. It does not block, so a sink may call
// it while it holds a lock of its own.
type Report func(*Message, Outcome)

// Sink publishes messages to one broker.
//
// A sink survives any number of connection losses, reconnects by itself and
// for ever, and holds no message after it has reported it. The relay needs this
// order: a message that is handed over after another was acknowledged arrives after
// it. What more a sink guarantees is in its own documentation.
type Sink interface {
	// Publish hands a message over and returns without waiting for the broker.
	// It does not block while no more messages are outstanding than the window
	// the sink was opened with. The outcome follows through report, also when
	// the sink is down, being closed, or the message breaks the rules of the
	// wire, in which case nothing of it has been written. Not safe for
	// concurrent use: one goroutine publishes.
	Publish(m *Message, report Report)

	// Probe asks the broker whether it would take messages now and returns nil,
	// or an error that says why not and what to fix. It blocks until the broker
	// has answered or ctx ends, and may be called beside Publish.
	Probe(ctx context.Context) error

	// MaxMessageBytes is the largest payload the broker takes, in bytes, or 0
	// while that is not known. Cheap; may be called at any time.
	MaxMessageBytes() int64

	// Close reports what is still outstanding as Unknown and frees everything.
	// It returns when all goroutines of the sink have ended, at the latest
	// shortly after ctx. Call it once, after the last Publish.
	Close(ctx context.Context) error
}

// Pausing is a [Sink] that its broker can ask to write nothing for now.
type Pausing interface {
	// Paused returns why the broker has asked the sink to write nothing for now,
	// while messages stay in flight and none of them may be reported; nil where it
	// has not. It does not block and is safe for any goroutine.
	Paused() error
}
