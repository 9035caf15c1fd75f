package relay

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// ErrNoTail is wrapped by the errors of a [Tail] that stay until a person fixes
// something (wal_level, a privilege, the publication, somebody's open
// transaction). The message says what to run.
var ErrNoTail = errors.New("the write-ahead log cannot be read")

// Tail is an open replication stream, on one connection. It gives the rows that
// transactions insert, in the order of their commits. The rows are in the table too,
// so whatever breaks a tail costs only speed. One goroutine uses it; Close may be
// called from any.
type Tail interface {
	// Start begins the stream, with the transactions that committed after the tail was
	// opened. Call it once.
	Start(ctx context.Context) error
	// Next blocks until there is an event, which is the caller's to keep. If ctx ends,
	// the tail is as it was; after any other error it is of no use.
	Next(ctx context.Context) (TailEvent, error)
	// Slot is the name of the replication slot.
	Slot() string
	// Close ends the connection, and with it the slot. It takes half a second at
	// most. Idempotent.
	Close()
}

// TailEvent is what was read next from the log.
type TailEvent struct {
	// Position is how far the log has been read with this event.
	Position wal.LSN
	// XID is the transaction of Message; it has committed.
	XID wal.XID
	// Message is a row as it was inserted, or nil if the event has only a position. A
	// row that is not Due has no payload.
	Message *Message
	// Pending says that the row was inserted neither sent nor dead.
	Pending bool
	// Due says that the row may go at once. Otherwise Wait is how long after its
	// commit it may; negative for never.
	Due  bool
	Wait time.Duration
}

// TailLag is how far a tail is behind, as another session sees it.
type TailLag struct {
	// Retained is how many bytes of the log the server keeps for the slot.
	Retained int64
	// Read is how far the tail has read the log, a second ago at most, and End how
	// far it is written.
	Read, End wal.LSN
}
