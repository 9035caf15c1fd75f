package engine

import "time"

// tableBreaker is open while no outcome can be written: a full disk, a trigger that
// fails for every row, a privilege that is gone. While it is open, only one row at a
// time is published, to see whether its outcome can be written. Otherwise each row
// would be published, not marked, and published again by the next term.
//
// It has no I/O and no clock: the marker tells it the result of each try, and asks it
// when the next one is due.
type tableBreaker struct {
	since time.Time // the zero time while it is closed
	err   error     // the error of the last try
	tries int       // how many since it opened
	rows  int       // how many of these tried a row for the first time
	last  time.Time // when the last try was
	// probed is when a row was last tried for the first time. Known rows are tried more
	// often, and must not delay that.
	probed time.Time
}

// Pauses between the tries. Trying a row once more publishes nothing; a row that has
// not been tried had to be published for it.
var (
	tableRetry = Backoff{100 * time.Millisecond, 5 * time.Second}
	tableProbe = Backoff{100 * time.Millisecond, 30 * time.Second}
)

func (b *tableBreaker) isOpen() bool { return !b.since.IsZero() }

// fail notes that a row's outcome could not be written, and opens the breaker.
func (b *tableBreaker) fail(now time.Time, rowIsNew bool, err error) {
	if b.since.IsZero() {
		b.since = now
	}
	b.tries++
	if rowIsNew {
		b.rows++
		b.probed = now
	}
	b.last, b.err = now, err
}

// waits notes a try that showed nothing, because somebody has locked the row.
func (b *tableBreaker) waits(now time.Time) {
	if b.isOpen() {
		b.tries++
		b.last = now
	}
}

// close notes that an outcome was committed.
func (b *tableBreaker) close() { *b = tableBreaker{} }

// retryAt is when a row that has been tried may be tried again.
func (b *tableBreaker) retryAt() time.Time { return b.last.Add(tableRetry.ceiling(max(1, b.tries))) }

// probeAt is when another row may be tried.
func (b *tableBreaker) probeAt() time.Time { return b.probed.Add(tableProbe.ceiling(max(1, b.rows))) }
