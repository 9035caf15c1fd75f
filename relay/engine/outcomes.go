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
	alone := t.dispatcher.alone
	t.dispatcher.reported(m)
	switch o.Class {
	case relay.Acknowledged:
		t.acknowledge(m, o)
	case relay.Refused, relay.Rejected:
		t.refuse(m, o)
	case relay.Unavailable:
		t.openBreaker(string(o.Type), o.Err)
		t.returnHead(m)
	case relay.Withdrawn:
		t.withdraw(m)
	default: // Unknown, and what a sink forgot to classify
		t.openBreaker(string(o.Type), o.Err)
		if !t.breaker.lost {
			t.breaker.lost = true
			t.suspects.lossBegins()
		}
		t.suspects.lost(m.Ref)
		if alone {
			t.refuse(m, o)
		} else {
			t.returnHead(m)
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
		t.faults.report(faultDuplicate, slog.String("message_id", m.MessageID.String()))
	}
	t.suspects.cleared(m.Ref)
	t.dispatcher.release(m)
	t.outcomes = append(t.outcomes, outcome{mark: relay.Mark{Ref: m.Ref, XID: m.xid, CreatedAt: m.CreatedAt, Note: m.Note}})
}

// refuse has the refusal written. The row stays in flight until then, and its
// key is held, so that nothing overtakes it.
func (t *term) refuse(m *item, o relay.Outcome) {
	t.done.answered++
	t.returnFollowers(m)
	if t.dispatcher.ordered(m.Message) {
		t.holds.refuse(m.KeyName())
	}
	t.faults.report(faultRefused,
		slog.String("error_type", string(o.Type)), slog.Any("error", o.Err),
		slog.Int64("id", m.ID), slog.Int("attempt", m.Attempts+1))
	m.retry = t.config.Retry.full(m.Attempts + 1)
	t.count.Refused++
	t.outcomes = append(t.outcomes, outcome{mark: relay.Mark{Ref: m.Ref}, refusal: &relay.Refusal{
		Ref:       m.Ref,
		XID:       m.xid,
		CreatedAt: m.CreatedAt,
		Reason:    string(o.Type) + ": " + o.Err.Error(),
		Type:      o.Type,
		Delay:     m.retry,
		Final:     o.Class == relay.Rejected,
	}})
}

// returnHead leaves the row to the next pass: it was not this message's fault. The
// breaker is open, so the running pass has been abandoned and brings no later row
// of the key.
func (t *term) returnHead(m *item) {
	t.returnFollowers(m)
	t.dispatcher.committed()
	t.returned(m)
}

// withdraw leaves the row to the next pass or survey, and has its key wait for that.
func (t *term) withdraw(m *item) {
	if m.Keyed {
		t.holds.hold(m.KeyName())
	}
	t.returnHead(m)
	t.tailing.wakeAt(time.Now())
}

// returnFollowers leaves the messages that waited behind m to the table.
func (t *term) returnFollowers(m *item) {
	for _, follower := range t.dispatcher.returnFollowers(m) {
		t.returned(follower)
	}
}

// returned notes that a row has left memory unpublished: it is the table's again.
func (t *term) returned(m *item) {
	t.flight.returned(m.Ref)
	t.tailing.returned(m)
}

// settle takes a row out of the window: its outcome is committed, or cannot be for
// now.
func (t *term) settle(s settlement) {
	if s.place != inWindow {
		t.leaveWindow(s)
		return
	}
	m := t.flight.settle(s.Ref)
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
		t.holds.refused(m.KeyName())
	}
	if s.fate == relay.Waiting {
		t.tailing.wakeAt(time.Now().Add(m.retry))
		return
	}
	t.tailing.wakeAt(time.Now()) // its key goes on
	t.suspects.cleared(s.Ref)
	if s.fate == relay.Dead {
		t.count.Dead++
		t.faults.report(faultDead, slog.Int64("id", m.ID),
			slog.String("message_id", m.MessageID.String()), slog.Int("attempts", s.attempts))
	}
}

// leaveWindow has a row wait for its outcome outside the window. It stays in
// flight, so that no pass brings it again in this term.
func (t *term) leaveWindow(s settlement) {
	m := t.flight.rows[s.Ref]
	if m == nil {
		return
	}
	if s.place == setAside && m.place != setAside {
		t.faults.report(faultUnmarkable, slog.Int64("id", m.ID), slog.String("message_id", m.MessageID.String()), slog.Any("error", s.err))
	}
	if t.outside.move(m, s.place) {
		t.done.written++
		t.dispatcher.committed()
		t.window.widen()
	}
}
