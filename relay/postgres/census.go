package postgres

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// censusInterval is how often the table is counted for those who look at it, and
// censusOfMany how often while a large backlog makes that dearer.
const censusInterval, censusOfMany = 15 * time.Second, 30 * time.Second

// Census counts the table again and again, so that it costs the database the same,
// however many ask.
type Census struct {
	database *Database
	told     atomic.Pointer[relay.Census]
	// Only Run's goroutine uses these. warned is when a warning about the partitions was last
	// logged, and trouble is what it was about.
	warned  time.Time
	trouble partitionTrouble
	// fine is when the table itself was last looked at and nothing was wrong; zero if something
	// was, or if it is not known. Then each counting looks at the table, so that a fix shows at
	// the next one.
	fine time.Time
	// watched is when somebody last looked who wants to see the other relays too, in
	// nanoseconds since 1970. wake has them looked up at once for the first one.
	watched atomic.Int64
	wake    chan struct{}
}

// NewCensus makes a census of the table, which [Census.Run] takes.
func (d *Database) NewCensus() *Census {
	c := &Census{database: d, wake: make(chan struct{}, 1)}
	c.told.Store(&relay.Census{})
	return c
}

// Latest is what the last counting found. It does not block and is safe for any
// goroutine.
func (c *Census) Latest() relay.Census { return *c.told.Load() }

// watchedFor is how long the other relays are looked up after somebody has looked.
const watchedFor = time.Minute

// Watch has the other relays looked up too, for a minute. It does not block and is safe for any
// goroutine.
func (c *Census) Watch() {
	now := time.Now().UnixNano()
	if last := c.watched.Swap(now); now-last > int64(watchedFor) {
		select {
		case c.wake <- struct{}{}:
		default: // it will be
		}
	}
}

// censusFirst is when the first counting comes: the relay's own sessions go first.
const censusFirst = time.Second

// Run counts until ctx ends.
func (c *Census) Run(ctx context.Context) {
	next := time.NewTimer(censusFirst)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-c.wake:
		}
		c.take(ctx, time.Now())
		// Not all relays of a table at once.
		pause := censusInterval
		if c.Latest().Due.Estimated {
			pause = censusOfMany
		}
		next.Reset(pause - rand.N(pause/5))
	}
}

// tableInterval is how often the table itself is looked at while nothing is wrong with it: at
// what it lacks, and at its partitions. That costs more than the counting, and changes seldom.
const tableInterval = 5 * time.Minute

// take counts once; now is the time that it takes it to be. A failure keeps the last numbers,
// with their age.
func (c *Census) take(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, 3*countDeadline)
	defer cancel()
	table := now.Sub(c.fine) >= tableInterval
	found, err := c.database.look(ctx, now.UnixNano()-c.watched.Load() < int64(watchedFor), table)
	if err == nil {
		found.At = now
		c.told.Store(&found.Census)
		if table && ctx.Err() == nil { // what a relay that stops did not find out is no trouble
			c.fine = time.Time{}
			if found.Lacks == "" && found.trouble == noTrouble {
				c.fine = now
			}
			c.warn(now, found.trouble, found.Partitions)
		}
		return
	}
	c.fine = time.Time{} // it may be another table by the time that it is found again
	told := *c.told.Load()
	if told.Err == nil {
		told.FailingSince = now
	}
	told.Err = err
	c.told.Store(&told)
}

// partitionsAgain is how often the log is told of the same trouble with the partitions, which
// is no fault yet, but will be one.
const partitionsAgain = time.Hour

// warn logs what is wrong with the partitions, at once if it is something else than last time.
// The reason's text has numbers, which change all the time: only the kind is compared.
func (c *Census) warn(now time.Time, trouble partitionTrouble, reason string) {
	if trouble == noTrouble || trouble == c.trouble && now.Sub(c.warned) < partitionsAgain {
		return
	}
	c.warned, c.trouble = now, trouble
	c.database.options.Logger.Warn("the partitions of the outbox table need attention",
		slog.String("table", c.database.options.Table.String()), slog.String("reason", reason), slog.String("fix", "outbox-relay doctor prints it"))
}
