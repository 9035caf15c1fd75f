package engine

import (
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Bounds of a tail.
const (
	// unreadLimit is how long a stream may stay unread, because PostgreSQL cannot shut
	// down while it waits for the relay to read.
	unreadLimit = 5 * time.Second
	// tailProved: after a tail that was read for this long, the next one is tried soon.
	tailProved = time.Minute
)

// tail is the life of one replication slot: how the log is joined to what was read
// from the table, when surveys are made, and when the tail is left. It is made with
// its slot, and dropped whole. Its owner is [tailing].
type tail struct {
	owner  *tailing
	intake *intake
	reader *reader
	stream *stream
	phase  tailPhase

	horizon horizon
	surveys surveyClock
	// parked are keys of which a survey has left rows in the table, and frames what
	// those surveys saw. Until these rows are read, rows of the keys that come by the
	// log are left in the table too.
	parked parkedKeys
	frames map[string]relay.Pass
	// blocked are the keys that dead rows block, as the newest survey saw them, each with
	// the id after which rows wait.
	blocked map[string]int64
	lag     lagWatch
	maxWAL  int64 // bytes of its log that the server may keep for the slot

	began  time.Time // when it began to read the log
	unread time.Time // when the log was last read; zero while it is read
	missed int       // rows that the log has missed, since the loop last asked
}

// enter changes the phase; nothing else does.
func (t *tail) enter(to tailPhase, now time.Time) {
	if !t.phase.leadsTo(to) {
		t.leave(now, "", fmt.Errorf("%w from %s to %s", errNoEdge, t.phase, to))
		return
	}
	t.phase = to
}

// advance asks for what the tail needs next. It is not called while the sink is
// down.
func (t *tail) advance(now time.Time) {
	if t.reader.busy() {
		return
	}
	switch t.phase {
	case tailJoining:
		if !t.intake.running() {
			t.survey(now)
		}
	case tailReading:
		t.ask(now)
	case tailOpening, tailStarting, tailClosing, tailEnded:
	}
}

// ask asks for a statement that is due while the log is read.
func (t *tail) ask(now time.Time) {
	switch {
	case !now.Before(t.surveys.due(now)):
		t.survey(now)
	case t.horizon.gate.holdsBack() && !now.Before(t.horizon.gate.next):
		t.reader.ask(readRequest{kind: readSnapshot})
	case !now.Before(t.lag.due()):
		t.lag.request(now)
		t.reader.ask(readRequest{kind: inspectTail, tail: t.stream.tail})
	default:
		t.refillParked()
	}
}

// result handles the answer to a statement. The loop handles the session's errors.
func (t *tail) result(res readResult, now time.Time) {
	switch {
	case t.phase.polls(): // left meanwhile
	case res.err != nil:
		t.leave(now, "the table cannot be read beside the log", res.err)
	case res.kind == readSurvey:
		t.surveys.ended(res.took)
		t.takeSurvey(res.survey, now)
	case res.kind == refillTail:
		t.refilled(res.chunk, now)
	case res.kind == readSnapshot:
		t.horizon.gate.visible = res.snapshot
		t.readAgain(now)
	case res.kind == inspectTail:
		t.inspected(res, now)
	}
}

// inspected leaves a tail that cannot be trusted, or costs more than it gives.
func (t *tail) inspected(res readResult, now time.Time) {
	switch {
	case res.refusal != nil:
		t.leave(now, "", res.refusal)
	case res.lag.Retained > t.maxWAL:
		t.leave(now, fmt.Sprintf("the server keeps %d bytes of its log for the slot, more than OUTBOX_MAX_WAL=%d: "+
			"look for a transaction that is open or prepared for long (outbox-relay doctor)", res.lag.Retained, t.maxWAL), nil)
	case !t.unread.IsZero(): // the relay does not read the log, so of course the tail is behind
	default:
		if t.lag.inspected(res.lag, now); t.lag.fallsBehind() {
			t.leave(now, "the log is written faster than the server decodes it, as in a bulk load", nil)
		}
	}
}

// stepped handles a step of the stream.
func (t *tail) stepped(step streamStep, now time.Time) {
	switch step.kind {
	case streamOpened:
		t.stream.tail = step.tail
		if t.phase == tailOpening {
			t.enter(tailJoining, now)
			t.intake.abandon()
		}
	case streamStarted:
		if t.phase == tailStarting {
			t.enter(tailReading, now)
			t.began = now
			t.owner.joined()
		}
	case streamEnded:
		t.leave(now, "", step.err)
		t.enter(tailEnded, now)
	}
}

// readable says whether the loop may read more of the log.
func (t *tail) readable(sinkDown bool) bool {
	memory, limits := t.intake.dispatcher.memory(), t.intake.limits
	return t.phase == tailReading && !sinkDown &&
		t.reader.out != readSurvey && !t.surveys.overdue && !t.horizon.gate.holdsBack() &&
		memory.rows < limits.rows && memory.bytes < limits.bytes
}

// noteUnread notes when the log was last read.
func (t *tail) noteUnread(now time.Time, sinkDown bool) {
	switch {
	case t.readable(sinkDown):
		t.unread = time.Time{}
	case t.phase == tailReading && t.unread.IsZero():
		t.unread = now
	}
}

// leaveIfUnread leaves a tail that has not been read for too long.
func (t *tail) leaveIfUnread(now time.Time) {
	if t.phase != tailReading || t.unread.IsZero() || now.Sub(t.unread) < unreadLimit {
		return
	}
	reason := "the broker does not keep up"
	switch {
	case t.reader.out == readSurvey:
		reason = "the table cannot be read in time beside the log"
	case t.horizon.gate.holdsBack():
		reason = "a transaction in the log is not visible yet: it waits for the synchronous standby"
	case t.surveys.overdue:
		reason = "the broker was away, or a transaction that is in the log is not visible yet"
	}
	t.leave(now, reason, nil)
}

// leave gives the tail up, for a reason or because of an error. From here on the log is
// not read, and the owner waits for the stream's last step. If the tail was left
// already, leave does nothing.
func (t *tail) leave(now time.Time, reason string, cause error) {
	if !t.phase.leadsTo(tailClosing) {
		return
	}
	t.owner.lost(now, t.began, reason, cause)
	t.enter(tailClosing, now)
	t.stream.cancel()
	t.intake.pace.next = now
}

// next returns when advance has to be called again; the zero time if only an event can
// change the tail.
func (t *tail) next(now time.Time) time.Time {
	if t.phase != tailReading {
		return time.Time{}
	}
	var at time.Time
	if !t.unread.IsZero() {
		at = t.unread.Add(unreadLimit)
	}
	if t.reader.busy() {
		return at
	}
	at = sooner(at, sooner(t.surveys.due(now), t.lag.due()))
	if t.horizon.gate.holdsBack() {
		at = sooner(at, t.horizon.gate.next)
	}
	return at
}

// sooner returns the earlier of two times. The first one may be zero, which means none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
