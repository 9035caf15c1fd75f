package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// item is a message in the relay's memory, with what only the engine needs to know of
// it.
type item struct {
	*relay.Message
	// xid is the transaction of a row that came by the log; 0 for one that a pass or a
	// survey brought.
	xid wal.XID
	// retry is the pause before its retry, as its refusal was written to the table.
	retry time.Duration
	// chain has the messages of its key; nil for a message that waits for no other.
	chain *chain
	// lane is the lane in which it is published; number grows with each published
	// message.
	lane       relay.Lane
	number     uint64
	isWithSink bool // for an item of a chain: it has not been reported
	// place is where it waits for its outcome to be committed.
	place place
	// withSink says that it was published and that the sink has not reported it.
	withSink bool
	// counted says that it counts against the share of a full topic.
	counted bool
}
