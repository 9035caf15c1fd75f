package engine

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// tailPhase is how far the tail has got. Passes run in the phases up to
// tailClosing, surveys in the others.
type tailPhase uint8

const (
	tailNone     tailPhase = iota // there is no stream
	tailOpening                   // a slot is being created
	tailClosing                   // the stream was given up, and is ending
	tailJoining                   // the slot is there; a survey comes before the log is read
	tailStarting                  // the survey was complete; the stream is being started
	tailReading                   // the log is read
)

var tailPhaseNames = [...]string{"none", "opening", "closing", "joining", "starting", "reading"}

// String returns the phase in lower case.
func (p tailPhase) String() string { return tailPhaseNames[p] }

// Bounds of a tail.
const (
	// unreadLimit is how long a stream may stay unread: PostgreSQL cannot shut down
	// while it waits for us to read.
	unreadLimit = 5 * time.Second
	// inspectEvery is how often slot and publication are looked at. With the
	// heartbeat it makes less than two statements a second.
	inspectEvery = 3 * time.Second
	// tailProved is how long a tail must have been read for the next try at one to
	// come soon after its end.
	tailProved = time.Minute
)

// tailing is the life of the tail beside the polling: when one is opened, how
// the log is joined to what the sweeps have brought, when surveys are made, and
// when the tail is left. Whatever goes wrong, the relay is polling again.
//
// Joining. The slot is created beside the passes. When it is there, and all that
// committed before it is visible, a survey reads whatever is due as one snapshot
// sees it; then the log is read. A transaction that the snapshot sees was
// surveyed, and its rows are skipped when the log tells of them; all others are
// in the log. So nothing is missed, and nothing is taken twice.
//
// Surveys go on while the log is read: every reconcile interval, when a row that
// waits in the table is due, when a hold has to end, and after the window was
// given back. The log is not read meanwhile, and from then on it is judged by the
// newer snapshot, row by row: a survey may come in the middle of a transaction.
//
// Schedule that reorders, which is why only a complete survey installs its
// snapshot: rows 1 and 2 of a key are committed; the survey ends early, with 2
// unread; its snapshot sees both, the log's 2 is skipped, and 3 goes before 2.
type tailing struct {
	intake     *intake
	wanted     bool
	reconcile  time.Duration
	maxWAL     int64
	retry      Backoff
	openStream func() *stream

	phase    tailPhase
	stream   *stream
	failures int       // tries in a row that brought no lasting tail
	next     time.Time // of the next try
	// left is why there is no tail, for people; cause the error, if it was one.
	left  string
	cause error
	// missed is since when there is no tail that is read, or when that was told last.
	missed time.Time

	overdue bool // a survey has to come before the log is read on
	// restores says that the next survey brings rows that were given back: the log
	// has told of them.
	restores bool
	seen     wal.Snapshot // of the newest complete survey

	began     time.Time // of reading
	surveyed  time.Time // when the last survey began
	took      time.Duration
	wake      time.Time // when the next survey is wanted
	inspected time.Time
	lag       lagWatch
	unread    time.Time // since when the log is not read; zero while it is

	gate        gate
	unconfirmed *unconfirmed
	reconciled  int // found since the loop last asked
	// forgotten are the transactions of rows that the log has told of and that are
	// left to the table, since the last survey. See takeSurvey.
	forgotten []wal.XID
}

// polls says whether passes may run.
func (t *tailing) polls() bool { return t.phase <= tailClosing && !t.intake.reader.out.ofTail() }

// reads says whether the log is being read.
func (t *tailing) reads() bool { return t.phase == tailReading }

// advance does what is due. It is not called while the sink is down.
func (t *tailing) advance(now time.Time) {
	switch t.phase {
	case tailNone:
		// An answer that is still to come was asked for the last tail: its snapshot
		// is older than the next slot.
		if t.wanted && !t.intake.reader.out.ofTail() && !now.Before(t.next) && t.intake.keepsUp() {
			t.phase, t.stream = tailOpening, t.openStream()
		}
	case tailJoining:
		if !t.intake.reader.busy() && !t.intake.running() {
			t.survey(now)
		}
	case tailReading:
		t.ask(now)
	case tailOpening, tailClosing, tailStarting:
	}
}

