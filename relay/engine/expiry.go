package engine

import (
	"fmt"
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What the loop does, while the broker takes nothing, with rows that have waited for it
// for too long.

const faultExpired = "rows have waited for the broker for longer than OUTBOX_MAX_DEFER and are dead"

// expiry is a pass over the rows of a frame that is due. It is like any other pass, but
// its rows are declared dead.
type expiry struct {
	frame relay.Pass
	after int64
	bytes int64 // how much a chunk may have; more if a single row has more
	// keys are those of the last batch. They wait only until it is written: a key may have
	// more such rows than a batch takes.
	keys []string
}

// afterFirst is a cursor behind the lowest possible id. In an ordinary pass no row of
// the first chunk is newer than the pass, because the pass has not gone past any row.
// Here each row that was committed after the frame is newer, wherever it is.
const afterFirst = math.MinInt64 + 1

// lookAtBroker notes whether the broker is down. A term begins without knowing. In a pause
// rows wait because a person wants that, whatever the broker does.
func (t *term) lookAtBroker(now time.Time) {
	if t.breaker.open && t.breaker.failures == 0 {
		return
	}
	t.deferral.look(now, t.breaker.open && !t.pausing)
}

// expire notes a frame, or reads rows of the one that is due. One batch is written before
// the next is read, so that each statement sees which keys dead rows block.
func (t *term) expire(now time.Time) {
	d := t.deferral
	if !t.breaker.open {
		t.expiry = nil // what it has met may wait for something else by now
	}
	switch {
	case d.most == 0 || t.stopping || t.pausing || t.reader.busy() || !t.breaker.open:
		return
	case t.reader.failures > 0 && now.Before(t.intake.pace.next):
		return
	case d.wantsFrame():
		t.reader.ask(readRequest{kind: noteFrame})
		return
	case t.expiry == nil && !t.beginExpiry():
		return
	}
	rows := min(t.room(now), markBatch)
	if t.dispatcher.uncommitted > 0 || !t.outcomes.empty() || rows == 0 {
		return
	}
	e := t.expiry
	for _, key := range e.keys {
		t.holds.release(key)
	}
	e.keys = nil
	req := t.intake.request(e.frame, e.after, rows, e.bytes)
	req.ExcludeKeys, req.TopicRows = t.holds.excluded(), nil
	req.MaxMessageBytes = 1 // the payload is not needed
	t.reader.ask(readRequest{kind: readExpired, chunk: req})
}

func (t *term) beginExpiry() bool {
	frame, due := t.deferral.due()
	if !due {
		return false
	}
	t.holds.snapshotBegins() // as in a pass, which meets what waits once more
	t.expiry = &expiry{frame: frame, after: afterFirst, bytes: t.intake.limits.bytes / readAhead}
	return true
}

// expired handles the answer to noteFrame or readExpired.
func (t *term) expired(res readResult) {
	switch {
	case res.err != nil || !t.breaker.open || t.stopping || t.pausing:
		t.expiry = nil // it will begin again
	case res.kind == noteFrame:
		t.deferral.note(res.pass)
	case t.expiry != nil:
		e, c := t.expiry, res.chunk
		for _, row := range t.doomed(c.Rows) {
			t.giveUp(row)
		}
		t.outcomes.give(t.marker)
		if e.after, e.bytes = c.Cursor, max(e.bytes, c.NextSize); c.Done {
			t.deferral.done()
			t.expiry = nil
		}
	}
}

// doomed returns the rows that have waited for the broker since the frame, and for
// nothing else. If a dead row blocks its key, the rows behind it wait for a person.
func (t *term) doomed(rows []relay.Row) []relay.Row {
	var doomed []relay.Row
	blocked := make(map[string]bool)
	for _, row := range rows {
		ordered, key := t.dispatcher.ordered(row.Message), row.KeyName()
		switch {
		case t.taken.has(row.Ref):
		case row.Wait > 0: // perhaps since a refusal after the frame, which makes it newer too
			if ordered {
				t.holds.hold(key) // those behind it wait for it
			}
		case row.Newer, t.deferral.isUnknown(row.Ref):
		case ordered && (t.holds.blocks(key) || blocked[key]):
		default:
			blocked[key] = ordered && t.config.DeadBlocks
			doomed = append(doomed, row)
		}
	}
	return doomed
}

// giveUp makes the marker declare the row dead, as if it had been published and
// rejected.
func (t *term) giveUp(row relay.Row) {
	it := &item{Message: row.Message}
	t.taken.add(it)
	t.dispatcher.giveUp(it)
	if t.dispatcher.ordered(it.Message) {
		t.holds.await(it.KeyName(), 1)
		t.expiry.keys = append(t.expiry.keys, it.KeyName())
	}
	t.count.Expired++
	t.faults.report(faultExpired, it.about()...)
	t.outcomes.add(outcome{mark: relay.Mark{Ref: it.Ref}, refusal: &relay.Refusal{
		Ref:       it.Ref,
		CreatedAt: it.CreatedAt,
		Reason: fmt.Sprintf("%s: the broker took no messages for %v while this row was due: %s",
			relay.ErrorTypeExpired, t.deferral.most, t.breaker.reason),
		Type:      relay.ErrorTypeExpired,
		Final:     true,
		Uncounted: true,
	}})
}

// mayHave says whether the broker may have a message with that outcome.
func mayHave(o relay.Outcome) bool {
	switch o.Class {
	case relay.Unknown:
		return true
	case relay.Refused:
		return o.Type == relay.ErrorTypeTimeout || o.Type == relay.ErrorTypeDisconnected
	case relay.Postponed:
		return o.Type == relay.ErrorTypeDisconnected
	case relay.Acknowledged, relay.Rejected, relay.Unavailable, relay.Withdrawn:
	}
	return false
}
