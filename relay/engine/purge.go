package engine

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Size and timing of the purge.
const (
	// purgeRows is how many rows one step looks at: some milliseconds of work.
	purgeRows = 2000
	// purgeRest: after a step the purge rests for so many times as long as the step
	// took. So it takes at most a third of one backend's time. While more rows are sent
	// than that can delete, it does not rest: the table would grow.
	purgeRest = 2
	// A round of steps begins every purgeEvery, or more often (up to every purgeOften)
	// if rows are kept only for minutes.
	purgeEvery, purgeOften = time.Minute, time.Second
	// purgeAgain is how long a purge without the right to delete waits before it tries
	// again.
	purgeAgain = 5 * time.Minute
	// purgeAnew is how often a round begins with the lowest id of all. Ids begin again after
	// TRUNCATE … RESTART IDENTITY, and a low id may have been committed after higher ones.
	purgeAnew = time.Hour
	// purgeSkips is how many rows that cannot be deleted a round skips before it gives
	// up.
	purgeSkips = 100
)

// purge deletes rows that were sent long ago, over a session of its own, so that it
// delays no mark. One goroutine of a term runs it. Whatever fails here, delivery goes on.
type purge struct {
	age  time.Duration
	open func(context.Context) (relay.Purger, error)
	sent func() uint64 // how many rows this term has marked so far
	told atomic.Pointer[purging]

	from int64 // where the next round begins
	// began is when a round last began with the lowest id of all.
	began time.Time
}

// purging is the purge's state, as the loop sees it.
type purging struct {
	rows  uint64 // how many were deleted in this term
	off   error  // why sent rows are not deleted; nil while they are
	since time.Time
}

func newPurge(age time.Duration, sent func() uint64, open func(context.Context) (relay.Purger, error)) *purge {
	p := &purge{age: age, open: open, sent: sent, from: math.MinInt64}
	p.told.Store(&purging{})
	return p
}

// run purges until ctx ends.
func (p *purge) run(ctx context.Context) {
	if p.age <= 0 {
		return
	}
	failures := 0
	for {
		err := p.round(ctx)
		if ctx.Err() != nil {
			return
		}
		p.tell(err)
		pause := min(max(p.age/10, purgeOften), purgeEvery)
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, relay.ErrNoPurge):
			pause = purgeAgain
		default:
			failures++
			pause = Backoff{purgeOften, purgeAgain}.equal(failures)
		}
		if relay.Sleep(ctx, pause) != nil {
			return
		}
	}
}

func (p *purge) tell(err error) {
	told := *p.told.Load()
	if err == nil || told.off == nil {
		told.since = time.Now()
	}
	told.off = err
	p.told.Store(&told)
}

// round deletes old rows, beginning with the first row that an earlier round did not
// delete.
func (p *purge) round(ctx context.Context) error {
	session, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	if time.Since(p.began) > purgeAnew {
		p.from = math.MinInt64
	}
	if p.from == math.MinInt64 {
		p.began = time.Now()
	}
	r := purgeRound{purge: p, session: session, rows: purgeRows, at: p.from, left: math.MaxInt64, counted: p.sent()}
	err = r.run(ctx)
	if p.from = min(r.left, r.at); err == nil && r.empty {
		p.from = math.MinInt64
	}
	return err
}

// purgeRound is one round.
type purgeRound struct {
	*purge
	session relay.Purger
	rows    int   // of the next step
	at      int64 // where it begins
	left    int64 // the lowest row that was not deleted
	empty   bool  // there was no row at all
	skipped int   // rows that cannot be deleted
	refused error // why the last of them cannot be deleted

	counted uint64 // rows sent, when the last step ended
	behind  int64  // how many more rows were sent than deleted in this round; 0 at least
}

func (r *purgeRound) run(ctx context.Context) error {
	for {
		began := time.Now()
		done, err := r.session.Purge(ctx, relay.PurgeRun{From: r.at, Rows: r.rows, Age: r.age})
		switch {
		case errors.Is(err, relay.ErrWriteRefused):
			r.refuse(done, err)
			if r.skipped >= purgeSkips {
				return err
			}
		case err != nil:
			return err
		default:
			r.take(done)
			if done.Done {
				return r.refused
			}
		}
		if r.fallsBehind(done.Rows) && done.Rows > 0 {
			continue
		}
		if err := relay.Sleep(ctx, purgeRest*time.Since(began)); err != nil {
			return err
		}
	}
}

// fallsBehind notes that a step has deleted so many rows, and returns whether more were
// sent than deleted since the round began.
func (r *purgeRound) fallsBehind(deleted int64) bool {
	sent := r.sent()
	r.behind = max(0, r.behind+int64(sent-r.counted)-deleted) //nolint:gosec // a count
	r.counted = sent
	return r.behind > 0
}

// refuse halves the step until it has found the row that cannot be deleted, and skips
// that row, so that the others are deleted.
func (r *purgeRound) refuse(past relay.Purged, err error) {
	r.refused = err
	if r.rows > 1 {
		r.rows /= 2
		return
	}
	r.skipped++
	r.left = min(r.left, past.Left)
	r.at = past.Next
}

func (r *purgeRound) take(done relay.Purged) {
	r.empty = r.at == r.from && done.Next == r.at && done.Done
	r.rows = min(2*r.rows, purgeRows)
	if done.Left < done.Next {
		r.left = min(r.left, done.Left)
	}
	r.at = done.Next
	if done.Rows > 0 {
		told := *r.told.Load()
		told.rows += uint64(done.Rows) //nolint:gosec // a count
		r.told.Store(&told)
	}
}
