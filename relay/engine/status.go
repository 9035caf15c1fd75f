package engine

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Status returns what the relay is doing. Safe for concurrent use.
func (r *Relay) Status() relay.Status { return *r.told.Load() }

// enter notes the mode, and why it is not another.
func (r *Relay) enter(m relay.Mode, reason string) { r.note(m, reason, false) }

// enterStandby notes that the relay stands by, and whether no relay leads.
func (r *Relay) enterStandby(reason string, noRelayLeads bool) {
	r.note(relay.StandingBy, reason, noRelayLeads)
}

func (r *Relay) note(m relay.Mode, reason string, noRelayLeads bool) {
	now := time.Now()
	if r.status.Mode != m || r.status.Since.IsZero() {
		r.status.Mode, r.status.Since = m, now
	}
	if !m.Leads() {
		r.status = relay.Status{Mode: m, Since: r.status.Since, NoteStatus: r.status.NoteStatus}
	}
	r.status.Reason, r.status.NoRelayLeads = reason, noRelayLeads
	r.publishStatus(now)
}

const (
	faultForeign = "the outbox table belongs to another environment: nothing of it is published"
	faultDoubt   = "the outbox table may be a copy, or nothing tells whether it is one"
)

// noted takes in what is noted beside the table.
func (r *Relay) noted(n relay.Note) {
	r.status.NoteStatus = relay.NoteStatus{Note: n}
	r.faults.recovered(faultForeign)
	if n.Doubt == "" {
		r.faults.recovered(faultDoubt)
		return
	}
	r.faults.report(faultDoubt, slog.String("reason", n.Doubt))
}

func (r *Relay) publishStatus(now time.Time) {
	r.status.Turned, r.status.Counters = now, r.count
	told := r.status
	r.told.Store(&told)
}

// tellEvery is how old a leader's status may be. The loop may run many thousand times a
// second, and does not make a new status each time.
const tellEvery = 100 * time.Millisecond

// tell publishes the status of a leader.
func (t *term) tell(now time.Time) {
	mode, reason := relay.Polling, t.tailing.explain()
	if err := t.reader.err; err != nil {
		reason = faultReading + ": " + err.Error()
	}
	if t.tailing.reads() {
		mode = relay.Tailing
	}
	if t.pausing {
		reason = t.status.Pause.String()
	}
	switch {
	case t.idle() || !t.breaker.paused.IsZero():
		t.tailing.pollingSince = now // at the moment no tail is tried, or none is possible
	case t.tailing.pollsTooLong(now):
		t.tailing.pollingSince = now
		t.faults.report(faultTail, slog.String("reason", reason))
	}
	changed := mode != t.status.Mode || reason != t.status.Reason
	if !changed && now.Sub(t.status.Turned) < tellEvery {
		return
	}
	t.status.SinkDown, t.status.SinkDownSince = t.sinkDown(now)
	t.noted(t.marker.told.Load().note)
	t.tellTable()
	t.tellCopies()
	t.tellTopics()
	t.tellStall(now)
	t.tellPurge()
	t.status.RetainedWAL, t.status.UnreadWAL = t.tailing.lag()
	t.status.InFlight, t.status.Waiting = t.dispatcher.uncommitted, t.dispatcher.queued.rows
	t.status.HeldKeys, t.status.HeldKeysTold = t.holds.size(), t.holds.some(t.status.HeldKeysTold, relay.MaxHeldKeysTold)
	if changed {
		t.modeChanged(mode, reason)
		return
	}
	t.publishStatus(now)
}

// lockedTold is after how long locked rows are reported although it is not known who
// has locked them.
const lockedTold = 5 * time.Second

// tellTable tells what the marker cannot write.
func (t *term) tellTable() {
	w := t.marker.told.Load()
	t.status.TableDown, t.status.TableDownSince = "", w.table.since
	t.status.Locked, t.status.LockedSince, t.status.LockedBy = t.outside.rows[behindALock], w.locked, w.blockers
	switch {
	case w.locked.IsZero():
		t.faults.recovered(faultLocked)
	case len(w.blockers) > 0, time.Since(w.locked) > lockedTold:
		t.faults.report(faultLocked, slog.Int("rows", t.status.Locked), slog.Time("since", w.locked), slog.Any("by", w.blockers))
	}
	if w.table.isOpen() {
		t.status.TableDown = w.table.err.Error()
		t.faults.report(faultTable, slog.Any("error", w.table.err), slog.Any("locked_by", w.blockers))
	} else {
		t.faults.recovered(faultTable)
	}
	t.status.Unmarkable, t.status.UnmarkableRows = t.outside.rows[setAside], w.unmarkable
	if t.status.Unmarkable == 0 {
		t.faults.recovered(faultUnmarkable)
	}
}

// sinkDown says why and since when the sink takes no messages. It asks the sink too: if
// the broker has paused the sink while the whole window is in flight, no report says
// so.
func (t *term) sinkDown(now time.Time) (string, time.Time) {
	var pause error
	if p, ok := t.config.Sink.(relay.Pausing); ok {
		pause = p.Paused()
	}
	switch {
	case pause == nil:
		t.breaker.paused = time.Time{}
	case t.breaker.paused.IsZero():
		t.breaker.paused = now
	}
	switch {
	case pause != nil:
		return pause.Error(), t.breaker.paused
	case t.breaker.openFor(now) > 0:
		return t.breaker.reason, t.breaker.since
	}
	return "", time.Time{}
}

// modeChanged logs that a tail was left, and at growing intervals why there is no new
// one.
func (t *term) modeChanged(mode relay.Mode, reason string) {
	switch {
	case t.status.Mode == relay.Tailing && !t.stopping:
		t.log.Info("polling", slog.String("mode", mode.String()), slog.String("reason", t.tailing.left))
	case t.tailing.cause != nil:
		t.faults.report(faultTail, slog.String("reason", t.tailing.left))
	}
	t.enter(mode, reason)
}

// faultPurge does not concern delivery.
const faultPurge = "sent rows are not deleted, so the table grows; delivery goes on"

// tellPurge tells what the purge has deleted, and why it does not.
func (t *term) tellPurge() {
	told := t.purge.told.Load()
	if told == t.purged {
		return
	}
	if t.purged != nil {
		t.count.Purged -= t.purged.rows
	}
	t.count.Purged += told.rows
	t.purged = told
	t.status.NotPurged, t.status.NotPurgedSince = "", time.Time{}
	if told.off == nil {
		t.faults.recovered(faultPurge)
		return
	}
	t.status.NotPurged, t.status.NotPurgedSince = told.off.Error(), told.since
	t.faults.report(faultPurge, slog.Any("error", told.off))
}
