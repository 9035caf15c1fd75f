package tail

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// Kind says what an [Event] tells.
type Kind uint8

// The kinds of event. The zero value is none of them.
const (
	// Begin: a transaction has committed and its rows follow, those of one
	// transaction together, in the order of the commits. PostgreSQL 14 tells also
	// of transactions that hold no rows of the table.
	Begin Kind = iota + 1
	// Row: one row inserted into the table.
	Row
	// Commit: the transaction's last row has been told.
	Commit
	// Keepalive: the server has read the log up to LSN and found nothing more.
	Keepalive
)

var kindNames = [...]string{"invalid", "begin", "row", "commit", "keepalive"}

// String returns the kind in lower case.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Event is what was read next from the log.
type Event struct {
	Kind Kind
	// LSN is a position in the log: for a Begin that of the commit, for a Row that of
	// the insertion, for a Commit its end.
	LSN wal.LSN
	// XID and CommitTime are the transaction's; not set for a Keepalive.
	XID        wal.XID
	CommitTime time.Time

	// Message is the row of a Row event, as it was inserted; the caller may keep it. It
	// has payload and headers only if the row is Pending and Due and has no Defect.
	Message *relay.Message
	// Pending says that the row was inserted neither sent nor dead.
	Pending bool
	// Due says that its transaction committed at or after available_at.
	Due bool
	// AvailableAt is when a row that is not Due will be. Zero: never ("infinity").
	AvailableAt time.Time
}
