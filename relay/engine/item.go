package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// item is a message in the relay's memory, with what only the engine needs of it.
type item struct {
	*relay.Message
	// xid is the transaction of a row that came by the log; 0 for one that a pass or a
	// survey brought.
	xid wal.XID
	// retry is the pause that its refusal has been written with.
	retry time.Duration
	// chain has the messages of its key; nil for a message that waits for no other.
	chain *chain
	// lane is the one that it is published in, number grows with each one published.
	lane       relay.Lane
	number     uint64
	isWithSink bool // of one in a chain: it has not been reported
	// trace outlives the headers that name it.
	trace traceID
	// place is where it waits for its outcome to be committed.
	place place
	// withSink says that it was published and that the sink has not reported it.
	withSink bool
	// counted says that it counts against the share of a full topic.
	counted bool
}
