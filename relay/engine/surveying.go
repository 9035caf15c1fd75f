package engine

import (
	"math"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// The surveys of a tail: when one is made, what becomes of its rows, and what is
// left to the next.

// overdueAfter is the longest pause before a survey for which the log waits,
// whatever the poll interval: long before a tail that is not read is left.
const overdueAfter = unreadLimit / 5

// surveyDue is when the next survey is wanted and affordable: surveys take no
// more than a fifth of the time.
func (t *tailing) surveyDue(now time.Time) time.Time {
	wanted, pause := t.wake, t.intake.pace.interval
	if t.overdue {
		wanted, pause = now, min(pause, overdueAfter)
	}
	affordable := t.surveyed.Add(max(pause, restFactor*t.took))
	if affordable.After(wanted) {
		return affordable
	}
	return wanted
}

// wakeAt has a survey made at that time: a row in the table is due then.
func (t *tailing) wakeAt(at time.Time) {
	if at.Before(t.wake) {
		t.wake = at
	}
}

func (t *tailing) survey(now time.Time) {
	t.surveyed, t.wake = now, now.Add(t.reconcile)
	t.overdue = false
	in := t.intake
	in.holds.passBegins()
	// Rows that are in memory come once more: half a buffer for all, so that both
	// together are bounded too.
	req := in.request(relay.Pass{}, math.MinInt64, in.limits.rows, in.limits.bytes/2)
	req.ExcludeKeys = in.holds.excluded()
	in.reader.ask(sweepRequest{kind: readSurvey, chunk: req})
}

// takeSurvey takes in the rows of a survey and installs its snapshot.
//
// Schedule that reorders: the log tells of row 1 a moment before its transaction
// is visible to others; its key is held, so the row is left to the next survey; that
// one does not see it yet, and ends the hold; 2 goes before 1. So a survey has to
// see every transaction of which something was forgotten.
func (t *tailing) takeSurvey(s relay.Survey, now time.Time) {
	switch {
	case !s.Complete:
		t.leave(now, "catching up: more rows are due, or wait for their retry, than the buffer takes, or PostgreSQL fails on one of them", nil)
		return
	case t.overdue, slices.ContainsFunc(t.forgotten, func(x wal.XID) bool { return !s.Snapshot.Sees(x) }):
		t.overdue = true
		return
	}
	t.forgotten = nil
	reconciles := t.phase == tailReading && !t.restores
	t.restores = false
	t.seen, t.gate.visible, t.gate.synchronous = s.Snapshot, s.Snapshot, s.Synchronous
	for _, row := range s.Rows {
		t.takeRow(row, reconciles, s.Position, now)
	}
	if s.NextScheduled > 0 {
		t.wakeAt(now.Add(s.NextScheduled))
	}
	if t.phase == tailJoining {
		t.phase = tailStarting
		close(t.stream.begin)
	}
	if ev, ok := t.gate.take(); ok {
		t.read(ev, now)
	}
}

func (t *tailing) takeRow(row relay.Row, reconciles bool, position wal.LSN, now time.Time) {
	in := t.intake
	wasHeld := in.dispatcher.ordered(row.Message) && in.holds.wasHeld(row.Key)
	admitted := in.take(row)
	switch {
	case row.Wait > 0:
		t.wakeAt(now.Add(row.Wait))
	case admitted == rowFull: // a survey does not come back to it
		in.holds.hold(row.Key)
		t.wakeAt(now)
	case admitted == rowTaken && reconciles && !wasHeld && row.Attempts == 0 && !row.Scheduled:
		t.unconfirmed.brought(row.Ref, position)
	}
}

// postpone leaves the row to the survey that comes when it is due.
func (t *tailing) postpone(ev relay.TailEvent, now time.Time) {
	t.forgotten = append(t.forgotten, ev.XID)
	if ev.Message.Attempts > 0 && t.intake.dispatcher.ordered(ev.Message) {
		t.intake.holds.hold(ev.Message.Key)
	}
	if ev.Wait >= 0 {
		t.wakeAt(now.Add(ev.Wait))
	}
}

// returned notes that a row has left memory unpublished.
func (t *tailing) returned(m *item) {
	if m.xid != 0 && t.phase == tailReading {
		t.forgotten = append(t.forgotten, m.xid)
	}
}
