package relay

import (
	"context"
	"errors"
	"time"
)

// ErrNoPurge is wrapped by the errors of a [Purger] that stay until a person fixes
// something: a privilege, a foreign key that nobody has agreed to. The message says what
// to run.
var ErrNoPurge = errors.New("sent rows cannot be purged")

// Purger is a session that deletes rows which were sent long ago. One goroutine uses it.
// After an error the session is of no use: close it.
type Purger interface {
	// Purge looks at the next rows and deletes those of them that were sent long ago. It
	// is one short statement, and it leaves out what another session has locked.
	// [ErrWriteRefused]: some row cannot be deleted, so none of them was; the session is
	// as good as before, and a step of one row says where the next row is.
	Purge(ctx context.Context, run PurgeRun) (Purged, error)
	// Close ends the session without waiting for the server. Idempotent.
	Close()
}

// PurgeRun asks for one step.
type PurgeRun struct {
	From int64         // the lowest id to look at
	Rows int           // how many rows to look at, at most
	Age  time.Duration // delete those that were sent this long ago
}

// Purged is what a step did.
type Purged struct {
	Rows int64 // deleted
	// Next is where the next step begins.
	Next int64
	// Left is the lowest id that was looked at and not deleted; Next if there is none.
	Left int64
	// Done: the step has reached rows that are too young, or the end.
	Done bool
}
