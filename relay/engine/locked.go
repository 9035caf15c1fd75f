package engine

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// lockedRows are the rows that the writes left out, because somebody has locked them.
type lockedRows struct {
	rows  []outcome
	since time.Time // when the first of them came; zero while there are none
	tries int       // in succession, without a row written
	next  time.Time // when to try again; zero while there are none
}

// lockedRetry are the pauses before locked rows are tried again.
var lockedRetry = Backoff{100 * time.Millisecond, 2 * time.Second}

// lockedBatch is how many locked rows are tried at once. Each batch takes as long as a
// lock timeout, and the outcomes of other rows wait for that.
const lockedBatch = 4 * markBatch

// add adds rows that were left out.
func (l *lockedRows) add(now time.Time, rows []outcome) {
	if len(rows) == 0 {
		return
	}
	if len(l.rows) == 0 && l.since.IsZero() {
		l.since = now
	}
	l.rows = append(l.rows, rows...)
	if l.next.IsZero() {
		l.next = now.Add(lockedRetry.ceiling(l.tries + 1))
	}
}

// take removes the rows to try now. The caller adds those that are still locked.
func (l *lockedRows) take() []outcome {
	n := min(lockedBatch, len(l.rows))
	batch := l.rows[:n:n]
	l.rows = l.rows[n:]
	l.next = time.Time{}
	return batch
}

// tried sets the time of the next try.
func (l *lockedRows) tried(now time.Time, progress bool) {
	switch {
	case len(l.rows) == 0:
		*l = lockedRows{}
	case progress:
		l.tries, l.next = 0, now // the lock may be gone
	default:
		l.tries++
		l.next = now.Add(lockedRetry.ceiling(l.tries))
	}
}

// keepLocked keeps the outcomes of locked rows for later. The rows leave the window.
func (k *marker) keepLocked(rows []outcome) {
	k.locked.add(time.Now(), rows)
	for _, o := range rows {
		k.settled.put(settlement{Ref: o.ref(), place: behindALock})
	}
}

func (k *marker) retryLocked(ctx context.Context) error {
	before := k.written
	if err := k.write(ctx, k.locked.take()); err != nil {
		return err
	}
	now := time.Now()
	k.locked.tried(now, k.written > before)
	if k.locked.since.IsZero() {
		k.blockers = blockers{}
		return nil
	}
	return k.lookForBlockers(ctx, now, k.locked.since, k.locked.rows)
}

// blockers are the sessions that have locked rows, or the table.
type blockers struct {
	found  []relay.Blocker
	lookAt time.Time // when to look again
}

const (
	// blockersAfter is how long rows are locked before the blockers are looked up: most
	// locks are gone by then.
	blockersAfter = time.Second
	blockersEvery = 5 * time.Second
	// blockersRows is the largest number of locked rows for which the blockers are
	// looked up.
	blockersRows = 100
)

// lookForBlockers looks up, now and then, which sessions block the writing of the rows.
// since is when the rows began to wait.
func (k *marker) lookForBlockers(ctx context.Context, now, since time.Time, rows []outcome) error {
	if now.Sub(since) < blockersAfter || now.Before(k.blockers.lookAt) {
		return nil
	}
	refs := make([]relay.Ref, min(len(rows), blockersRows))
	for i := range refs {
		refs[i] = rows[i].ref()
	}
	found, err := k.control.Blockers(ctx, refs)
	if err != nil && !errors.Is(err, relay.ErrWriteRefused) {
		return err
	}
	k.blockers = blockers{found: found, lookAt: now.Add(blockersEvery)}
	return nil
}
