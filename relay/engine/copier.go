package engine

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// copier publishes copies of dead rows to the dead-letter topic. One goroutine of a term
// runs it, over a session of its own; the loop publishes for it, one copy at a time. What
// is refused is tried again later and delays nothing: a copy takes no place in the window
// and opens no breaker.
//
// Which copies are owed stands in the table. A relay that is killed between a death and
// its copy, or between that and its note, leaves the copy to the next term: it is
// published at least once, under the same id.
type copier struct {
	topic string // empty: there are no copies
	limit func() int64
	open  func(context.Context) (relay.DeadLetters, error)

	offers   chan *relay.Message
	outcomes chan relay.Outcome // of the one that is out
	out      atomic.Bool        // a copy is with the sink
	died     chan struct{}      // has an element when rows have died
	told     atomic.Pointer[error]

	// from is the row after which the next round begins: behind the one at which the last
	// round gave up, so that no row keeps those behind it from being copied.
	from int64
}

const (
	copyRows = 1000 // dead rows that one statement looks at
	// copyEvery is how often all dead rows are looked at; those of this term at once.
	copyEvery = 30 * time.Second
	// copyMisses is how many copies may fail before the rest is left for later.
	copyMisses = 3
)

// copyPause is the pause after a round in which a copy has failed.
var copyPause = Backoff{time.Second, time.Minute}

const faultCopies = "dead rows are not copied to the dead-letter topic, and stay in the table"

func newCopier(topic string, limit func() int64, open func(context.Context) (relay.DeadLetters, error)) *copier {
	return &copier{
		topic: topic, limit: limit, open: open,
		from: math.MinInt64, offers: make(chan *relay.Message), outcomes: make(chan relay.Outcome, 1), died: make(chan struct{}, 1),
	}
}

// nudge says that a row has died.
func (c *copier) nudge() {
	select {
	case c.died <- struct{}{}:
	default:
	}
}

// run copies until ctx ends.
func (c *copier) run(ctx context.Context) {
	if c.topic == "" {
		return
	}
	failures := 0
	for {
		err := c.round(ctx)
		if ctx.Err() != nil {
			return
		}
		c.told.Store(&err)
		pause, died := copyEvery, c.died
		if failures++; err == nil {
			failures = 0
		} else {
			pause, died = copyPause.equal(failures), nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-died:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// round looks at all dead rows, and copies those that owe it. It returns why the first
// copy that failed did.
func (c *copier) round(ctx context.Context) (failure error) {
	session, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	after, misses := c.from, 0
	c.from = math.MinInt64
	for {
		owed, cursor, end, err := session.Owed(ctx, after, copyRows)
		if err != nil {
			return err
		}
		for _, r := range owed {
			refused, err := c.copy(ctx, session, r)
			switch {
			case err != nil:
				c.from = r.ID
				return fmt.Errorf("row %d: %w", r.ID, err)
			case refused != nil && failure == nil:
				failure = fmt.Errorf("row %d: %w", r.ID, refused)
			}
			if refused != nil {
				misses++
			}
			if misses == copyMisses {
				c.from = r.ID
				return failure
			}
		}
		if end {
			return failure
		}
		after = cursor
	}
}

// copy publishes the copy of one row. refused is why the broker has not taken it, err why
// the session is of no more use, or the term over. A copy that breaks the rules of the
// wire goes without what may be the reason, one part after the other.
func (c *copier) copy(ctx context.Context, session relay.DeadLetters, r relay.Ref) (refused, err error) {
	letter, dead, err := session.Letter(ctx, r, c.limit())
	if err != nil || !dead {
		return nil, err
	}
	for left, more := letter.Suspect(), true; more; {
		o, err := c.publish(ctx, letter.Copy(c.topic, left))
		switch {
		case err != nil:
			return nil, err
		case o.Class == relay.Acknowledged:
			return nil, session.Copied(ctx, letter)
		case o.Class != relay.Rejected:
			return o.Err, nil
		}
		refused = o.Err
		left, more = left.More(o.Type)
	}
	return refused, nil
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

// copies is nil while no copy may be published: the broker takes nothing, or a message
// that may end the connection is alone with it, or waits to be.
func (t *term) copies() <-chan *relay.Message {
	if t.idle() || t.dispatcher.alone {
		return nil
	}
	if m := t.dispatcher.front(); m != nil && t.suspects.has(m.Ref) {
		return nil
	}
	return t.copier.offers
}

// publishCopy publishes outside of the window, for which the sink has a place more.
func (t *term) publishCopy(m *relay.Message) {
	c := t.copier
	c.out.Store(true)
	t.withSink.Add(1)
	t.config.Sink.Publish(m, func(_ *relay.Message, o relay.Outcome) {
		c.out.Store(false)
		c.outcomes <- o
		t.withSink.Add(-1)
	})
}

// tellCopies logs that copies fail.
func (t *term) tellCopies() {
	told := t.copier.told.Load()
	switch {
	case told == nil:
	case *told == nil:
		t.faults.recovered(faultCopies)
	default:
		t.faults.report(faultCopies, slog.Any("error", *told))
	}
}
