package engine

import (
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// unmarkable are the rows whose outcomes the server refuses, while it takes those of
// others. Each is tried again alone, after pauses that grow.
//
// Schedule that stops everything: a CHECK constraint (NOT VALID, so older rows may
// break it) forbids the mark of one row. Each batch with that row fails, and each term
// publishes its neighbours again.
type unmarkable struct {
	rows []refusedOutcome
	next time.Time // when the next row is due; zero if there is none
}

type refusedOutcome struct {
	outcome
	err   error
	since time.Time
	tries int
	due   time.Time
}

// unmarkableRetry are the pauses between the tries of one row.
var unmarkableRetry = Backoff{time.Second, 5 * time.Minute}

const (
	// At most unmarkableTries rows are tried at once, so that other outcomes do not
	// wait for them, and not before unmarkablePause has passed since the last ones.
	unmarkableTries = 16
	unmarkablePause = 100 * time.Millisecond
)

// add adds a row whose outcome was refused.
func (u *unmarkable) add(now time.Time, o outcome, err error) {
	u.again(now, refusedOutcome{outcome: o, since: now}, err)
}

// again adds a row whose outcome was refused once more.
func (u *unmarkable) again(now time.Time, r refusedOutcome, err error) {
	r.tries++
	r.err, r.due = err, now.Add(unmarkableRetry.ceiling(r.tries))
	u.rows = append(u.rows, r)
	if u.next.IsZero() || r.due.Before(u.next) {
		u.next = r.due
	}
}

// take removes the rows to try now, and sets the time of the next ones.
func (u *unmarkable) take(now time.Time) []refusedOutcome {
	var due []refusedOutcome
	var next time.Time
	u.rows = slices.DeleteFunc(u.rows, func(r refusedOutcome) bool {
		if len(due) < unmarkableTries && !r.due.After(now) {
			due = append(due, r)
			return true
		}
		if next.IsZero() || r.due.Before(next) {
			next = r.due
		}
		return false
	})
	if earliest := now.Add(unmarkablePause); !next.IsZero() && next.Before(earliest) {
		next = earliest
	}
	u.next = next
	return due
}

// takeAll removes all rows. One was written, so the obstacle may be gone for the others
// too.
func (u *unmarkable) takeAll() []outcome {
	all := make([]outcome, len(u.rows))
	for i, r := range u.rows {
		all[i] = r.outcome
	}
	*u = unmarkable{}
	return all
}

// hurry makes the first rows be tried at once, because the table takes outcomes again.
func (u *unmarkable) hurry(now time.Time) {
	for i := range min(len(u.rows), unmarkableTries) {
		u.rows[i].due, u.next = now, now
	}
}

// told are the first rows, for the status.
func (u *unmarkable) told() []relay.UnmarkableRow {
	told := make([]relay.UnmarkableRow, min(len(u.rows), relay.MaxUnmarkableTold))
	for i := range told {
		r := &u.rows[i]
		told[i] = relay.UnmarkableRow{Ref: r.ref(), Refused: r.refusal != nil, Since: r.since, Tries: r.tries, Error: r.err.Error()}
	}
	return told
}
