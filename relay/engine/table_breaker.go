package engine

import "time"

// tableBreaker is open while no outcome can be written: a full disk, a trigger that
// fails for every row, a privilege that is gone. While it is open nothing is
// published but one row at a time, to see whether its outcome can be written: else
// each row would be published and forgotten, and published again by the next term.
//
// It is arithmetic: the marker tells it what became of a try, and asks it when the
// next one is due.
type tableBreaker struct {
	since time.Time // the zero time while it is closed
	err   error     // of the last try
	tries int       // since it opened
	rows  int       // of these, with rows that had not been tried before
	last  time.Time // of the tries
	// probed is when a row was tried last that had not been tried before. Known rows are
	// tried more often, and must not put that off.
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

// waits notes a try that told nothing, because somebody has the row locked.
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
