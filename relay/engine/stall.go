package engine

import (
	"fmt"
	"log/slog"
	"time"
)

// How a leader watches its own progress.

const (
	faultStalled = "no progress"
	faultReading = "cannot read the outbox table"
)

// doneCounts counts what was done, over all terms.
type doneCounts struct {
	written  uint64 // outcomes committed, or found to be unwritable for now
	read     uint64 // statements that looked for rows
	answered uint64 // messages acknowledged or refused
}

// lookAtProgress notes what there is to do and what was done. While the sink is down,
// no rows are read, so publishing counts as having work.
func (t *term) lookAtProgress(now time.Time) {
	waits := t.dispatcher.uncommitted - t.dispatcher.unreported.rows
	t.progress.look(now, partWriting, waits > 0, t.done.written)
	t.progress.look(now, partReading, !t.idle() && (t.reader.out.bringsRows() || t.reader.failures > 0), t.done.read)
	canPublish := t.dispatcher.queued.rows > 0 && !t.stopping && t.dispatcher.uncommitted < t.room(now) && t.throttle.lets(now)
	down, _ := t.sinkDown(now)
	t.progress.look(now, partPublishing, down != "" && !t.pausing || t.dispatcher.unreported.rows > 0 || canPublish, t.done.answered)
}

// stallReason says why a part has stalled, as far as that is known.
func (t *term) stallReason(of part, now time.Time) string {
	down, _ := t.sinkDown(now)
	w := t.marker.told.Load()
	switch {
	case of == partWriting && w.table.isOpen():
		return "no row can be marked: " + w.table.err.Error()
	case of == partWriting && !w.locked.IsZero():
		return fmt.Sprintf("rows are locked by others: %v", w.blockers)
	case of == partWriting:
		return "PostgreSQL does not answer the marks"
	case of == partReading && t.reader.err != nil:
		return faultReading + ": " + t.reader.err.Error()
	case of == partReading:
		return faultReading + ": no answer yet"
	case down != "":
		return "the broker takes no messages: " + down
	}
	return "the broker acknowledges nothing"
}

// tellStall reports a part that has stalled, in the status and in the log.
func (t *term) tellStall(now time.Time) {
	of, since := t.progress.stall(now, t.config.StallAfter)
	t.status.Stalled, t.status.StalledSince, t.status.StalledHere = "", since, !since.IsZero() && of.isOwn()
	if since.IsZero() {
		t.faults.recovered(faultStalled)
		return
	}
	t.status.Stalled = t.stallReason(of, now)
	t.faults.report(faultStalled, slog.String("part", of.String()), slog.Time("since", since), slog.String("reason", t.status.Stalled))
}

// stepsDown returns an error if the relay has stalled for long and others stand by,
// because they may do better. It does not matter whose fault the stall is.
func (t *term) stepsDown(now time.Time) error {
	of, since := t.progress.stall(now, t.config.StepDownAfter)
	if since.IsZero() || t.marker.standbys.Load() == 0 {
		return nil
	}
	return fmt.Errorf("%w for %v: %s", errSteppedDown, now.Sub(since).Round(time.Second), t.stallReason(of, now))
}

// mayStepDown says whether the relay has stalled for so long that it should know
// whether others stand by.
func (t *term) mayStepDown(now time.Time) bool {
	_, since := t.progress.stall(now, t.config.StepDownAfter/2)
	return !since.IsZero()
}
