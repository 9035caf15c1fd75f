package engine

import "time"

// opening is the window of a term until its first outcome is committed: one row. So if
// the table takes no marks, and the relay is restarted again and again, each start
// publishes one row, and not a whole window.
type opening struct {
	full   int
	rows   int
	proven bool // an outcome was committed
}

// prove notes that an outcome was committed.
func (o *opening) prove() { o.proven = true }

// widen notes that a row has left the window because somebody has locked it. That says
// nothing about the other rows. Without widen, locked rows at the front would be tried
// one by one.
func (o *opening) widen() { o.rows = min(2*o.rows, o.full) }

// size is how many rows may be published without a committed outcome.
func (o *opening) size() int {
	if o.proven {
		return o.full
	}
	return o.rows
}

// room returns how many published rows without a committed outcome there may be now.
// While the table's breaker is open, there is room for one more row whenever another is
// to be tried, so that a full window of bad rows does not stop the good rows behind
// them.
func (t *term) room(now time.Time) int {
	w := t.marker.told.Load()
	if !w.table.isOpen() {
		return t.window.size()
	}
	underWay := !t.outcomes.arrived(w.received) || t.dispatcher.unreported.rows > 0
	if underWay || now.Before(w.table.probeAt()) || t.dispatcher.uncommitted > maxOutside {
		return 0
	}
	return t.dispatcher.uncommitted + 1
}

// untilProbe returns how long it is until another row is to be tried.
func (t *term) untilProbe(now time.Time) time.Duration {
	w := t.marker.told.Load()
	if !w.table.isOpen() || t.dispatcher.queued.rows == 0 || !now.Before(w.table.probeAt()) {
		return turn
	}
	return w.table.probeAt().Sub(now)
}
