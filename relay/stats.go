package relay

import (
	"fmt"
	"time"
)

// Count is a number of rows.
type Count struct {
	Rows int64
	// Estimated: the rows were not counted one by one.
	Estimated bool
	// More: there are at least Rows, and may be many more.
	More bool
}

// String returns the number, with a ~ before an estimate and a + where there are more.
func (c Count) String() string {
	switch {
	case c.More:
		return fmt.Sprintf("%d+", c.Rows)
	case c.Estimated:
		return fmt.Sprintf("~%d", c.Rows)
	}
	return fmt.Sprint(c.Rows)
}

// TableStats is how many rows of which kind the table has.
type TableStats struct {
	// Due: pending, and may be sent now. Those whose retry has come are among them.
	Due Count
	// Scheduled: pending, not to be sent before a time that has not come, and not
	// tried yet.
	Scheduled Count
	// Retrying: pending, and refused at least once, due or not.
	Retrying Count
	// Dead: given up.
	Dead Count
	// OldestAge is how long the row that is due for longest has been due: since the
	// later of created_at and available_at. 0 if none is due. If not all due rows were
	// counted, only those with the lowest ids are considered, which are the oldest but
	// for some retries.
	OldestAge time.Duration
	// Lacks says what the relay would use and the table of an older version has not, or
	// its role may not write; empty if there is nothing. It works without.
	Lacks string
	// Partitions says what a person has to do about the table's partitions; empty if there is
	// nothing, or if it has none.
	Partitions string
}

// Census is what the last counting of the table found.
type Census struct {
	TableStats
	// At is when the counting began; zero while nothing has been counted. If Lacks and
	// Partitions are both empty, that may be what was found up to five minutes earlier.
	At time.Time
	// Members are the relays of the table, this one too, the leader first; nil where nobody has asked for them.
	// MembersErr says why they could not be looked up.
	Members    []Member
	MembersErr error
	// Err says why counting fails since FailingSince; nil while it does not.
	Err          error
	FailingSince time.Time
}

// OldestAgeAt is how long the oldest pending row has been due at that time. While the table cannot be
// counted, the row that was found last goes on to age: an alert must not sleep because the
// database is away.
func (c Census) OldestAgeAt(now time.Time) time.Duration {
	if c.Err == nil || c.Due.Rows == 0 {
		return c.OldestAge
	}
	return c.OldestAge + max(0, now.Sub(c.At))
}

// Member is who holds a lock of the relays of a table.
type Member struct {
	// Name is the relay's host, or the application_name of what is no relay. Anybody who
	// may connect can hold such a lock.
	Name  string
	PID   int64 // of the server's process
	Leads bool  // it has the leadership lock; else it stands by
	Relay bool  // it looks like a working relay
}
