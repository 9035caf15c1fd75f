package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// copier publishes copies of dead rows to the dead-letter topic. One goroutine of a
// term runs it, over a session of its own. The loop publishes for it, one copy at a
// time. A copy that is refused is tried again later and delays nothing: copies take no
// place in the window and open no breaker.
//
// The table says which rows still need a copy. If a relay is killed between a death and
// its copy, or between the copy and the note of it, the next term publishes the copy:
// at least once, always under the same id.
type copier struct {
	topic string // empty: there are no copies
	limit func() int64
	open  func(context.Context) (relay.DeadLetters, error)

	copierPorts
	// from is the row after which the next look at all rows begins. That is the row at
	// which the last look gave up, so that no row prevents the copies of those behind
	// it.
	from int64
	// unnoted are the deaths whose copies were acknowledged, but not noted in the
	// table, because somebody has locked the row. Their copies are not published again
	// in this term.
	unnoted map[relay.Ref]time.Time
}

// copierPorts are the channels and fields between the loop and the copier.
type copierPorts struct {
	offers   chan *relay.Message
	outcomes chan relay.Outcome // of the copy that is out
	out      atomic.Bool        // a copy is with the sink
	over     chan struct{}      // has an element when that copy was reported
	deaths   deaths
	told     atomic.Pointer[error]
	hasTurn  bool // a row was published since the last copy; of the loop
}

const (
	copyRows = 1000 // dead rows that one statement looks at
	// copyEvery is how often all dead rows are looked at. Rows that die in this term
	// are looked at at once.
	copyEvery = 30 * time.Second
	// copyRest: the pause after a statement is so many times as long as the statement,
	// so that a million dead rows take no more than a fifth of one of the database's
	// cores.
	copyRest = 4
	// copyMisses is how many copies may fail before the rest is left for later.
	copyMisses = 3
	// mostUnnoted bounds the memory of rows that somebody has locked.
	mostUnnoted = 10_000
)

// copyPause is the pause after a round in which a copy has failed.
var copyPause = Backoff{time.Second, time.Minute}

const faultCopies = "dead rows are not copied to the dead-letter topic, and stay in the table"

var errUnnoted = errors.New("too many dead rows are locked by others, so that their copies cannot be noted")

func newCopier(topic string, limit func() int64, open func(context.Context) (relay.DeadLetters, error)) *copier {
	return &copier{
		topic: topic, limit: limit, open: open, from: math.MinInt64, unnoted: make(map[relay.Ref]time.Time),
		copierPorts: copierPorts{
			offers: make(chan *relay.Message), outcomes: make(chan relay.Outcome, 1), over: make(chan struct{}, 1),
			deaths: deaths{came: make(chan struct{}, 1)},
		},
	}
}

// deaths are the rows that have died in this term and are not copied yet. If there are
// too many, the next look at all dead rows finds the rest.
type deaths struct {
	came chan struct{} // has an element while there are some

	mu   sync.Mutex
	rows []relay.Ref
}

func (d *deaths) add(r relay.Ref) {
	d.mu.Lock()
	if len(d.rows) < copyRows {
		d.rows = append(d.rows, r)
	}
	d.mu.Unlock()
	select {
	case d.came <- struct{}{}:
	default:
	}
}

func (d *deaths) take() []relay.Ref {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := d.rows
	d.rows = nil
	return rows
}

