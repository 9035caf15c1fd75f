package tail

import "fmt"

// Reason says why the log cannot be read. It is of low cardinality.
type Reason uint8

// The reasons. All but [ReasonBlocked] stay until a person fixes them.
const (
	// ReasonWALLevel: wal_level is not logical.
	ReasonWALLevel Reason = iota + 1
	// ReasonRole: the role may not replicate.
	ReasonRole
	// ReasonSlots: max_replication_slots is used up.
	ReasonSlots
	// ReasonSenders: max_wal_senders, or the connections, are used up.
	ReasonSenders
	// ReasonPublication: the publication is missing, or does not send all that is
	// inserted into the table.
	ReasonPublication
	// ReasonShape: the table is not in the shape that the relay needs.
	ReasonShape
	// ReasonStandby: the server is a standby, or read-only.
	ReasonStandby
	// ReasonBlocked: transactions that were open when the slot was to be created
	// did not end in time.
	ReasonBlocked
	// ReasonSynchronous: the server would take the stream for a synchronous standby.
	ReasonSynchronous
)

var reasonNames = [...]string{
	"invalid", "wal_level", "role", "slots", "senders", "publication", "shape", "standby", "blocked", "synchronous",
}

// String returns the reason in lower case.
func (r Reason) String() string {
	if int(r) >= len(reasonNames) {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return reasonNames[r]
}

// UnavailableError says that the server answers, but does not let the relay read the
// log. Any other error is temporary.
type UnavailableError struct {
	Reason Reason
	// Text says what is wrong and how to fix it.
	Text string
	// Blockers are set for [ReasonBlocked], the oldest first. There are none if the
	// blocker has ended by then.
	Blockers []Blocker
	// Cause is what the server said, or nil.
	Cause error
}

// Error returns the text, and what the server said.
func (e *UnavailableError) Error() string {
	if e.Cause == nil {
		return e.Text
	}
	return e.Text + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }
