package engine

import (
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// What a tail does with rows: those that come by the log, those that surveys bring, and
// those that return to the table.

// read acts on an event of the log.
func (t *tail) read(ev relay.TailEvent, now time.Time) {
	if missed := t.horizon.passed(ev.Position); missed > 0 {
		t.missed += missed
		t.lag.inspectNow() // the publication may have lost the table
	}
	m := ev.Message
	if m == nil {
		return
	}
	in := t.intake
	held := in.dispatcher.ordered(m) && in.holds.blocks(m.KeyName())
	switch t.horizon.judge(ev, in.flight.has(m.Ref), held) {
	case eventSkip:
		t.horizon.confirmed(m.Ref)
	case eventWait:
		t.horizon.keep(ev, now)
	case eventLeave:
		t.leaveToTable(ev, now)
	case eventTake:
		t.take(&item{Message: m, xid: ev.XID}, now)
	}
	if in.holds.full() {
		t.leave(now, "too many keys wait for rows that were refused", nil)
	}
}

// readAgain judges the event that was kept back, if there is one.
func (t *tail) readAgain(now time.Time) {
	if ev, ok := t.horizon.gate.giveOut(); ok {
		t.read(ev, now)
	}
}

// leaveToTable leaves a row to the survey that comes when it is due, or that ends
// the hold of its key.
func (t *tail) leaveToTable(ev relay.TailEvent, now time.Time) {
	t.horizon.leave(ev.XID)
	if ev.Due {
		return
	}
	if in := t.intake; ev.Message.Attempts > 0 && in.dispatcher.ordered(ev.Message) {
		in.holds.hold(ev.Message.KeyName())
	}
	if ev.Wait >= 0 {
		t.surveys.wakeAt(now.Add(ev.Wait))
	}
}

// take hands a row to the dispatcher. Where its chain is full, its key is held and
// a survey brings the row.
func (t *tail) take(m *item, now time.Time) {
	if !t.intake.dispatcher.add(m) {
		t.intake.holds.hold(m.KeyName())
		t.horizon.leave(m.xid)
		t.surveys.wakeAt(now)
		return
	}
	t.intake.flight.add(m)
}

// survey asks for all that is due, as one snapshot sees it.
func (t *tail) survey(now time.Time) {
	t.surveys.begins(now)
	in := t.intake
	in.holds.snapshotBegins()
	// Rows that are in memory come once more: half a buffer for all, so that both
	// together are bounded too.
	req := in.request(relay.Pass{}, math.MinInt64, in.limits.rows, in.limits.bytes/2)
	req.ExcludeKeys = in.holds.excluded()
	t.reader.ask(readRequest{kind: readSurvey, chunk: req})
}

// takeSurvey takes in the rows of a survey and moves the horizon to it, or has
// another one made.
func (t *tail) takeSurvey(s relay.Survey, now time.Time) {
	switch {
	case !s.Complete:
		t.leave(now, "catching up: more rows are due, or wait for their retry, than the buffer takes, or PostgreSQL fails on one of them", nil)
		return
	case t.surveys.overdue, !t.horizon.covers(s.Snapshot):
		t.surveys.demand()
		return
	}
	t.horizon.moveTo(s)
	for _, row := range s.Rows {
		t.takeRow(row, s.Position, now)
	}
	if s.NextScheduled > 0 {
		t.surveys.wakeAt(now.Add(s.NextScheduled))
	}
	if t.phase == tailJoining {
		t.enter(tailStarting, now)
		close(t.stream.begin)
	}
	t.readAgain(now)
}

func (t *tail) takeRow(row relay.Row, position wal.LSN, now time.Time) {
	in := t.intake
	wasHeld := in.dispatcher.ordered(row.Message) && in.holds.wasHeld(row.KeyName())
	admitted := in.take(row)
	switch {
	case row.Wait > 0:
		t.surveys.wakeAt(now.Add(row.Wait))
	case admitted == rowFull: // a survey does not come back to it, but the next one does
		in.holds.hold(row.KeyName())
		t.surveys.wakeAt(now)
	case admitted == rowTaken && !wasHeld && row.Attempts == 0 && !row.Scheduled:
		t.horizon.brought(row.Ref, position)
	}
}

// returned notes that a row has left memory unpublished.
func (t *tail) returned(m *item) {
	if m.xid != 0 && t.phase == tailReading {
		t.horizon.leave(m.xid)
	}
}

// allReturned notes that all that was not published has left memory: a survey has to
// come before the log is read on.
func (t *tail) allReturned(now time.Time) {
	switch t.phase {
	case tailReading:
		t.surveys.demand() // also where one is out: it has begun too early
		t.horizon.leaveAll()
	case tailOpening, tailJoining, tailStarting:
		// A slot that nobody goes on with would keep the log for as long as the broker
		// is down.
		t.leave(now, "the broker takes no messages", nil)
	case tailClosing, tailEnded:
	}
}
