package relay

// Lane names a run of messages that a sink gives its broker one after the other: on one
// channel, or in one batch of one stream. Many messages of a key may be with the sink
// at once if all are in one lane. What the broker stores of them, it stores in the
// order in which they were handed over.
//
// A lane ends with its connection, channel or batch, whenever something of it
// fails, and when the sink likes. Nothing that is handed over for a lane after its end
// is written: it comes back as [Withdrawn].
//
// The zero value is no lane: of the key, one message may be with the sink.
type Lane struct {
	// Number tells lanes apart. A sink uses each number once, whatever connection
	// or batch follows.
	Number uint64
	// Strict: acknowledgements are a prefix of the lane, reported in the order in which
	// the messages were handed over, and nothing of a key is stored after a message of it
	// that was not: the later ones are Withdrawn, or Unknown where the connection was
	// lost. In a lane that is not strict the broker may refuse one message and
	// store later ones of its key.
	Strict bool
}

// Laned is a [Sink] that takes many messages of a key at once.
type Laned interface {
	Sink

	// Lane is the lane that the message would join if it were handed over now; the zero
	// value where the sink promises nothing. Cheap, and never blocks. Only the
	// goroutine that publishes calls it.
	Lane(m *Message) Lane

	// PublishIn is Publish for a message that must go in that lane, or not at all. If the
	// lane has ended, nothing of the message is written, and its outcome is Withdrawn.
	PublishIn(l Lane, m *Message, report Report)

	// Flush says that nothing follows at once. The last message of a lane may wait for
	// it, so whoever has called PublishIn calls it when there is nothing more to hand over
	// now. Lanes may end with it. Only the goroutine that publishes calls it.
	Flush()
}
