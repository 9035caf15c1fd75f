package engine

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What the loop does with each outcome that the sink reports and each
// settlement that the marker makes.

// Names of faults in the log.
const (
	faultSink      = "the broker takes no messages"
	faultRefused   = "message refused"
	faultDead      = "message dead"
	faultDuplicate = "message id was already in the stream"
	// The rest is the table's side.
	faultUnmarkable = "row cannot be marked: it was published, and is not published again in this term"
	faultTable      = "no row can be marked: one is published now and then, until one can"
	faultLocked     = "rows are locked by others: they were published, and are marked when the locks are gone"
)

// reported acts on the outcome of a published message.
func (t *term) reported(m *item, o relay.Outcome) {
	// If the chain had failed before, its key is held for this message too.
	c := m.chain
	held := c != nil && c.failed
	switch {
	case o.Class != relay.Withdrawn:
		t.concluded(m, o)
	case held, t.idle():
		t.dispatcher.reported(m)
		t.returnOne(m)
	default:
		t.dispatcher.withdraw(m)
	}
	if held {
		t.holds.over(c.name)
		if c.with == 0 {
			t.tailing.wakeAt(time.Now()) // a survey before was too early for the hold
		}
	}
}

// concluded acts on the outcome of a message that was not withdrawn.
func (t *term) concluded(m *item, o relay.Outcome) {
	alone := t.dispatcher.alone
	t.logFailure(m, o)
	t.dispatcher.reported(m)
	t.topics.release(m)
	if mayHave(o) {
		t.deferral.lost(m.Ref)
	}
	switch o.Class {
	case relay.Acknowledged:
		t.acknowledge(m, o)
	case relay.Refused, relay.Rejected:
		t.refuse(m, o)
	case relay.Postponed:
		t.postpone(m, o)
	case relay.Unavailable:
		t.openBreaker(string(o.Type), o.Err)
		t.returnOne(m)
	default: // Unknown, and outcomes that a sink forgot to classify
		t.openBreaker(string(o.Type), o.Err)
		if !t.breaker.lost {
			t.breaker.lost = true
			t.suspects.lossBegins()
		}
		t.suspects.lost(m.Ref)
		if alone {
			t.refuse(m, o)
		} else {
			t.returnOne(m)
		}
	}
}

// acknowledge lets the key go on and has the row marked. The row stays in
// flight until the mark is committed.
func (t *term) acknowledge(m *item, o relay.Outcome) {
	faultpoint("after-ack")
	t.breakerProved()
	t.done.answered++
	t.count.Published++
	if o.Duplicate {
		t.count.DuplicateAcks++
		t.faults.report(faultDuplicate, m.about()...)
	}
	t.suspects.cleared(m.Ref)
	t.deferral.settled(m.Ref)
	t.triedTopic(m, true)
	t.dispatcher.release(m)
	t.outcomes.add(outcome{mark: relay.Mark{Ref: m.Ref, XID: m.xid, CreatedAt: m.CreatedAt, Note: m.Note}})
}

// refuse has the refusal written. The row stays in flight until then, and its
// key is held, so that nothing overtakes it.
func (t *term) refuse(m *item, o relay.Outcome) {
	t.done.answered++
	t.triedTopic(m, false)
	t.fail(m)
	if t.dispatcher.ordered(m.Message) {
		t.holds.await(m.KeyName(), 1)
	}
	t.faults.report(faultRefused, m.about(
		slog.String("error_type", string(o.Type)), slog.Any("error", o.Err), slog.Int("attempt", m.Attempts+1))...)
	m.retry = t.config.Retry.full(m.Attempts + 1)
	t.count.Refused++
	t.outcomes.add(outcome{mark: relay.Mark{Ref: m.Ref}, refusal: &relay.Refusal{
		Ref:       m.Ref,
		XID:       m.xid,
		CreatedAt: m.CreatedAt,
		Reason:    string(o.Type) + ": " + o.Err.Error(),
		Type:      o.Type,
		Delay:     m.retry,
		Final:     o.Class == relay.Rejected,
	}})
}

// returnOne returns a row to the table that the sink has not taken, through no fault of
// the message. No later row of its key overtakes it: either the breaker is open, and
// the running pass was abandoned, or the key is held.
func (t *term) returnOne(m *item) {
	t.fail(m)
	t.dispatcher.committed()
	t.returned(m)
}

// fail returns the messages of m's key that are in memory to the table. The key is held
// until the sink has reported those that it has. An earlier pass or survey would bring
// the rows that follow them.
func (t *term) fail(m *item) {
	c := m.chain
	first := c != nil && !c.failed
	for _, other := range t.dispatcher.fail(m) {
		t.returned(other)
	}
	if first {
		t.holds.await(c.name, c.with)
	}
}

// returned notes that a row has left memory unpublished, and is only in the table
// again.
func (t *term) returned(m *item) {
	t.taken.returned(m.Ref)
	t.topics.returned(m)
	t.tailing.returned(m)
}

// settle takes a row out of the window: its outcome is committed, or cannot be for
// now.
func (t *term) settle(s settlement) {
	if s.place != inWindow {
		t.leaveWindow(s)
		return
	}
	m := t.taken.settle(s.Ref)
	if m == nil {
		return // settled before
	}
	t.done.written++
	t.window.prove()
	if !t.outside.remove(m) {
		t.dispatcher.committed()
	}
	if s.fate == 0 {
		return
	}
	if t.dispatcher.ordered(m.Message) {
		t.holds.over(m.KeyName())
	}
	if s.fate == relay.Waiting {
		t.tailing.wakeAt(time.Now().Add(m.retry))
		return
	}
	t.tailing.wakeAt(time.Now()) // its key goes on
	t.suspects.cleared(s.Ref)
	t.deferral.settled(s.Ref)
	if s.fate == relay.Dead {
		t.count.Dead++
		t.copier.deaths.add(s.Ref)
		t.faults.report(faultDead, m.about(slog.Int("attempts", s.attempts))...)
	}
}

// leaveWindow makes a row wait outside the window until its outcome is written. It
// stays taken, so that it is not taken again in this term.
func (t *term) leaveWindow(s settlement) {
	m := t.taken.rows[s.Ref]
	if m == nil {
		return
	}
	if s.place == setAside && m.place != setAside {
		t.faults.report(faultUnmarkable, m.about(slog.Any("error", s.err))...)
	}
	if t.outside.move(m, s.place) {
		t.done.written++
		t.dispatcher.committed()
		t.window.widen()
	}
}
