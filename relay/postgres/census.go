package postgres

import (
	"context"
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
}

// NewCensus makes a census of the table, which [Census.Run] takes.
func (d *Database) NewCensus() *Census {
	c := &Census{database: d}
	c.told.Store(&relay.Census{})
	return c
}

// Latest is what the last counting found. It does not block and is safe for any
// goroutine.
func (c *Census) Latest() relay.Census { return *c.told.Load() }

// censusFirst is when the first counting comes: the relay's own sessions go first.
const censusFirst = time.Second

// Run counts until ctx ends.
func (c *Census) Run(ctx context.Context) {
	pause := censusFirst
	for relay.Sleep(ctx, pause) == nil {
		c.take(ctx)
		// Not all relays of a table at once.
		pause = censusInterval
		if c.Latest().Due.Estimated {
			pause = censusOfMany
		}
		pause -= rand.N(pause / 5)
	}
}

// take counts once. A failure keeps the last numbers, with their age.
func (c *Census) take(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*countDeadline)
	defer cancel()
	stats, err := c.database.Stats(ctx)
	now := time.Now()
	if err == nil {
		c.told.Store(&relay.Census{TableStats: stats, At: now})
		return
	}
	told := *c.told.Load()
	if told.Err == nil {
		told.FailingSince = now
	}
	told.Err = err
	c.told.Store(&told)
}