// ask has the sweeper do what the tail needs next.
func (t *tailing) ask(now time.Time) {
	switch {
	case t.intake.reader.busy():
	case !now.Before(t.surveyDue(now)):
		t.survey(now)
	case t.gate.waiting != nil && !now.Before(t.gate.next):
		t.intake.reader.ask(sweepRequest{kind: readSnapshot})
	case now.Sub(t.inspected) >= t.lag.pause():
		t.inspected = now
		t.intake.reader.ask(sweepRequest{kind: inspectTail, tail: t.stream.tail})
	}
}

// result takes in what the sweeper answers to the tail. It is not the place to
// judge errors of the session: the loop does.
func (t *tailing) result(res sweepResult, now time.Time) {
	if t.phase <= tailClosing {
		return // left meanwhile
	}
	switch {
	case res.err != nil:
		t.leave(now, "the table cannot be read beside the log", res.err)
	case res.kind == readSurvey:
		t.took = res.took
		t.takeSurvey(res.survey, now)
	case res.kind == readSnapshot:
		t.gate.visible = res.snapshot
		if ev, ok := t.gate.take(); ok {
			t.read(ev, now)
		}
	case res.kind == inspectTail:
		t.inspection(res, now)
	}
}

func (t *tailing) inspection(res sweepResult, now time.Time) {
	switch {
	case res.refusal != nil:
		t.leave(now, "", res.refusal)
	case res.lag.Retained > t.maxWAL:
		t.leave(now, fmt.Sprintf("the server keeps %d bytes of its log for the slot, more than OUTBOX_MAX_WAL=%d: "+
			"look for a transaction that is open or prepared for long (outbox-relay doctor)", res.lag.Retained, t.maxWAL), nil)
	case t.unread.IsZero() && t.lag.falls(res.lag, now):
		t.leave(now, "the log is written faster than the server decodes it, as in a bulk load", nil)
	}
}

// read takes in what the log tells.
func (t *tailing) read(ev relay.TailEvent, now time.Time) {
	if missed := t.unconfirmed.passed(ev.Position); missed > 0 {
		t.reconciled += missed
		t.inspected = time.Time{} // the publication may have lost the table
	}
	m := ev.Message
	switch {
	case m == nil:
	case t.seen.Sees(ev.XID):
		t.unconfirmed.told(m.Ref)
	case !ev.Pending, t.intake.flight.has(m.Ref):
	case !ev.Due:
		t.postpone(ev, now)
	case t.gate.passes(ev, now):
		t.take(&item{Message: m, xid: ev.XID}, now)
	}
}

// take hands a row of the log to the dispatcher, or leaves it in the table for
// the survey that ends its key's hold.
func (t *tailing) take(m *item, now time.Time) {
	in := t.intake
	switch {
	case in.dispatcher.ordered(m.Message) && in.holds.blocks(m.Key):
		t.returned(m)
	case !in.dispatcher.add(m):
		in.holds.hold(m.Key)
		t.returned(m)
		t.wakeAt(now)
	default:
		in.flight.add(m)
	}
	if in.holds.full() {
		t.leave(now, "too many keys wait for rows that were refused", nil)
	}
}

// readable says whether the loop shall take in more of the log, and notes since
// when it does not.
func (t *tailing) readable(now time.Time, sinkDown bool) bool {
	if t.phase != tailReading {
		return false
	}
	memory := t.intake.dispatcher.memory()
	limits := t.intake.limits
	if !sinkDown && t.intake.reader.out != readSurvey && !t.overdue && t.gate.waiting == nil &&
		memory.rows < limits.rows && memory.bytes < limits.bytes {
		t.unread = time.Time{}
		return true
	}
	if t.unread.IsZero() {
		t.unread = now
	}
	return false
}

// neglected leaves a tail that has not been read for too long.
func (t *tailing) neglected(now time.Time) {
	if t.phase != tailReading || t.unread.IsZero() || now.Sub(t.unread) < unreadLimit {
		return
	}
	switch {
	case t.intake.reader.out == readSurvey:
		t.leave(now, "the table cannot be read in time beside the log", nil)
	case t.gate.waiting != nil:
		t.leave(now, "a transaction in the log is not visible yet: it waits for the synchronous standby", nil)
	case t.overdue:
		t.leave(now, "the broker was away, or a transaction that the log has told of is not visible yet", nil)
	default:
		t.leave(now, "the broker does not keep up", nil)
	}
}

// stepped takes in how far the stream has got.
func (t *tailing) stepped(step streamStep, now time.Time) {
	switch step.kind {
	case streamOpened:
		t.stream.tail = step.tail
		if t.phase == tailOpening {
			t.phase = tailJoining
			t.intake.abandon()
		}
	case streamStarted:
		if t.phase == tailStarting {
			t.phase, t.began, t.unread = tailReading, now, time.Time{}
			t.left, t.cause = "", nil
			t.inspected = time.Time{} // the publication may have changed since it was checked
			t.lag = lagWatch{}
		}
	case streamEnded:
		if t.phase != tailClosing {
			t.leave(now, "", step.err)
		}
		t.stream, t.phase = nil, tailNone
	}
}

// allReturned notes that rows have left memory unpublished: what the log has told
// of them is forgotten, so a survey has to come first.
func (t *tailing) allReturned(now time.Time) {
	switch t.phase {
	case tailReading:
		t.restores = true
		t.overdue = true // also where a survey is under way: it is taken for nothing
		if ev, ok := t.gate.take(); ok {
			t.forgotten = append(t.forgotten, ev.XID)
		}
		t.unconfirmed.clear()
	case tailOpening, tailJoining, tailStarting:
		// A slot that nobody goes on with would keep the log for as long as the broker
		// is down.
		t.leave(now, "the broker takes no messages", nil)
	case tailNone, tailClosing:
	}
}

// leave gives the tail up; the stream's last step is awaited before another.
func (t *tailing) leave(now time.Time, left string, cause error) {
	if t.phase == tailReading && now.Sub(t.began) > tailProved {
		t.failures = 0
	}
	t.failures++
	t.next = now.Add(t.retry.equal(t.failures))
	t.left, t.cause = left, cause
	if t.phase == tailReading {
		t.missed = now
	}
	if cause != nil && left == "" {
		t.left = cause.Error()
	}
	t.phase = tailClosing
	t.stream.cancel()
	t.overdue, t.restores, t.seen = false, false, wal.Snapshot{}
	t.gate.waiting, t.gate.visible = nil, wal.Snapshot{}
	t.unconfirmed.clear()
	t.forgotten = nil
	t.intake.pace.next = now
}

// close ends the tail for good.
func (t *tailing) close(now time.Time) {
	t.wanted = false
	if t.stream != nil && t.phase != tailClosing {
		t.leave(now, "", nil)
	}
}

// until is how long the loop may sleep as far as the tail is concerned.
func (t *tailing) until(now time.Time) time.Duration {
	at := now.Add(time.Hour)
	sooner := func(when time.Time) {
		if when.Before(at) {
			at = when
		}
	}
	switch t.phase {
	case tailNone:
		if t.wanted && t.next.After(now) {
			sooner(t.next)
		}
	case tailReading:
		if !t.unread.IsZero() {
			sooner(t.unread.Add(unreadLimit))
		}
		if !t.intake.reader.busy() {
			sooner(t.surveyDue(now))
			sooner(t.inspected.Add(t.lag.pause()))
			if t.gate.waiting != nil {
				sooner(t.gate.next)
			}
		}
	case tailOpening, tailClosing, tailJoining, tailStarting:
	}
	return max(0, at.Sub(now))
}

// missedLong says that the tail has been away for longer than a few tries at one
// take.
func (t *tailing) missedLong(now time.Time) bool {
	return t.wanted && !t.reads() && now.Sub(t.missed) > t.retry.Max
}

// explain is what there is to say to people about the tail; empty where it is
// read, or not wanted.
func (t *tailing) explain() string {
	switch {
	case !t.wanted || t.phase == tailReading:
		return ""
	case t.left != "":
		return t.left
	case t.phase == tailNone:
		return "waiting for a sweep that keeps up"
	}
	return "joining the write-ahead log"
}
