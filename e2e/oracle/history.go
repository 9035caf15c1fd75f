package oracle

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Expectation is what has to become of a committed row.
type Expectation string

// The expectations.
const (
	// Delivered is the rule: in the stream and marked.
	Delivered Expectation = "delivered"
	// Buried rows can never be published: dead, and never in the stream.
	Buried Expectation = "dead"
	// Withdrawn rows were taken out of the table by the application before they
	// were marked. They may have been published or not; both are right.
	Withdrawn Expectation = "withdrawn"
	// Purged rows were taken out of the table after they were marked: they must
	// have arrived, and the table can say no more.
	Purged Expectation = "purged"
)

// Written is a committed row, as the ledger has it.
type Written struct {
	relay.Ref
	Key    string
	Keyed  bool
	Seq    int64 // place within the key, from 1; 0 for rows without a key
	Digest Digest
	Expect Expectation
}

// Delivery is one message of the stream.
type Delivery struct {
	StreamSeq uint64
	Stored    time.Time // by the broker's clock
	MessageID string    // as on the wire; empty if there was none
	Digest    Digest
}

// RowState is what the outbox says about a row.
type RowState struct {
	Sent      bool
	Dead      bool
	Attempts  int
	LastError string
}

// Table is the outbox by identity of its rows.
type Table map[relay.Ref]RowState

// Pending counts the rows that are neither sent nor dead.
func (t Table) Pending() int {
	n := 0
	for _, row := range t {
		if !row.Sent && !row.Dead {
			n++
		}
	}
	return n
}

// Limits says what the relay under test was set to do and what was done to it.
type Limits struct {
	// Redeliveries is how many copies beyond the first the faults explain: at most
	// what was in flight at each of them. 0 where there was no fault.
	Redeliveries int
	// Deletes: rows are deleted after sending instead of being marked.
	Deletes bool
	// Forgotten: an asynchronous failover took transactions back. Messages up to this
	// place in the stream may be of rows that the ledger has forgotten with them.
	Forgotten uint64
	// Unordered: the relay was told to keep no order within a key.
	Unordered bool
	// KeyWindow is the relay's OUTBOX_KEY_WINDOW; 0 is 1. At each refusal of a row that many
	// rows of its key, less one, may overtake it, and no other row may be overtaken.
	KeyWindow int
}