// run copies until ctx ends. It looks at all dead rows every copyEvery, and at rows
// that die in this term at once.
func (c *copier) run(ctx context.Context) {
	if c.topic == "" {
		return
	}
	failures := 0
	for next := time.Now(); ; {
		var err error
		if now := time.Now(); now.Before(next) {
			err = c.round(ctx, c.copyDied)
		} else {
			err = c.round(ctx, c.copyAll)
			next = time.Now().Add(copyEvery)
		}
		if ctx.Err() != nil {
			return
		}
		c.told.Store(&err)
		died := c.deaths.came
		if failures++; err == nil {
			failures = 0
		} else {
			// The next look at all dead rows finds the rows that have died meanwhile.
			next, died = time.Now().Add(copyPause.equal(failures)), nil
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
		case <-died:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// round calls do with a session of its own.
func (c *copier) round(ctx context.Context, do func(context.Context, *copyRound) error) error {
	session, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	return do(ctx, &copyRound{session: session})
}

// copyRound is what has become of copies in one round.
type copyRound struct {
	session relay.DeadLetters
	misses  int
	failure error // why the first one was not taken
	met     map[relay.Ref]time.Time
}

// copyDied copies the rows that have died since the last round.
func (c *copier) copyDied(ctx context.Context, r *copyRound) error {
	rows := c.deaths.take()
	for _, row := range rows {
		if err := c.copyRow(ctx, r, row); err != nil || r.misses == copyMisses {
			return cmp.Or(err, r.failure)
		}
	}
	return r.failure
}

// copyAll looks at all dead rows, and copies those that need it.
func (c *copier) copyAll(ctx context.Context, r *copyRound) error {
	after := c.from
	c.from = math.MinInt64
	if after == c.from {
		r.met = make(map[relay.Ref]time.Time)
	}
	for {
		began := time.Now()
		owed, cursor, end, err := r.session.Owed(ctx, after, copyRows)
		if err != nil {
			return err
		}
		took := time.Since(began)
		for _, row := range owed {
			if err := c.copyRow(ctx, r, row); err != nil || r.misses == copyMisses {
				c.from = row.ID
				return cmp.Or(err, r.failure)
			}
		}
		if end {
			if r.met != nil {
				c.unnoted = r.met // the others are dead no more, or are noted
			}
			return r.failure
		}
		after = cursor
		if err := relay.Sleep(ctx, copyRest*took); err != nil {
			return err
		}
	}
}

// copyRow publishes the copy of one row, and notes it in the table. Its error says why
// the session can no longer be used, or that the term is over.
func (c *copier) copyRow(ctx context.Context, r *copyRound, row relay.Ref) error {
	refused, err := c.copy(ctx, r, row)
	switch {
	case err != nil:
		return fmt.Errorf("row %d: %w", row.ID, err)
	case refused != nil:
		r.misses++
		if r.failure == nil {
			r.failure = fmt.Errorf("row %d: %w", row.ID, refused)
		}
	}
	return nil
}

// copy publishes the copy of one row. refused says why the broker has not taken it; err
// says why the session can no longer be used, or that the term is over. If a copy
// breaks the rules of the wire, it is tried again without one part after the other.
func (c *copier) copy(ctx context.Context, r *copyRound, row relay.Ref) (refused, err error) {
	letter, dead, err := r.session.Letter(ctx, row, c.limit())
	if err != nil || !dead {
		return nil, err
	}
	if at, published := c.unnoted[row]; published && at.Equal(letter.DeadAt) {
		return nil, c.note(ctx, r, letter)
	}
	if len(c.unnoted) >= mostUnnoted {
		return errUnnoted, nil
	}
	for left, more := letter.Suspect(), true; more; {
		o, err := c.publish(ctx, letter.Copy(c.topic, left))
		switch {
		case err != nil:
			return nil, err
		case o.Class == relay.Acknowledged:
			return nil, c.note(ctx, r, letter)
		case o.Class != relay.Rejected:
			return o.Err, nil
		}
		refused = o.Err
		left, more = left.More(o.Type)
	}
	return refused, nil
}

// note notes in the table that the copy of this death was acknowledged. If somebody has
// locked the row, the next look at all rows tries that again.
func (c *copier) note(ctx context.Context, r *copyRound, letter relay.DeadLetter) error {
	c.unnoted[letter.Ref] = letter.DeadAt
	noted, err := r.session.Copied(ctx, letter)
	switch {
	case err != nil:
		return err
	case noted:
		delete(c.unnoted, letter.Ref)
	case r.met != nil:
		r.met[letter.Ref] = letter.DeadAt
	}
	return nil
}

// publish has the loop publish a message, and waits for its outcome.
func (c *copier) publish(ctx context.Context, m *relay.Message) (relay.Outcome, error) {
	select {
	case c.offers <- m:
	case <-ctx.Done():
		return relay.Outcome{}, ctx.Err()
	}
	select {
	case o := <-c.outcomes:
		return o, nil
	case <-ctx.Done():
		return relay.Outcome{}, ctx.Err()
	}
}
