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
)

// outcomes is a batch that the marker writes.
type outcomes struct {
	marks    []relay.Mark
	refusals []relay.Refusal
}

func (o outcomes) empty() bool { return len(o.marks)+len(o.refusals) == 0 }

// settlement says that the outcome of a row is committed. Its fate is 0 for a
// row that was marked.
type settlement struct {
	relay.Ref
	fate     relay.Fate
	attempts int
}

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
	t.count.Published++
	if o.Duplicate {
		t.count.DuplicateAcks++
		t.faults.report(faultDuplicate, slog.String("message_id", m.MessageID.String()))
	}
	t.suspects.cleared(m.Ref)
	t.dispatcher.release(m)
	t.acknowledged = append(t.acknowledged, relay.Mark{Ref: m.Ref, XID: m.xid, Note: m.Note})
}

// refuse has the refusal written. The row stays in flight until then, and its
// key is held, so that nothing overtakes it.
func (t *term) refuse(m *item, o relay.Outcome) {
	t.returnFollowers(m)
	if t.dispatcher.ordered(m.Message) {
		t.holds.refuse(m.Key)
	}
	t.faults.report(faultRefused,
		slog.String("error_type", string(o.Type)), slog.Any("error", o.Err),
		slog.Int64("id", m.ID), slog.Int("attempt", m.Attempts+1))
	m.retry = t.config.Retry.full(m.Attempts + 1)
	t.count.Refused++
	t.marker.refusals.put(relay.Refusal{
		Ref:    m.Ref,
		XID:    m.xid,
		Reason: string(o.Type) + ": " + o.Err.Error(),
		Delay:  m.retry,
		Final:  o.Class == relay.Rejected,
	})
}

// returnHead leaves the row to the next pass: it was not this message's fault. The
// breaker is open, so the running pass has been abandoned and brings no later row
// of the key.
func (t *term) returnHead(m *item) {
	t.returnFollowers(m)
	t.dispatcher.committed()
	t.returned(m)
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

// settle takes a row out of the window: its outcome is committed.
func (t *term) settle(s settlement) {
	m := t.flight.settle(s.Ref)
	if m == nil {
		return // settled before
	}
	t.dispatcher.committed()
	if s.fate == 0 {
		return
	}
	if t.dispatcher.ordered(m.Message) {
		t.holds.refused(m.Key)
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
