package engine

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// lockedRows are the rows that the writes left out, because somebody has them
// locked.
type lockedRows struct {
	rows  []outcome
	since time.Time // there have been some since then
	tries int       // in a row that wrote none of them
	next  time.Time // to try again; the zero time where there are none
}

// lockedRetry are the pauses before locked rows are tried again.
var lockedRetry = Backoff{100 * time.Millisecond, 2 * time.Second}

// lockedBatch locked rows are tried at once. Each batch takes a lock timeout, which
// the outcomes of other rows wait for.
const lockedBatch = 4 * markBatch

// add takes in rows that were left out.
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

// keepLocked keeps outcomes for later, whose rows leave the window meanwhile.
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

// blockers are those who have rows locked, or the table.
type blockers struct {
	found  []relay.Blocker
	lookAt time.Time // again
}

const (
	// blockersAfter a lock is worth a look: most are gone by then.
	blockersAfter = time.Second
	blockersEvery = 5 * time.Second
	// blockersRows of the locked rows are looked at.
	blockersRows = 100
)

// lookForBlockers looks now and then who is in the way of the rows, since when they
// have been kept waiting.
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
