package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// item is a message in the relay's memory, with what only the engine needs of it.
type item struct {
	*relay.Message
	// xid is the transaction of a row that the log has told of; 0 for a row that
	// the table was read for.
	xid wal.XID
	// retry is the pause that its refusal has been written with.
	retry time.Duration
}
