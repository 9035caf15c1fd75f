package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// tailing opens tails for as long as the term lasts. It decides when to try, how long
// to wait after a tail that did not last, and says why there is none. It owns the
// current tail. Whatever goes wrong with that one, the relay is polling again.
type tailing struct {
	config     TailConfig
	intake     *intake
	openStream func() *stream

	tail     *tail     // nil while there is none
	failures int       // tries in a row that brought no lasting tail
	next     time.Time // of the next try
	// left says why there is no tail, as text for people. cause is the error, if there
	// was one.
	left  string
	cause error
	// pollingSince is when the tail stopped, or when the relay last logged why there is
	// none.
	pollingSince time.Time
}

// lag is how much of its log the server keeps for the tail, and how much of it the tail
// has not read, in bytes, at the last inspection; 0 if there is no tail.
func (t *tailing) lag() (retained, unread int64) {
	if t.tail == nil {
		return 0, 0
	}
	return t.tail.lag.retained, int64(t.tail.lag.gap) //nolint:gosec // no log is so long
}

// polls says whether passes may run. They wait for the answer to a statement that the
// last tail has asked for.
func (t *tailing) polls() bool {
	return (t.tail == nil || t.tail.phase.polls()) && !t.intake.reader.out.ofTail()
}

// reads says whether the log is being read.
func (t *tailing) reads() bool { return t.tail != nil && t.tail.phase == tailReading }

// advance tries for a tail, or does what is due for the one there is. It is not called
// while the sink is down.
func (t *tailing) advance(now time.Time) {
	switch {
	case t.tail != nil:
		t.tail.advance(now)
	case t.intake.reader.out.ofTail():
		// The last tail has asked for a statement. Wait for the answer, because it is
		// older than the next slot.
	case t.config.Wanted && !now.Before(t.next) && t.intake.keepsUp():
		t.tail = t.newTail()
	}
}

func (t *tailing) newTail() *tail {
	return &tail{
		owner:   t,
		intake:  t.intake,
		reader:  t.intake.reader,
		stream:  t.openStream(),
		horizon: newHorizon(t.config.Gate),
		surveys: surveyClock{reconcile: t.config.ReconcileInterval, interval: t.intake.pace.interval},
		maxWAL:  t.config.MaxWAL,
	}
}

// result hands an answer to the tail that asked, if it is still there.
func (t *tailing) result(res readResult, now time.Time) {
	if t.tail != nil {
		t.tail.result(res, now)
	}
}

// stepped handles a step of the stream. After the last step there is no tail.
func (t *tailing) stepped(step streamStep, now time.Time) {
	if t.tail.stepped(step, now); t.tail.phase == tailEnded {
		t.tail = nil
	}
}

// joined notes that the log is read.
func (t *tailing) joined() { t.left, t.cause = "", nil }

// lost notes that the tail was left. began is when it began to read the log; zero: it
// never did.
func (t *tailing) lost(now, began time.Time, reason string, cause error) {
	if !began.IsZero() {
		t.pollingSince = now
		if now.Sub(began) > tailProved {
			t.failures = 0
		}
	}
	t.failures++
	t.next = now.Add(t.config.Retry.equal(t.failures))
	t.left, t.cause = reason, cause
	if cause != nil && reason == "" {
		t.left = cause.Error()
	}
}

// close ends the tail for good.
func (t *tailing) close(now time.Time) {
	t.config.Wanted = false
	if t.tail != nil {
		t.tail.leave(now, "", nil)
	}
}

// pause leaves the tail, so that the server keeps no log for it.
func (t *tailing) pause(now time.Time) {
	if t.tail != nil {
		t.tail.leave(now, "paused", nil)
	}
}

// wakeAt wants a survey at that time, if there is a tail: a row in the table is due
// then.
func (t *tailing) wakeAt(at time.Time) {
	if t.tail != nil {
		t.tail.surveys.wakeAt(at)
	}
}

// restores notes that the next survey brings rows that came by the log before.
func (t *tailing) restores() {
	if t.tail != nil {
		t.tail.horizon.restores = true
	}
}

// returned notes that a row has left memory unpublished.
func (t *tailing) returned(m *item) {
	if t.tail != nil {
		t.tail.returned(m)
	}
}

// allReturned notes that all rows that were not published have left memory.
func (t *tailing) allReturned(now time.Time) {
	if t.tail != nil {
		t.tail.allReturned(now)
	}
}

// noteUnread notes when the log was last read.
func (t *tailing) noteUnread(now time.Time, sinkDown bool) {
	if t.tail != nil {
		t.tail.noteUnread(now, sinkDown)
	}
}

// leaveIfUnread leaves a tail that has not been read for too long.
func (t *tailing) leaveIfUnread(now time.Time) {
	if t.tail != nil {
		t.tail.leaveIfUnread(now)
	}
}

// takeMissed returns how many rows the log has missed since the last call.
func (t *tailing) takeMissed() int {
	if t.tail == nil {
		return 0
	}
	missed := t.tail.missed
	t.tail.missed = 0
	return missed
}

// steps is nil, so that a select passes over it, while there is no stream.
func (t *tailing) steps() <-chan streamStep {
	if t.tail == nil {
		return nil
	}
	return t.tail.stream.steps
}

// events is nil while the log is not to be read.
func (t *tailing) events(sinkDown bool) <-chan relay.TailEvent {
	if t.tail == nil || !t.tail.readable(sinkDown) {
		return nil
	}
	return t.tail.stream.events
}

// until returns how long the loop may sleep before it has to call advance again.
func (t *tailing) until(now time.Time, most time.Duration) time.Duration {
	var at time.Time
	switch {
	case t.tail != nil:
		at = t.tail.next(now)
	case t.config.Wanted && t.next.After(now):
		at = t.next
	}
	if at.IsZero() {
		return most
	}
	return min(most, max(0, at.Sub(now)))
}

// pollsTooLong says whether the relay has polled for longer than the longest pause
// between tries at a tail.
func (t *tailing) pollsTooLong(now time.Time) bool {
	return t.config.Wanted && !t.reads() && now.Sub(t.pollingSince) > t.config.Retry.Max
}

// explain says, for people, why the log is not read; empty if it is read or not
// wanted.
func (t *tailing) explain() string {
	switch {
	case !t.config.Wanted || t.reads():
		return ""
	case t.left != "":
		return t.left
	case t.tail == nil:
		return "waiting until polling keeps up with the table"
	}
	return "joining the write-ahead log"
}
